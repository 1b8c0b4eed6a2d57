"""`./dev read PATH... [--json]`: what Drivestream's readers make of files on this machine.

With `--json` a line per file: path, state, reason, seconds, peak_rss_mib, text. The text is written as it is read,
so that a large file needs no more memory here than in the streamer.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import mimetypes
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.domain.errors import DrivestreamError, Skipped
from shared.domain.parts import Image, Locator, Pages, Part, Text, Truncated
from shared.readers import Limits, PathSource, read

_NO_RECOGNISER = "This is a picture, or pages of them: reading it needs Document AI, which this command does not call."


@dataclass
class Outcome:
    """How reading one file ended."""

    state: str = "indexed"  # indexed, skipped or failed
    reason: str = ""
    code: str = ""


class Show(Protocol):
    """Where one file's parts and outcome go."""

    def begin(self, path: Path) -> None: ...
    def part(self, part: Part) -> None: ...
    def end(self, outcome: Outcome, seconds: float, peak_rss_mib: float) -> None: ...


def main(arguments: list[str] | None = None) -> int:
    """Read the files named, folders with all that is in them. 0 unless a file failed or a path is missing."""
    parser = argparse.ArgumentParser(prog="./dev read", description="Read files through Drivestream's readers.")
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", type=Path, help="a file, or a folder with all that is in it"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each file")
    chosen = parser.parse_args(arguments)
    missing = [path for path in chosen.paths if not path.exists()]
    for path in missing:
        print(f"{path}: there is no such file or folder.", file=sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of any encoding, a file name of none
        sys.stdout.reconfigure(errors="backslashreplace")
    show: Show = Json() if chosen.json else Plain()
    failed = 0
    bugs: list[Exception] = []
    for path in _files([path for path in chosen.paths if path not in missing]):
        failed += _read(path, show, bugs).state == "failed"
    if bugs:
        raise ExceptionGroup("readers broke their promise", bugs)
    return 1 if missing or failed else 0


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from (Path(folder, name) for name in sorted(names) if not Path(folder, name).is_symlink())
        else:
            yield path


def _read(path: Path, show: Show, bugs: list[Exception]) -> Outcome:
    began = time.monotonic()
    _forget_peak()
    ended = _ended_children()
    show.begin(path)
    try:
        outcome = _parts(path, show)
    except Skipped as why:
        outcome = Outcome("skipped", why.reason, why.code)
    except DrivestreamError as why:
        outcome = Outcome("failed", why.reason, why.code)
    except OSError as fault:
        outcome = Outcome("failed", f"The file cannot be opened: {fault.strerror or fault}.", "unreadable")
    except Exception as bug:  # noqa: BLE001 - raised when the other files have been read
        bugs.append(bug)
        outcome = Outcome("failed", f"A fault of Drivestream's own: {type(bug).__name__}.", "bug")
    show.end(outcome, time.monotonic() - began, _peak_mib(ended))
    return outcome


def _parts(path: Path, show: Show) -> Outcome:
    if not path.is_file():
        raise Skipped("This is no file: a pipe, a socket or a device.", code="no_file")
    outcome, told, pictures = Outcome(), False, 0
    for part in read(PathSource(path, mimetypes.guess_type(path.name)[0] or ""), Limits()):
        show.part(part)
        told = told or isinstance(part, Text)
        if isinstance(part, Pages | Image):
            pictures += (part.locator.page_last or 1) - (part.locator.page_first or 1) + 1
        elif isinstance(part, Truncated):
            outcome.reason, outcome.code = part.reason, "truncated"
    if pictures and not told:
        raise Skipped(_NO_RECOGNISER, code="needs_ocr")
    if pictures:
        pages = "1 page is a picture" if pictures == 1 else f"{pictures} pages are pictures"
        note = f"{pages} of text; reading that needs Document AI, which this command does not call."
        outcome.reason, outcome.code = " ".join(filter(None, (outcome.reason, note))), outcome.code or "needs_ocr"
    return outcome


class Json:
    """A line of JSON, its text written piece by piece."""

    def begin(self, path: Path) -> None:
        sys.stdout.write(f'{{"path": {json.dumps(str(path))}, "text": "')

    def part(self, part: Part) -> None:
        if isinstance(part, Text):
            sys.stdout.write(json.dumps(part.text)[1:-1])

    def end(self, outcome: Outcome, seconds: float, peak_rss_mib: float) -> None:
        facts = {
            "state": outcome.state,
            "reason": outcome.reason,
            "code": outcome.code,
            "seconds": round(seconds, 4),
            "peak_rss_mib": round(peak_rss_mib, 1),
        }
        sys.stdout.write(f'", {json.dumps(facts)[1:]}\n')
        sys.stdout.flush()


class Plain:
    """For people: the text, each part under its place."""

    def begin(self, path: Path) -> None:
        print(f"== {path}")

    def part(self, part: Part) -> None:
        if isinstance(part, Text):
            print(f"-- {_place(part.locator)}\n{part.text.rstrip()}")
        elif isinstance(part, Pages | Image):
            print(f"-- {_place(part.locator)}\n[a picture, for Document AI]")

    def end(self, outcome: Outcome, seconds: float, peak_rss_mib: float) -> None:
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"=> {outcome.state}{reason} ({seconds:.2f} s, {peak_rss_mib:.0f} MiB)\n")


def _place(locator: Locator) -> str:
    said = [
        text
        for text in (
            locator.part,
            locator.heading,
            f"sheet {locator.sheet}" if locator.sheet else None,
            _between("slide", locator.slide, locator.slide),
            _between("page", locator.page_first, locator.page_last),
            _between("row", locator.row_first, locator.row_last),
            _between("line", locator.line_first, locator.line_last),
        )
        if text
    ]
    return ", ".join(said) or "text"


def _between(what: str, first: int | None, last: int | None) -> str | None:
    if first is None:
        return None
    return f"{what} {first}" if first == last else f"{what}s {first}-{last}"


def _ended_children() -> int:
    """The highest resident size, in KiB, of all children that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # Linux only: forget the highest resident size so far
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib(ended_before: int) -> float:
    """The highest resident size since `_forget_peak`: of this process, of the children it has now, and of one that
    has ended since, if it was larger than any before."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        ended = _ended_children()
        return (sum(_high_water(name) for name in ("self", *children)) + (ended if ended > ended_before else 0)) / 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _high_water(process: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
