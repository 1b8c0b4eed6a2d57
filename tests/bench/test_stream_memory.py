"""Memory does not grow with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import memory


@pytest.mark.parametrize("megabytes", [[10, 300], pytest.param(list(memory.SIZES), marks=pytest.mark.long)])
def test_streaming_takes_the_same_little_memory_for_any_file(tmp_path: Path, megabytes: list[int]) -> None:
    """At most 8 MiB over what is imported, and within 2 MiB the same for every size."""
    grown = [one["mib_over_imports"] for one in memory.stream_all(tmp_path, megabytes).values()]

    assert max(grown) <= 8
    assert max(grown) - min(grown) <= 2
