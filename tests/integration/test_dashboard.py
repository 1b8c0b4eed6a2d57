"""The dashboard as people and programs meet it: every door, with good and with bad intentions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import flask
import pytest
import requests

from functions.dashboard import health, routes, stream
from functions.dashboard.main import ROUTES
from functions.dashboard.pace import Pace
from functions.dashboard.visit import Visit
from infra.local.postgres import PostgresServer
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.tick_pb2 import Tick
from shared.adapters.postgres import Database
from shared.config import Settings
from shared.domain.names import receipt_id
from tests.integration.dashboard_world import CONNECT, Person, World, serve

PUBLIC = {"/", "/assets/{name}", "/signin", "/signout", "/healthz", "/metrics", "/api/connect", "/api/openapi.json"}
PERSONAL = [route for route in ROUTES if route.path not in PUBLIC]
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{7*7}}\u202efdp.exe\r\nSet-Cookie: a=b'


@pytest.fixture(scope="module")
def world(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One dashboard for all tests of this file; each has its own people."""
    with serve(postgres, tmp_path_factory.mktemp("dashboard")) as served:
        yield served


@pytest.fixture
def ada(world: World) -> Person:
    return world.person("ada")


def filled(path: str, file_id: str = "file1", job_id: str = "") -> str:
    """A route's path with its blanks filled in."""
    return path.format(file_id=file_id, job_id=job_id or str(uuid4()), name="app.css", log="audit", form="csv")


def sees_no_internals(answer: requests.Response) -> bool:
    return not re.search(
        r"Traceback|File \"|/functions/|SELECT |pg8000|psycopg|drivestream_reader|0x[0-9a-f]{6}", answer.text
    )


# Doors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", PERSONAL, ids=lambda route: f"{route.method} {route.path}")
def test_nobody_sees_nothing(world: World, route: Any) -> None:
    """The one mistake that cannot be taken back is showing a stranger somebody's Drive."""
    answer = world.ask(route.method, filled(route.path) + "?q=x")

    assert answer.status_code == 401
    assert "<table" not in answer.text
    assert sees_no_internals(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/x",
        "/api",
        "/api/",
        "/api/files/a/b",
        "/apis/status",
        "/.env",
        "/%2e%2e/etc/passwd",
        "/api/files/%00",
        "/wp-login.php",
        "/console",
        "/debug",
        "/assets/../main.py",
    ],
)
def test_what_is_not_listed_is_not_there(world: World, ada: Person, path: str) -> None:
    """No debug page, no forgotten address, no file that is not meant to be served."""
    answer = world.get(path, ada)

    assert answer.status_code in {400, 404}
    assert sees_no_internals(answer)


@pytest.mark.parametrize("name", ["main.py", "..%2fmain.py", "%2e%2e%2fmain.py", "app.css%00", "templates"])
def test_only_the_listed_assets_are_served(world: World, name: str) -> None:
    """A file server that takes a path from the address serves everything sooner or later."""
    assert world.get(f"/assets/{name}").status_code == 404


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_a_wrong_method_is_refused_in_a_sentence(world: World, ada: Person, path: str) -> None:
    """A GET that changes something is pressed by every link preview."""
    taken = {route.method for route in ROUTES if route.path == path}

    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - taken:
        answer = world.ask(method, filled(path), ada)

        assert (answer.status_code, answer.headers["Allow"]) == (405, ", ".join(sorted(taken)))
        assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_answer_carries_its_protection(world: World, route: Any) -> None:
    """One answer without them is enough to be framed, cached or run."""
    person = world.person()
    more = {"stream": True} if route.path == "/api/events" else {}

    answer = world.ask(route.method, filled(route.path), person, **more)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if not route.path.startswith("/assets"):
        assert answer.headers["Cache-Control"] == "no-store"
    answer.close()


def test_refusals_are_pages_for_people_and_json_for_programs(world: World) -> None:
    """A person who sees JSON thinks that something is broken; a program that gets a page is."""
    program, person = world.get("/api/nothing"), world.page("/api/nothing")

    assert program.headers["Content-Type"] == "application/problem+json"
    assert program.json() == {
        "type": "urn:drivestream:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing here.",
        "code": "not_found",
    }
    assert "<h1>" in person.text
    assert "There is nothing here." in person.text


@pytest.mark.parametrize("path", ["/api/status?since=yesterday", "/api/status?since=2026-01-01T00:00:00",
    "/api/status?since=99999-01-01T00:00:00Z", "/api/files?state=gone", "/api/files?limit=0", "/api/files?limit=201",
    "/api/files?limit=ten", "/api/files?limit=-1", "/api/files?limit=²", "/api/search?q=", "/api/search",
    "/api/search?q=%20%20", "/api/search?q=%00", "/api/search?q=x&limit=51", "/api/search?q=x&limit=1e3",
    f"/api/search?q={'x' * 501}", f"/api/search?q={'y' * 10_000}", "/api/files/has%20space", f"/api/files/{'a' * 129}",
    "/api/files/..", "/api/jobs/%3Cscript%3E", "/api/jobs/'%20or%201=1"])  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(world: World, ada: Person, path: str) -> None:
    """Whatever is typed or generated, the answer says what is wrong and nothing about the inside."""
    answer = world.get(path, ada)

    assert answer.status_code in {400, 404}
    assert answer.json()["detail"].endswith(".")
    assert sees_no_internals(answer)


