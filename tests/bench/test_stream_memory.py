"""Memory does not grow with the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import memory
from tests.bench.test_commands import last_line, patiently

LONG = pytest.mark.long


@pytest.mark.parametrize("megabytes", [list(memory.SCALED), pytest.param(list(memory.SIZES), marks=LONG)])
def test_streaming_takes_the_same_little_memory_for_any_file(tmp_path: Path, megabytes: list[int]) -> None:
    """At most 8 MiB over what is imported, and within 2 MiB the same for every size."""
    grown = [one["mib_over_imports"] for one in memory.stream_all(tmp_path, megabytes).values()]

    assert max(grown) <= 8
    assert max(grown) - min(grown) <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a tree of processes is read from Linux' /proc")
@pytest.mark.xdist_group("reader_memory")
@pytest.mark.parametrize("scale", [["--scale"], pytest.param([], marks=LONG)])
def test_the_streamer_and_its_children_stay_within_their_bound(scale: list[str]) -> None:
    """Text, a workbook, an archive, exports that ignore Range and a PDF, each larger than what reading it may take."""
    trees = tree(*scale)

    assert len(trees) == 6
    assert {name: one["grown_mib"] for name, one in trees.items() if one["grown_mib"] > one["bound_mib"]} == {}


def tree(*options: str) -> dict[str, Any]:
    """MiB of the streamer's process tree for every file."""
    found: dict[str, Any] = last_line(patiently("memory", *options, "--megabytes"))["tree"]
    return found
