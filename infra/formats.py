"""`./dev formats`: writes docs/formats.md from the readers' registry and the memory that was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from shared.readers import FORMATS, Format

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "formats.md"
FIGURES = ROOT / "docs" / "formats_memory.json"

_INTRO = """# Formats

Made by `./dev formats` from `shared/readers/formats.py`; change that, not this.

A file's kind is told by its content first, then by its name, then by the type that Drive states. What is read ends in
text with a place for every part of it, or in pages and pictures for recognition; what is not ends `skipped` with the
sentence below. Beyond a bound a file is `skipped`, or `indexed` up to there and shown as such, with the bound named.
All bounds are fields of `shared/readers/limits.py`.

*Access* says what a file of any size costs to reach: one `stream` from its beginning to its end, `seek`, which fetches
only the blocks that are needed, or `child`: a process of its own with an address-space, a processor and a wall limit,
which asks for blocks, too.

"""
_MEMORY = """
*Memory* is the growth of the process, with its child where there is one, while one sample was read by `./dev read`,
over a run that reads an almost empty file. `./dev test --long` measures it again (`tests/long/test_reader_memory.py`);
the samples are said in `docs/formats_memory.json`.

## What is not read

"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {sum(row.read is not None for row in FORMATS)} formats that are read")


def page() -> str:
    """The page, from the registry and the figures."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    read = [_read(row, figures.get(row.kind)) for row in FORMATS if row.read]
    unread = [(row.title, _extensions(row), row.code, row.how) for row in FORMATS if not row.read]
    return "".join(
        (
            _INTRO,
            _table(("Type", "Extensions", "Access", "How it is read", "Place of a part", "Bound", "Memory"), read),
            _MEMORY,
            _table(("Type", "Extensions", "Reason", "What a person is told"), unread),
        )
    )


def _read(row: Format, figure: dict[str, float] | None) -> tuple[str, ...]:
    memory = "" if figure is None else f"{figure['mib']:.0f} MiB for {figure['sample_mb']:.3g} MB"
    return row.title, _extensions(row), row.needs, row.how, row.locator, row.bound, memory


def _extensions(row: Format) -> str:
    extensions = row.extensions.split()
    shown = " ".join(f"`{extension}`" for extension in extensions[:12])
    return f"{shown} and {len(extensions) - 12} more" if len(extensions) > 12 else shown


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
