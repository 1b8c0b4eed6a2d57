"""A folder of a Drive: listed, streamed, read and cut into passages, as the functions do it but without a database.

Every file that is listed is in `files`, if it was read, or in `errs` with its reason. The listing tells all that
reading needs, so that a file costs one request.
"""

from __future__ import annotations

import argparse
import gc
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Self, TypeVar

from infra.local.outside import add_arguments, drive_at
from shared.adapters.drive import Drive, DriveSource
from shared.adapters.transport import LONGEST_PAUSE
from shared.config import Settings
from shared.domain.chunks import pack
from shared.domain.errors import DrivestreamError, ReconnectNeeded, Skipped, Unavailable
from shared.domain.files import File, exports_of, why_not_exported
from shared.passages import cut
from shared.readers import BytesSource, Limits, read
from tests import mixed_folder

T = TypeVar("T")

WORKERS = 32
LISTERS = 4
LOOKS = 3  # at a file or a page of a listing, each with the transport's own patience
SETTINGS = Settings(google_cloud_project="bench", retry_base_seconds=0.25)
LIMITS = Limits.of(SETTINGS)


@dataclass(frozen=True)
class Page:
    """A page of a folder."""

    folder: str
    files: tuple[File, ...] = ()
    next_token: str | None = None
    error: str = ""


