"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = 32
STORY = f"""
from pathlib import Path
from shared.adapters import heap

def mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

{{}}
large = bytearray(16 * 2**20)
del large  # here the C library would take it that pieces like this come often
before = mib()
windows, between = [], []
for _ in range({BLOCKS}):
    windows.append(bytes(range(256)) * 8192)
    between.append(bytearray(b"x") * 100_000)
del windows
print(mib() - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="only GNU's C library keeps so much"
)
def test_windows_that_were_read_leave_nothing_between_what_lives_longer() -> None:
    """A streamer that has read a PDF of 2 GB must not stay larger than before. Unbound, the heap keeps every window."""
    assert grown("") > 2 * BLOCKS
    assert grown("heap.bound()") < 16


def grown(first: str) -> float:
    """MiB that are left of windows of 2 MiB each, in a fresh process."""
    command = [sys.executable, "-c", STORY.format(first)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
