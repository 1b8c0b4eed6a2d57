"""ODT, ODS, ODP and drawings: the one `content.xml` that holds all of a document, as it streams.

A row or a cell that stands for many alike says so by a number: it is told once, with the rows it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State
from shared.readers.archive import Archive, Handler, broken
from shared.readers.gather import LONG, Flow, clean, gather, numbered
from shared.readers.limits import Limits
from shared.readers.source import Source

_TITLE = 200
_GAP = 16  # empty or equal cells that are shown as such; more are shown as this
_SPACES = 100
_SILENT = {"tracked-changes", "note-citation", "page-number", "ruby-text", "forms", "content-validations"}
_OF_COMMENT = {"creator", "date", "date-string", "creator-initials", "sender-initials"}
_MARGINS = {
    "header": "header", "header-left": "header", "header-first": "header",
    "footer": "footer", "footer-left": "footer", "footer-first": "footer",
}  # fmt: skip

Told = tuple[str, Locator]


def read_odt(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A text document, its notes and comments, its headers and footers. Locators: headings, or the side text."""
    with closing(Archive(source.seekable(), limits)) as archive:
        sections = [_content(archive, Words())]
        if "styles.xml" in archive.names:
            sections.append(partial(archive.xml, "styles.xml", Margins()))
        yield from gather(numbered(sections, after), after)


