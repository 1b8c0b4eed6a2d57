"""What must hold of every reader, to be asked of any sample."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st

from shared.domain.errors import Skipped
from shared.domain.parts import Part, State, Text, Truncated
from shared.readers import BytesSource, Limits, read

ROOT = Path(__file__).parents[2]


def parts(
    content: bytes, name: str, limits: Limits | None = None, after: State | None = None, window: int = 2 << 20
) -> list[Part]:
    return list(read(BytesSource(content, name, window_bytes=window), limits, after))


def texts(content: bytes, name: str, limits: Limits | None = None) -> list[tuple[str, dict[str, object]]]:
    return [(p.text, p.locator.as_json()) for p in parts(content, name, limits) if isinstance(p, Text)]


def refused(content: bytes, name: str, limits: Limits | None = None) -> Skipped:
    with pytest.raises(Skipped) as caught:
        parts(content, name, limits)
    assert caught.value.reason[0].isupper()
    assert caught.value.reason.endswith(".")
    return caught.value


def goes_on_exactly(content: bytes, name: str, limits: Limits | None = None) -> None:
    """A reading that stops behind any part and goes on in another life gives what one life gives."""
    whole = parts(content, name, limits)
    step = max(1, len(whole) // 30)
    assert whole
    for cut in sorted({*range(0, len(whole), step), len(whole) - 1}):
        after = json.loads(json.dumps(whole[cut].after))  # a checkpoint is kept as JSON
        assert parts(content, name, limits, after) == whole[cut + 1 :], f"behind part {cut}"


def arrives_in_any_pieces(content: bytes, name: str, limits: Limits | None = None) -> None:
    """Windows fall where the network lets them fall."""
    whole = parts(content, name, limits)
    for window in (997, 65_536):
        assert parts(content, name, limits, window=window) == whole


@st.composite
def mutations(draw: st.DrawFn, samples: dict[str, bytes]) -> tuple[str, bytes]:
    """A sample with a few bytes changed, taken out or put in."""
    name = draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        content[at : at + draw(st.integers(0, 20))] = draw(st.binary(max_size=20))
    return name, bytes(content)


def drained(given: Iterator[Part]) -> None:
    """Text, a reason, or both; nothing else may come of any bytes."""
    try:
        for part in given:
            assert isinstance(part, Truncated) or part.after
    except Skipped as why:
        assert why.reason.endswith(".")  # noqa: PT017 - either end is right


def measured(program: str, *arguments: str) -> list[int]:
    """What a program of its own prints: numbers."""
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return list(map(int, ran.stdout.split()))
