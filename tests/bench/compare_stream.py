"""Streaming against the usual way and against curl, side by side, in one run: only ratios inside one run count.

    the usual way   googleapiclient's MediaIoBaseDownload with chunks of 2 MB (`tests/bench/plain.py`)
    Drivestream     `./dev bench stream`
    curl            to /dev/null, by its own clock

Every repetition runs each of them once, one after the other; a ratio is that of one repetition, and the median of all
is what counts. The clock of each starts when its program has loaded all that it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.drive_server import ROOT, Running, id_of, serving

MEGABYTE = 1000**2
GIGABYTE = 1000**3


@dataclass(frozen=True)
class Place:
    """A way for a Drive to be, and what is asked of us there."""

    title: str
    options: tuple[str, ...]
    megabytes: int
    sought: tuple[tuple[str, str, str, float], ...]  # what, of whom, by whom, at least


PLACES = {
    "near": Place(
        "no delay",
        (),
        1000,
        (
            ("speed, no consumer", "usual noop", "ours noop", 3.0),
            ("speed, SHA-256", "usual sha", "ours sha", 1.8),
            ("speed, no consumer", "curl", "ours noop", 0.95),
        ),
    ),
    "far": Place(
        "50 ms before each answer",
        ("--delay", "0.05"),
        1000,
        (("speed, SHA-256", "usual sha", "ours sha", 15.0), ("speed, SHA-256", "curl", "ours sha", 0.55)),
    ),
    "capped": Place(
        "40 MB/s for each connection, 50 ms before each answer",
        ("--delay", "0.05", "--rate", "40e6"),
        500,
        (("speed, SHA-256", "usual sha", "ours sha", 3.5), ("speed, SHA-256", "curl", "ours sha", 1.8)),
    ),
}
CPU = (("ours noop", 0.35), ("ours sha", 0.95))  # seconds a GB, at most


@dataclass(frozen=True)
class Run:
    """One program, once."""

    bytes: int
    wall: float
    cpu: float


def measure(arguments: list[str]) -> dict[str, object]:
    """Print the table; the ratios, what was sought, and every run."""
    parser = argparse.ArgumentParser(prog="./dev bench compare-stream", description=__doc__.split("\n")[0])
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes")
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="drivestream-bench-") as folder:
        for name in chosen.places:
            place = PLACES[name]
            content(Path(folder) / name, round(place.megabytes * chosen.scale))
            with serving(Path(folder), *place.options) as server:
                runs = [repetition(server, id_of(name)) for _ in range(chosen.repetitions)]
            rows += compared(place, runs)
            (Path(folder) / name).unlink()
    print(table(rows))
    return {"rows": rows, "repetitions": chosen.repetitions, "load": os.getloadavg()[0], "cores": os.cpu_count()}


def content(path: Path, megabytes: int) -> None:
    """A file of noise, in the page cache once it is written."""
    block = random.Random(1).randbytes(MEGABYTE)
    with path.open("wb") as file:
        for number in range(megabytes):
            file.write(number.to_bytes(8, "big") + block[8:])


def repetition(server: Running, file: str) -> dict[str, Run]:
    """Each program once."""
    runs = {}
    server.prepare(file)
    for consumer in ("noop", "sha"):
        wanted = ("--drive", server.url, "--file", file, "--consumer", consumer)
        runs[f"usual {consumer}"] = program("tests.bench.plain", "stream", *wanted)
        runs[f"ours {consumer}"] = program("tests.bench", "stream", "--token", "t", *wanted)
    runs["curl"] = curl(f"{server.url}/drive/v3/files/{file}?alt=media")
    if len({run.bytes for run in runs.values()}) != 1:
        raise RuntimeError(f"They did not read the same: {runs}")
    return runs


def program(*arguments: str) -> Run:
    """One of ours, whose last line says what it measured."""
    run = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    said = json.loads(run.stdout.splitlines()[-1])
    return Run(said["bytes"], said["wall"], said["cpu"])


def curl(url: str) -> Run:
    """To /dev/null."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(
        ["curl", "--silent", "--fail", "--output", os.devnull, "--write-out", "%{size_download} %{time_total}", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(int(said[0]), float(said[1]), cpu)


def compared(place: Place, runs: list[dict[str, Run]]) -> list[dict[str, object]]:
    """A row for everything that is sought of us in a place, and what each program took."""
    rows: list[dict[str, object]] = []
    for what, peer, ours, least in place.sought:
        ratios = [run[peer].wall / run[ours].wall for run in runs]
        rows.append(_row(place, f"{what}, against {peer.split()[0]}", statistics.median(ratios), f">= {least}", ratios))
    for name, most in CPU:
        seconds = [run[name].cpu / run[name].bytes * GIGABYTE for run in runs]
        rows.append(_row(place, f"processor s/GB, {name}", statistics.median(seconds), f"<= {most}", seconds))
    for name in runs[0]:
        speeds = [run[name].bytes / run[name].wall / MEGABYTE for run in runs]
        rows.append(_row(place, f"MB/s, {name}", statistics.median(speeds), "", speeds))
    return rows


def _row(place: Place, what: str, median: float, sought: str, all_of_them: list[float]) -> dict[str, object]:
    least, most = min(all_of_them), max(all_of_them)
    return {
        "where": place.title,
        "what": what,
        "median": round(median, 2),
        "least": round(least, 2),
        "most": round(most, 2),
        "sought": sought,
    }


def table(rows: list[dict[str, object]]) -> str:
    """The rows as Markdown."""
    lines = ["| where | what | median | least - most | sought |", "| --- | --- | --- | --- | --- |"]
    lines += ["| {where} | {what} | {median} | {least} - {most} | {sought} |".format(**row) for row in rows]
    return "\n".join(lines)
