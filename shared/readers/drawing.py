"""SVG: the words of a drawing and what it says of itself; no script, no style, no picture.

Read by the parser of web pages: a drawing may declare entities, as Illustrator's do, and carry its pictures as
megabytes of letters in an attribute. The one is never expanded, the other skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.domain.parts import Locator, Part, State
from shared.readers.gather import Flow, clean, gather, numbered
from shared.readers.limits import Limits
from shared.readers.markup import Markup, told
from shared.readers.source import Source

_PARTS = {"title": "title", "desc": "description", "text": None, "flowroot": None, "foreignobject": None}
_LINES = {"p", "div", "br", "li", "tr", "flowpara", "h1", "h2", "h3"}
_GROUPS = {"g", "a", "symbol", "defs", "marker", "pattern"}
_SILENT = {"script", "style", "metadata"}
_MOVED = re.compile(r"(?:^|\s)(?:x|y|dy)\s*=")  # to another line, or another place in it
_TITLE = 200
_DEPTH = 64


def read_svg(source: Source, _limits: Limits, after: State) -> Iterator[Part]:
    """A drawing. Locators: the drawing's title as heading, or `title` and `description` themselves."""
    return gather(numbered([lambda: told(Drawing(), source)], after), after)


class _Names(frozenset[str]):
    """Names of elements, with a prefix or without."""

    def __contains__(self, tag: object) -> bool:
        return super().__contains__(str(tag).rpartition(":")[2])


class Drawing(Markup):
    """The texts of a drawing, in the order of the file."""

    heard = _Names({"tspan", *_PARTS, *_LINES, *_GROUPS, *_SILENT})

    def __init__(self) -> None:
        super().__init__()
        self._within: list[str] = []  # what is heard at present
        self._title = ""
        self._flow = Flow(self._tell)
        self._silent = ""
        self._groups = 0  # open ones: what a group calls itself is not the title of the drawing

    def start(self, tag: str, attributes: str) -> None:
        name = tag.rpartition(":")[2]
        if name in _SILENT:
            self._silent = self._silent or name
        elif name in _PARTS:
            self.flush("\n")
            self._within.append(name)
            del self._within[:-_DEPTH]
        elif name in _LINES:
            self.flush("\n")
        elif name in _GROUPS:
            self._groups += 1
        elif name == "tspan" and _MOVED.search(attributes):
            self._flow.add(" ")

    def end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        if name == self._silent:
            self._silent = ""
        elif name in self._within:
            self.flush("\n")
            while self._within.pop() != name:
                pass
        elif name in _LINES:
            self.flush("\n")
        elif name in _GROUPS:
            self._groups -= 1

    def data(self, text: str) -> None:
        if self._within and not self._silent:
            self._flow.add(text)

    def flush(self, separator: str) -> None:
        """End the line."""
        begun, text = self._flow.begun, " ".join(self._flow.take().split())
        if text or begun:
            self._tell(text + "\n")
            if self._within == ["title"] and not self._title and not self._groups:
                self._title = clean(text)[:_TITLE]

    def _tell(self, text: str) -> None:
        part = _PARTS[self._within[-1]] if self._within else None
        heading = None if part else self._title or None
        self.out.append((clean(text), Locator(heading=heading, part=part)))