def cursor(position: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


@pytest.mark.parametrize("garbage", ["x", "AAAA", "%00", "é", "a" * 5_000, cursor([]), cursor({}), cursor(["now", "a"]),
    cursor(["2026-01-01T00:00:00Z"]), cursor(["2026-01-01T00:00:00Z", "a b"]), cursor(["2026-01-01T00:00:00Z", 7]),
    cursor([1, 2]), cursor("ab"), base64.urlsafe_b64encode(b"[" * 60_000).decode()[:40_000]])  # fmt: skip
def test_a_cursor_that_is_not_ours_is_refused(world: World, ada: Person, garbage: str) -> None:
    """A cursor comes back from outside, so it is input like any other."""
    answer = world.get("/api/files", ada, params={"cursor": garbage})

    assert answer.status_code == 400
    assert sees_no_internals(answer)


def test_a_body_that_is_too_large_is_refused(world: World, ada: Person) -> None:
    """No door of the dashboard takes more than a few bytes."""
    assert world.ask("POST", "/api/disconnect", ada, data=b"x" * 70_000).status_code == 413


# Signing in ---------------------------------------------------------------------------------------------------------


def test_a_code_opens_one_session_once(world: World, ada: Person) -> None:
    """A code stands in an address, and addresses are kept and shared."""
    code = world.code_for(ada.user_id)

    first, second = world.get(f"/signin?code={code}"), world.get(f"/signin?code={code}")

    assert (first.status_code, first.headers["Location"]) == (303, "/")
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "SameSite=Lax" in first.headers["Set-Cookie"]
    assert second.status_code == 400
    assert "Set-Cookie" not in second.headers


@pytest.mark.parametrize("code", ["", "x", "x" * 43, "x" * 129, "é" * 43, "' OR true --aaaaaaaaaaaaaaaaaaaaaa"])
def test_a_wrong_code_opens_nothing(world: World, code: str) -> None:
    """Guessing must be pointless and must not be told anything."""
    answer = world.get("/signin", params={"code": code})

    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers
    assert sees_no_internals(answer)


def test_an_old_code_opens_nothing(world: World, ada: Person) -> None:
    """The minute is over."""
    assert world.get(f"/signin?code={world.code_for(ada.user_id, seconds=-1)}").status_code == 400


def test_looking_at_the_head_of_a_sign_in_does_not_use_the_code_up(world: World, ada: Person) -> None:
    """Link scanners ask for the head of every address they see."""
    code = world.code_for(ada.user_id)

    assert world.ask("HEAD", f"/signin?code={code}").status_code == 405
    assert world.get(f"/signin?code={code}").status_code == 303


def test_a_planted_session_is_worth_nothing(world: World, ada: Person) -> None:
    """Session fixation: whatever cookie a browser brings along, it leaves with a new one."""
    planted = Person(ada.user_id, ada.email, "planted-by-somebody-else-000000000000000000")

    answer = world.get(f"/signin?code={world.code_for(ada.user_id)}", planted)

    assert answer.cookies["session"] != planted.session
    assert world.get("/api/status", planted).status_code == 401


def test_signing_in_anew_ends_the_session_before(world: World, ada: Person) -> None:
    """Two people at one browser: the first one's session must not go on in the dark."""
    bob = world.person("bob")

    world.get(f"/signin?code={world.code_for(bob.user_id)}", ada)

    assert world.get("/api/status", ada).status_code == 401


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(world: World, ada: Person) -> None:
    """A copied cookie that still works after signing out is a stolen account."""
    answer = world.ask("POST", "/signout", ada)

    assert answer.status_code == 204
    assert "session=;" in answer.headers["Set-Cookie"]
    assert world.get("/api/status", ada).status_code == 401


def test_a_session_ends_by_itself(world: World, ada: Person) -> None:
    """A laptop that is lost stays signed in until then."""
    world.sql("UPDATE sessions SET expires_at = app_now() WHERE user_id = %s", ada.user_id)

    assert world.get("/api/status", ada).status_code == 401
    assert "Connect Google Drive" in world.page("/", ada).text


def test_sessions_and_codes_are_kept_as_hashes_only(world: World, ada: Person) -> None:
    """A copy of the database signs nobody in."""
    stored = str(world.sql("SELECT encode(token_hash, 'escape'), encode(token_hash, 'hex') FROM sessions"))

    assert ada.session not in stored
    assert ada.session.encode().hex() not in stored


# Other sites --------------------------------------------------------------------------------------------------------

BUTTONS = ["/signout", "/api/connect", "/api/disconnect", "/api/files/file1/retry"]


@pytest.mark.parametrize("path", BUTTONS)
@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": ""}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "self"}])  # fmt: skip
def test_another_sites_page_cannot_press_our_buttons(
    world: World, ada: Person, path: str, headers: dict[str, str]
) -> None:
    """Otherwise any page that somebody visits could erase what they have here."""
    headers = {name: world.url if value == "self" else value for name, value in headers.items()}

    answer = world.ask("POST", path, ada, headers=headers)

    assert answer.status_code == 403
    assert world.get("/api/status", ada).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
    {"Origin": "self"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}])  # fmt: skip
