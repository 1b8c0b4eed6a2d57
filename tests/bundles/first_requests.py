"""The first real request or message of each function, against a running stack: what a new instance is started for."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import requests

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.file_chunk_pb2 import FileChunk
from schemas.messages.sync_requested_pb2 import SyncRequested
from schemas.messages.tick_pb2 import Tick
from shared.adapters.firestore import Channels
from shared.domain.names import FILE_CHANGES, FILE_CHUNKS, MY_DRIVE
from tests.integration.pipeline import Pipeline, browser

_numbers = count(1)
_TEXT = "# Ferry {number}\n\nThe ferry of Ada Lovelace leaves Bergen at {number} o'clock, whatever the weather.\n"


@dataclass(frozen=True)
class First:
    """A request that waits for its function, and the status of a real answer to it."""

    function: str
    name: str
    method: str
    path: str
    status: int
    more: dict[str, Any] = field(default_factory=dict)  # headers, cookies, json

    def ask(self, port: int) -> requests.Response:
        """Put it to the function at this port. Raises `requests.ConnectionError` while nobody is there."""
        with browser() as session:
            address = f"http://127.0.0.1:{port}{self.path}"
            return session.request(self.method, address, allow_redirects=False, timeout=120, **self.more)


class FirstRequests:
    """Makes them, each for one use, with a person of their own whose changes only these functions work on."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.environment = pipeline._environment()
        self._person = pipeline.person({"ferry.md": _TEXT.format(number=0)})
        self._cookie = self._sign_in()
        for lanes in ("file-streamer", "ai-processor"):
            pipeline.hold_lanes(lanes)
        self._channel_token = secrets.token_urlsafe(32)

    def all(self) -> list[Callable[[], First]]:
        """In an order in which each finds its work: what the lister says is what the streamer reads, and so on."""
        return [
            self.connect, self.callback, self.notification, self.status, self.search, self.page,
            self.sync, self.change, self.chunk, self.tick,
        ]  # fmt: skip

    def one_for_each(self) -> list[Callable[[], First]]:
        """The one of each function for which the most is loaded."""
        return [self.callback, self.notification, self.search, self.sync, self.change, self.chunk, self.tick]

    def connect(self) -> First:
        """A person clicks Connect."""
        return First("oauth_callback", "/connect", "GET", "/connect", 303)

    def callback(self) -> First:
        """Google sends a person back who has consented."""
        newcomer = self._pipeline.person(connect=False)
        with browser() as session:
            begin = session.get(
                self._pipeline.url("oauth_callback") + "/connect",
                params={"login_hint": newcomer.email},
                allow_redirects=False,
            )
            consent = session.get(begin.headers["Location"], allow_redirects=False)
            address = urlsplit(urljoin(begin.headers["Location"], consent.headers["Location"]))
            cookies = session.cookies.get_dict()
        return First("oauth_callback", "/callback", "GET", f"/callback?{address.query}", 303, {"cookies": cookies})

    def notification(self) -> First:
        """Drive says: look."""
        channel_id = str(uuid4())
        now = datetime.now(UTC)
        channels = Channels(self._pipeline.settings)
        token_hash = hashlib.sha256(self._channel_token.encode()).digest()
        ends = now + timedelta(days=1)
        channels.record(channel_id, self._person.user_id, MY_DRIVE, token_hash, ends, recorded_at=now)
        channels.activate(channel_id, "resource", ends)
        headers = {
            "X-Goog-Channel-ID": channel_id,
            "X-Goog-Channel-Token": self._channel_token,
            "X-Goog-Resource-ID": "resource",
            "X-Goog-Resource-State": "change",
            "X-Goog-Message-Number": "2",
        }
        return First("drive_webhook", "notification", "POST", "/", 204, {"headers": headers})

    def status(self) -> First:
        """The page asks how far it is."""
        return self._page("/api/status")

    def page(self) -> First:
        """A person opens the dashboard."""
        return self._page("/", Accept="text/html")

    def search(self) -> First:
        """A person searches."""
        return self._page("/api/search?q=ferry")

    def sync(self) -> First:
        """A notification arrives at the lister, and there is one new file."""
        self._drain()
        number = next(_numbers)
        self._person.put(f"ferry {number}.md", _TEXT.format(number=number))
        requested = SyncRequested(user_id=self._person.user_id, corpus=MY_DRIVE, reason=SyncRequested.Reason.NOTIFIED)
        return self._message("change_lister", "SyncRequested", requested)

    def change(self) -> First:
        """What the lister said."""
        (changed,) = self._pipeline.messages(FILE_CHANGES, self._person, FileChanged)[-1:]
        return self._message("file_streamer", "FileChanged", changed)

    def chunk(self) -> First:
        """What the streamer said."""
        (chunk,) = self._pipeline.messages(FILE_CHUNKS, self._person, FileChunk)[-1:]
        return self._message("ai_processor", "FileChunk", chunk)

    def tick(self) -> First:
        """Somebody asked to be forgotten: the one duty of the caretaker that somebody waits for."""
        leaving = self._pipeline.person({})
        self._pipeline.sql(f"UPDATE users SET status = 'erasing' WHERE user_id = '{leaving.user_id}'")
        return self._message("channel_renewer", "Tick(ERASE)", Tick(duty=Tick.Duty.ERASE, user_id=leaving.user_id))

    def _drain(self) -> None:
        for topic, kind in ((FILE_CHANGES, FileChanged), (FILE_CHUNKS, FileChunk)):
            self._pipeline.messages(topic, self._person, kind)

    def _message(self, function: str, name: str, message: Any) -> First:
        body = self._pipeline.envelope(function, message)
        headers = {"Authorization": f"Bearer {self._pipeline.push_token()}"}
        return First(function, name, "POST", "/", 204, {"json": body, "headers": headers})

    def _page(self, path: str, **headers: str) -> First:
        return First("dashboard", path, "GET", path, 200, {"cookies": self._cookie, "headers": headers})

    def _sign_in(self) -> dict[str, str]:
        answer = self._pipeline.connect(self._person)
        with browser() as session:
            session.get(answer.headers["Location"], allow_redirects=False)
            return dict(session.cookies.get_dict())
