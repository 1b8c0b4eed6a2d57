"""What reading a file adds to the streamer's whole process tree over its idle state, for every kind of reading.

Each case has a fresh process of the function, which first reads a small file of the same kind: what is imported and
pooled by then is idle memory. The tree is the server, its worker and the readers' children, looked at from outside.

Each process counts with its resident size (RSS), shared pages and all, and not with its share of them (PSS): PSS
falls when anybody else on the machine maps the same library, RSS only when memory is given back. And it counts with
the highest size since the idle state that the kernel remembers (VmHWM), so that no moment between two looks is missed.
The sum is therefore never below what the tree held at any one moment.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.hosting import tree
from tests.bench import made_files
from tests.bench.lone_streamer import Streamer, Surroundings, surroundings
from tests.bench.made_drive import DOCUMENT, Made
from tests.bench.made_files import MEGABYTE, Content

BOUND, BOUND_WITH_CHILD = 64.0, 96.0  # MiB over idle; the second while a child process reads a PDF
_SMALL = MEGABYTE
_LOOKS_EVERY = 0.02


@dataclass(frozen=True)
class Case:
    """A kind of file, its sizes in megabytes, how it is served, what must be proved of it, and its bound."""

    name: str
    megabytes: int
    scaled: int
    make: Callable[[int], Content]
    integrity: str
    mime_type: str = "application/octet-stream"
    too_large_to_export: bool = False
    bound: float = BOUND

    def file(self, kind: str, size: int) -> Made:
        """A file of this case, with so many bytes."""
        name = f"{kind}-{self.name}"
        return Made(name, self.make(size), self.mime_type, self.too_large_to_export)


CASES = (
    Case("text.txt", 20_000, 80, made_files.text, "checksum"),
    Case("workbook.xlsx", 300, 19, made_files.workbook, "length+revision"),
    Case("archive.zip", 5_000, 70, made_files.archive, "length+revision"),
    Case("export", 64, 64, made_files.markdown, "length+revision", DOCUMENT),
    Case("long-export", 64, 64, made_files.markdown, "length+revision", DOCUMENT, too_large_to_export=True),
    Case("pages.pdf", 2_000, 100, made_files.pdf, "length+revision", bound=BOUND_WITH_CHILD),
)


def measure_all(cases: list[Case], *, scaled: bool) -> dict[str, dict[str, Any]]:
    """MiB over idle for every case, by its name and size."""
    if sys.platform != "linux":
        raise SystemExit("The memory of a tree of processes is read from Linux' /proc.")
    found: dict[str, dict[str, Any]] = {}
    with surroundings() as around:
        for case in cases:
            size = case.scaled if scaled else case.megabytes
            found[f"{case.name}, {size} MB"] = result = measure(around, case, size * MEGABYTE)
            print(f"{case.name}, {size} MB: {result}", file=sys.stderr, flush=True)
    return found


def measure(around: Surroundings, case: Case, size: int) -> dict[str, Any]:
    """One case. Raises where the file was not read to its end, or not proved."""
    file = case.file("large", size)
    with around.streamer() as streamer:
        read(streamer, case.file("small", _SMALL))
        with watching(streamer.pid) as seen:
            began = time.monotonic()
            became = read(streamer, file)
            seconds = time.monotonic() - began
    if became["integrity"] != case.integrity:
        raise RuntimeError(f"{file.name} was not proved by its {case.integrity}: {became}")
    return {
        "idle_mib": round(seen.idle, 1),
        "peak_mib": round(seen.peak, 1),
        "grown_mib": round(seen.peak - seen.idle, 1),
        "bound_mib": case.bound,
        "integrity": became["integrity"],
        "chunks": became["expected_chunks"],
        "seconds": round(seconds, 1),
    }


def read(streamer: Streamer, file: Made) -> dict[str, Any]:
    """Read a file to its end. Raises where that was not reached."""
    became = streamer.read(file)
    if became.get("state") != "streamed" or became["truncated_at"]:
        raise RuntimeError(f"{file.name} was not read to its end: {became}")
    return became


@dataclass
class Seen:
    """MiB of a tree of processes."""

    idle: float = 0.0
    peak: float = 0.0


@contextmanager
def watching(pid: int) -> Iterator[Seen]:
    """Look at a tree of processes while the block runs."""
    for one in tree(pid):
        # From here on the kernel's highest size is the highest since now.
        Path(f"/proc/{one}/clear_refs").write_text("5")
    seen = Seen(idle=_mib(pid, "VmRSS"))
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOKS_EVERY):
            seen.peak = max(seen.peak, _mib(pid, "VmHWM"))

    looking = threading.Thread(target=look, name="memory")
    looking.start()
    try:
        yield seen
    finally:
        done.set()
        looking.join()
        seen.peak = max(seen.peak, _mib(pid, "VmHWM"))


def _mib(pid: int, field: str) -> float:
    return sum(_kib(one, field) for one in tree(pid)) / 1024


def _kib(pid: int, field: str) -> int:
    with suppress(OSError):  # it has ended meanwhile
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0