def test_our_own_page_and_programs_can(world: World, ada: Person, headers: dict[str, str]) -> None:
    """A check that locks out our own forms is switched off within a day."""
    headers = {name: world.url if value == "self" else value for name, value in headers.items()}

    assert world.ask("POST", "/signout", ada, headers=headers).status_code == 204


# The API ------------------------------------------------------------------------------------------------------------


def test_the_states_add_up_to_what_is_listed(world: World, ada: Person) -> None:
    """Nothing is silent: a file that is in no number is a file that nobody misses."""
    world.file(ada, "a.txt", ["text"])
    old = world.file(ada, "old.txt", ["text"])
    for state, code in [("skipped", "encrypted"), ("failed", "dead_letter"), ("waiting", "quota"), ("queued", None)]:
        world.file(ada, f"{state}.txt", state=state, reason_code=code, reason="Because.")
    world.file(ada, "folder", state="folder")
    world.file(ada, "gone.txt", state="deleted", deleted_at=datetime.now(UTC))
    world.sql("UPDATE gdrive_files SET indexed_at = '2020-01-01Z' WHERE file_id = %s", old)
    world.sql(
        "INSERT INTO gdrive_webhooks (channel_id, user_id, corpus, state) VALUES (%s, %s, 'my-drive', 'active')",
        uuid4().hex, ada.user_id,
    )  # fmt: skip

    status = world.get("/api/status", ada, params={"since": "2021-01-01T00:00:00Z"}).json()

    files = status["files"]
    assert files == {"listed": 6, "indexed": 1, "unchanged": 1, "skipped": 1, "failed": 1, "deleted": 1, "queued": 1,
                     "processing": 0, "waiting": 1}  # fmt: skip
    at_rest = ("indexed", "unchanged", "skipped", "failed", "queued", "processing", "waiting")
    assert files["listed"] == sum(files[state] for state in at_rest)
    assert (status["bytes"], status["chunks"], status["passages"]) == (8642, 2, 2)
    assert status["reasons"] == {"encrypted": 1, "dead_letter": 1, "quota": 1}
    assert status["at_rest"] is False
    assert status["person"] == {"email": ada.email, "name": "ada", "status": "active", "reason": None}
    assert [channel["corpus"] for channel in status["channels"]] == ["my-drive"]
    assert status["changes_by"] == "notifications"
    assert datetime.fromisoformat(status["now"]) - datetime.fromisoformat(status["last_indexed_at"]) < timedelta(
        hours=1
    )
    assert world.get("/api/status", ada).json()["files"]["indexed"] == 2


def test_pages_of_files_show_each_file_once(world: World, ada: Person) -> None:
    """Paging by position, not by number: no file is seen twice or never, even where times are equal."""
    ids = {world.file(ada, f"{number}.txt", ["text"], state_at="2026-01-01T00:00:00Z") for number in range(7)}
    world.file(ada, "folder", state="folder")
    world.file(ada, "gone", state="deleted")

    found = list[str]()
    after: str | None = ""
    pages = 0
    while after is not None:
        answer = world.get("/api/files", ada, params={"limit": 3, "cursor": after}).json()
        found += [file["id"] for file in answer["files"]]
        after, pages = answer["next_cursor"], pages + 1

    assert pages == 3
    assert sorted(found) == sorted(ids)


# Entities -----------------------------------------------------------------------------------------------------------


def test_a_person_is_one_entity_however_they_are_spelled(world: World, ada: Person) -> None:
    """Capitals, wide letters and line ends are spelling; a kind is not."""
    first = world.file(ada, "a.txt", ["Grace  Hopper met Boston.", "GRACE\nHOPPER again"], modified_time="2026-01-01")
    second = world.file(ada, "b.txt", ["Ｇrace Hopper, and Boston"], modified_time="2026-02-02")
    world.names(first, ("person", "Grace  Hopper"), ("place", "Boston"))
    world.names(first, ("person", "GRACE\nHOPPER"), passage=1)
    world.names(second, ("person", "Ｇrace Hopper"), ("organisation", "Boston"))

    found = world.get("/api/entities", ada).json()

    assert [(one["kind"], one["files"], one["times"]) for one in found["entities"]] == [
        ("person", 2, 3),
        ("organisation", 1, 1),
        ("place", 1, 1),
    ]
    assert [file["name"] for file in found["entities"][0]["in"]] == ["b.txt", "a.txt"]
    assert found["next_cursor"] is None


def test_entities_are_found_by_kind_and_by_a_part_of_their_name(world: World, ada: Person) -> None:
    """In whatever case it is typed."""
    file_id = world.file(ada, "a.txt", ["Grace Hopper in Boston, 50% off_ and Graceland"])
    world.names(file_id, ("person", "Grace Hopper"), ("place", "Graceland"), ("place", "Boston"), ("amount", "50%"))

    def names(**asked: str) -> list[str]:
        return [one["name"] for one in world.get("/api/entities", ada, params=asked).json()["entities"]]

    assert names(q="GRACE") == ["Grace Hopper", "Graceland"]
    assert names(q="grace", kind="place") == ["Graceland"]
    assert names(kind="place") == ["Boston", "Graceland"]
    assert names(q="%") == ["50%"]
    assert names(q="nobody") == []


