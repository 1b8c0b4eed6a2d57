"""CSV and TSV: faithful text, whole rows to a part, rows counted as a spreadsheet would count them.

Between quotes a line end belongs to the field. Where a stretch has no quotes, rows are lines and are only counted;
where it has, Python's csv decides, so that a quote inside an unquoted field is no trap.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Part, State
from shared.readers.gather import PART, cut_at
from shared.readers.limits import Limits, amount
from shared.readers.source import Source
from shared.readers.text import read_lines


def read_table(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A table of delimited text; the delimiter is the one that the first line has most of."""
    return read_lines(source, limits, after, Rows(limits, after))


class Rows:
    """Cuts behind whole rows. A row that is longer than a part is cut like any text and keeps its number."""

    def __init__(self, limits: Limits, after: State) -> None:
        self._most = limits.row_bytes
        self._row = int(after.get("row", 1))  # the next part's first row
        self._inside = int(after.get("inside", 0))  # characters of that row that are still to come
        self._plain = bool(after.get("plain", False))  # quotes have proved to mean nothing here
        self._delimiter = str(after.get("delimiter", ""))
        self._place = (1, 1)

    def cut(self, text: str, start: int, *, final: bool) -> int:
        if not final and len(text) - start <= PART:
            return -1
        if self._inside:
            return self._within(text, start)
        stretch = text[start : start + PART]
        if not stretch:
            return start
        self._delimiter = self._delimiter or _delimiter(stretch)
        whole = final and len(text) - start <= PART
        end, rows = self._whole_rows(stretch, whole=whole)
        if end:
            self._place = (self._row, self._row + rows - 1)
            self._row += rows
            return start + end
        long = self._long_row(text, start, final=final)
        if long < 0:
            return -1
        self._inside = long
        return self._within(text, start)

    def place(self) -> dict[str, Any]:
        return {"row_first": self._place[0], "row_last": self._place[1]}

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"row": self._row, "delimiter": self._delimiter}
        if self._inside:
            state["inside"] = self._inside
        return {**state, "plain": True} if self._plain else state

    def _whole_rows(self, stretch: str, *, whole: bool) -> tuple[int, int]:
        """How many characters of a stretch are whole rows, and how many rows these are."""
        if '"' in stretch and not self._plain:
            try:
                return _parsed(stretch, self._delimiter, whole=whole)
            except csv.Error:  # not a table in csv's eyes, for a lone carriage return perhaps
                pass
        if whole:
            return len(stretch), stretch.count("\n") + (not stretch.endswith("\n"))
        end = stretch.rfind("\n") + 1
        return end, stretch.count("\n", 0, end)

    def _long_row(self, text: str, start: int, *, final: bool) -> int:
        """The length of a row that does not end within a part; -1 if more text must be seen."""
        stop = min(len(text), start + self._most)
        first = text.find("\n", start, stop)
        end, quoted = (first, False) if self._plain else _row_end(text, start, stop)
        if end >= 0:
            return end + 1 - start
        if not final and stop < start + self._most:
            return -1
        if quoted and first >= 0:  # opened and never closed: from here on quotes mean nothing
            self._plain = True
            return first + 1 - start
        if stop < len(text) or not final:
            raise Skipped(
                f"Row {self._row} of this table is longer than {amount(self._most)}, the bound for one row.",
                code="row_too_long",
            )
        return stop - start

    def _within(self, text: str, start: int) -> int:
        size = self._inside if self._inside <= PART else cut_at(text, start, start + PART) - start
        self._inside -= size
        self._place = (self._row, self._row)
        self._row += not self._inside
        return start + size


def _row_end(text: str, start: int, stop: int) -> tuple[int, bool]:
    """Where the row's last character is, or -1 and whether a quote is still open at `stop`."""
    quoted = False
    while (end := text.find("\n", start, stop)) >= 0:
        quoted ^= text.count('"', start, end) % 2 == 1
        if not quoted:
            return end, False
        start = end + 1
    return -1, quoted ^ (text.count('"', start, stop) % 2 == 1)


def _parsed(stretch: str, delimiter: str, *, whole: bool) -> tuple[int, int]:
    lines = [line + "\n" for line in stretch.split("\n")]
    rest = lines.pop()[:-1]
    if whole and rest:
        lines.append(rest)
    given = 0

    def giving() -> Iterator[str]:
        nonlocal given
        yield from lines
        given = 1  # asked for more than there is: the row at hand is not whole

    rows = taken = 0
    reader = csv.reader(giving(), delimiter=delimiter)
    for _ in reader:
        if given and not whole:
            break
        rows, taken = rows + 1, reader.line_num
    return sum(map(len, lines[:taken])), rows


def _delimiter(stretch: str) -> str:
    line = stretch.split("\n", 1)[0]
    return max(",;\t|", key=line.count)  # the first of equals: a comma
