"""A file that is longer than a life of the function: read in one life and in several, chunk for chunk the same.

The lives are real: each stops by its clock, publishes its own continuation to the broker, and the next one begins with
that message and with what Postgres holds. Compared is every chunk whole, with its text, its number and its places;
passages are cut from nothing else, so that equal chunks have equal passages.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from schemas.messages.file_chunk_pb2 import FileChunk
from shared.domain.names import FILE_CHUNKS
from tests.bench import made_files
from tests.bench.lone_streamer import Streamer, Surroundings, surroundings
from tests.bench.made_drive import DOCUMENT, Made
from tests.bench.made_files import MEGABYTE, Content

_HELD = MEGABYTE  # of a scaled-down container: what is larger is read by Range, as a large one is
_PATIENCE = 60.0


@dataclass(frozen=True)
class Case:
    """A kind of file, its sizes in megabytes, and how many lives it would take if each got on as the one life does."""

    name: str
    megabytes: float
    scaled: float
    make: Callable[[int], Content]
    lives: int = 6
    mime_type: str = "application/octet-stream"


CASES = (
    Case("text.txt", 2_000, 4, made_files.text),
    Case("table.csv", 100, 3, made_files.table),
    Case("export", 64, 3, made_files.markdown, mime_type=DOCUMENT),
    Case("workbook.xlsx", 24, 2, made_files.workbook),
    Case("archive.zip", 500, 4, made_files.archive),
    Case("pages.pdf", 300, 20, made_files.pdf),
)


def measure(arguments: list[str]) -> dict[str, Any]:
    """For every file its lives, and whether they left the same chunks as one."""
    parser = argparse.ArgumentParser(prog="./dev bench lives", description=__doc__)
    parser.add_argument("--scale", action="store_true", help="small files, and lives of one chunk each")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[case.name for case in CASES])
    chosen = parser.parse_args(arguments)
    cases = [case for case in CASES if not chosen.only or case.name in chosen.only]
    with surroundings() as around, Functions(around, {"HOLD_BYTES": _HELD} if chosen.scale else {}) as functions:
        compare = one_chunk_each if chosen.scale else by_the_clock
        found = {}
        for case in cases:
            found[case.name] = result = compare(functions, case)
            print(f"{case.name}: {result}", file=sys.stderr, flush=True)
    return {**found, "complete": all(one["same"] for one in found.values())}


def by_the_clock(functions: Functions, case: Case) -> dict[str, Any]:
    """One file, read in one life and in several that end after a part of its time."""
    content = case.make(int(case.megabytes * MEGABYTE))
    began = time.monotonic()
    once = functions.read(case, content, None)
    return compared(once, functions.read(case, content, (time.monotonic() - began) / case.lives))


def one_chunk_each(functions: Functions, case: Case) -> dict[str, Any]:
    """A small file, read in one life and in lives without time, which publish one chunk each: so the end of every
    chunk is a place to go on from."""
    content = case.make(int(case.scaled * MEGABYTE))
    return compared(functions.read(case, content, None), functions.read(case, content, 0.0))


def compared(once: Reading, several: Reading) -> dict[str, Any]:
    """What two readings of one file have in common."""
    return {
        "bytes": several.size,
        "life_seconds": several.life_seconds,
        "lives": several.lives,
        "chunks": len(several.chunks),
        "same": once.lives == 1 and several.chunks == once.chunks and not (once.mixed or several.mixed),
        "integrity": [once.integrity, several.integrity],
    }


class Reading:
    """What was published of a file: a hash for every chunk, by its number."""

    def __init__(self) -> None:
        self.size = self.lives = 0
        self.life_seconds: float | None = None
        self.integrity = ""
        self.chunks: dict[int, str] = {}
        self.mixed = False  # one number, two contents

    def take(self, data: bytes) -> None:
        """Hear one message, for the first time or again."""
        chunk = FileChunk.FromString(data)
        for of_this_reading in ("job_id", "user_id", "file_id", "title"):
            chunk.ClearField(of_this_reading)
        digest = hashlib.sha256(chunk.SerializeToString(deterministic=True)).hexdigest()
        self.mixed = self.mixed or self.chunks.setdefault(chunk.index, digest) != digest


class Functions(ExitStack):
    """Processes of the function, one for each length of life. Use it in a `with`."""

    def __init__(self, around: Surroundings, settings: dict[str, object]) -> None:
        super().__init__()
        self._around, self._settings = around, settings
        self._running: dict[float | None, Streamer] = {}

    def read(self, case: Case, content: Content, life: float | None) -> Reading:
        """Read a file to its end by lives of so many seconds, None for one life, and listen to what is published.
        Raises where the end was not reached."""
        if life not in self._running:
            settings = self._settings if life is None else {**self._settings, "LIFE_SECONDS": life}
            self._running[life] = self.enter_context(self._around.streamer(**settings))
        file = Made(f"{'once' if life is None else 'several'}-{case.name}", content, case.mime_type)
        with listening(self._around) as reading:
            became = self._running[life].read(file)
            deadline = time.monotonic() + _PATIENCE
            while len(reading.chunks) < (became["expected_chunks"] or 0) and time.monotonic() < deadline:
                time.sleep(0.05)
        if became["state"] != "streamed" or len(reading.chunks) != became["expected_chunks"]:
            raise RuntimeError(f"{file.name} was not read to its end: {became}, {len(reading.chunks)} chunks heard")
        reading.size, reading.life_seconds = content.size, None if life is None else round(life, 1)
        reading.lives, reading.integrity = became["lives"], became["integrity"]
        return reading


@contextmanager
def listening(around: Surroundings) -> Iterator[Reading]:
    """Hear every chunk that is published while the block runs."""
    reading, done = Reading(), threading.Event()
    subscription = around.subscribe(FILE_CHUNKS)

    def listen() -> None:
        while not done.is_set():
            for data in around.pull(subscription):
                reading.take(data)

    listener = threading.Thread(target=listen, name="listener")
    listener.start()
    try:
        yield reading
    finally:
        done.set()
        listener.join()
        around.unsubscribe(subscription)
