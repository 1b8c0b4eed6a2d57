"""How soon an edit can be searched while a first sync goes on, beside the same on an idle system.

`./dev local --processes`: the seven functions in processes of their own, under the deployed server, with real Postgres.
A folder of small text files is connected. While it is read for the first time, files are edited, one for every so many
that are read; when all is at rest, a fifth as many again. An edit counts from just before the file is written to the
commit after which search shows its words, both by this machine's clock: the half second until the local Drive looks at
the folder, the notification and every function on the way are in it. At the end the folder above all files is renamed.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pg8000.core import CoreConnection

from shared.adapters.postgres import connect_to_url
from tests.e2e.local_stack import LocalStack, local_stack, wait_for

_SOUGHT = 3.0  # seconds that a first sync may add to the 95th percentile
_PATIENCE = 120.0  # seconds without any progress until the run is given up
_LOOK = 0.25
_TOP, _RENAMED = "letters", "post"  # the folder above everything
_WORDS = ("brook", "meadow", "lantern", "orchard", "harbour", "thistle", "granite", "willow", "copper", "saddle")


def measure(arguments: list[str]) -> dict[str, object]:
    """Percentiles in seconds, how many edits were lost, and whether what is sought was met."""
    parser = argparse.ArgumentParser(prog="./dev bench freshness", description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--edits", type=int, default=1_000)
    chosen = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="drivestream-bench-"))
    try:
        folder = written(place / "drive", chosen.files)
        with local_stack(folder, "--processes") as stack:
            found = measured(stack, folder, chosen.files, chosen.edits)
    finally:
        shutil.rmtree(place)
    rows = {"while a first sync goes on": found.busy, "on an idle system": found.idle}
    print("| edits | 50 % | 95 % | 99 % | the slowest |\n| --- | --- | --- | --- | --- |")
    for name, waits in rows.items():
        print(f"| {name} | " + " | ".join(f"{at(waits, share):.2f} s" for share in (0.5, 0.95, 0.99, 1.0)) + " |")
    p95 = [at(waits, 0.95) for waits in rows.values()]
    added = p95[0] - p95[1]
    return {
        "files": chosen.files,
        "edits": [len(found.busy), len(found.idle)],
        "lost": found.lost,
        "first_sync_seconds": round(found.seconds, 1),
        "p95": [round(seconds, 3) for seconds in p95],
        "added": round(added, 3),
        "read_again_after_rename": found.read_again,
        "complete": found.lost == found.read_again == 0 and added <= _SOUGHT,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }


def written(folder: Path, files: int) -> Path:
    """A folder of short letters in a few subfolders, made the same way each time."""
    chance = random.Random(11)
    for number in range(files):
        path = path_of(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(chance.choices(_WORDS, k=60)) + f" and letter {number}.\n")
    return folder


def path_of(folder: Path, number: int) -> Path:
    return folder / _TOP / f"box {number % 20:02}" / f"letter {number:05}.md"


def words(edit: int) -> str:
    """What only this edit says."""
    return f"edit number {edit:05} of all"


@dataclass(frozen=True)
class Measured:
    """Seconds of each edit during the first sync and after it, how many edits search does not find in the end, seconds
    of the first sync, and how often content was read after the folder above everything had been renamed."""

    busy: Sequence[float]
    idle: Sequence[float]
    lost: int
    seconds: float
    read_again: int


def measured(stack: LocalStack, folder: Path, files: int, edits: int) -> Measured:
    """Connect, edit meanwhile, edit afterwards, rename."""
    order = random.Random(12).sample(range(files), edits + _share(edits))
    with stack.running("--yes"), looking(stack) as look:
        began = time.time()
        busy = Edits(folder, look, order[:edits], 0)
        progress = time.time()
        done = 0
        while done < files:
            before, done = done, look.at_rest()
            due = edits * done // files
            while busy.made < due:
                busy.make()
            busy.look()
            progress = time.time() if done > before else progress
            if time.time() - progress > _PATIENCE:
                raise RuntimeError(f"The first sync stands still at {done} of {files} files.")
            time.sleep(_LOOK)
        seconds = time.time() - began
        busy.wait()
        idle = Edits(folder, look, order[edits:], edits)
        pause = min(1.0, seconds / edits)
        while idle.made < _share(edits):
            idle.make()
            idle.look()
            time.sleep(pause)
        idle.wait()
        lost = sum(not stack.names(words(number)) for number in range(edits + _share(edits)))
        read = look.reads()
        (folder / _TOP).rename(folder / _RENAMED)
        wait_for(lambda: look.knows(_RENAMED), lambda: "The renamed folder is not seen.")
        stack.wait_until_read(files)
        return Measured(busy.waits, idle.waits, lost, seconds, look.reads() - read)


def _share(edits: int) -> int:
    """How many edits are made on the idle system."""
    return max(1, edits // 5)


class Edits:
    """Edits of different files, and when each could be searched."""

    def __init__(self, folder: Path, look: Look, order: Iterable[int], first: int) -> None:
        self._folder = folder
        self._look = look
        self._order = iter(order)
        self._first = first
        self._open: dict[str, tuple[str, float]] = {}
        self.made = 0
        self.waits: list[float] = []

    def make(self) -> None:
        """Write another file anew."""
        path = path_of(self._folder, next(self._order))
        text = words(self._first + self.made)
        self.made += 1
        self._open[path.name] = text, time.time()
        path.write_text(f"Here is {text}.\n")

    def look(self) -> None:
        """Which of them can be searched by now?"""
        for name, passage, moment in self._look.shown(list(self._open)):
            text, began = self._open[name]
            if text in passage:
                self.waits.append(moment - began)
                del self._open[name]

    def wait(self) -> None:
        """Until all of them can."""
        end = time.time() + _PATIENCE
        while self._open:
            if time.time() > end:
                raise RuntimeError(f"{len(self._open)} edits cannot be searched, such as {next(iter(self._open))}.")
            self.look()
            time.sleep(_LOOK)


class Look:
    """What the person's rows say."""

    def __init__(self, connection: CoreConnection) -> None:
        self._connection = connection

    def at_rest(self) -> int:
        """Files that have been read to their end, once at least."""
        return int(self._rows("SELECT count(*) FROM gdrive_files WHERE indexed_at IS NOT NULL")[0][0])

    def reads(self) -> int:
        """How often content was read."""
        return int(self._rows("SELECT count(*) FROM gdrive_audit_log WHERE action = 'read'")[0][0])

    def knows(self, folder: str) -> bool:
        """Whether a folder of this name is known."""
        return bool(self._rows(f"SELECT 1 FROM gdrive_files WHERE state = 'folder' AND name = '{folder}'"))

    def shown(self, names: list[str]) -> list[list[Any]]:
        """(name, passage, when it was shown) of what search shows of these files."""
        if not names:
            return []
        return self._rows(
            "SELECT f.name, m.passage, extract(epoch FROM f.indexed_at)::float8 FROM gdrive_files f"
            f" JOIN memories m ON m.job_id = f.current_job WHERE f.name IN ({', '.join(map(repr, names))})"
        )

    def _rows(self, statement: str) -> list[list[Any]]:
        rows: list[list[Any]] = self._connection.execute_simple(statement).rows or []
        return rows


@contextmanager
def looking(stack: LocalStack) -> Iterator[Look]:
    """The database as the dashboard sees it for the one person there is."""
    assert stack.session, "the person is connected"
    lines = dict(line.split("=", 1) for line in (stack.data / "environment").read_text().splitlines())
    with closing(connect_to_url(lines["DATABASE_URL"])) as connection:
        connection.execute_simple("SET ROLE drivestream_caretaker")
        [[user_id]] = connection.execute_simple("SELECT user_id FROM users").rows
        connection.execute_simple(f"SET ROLE drivestream_reader; SET app.user_id = '{user_id}'")
        yield Look(connection)


def at(waits: Sequence[float], share: float) -> float:
    """The wait that so large a share does not exceed."""
    return sorted(waits)[max(0, math.ceil(share * len(waits)) - 1)]
