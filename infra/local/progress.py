"""How far the stack is: numbers for a summary, a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from infra.local.people import connected_people
from infra.local.stack import Stack
from shared.adapters.firestore import client
from shared.adapters.postgres import Database
from shared.config import Settings

_STATES = ("listed", "indexed", "unchanged", "skipped", "failed", "deleted")
_MOVING = ("queued", "processing", "waiting")


@dataclass(slots=True)
class Snapshot:
    """Sums over everybody who is connected."""

    files: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*_STATES, *_MOVING), 0))
    listed_bytes: int = 0
    bytes: int = 0
    chunks: int = 0
    passages: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return sum(self.files[state] for state in ("indexed", "unchanged", "skipped", "failed"))

    @property
    def at_rest(self) -> bool:
        return self.files["listed"] == self.done


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
                reasons = tx.rows("status_reasons")
            for state in snapshot.files:
                snapshot.files[state] += int(counts[state])
            snapshot.listed_bytes += int(counts["listed_bytes"])
            snapshot.bytes += int(work["bytes"])
            snapshot.chunks += int(work["chunks"])
            snapshot.passages += int(work["passages"])
            for row in reasons:
                code = row["code"] or "unknown"
                snapshot.reasons[code] = snapshot.reasons.get(code, 0) + int(row["files"])
        return snapshot

    def quiet(self) -> bool:
        """Nothing is on its way, nobody reads a corpus, and every file is at rest."""
        idle = self._stack.pubsub.idle
        return idle() and not self._busy_cursors() and self.look().at_rest and idle()

    def summary(self) -> dict[str, Any]:
        """The summary of a run, as `--json` prints it."""
        snapshot = self.look()
        summary: dict[str, Any] = {
            "files": {state: snapshot.files[state] for state in _STATES},
            "bytes": snapshot.bytes,
            "chunks": snapshot.chunks,
            "passages": snapshot.passages,
            "seconds": round(time.monotonic() - self._started, 2),
        }
        if peaks := self._stack.peak_rss_mib():
            summary["peak_rss_mib"] = peaks
        return {**summary, "reasons": dict(sorted(snapshot.reasons.items()))}

    def _busy_cursors(self) -> bool:
        from google.cloud.firestore_v1.base_query import FieldFilter

        busy = client(self._settings).collection("cursors").where(filter=FieldFilter("busy", "==", True)).limit(1)
        return any(True for _ in busy.stream())

    def _clock(self) -> datetime:
        with self._reader.transaction(None) as tx:
            row = tx.row("clock")
        assert row is not None
        now: datetime = row["now"]
        return now


class Terminal:
    """What a person sees: a bar where there is a terminal, a line every few seconds where there is none."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last = 0.0
        self._rate_from: tuple[float, int, int] | None = None

    def say(self, line: str) -> None:
        """One plain line."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False)
        else:
            self._console.print(line, markup=False)
        self._stream.flush()

    def show(self, snapshot: Snapshot) -> None:
        """The state of things, without flicker and without flood."""
        now = time.monotonic()
        if self._rate_from is None:
            self._rate_from = (now, snapshot.done, snapshot.bytes)
        began, done, read = self._rate_from
        seconds = max(now - began, 0.1)
        files_rate, byte_rate = (snapshot.done - done) / seconds, (snapshot.bytes - read) / seconds
        text = f"{size(snapshot.bytes)} read, {size(byte_rate)}/s, {files_rate:.1f} files/s"
        listed = snapshot.files["listed"]
        if self._console.is_terminal:
            self._draw(snapshot.done, listed, text)
        elif now - self._last >= 2.0:
            self._last = now
            self.say(f"{snapshot.done} of {listed} files, {text}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def summary(self, summary: dict[str, Any]) -> None:
        """The end of a run, for a person."""
        files = summary["files"]
        self.say(
            f"{files['listed']} files: {files['indexed']} indexed, {files['unchanged']} unchanged, "
            f"{files['skipped']} skipped, {files['failed']} failed; {files['deleted']} deleted meanwhile"
        )
        self.say(
            f"{size(summary['bytes'])} read, {summary['passages']} passages in {summary['chunks']} chunks, "
            f"{summary['seconds']:.1f} s"
        )
        for reason, count in sorted(summary["reasons"].items(), key=lambda item: -item[1]):
            self.say(f"  {count:6} {reason}")

    def json(self, summary: dict[str, Any]) -> None:
        """One object, the last line."""
        self._stream.write(json.dumps(summary) + "\n")
        self._stream.flush()

    def _draw(self, done: int, listed: int, text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.completed}/{task.total} files"),
                BarColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("files", total=listed, rate="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=listed, rate=text)


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def own_stdout() -> TextIO:
    """Standard output for people. The functions' log lines go where `sys.stdout` points from now on."""
    import os

    return os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8", errors="replace")
