"""Every HTTP door of every function, tried with everything that does not belong there.

A refusal is a 4xx with one plain sentence; it names no internals and changes nothing: no row, no document, no message.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import grpc
import pytest
import requests

from infra.local.google.keys import Keys
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.file_chunk_pb2 import FileChunk
from schemas.messages.sync_requested_pb2 import SyncRequested
from schemas.messages.tick_pb2 import Tick
from shared.adapters.edge import OAuthStates, open_connection
from shared.adapters.firestore import Channels, Connections, client
from tests.integration.pipeline import AUDIENCE, PUSHER, Person, Pipeline, browser, pipeline, sha256

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

EVENT_DOORS = ("change_lister", "file_streamer", "ai_processor", "channel_renewer")
SOMEBODY = "6c0f4f0e-54a5-4b43-9d43-3a0d5f3c1d11"
INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/(?:usr|home|work|tmp|opt)/|SELECT|INSERT|psql|pg8000|grpc"
)


def refused(answer: requests.Response, *statuses: int) -> None:
    """The answer is a refusal that a person understands and an attacker learns nothing from."""
    sentence = answer.text
    if answer.request.method != "HEAD" and answer.headers.get("Content-Type", "").startswith(
        "application/problem+json"
    ):
        sentence = answer.json()["detail"]
    assert answer.status_code in (statuses or range(400, 500)), (answer.status_code, answer.text[:200])
    assert not INTERNALS.search(answer.text), answer.text[:300]
    if answer.request.method != "HEAD":
        assert sentence.strip().endswith((".", ">")), sentence[:200]
        assert len(sentence) < 1000
    assert SOMEBODY not in answer.text


# Messages -------------------------------------------------------------------------------------------------------------


def bodies() -> Iterator[tuple[str, bytes]]:
    """What is not a push of Pub/Sub, or not one with a message for us."""
    yield "empty", b""
    yield "half", b'{"message": {'
    yield "deep", b'{"message": ' + b"[" * 100_000
    yield "not text", b"\xff\xfe\x00"
    for value in (None, 1, "x", [], {}, {"message": None}, {"message": 5}, {"message": [1]}, {"message": "x"}):
        yield f"json {value}", json.dumps(value).encode()
    for message in (
        {"data": "%%%"},
        {"data": "é"},
        {"data": 5},
        {"data": ["AA=="]},
        {"data": {"a": 1}},
        {"data": "AA==", "attributes": [1]},
        {"data": "AA==", "attributes": "x"},
    ):
        yield f"message {message}", json.dumps({"message": message}).encode()
    for attempt in ('"x"', "[1]", "1e999", '{"a":1}', "NaN"):
        yield f"attempt {attempt}", b'{"message": {"data": ""}, "deliveryAttempt": %b}' % attempt.encode()
    for data in (b"", b"\xff\xff\xff", b"\x0a\xff", b"\x08\x96", b"hello"):
        yield f"data {data!r}", wrapped(data)


def wrapped(data: bytes) -> bytes:
    """A push that carries the data."""
    return json.dumps({"message": {"data": base64.b64encode(data).decode(), "messageId": "1"}}).encode()


def lacking() -> dict[str, list[Any]]:
    """Messages that parse and are none: without what must be there, or with ids that are none."""
    reason, kind = FileChanged.Reason.CHANGED, FileChunk.Kind.TEXT
    tick, listed = SyncRequested.Reason.TICK, FileChanged.Reason.LISTED
    return {
        "change_lister": [
            SyncRequested(corpus="my-drive", reason=tick),
            SyncRequested(user_id=SOMEBODY, reason=tick),
            SyncRequested(user_id=SOMEBODY, corpus="my-drive"),
            SyncRequested(user_id="1 OR 1=1", corpus="my-drive", reason=tick),
            SyncRequested(user_id=f"{{{SOMEBODY}}}", corpus="my-drive", reason=tick),
            SyncRequested(user_id=SOMEBODY.upper(), corpus="my-drive", reason=tick),
            SyncRequested(user_id=SOMEBODY, corpus="../users/x", reason=tick),
            SyncRequested(user_id=SOMEBODY, corpus="a/b", reason=tick),
            SyncRequested(user_id=SOMEBODY, corpus="x" * 2000, reason=tick),
        ],
        "file_streamer": [
            FileChanged(file_id="f", reason=reason),
            FileChanged(user_id=SOMEBODY, reason=reason),
            FileChanged(user_id=SOMEBODY, file_id="f"),
            FileChanged(user_id="me", file_id="f", reason=listed),
            FileChanged(user_id=SOMEBODY, file_id="a\nb", reason=reason),
            FileChanged(user_id=SOMEBODY, file_id="a\x00b", reason=reason),
            FileChanged(user_id=SOMEBODY, file_id="x" * 2000, reason=reason),
            FileChanged(user_id=SOMEBODY, file_id="f", reason=reason, job_id="'; DROP TABLE users; --"),
        ],
        "ai_processor": [
            FileChunk(user_id=SOMEBODY, file_id="f", kind=kind),
            FileChunk(job_id=SOMEBODY, file_id="f", kind=kind),
            FileChunk(job_id=SOMEBODY, user_id=SOMEBODY, kind=kind),
            FileChunk(job_id=SOMEBODY, user_id=SOMEBODY, file_id="f"),
            FileChunk(job_id="x", user_id=SOMEBODY, file_id="f", kind=kind),
            FileChunk(job_id=SOMEBODY, user_id="x", file_id="f", kind=kind),
        ],
        "channel_renewer": [Tick(), Tick(user_id=SOMEBODY), Tick(duty=Tick.Duty.ERASE, user_id="everybody")],
    }


@pytest.mark.parametrize("function", EVENT_DOORS)
def test_what_is_no_message_is_refused_in_a_sentence(pipeline: Pipeline, function: str) -> None:
    """Garbage must end as a dead letter with a reason, not as a stack trace."""
    authorized = {"Authorization": f"Bearer {pipeline.push_token()}"}
    before = pipeline.everything()

    for what, body in bodies():
        print(what)
        refused(pipeline.post(function, data=body, headers=authorized), 400)
    for message in lacking()[function]:
        print(message)
        refused(pipeline.push(function, message), 400)

    assert pipeline.everything() == before


@pytest.mark.parametrize("function", EVENT_DOORS)
def test_a_message_for_nobody_is_acknowledged_and_does_nothing(pipeline: Pipeline, function: str) -> None:
    """A late message of a person who has left must neither fail for ever nor write anything."""
    reason = FileChanged.Reason.CHANGED
    stranger = {
        "change_lister": SyncRequested(user_id=SOMEBODY, corpus="my-drive", reason=SyncRequested.Reason.CONNECTED),
        "file_streamer": FileChanged(user_id=SOMEBODY, file_id="f" * 20, reason=reason),
        "ai_processor": FileChunk(
            job_id=SOMEBODY, user_id=SOMEBODY, file_id="f", kind=FileChunk.Kind.TEXT, payload=b"x"
        ),
        "channel_renewer": Tick(duty=Tick.Duty.ERASE, user_id=SOMEBODY),
    }
    before = pipeline.everything()

    answer = pipeline.push(function, stranger[function])

    assert answer.status_code == 204
    assert pipeline.everything() == before


@pytest.mark.parametrize("function", EVENT_DOORS)
def test_only_our_own_pushes_are_taken(pipeline: Pipeline, function: str, tmp_path: Path) -> None:
    """The address of a function is no secret; who may push to it is said by a signed token."""
    stranger = Keys(tmp_path, lambda: datetime.now(UTC).timestamp())
    good = pipeline.push_token()
    header, claims, signature = good.split(".")
    nobody = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    ours = {"aud": AUDIENCE, "email": PUSHER, "email_verified": True}
    tokens = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        f"Basic {good}",
        f"Bearer {header}.{claims}.",
        f"Bearer {header}.{claims}.{signature[:-6]}AAAAAA",
        f"Bearer {nobody}.{claims}.",
        f"Bearer {stranger.sign(ours, pipeline.google.url)}",
        f"Bearer {pipeline.push_token(aud='somebody-else')}",
        f"Bearer {pipeline.push_token(aud=pipeline.settings.oauth_client_id)}",
        f"Bearer {pipeline.push_token(email='pusher@evil.iam.gserviceaccount.com')}",
        f"Bearer {pipeline.push_token(email_verified=False)}",
        f"Bearer {pipeline.push_token(email_verified='true')}",
        f"Bearer {pipeline.push_token(iss='https://evil.example')}",
        f"Bearer {pipeline.push_token(iat=0, exp=3600)}",
        f"Bearer {pipeline.push_token(exp=int(datetime.now(UTC).timestamp()) - 60)}",
        f"Bearer {'x' * 5000}",
    ]
    body = wrapped(Tick(duty=Tick.Duty.REAP).SerializeToString())
    before = pipeline.everything()

    for token in tokens:
        print(token[:60])
        refused(pipeline.post(function, data=body, headers={"Authorization": token} if token else {}), 403)
    refused(pipeline.post(function, data=body, headers={"Authorization": b"Bearer \xe9\xff"}), 403)

    assert pipeline.everything() == before


@pytest.mark.parametrize("function", EVENT_DOORS)
def test_a_message_comes_by_post_only(pipeline: Pipeline, function: str) -> None:
    """Nothing may be started by a link or a picture on a page."""
    authorized = {"Authorization": f"Bearer {pipeline.push_token()}"}
    before = pipeline.everything()

    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused(pipeline.post(function, method=method, headers=authorized), 405)

    assert pipeline.everything() == before


@pytest.mark.parametrize("function", EVENT_DOORS)
def test_a_body_larger_than_pubsub_sends_is_not_read(pipeline: Pipeline, function: str) -> None:
    """Memory is what an attacker can take; a body that does not say its length is no exception."""
    authorized = {"Authorization": f"Bearer {pipeline.push_token()}"}

    said = refusal_of(lambda: pipeline.post(function, data=b" " * (15 * 1024 * 1024), headers=authorized))
    unsaid = refusal_of(lambda: pipeline.post(function, data=(b" " * 65536 for _ in range(300)), headers=authorized))

    for answer in (said, unsaid):
        if answer is not None:
            refused(answer, 413, 400)


def refusal_of(ask: Callable[[], requests.Response]) -> requests.Response | None:
    """The answer, or None where the door hung up before it had read everything."""
    try:
        return ask()
    except requests.ConnectionError:
        return None


# Notifications --------------------------------------------------------------------------------------------------------


@pytest.fixture
def channel(pipeline: Pipeline) -> Iterator[dict[str, str]]:
    """The headers of a good notification of an open channel."""
    channels = Channels(pipeline.settings)
    open_connection(pipeline.settings, SOMEBODY)
    now = datetime.now(UTC)
    channels.record("channel-of-ours", SOMEBODY, "my-drive", sha256("the token"), now + timedelta(1), recorded_at=now)
    channels.activate("channel-of-ours", "resource-1", datetime.now(UTC) + timedelta(1))
    yield {
        "X-Goog-Channel-ID": "channel-of-ours",
        "X-Goog-Channel-Token": "the token",
        "X-Goog-Resource-ID": "resource-1",
        "X-Goog-Resource-State": "change",
        "X-Goog-Message-Number": "7",
    }
    pipeline.heal()
    pipeline.settle()
    channels.forget("channel-of-ours")
    Connections(pipeline.settings).close(SOMEBODY)


def without(headers: dict[str, str], name: str, instead: str | bytes | None = None) -> dict[str, Any]:
    """The headers with one of them missing or another."""
    return {**{key: value for key, value in headers.items() if key != name}, **({name: instead} if instead else {})}


def test_a_forged_notification_is_refused_and_asks_for_nothing(pipeline: Pipeline, channel: dict[str, str]) -> None:
    """Anybody can find the address. An unknown channel and a wrong token get the same answer: neither is guessed."""
    forged = [
        {},
        *(without(channel, name) for name in ("X-Goog-Channel-ID", "X-Goog-Channel-Token", "X-Goog-Resource-ID")),
        without(channel, "X-Goog-Channel-ID", "channel-of-theirs"),
        without(channel, "X-Goog-Channel-ID", "../channels/channel-of-ours"),
        without(channel, "X-Goog-Channel-ID", "x" * 500),
        without(channel, "X-Goog-Channel-ID", "channel-of-ours\u00e9".encode("latin-1")),
        without(channel, "X-Goog-Channel-Token", "another token"),
        without(channel, "X-Goog-Channel-Token", "the token "[:-1] + "x"),
        without(channel, "X-Goog-Channel-Token", "t\u00f6ken".encode("latin-1")),
        without(channel, "X-Goog-Channel-Token", b"\xff\xfe\xfd"),
        without(channel, "X-Goog-Channel-Token", "x" * 5000),
        without(channel, "X-Goog-Resource-ID", "resource-2"),
    ]
    before = pipeline.everything()

    answers = [pipeline.post("drive_webhook", headers=headers) for headers in forged]

    for answer in answers:
        refused(answer, 403)
    assert len({answer.text for answer in answers}) == 1
    assert pipeline.everything() == before


def test_a_notification_of_a_channel_that_has_ended_is_refused(pipeline: Pipeline, channel: dict[str, str]) -> None:
    """What we no longer listen to, nobody can say to us."""
    Channels(pipeline.settings).activate("channel-of-ours", "resource-1", datetime.now(UTC) - timedelta(seconds=1))
    before = pipeline.everything()

    answer = pipeline.post("drive_webhook", headers=channel)

    refused(answer, 403)
    assert pipeline.everything() == before


def test_a_notification_comes_by_post_to_one_address(pipeline: Pipeline, channel: dict[str, str]) -> None:
    """Everything else is not there."""
    before = pipeline.everything()

    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused(pipeline.post("drive_webhook", method=method, headers=channel), 405)
    for path in ("/x", "/healthz", "/%2e%2e/", "//x"):
        refused(pipeline.post("drive_webhook", path=path, headers=channel), 404)
    refused(pipeline.post("drive_webhook", headers=channel, data=b"x" * 100_000), 413)
    refused(pipeline.post("drive_webhook", headers=channel, data=(b"x" * 1000 for _ in range(100))), 413)

    assert pipeline.everything() == before


def test_a_hundred_notifications_of_one_change_ask_for_one_sync(pipeline: Pipeline, channel: dict[str, str]) -> None:
    """A replayed notification is only a hint; it must not become a flood."""
    pipeline.pubsub.faults.hold("change-lister")
    before = pipeline.pubsub.backlog()["change-lister"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: pipeline.post("drive_webhook", headers=channel).status_code, range(100)))

    assert answers == [204] * 100
    assert 1 <= pipeline.pubsub.backlog()["change-lister"] - before <= 3


def test_without_firestore_no_notification_is_believed(pipeline: Pipeline, channel: dict[str, str]) -> None:
    """Fail closed: whoever cannot be checked is not let in, and Drive is told to come again."""
    before = pipeline.pubsub.backlog()
    pipeline.firestore.faults.fail_next("BatchGetDocuments", grpc.StatusCode.PERMISSION_DENIED)

    answer = pipeline.post("drive_webhook", headers=channel)

    refused(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1
    assert pipeline.pubsub.backlog() == before


# Consent --------------------------------------------------------------------------------------------------------------


class Consent:
    """A consent in one browser, step by step."""

    def __init__(self, pipeline: Pipeline, email: str) -> None:
        self.pipeline = pipeline
        self.session = requests.Session()
        self.session.trust_env = False
        begun = self.session.get(
            pipeline.url("oauth_callback") + "/connect", params={"login_hint": email}, allow_redirects=False
        )
        self.authorize = begun.headers["Location"]
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(self.authorize).query).items()}

    def allowed(self) -> str:
        """Where Google sends the browser back to."""
        answer = self.session.get(self.authorize, allow_redirects=False)
        return urljoin(self.authorize, answer.headers["Location"])

    def come_back(self, session: requests.Session | None = None, address: str = "", **query: str) -> requests.Response:
        """Go to the callback, with these parameters changed (or left out, where empty)."""
        parts = urlsplit(address or self.allowed())
        given = {name: values[0] for name, values in parse_qs(parts.query).items()} | query
        return (session or self.session).get(
            f"{parts.scheme}://{parts.netloc}{parts.path}",
            params={name: value for name, value in given.items() if value},
            allow_redirects=False,
        )


@pytest.fixture
def person(pipeline: Pipeline) -> Person:
    """Somebody who has not connected yet."""
    return pipeline.person(connect=False)


def nobody_connected(pipeline: Pipeline, person: Person) -> bool:
    """No person, no grant, no message."""
    return not pipeline.sql(f"SELECT 1 FROM users WHERE email = '{person.email}'")


def test_a_consent_works_once(pipeline: Pipeline, person: Person) -> None:
    """An address in a browser's history must not connect anybody."""
    consent = Consent(pipeline, person.email)
    address = consent.allowed()

    first = consent.come_back(address=address)
    rows = pipeline.count_all()
    second = consent.come_back(address=address)

    assert first.status_code == 303
    assert first.headers["Location"].startswith(pipeline.settings.dashboard_url + "/signin?code=")
    refused(second, 400)
    pipeline.settle()
    assert pipeline.count_all(("users", "user_google_credentials", "signin_codes")) == {
        table: rows[table] for table in ("users", "user_google_credentials", "signin_codes")
    }