def test_entities_come_page_by_page_each_once(world: World, ada: Person) -> None:
    """A cursor, not a number: what arrives meanwhile moves nothing."""
    text = " ".join(f"Name{number:02}" for number in range(11))
    file_id = world.file(ada, "a.txt", [text, "Name03 Name07"])
    world.names(file_id, *(("topic", name) for name in text.split()))
    world.names(world.file(ada, "b.txt", ["Name05"]), ("topic", "Name05"))

    seen, cursor = [], ""
    while cursor is not None:
        page = world.get("/api/entities", ada, params={"limit": "4", "cursor": cursor}).json()
        seen += [one["name"] for one in page["entities"]]
        cursor = page["next_cursor"]

    assert seen == ["Name05", *(name for name in text.split() if name != "Name05")]


@pytest.mark.parametrize(
    "asked", [{"kind": "password"}, {"cursor": "WyJhIl0"}, {"cursor": "x"}, {"limit": "0"}, {"q": "x" * 200}]
)
def test_a_question_for_entities_that_is_none_is_refused_in_a_sentence(
    world: World, ada: Person, asked: dict[str, str]
) -> None:
    """With the word that would have been right, where there is one."""
    answer = world.get("/api/entities", ada, params=asked)

    assert answer.status_code == 400
    assert sees_no_internals(answer)


def test_what_is_not_visible_any_more_names_nobody(world: World, ada: Person) -> None:
    """A deleted file's people go with it, and nobody else's are ever counted."""
    for person in (ada, world.person("ben")):
        world.names(world.file(person, "a.txt", ["Grace Hopper"]), ("person", "Grace Hopper"))
    gone = world.file(ada, "gone.txt", ["Alan Turing and Grace Hopper"], state="deleted")
    world.names(gone, ("person", "Alan Turing"), ("person", "Grace Hopper"))

    found = world.get("/api/entities", ada).json()["entities"]

    assert [(one["name"], one["files"], one["times"]) for one in found] == [("Grace Hopper", 1, 1)]


def test_a_file_tells_how_those_it_names_are_related(world: World, ada: Person) -> None:
    """Beside the entities, in the same answer."""
    file_id = world.file(ada, "a.txt", ["Grace Hopper knows Alan Turing."])
    world.names(file_id, ("person", "Grace Hopper"), ("person", "Alan Turing"))
    world.relates(file_id, "Grace Hopper", "knows", "Alan Turing")

    file = world.get(f"/api/files/{file_id}", ada).json()

    assert file["relations"] == [
        {
            "subject_kind": "person",
            "subject": "Grace Hopper",
            "predicate": "knows",
            "object_kind": "person",
            "object": "Alan Turing",
            "times": 1,
        }
    ]


# Files --------------------------------------------------------------------------------------------------------------


def test_files_can_be_filtered_by_state(world: World, ada: Person) -> None:
    """What was left out, and why, is the first question about any search."""
    world.file(ada, "a.txt", ["text"])
    skipped = world.file(ada, "b.bin", state="skipped", reason_code="binary", reason="It is not a text.")

    answer = world.get("/api/files", ada, params={"state": "skipped"}).json()

    assert [(file["id"], file["reason"]) for file in answer["files"]] == [(skipped, "It is not a text.")]


def test_a_file_tells_why_it_is_where_it_is(world: World, ada: Person) -> None:
    """Everything about one file in one answer, with its timeline and its work."""
    file_id = world.file(ada, "plan.md", ["Ada plans the engine.", "The engine is planned."])
    world.sql("INSERT INTO file_events (user_id, file_id, event) VALUES (%s, %s, 'seen')", ada.user_id, file_id)
    world.names(file_id, ("person", "Ada"))

    file = world.get(f"/api/files/{file_id}", ada).json()
    job = world.get(f"/api/jobs/{file['job']['id']}", ada).json()

    assert file["why"].startswith("It is searchable since ")
    assert file["passages"] == 2
    assert [event["event"] for event in file["events"]] == ["seen"]
    assert file["entities"] == [{"kind": "person", "name": "Ada", "times": 1}]
    assert file["link"].startswith("https://drive.google.com/")
    assert (job["state"], job["file_id"], job["bytes_read"]) == ("finished", file_id, 4321)
    assert "checkpoint" not in job


def test_try_again_asks_for_the_file_and_nothing_else(world: World, ada: Person) -> None:
    """The dashboard says what somebody wants; whoever may touch Drive does it."""
    file_id = world.file(ada, "b.pdf", state="failed", reason="It broke.")
    folder = world.file(ada, "folder", state="folder")
    world.said("file-streamer")

    program = world.ask("POST", f"/api/files/{file_id}/retry", ada)
    person = world.ask("POST", f"/api/files/{file_id}/retry", ada, headers={"Accept": "text/html"})
    refused = [world.ask("POST", f"/api/files/{each}/retry", ada).status_code for each in (folder, "nothing")]

    asked = FileChanged(user_id=str(ada.user_id), file_id=file_id, reason=FileChanged.Reason.ASKED)
    assert world.said("file-streamer") == [asked, asked]
    assert (program.status_code, program.json()) == (202, {"id": file_id, "asked": True})
    assert (person.status_code, person.headers["Location"]) == (303, f"/files/{file_id}?asked=1")
    assert refused == [409, 404]


