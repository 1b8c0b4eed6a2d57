"""XLS and XLSB, in a child process: old and binary workbooks can only be held whole, so only small ones are read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State
from shared.readers import child
from shared.readers.gather import clean, gather, numbered
from shared.readers.limits import Limits, amount
from shared.readers.source import Source

Told = tuple[str, Locator]


class Child(child.Child):
    """A process with calamine in it."""

    program = "workbook_child.py"
    thing = "workbook"


_children = child.Children(Child)


def read_workbook(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """An old or binary workbook. Locators: the sheet and its rows. Cells are parted by tabs, rows by line ends."""
    with closing(source.seekable()) as file:
        if file.seek(0, io.SEEK_END) > limits.workbook_bytes:
            raise Skipped(
                f"A workbook of this kind is read up to {amount(limits.workbook_bytes)}; saved as XLSX it can be read "
                "whatever its size.",
                code="too_large",
            )
        with _children.lend(limits) as reader:
            reader.open(file)
            sections: list[Callable[[], Iterator[Told]]] = [
                partial(_sheet, reader, number) for number in range(reader.pages)
            ]
            yield from gather(numbered(sections, after), after)
            reader.idle = False  # ended, not kept: what the workbook took would stay taken


def _sheet(reader: Child, number: int) -> Iterator[Told]:
    name = clean(reader.ask("sheet", number=number))
    while rows := reader.ask("rows"):
        for row, text in rows:
            yield clean(text), Locator(sheet=name, row_first=row, row_last=row)
