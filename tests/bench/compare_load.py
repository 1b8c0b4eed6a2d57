"""A thousand small mixed files against the usual way: one by one, with pypdf, docx2txt and a plain splitter.

The usual way takes two requests a file, reads three kinds of file and takes the rest for text. Ours reads every kind
and cuts at paragraphs, with places. It is left out where pypdf or docx2txt is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import mixed_folder
from tests.bench.drive_server import ROOT, Running, serving

PLACES = {"no delay": (), "50 ms before each answer": ("--delay", "0.05")}


def measure(arguments: list[str]) -> dict[str, object]:
    """Files a second of both, the ratio, and requests for content a file."""
    parser = argparse.ArgumentParser(prog="./dev bench compare-load", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=3)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="drivestream-bench-") as place:
        mixed_folder.make(Path(place), chosen.files, big=False, odd=False)
        return {where: _compared(place, options, chosen) for where, options in PLACES.items()}


def _compared(place: str, options: tuple[str, ...], chosen: argparse.Namespace) -> dict[str, object]:
    with serving(Path(place), *options) as server:
        pairs = [(_usual(server), _ours(server)) for _ in range(chosen.repetitions)]
        requests = server.counts()["media"] - sum(len(usual["files"]) + usual["nerr"] for usual, _ in pairs if usual)
    seconds = [ours["wall_load"] for _, ours in pairs]
    result: dict[str, object] = {
        "ours_files_a_second": round(chosen.files / statistics.median(seconds)),
        "ours_cpu": round(statistics.median(ours["cpu"] for _, ours in pairs), 2),
        "requests_for_content_a_file": round(requests / chosen.files / chosen.repetitions, 3),
        "ours_read": len(pairs[0][1]["files"]),
        "ours_not_read": pairs[0][1]["nerr"],
    }
    ratios = [usual["wall_load"] / ours["wall_load"] for usual, ours in pairs if usual]
    if ratios:
        usual = statistics.median(usual["wall_load"] for usual, _ in pairs if usual)
        result |= {"usual_files_a_second": round(chosen.files / usual), "ratio": round(statistics.median(ratios), 1)}
    return result


def _ours(server: Running) -> dict[str, Any]:
    return _program("tests.bench", "load", "--token", "t", "--drive", server.url, "--folder", "root")


def _usual(server: Running) -> dict[str, Any] | None:
    if not all(importlib.util.find_spec(name) for name in ("pypdf", "docx2txt")):
        return None
    return _program("tests.bench.plain", "load", "--drive", server.url, "--folder", "root")


def _program(*arguments: str) -> dict[str, Any]:
    run = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    said: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return said