def test_connect_leads_to_the_consent_door(world: World) -> None:
    """By button and by program, signed in or not; never to an address that somebody else wrote."""
    browser = world.ask("POST", "/api/connect?return_to=https://evil.example", headers={"Accept": "text/html"})
    program = world.ask("POST", "/api/connect", headers={"Accept": "application/json"})

    assert (browser.status_code, browser.headers["Location"]) == (303, f"{CONNECT}/connect")
    assert program.json() == {"url": f"{CONNECT}/connect"}
    policy = re.search(r"form-action ([^;]+)", world.page("/").headers["Content-Security-Policy"])
    assert policy is not None
    assert policy[1].split() == ["'self'", CONNECT, "https://accounts.google.com"]


@pytest.mark.parametrize("browser", [False, True])
def test_disconnecting_stops_everything_and_gives_a_receipt(world: World, ada: Person, browser: bool) -> None:
    """From this moment on nothing may be read or written for this person."""
    world.file(ada, "a.txt", ["text"])
    elsewhere = world.get(f"/signin?code={world.code_for(ada.user_id)}").cookies["session"]
    world.said("channel-renewer")

    answer = world.ask("POST", "/api/disconnect", ada, headers={"Accept": "text/html"} if browser else {})

    receipt = receipt_id(str(ada.user_id))
    if browser:
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/?receipt={receipt}")
    else:
        assert (answer.status_code, answer.json()) == (202, {"receipt": receipt})
    assert "session=;" in answer.headers["Set-Cookie"]
    assert world.said("channel-renewer") == [Tick(duty=Tick.Duty.ERASE, user_id=str(ada.user_id))]
    assert world.sql("SELECT status FROM users WHERE user_id = %s", ada.user_id) == [["erasing"]]
    for session in (ada.session, elsewhere):
        assert world.get("/api/status", Person(ada.user_id, "", session)).status_code == 401
    assert "is being erased" in world.page(f"/?receipt={receipt}").text


def test_a_receipt_says_when_everything_was_erased(world: World) -> None:
    """A promise that can be checked by whoever holds the receipt, and by nobody else."""
    receipt = uuid4()
    world.sql("INSERT INTO receipts VALUES (%s, '2026-11-23T10:00:00Z', 41, 300)", receipt)

    page = world.page(f"/?receipt={receipt}").text

    assert "23 Nov 2026, 10:00 UTC: 41 files and 300 passages" in page
    assert "receipt" not in world.page("/?receipt='%20or%20true").text.lower().replace("with a receipt", "")


# Other people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_nobody_sees_or_moves_anything_of_anybody_else(world: World, route: Any) -> None:
    """Every door is tried with another person's ids, names and words."""
    owner, other = world.person("owner"), world.person("other")
    secret = f"zanzibar{owner.user_id.hex}"
    file_id = world.file(owner, f"{secret}.txt", [f"The {secret} is buried here."], file_id=f"id-{owner.user_id.hex}")
    [[job_id]] = world.sql("SELECT current_job FROM gdrive_files WHERE file_id = %s", file_id)
    world.said("file-streamer")
    query = {"q": secret, "user_id": str(owner.user_id), "email": owner.email, "state": "indexed"}
    more = {"stream": True} if route.path == "/api/events" else {}

    for accept in ("application/json", "text/html"):
        answer = world.ask(
            route.method,
            filled(route.path, file_id, str(job_id)),
            other,
            params=query,
            headers={"Accept": accept},
            **more,
        )
        said = next(answer.iter_content(4096)).decode() if more else answer.text
        answer.close()

        assert owner.email not in said
        assert "buried" not in said
        assert f"{secret}.txt" not in said
        assert file_id not in re.sub(r'"id":"[^"]*"', "", said)
        if "_id}" in route.path:
            assert answer.status_code == 404
    assert world.said("file-streamer") == []
    assert world.get(f"/api/files/{file_id}", owner).status_code == 200
    assert world.get("/api/search", owner, params={"q": secret}).json()["results"][0]["file"]["id"] == file_id


# Search -------------------------------------------------------------------------------------------------------------

LIBRARY: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "lighthouse.md": [
        (
            "The keeper of the northern lighthouse lit the lamp at dusk and wrote the weather into the log.",
            {"line_first": 3, "line_last": 9},
        ),
        ("Supplies come by boat every second Thursday, storms permitting.", {"heading": "Supplies", "line_first": 12}),
    ],
    "Harbour rules 2026.pdf": [
        (
            "Vessels entering the harbour shall keep to starboard and reduce speed to four knots.",
            {"page_first": 1, "page_last": 1},
        ),
        (
            "Fees are due on arrival. The harbour master may waive fees for vessels in distress.",
            {"page_first": 3, "page_last": 4},
        ),
    ],
    "budget.xlsx": [
        ("Lamp oil 1200 Repairs 560 Boat hire 300", {"sheet": "Costs 2026", "row_first": 2, "row_last": 4})
    ],
    "talk.pptx": [("Why lighthouses still matter: redundancy when satellites fail", {"slide": 4})],
    "recipes.txt": [
        ("Beat the eggs with sugar, fold in the flour and bake for forty minutes.", {"line_first": 1}),
        ("Let the dough rest over night in a cool place, then shape the loaves.", {"line_first": 8}),
    ],
    "astronomy.html": [
        ("Jupiter has more than ninety known moons; Ganymede is the largest of them.", {"heading": "Moons"})
    ],
    "minutes.docx": [
        (
            "Present: Grace Hopper, Ada Lovelace. Decision: the compiler will be rewritten in spring.",
            {"heading": "Minutes"},
        ),
        ("Grace will ask the harbour office about the lamp and report about the oil.", {"heading": "Actions"}),
    ],
    "letter.eml": [
        ("Dear Ada, the storm took the boat shed but the lighthouse stands. Yours, Tom", {"part": "letter.txt"})
    ],
    "notes.csv": [("2026-03-01,whale sighting,latitude 54.1", {"row_first": 7, "row_last": 7})],
    "garden.md": [("Tomatoes want sun, water at the root, and a stake before the wind comes.", {"line_first": 2})],
    "engine.txt": [
        (
            "The analytical engine weaves algebraic patterns just as the loom weaves flowers and leaves.",
            {"line_first": 1},
        )
    ],
    "réunion.md": [("La réunion du comité aura lieu à l'île de Ré, café compris.", {"line_first": 1})],
    "手紙.txt": [("灯台は静かに光っている。", {"line_first": 1})],
}


