"""How far the stack is: sums over everybody's files, when all is quiet, and what is being waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.cloud.firestore_v1.base_query import FieldFilter

from infra.local.people import connected_people
from infra.local.stack import Stack
from shared.adapters.firestore import client
from shared.adapters.postgres import Database, Transaction
from shared.config import Settings

STATES = ("listed", "indexed", "unchanged", "skipped", "failed", "deleted")
MOVING = ("queued", "processing", "waiting")
STILL_SECONDS = 60.0
_NAMED = 3  # files that are named of each state when nothing moves


@dataclass(slots=True)
class Snapshot:
    """Sums over everybody who is connected."""

    files: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*STATES, *MOVING), 0))
    listed_bytes: int = 0
    bytes: int = 0
    chunks: int = 0
    passages: int = 0

    @property
    def done(self) -> int:
        return sum(self.files[state] for state in ("indexed", "unchanged", "skipped", "failed"))

    @property
    def at_rest(self) -> bool:
        return self.files["listed"] == self.done


class Still:
    """Notices that nothing has moved for a while, again and again for as long as nothing does."""

    def __init__(self, seconds: float = STILL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._state: object = None
        self._since = clock()
        self._said = 0

    def noticed(self, state: object) -> float | None:
        """The seconds for which `state` has been what it is, when it is time to say so."""
        if state != self._state:
            self._state, self._since, self._said = state, self._clock(), 0
        still = self._clock() - self._since
        if still < self._seconds * (self._said + 1):
            return None
        self._said = int(still // self._seconds)
        return still


class Watch:
    """Reads the state of everybody's files since a moment."""

    def __init__(self, settings: Settings, stack: Stack) -> None:
        self._settings = settings
        self._stack = stack
        self._reader = Database(settings, "drivestream_reader")
        self._everybody = Database(settings, "drivestream_caretaker")
        self._started = time.monotonic()
        self.since = self._clock()

    def people(self) -> list[str]:
        """Everybody who is connected."""
        return connected_people(self._everybody)

    def look(self) -> Snapshot:
        """Everybody's files now."""
        snapshot = Snapshot()
        for user_id in self.people():
            with self._reader.transaction(user_id) as tx:
                counts = tx.row("status_counts", since=self.since) or {}
                work = tx.row("status_work", since=self.since) or {}
            for state in snapshot.files:
                snapshot.files[state] += int(counts[state])
            snapshot.listed_bytes += int(counts["listed_bytes"])
            snapshot.bytes += int(work["bytes"])
            snapshot.chunks += int(work["chunks"])
            snapshot.passages += int(work["passages"])
        return snapshot

    def quiet(self) -> bool:
        """Nothing is on its way, nobody reads a corpus, and every file is at rest."""
        idle = self._stack.pubsub.idle
        return idle() and not self._busy_cursors() and self.look().at_rest and idle()

    def idle(self) -> bool:
        """No message is on its way; costs nothing to ask."""
        return self._stack.pubsub.idle()

    def waiting_for(self) -> str:
        """What there is to wait for, for a person who sees nothing move."""
        backlog = {name: count for name, count in self._stack.pubsub.backlog().items() if count}
        parts = [f"{count} {'message' if count == 1 else 'messages'} for {name}" for name, count in backlog.items()]
        if self._busy_cursors():
            parts.append("a list of files that is being read")
        people = self.people()
        if not people:
            parts.append(f"somebody to connect at {self._stack.address}/")
        for user_id in people:
            with self._reader.transaction(user_id) as tx:
                said = tx.row("reading")
                if said and said["reading"] == "asks":
                    parts.append(f"somebody to press 'Start reading' at {self._stack.address}/")
                else:
                    parts += _unfinished(tx)
        return "; ".join(parts) or "nothing that is known"

    def summary(self) -> dict[str, Any]:
        """The summary of a run, as `--json` prints it."""
        snapshot = self.look()
        summary: dict[str, Any] = {
            "files": {state: snapshot.files[state] for state in STATES},
            "bytes": snapshot.bytes,
            "chunks": snapshot.chunks,
            "passages": snapshot.passages,
            "seconds": round(time.monotonic() - self._started, 2),
        }
        if peaks := self._stack.peak_rss_mib():
            summary["peak_rss_mib"] = peaks
        return {**summary, "reasons": {code: count for code, count, _ in sorted(self.reasons())}}

    def reasons(self) -> list[tuple[str, int, str]]:
        """Why files are not indexed: code, how many, and one file's reason in a sentence; most frequent first."""
        found: dict[str, tuple[int, str]] = {}
        for user_id in self.people():
            with self._reader.transaction(user_id) as tx:
                for row in tx.rows("status_reasons"):
                    code = row["code"] or "unknown"
                    found[code] = (found.get(code, (0, ""))[0] + int(row["files"]), row["example"] or "")
        return sorted(((code, count, example) for code, (count, example) in found.items()), key=lambda one: -one[1])

    def _busy_cursors(self) -> bool:
        busy = client(self._settings).collection("cursors").where(filter=FieldFilter("busy", "==", True)).limit(1)
        return any(True for _ in busy.stream())

    def _clock(self) -> datetime:
        with self._reader.transaction(None) as tx:
            row = tx.row("clock")
        assert row is not None
        now: datetime = row["now"]
        return now


def _unfinished(tx: Transaction) -> list[str]:
    """Some files of each state that is not the end, with the next try and the reason."""
    clock = tx.row("clock")
    assert clock is not None
    named = []
    for state in MOVING:
        for row in tx.rows("files_page", state=state, before=None, before_id=None, most=_NAMED):
            seconds = (row["next_try"] - clock["now"]).total_seconds() if row["next_try"] else None
            next_try = f", next try in {max(0.0, seconds):.0f} s" if seconds is not None else ""
            reason = f": {row['reason'].rstrip('.')}" if row["reason"] else ""
            named.append(f"'{row['name']}' is {state}{next_try}{reason}")
    return named
