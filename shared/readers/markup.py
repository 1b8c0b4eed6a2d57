"""HTML by Python's own parser: constant memory, and two lines against the inputs that make it slow.

The parser keeps what it has not understood yet and looks at it again with every feed. A comment, a tag or a script
that does not end within 64 KiB is therefore taken out of its hands and skipped to its end.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from shared.domain.parts import Locator, Part, State
from shared.readers.encoding import detect
from shared.readers.gather import Flow, clean, gather, numbered
from shared.readers.limits import KIB, Limits
from shared.readers.source import Source
from shared.readers.text import Decoded

_FEED = 16 * KIB  # characters
_UNFINISHED = 64 * KIB
_TITLE = 200
_CELL = "\x1f"  # begins a table cell; a tab in the source is only white space
_SILENT = {"script", "style", "template", "noscript", "svg"}
_LINES = {"br", "tr", "dt", "option"}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "legend",
    "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "ul",
}  # fmt: skip

Told = tuple[str, Locator]


def read_html(source: Source, _limits: Limits, after: State) -> Iterator[Part]:
    """A web page. Locators: the path of headings. Going on reads from the beginning and leaves out what was told."""
    return gather(numbered([lambda: told(Page(), source)], after), after)


def told(markup: Markup, source: Source) -> Iterator[Told]:
    """What a parser makes of a source, as it comes."""
    for text in _characters(source):
        for at in range(0, len(text), _FEED):
            markup.feed_bounded(text[at : at + _FEED])
            yield from markup.out
            markup.out.clear()
    markup.close()
    markup.flush("\n\n")
    yield from markup.out


def _characters(source: Source) -> Iterator[str]:
    text = Decoded(source, {}, _encoding)
    while not text.final:
        text.more()
        yield text.held
        text.at = len(text.held)


def _encoding(sample: bytes, *, whole: bool) -> tuple[str, int, bool]:
    """As of any text; where that is a guess, the page's own word counts."""
    encoding, mark, sure = detect(sample, whole=whole)
    declared = _DECLARED.search(sample[:4096])
    if declared and not mark and not encoding.startswith("utf"):
        try:
            return codecs.lookup(declared[1].decode("ascii")).name, 0, True
        except LookupError:
            pass
    return encoding, mark, sure


_DECLARED = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


class Markup(HTMLParser):
    """Python's parser within bounds. What it hears is the business of its kinds."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[Told] = []
        self._until = ""  # what ends the thing that is being skipped
        self._tail = ""  # the last characters skipped: an end of three may fall between two feeds

    def feed_bounded(self, text: str) -> None:
        """Feed, and take out of the parser's hands what does not end in time."""
        if self._until:
            text = self._skipped(text)
        if text:
            self.feed(text)
        if len(self.rawdata) > _UNFINISHED:
            if self.cdata_elem:
                self.rawdata = self.rawdata[-32:]  # a script is dropped anyway; its end tag may have begun
                return
            self._until = "-->" if self.rawdata.startswith("<!--") else ">"
            kept = self.rawdata[-2:]
            self.rawdata = ""
            rest = self._skipped(kept if self._until == "-->" else "")
            if rest:
                self.feed(rest)

    def flush(self, separator: str) -> None:
        """End the paragraph."""

    def _skipped(self, text: str) -> str:
        if self._until == "-->":
            text = self._tail + text
        at = text.find(self._until)
        self._tail = text[-2:]
        if at < 0:
            return ""
        at += len(self._until)
        self._until, self._tail = "", ""
        return text[at:]

    def updatepos(self, i: int, j: int) -> int:
        return j


class Page(Markup):
    """Paragraphs of a page, each with the headings above it."""

    def __init__(self) -> None:
        super().__init__()
        self._path: list[tuple[int, str]] = []
        self._heading = 0
        self._silent: list[str] = []
        self._verbatim = 0
        self._flow = Flow(self._tell)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
            del self._silent[64:]
        elif tag == "body":
            self._silent.clear()
        if tag in _LINES:
            self.flush("\n")
        elif tag in _BLOCKS:
            self.flush("\n\n")
            if tag == "pre":
                self._verbatim += 1
            if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
                self._heading = int(tag[1])
            elif tag == "title":
                self._heading = -1
        elif tag in ("td", "th"):
            self._flow.add(_CELL)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            while self._silent.pop() != tag:
                pass
        if tag in _LINES:
            self.flush("\n")
        elif tag in _BLOCKS:
            self.flush("\n\n")
            if tag == "pre":
                self._verbatim = max(0, self._verbatim - 1)
            self._heading = 0

    def handle_data(self, data: str) -> None:
        if not self._silent or self._heading == -1:
            self._flow.add(data)

    def flush(self, separator: str) -> None:
        """End the paragraph."""
        begun, text = self._flow.begun, self._shaped(self._flow.take())
        if not text and not begun:
            return
        if self._heading > 0 and not begun:
            title = clean(" ".join(text.split()))[:_TITLE]
            self._path = [*(step for step in self._path if step[0] < self._heading), (self._heading, title)]
        heading = " > ".join(title for _, title in self._path) or None
        self.out.append((clean(text) + separator, Locator(heading=heading)))

    def _shaped(self, text: str) -> str:
        if self._verbatim:
            return text.replace(_CELL, "\t").strip("\r\n")
        if _CELL in text:
            return "\t".join(" ".join(cell.split()) for cell in text.split(_CELL)).strip()
        return " ".join(text.split())

    def _tell(self, text: str) -> None:
        heading = " > ".join(title for _, title in self._path) or None
        self.out.append((clean(text).replace(_CELL, "\t"), Locator(heading=heading)))
