"""The program that python-calamine runs in, for workbooks that must be held whole: XLS and XLSB. Run by
`child_program.py`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

_ANSWER = 128 * 1024  # characters of text in one answer
_LONG = 32_768
_GAP = 16  # empty cells that are shown as such; a wider gap is shown as this


class Document:
    """A workbook, and the sheet that is being read."""

    def __init__(self, file: Any) -> None:
        import python_calamine

        self._book = python_calamine.CalamineWorkbook.from_filelike(file)
        self._names = [
            sheet.name
            for sheet in self._book.sheets_metadata
            if sheet.typ not in (python_calamine.SheetTypeEnum.ChartSheet, python_calamine.SheetTypeEnum.Vba)
        ]
        self._rows: Iterator[list[Any]] = iter(())
        self._row = 0
        self.pages = len(self._names)

    def answer(self, question: dict[str, Any]) -> tuple[Any, bytes]:
        """`sheet`: begins a sheet and names it. `rows`: the next rows, as number and text; none at the end."""
        if question["ask"] == "sheet":
            sheet = self._book.get_sheet_by_name(self._names[question["number"]])
            self._rows, self._row = sheet.iter_rows(), (sheet.start or (0, 0))[0]
            return sheet.name, b""
        told: list[tuple[int, str]] = []
        size = 0
        for cells in self._rows:
            self._row += 1
            if text := _line(cells):
                told += [(self._row, piece) for piece in _pieces(text)]
                size += len(text)
            if size > _ANSWER:
                break
        return told, b""

    def close(self) -> None:
        """Let go of the workbook."""
        self._rows = iter(())
        self._book.close()


def _pieces(text: str) -> list[str]:
    """A row as it is, a very long one in pieces."""
    text += "\n"
    return [text[at : at + _LONG] for at in range(0, len(text), _LONG)]


def _line(cells: list[Any]) -> str:
    line, gap = list[str](), 0
    for cell in cells:
        text = _shown(cell)
        if text:
            line.append("\t" * min(gap, _GAP) + text)
            gap = 1
        else:
            gap += 1
    return "".join(line)


def _shown(value: Any) -> str:
    if value is True or value is False:
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        return value.replace(microsecond=0).isoformat(" ")
    return " ".join(str(value).split("\n"))


def opened(file: Any, _question: dict[str, Any]) -> Document:
    """What `child_program.py` opens a document by."""
    return Document(file)


def fault(error: Exception) -> str:
    """What is wrong with a workbook, as the parent knows it."""
    return "encrypted" if type(error).__name__ == "PasswordError" else "broken"
