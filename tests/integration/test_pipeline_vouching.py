"""Another dashboard that vouches for its own people: it connects them by a link, and asks for them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.integration.pipeline import Person, Pipeline, browser, pipeline

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

CALLER = "second-brain@elsewhere.iam.gserviceaccount.com"
PAGES = "https://second-brain.example"


@pytest.fixture(autouse=True)
def named(pipeline: Pipeline) -> Iterator[None]:
    """The operator lets this caller speak for its people."""
    with pipeline.setting(SERVICE_CALLERS=f"{CALLER}={PAGES}"):
        yield


def ask(
    pipeline: Pipeline,
    method: str,
    path: str,
    name: str = "",
    *,
    email: str = CALLER,
    json: object = None,
    **claims: object,
) -> requests.Response:
    """A call that the caller signs; `name` is its own name for a person."""
    said = {"aud": pipeline.url("dashboard"), "sub": "2", "email": email, "email_verified": True, **claims}
    headers = {"Authorization": f"Bearer {pipeline.google.sign(said)}"} | ({"Drivestream-Person": name} if name else {})
    return pipeline.post("dashboard", method=method, path=path, headers=headers, json=json)


def invited(pipeline: Pipeline, person: Person, name: str, **more: str) -> str:
    """The link for a person."""
    said = ask(pipeline, "POST", "/api/connections", json={"user_id": name, "email": person.email, **more})
    assert said.status_code == 201, said.text
    return str(said.json()["url"])


def followed(link: str, person: Person) -> requests.Response:
    """A browser that follows a link and consents with the account of a person."""
    with browser() as session:
        begun = session.get(link, allow_redirects=False)
        ask_google = begun.headers["Location"].split("login_hint=")[0] + f"login_hint={person.email}"
        back = urljoin(ask_google, session.get(ask_google, allow_redirects=False).headers["Location"])
        return session.get(back, allow_redirects=False)


def test_a_vouched_person_connects_by_a_link_and_is_asked_for_by_the_callers_name(pipeline: Pipeline) -> None:
    """The other dashboard never learns our ids, and nobody signs in twice."""
    person = pipeline.person({"oak.txt": "The oak by the gate is three hundred years old."}, connect=False)
    link = invited(pipeline, person, "user/42", return_url=PAGES + "/drive?done=1")

    back = followed(link, person)
    pipeline.settle()

    assert (back.status_code, back.headers["Location"]) == (303, PAGES + "/drive?done=1")
    found = ask(pipeline, "GET", "/api/search?q=oak", "user/42").json()
    assert [result["file"]["name"] for result in found["results"]] == ["oak.txt"]
    job = ask(pipeline, "GET", "/api/drive/job", "user/42").json()
    assert (job["user_id"], job["status"], job["progress"]) == ("user/42", "completed", 1.0)
    files = ask(pipeline, "GET", "/api/drive/files", "user/42").json()["files"]
    assert [(file["name"], file["state"]) for file in files] == [("oak.txt", "indexed")]


def test_a_link_works_once_and_for_the_named_account_only(pipeline: Pipeline) -> None:
    """Otherwise whoever is sent somebody else's link gives them their Drive."""
    meant, other = pipeline.person(connect=False), pipeline.person(connect=False)
    link = invited(pipeline, meant, "7")

    wrong, right, again = followed(link, other), followed(link, meant), followed(link, meant)

    assert (wrong.status_code, wrong.json()["code"]) == (400, "voucher")
    assert pipeline.sql(f"SELECT count(*) FROM users WHERE email = '{other.email}'") == [[0]]
    assert right.headers["Location"] == PAGES
    assert (again.status_code, again.json()["code"]) == (400, "voucher")
    assert followed(link.replace("voucher=", "voucher=x"), meant).status_code == 400


def test_who_is_not_named_or_not_signed_for_us_speaks_for_nobody(pipeline: Pipeline) -> None:
    """Google signs tokens for everybody; what counts is for whom, and who the operator has named."""
    person = pipeline.person({"elm.txt": "Elm."}, connect=False)
    followed(invited(pipeline, person, "8"), person)

    assert ask(pipeline, "GET", "/api/status", "8", email="thief@x.iam.gserviceaccount.com").status_code == 403
    assert ask(pipeline, "GET", "/api/status", "8", aud="https://another.example").status_code == 403
    assert ask(pipeline, "GET", "/api/status", "8", email_verified=False).status_code == 403
    assert ask(pipeline, "GET", "/api/status").status_code == 401
    assert ask(pipeline, "GET", "/api/status", "9").status_code == 401
    with pipeline.setting(SERVICE_CALLERS=f"other@x.iam.gserviceaccount.com={PAGES}"):
        assert ask(pipeline, "GET", "/api/status", "8").status_code == 403
    other = "other@x.iam.gserviceaccount.com"
    with pipeline.setting(SERVICE_CALLERS=f"{CALLER}={PAGES},{other}={PAGES}"):
        assert ask(pipeline, "GET", "/api/status", "8", email=other).status_code == 401
        assert ask(pipeline, "GET", "/api/status", "8").status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        None, [], {}, {"user_id": "1"}, {"user_id": 1, "email": "a@b"}, {"user_id": "1", "email": "nobody"},
        {"user_id": "1", "email": "a@b", "return_url": "https://thief.example/"},
        {"user_id": "1", "email": "a@b", "return_url": PAGES + ".thief.example/"},
        {"user_id": "1", "email": "a@b", "more": 1}, {"user_id": "a b", "email": "a@b"},
    ],
)  # fmt: skip
def test_a_person_who_cannot_be_vouched_for_is_refused_in_a_sentence(pipeline: Pipeline, said: object) -> None:
    """A link that leads elsewhere would be ours, and believed."""
    answer = ask(pipeline, "POST", "/api/connections", json=said)

    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(".")


def test_a_person_who_leaves_is_nobody_for_the_caller(pipeline: Pipeline) -> None:
    """What was vouched for goes with the person."""
    person = pipeline.person({"ash.txt": "Ash."}, connect=False)
    followed(invited(pipeline, person, "10"), person)
    pipeline.settle()

    assert ask(pipeline, "POST", "/api/disconnect", "10").status_code == 202
    pipeline.settle()

    assert ask(pipeline, "GET", "/api/status", "10").status_code == 401
    assert pipeline.sql("SELECT count(*) FROM vouched_people WHERE person = '10'") == [[0]]


def test_the_callers_token_is_for_our_address_alone(pipeline: Pipeline) -> None:
    """The broker's pushes bear a token of Google's too: it opens the functions and not the dashboard."""
    person = pipeline.person(connect=False)
    followed(invited(pipeline, person, "11"), person)

    answer = pipeline.post(
        "dashboard",
        method="GET",
        path="/api/status",
        headers={"Authorization": f"Bearer {pipeline.push_token()}", "Drivestream-Person": "11"},
    )

    assert answer.status_code == 403
    assert urlsplit(pipeline.url("dashboard")).netloc