@pytest.fixture(scope="module")
def reader(world: World) -> Person:
    """Somebody with a small library, among distractions."""
    reader = world.person("reader")
    for name, passages in LIBRARY.items():
        world.file(reader, name, passages)
    world.file(reader, "distractions.txt", [
        f"Note {number}: the lamp, the oil and the log of station {number} were checked; nothing about a keeper."
        for number in range(24)
    ])  # fmt: skip
    world.file(reader, "Lease agreement Elm Street.pdf", state="queued")
    stranger = world.person("stranger")
    world.file(stranger, "lighthouse.md", [text for text, _ in LIBRARY["lighthouse.md"]])
    return reader


def search(world: World, person: Person, query: str, **more: Any) -> list[dict[str, Any]]:
    answer = world.get("/api/search", person, params={"q": query, **more})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


@pytest.mark.parametrize(("query", "name", "where"), [
    ("keeper of the northern lighthouse", "lighthouse.md", "lines 3–9"),
    ("the lamp at dusk", "lighthouse.md", "lines 3–9"),
    ("oil", None, None),
    ("lamp oil 1200", "budget.xlsx", "sheet Costs 2026, rows 2–4"),
    ("waive fees", "Harbour rules 2026.pdf", "pages 3–4"),
    ("redundancy when satellites fail", "talk.pptx", "slide 4"),
    ("whale sighting", "notes.csv", "row 7"),
    ("largest moon", "astronomy.html", "under “Moons”"),
    ("compiler rewritten", "minutes.docx", "under “Minutes”"),
    ("boat shed", "letter.eml", "in letter.txt"),
    ("weaving flowers", "engine.txt", "line 1"),
    ("every second Thursday", "lighthouse.md", "under “Supplies”, line 12"),
    ("comité", "réunion.md", "line 1"),
    ("灯台", "手紙.txt", "line 1"),
    ("harbour rules", "Harbour rules 2026.pdf", "page 1"),
])  # fmt: skip
def test_what_was_meant_comes_first_with_its_place(
    world: World, reader: Person, query: str, name: str | None, where: str | None
) -> None:
    """A search that has it somewhere on the second page does not have it."""
    found = search(world, reader, query)

    assert found
    if name is not None:
        assert (found[0]["file"]["name"], found[0]["place"]) == (name, where)


def test_a_file_is_found_by_its_name_before_it_is_read(world: World, reader: Person) -> None:
    """The first listing takes seconds, reading everything takes longer: names are searchable at once."""
    found = search(world, reader, "elm street lease")

    [named] = [one for one in found if one["file"]["name"] == "Lease agreement Elm Street.pdf"]
    assert (named["matched"], named["passage"], named["place"]) == (["name"], None, "")
    assert named["snippet"] == {"text": "", "marks": []}
    assert named["file"]["state"] == "queued"


def test_results_are_in_order_and_as_many_as_asked_for(world: World, reader: Person) -> None:
    """Best first, at most so many."""
    found = search(world, reader, "lamp oil log station", limit=5)

    assert len(found) == 5
    assert all(one["score"] >= two["score"] for one, two in pairwise(found))


def test_the_exact_phrase_beats_everything_that_only_resembles_it(world: World) -> None:
    """Somebody who types a sentence has it before their eyes."""
    ada = world.person()
    phrase = "the quarterly figures were approved"
    for number in range(20):
        world.file(ada, f"quarterly figures approved {number}.txt", [
            f"Approved figures: quarterly, quarterly figures, the approved, were figures {number}."
        ])  # fmt: skip
    filler = "Nothing else of interest was said by anybody in this long meeting about ships and shoes. " * 8
    wanted = world.file(ada, "zz.txt", [f"{filler} In the end {phrase} by all. {filler}"])

    found = search(world, ada, phrase)

    assert found[0]["file"]["id"] == wanted
    assert "phrase" in found[0]["matched"]
    part = found[0]["snippet"]
    assert [part["text"][start:end] for start, end in part["marks"]] == [phrase]


def test_a_revision_that_is_not_shown_is_not_found(world: World, ada: Person) -> None:
    """Deleted, or replaced by a newer revision: gone from search in the same transaction."""
    deleted = world.file(ada, "deleted.txt", ["the walrus waltz"])
    replaced = world.file(ada, "replaced.txt", ["the walrus waltz"])
    world.sql("UPDATE gdrive_files SET state = 'deleted' WHERE file_id = %s", deleted)
    world.sql("UPDATE gdrive_files SET current_job = %s WHERE file_id = %s", uuid4(), replaced)

    assert search(world, ada, "walrus waltz") == []


