"""The real function reads a file over several of its lives, and nobody can tell afterwards."""

from __future__ import annotations

import pytest

from tests.bench.test_commands import last_line, patiently


@pytest.mark.xdist_group("reader_memory")
@pytest.mark.long  # test_continuation holds the same of the readers, without processes
@pytest.mark.parametrize("scale", [["--scale"], []])
def test_a_file_read_by_several_lives_of_the_function_is_the_file_read_by_one(scale: list[str]) -> None:
    """A text of 2 GB, a table, an export that has no middle to begin at, a workbook, an archive and a PDF: each life
    begins with the message that the one before it has published, and with its checkpoint."""
    read = last_line(patiently("lives", *scale))

    assert read.pop("complete")
    assert len(read) == 6
    assert {name: one["lives"] for name, one in read.items() if one["lives"] < 3} == {}
    assert {name for name, one in read.items() if not one["same"]} == set()
