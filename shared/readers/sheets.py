"""XLSX and XLSM: every sheet, streamed row by row.

A cell names its text by number in the workbook's shared strings, which may be far larger than memory. They are packed
by deflate, and zlib can copy the state of an unpacking: one pass over the strings leaves a checkpoint at every
megabyte or so, from which any string can be reached again. Excel numbers strings in the order of first use, so that
rows read in order need each stretch of strings about once.
"""

from __future__ import annotations

import html
import re
import zipfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State
from shared.readers.archive import Archive, Handler, broken, main_part, relations
from shared.readers.gather import LONG, clean, gather, numbered
from shared.readers.limits import KIB, MIB, Limits
from shared.readers.source import Source

_PACKED = 16 * KIB  # packed bytes at a time: zlib can make 16 MiB of them at most
_KEPT = 8  # unpacked stretches of strings that are kept
_GAP = 16  # empty cells that are shown as such; a wider gap is shown as this

Told = tuple[str, Locator]


def read_xlsx(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A workbook. Locators: the sheet and its rows. Cells are parted by tabs, rows by line ends."""
    with closing(Archive(source.seekable(), limits)) as archive:
        book = main_part(archive)
        related = relations(archive, book)
        paths = {identity: path for identity, kind, path in related if kind == "worksheet"}
        workbook = Workbook()
        sheets = [(name, paths[identity]) for name, identity in archive.xml(book, workbook) if identity in paths]
        kinds = {kind: path for _, kind, path in related}
        strings = Strings(archive, kinds["sharedStrings"]) if "sharedStrings" in kinds else None
        dates = list(archive.xml(kinds["styles"], Styles())) if "styles" in kinds else []
        sections: list[Callable[[], Iterator[Told]]] = [
            partial(_sheet, archive, path, name, strings, dates, workbook.epoch) for name, path in sheets
        ]
        yield from gather(numbered(sections, after), after)


def _sheet(
    archive: Archive, path: str, name: str, strings: Strings | None, dates: list[str], epoch: datetime
) -> Iterator[Told]:
    return archive.xml(path, Cells(name, strings, dates, epoch))


class Workbook(Handler[tuple[str, str]]):
    """Names and relation ids of the sheets, and the day that dates are counted from."""

    epoch = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's dates have no zone

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            identity = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            self.out.append((clean(attributes.get("name", "")), identity))
        elif name == "workbookPr" and attributes.get("date1904", "") in ("1", "true"):
            self.epoch = datetime(1904, 1, 1)  # noqa: DTZ001


class Styles(Handler[str]):
    """For each cell style: "date", "time", "datetime", or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._formats = {str(number): "date" for number in (*range(14, 18), *range(27, 37), *range(50, 59))}
        self._formats |= {str(number): "time" for number in (18, 19, 20, 21, 45, 46, 47)} | {"22": "datetime"}
        self._in_cells = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt":
            self._formats[attributes.get("numFmtId", "")] = _date_kind(attributes.get("formatCode", ""))
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            self.out.append(self._formats.get(attributes.get("numFmtId", ""), ""))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


def _date_kind(code: str) -> str:
    bare = re.sub(r'"[^"]*"|\\.|\[(?!h+\]|m+\]|s+\])[^\]]*\]|_.|\*.', "", code.lower())
    day, hour = re.search(r"[yd]|mmm", bare), re.search(r"[hs]", bare)
    if "general" in bare or not (day or hour):
        return ""
    return "datetime" if day and hour else "date" if day else "time"


class Cells(Handler[Told]):
    """Rows of one sheet, as text."""

    def __init__(self, sheet: str, strings: Strings | None, dates: list[str], epoch: datetime) -> None:
        super().__init__()
        self._sheet, self._strings, self._dates, self._epoch = sheet, strings, dates, epoch
        self._row, self._column = 0, 0
        self._cells: list[str] = []
        self._size = 0
        self._cell: dict[str, str] = {}
        self._value: list[str] = []
        self._hears = self._silent = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._cell, self._value = attributes, []
        elif name in ("v", "t"):
            self._hears = not self._silent
        elif name == "row":
            number = attributes.get("r", "")
            self._row = int(number) if number.isdecimal() and len(number) < 9 else self._row + 1
            self._column = 0
        elif name == "rPh":  # how a word is spoken, not a word
            self._silent = True

    def text(self, text: str) -> None:
        if self._hears:
            self._value.append(text)

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._hears = False
        elif name == "c":
            self._end_cell()
        elif name == "row":
            self._end_row("\n")
        elif name == "rPh":
            self._silent = False

    def _end_cell(self) -> None:
        column = _column(self._cell.get("r", "")) or self._column + 1
        value = self._shown("".join(self._value))
        self._value = []
        if not value:
            return
        gap = min(max(column - self._column - 1, 0), _GAP)
        self._column = column
        self._cells.append("\t" * gap + value)
        self._size += len(value) + gap
        if self._size > LONG:
            self._end_row("\t")

    def _end_row(self, separator: str) -> None:
        if self._cells:
            text = clean("\t".join(self._cells)) + separator
            self.out.append((text, Locator(sheet=self._sheet, row_first=self._row, row_last=self._row)))
            self._cells, self._size = [], 0

    def _shown(self, value: str) -> str:
        kind = self._cell.get("t", "n")
        if kind == "s":
            return self._strings[int(value)] if self._strings and value.isdecimal() and len(value) < 12 else ""
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(value, value)
        if kind != "n":
            return " ".join(value.splitlines())
        style = self._cell.get("s", "")
        date = self._dates[int(style)] if style.isdecimal() and len(style) < 6 and int(style) < len(self._dates) else ""
        return _date(value, date, self._epoch) if date and value else _number(value)


def _column(reference: str) -> int:
    number = 0
    for letter in reference[:4].upper():
        if not "A" <= letter <= "Z":
            break
        number = number * 26 + ord(letter) - 64
    return number


def _number(value: str) -> str:
    """0.1 where the file says 0.10000000000000001."""
    if len(value) < 16:
        return value
    try:
        return f"{float(value):.15g}"
    except ValueError:
        return value


def _date(value: str, kind: str, epoch: datetime) -> str:
    try:
        moment = epoch + timedelta(seconds=round(float(value) * 86_400))
    except (ValueError, OverflowError):
        return value
    if kind == "date":
        return moment.date().isoformat()
    return moment.time().isoformat() if kind == "time" and moment.date() == epoch.date() else moment.isoformat(" ")


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    first: int  # the number of the first string that begins behind this point
    packed: int  # packed bytes taken before it
    state: Any  # zlib's, or None for an entry that is stored as it is
    carry: bytes  # unpacked before it, and not yet looked at


_ITEM = re.compile(rb"<(?:[\w.-]+:)?si(?=[\s/>])")
_WORDS = re.compile(rb"<(?:[\w.-]+:)?t(?:\s[^>]*)?(?<!/)>(.*?)</(?:[\w.-]+:)?t\s*>", re.DOTALL)
_SPOKEN = re.compile(rb"<(?:[\w.-]+:)?rPh[\s>].*?</(?:[\w.-]+:)?rPh\s*>", re.DOTALL)
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Strings:
    """The shared strings of a workbook, by number."""

    def __init__(self, archive: Archive, path: str) -> None:
        self._archive = archive
        self._file, self._start, self._entry = archive.packed(path)
        if self._entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken("its words are packed in a way that such documents never are")
        self._spacing = max(MIB, archive.size(path) // 256)
        self._kept: OrderedDict[int, list[str]] = OrderedDict()
        self._visits = 0
        self._checkpoints = list(self._survey())
        self._firsts = [checkpoint.first for checkpoint in self._checkpoints]

    def __getitem__(self, number: int) -> str:
        """String `number`, or nothing if the workbook has no such string."""
        place = bisect_right(self._firsts, number) - 1
        stretch = self._kept.get(place)
        if stretch is None:
            stretch = self._kept[place] = self._unpacked(place)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        offset = number - self._firsts[place]
        return stretch[offset] if offset < len(stretch) else ""

    def _survey(self) -> Iterator[_Checkpoint]:
        count = unpacked = marked = 0
        carry = b""
        state = self._fresh()
        yield _Checkpoint(0, 0, self._fresh(), b"")
        for packed, piece in self._pieces(0, state):
            unpacked += len(piece)
            self._archive.inflated(len(piece), unpacked, self._entry.compress_size)
            if b"encoding=" in piece[:100] and not unpacked > len(piece) and b"utf-8" not in piece[:100].lower():
                raise broken("its words are not in UTF-8")
            stretch = carry + piece
            cut = max(stretch.rfind(b"<"), 0)  # a tag that begins before the last "<" is whole
            count += len(_ITEM.findall(stretch, 0, cut))
            carry = stretch[cut:]
            if len(carry) > 8 * MIB:
                raise Skipped("The workbook has a text of more than 8 MB in one cell.", code="part_too_large")
            if unpacked - marked > self._spacing:
                marked = unpacked
                yield _Checkpoint(count, packed, state.copy() if state else None, carry)

    def _unpacked(self, place: int) -> list[str]:
        self._visits += 1
        if self._visits > 4 * len(self._checkpoints) + 64:
            raise Skipped(
                "The workbook uses its texts in an order that cannot be followed with bounded memory.", code="too_heavy"
            )
        checkpoint = self._checkpoints[place]
        last = self._firsts[place + 1] - checkpoint.first if place + 1 < len(self._firsts) else -1
        stretch = bytearray(checkpoint.carry)
        state = checkpoint.state.copy() if checkpoint.state else None
        for _, piece in self._pieces(checkpoint.packed, state):
            stretch += piece
            if last >= 0 and len(stretch) > self._spacing and len(_ITEM.findall(stretch)) > last:
                break
        starts = [found.start() for found in _ITEM.finditer(stretch)]
        starts.append(len(stretch))
        if last >= 0:
            del starts[last + 1 :]
        content = bytes(stretch)
        return [_words(content[start:end]) for start, end in pairwise(starts)]

    def _pieces(self, packed: int, state: Any) -> Iterator[tuple[int, bytes]]:
        """Unpacked pieces from a packed offset on, each with the offset behind it."""
        try:
            while packed < self._entry.compress_size:
                self._file.seek(self._start + packed)
                piece = self._file.read(min(_PACKED, self._entry.compress_size - packed))
                if not piece:
                    raise broken("its words end too early")
                packed += len(piece)
                yield packed, state.decompress(piece) if state else piece
        except zlib.error as fault:
            raise broken("its words cannot be unpacked") from fault

    def _fresh(self) -> Any:
        return zlib.decompressobj(-15) if self._entry.compress_type == zipfile.ZIP_DEFLATED else None


def _words(item: bytes) -> str:
    if b"rPh" in item:
        item = _SPOKEN.sub(b"", item)
    text = b"".join(_WORDS.findall(item)).decode("utf-8", "replace")
    if "&" in text:
        text = html.unescape(text)
    if "_x" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return " ".join(text.splitlines()) if "\n" in text or "\r" in text else text
