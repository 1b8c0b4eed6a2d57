"""What comes from a bad server is right, and next to nothing of it is fetched twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import faults


@pytest.mark.parametrize("files", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_every_file_comes_right_from_a_bad_server(tmp_path: Path, files: int) -> None:
    """A fiftieth of the answers refuse, each first attempt is cut: all files, right by hash, one window a cut twice."""
    outcome = faults.read_all(tmp_path, files)

    assert outcome["right"] == files
    assert outcome["cuts"] == files
    assert int(str(outcome["most_fetched_twice_at_once"])) <= 2 * 1024 * 1024
