"""How near the forecast comes: of the sample Drive, and of a folder that was made after the forecast was finished.

The whole pipeline reads both, as it is asked to: the forecast is made while nothing has been read, then reading is
started, and what the counters say at the end stands beside what was expected.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import forecast_folder, office_folder, school_folder
from tests.integration.pipeline import ROOT, Person, Pipeline
from tests.integration.test_pipeline_scope import ask

SOUGHT = ("drive_units", "drive_bytes", "ocr_pages", "tokens")  # within a fifth
NAMES = (*SOUGHT, "embedded_tokens", "model_input_tokens", "model_output_tokens")
WITHIN = 0.2
PATIENCE = 3600.0
# Each takes a place, how many files, and a seed; all but the first were written without a look at the forecast.
FOLDERS: dict[str, Callable[[Path, int, int], object]] = {
    "made": forecast_folder.make_folder,
    "office": office_folder.make_folder,
    "school": school_folder.make_folder,
}
_LOOK_SECONDS = 0.5


def measure(arguments: list[str]) -> dict[str, Any]:
    """Forecast and actual of both, by what is counted and by kind."""
    parser = argparse.ArgumentParser(prog="./dev bench forecast")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--folder", choices=sorted(FOLDERS), default="made")
    parser.add_argument("--seed", type=int, default=20261127)
    asked = parser.parse_args(arguments)
    make_folder = FOLDERS[asked.folder]
    pipeline = Pipeline()
    try:
        with pipeline.setting(FIRST_SYNC="ask"):
            sample = _read(pipeline, _copy_sample)
            folder = _read(pipeline, lambda place: make_folder(place, asked.files, asked.seed))
    finally:
        pipeline.stop()
    complete = all(abs(told["apart"][name]) <= WITHIN for told in (sample, folder) for name in SOUGHT)
    return {"sample": sample, "folder": folder, "complete": complete}


def _copy_sample(place: Path) -> None:
    drive = ROOT / "infra" / "local" / "sample_drive"
    for top in drive.iterdir():
        if top.is_dir():
            shutil.copytree(top, place / top.name)


def _read(pipeline: Pipeline, fill: Callable[[Path], object]) -> dict[str, Any]:
    person = pipeline.person(connect=False)
    fill(person.folder)
    pipeline.google.scan()
    pipeline.connect(person)
    _settle(pipeline)
    expected = _said(pipeline, person)
    ask(pipeline, person, "POST", "/api/start")
    _settle(pipeline)
    found = _said(pipeline, person)
    assert found["total"]["expected"] == expected["total"]["expected"]
    return {"files": found["total"]["expected"]["files"], **_beside(found["total"]), "kinds": _by_kind(found["kinds"])}


def _settle(pipeline: Pipeline) -> None:
    ends = time.monotonic() + PATIENCE
    while pipeline.backlog():
        if time.monotonic() > ends:
            raise TimeoutError(f"still on their way: {pipeline.backlog()}")
        time.sleep(_LOOK_SECONDS)


def _said(pipeline: Pipeline, person: Person) -> dict[str, Any]:
    said: dict[str, Any] = ask(pipeline, person, "GET", "/api/forecast").json()
    return said


def _beside(told: dict[str, Any]) -> dict[str, Any]:
    expected, actual = told["expected"], told["actual"]
    return {
        "expected": {name: expected[name] for name in (*NAMES, "dollars", "seconds")},
        "actual": {name: actual[name] for name in (*NAMES, "dollars", "seconds")},
        "apart": {name: round(expected[name]["likely"] / actual[name] - 1, 3) for name in NAMES if actual[name]},
    }


def _by_kind(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        kind["kind"]: {name: (kind["expected"][name]["likely"], (kind["actual"] or {}).get(name)) for name in NAMES}
        for kind in kinds
        if kind["expected"]
    }
