"""Time is the server's: a function whose machine has another clock decides as every other one does."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials

from functions.drive_webhook.main import notify
from infra.local.firestore.server import FirestoreServer
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared.adapters.edge import KnownChannels, OAuthStates, open_connection
from shared.adapters.firestore import Channels
from shared.config import Settings
from tests.integration.pipeline import forget_clients
from tests.simulation.post_office import PostOffice

WEEK = 604_800.0


class Clock:
    """Firestore's clock, which is not this machine's."""

    ahead = WEEK

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(frozen=True)
class Place:
    """A Firestore, and what a function is told of it."""

    clock: Clock
    config: Settings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A Firestore that is a week ahead of this machine."""
    clock = Clock()
    server = FirestoreServer(tmp_path, clock=clock)
    server.start()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.url)
    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), None))  # type: ignore[no-untyped-call]
    forget_clients()
    yield Place(clock, Settings(google_cloud_project="test", firestore_endpoint=server.rest_url))
    forget_clients()
    server.stop()


def test_a_consent_lasts_ten_minutes_by_the_clock_of_the_server(place: Place) -> None:
    """By the clock of the machine that began it, nobody could connect when the clocks differ by more."""
    states = OAuthStates(place.config)
    for name in ("at once", "too late"):
        states.begin(name, {"nonce": name})

    at_once = states.consume("at once")
    place.clock.ahead += 601
    too_late = states.consume("too late")

    assert at_once is not None
    assert at_once["nonce"] == "at once"
    assert too_late is None


def test_a_notification_is_announced_by_the_clock_of_the_server(place: Place) -> None:
    """How fresh a file is, is the difference of two times, and the other one is the server's."""
    office = PostOffice(lambda function, body: True, random.Random(1), workers=1)
    config = replace(place.config, pubsub_endpoint=office.rest_url)
    open_connection(config, "person")
    ends = datetime.fromtimestamp(place.clock() + WEEK, UTC)
    Channels(config).record("channel", "person", "my-drive", b"", ends, recorded_at=ends)
    channel = KnownChannels(config).find("channel")
    assert channel is not None

    notify(channel, config)

    said = SyncRequested.FromString(office.waiting()[0].data)
    office.stop()
    assert said.announced_ms == int(channel.now.timestamp() * 1000)