def test_without_vertex_words_must_do(world: World, reader: Person) -> None:
    """A search that is away because a model is away is away too often."""
    world.vertex.faults.fail_next(100, "UNAVAILABLE")
    try:
        answer = world.get("/api/search", reader, params={"q": "waive fees"}).json()
    finally:
        world.vertex.faults.clear()

    assert answer["meaning"] is False
    assert answer["results"][0]["file"]["name"] == "Harbour rules 2026.pdf"


@pytest.mark.parametrize("query", ['"', "' OR 1=1 --", "a & | ! ( ) :*", "\\", "%_%", "<script>", "-minus",
    '"the lamp" or', "{{7*7}}", "\u202e\u0007", "𝕌𝕟𝕚𝕔𝕠𝕕𝕖 🙂", "x" * 500, "字" * 500, "a b " * 125])  # fmt: skip
def test_any_query_gets_an_answer(world: World, reader: Person, query: str) -> None:
    """People paste anything."""
    answer = world.get("/api/search", reader, params={"q": query})

    assert answer.status_code in {200, 400}
    assert sees_no_internals(answer)


# The pages ----------------------------------------------------------------------------------------------------------


def test_hostile_names_and_texts_are_shown_as_what_they_are(world: World, ada: Person) -> None:
    """A file's name is written by whoever shared it."""
    file_id = world.file(ada, HOSTILE, [f"walrus {HOSTILE}"], web_view_link="javascript:alert(3)", truncated_at=HOSTILE)
    world.file(ada, HOSTILE, state="failed", reason=HOSTILE, mime_type=HOSTILE)
    world.sql("INSERT INTO file_events (user_id, file_id, event, detail) VALUES (%s, %s, 'seen', %s)",
              ada.user_id, file_id, HOSTILE)  # fmt: skip
    world.sql("UPDATE users SET status = 'reconnect_needed', status_reason = %s, email = %s WHERE user_id = %s",
              HOSTILE, HOSTILE, ada.user_id)  # fmt: skip

    pages = [
        world.page(path, ada) for path in (f"/?q=walrus{HOSTILE}", "/", f"/files/{file_id}", "/part/results?q=walrus")
    ]

    for answer in pages:
        assert answer.status_code == 200
        assert not re.search(r"<script>|<img|onerror=alert\(2\)>|javascript:", answer.text)
        assert "{{7*7}}" in answer.text
        assert "\u202e" not in answer.text
    assert world.get(f"/api/files/{file_id}", ada).json()["link"] is None


def test_pages_hold_no_script_or_style_of_their_own(world: World, reader: Person) -> None:
    """What the policy would refuse must not be there; what is there must come from us."""
    for path, person in (("/", None), ("/?q=lamp", reader), ("/files/x", None)):
        text = world.page(path, person).text

        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=\"/assets/)", text)
        assert not re.search(r"(?:src|<link[^>]*href)=\"(?!/)", text)


def test_the_page_is_light(world: World, reader: Person) -> None:
    """A status page must also load on a train."""
    page = world.page("/?q=lamp", reader).content
    assets = [world.get(f"/assets/{name}").content for name in ("app.css", "app.js", "icon.svg")]

    assert len(page) + sum(map(len, assets)) < 60_000


def test_assets_are_kept_as_long_as_their_address_is_true(world: World) -> None:
    """A page of yesterday with a script of today breaks in ways that nobody can repeat."""
    [address] = re.findall(r'href="(/assets/app.css[^"]*)"', world.page("/").text)

    assert "immutable" in world.get(address).headers["Cache-Control"]
    assert world.get("/assets/app.css?v=other").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("state", ["queued", "waiting", "indexed", "skipped", "failed", "deleted", "folder"])
def test_every_state_has_its_page(world: World, ada: Person, state: str) -> None:
    """The file that has a problem is the one whose page is opened."""
    file_id = world.file(ada, "a.txt", ["text"] if state == "indexed" else [], state=state, reason="Because of it")

    answer = world.page(f"/files/{file_id}", ada)

    assert answer.status_code == 200
    assert world.page(f"/?state={state if state != 'folder' else ''}", ada).status_code == 200


def test_whoever_must_reconnect_is_told_how(world: World, ada: Person) -> None:
    """Work that stands still without a word looks like work that is done."""
    world.sql(
        "UPDATE users SET status = 'reconnect_needed', status_reason = 'Google refused' WHERE user_id = %s", ada.user_id
    )

    page = world.page("/", ada).text

    assert "Google refused." in page
    assert "Connect again" in page
    assert "announces changes" not in page


@pytest.mark.parametrize(("state", "by", "sentence"), [
    ("active", "notifications", "Drive announces changes as they happen."),
    ("unsupported", "polling", "Changes are looked for every 15 minutes."),
    (None, "polling", "Changes are looked for every 15 minutes."),
])  # fmt: skip
def test_the_page_says_how_changes_are_found(
    world: World, ada: Person, state: str | None, by: str, sentence: str
) -> None:
    """Who waits for an edit to turn up wants to know for how long."""
    if state:
        world.sql(
            "INSERT INTO gdrive_webhooks (channel_id, user_id, corpus, state) VALUES (%s, %s, 'my-drive', %s)",
            uuid4().hex, ada.user_id, state,
        )  # fmt: skip

    assert world.get("/api/status", ada).json()["changes_by"] == by
    assert sentence in world.page("/", ada).text