def test_of_twenty_callbacks_at_once_one_is_accepted(pipeline: Pipeline, person: Person) -> None:
    """The state is consumed by whoever is first, however close the others are."""
    consent = Consent(pipeline, person.email)
    address = consent.allowed()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: consent.come_back(address=address), range(20)))

    assert sorted(answer.status_code for answer in answers) == [303] + [400] * 19
    for answer in answers:
        if answer.status_code != 303:
            refused(answer)


def test_a_state_is_given_to_one_of_many_who_take_it_at_once(pipeline: Pipeline) -> None:
    """Also where Google would accept the code twice."""
    states = OAuthStates(pipeline.settings)
    for number in range(5):
        states.begin(f"{number}" * 64, {"number": number})

        with ThreadPoolExecutor(16) as pool:
            taken = list(pool.map(lambda _, name=f"{number}" * 64: states.consume(name), range(16)))  # type: ignore[misc]

        assert [fields["number"] for fields in taken if fields is not None] == [number]


def test_a_consent_belongs_to_the_browser_that_began_it(pipeline: Pipeline, person: Person) -> None:
    """Otherwise an attacker could have a victim's browser finish the attacker's consent."""
    consent = Consent(pipeline, person.email)
    address = consent.allowed()

    with browser() as other:
        refused(consent.come_back(session=other, address=address), 400)
    refused(consent.come_back(address=address), 400)

    assert nobody_connected(pipeline, person)


