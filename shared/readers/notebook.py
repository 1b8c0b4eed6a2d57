"""Jupyter notebooks: cells in order, with the text that they print. Parsed whole, so only up to a bound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shared.domain.parts import Locator, Part, State
from shared.readers.archive import broken
from shared.readers.gather import clean, gather, numbered
from shared.readers.limits import Limits
from shared.readers.source import Source
from shared.readers.text import read_plain

_VALUES = 500_000  # each may take 60 bytes when parsed

Told = tuple[str, Locator]


def read_notebook(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A notebook. Locators: `cell 3`. One that is too large to be parsed is read as the JSON text it is."""
    if "byte" in after:
        return read_plain(source, limits, after)
    content = bytearray()
    for window in source.windows():
        content += window
        if len(content) > limits.notebook_bytes:
            return read_plain(source, limits, after)
    if sum(map(content.count, (b",", b"[", b"{"))) > _VALUES:
        return read_plain(source, limits, after)
    try:
        cells = json.loads(content)["cells"]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise broken("it is not a notebook") from fault
    return gather(numbered([lambda: _told(cells)], after), after)


def _told(cells: Any) -> Iterator[Told]:
    for number, cell in enumerate(cells if isinstance(cells, list) else [], 1):
        if not isinstance(cell, dict):
            continue
        place = Locator(part=f"cell {number}")
        if text := _joined(cell.get("source")).strip("\n"):
            yield text + "\n\n", place
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            if isinstance(output, dict) and (text := _printed(output).strip("\n")):
                yield text + "\n\n", place


def _printed(output: dict[str, Any]) -> str:
    data = output.get("data")
    return _joined(output.get("text") or (data.get("text/plain") if isinstance(data, dict) else ""))


def _joined(text: Any) -> str:
    lines = text if isinstance(text, list) else [text]
    return clean("".join(line for line in lines if isinstance(line, str)))
