"""What the doors ask of Firestore and Pub/Sub when these are busy, away, or their answers are lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from infra.local.firestore import FirestoreServer
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared.adapters import documents, outgoing, publish_requests
from shared.adapters.documents import Collections, Documents
from shared.adapters.edge import LONG_AGO, Channel, KnownChannels, OAuthStates, open_connection
from shared.adapters.google_calls import BadAnswer
from shared.adapters.google_requests import GoogleRequests
from shared.adapters.outgoing import MessageTooLarge
from shared.adapters.publish_requests import PlainOutbox
from shared.config import Settings
from shared.domain.errors import Unavailable
from tests.contract.fake_http import Line, Request, Server
from tests.contract.firestore_clients import ANONYMOUS

CHANNEL = {
    "user_id": "ada", "corpus": "my-drive", "token_hash": b"h", "resource_id": "", "expires_at": LONG_AGO,
    "announced_at": LONG_AGO,
}  # fmt: skip
ASKED = SyncRequested(user_id="ada", corpus="my-drive", reason=SyncRequested.Reason.NOTIFIED)


@pytest.fixture(autouse=True)
def _anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins ask for no token."""
    for module in (documents, publish_requests):
        anybody = GoogleRequests(module.SERVICE, ANONYMOUS)
        monkeypatch.setattr(module, "_requests", lambda anybody=anybody: anybody)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FirestoreServer]:
    server = FirestoreServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def config(server: FirestoreServer) -> Settings:
    return Settings(google_cloud_project="test", firestore_endpoint=server.rest_url)


def recorded(config: Settings) -> Channel:
    """A channel that is written down."""
    Documents(config, Collections.CHANNELS).create("c", CHANNEL)
    found = KnownChannels(config).find("c")
    assert found is not None
    return found


# Firestore


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED])
def test_a_firestore_that_is_busy_is_asked_again(
    server: FirestoreServer, config: Settings, status: grpc.StatusCode
) -> None:
    """A person waits for the page, not for us to find out that it was a moment only."""
    for method in ("Commit", "BatchGetDocuments"):
        server.faults.fail_next(method, status)

    open_connection(config, "ada")

    assert Documents(config, Collections.CONNECTIONS).get("ada") is not None


@pytest.mark.parametrize("method", ["Commit", "BatchGetDocuments"])
def test_a_firestore_that_refuses_us_is_not_asked_again(server: FirestoreServer, config: Settings, method: str) -> None:
    """Rights do not come back within seconds."""
    channel = recorded(config)
    server.faults.fail_next(method, grpc.StatusCode.PERMISSION_DENIED)

    with pytest.raises(Unavailable):
        KnownChannels(config).announce(channel, quiet_seconds=1)


def test_a_firestore_that_says_nothing_keeps_nobody_waiting(
    server: FirestoreServer, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drive hangs up after seconds, and a person goes away."""
    monkeypatch.setattr(documents, "SECONDS", 0.2)
    server.faults.delay("BatchGetDocuments", 0.5)

    with pytest.raises(Unavailable):
        KnownChannels(config).find("c")


def test_a_consent_begins_though_the_answer_was_lost(server: FirestoreServer, config: Settings) -> None:
    """The second attempt finds what the first one wrote, and that is ours: nobody else has the state."""
    states = OAuthStates(config)
    server.faults.lose_next_answer("Commit")

    states.begin("state", {"nonce": "n"})

    begun = states.consume("state")
    assert begun is not None
    assert begun["nonce"] == "n"


def test_a_state_whose_use_was_not_answered_is_used(server: FirestoreServer, config: Settings) -> None:
    """Rather begin again than let one state work twice."""
    states = OAuthStates(config)
    states.begin("state", {"nonce": "n"})
    server.faults.lose_next_answer("Commit")

    assert [states.consume("state"), states.consume("state")] == [None, None]


def test_an_announcement_whose_answer_was_lost_is_ours(server: FirestoreServer, config: Settings) -> None:
    """Taken for somebody else's, nobody would ask for the sync: the change came with the next sweep only."""
    channel = recorded(config)
    channels = KnownChannels(config)
    server.faults.lose_next_answer("Commit")

    assert [channels.announce(channel, quiet_seconds=60) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b'{"found": {}}',
        b'[{"found": {"name": "x"}, "readTime": "2026-11-28T00:00:00Z"}]',
        (
            b'[{"found": {"createTime": "2026-11-28", "updateTime": "2026-11-28",'
            b' "fields": {"a": {"geoPointValue": {}}}}, "readTime": "2026-11-28"}]'
        ),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_document(told: bytes) -> None:
    """Nobody may be let in, or turned away for good, because of it."""
    with Server(lambda request, line: line.answer(200, told)) as server, pytest.raises(BadAnswer):
        Documents(Settings("test", firestore_endpoint=server.url), Collections.CHANNELS).get("c")


def test_a_kind_of_value_that_no_reader_knows_is_never_written(config: Settings) -> None:
    """The door that reads it would fail, and by then nobody knows who wrote it."""
    with pytest.raises(TypeError, match="list"):
        Documents(config, Collections.CHANNELS).create("c", {"people": ["ada"]})


# Pub/Sub


def test_a_broker_that_is_busy_is_told_again() -> None:
    """What a door has announced, it must say."""
    answers = [503, 429, 200]
    with Server(lambda request, line: line.json({}, answers.pop(0))) as server:
        outbox = PlainOutbox(Settings("test", pubsub_endpoint=server.url), timeout=5.0)
        outbox.publish("topic", ASKED)
        outbox.confirm()

    assert answers == []
    assert len({request.body for request in server.requests}) == 1
    assert {request.target for request in server.requests} == {"/v1/projects/test/topics/topic:publish"}


def test_a_broker_that_is_away_or_says_nothing_is_unavailable() -> None:
    """Then the door opens its ear again and tells Drive to come back."""

    def silent(request: Request, line: Line) -> None:
        return

    with Server(silent) as server:
        addresses = [server.url, "http://127.0.0.1:9"]
        for address in addresses:
            outbox = PlainOutbox(Settings("test", pubsub_endpoint=address), timeout=0.2)
            outbox.publish("topic", ASKED)

            with pytest.raises(Unavailable):
                outbox.confirm()


def test_a_message_above_our_limit_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker would refuse it for ever."""
    monkeypatch.setattr(outgoing, "LARGEST_MESSAGE", 5)

    with pytest.raises(MessageTooLarge):
        PlainOutbox(Settings("test")).publish("topic", ASKED)


def test_what_a_door_says_to_both_does_without_google_s_clients(server: FirestoreServer) -> None:
    """They cost its start more than all else that it loads."""
    script = f"""
import sys
from google.auth.credentials import AnonymousCredentials
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared.adapters import documents, publish_requests
from shared.adapters.edge import KnownChannels, OAuthStates
from shared.adapters.google_requests import GoogleRequests
from shared.config import Settings
from shared.domain.errors import Unavailable
nobody = GoogleRequests("a service", AnonymousCredentials())
documents._requests = publish_requests._requests = lambda: nobody
config = Settings("p", firestore_endpoint="{server.rest_url}", pubsub_endpoint="{server.rest_url}")
OAuthStates(config).begin("state", {{"nonce": "n"}})
assert OAuthStates(config).consume("state")["nonce"] == "n"
assert KnownChannels(config).find("c") is None
outbox = publish_requests.PlainOutbox(config)
outbox.publish("topic", SyncRequested(user_id="ada"))
try:
    outbox.confirm()
except Unavailable:
    print([name for name in sys.modules if name.startswith(("google.cloud.", "google.api_core", "grpc", "proto."))])
"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
