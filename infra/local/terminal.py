"""What a person sees: a bar where there is a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from infra.local.progress import Snapshot

_LINE_SECONDS = 2.0
_RATE_SECONDS = 10.0  # speeds are of the last seconds: an average since the start is never true now


class Terminal:
    """Lines and a bar on one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said = 0.0
        self._shown: Snapshot | None = None
        self._past: deque[tuple[float, int, int]] = deque()

    def say(self, line: str) -> None:
        """One plain line, above the bar if there is one."""
        console = self._bar.console if self._bar is not None else self._console
        console.print(line, markup=False)
        self._stream.flush()

    def show(self, snapshot: Snapshot) -> None:
        """The state of things, without flicker and without flood."""
        text = self._speed(snapshot)
        if self._console.is_terminal:
            self._draw(snapshot, text)
        elif snapshot != self._shown and time.monotonic() - self._said >= _LINE_SECONDS:
            self._said, self._shown = time.monotonic(), snapshot
            self.say(f"{snapshot.done} of {snapshot.files['listed']} files, {text}")

    def finish(self, snapshot: Snapshot) -> None:
        """The bar at its end, if there is one."""
        if self._bar is not None:
            self.show(snapshot)
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def summary(self, summary: dict[str, Any], reasons: Sequence[tuple[str, int, str]]) -> None:
        """The end of a run, for a person."""
        files = summary["files"]
        self.say(f"{files['listed']} files in {summary['seconds']:.1f} s: {in_words(files)}.")
        self.say(f"{size(summary['bytes'])} read, {summary['passages']} passages in {summary['chunks']} chunks.")
        if files["deleted"]:
            self.say(f"{files['deleted']} deleted meanwhile.")
        for code, count, example in reasons:
            self.say(f"{count:6} {code}: {example}")

    def json(self, summary: dict[str, Any]) -> None:
        """One object, the last line."""
        self._stream.write(json.dumps(summary) + "\n")
        self._stream.flush()

    def _speed(self, snapshot: Snapshot) -> str:
        now = time.monotonic()
        self._past.append((now, snapshot.done, snapshot.bytes))
        while now - self._past[0][0] > _RATE_SECONDS:
            self._past.popleft()
        began, done, read = self._past[0]
        seconds = max(now - began, 1.0)
        bytes_rate, files_rate = max(0, snapshot.bytes - read) / seconds, max(0, snapshot.done - done) / seconds
        return f"{size(snapshot.bytes)}, {size(bytes_rate)}/s, {files_rate:.1f} files/s"

    def _draw(self, snapshot: Snapshot, text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.fields[files]}"),
                BarColumn(bar_width=16),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                console=self._console,
                refresh_per_second=5,
                redirect_stdout=False,  # what functions and libraries say belongs in the log
                redirect_stderr=False,
            )
            self._task = self._bar.add_task("files", total=None, files="", speed="")
            self._bar.start()
        assert self._task is not None
        listed = snapshot.files["listed"]
        files = f"{snapshot.done}/{listed} files" if listed else "looking for files"
        self._bar.update(self._task, completed=snapshot.done, total=listed or None, files=files, speed=text)


def in_words(files: dict[str, int]) -> str:
    """How many files are in each state, without those in which none is."""
    states = ("indexed", "unchanged", "skipped", "failed", "queued", "processing", "waiting")
    return ", ".join(f"{files[state]} {state}" for state in states if files.get(state)) or "nothing to read"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def own_stdout() -> TextIO:
    """Standard output for people. The functions' log lines go where `sys.stdout` points from now on."""
    return os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8", errors="replace")