# Live ---------------------------------------------------------------------------------------------------------------


def test_the_stream_tells_what_is_and_what_changes(world: World, ada: Person) -> None:
    """The page follows the work without asking again and again; with the session it ends."""
    world.file(ada, "a.txt")
    with world.get("/api/events", ada, stream=True) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = (line for line in answer.iter_lines(decode_unicode=True) if line.startswith("data: "))
        first = json.loads(next(lines)[6:])
        world.file(ada, "b.txt")
        second = json.loads(next(lines)[6:])
        world.ask("POST", "/signout", ada)
        rest = list(lines)

    assert [first["files"]["queued"], second["files"]["queued"]] == [1, 2]
    assert rest == []


def test_streams_never_take_all_the_servers_threads(world: World, ada: Person) -> None:
    """Somebody with many open tabs must not lock everybody else out, and still sees what is true in each of them."""
    streams = [world.get("/api/events", ada, stream=True) for _ in range(stream.MOST_STREAMS)]
    one_more = world.get("/api/events", ada)
    served = world.get("/api/status", ada)
    world.ask("POST", "/signout", ada)
    for each in streams:
        assert each.status_code == 200
        list(each.iter_lines())
        each.close()

    assert served.status_code == 200
    assert re.fullmatch(r"retry: 2000\n\nevent: status\ndata: {.*}\n\n", one_more.text)


def test_a_stream_is_brief_while_nothing_changes_and_ends_by_itself() -> None:
    """It says the status once, notices when nobody listens any more, and leaves its thread to others."""
    now = 0.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    told = list(stream.tell(lambda: {"files": 1, "now": now}, clock=lambda: now, wait=wait))

    assert told[:2] == ["retry: 2000\n\n", 'event: status\ndata: {"files":1,"now":0.0}\n\n']
    assert set(told[2:]) == {": ping\n\n"}
    assert now == stream.SECONDS


# Health -------------------------------------------------------------------------------------------------------------


def test_a_search_too_many_is_refused_with_its_time(world: World, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may cost a call of a model; others are not held up by it."""
    now = 100.0
    monkeypatch.setattr(routes, "_searches", Pace("searches", clock=lambda: now))
    world.file(ada, "a.txt", ["One."])

    told = [world.get("/api/search?q=one", ada) for _ in range(121)]

    assert {answer.status_code for answer in told[:120]} == {200}
    assert (told[-1].status_code, told[-1].headers["Retry-After"]) == (429, "1")
    assert told[-1].json()["code"] == "too_fast"
    assert world.get("/api/search?q=one", world.person("bob")).status_code == 200
    assert world.get("/api/status", ada).status_code == 200


def test_health_is_public_and_says_little(world: World) -> None:
    """A probe has no cookie, and a stranger learns nothing from it."""
    assert world.get("/healthz").json() == {"ok": True, "database": True}


def test_without_its_database_the_dashboard_says_so() -> None:
    """It fails closed, and the probe sees it."""
    config = Settings(google_cloud_project="p", database_url="postgresql://nobody:x@127.0.0.1:9/none")
    with flask.Flask("test").test_request_context("/healthz"):
        visit = Visit(flask.request, config, Database(config, "drivestream_reader"))

        answer = health.healthz(visit)

    assert (answer.status_code, answer.get_json()) == (503, {"ok": False, "database": False})


def test_metrics_count_answers_and_name_nobody(world: World, ada: Person) -> None:
    """Figures of the process for Prometheus; addresses by their pattern, never with an id."""
    file_id = world.file(ada, "a.txt", ["text"])
    world.get(f"/api/files/{file_id}", ada)
    world.get(f"/{file_id}", ada)

    text = world.get("/metrics").text

    assert re.search(r'requests_total{route="/api/files/{file_id}",status="200"} \d', text)
    assert re.search(r'requests_total{route="none",status="404"} \d', text)
    assert file_id not in text
    assert str(ada.user_id) not in text
    assert ada.email not in text


def test_a_sentence_found_exactly_beats_a_file_that_is_named_like_it(world: World) -> None:
    """Whoever types a sentence wants the place where it stands, not a file whose name and mood are similar."""
    ada = world.person("ada-exact")
    sentence = "the boiler is serviced in March"
    rival = "boiler boiler serviced March boiler. The boiler: serviced, March. " * 3
    world.file(ada, "boiler serviced March.txt", [rival])
    wanted = world.file(
        ada, "minutes.txt", [f"A long talk about roofs and gutters went before. It is agreed that {sentence}."]
    )

    found = search(world, ada, sentence)

    assert wanted == found[0]["file"]["id"]


def test_a_file_named_by_every_word_of_the_query_beats_a_chance_resemblance(world: World) -> None:
    """People look for files by name; a passage that only shares letters must not stand before it."""
    ada = world.person("ada-named")
    for number in range(5):
        world.file(
            ada, f"other {number}.txt", [f"Number {number} speaks of a plan for the garden and of nothing else."]
        )
    wanted = world.file(ada, "Garden plan 2026.txt", ["Beds, paths, and where the water comes from."])

    found = search(world, ada, "garden plan 2026")

    assert wanted == found[0]["file"]["id"]
