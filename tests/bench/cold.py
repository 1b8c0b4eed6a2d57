"""From the start of a process to its first real answer, for each function as it is deployed, against a bare function.

The bundles run, each in an environment of its own requirements, compiled beforehand as the platform does it, with the
deployed command line; all that they talk to is the one-machine stack. In each repetition a bare function is started
first, and every other start is divided by it; the medians of these ratios are the result. The processor's time counts
beside the clock, because a busy machine stretches only the latter.
"""

from __future__ import annotations

import argparse
import compileall
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from infra.bundle import FUNCTIONS, build
from tests.bundles.alone import linked_environment, processor_seconds, serving
from tests.bundles.first_requests import First, FirstRequests
from tests.bundles.loaded import ASKED, RECORDED, modules_by_package
from tests.integration.pipeline import Pipeline

SOUGHT = {"oauth_callback": 3.0, "drive_webhook": 3.0, "dashboard": 3.0}
SOUGHT_OF_OTHERS = 6.0
BARE = First("bare", "/", "GET", "/", 200)
_SOURCE = "import functions_framework\n\n\n@functions_framework.http\ndef bare(request):\n    return 'ok'\n"
_PATIENCE = 120.0
_BETWEEN_TRIES = 0.002


@dataclass(frozen=True)
class Start:
    """One start: until the answer, by the clock and of the processors."""

    wall: float
    cpu: float
    log: str


class Place:
    """The bundles, their environments, and one log."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._bundles = folder / "dist"
        build(self._bundles, commit="bench")
        bare = self._bundles / BARE.function
        bare.mkdir()
        (bare / "main.py").write_text(_SOURCE)
        shutil.copy(self._bundles / "drive_webhook" / "requirements.txt", bare)
        compileall.compile_dir(self._bundles, quiet=1)
        self._pythons = {
            name: linked_environment(folder / "environments" / name, self._bundles / name / "requirements.txt")
            for name in (BARE.function, *FUNCTIONS)
        }

    def start(self, first: First, environment: Mapping[str, str]) -> Start:
        """Start a function for a request that waits for it."""
        began = time.perf_counter()
        with serving(self._pythons[first.function], self._bundles / first.function, environment, log=self._log) as (
            pid,
            port,
        ):
            while True:
                try:
                    answer = first.ask(port)
                    break
                except requests.ConnectionError:
                    if time.perf_counter() - began > _PATIENCE:
                        sys.exit(f"{first.function} does not answer: {self._log.read_text()[-2000:]}")
                    time.sleep(_BETWEEN_TRIES)
            wall, cpu = time.perf_counter() - began, processor_seconds(pid)
        if answer.status_code != first.status:
            sys.exit(f"{first.function} answered {answer.status_code}: {self._log.read_text()[-2000:]}")
        return Start(wall, cpu, self._log.read_text())


def measure(arguments: list[str]) -> dict[str, Any]:
    """Milliseconds and ratios of every first request; `complete` where each ratio is what is sought."""
    parser = argparse.ArgumentParser(prog="./dev bench cold", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="accept what is loaded now, in tests/bundles/loaded.json")
    asked = parser.parse_args(arguments)
    with redirect_stdout(sys.stderr):  # the stack's functions write their log; the table is the benchmark's
        measured = _measure(asked.repetitions, accept=asked.record)
    if asked.record:
        RECORDED.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
        return {name: sum(packages.values()) for name, packages in measured.items()}
    return compared(measured)


def _measure(repetitions: int, *, accept: bool) -> dict[Any, Any]:
    folder = Path(tempfile.mkdtemp(prefix="drivestream-cold-"))
    pipeline = Pipeline()
    try:
        place, waiting = Place(folder), FirstRequests(pipeline)
        if accept:
            return loaded_by(place, waiting)
        starts: dict[tuple[str, str], list[Start]] = defaultdict(list)
        for _ in range(repetitions):
            starts[BARE.function, BARE.name].append(place.start(BARE, waiting.environment))
            for make in waiting.all():
                first = make()
                starts[first.function, first.name].append(place.start(first, waiting.environment))
        return starts
    finally:
        pipeline.stop()
        shutil.rmtree(folder, ignore_errors=True)


def loaded_by(place: Place, waiting: FirstRequests) -> dict[str, dict[str, int]]:
    """What each function loads until its first answer."""
    loaded = {}
    for make in waiting.one_for_each():
        first = make()
        loaded[first.function] = modules_by_package(place.start(first, {**waiting.environment, **ASKED}).log)
    return loaded


def compared(starts: Mapping[tuple[str, str], list[Start]]) -> dict[str, Any]:
    """A table, and the same as an object."""
    bare = starts[BARE.function, BARE.name]
    result: dict[str, Any] = {"repetitions": len(bare), "complete": True, "starts": []}
    print("| function | first | ms | ratio | of the processor, ms | ratio | sought |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (function, name), measured in starts.items():
        sought = SOUGHT.get(function, SOUGHT_OF_OTHERS) if function != BARE.function else 1.0
        row = {
            "function": function,
            "first": name,
            "ms": round(1000 * statistics.median(one.wall for one in measured)),
            "ratio": _ratio([one.wall for one in measured], [one.wall for one in bare]),
            "cpu_ms": round(1000 * statistics.median(one.cpu for one in measured)),
            "cpu_ratio": _ratio([one.cpu for one in measured], [one.cpu for one in bare]),
            "sought": sought,
        }
        print(f"| `{function}` | {name} | " + " | ".join(str(value) for value in list(row.values())[2:]) + " |")
        result["starts"].append(row)
        result["complete"] &= row["ratio"] <= sought
    return result


def _ratio(measured: list[float], bare: list[float]) -> float:
    return round(statistics.median(one / of for one, of in zip(measured, bare, strict=True)), 2)
