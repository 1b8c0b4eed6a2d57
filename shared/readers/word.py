"""DOCX: the body in order with its headings, tables row by row, then notes, comments, headers and footers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from shared.domain.parts import Locator, Part, State
from shared.readers.archive import Archive, Handler, main_part, relations
from shared.readers.gather import Flow, clean, gather, numbered
from shared.readers.limits import Limits
from shared.readers.source import Source

_TITLE = 200
_STYLES = 10_000
_OUTLINE = tuple("012345678")  # levels of headings
_BESIDE = ("footnotes", "endnotes", "comments", "header", "footer")  # in this order behind the body
_SILENT = {"Fallback", "del", "moveFrom", "instrText", "delText"}  # said twice, deleted, or no words

Told = tuple[str, Locator]


def read_docx(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A Word document. Locators: the path of headings, or the name of the side text."""
    with closing(Archive(source.seekable(), limits)) as archive:
        body = main_part(archive)
        related = relations(archive, body)
        levels = dict[str, int]()
        for _, kind, path in related:
            if kind == "styles":
                levels.update(archive.xml(path, Styles()))
        sections: list[Callable[[], Iterator[Told]]] = [lambda: archive.xml(body, Words(levels))]
        for beside in _BESIDE:
            paths = {path for _, kind, path in related if kind == beside}
            sections += [partial(_beside, archive, path, beside) for path in sorted(paths)]
        yield from gather(numbered(sections, after), after)


def _beside(archive: Archive, path: str, part: str) -> Iterator[Told]:
    return archive.xml(path, Words({}, part))


def _attribute(attributes: dict[str, str], name: str) -> str:
    return next((value for key, value in attributes.items() if key.rpartition(":")[2] == name), "")


class Styles(Handler[tuple[str, int]]):
    """Which paragraph styles are headings, and of which level: by outline level, by name, by what they build on."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, int] = {}
        self._id, self._level, self._base = "", -1, ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        value = _attribute(attributes, "val")
        if name == "style":
            self._id, self._level, self._base = _attribute(attributes, "styleId"), -1, ""
        elif name == "name":
            if found := re.fullmatch(r"heading (\d)", value.lower()):
                self._level = int(found[1])
            elif value.lower() == "title":
                self._level = 0
        elif name == "outlineLvl" and self._level < 0 and value in _OUTLINE:
            self._level = _OUTLINE.index(value) + 1
        elif name == "basedOn":
            self._base = value

    def end(self, name: str) -> None:
        if name == "style":
            level = self._level if self._level >= 0 else self._known.get(self._base, -1)
            if level >= 0 and self._id and len(self._known) < _STYLES:
                self._known[self._id] = level
                self.out.append((self._id, level))


class Words(Handler[Told]):
    """Paragraphs and table rows, each with the headings above it."""

    def __init__(self, levels: dict[str, int], part: str | None = None) -> None:
        super().__init__()
        self._levels, self._part = levels, part
        self._path: list[tuple[int, str]] = []
        self._open: list[tuple[Flow, int]] = []  # paragraphs around the present one: a text box lies inside one
        self._level = -1
        self._flow = Flow(self._told)
        self._cells: list[tuple[int, bool]] = []  # per open table: cells of this row so far, and whether one has text
        self._silent = 0
        self._hears = self._describes = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._silent or name in _SILENT:
            self._silent += 1
            return
        match name:
            case "t":
                self._hears = True
            case "pPr":
                self._describes = True
            case "tab":  # among a paragraph's properties it is a tab stop
                self._flow.add("" if self._describes else "\t")
            case "br" | "cr":
                self._flow.add("\n")
            case "noBreakHyphen":
                self._flow.add("-")
            case "p":
                if not self._cells:
                    self._open.append((self._flow, self._level))
                    self._flow, self._level = Flow(self._told), -1
            case "pStyle":
                self._level = self._levels.get(_attribute(attributes, "val"), -1)
            case "tbl":
                self._cells.append((0, False))
            case "tc":
                if self._cells:
                    if self._cells[-1][0]:
                        self._flow.add("\t")
                    self._cells[-1] = (self._cells[-1][0] + 1, False)

    def text(self, text: str) -> None:
        if self._hears and not self._silent:
            self._flow.add(text)
            if self._cells:
                self._cells[-1] = (self._cells[-1][0], True)

    def end(self, name: str) -> None:
        if self._silent:
            self._silent -= 1
            return
        match name:
            case "t":
                self._hears = False
            case "pPr":
                self._describes = False
            case "p":
                self._end_paragraph()
            case "tr" if self._cells:
                self._end_row()
            case "tbl" if self._cells:
                self._cells.pop()
                if not self._cells:
                    self._told("\n")

    def _end_paragraph(self) -> None:
        if self._cells:
            count, filled = self._cells[-1]
            if filled:  # several paragraphs of one cell stay apart
                self._flow.add(" ")
                self._cells[-1] = (count, False)
            return
        begun, text = self._flow.begun, self._flow.take()
        level = self._level
        if self._open:
            self._flow, self._level = self._open.pop()
        if text.strip() and level >= 0 and not begun:
            title = " ".join(clean(text).split())[:_TITLE]
            self._path = [*(step for step in self._path if step[0] < level), (level, title)]
        if text.strip() or begun:
            self._told(text + "\n\n")

    def _end_row(self) -> None:
        self._cells[-1] = (0, False)
        begun, text = self._flow.begun, self._flow.take()
        if len(self._cells) > 1:  # a table inside a cell: its rows belong to that cell
            self._flow.add(text.strip() + " ")
        elif text.strip() or begun:
            row = "\t".join(cell.strip() for cell in text.split("\t"))
            self._told(row.rstrip() + "\n")

    def _told(self, text: str) -> None:
        heading = " > ".join(title for _, title in self._path) or None
        self.out.append((text, Locator(heading=heading, part=self._part)))