@dataclass(frozen=True)
class Loaded:
    """What became of one file."""

    file_id: str
    chars: int = 0
    chunks: int = 0
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a folder. `complete` says whether all of it could be listed."""

    loaded: list[Loaded]
    errors: list[str]
    complete: bool


def measure(arguments: list[str]) -> dict[str, object]:
    """The files that were read, their characters and passages, the errors, and seconds."""
    parser = argparse.ArgumentParser(prog="./dev bench load", description=__doc__)
    add_arguments(parser, required=True)
    parser.add_argument("--folder", metavar="ID", required=True)
    parser.add_argument("--workers", type=int, default=WORKERS, help="files read at once, in all processes together")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    processes = max(1, min(chosen.processes, chosen.workers))
    with Readers(chosen.drive, chosen.token, processes, math.ceil(chosen.workers / processes)) as readers:
        drive = drive_at(chosen.drive, chosen.token, SETTINGS)
        drive.prepare()
        wall, cpu = time.perf_counter(), readers.cpu()
        outcome = load(drive, chosen.folder, readers)
        wall, cpu = time.perf_counter() - wall, readers.cpu() - cpu
    return {
        "files": [one.file_id for one in outcome.loaded if not one.error],
        "chars": sum(one.chars for one in outcome.loaded),
        "chunks": sum(one.chunks for one in outcome.loaded),
        "wall_load": round(wall, 6),
        "cpu": round(cpu, 6),
        "nerr": len(outcome.errors),
        "errs": outcome.errors,
        "complete": outcome.complete,
    }


def load(drive: Drive, folder: str, readers: Readers) -> Outcome:
    """Everything below a folder. Files are read while the rest is still being listed."""
    errors: list[str] = []
    seen = {folder}
    readers.begin()
    with ThreadPoolExecutor(LISTERS) as pool:
        listings = {pool.submit(_list, drive, folder, None)}
        while listings:
            finished, listings = wait(listings, return_when=FIRST_COMPLETED)
            for page in (future.result() for future in finished):
                if page.error:
                    errors.append(f"folder {page.folder}: {page.error}")
                if page.next_token:
                    listings.add(pool.submit(_list, drive, page.folder, page.next_token))
                for file in page.files:
                    if file.id in seen:  # what lies in two folders is one file
                        continue
                    seen.add(file.id)
                    if file.is_folder:
                        listings.add(pool.submit(_list, drive, file.id, None))
                    else:
                        readers.read(file)
    complete = not errors
    loaded = readers.finish()
    errors += [f"{one.file_id}: {one.error}" for one in loaded if one.error]
    return Outcome(loaded, errors, complete)


class Readers:
    """Processes that read files, each with some threads: one process alone would use one core."""

    def __init__(self, url: str, token: str, processes: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._tasks: SimpleQueue[File | None] = context.SimpleQueue()
        self._done: SimpleQueue[Loaded | None] = context.SimpleQueue()
        arguments = (url, token, processes, threads, self._tasks, self._done)
        self._processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(processes)]
        self._threads = threads

    def __enter__(self) -> Self:
        """Start them, and wait until each has loaded what it needs."""
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self._next()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            process.join()

    def begin(self) -> None:
        """Take results from now on: a full pipe of results would hold up the files that are given out."""
        self._collected = ThreadPoolExecutor(1).submit(self._collect)

    def read(self, file: File) -> None:
        """Give out a file."""
        self._tasks.put(file)

    def finish(self) -> list[Loaded]:
        """What became of every file that was given out. Nothing can be given out afterwards."""
        for _ in range(len(self._processes) * self._threads):
            self._tasks.put(None)
        return self._collected.result()

    def _collect(self) -> list[Loaded]:
        """Results until the last thread has said that it found no more work."""
        loaded, working = [], len(self._processes) * self._threads
        while working:
            result = self._next()
            if result is None:
                working -= 1
            else:
                loaded.append(result)
        return loaded

    def _next(self) -> Loaded | None:
        """The next result. Raises when a process has died, since its file would be waited for in vain."""
        results = self._done._reader  # type: ignore[attr-defined]
        ready = connection.wait([results, *(process.sentinel for process in self._processes)])
        if results not in ready:
            raise RuntimeError("A process that reads files has ended.")
        return self._done.get()

    def cpu(self) -> float:
        """Seconds of the processor so far, of this process and all below it."""
        return time.process_time() + sum(_seconds(str(process.pid)) for process in self._processes)


def _work(
    url: str,
    token: str,
    processes: int,
    threads: int,
    tasks: SimpleQueue[File | None],
    done: SimpleQueue[Loaded | None],
) -> None:
    """A reading process."""
    drive = drive_at(url, token, SETTINGS)
    drive.prepare()
    load_readers()
    limits = replace(LIMITS, children=max(1, (os.cpu_count() or 1) // processes))
    done.put(None)

    def read_on() -> None:
        while (file := tasks.get()) is not None:
            done.put(_load(drive, file, limits))
        done.put(None)

    for _ in range(threads):
        threading.Thread(target=read_on).start()
    threading.Event().wait()  # its processor time is still to be counted


def load_readers() -> None:
    """Read a file of every kind, so that all that readers load, and the process that PDF is read in, is there."""
    for name, content in mixed_folder.one_of_each().items():
        with suppress(Skipped):
            for chunk in pack(read(BytesSource(content, name), LIMITS)):
                if chunk.kind == "text":
                    cut(chunk.payload.decode(), chunk.marks)
    gc.collect()
    gc.freeze()  # none of it is garbage: looking at it again and again would take a fifth of the time


def _list(drive: Drive, folder: str, token: str | None) -> Page:
    try:
        page = _patiently(lambda: drive.list_folder(folder, token))
    except DrivestreamError as error:
        return Page(folder, error=f"{error.code}: {error.reason}")
    missing = "incomplete: Drive did not look everywhere." if page.incomplete else ""
    return Page(folder, page.files, page.next_page_token, missing)


def _load(drive: Drive, file: File, limits: Limits) -> Loaded:
    try:
        return _patiently(lambda: _read(drive, file, limits))
    except DrivestreamError as error:
        return Loaded(file.id, error=f"{error.code}: {error.reason}")


def _patiently(work: Callable[[], T]) -> T:
    """What the broker does for the functions: work that was not possible just now is delivered again."""
    for _ in range(LOOKS - 1):
        try:
            return work()
        except ReconnectNeeded:
            raise
        except Unavailable as error:
            time.sleep(min(error.retry_after or 1.0, LONGEST_PAUSE))
    return work()


def _read(drive: Drive, file: File, limits: Limits) -> Loaded:
    chars = chunks = 0
    for chunk in pack(read(_source(drive, file), limits)):
        if chunk.kind == "text":
            text = chunk.payload.decode()
            chars += len(text)
            chunks += len(cut(text, chunk.marks))
    return Loaded(file.id, chars, chunks)


def _source(drive: Drive, file: File) -> DriveSource:
    refusal = "A shortcut: the file it points to is read where it lies." if file.is_shortcut else why_not_exported(file)
    if refusal:
        raise Skipped(refusal, code="no_text")
    ladder = exports_of(file)
    return drive.export(file, ladder) if ladder else drive.open(file)


def _seconds(process: str) -> float:
    """Of the processor, of a process and its children. None where the system does not tell."""
    root = Path("/proc") / process
    try:
        ticks = sum(map(int, (root / "stat").read_text().rpartition(")")[2].split()[11:15]))
        children = [child for task in root.glob("task/*/children") for child in task.read_text().split()]
    except OSError:
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(_seconds, children))
