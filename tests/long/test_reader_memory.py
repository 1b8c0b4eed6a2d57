"""What reading takes, measured over a file of each format; the figures stand in docs/formats.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import formats
from shared.readers import FORMATS
from tests.long.large_samples import LARGE, MB

ROOT = Path(__file__).parents[2]
BOUND, BOUND_WITH_CHILD = 64, 96  # MiB
HELD = {"xls", "xlsb", "bmp", "tiff", "webp"}  # whole in a child process with its own bound
READ = [row for row in FORMATS if row.read]


def peak(path: Path) -> dict[str, float]:
    """How `./dev read` ended and what it took, without keeping the text that it writes."""
    command = [sys.executable, "-m", "infra.local.read", "--json", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        tail = b""
        while piece := process.stdout.read(1 << 20):
            tail = (tail + piece)[-4096:]
    found: dict[str, float] = json.loads(b"{" + tail[tail.rindex(b'", "state"') + 3 :])
    return found


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, dict[str, float]]]:
    """Collects what is measured; it takes the place of the older figures of the same formats."""
    found: dict[str, dict[str, float]] = {}
    yield found
    known = {row.kind for row in READ}
    older = json.loads(formats.FIGURES.read_text())
    merged = {kind: figure for kind, figure in {**older, **found}.items() if kind in known}
    formats.FIGURES.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")
    formats.main()


@pytest.mark.long
@pytest.mark.xdist_group("reader_memory")
@pytest.mark.parametrize("kind", [row.kind for row in READ])
def test_memory_does_not_grow_with_the_file(kind: str, tmp_path: Path, figures: dict[str, dict[str, float]]) -> None:
    """The function has what it was given, and other files are being read beside this one."""
    (tmp_path / "small.txt").write_text("a few words\n")
    extension, write = LARGE[kind]
    path = tmp_path / f"large.{extension}"
    write(path)

    took = peak(path)

    grown = took["peak_rss_mib"] - peak(tmp_path / "small.txt")["peak_rss_mib"]
    figures[kind] = {"sample_mb": round(path.stat().st_size / MB, 1), "mib": round(grown, 1)}
    path.unlink()
    assert took["code"] in ("", "needs_ocr"), took
    if kind not in HELD:
        assert grown < (BOUND_WITH_CHILD if "child" in {row.needs for row in READ if row.kind == kind} else BOUND)
