"""Two thousand hostile inputs and more for every reader; the figures stand in docs/fuzzing.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.reader_fuzz import (
    GROWTH,
    LIMITS,
    WALL,
    Figures,
    disturbed,
    ends_well,
    high_water,
    inputs,
    samples,
)

PAGE = Path(__file__).parents[2] / "docs" / "fuzzing.md"
SAMPLES = samples()
DISTURBED, HYPOTHESIS, NOISE = 1600, 300, 200
_HEAD = f"""# Fuzzing

Written by `./dev test --long` (`tests/long/test_fuzz_readers.py`). Every reader gets files that other programs made
(`tests/golden/files`) and our own, with bits flipped, cut off, with blocks doubled, spliced or zeroed, with sizes that
no honest program writes, inside their zip entries too, and plain noise under its names; Hypothesis chose some of it.

Each input must end in parts, in a beginning with the reason of its end, or in a reason: any other exception fails the
run. So does an input that takes more than {WALL:g} seconds, twice (a step of a child process may take
{LIMITS.child_seconds:g} here), and a growth of the reading process of more than {GROWTH // 1024} MiB over all inputs of
a reader.

| reader | inputs | read | truncated | skipped | slowest, s | growth, MiB |
| --- | --- | --- | --- | --- | --- | --- |
"""


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[Figures, int]]]:
    """Collects the figures; they take the place of the older rows of the same readers."""
    found: dict[str, tuple[Figures, int]] = {}
    yield found
    rows = _rows() | {
        kind: f"| {kind} | {f.inputs:,} | {f.read:,} | {f.truncated:,} | {f.skipped:,} | {f.slowest:.2f} "
        f"| {grown / 1024:.1f} |\n"
        for kind, (f, grown) in found.items()
    }
    PAGE.write_text(_HEAD + "".join(rows[kind] for kind in SAMPLES if kind in rows))


def _rows() -> dict[str, str]:
    """The rows of the page as it is, by reader."""
    lines = PAGE.read_text().splitlines(keepends=True) if PAGE.exists() else []
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("|")}


@pytest.mark.long
@pytest.mark.xdist_group("fuzz_readers")
@pytest.mark.parametrize("kind", SAMPLES)
def test_no_input_crashes_hangs_or_swells_a_reader(kind: str, table: dict[str, tuple[Figures, int]]) -> None:
    """What strangers put into a Drive is read by a function that others need, too."""
    figures = Figures()
    for name, content in [*SAMPLES[kind], ("a.txt", "Füße und Äpfel".encode("cp1252") * 9)]:
        ends_well(name, content, Figures())  # what is loaded once, such as chardet, is not growth
    before = high_water()

    for name, content in inputs(SAMPLES[kind], DISTURBED, seed=2):
        ends_well(name, content, figures)
    _by_hypothesis(kind, figures)

    grown = high_water() - before
    table[kind] = (figures, grown)
    assert figures.inputs >= 2000
    assert grown < GROWTH


def _by_hypothesis(kind: str, figures: Figures) -> None:
    quiet = list(HealthCheck)
    names = sorted({name for name, _ in SAMPLES[kind]})

    @settings(max_examples=HYPOTHESIS, deadline=None, suppress_health_check=quiet, database=None)
    @given(st.sampled_from(SAMPLES[kind]).flatmap(lambda one: st.tuples(st.just(one[0]), disturbed(one[1]))))
    def samples_disturbed(case: tuple[str, bytes]) -> None:
        ends_well(*case, figures)

    @settings(max_examples=NOISE, deadline=None, suppress_health_check=quiet, database=None)
    @given(st.sampled_from(names), st.binary(max_size=4000))
    def noise(name: str, content: bytes) -> None:
        ends_well(name, content, figures)

    samples_disturbed()
    noise()