def test_a_cookie_that_somebody_planted_does_not_help(pipeline: Pipeline, person: Person) -> None:
    """A value that we did not make is replaced."""
    with browser() as planted:
        planted.cookies.set("consent", "planted")
        begun = planted.get(pipeline.url("oauth_callback") + "/connect", allow_redirects=False)

    cookie = begun.headers["Set-Cookie"]
    assert "planted" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_an_old_consent_is_refused(pipeline: Pipeline, person: Person) -> None:
    """Ten minutes are enough for a person and little for an attacker."""
    with pipeline.setting(STATE_SECONDS="-1"):
        consent = Consent(pipeline, person.email)

    refused(consent.come_back(), 400)

    assert nobody_connected(pipeline, person)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": ""},
        {"state": "short"},
        {"state": "x" * 64},
        {"state": "é" * 64},
        {"state": "x" * 60_000},
        {"code": ""},
        {"code": "4/stolen"},
        {"error": "access_denied"},
        {"error": "<script>alert(1)</script>"},
        {"iss": "https://evil.example"},
    ],
    ids=str,
)
def test_a_wrong_answer_from_google_connects_nobody(pipeline: Pipeline, person: Person, wrong: dict[str, str]) -> None:
    """Every parameter of the callback can be written by anybody."""
    consent = Consent(pipeline, person.email)

    answer = consent.come_back(**{name: value[:200] if len(value) > 1000 else value for name, value in wrong.items()})

    refused(answer, 400)
    assert "<script" not in answer.text
    assert nobody_connected(pipeline, person)