def read_ods(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A workbook. Locators: the sheet and its rows. Cells are parted by tabs, rows by line ends."""
    with closing(Archive(source.seekable(), limits)) as archive:
        yield from gather(numbered([_content(archive, Cells())], after), after)


def read_odp(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A presentation or a drawing. Locators: the slide, and `notes` where the words are the speaker's."""
    with closing(Archive(source.seekable(), limits)) as archive:
        yield from gather(numbered([_content(archive, Shapes())], after), after)


def _content(archive: Archive, handler: Handler[Told]) -> Callable[[], Iterator[Told]]:
    manifest = "META-INF/manifest.xml"
    locks: list[bool] = list(archive.xml(manifest, Locks())) if manifest in archive.names else []
    if locks:
        raise Skipped("The document is protected with a password.", code="encrypted")
    if "content.xml" not in archive.names:
        raise broken("it does not say where its text begins")
    return partial(archive.xml, "content.xml", handler)


class Locks(Handler[bool]):
    """Whether anything in the package is encrypted."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "encryption-data" and not self.out:
            self.out.append(True)


class Paragraphs(Handler[Told]):
    """Paragraphs wherever they stand. What kind of document it is says what is made of them."""

    def __init__(self) -> None:
        super().__init__()
        self._flow = Flow(self._told)
        self._within: list[str] = []  # paragraphs, notes, comments, frames that are open
        self._silent = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._silent or name in _SILENT or (name in _OF_COMMENT and "annotation" in self._within):
            self._silent += 1
        elif name in ("p", "h"):
            self._within.append("p")
            self._begin(_count(attributes, "text:outline-level", 1, most=99) if name == "h" else -1)
        elif name in ("note", "annotation", "frame"):
            self._within.append(name)
            self._enter(name, attributes)
        elif name in ("title", "desc") and "frame" in self._within:  # what a picture shows, in words
            self._within.append(name)
        elif name == "s":
            self._add(" " * _count(attributes, "text:c", 1, most=_SPACES))
        elif name == "tab":
            self._add("\t")
        elif name == "line-break":
            self._add("\n")
        else:
            self._open(name, attributes)

    def text(self, text: str) -> None:
        if not self._silent:
            self._add(_WHITE.sub(" ", text))

    def end(self, name: str) -> None:
        if self._silent:
            self._silent -= 1
        elif name in ("p", "h"):
            self._end()
            self._within.pop()
        elif name in ("note", "annotation", "frame"):
            self._leave(name)
            self._within.pop()
        elif name in ("title", "desc") and self._within and self._within[-1] == name:
            self._add(" ")
            self._within.pop()
        else:
            self._close(name)

    def _add(self, text: str) -> None:
        if self._within and self._within[-1] in ("p", "title", "desc"):
            self._flow.add(text)

    def _begin(self, level: int) -> None:
        """A paragraph begins; of a heading, its level."""

    def _end(self) -> None:
        """The paragraph ends."""

    def _enter(self, name: str, attributes: dict[str, str]) -> None:
        """A note, a comment or a frame begins."""

    def _leave(self, name: str) -> None:
        """It ends."""

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        """Anything else begins."""

    def _close(self, name: str) -> None:
        """Anything else ends."""

    def _told(self, text: str) -> None:
        self.out.append((clean(text), self._place()))

    def _place(self) -> Locator:
        return Locator()


class Words(Paragraphs):
    """Paragraphs and table rows of a text, each with the headings above it; notes where they are referred to."""

    def __init__(self) -> None:
        super().__init__()
        self._path: list[tuple[int, str]] = []
        self._around: list[tuple[Flow, int, int]] = []  # paragraphs around the present one, and tables around a note
        self._level = -1
        self._parts: list[str] = []
        self._tables = 0
        self._cells: list[bool] = []  # per open table: whether its row has a cell already

    def _begin(self, level: int) -> None:
        if not self._tables:
            self._around.append((self._flow, self._level, 0))
            self._flow, self._level = Flow(self._told), level

    def _end(self) -> None:
        if self._tables:
            self._flow.add(" ")  # several paragraphs of one cell stay apart
            return
        begun, text = self._flow.begun, self._flow.take()
        level = self._level
        self._flow, self._level, _ = self._around.pop()
        if text.strip() and level >= 0 and not begun:
            title = " ".join(clean(text).split())[:_TITLE]
            self._path = [*(step for step in self._path if step[0] < level), (level, title)]
        if text.strip() or begun:
            self._told(text + "\n\n")

    def _enter(self, name: str, attributes: dict[str, str]) -> None:
        if name != "frame":
            kind = "comments" if name == "annotation" else attributes.get("text:note-class", "footnote")[:20] + "s"
            self._parts.append(kind)
            self._around.append((self._flow, self._level, self._tables))
            self._flow, self._tables = Flow(self._told), 0

    def _leave(self, name: str) -> None:
        if name != "frame":
            self._flow, self._level, self._tables = self._around.pop()
            self._parts.pop()
        elif not self._around and (text := self._flow.take()).strip():
            self._told(text + "\n\n")

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table":
            self._tables += 1
            self._cells.append(False)
            if self._tables == 1:
                self._around.append((self._flow, self._level, 0))
                self._flow, self._level = Flow(self._told), -1
        elif name in ("table-cell", "covered-table-cell") and self._tables:
            if self._cells[-1]:
                self._flow.add("\t")
            self._cells[-1] = True

    def _close(self, name: str) -> None:
        if name == "table-row" and self._tables:
            self._end_row()
        elif name == "table" and self._tables:
            self._tables -= 1
            self._cells.pop()
            if not self._tables:
                self._flow, self._level, _ = self._around.pop()
                self._told("\n")

    def _end_row(self) -> None:
        self._cells[-1] = False
        if self._tables > 1:  # a table inside a cell: its rows belong to that cell
            self._flow.add(" ")
            return
        begun, text = self._flow.begun, self._flow.take()
        row = "\t".join(cell.strip() for cell in text.split("\t")).rstrip()
        if row or begun:
            self._told(row + "\n")

    def _place(self) -> Locator:
        heading = " > ".join(title for _, title in self._path) or None
        return Locator(heading=heading, part=self._parts[-1] if self._parts else None)


class Margins(Words):
    """Headers and footers, which stand among the styles."""

    def __init__(self) -> None:
        super().__init__()
        self._margin: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in _MARGINS:
            self._margin = _MARGINS[name]
        elif self._margin:
            super().start(name, attributes)

    def end(self, name: str) -> None:
        if name in _MARGINS:
            self._margin = None
        elif self._margin:
            super().end(name)

    def _place(self) -> Locator:
        return Locator(part=self._margin)


class Shapes(Paragraphs):
    """The paragraphs of the shapes and tables of each slide, and of its notes."""

    def __init__(self) -> None:
        super().__init__()
        self._slide = 0
        self._notes = self._row = self._said = False

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if name == "page":
            self._slide += 1
        elif name == "notes":
            self._notes = True
        elif name == "table-row":
            self._row = True

    def _close(self, name: str) -> None:
        if name == "table-cell":
            self._flow.add("\t")
        elif name == "table-row":
            self._row = False
            self._flush()
        elif name in ("notes", "page"):
            self._space()
            self._notes = False
        elif name in ("text-box", "custom-shape") and not self._row:
            self._space()

    def _end(self) -> None:
        if self._row:
            self._flow.add(" ")
        else:
            self._flush()

    def _leave(self, name: str) -> None:
        if name == "frame" and not self._row:
            self._flush()

    def _flush(self) -> None:
        begun, text = self._flow.begun, self._flow.take()
        line = "\t".join(piece.strip() for piece in text.split("\t")).rstrip()
        if line or begun:
            self._told(line + "\n")
            self._said = True

    def _space(self) -> None:
        if self._said:
            self._told("\n")
        self._said = False

    def _place(self) -> Locator:
        return Locator(slide=max(self._slide, 1), part="notes" if self._notes else None)


class Cells(Paragraphs):
    """Rows of all sheets. Numbers as they are, dates as the calendar writes them, all else as it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._sheet, self._tables = "", 0
        self._row, self._rows = 0, 1  # the present row, and how many it stands for
        self._cell = self._line = Flow(self._told)
        self._gap = 0  # cells since the last one with text
        self._inside = False  # a cell, not a shape that lies over the sheet
        self._repeated, self._date, self._value, self._number = 1, "", "", False

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table":
            self._tables += 1
            if self._tables == 1:
                self._sheet, self._row = clean(attributes.get("table:name", "")[:_TITLE]), 0
        elif self._tables != 1:
            return
        elif name == "table-row":
            self._row, self._gap = self._row + 1, 0
            self._rows = _count(attributes, "table:number-rows-repeated", 1)
        elif name in ("table-cell", "covered-table-cell"):
            self._repeated = _count(attributes, "table:number-columns-repeated", 1)
            # A plain number as it is: it may be shown rounded, or as 1E+01 where the column is narrow.
            self._number = attributes.get("office:value-type") == "float" and "office:value" in attributes
            self._date = attributes.get("office:date-value", "")[:40]
            self._value = next((attributes[name] for name in _VALUES if name in attributes), "")[:LONG]
            self._flow, self._inside = Flow(self._long), True

    def _close(self, name: str) -> None:
        if name == "table":
            self._tables -= 1
        elif self._tables != 1:
            return
        elif name in ("table-cell", "covered-table-cell"):
            self._end_cell()
        elif name == "table-row":
            self._end_row()

    def _end(self) -> None:
        self._flow.add(" ")
        if not self._inside and (text := self._flow.take()).strip():
            self.out.append((clean(text).strip() + "\n", Locator(sheet=self._sheet)))

    def _end_cell(self) -> None:
        begun, text = self._flow.begun, " ".join(self._flow.take().split("\n")).strip()
        self._flow, self._inside = self._line, False
        if self._date and not begun:
            text = self._date.removesuffix("T00:00:00").replace("T", " ")
        elif not begun and (self._number or not text):
            text = self._value
        if begun:
            self._line.add(text)
            self._gap = 1
        elif text:
            self._line.add("\t" * min(self._gap, _GAP) + "\t".join([text] * min(self._repeated, _GAP)))
            self._gap = 1
        else:
            self._gap += self._repeated

    def _long(self, text: str) -> None:
        """A cell that is longer than a paragraph may be: handed on before its end."""
        self._line.add("\t" * min(self._gap, _GAP) + " ".join(text.split("\n")))
        self._gap = 0

    def _end_row(self) -> None:
        begun, text = self._line.begun, self._line.take()
        if text.strip() or begun:
            self._told(text + "\n")
        self._row += self._rows - 1
        self._rows = 1

    def _place(self) -> Locator:
        return Locator(sheet=self._sheet, row_first=self._row, row_last=self._row + self._rows - 1)


_WHITE = re.compile("[ \t\r\n]+")
_VALUES = ("office:value", "office:string-value", "office:boolean-value")


def _count(attributes: dict[str, str], name: str, least: int, *, most: int = 10_000_000) -> int:
    value = attributes.get(name, "")
    return min(max(int(value), least), most) if value.isdecimal() and len(value) < 12 else least
