"""Hostile inputs for the readers, from one seed each: noise under every name, and files with their bytes disturbed."""

from __future__ import annotations

import io
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from shared.domain.errors import Skipped
from shared.domain.parts import Truncated
from shared.readers import FORMATS, BytesSource, Limits, read
from tests.unit import document_samples
from tests.unit import reader_samples as make

GOLDEN = Path(__file__).parents[1] / "golden" / "files"
LIMITS = Limits(
    text_bytes=20_000_000,
    inflated_bytes=100_000_000,
    child_seconds=10.0,
    step_seconds=10.0,
    child_memory_bytes=384 << 20,
)
SLOW = 5.0  # seconds: worth a second look
WALL = 30.0  # seconds for one input of at most a few hundred kilobytes
GROWTH = 64 * 1024  # KiB of this process over all inputs of one reader


@dataclass
class Figures:
    """How the inputs of one reader ended."""

    inputs: int = 0
    read: int = 0
    truncated: int = 0
    skipped: int = 0
    slowest: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)


def samples() -> dict[str, list[tuple[str, bytes]]]:
    """For each reader's kind, small files by name: those of other programs and our own."""
    own = {
        **document_samples.samples(),
        "a.pdf": make.pdf(["Some words on a page", make.SCAN, make.DRAWING, "more words"]),
        "a.ipynb": make.notebook(("print(1)", "1")),
        "a.gsheet-tabs": b'{"tab": "One"}\n' + b"".join(b'[%d, "cell", "\xc3\xbc"]\n' % n for n in range(1, 60)),
    }
    files = [(path.name, path.read_bytes()) for path in sorted(GOLDEN.iterdir()) if path.suffix != ".md"]
    files += [(name, content) for name, content in own.items() if len(content) < 60_000]
    return {
        row.kind: [(name, content) for name, content in files if name.rpartition(".")[2] in row.extensions.split()]
        or [(f"a.{row.extensions.split()[0]}", b"# some words\nand more\n" * 40)]
        for row in FORMATS
        if row.read
    }


@st.composite
def disturbed(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with bits flipped, cut off, a block twice, or a stretch of itself elsewhere; seldom nothing but noise."""
    seed = draw(st.integers(0, 2**32))
    how = draw(st.sampled_from(["flip", "flip", "cut", "twice", "splice", "zero", "numbers", "noise"]))
    return disturb(content, how, seed)


def disturb(content: bytes, how: str, seed: int) -> bytes:
    """One disturbance. Deterministic."""
    dice = random.Random(seed)
    out = bytearray(content)
    at, size = dice.randrange(len(out) + 1), dice.choice([1, 4, 60, 900, 9000])
    if how == "flip":
        for _ in range(dice.choice([1, 1, 3, 20, 200])):
            place = dice.randrange(len(out))
            out[place] ^= 1 << dice.randrange(8)
    elif how == "cut":
        del out[at:]
    elif how == "twice":
        out[at:at] = out[at : at + size] * dice.choice([1, 2, 30])
    elif how == "splice":
        other = dice.randrange(len(out))
        out[at : at + size] = out[other : other + size]
    elif how == "zero":
        out[at : at + size] = bytes(min(size, len(out) - at))
    elif how == "numbers":  # sizes, counts and offsets as no honest program writes them
        for _ in range(3):
            place = dice.randrange(max(len(out) - 8, 1))
            out[place : place + 4] = dice.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0"])
    else:
        out = bytearray(out[: dice.choice([0, 4, 64, 600])] + dice.randbytes(size))
    return bytes(out)


def inside(content: bytes, how: str, seed: int) -> bytes:
    """As `disturb`, of one entry of a zip: what is behind the unpacking is reached only so."""
    import zipfile

    dice = random.Random(seed)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError):
        return content
    name = dice.choice([name for name, entry in entries.items() if entry] or [""])
    if name:
        entry = entries[name]
        entries[name] = disturb(entry if isinstance(entry, bytes) else entry.encode(), how, seed)
    return make.zipped(entries)


def ends_well(name: str, content: bytes, figures: Figures) -> None:
    """Read it. Any exception but `Skipped` is a bug, and so is a part without a state."""
    end, took = _ended(name, content)
    if took > SLOW:  # what is slow is slow again; a machine that stood still for others is not
        took = min(took, _ended(name, content)[1])
    figures.inputs += 1
    figures.slowest = max(figures.slowest, took)
    if isinstance(end, Skipped):
        figures.skipped += 1
        figures.reasons[end.code] = figures.reasons.get(end.code, 0) + 1
    else:
        figures.truncated += end
        figures.read += not end
    assert took < WALL, f"{name}: {took:.1f} s"


def _ended(name: str, content: bytes) -> tuple[Skipped | bool, float]:
    """The reason, or whether the file was truncated; and the seconds it took."""
    began = time.monotonic()
    end: Skipped | bool = False
    try:
        for part in read(BytesSource(content, name), LIMITS):
            assert part.after
            end = isinstance(part, Truncated)
    except Skipped as why:
        assert why.reason.endswith(".")  # noqa: PT017 - either end is right
        end = why
    return end, time.monotonic() - began


def high_water() -> int:
    """This process's highest resident size, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def inputs(kind_samples: list[tuple[str, bytes]], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Disturbed files of one reader."""
    dice = random.Random(seed)
    ways = ["flip", "flip", "cut", "twice", "splice", "zero", "numbers", "noise"]
    for _ in range(count):
        name, content = dice.choice(kind_samples)
        how, number = dice.choice(ways), dice.randrange(2**32)
        zipped = content.startswith(b"PK") and dice.random() < 0.7
        yield name, inside(content, how, number) if zipped else disturb(content, how, number)