def test_an_id_token_for_somebody_else_is_not_believed(pipeline: Pipeline, person: Person) -> None:
    """The nonce and the verifier bind Google's answer to this consent; a swapped one must fail."""
    states = client(pipeline.settings).collection("oauth_states")
    for field, value in (("nonce", "another"), ("verifier", "x" * 64)):
        consent = Consent(pipeline, person.email)
        address = consent.allowed()
        states.document(sha256(consent.asked["state"]).hex()).update({field: value})
        refused(consent.come_back(address=address), 400, 403)
    consent = Consent(pipeline, person.email)
    address = consent.allowed()
    with pipeline.setting(OAUTH_ISSUER="https://accounts.example"):
        refused(consent.come_back(address=address, iss=""), 403)

    assert nobody_connected(pipeline, person)


def test_a_consent_without_drive_says_which_box_to_tick(pipeline: Pipeline, person: Person) -> None:
    """People untick boxes. There is nothing to read then, and nothing is kept."""
    consent = Consent(pipeline, person.email)
    consent.authorize = consent.authorize.replace("https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdrive.readonly", "")

    answer = consent.come_back()

    refused(answer, 400)
    assert "permission" in answer.text
    assert nobody_connected(pipeline, person)


def test_the_consent_door_takes_reading_only_and_has_two_pages(pipeline: Pipeline) -> None:
    """Everything else is not there."""
    before = pipeline.everything()

    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused(pipeline.post("oauth_callback", method=method, path="/connect"), 405)
    for path in ("/", "/callback/x", "/admin", "/.env", "/callback%00", "/connect/../admin"):
        refused(pipeline.post("oauth_callback", method="GET", path=path), 404, 400)
    refused(pipeline.post("oauth_callback", method="GET", path="/connect", data=b"x" * 100_000), 413)

    assert pipeline.everything() == before


