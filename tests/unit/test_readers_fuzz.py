"""A few hostile inputs for every reader; `tests/long/test_fuzz_readers.py` has the many."""

from __future__ import annotations

import pytest

from tests.unit.reader_fuzz import Figures, ends_well, inputs, samples

SAMPLES = samples()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_disturbed_file_ends_in_a_state(kind: str) -> None:
    """Whatever the bytes: text, a reason, or both."""
    figures = Figures()

    for name, content in inputs(SAMPLES[kind], 60, seed=1):
        ends_well(name, content, figures)

    assert figures.inputs == figures.read + figures.truncated + figures.skipped == 60
