"""A Google Sheet that came row by row: what `shared.adapters.tabs` makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State
from shared.readers.gather import LONG, clean, gather, numbered
from shared.readers.limits import Limits, amount
from shared.readers.source import Source

Told = tuple[str, Locator]


def read_tabs(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A line of JSON for each tab, `{"tab": name}`, and one for each row, `[number, cell, ...]`. Locators: the tab and
    its rows. Cells are parted by tabs, rows by line ends."""
    return gather(numbered([partial(_rows, source, limits.row_bytes)], after), after)


def _rows(source: Source, most: int) -> Iterator[Told]:
    tab = ""
    for line in _lines(source, most):
        try:
            content = json.loads(line)
            if isinstance(content, dict):
                tab = clean(str(content["tab"]))
                continue
            number, *cells = content
            place = Locator(sheet=tab, row_first=int(number), row_last=int(number))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise Skipped("The file is damaged: a line of it is no row of a Sheet.", code="damaged") from error
        text = clean("\t".join(str(cell) for cell in cells).rstrip("\t")) + "\n"
        yield from ((text[at : at + LONG], place) for at in range(0, len(text), LONG))


def _lines(source: Source, most: int) -> Iterator[bytes]:
    held = bytearray()
    for window in source.windows():
        *lines, rest = bytes(window).split(b"\n")
        if lines:
            held += lines[0]
            yield bytes(held)
            yield from lines[1:]
            held = bytearray()
        held += rest
        if len(held) > most:
            raise Skipped(
                f"A row of this Sheet is longer than {amount(most)}, the bound for one row.", code="row_too_long"
            )
    if held:
        yield bytes(held)