def test_without_firestore_or_postgres_nobody_is_connected(pipeline: Pipeline, person: Person) -> None:
    """Fail closed, with a sentence for the person who waits."""
    pipeline.firestore.faults.fail_next("Commit", grpc.StatusCode.PERMISSION_DENIED)
    begun = pipeline.post("oauth_callback", method="GET", path="/connect", allow_redirects=False)
    consent = Consent(pipeline, person.email)
    with pipeline.setting(DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:9/none"):
        finished = consent.come_back()

    refused(begun, 503)
    refused(finished, 503)
    assert nobody_connected(pipeline, person)


def test_states_are_kept_as_hashes_only(pipeline: Pipeline, person: Person) -> None:
    """Whoever reads the database must not be able to finish somebody's consent."""
    consent = Consent(pipeline, person.email)

    kept = str(pipeline.documents_all())

    assert consent.asked["state"] not in kept
    assert consent.session.cookies["consent"] not in kept
    assert OAuthStates(pipeline.settings).consume(sha256(consent.asked["state"]).hex()) is not None


# Everything else ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [*EVENT_DOORS, "drive_webhook", "oauth_callback", "dashboard"])
def test_no_door_tells_what_is_behind_it(pipeline: Pipeline, function: str) -> None:
    """Scanners find every address; they must learn nothing there."""
    before = pipeline.everything()

    for method in ("GET", "POST", "TRACE", "PROPFIND"):
        for path in ("/.git/config", "/.env", "/wp-login.php", "/%00", "/..%2f..%2fetc/passwd", "/a" * 500):
            answer = pipeline.post(function, method=method, path=path, data=b"{", headers={"X-Secret": "canary-7431"})
            refused(answer)
            assert "canary-7431" not in answer.text
            assert "Werkzeug" not in answer.text

    assert pipeline.everything() == before
