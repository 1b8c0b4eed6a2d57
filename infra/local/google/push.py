"""Notification channels: watch, stop, and POSTs that say "look" and nothing more.

What is still to be said is derived from the change logs (a channel remembers up to which entry it was told), so
channels and what they owe survive a kill. 5xx and an unreachable address are tried again with growing pauses; any
other answer ends the attempt, as at Google.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

import requests

from infra.local.google.answers import ApiError, bad_parameter
from infra.local.google.faults import Faults
from infra.local.google.store import Store

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS channels (
  id TEXT PRIMARY KEY, email TEXT NOT NULL, client TEXT NOT NULL, corpus TEXT NOT NULL, address TEXT NOT NULL,
  token TEXT, resource_id TEXT NOT NULL, resource_uri TEXT NOT NULL, expiration INTEGER NOT NULL,
  number INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL);
"""
DEFAULT_SECONDS = 3_600
MAXIMUM_SECONDS = 604_800
_ATTEMPTS = 12


class Push:
    """The channels of all people, and the thread that keeps them told."""

    def __init__(self, store: Store, faults: Faults, retry_seconds: float = 0.5) -> None:
        self._store = store
        self._faults = faults
        self._retry_seconds = retry_seconds
        self._wake = threading.Condition()
        self._awake = False
        self._stopping = False
        self._busy: set[str] = set()
        self._thread: threading.Thread | None = None
        self._senders: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Begin to send, also what an earlier run still owed."""
        self._stopping = False
        self._senders = ThreadPoolExecutor(8, thread_name_prefix="drive-push")
        self._thread = threading.Thread(target=self._run, name="drive-push", daemon=True)
        self._thread.start()
        self.wake()

    def close(self) -> None:
        """Stop sending; what is still owed is sent by the next run. Safe to call twice."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._senders is not None:
            self._senders.shutdown(wait=False, cancel_futures=True)
        self._thread = self._senders = None

    def wake(self) -> None:
        """A change log has grown, or a channel is new."""
        with self._wake:
            self._awake = True
            self._wake.notify_all()

    def watch(
        self, email: str, client: str, corpus: str, uri: str, after: int, wanted: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Open a channel on a change log; its `sync` message may arrive before this returns, as at Google."""
        now = self._faults.now()
        channel_id, address = wanted.get("id"), wanted.get("address")
        if not isinstance(channel_id, str) or not 0 < len(channel_id) <= 64:
            raise bad_parameter("id", "Channel id must be 1 to 64 characters long.", "required")
        if wanted.get("type") not in ("web_hook", "webhook"):
            raise bad_parameter("type", f"Unknown channel type: {wanted.get('type')}", "push.channelTypeNotSupported")
        _check_address(address)
        token = wanted.get("token")
        if token is not None and (not isinstance(token, str) or len(token) > 256):
            raise bad_parameter("token", "Channel token must be at most 256 characters long.")
        expiration = _expiration(wanted.get("expiration"), now)
        digest = hashlib.sha256(f"{email} {corpus}".encode()).digest()
        resource_id = base64.urlsafe_b64encode(digest[:18]).decode()
        try:
            self._store.run(
                "INSERT INTO channels (id, email, client, corpus, address, token, resource_id, resource_uri,"
                " expiration, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                channel_id, email, client, corpus, address, token, resource_id, uri, expiration, after,
            )  # fmt: skip
        except sqlite3.IntegrityError as error:
            raise bad_parameter("id", f"Channel id {channel_id} not unique", "channelIdNotUnique") from error
        self.wake()
        said = {
            "kind": "api#channel",
            "id": channel_id,
            "resourceId": resource_id,
            "resourceUri": uri,
            "expiration": str(expiration),
        }
        return said | ({"token": token} if token else {})

    def stop(self, email: str, client: str, channel_id: Any, resource_id: Any) -> None:
        """Close a channel of the same person and client. Raises 404 for any other."""
        closed = self._store.run(
            "DELETE FROM channels WHERE id = ? AND resource_id = ? AND email = ? AND client = ?",
            str(channel_id), str(resource_id), email, client,
        )  # fmt: skip
        if not closed:
            raise ApiError(404, "notFound", f"Channel '{channel_id}' not found for project.", location="id")

    def channels(self) -> list[dict[str, Any]]:
        """Every channel that has not expired."""
        now = int(self._faults.now() * 1000)
        return [dict(row) for row in self._store.rows("SELECT * FROM channels WHERE expiration > ?", now)]

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._awake or self._stopping, timeout=5)
                if self._stopping:
                    return
                self._awake = False
            for channel in self._due():
                with self._wake:
                    if channel["id"] in self._busy:
                        continue
                    self._busy.add(channel["id"])
                assert self._senders is not None
                self._senders.submit(self._tell, channel)

    def _due(self) -> list[sqlite3.Row]:
        now = int(self._faults.now() * 1000)
        self._store.run("DELETE FROM channels WHERE expiration <= ?", now)
        return self._store.rows(
            "SELECT c.*, (SELECT max(seq) FROM changes WHERE corpus = c.corpus) AS newest FROM channels c"
            " WHERE number = 0 OR told < (SELECT max(seq) FROM changes WHERE corpus = c.corpus)"
        )

    def _tell(self, channel: sqlite3.Row) -> None:
        """Send one message of a channel, then look again: there may be more to say."""
        try:
            number = channel["number"]
            following = 1 if number == 0 else number + random.randint(1, 3)
            self._send(channel, "sync" if number == 0 else "change", following)
            told = channel["told"] if number == 0 else channel["newest"]
            self._store.run(
                "UPDATE channels SET number = ?, told = max(told, ?) WHERE id = ?", following, told, channel["id"]
            )
        except sqlite3.ProgrammingError:
            log.debug("the server was stopped while a channel was told")
        finally:
            with self._wake:
                self._busy.discard(channel["id"])
            if not self._stopping:
                self.wake()

    def _send(self, channel: sqlite3.Row, state: str, number: int) -> None:
        if self._faults.take("lose", "notification"):
            return
        delay = self._faults.take("delay", "notification")
        if delay and not self._pause(delay.seconds):
            return
        repeat = self._faults.take("repeat", "notification")
        for _ in range(repeat.copies if repeat else 1):
            self._deliver(channel, _headers(channel, state, number))

    def _deliver(self, channel: sqlite3.Row, headers: Mapping[str, str]) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                answer = requests.post(channel["address"], data=b"", headers=headers, timeout=30, allow_redirects=False)
                if answer.status_code not in (500, 502, 503, 504):
                    return
            except requests.RequestException as error:
                log.debug("a notification did not reach %s: %s", channel["address"], error)
            if not self._pause(min(60.0, self._retry_seconds * 2**attempt)):
                return
            if not self._store.row("SELECT 1 FROM channels WHERE id = ?", channel["id"]):
                return

    def _pause(self, seconds: float) -> bool:
        """Wait; False if the server stops meanwhile."""
        end = time.monotonic() + seconds
        with self._wake:
            while not self._stopping and (left := end - time.monotonic()) > 0:
                self._wake.wait(left)
            return not self._stopping


def _headers(channel: sqlite3.Row, state: str, number: int) -> dict[str, str]:
    headers = {
        "X-Goog-Channel-ID": channel["id"],
        "X-Goog-Message-Number": str(number),
        "X-Goog-Resource-ID": channel["resource_id"],
        "X-Goog-Resource-State": state,
        "X-Goog-Resource-URI": channel["resource_uri"],
        "X-Goog-Channel-Expiration": formatdate(channel["expiration"] / 1000, usegmt=True),
        "User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google)",
    }
    return headers | ({"X-Goog-Channel-Token": channel["token"]} if channel["token"] else {})


def _check_address(address: Any) -> None:
    parts = urlsplit(address) if isinstance(address, str) else None
    local = parts is not None and parts.hostname in ("127.0.0.1", "localhost", "::1")
    # Google takes HTTPS only; on one machine, a plain address that never leaves it is as good.
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise bad_parameter("address", f"WebHook callback must be HTTPS: {address}", "push.webhookUrlNotHttps")


def _expiration(wanted: Any, now: float) -> int:
    """When the channel ends, in milliseconds: as asked, at most seven days from now, one hour if nobody asks."""
    if wanted is None:
        return int((now + DEFAULT_SECONDS) * 1000)
    try:
        asked = int(wanted)
    except (TypeError, ValueError) as error:
        raise bad_parameter("expiration", f"Invalid value '{wanted}'.") from error
    if asked <= now * 1000:
        raise bad_parameter("expiration", "Channel expiration is in the past.", "channelExpirationInPast")
    return min(asked, int((now + MAXIMUM_SECONDS) * 1000))
