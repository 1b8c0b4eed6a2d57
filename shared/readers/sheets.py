"""XLSX and XLSM: every sheet, streamed row by row.

A cell names its text by number in the workbook's shared strings, which may be far larger than memory. They are packed
by deflate, and zlib can copy the state of an unpacking: one pass over the strings leaves a checkpoint at every
megabyte or so, from which any string can be reached again. Excel numbers strings in the order of first use, so that
rows read in order need each stretch of strings about once.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State
from shared.readers.archive import Archive, Handler, broken, main_part, relations
from shared.readers.gather import LONG, clean, gather, numbered, resolved
from shared.readers.limits import GIB, KIB, MIB, Limits, amount
from shared.readers.source import Source

_PACKED = 4 * KIB  # packed bytes at a time: zlib can make 4 MiB of them at most
_CHECKPOINTS = 256  # each holds 40 KiB of zlib's; when there are more, every other one goes
_STRINGS = GIB  # of all shared strings, unpacked
_KEPT = 12 * MIB  # of unpacked stretches
_TEXT = MIB  # of one cell; Excel takes 32,767 characters
_STYLES = 65_536
_GAP = 16  # empty cells that are shown as such; a wider gap is shown as this

Told = tuple[str, Locator]


def read_xlsx(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A workbook. Locators: the sheet and its rows. Cells are parted by tabs, rows by line ends."""
    with closing(Archive(source.seekable(), limits)) as archive:
        book = main_part(archive)
        related = relations(archive, book)
        paths = {identity: path for identity, kind, path in related if kind == "worksheet"}
        workbook = Workbook()
        sheets = {paths[identity]: name for name, identity in archive.xml(book, workbook) if identity in paths}
        kinds = {kind: path for _, kind, path in related}
        strings = Strings(archive, kinds["sharedStrings"]) if "sharedStrings" in kinds else None
        dates = list(islice(archive.xml(kinds["styles"], Styles()), _STYLES)) if "styles" in kinds else []
        sections: list[Callable[[], Iterator[Told]]] = [
            partial(_sheet, archive, path, name, strings, dates, workbook.epoch) for path, name in sheets.items()
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
        if name == "numFmt" and len(self._formats) < _STYLES:
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
        self._value_size = 0
        self._hears = self._silent = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._cell, self._value, self._value_size = attributes, [], 0
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
            self._value_size += len(text)
            if self._value_size > _TEXT:
                raise _too_large()

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


def _too_large() -> Skipped:
    return Skipped(f"The workbook has a text of more than {amount(_TEXT)} in one cell.", code="part_too_large")


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    first: int  # the number of the first string that begins behind this point
    packed: int  # packed bytes taken before it
    state: Any  # zlib's, or None for an entry that is stored as it is
    carry: bytes  # unpacked before it, and not yet looked at


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Some strings as they stand in the file, and where each begins."""

    content: bytes
    starts: array[int]

    def __getitem__(self, number: int) -> str:
        start, end = self.starts[number], self.starts[number + 1]
        if end - start > _TEXT:
            raise _too_large()
        return _words(self.content[start:end])

    @property
    def size(self) -> int:
        return len(self.content) + self.starts.itemsize * len(self.starts)


_ROOT = re.compile(rb"<([\w.-]{1,100}:)?sst[\s/>]")
_ONE = re.compile(rb"<si><t(?: xml:space=\"preserve\")?>([^<]*)</t></si>\s*")
# Every tag and the text behind it is looked at once, whatever is missing.
_WORDS = re.compile(rb"<(/?)(?:[\w.-]+:)?(t|rPh)(|\s[^<>]*)>([^<]*)")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Strings:
    """The shared strings of a workbook, by number."""

    def __init__(self, archive: Archive, path: str) -> None:
        self._archive = archive
        self._file, self._start, self._entry = archive.packed(path)
        if self._entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken("its words are packed in a way that such documents never are")
        self._kept: OrderedDict[int, _Stretch] = OrderedDict()
        self._visits = 0
        self._item = re.compile(rb"<si(?=[\s/>])")
        self._checkpoints = self._survey()
        self._firsts = [checkpoint.first for checkpoint in self._checkpoints]

    def __getitem__(self, number: int) -> str:
        """String `number`, or nothing if the workbook has no such string."""
        place = bisect_right(self._firsts, number) - 1
        stretch = self._kept.get(place)
        if stretch is None:
            stretch = self._kept[place] = self._unpacked(place)
            while len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        offset = number - self._firsts[place]
        return stretch[offset] if offset + 1 < len(stretch.starts) else ""

    def _survey(self) -> list[_Checkpoint]:
        count = unpacked = marked = 0
        carry, spacing = b"", MIB
        state = self._fresh()
        found = [_Checkpoint(0, 0, self._fresh(), b"")]
        for packed, piece in self._pieces(0, state):
            unpacked += len(piece)
            self._archive.inflated(len(piece), unpacked, self._entry.compress_size)
            if unpacked > _STRINGS:
                raise Skipped(
                    f"The texts of the workbook are more than {amount(_STRINGS)}, the bound.", code="too_heavy"
                )
            if unpacked == len(piece):
                self._look(piece[:1000])
            stretch = carry + piece
            cut = max(stretch.rfind(b"<"), 0)  # a tag that begins before the last "<" is whole
            count += len(self._item.findall(stretch, 0, cut))
            carry = stretch[cut:]
            if len(carry) > _TEXT:
                raise _too_large()
            if unpacked - marked > spacing:
                marked = unpacked
                found.append(_Checkpoint(count, packed, state.copy() if state else None, carry))
                if len(found) > _CHECKPOINTS:
                    del found[1::2]
                    spacing *= 2
        return found

    def _look(self, beginning: bytes) -> None:
        """What the first bytes say of the rest."""
        if b"encoding=" in beginning[:100] and b"utf-8" not in beginning[:100].lower():
            raise broken("its words are not in UTF-8")
        if (root := _ROOT.search(beginning)) and root[1]:
            self._item = re.compile(b"<" + re.escape(root[1]) + rb"si(?=[\s/>])")

    def _unpacked(self, place: int) -> _Stretch:
        self._visits += 1
        if self._visits > 4 * len(self._checkpoints) + 64:
            raise Skipped(
                "The workbook uses its texts in an order that cannot be followed with bounded memory.", code="too_heavy"
            )
        checkpoint = self._checkpoints[place]
        behind = self._checkpoints[place + 1] if place + 1 < len(self._checkpoints) else None
        content = bytearray(checkpoint.carry)
        state = checkpoint.state.copy() if checkpoint.state else None
        over, look = 0, 1
        for packed, piece in self._pieces(checkpoint.packed, state):
            content += piece
            if behind and packed >= behind.packed:  # the last string may end behind the next checkpoint
                over += len(piece)
                if over < look:
                    continue
                look = 2 * over
                starts = self._starts(content, behind.first - checkpoint.first)
                if len(starts) > behind.first - checkpoint.first:
                    return _Stretch(bytes(content), starts)
                if over > _TEXT + 4 * MIB:
                    raise _too_large()
        starts = self._starts(content, -1)
        starts.append(len(content))
        return _Stretch(bytes(content), starts)

    def _starts(self, content: bytearray, most: int) -> array[int]:
        """Where the strings begin: all of them, or the first `most` and the one behind them."""
        found = array("I")
        for item in self._item.finditer(content):
            found.append(item.start())
            if len(found) == most + 1:
                break
        return found

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
    one = _ONE.fullmatch(item)
    text = (one[1] if one else b"".join(_runs(item))).decode("utf-8", "replace")
    if "&" in text:
        text = resolved(text)
    if "_x" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return " ".join(text.splitlines()) if "\n" in text or "\r" in text else text


def _runs(item: bytes) -> Iterator[bytes]:
    spoken = False  # how a word is spoken is not a word
    for found in _WORDS.finditer(item):
        closing, name, more, text = found.groups()
        opening = not closing and not more.endswith(b"/")
        if name == b"rPh":
            spoken = opening
        elif opening and not spoken:
            yield text
