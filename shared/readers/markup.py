"""HTML as it streams: tags, and the text between them, in constant memory and linear time whatever is fed.

Python's own parser looks at what it has not understood again with every feed, needs hours for some pages, and reads
others differently from one patch release to the next. Lexing is all that text needs of a parser: one pattern, matched
once for each tag. What a tag is does not depend on how the page arrives: one that does not end within 64 KiB is passed
over, and so are comments and scripts, none of them held.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import ClassVar

from shared.domain.parts import Locator, Part, State
from shared.readers.gather import Flow, clean, gather, numbered, resolved
from shared.readers.limits import KIB, Limits
from shared.readers.source import Source
from shared.readers.text import Decoded

_FEED = 64 * KIB  # characters
_LONGEST = 64 * KIB  # of a tag: pages carry pictures as megabytes of letters in one
_TITLE = 200
_CELL = "\x1f"  # begins a table cell; a tab in the source is only white space
_SILENT = {"script", "style", "template", "noscript", "svg"}
_CELLS = {"td", "th"}
_LINES = {"br", "tr", "dt", "option"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "fieldset",
    "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li", "main", "nav", "ol", "p", "pre",
    "section", "summary", "table", "tbody", "tfoot", "thead", "title", "ul", *_HEADINGS,
}  # fmt: skip

# Possessive throughout: a tag ends or it does not, and there is one way to read it. A quote counts behind "=" only.
_WHOLE = r"""(/?)([a-zA-Z][^\s/>]*+)((?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|(?!["'\s])))*+)>"""
_TAG = re.compile(f"<{_WHOLE}")
_LONE = "(?=[^a-zA-Z/!?])"  # behind a "<" that is only a character
# A whole tag or a lone "<", and the text behind it; or neither, which leaves the loop.
_STEP = re.compile(rf"<(?:(?:{_WHOLE}|{_LONE})((?:[^<]++|<{_LONE})*+)|)")
_TAG_BEGINS = re.compile(r"</?[a-zA-Z]")
_UNDECIDED = re.compile(r"&(?:#[0-9a-zA-Z]*|[^\t\n\f <&#;]{0,32})\Z")  # more letters may make it another character
_MARKS = 9  # characters that tell what begins with "<": the longest is "<![CDATA["
_PASSED = (  # what begins so is passed over to its end, which may begin within its beginning: <!-->
    ("<!--", 2, re.compile("-->")),
    ("<![CDATA[", 9, re.compile("]]>")),
    ("<!", 2, re.compile(">")),
    ("<?", 2, re.compile(">")),
    ("</", 2, re.compile(">")),
)
_EMPTY = re.compile(r"(?:^|[\s\"'])/\Z")  # an element that ends where it begins
_END_OF_TAG = re.compile(">")
_RAW = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style")}
_TAIL = 16  # characters of what is passed over that its end may have begun in

Told = tuple[str, Locator]


def read_html(source: Source, _limits: Limits, after: State) -> Iterator[Part]:
    """A web page. Locators: the path of headings. Going on reads from the beginning and leaves out what was told."""
    return gather(numbered([lambda: told(Page(), source)], after), after)


def told(markup: Markup, source: Source) -> Iterator[Told]:
    """What a kind of markup makes of a source, as it comes."""
    for text in _characters(source):
        for at in range(0, len(text), _FEED):
            markup.feed(text[at : at + _FEED])
            yield from markup.out
            markup.out.clear()
    markup.feed("", final=True)
    markup.flush("\n\n")
    yield from markup.out


def _characters(source: Source) -> Iterator[str]:
    text = Decoded(source, {})
    while not text.final:
        text.more()
        yield text.held
        text.at = len(text.held)


class Markup:
    """The tags of a page and the text between them. What they mean is the business of its kinds."""

    heard: ClassVar[Container[str]]  # tags that mean something

    def __init__(self) -> None:
        self.out: list[Told] = []
        self._rest = ""  # not understood yet
        self._until: re.Pattern[str] | None = None  # what ends the thing that is being passed over

    def feed(self, text: str, *, final: bool = False) -> None:
        """Hear the next characters. What is not complete without more of them waits."""
        held = self._rest + text
        at = 0
        while at < len(held):
            at, going_on = self._passed(held, at) if self._until else self._heard(held, at, final=final)
            if not going_on:
                break
        self._rest = held[at:]

    def start(self, tag: str, attributes: str) -> None:
        """A tag that means something begins."""

    def end(self, tag: str) -> None:
        """It ends."""

    def data(self, text: str) -> None:
        """Text, in pieces."""

    def flush(self, separator: str) -> None:
        """End the paragraph."""

    def _passed(self, held: str, at: int) -> tuple[int, bool]:
        """Behind what is passed over, and whether its end has come."""
        assert self._until is not None
        end = self._until.search(held, at)
        if end is None:
            return max(at, len(held) - _TAIL), False
        raw = self._until in _RAW.values()  # whose end is a tag to be heard
        self._until = None
        return end.start() if raw else end.end(), True

    def _heard(self, held: str, at: int, *, final: bool) -> tuple[int, bool]:
        """Behind the tags and texts from `at` on, and whether there may be more to hear behind that."""
        begin, last = held.find("<", at), held.rfind("<", at)
        if begin < 0:
            stop = len(held) if final else _decided(held, at)
            self.data(resolved(held[at:stop]))
            return stop, False
        if begin > at:
            self.data(resolved(held[at:begin]))
        heard, at = self.heard, begin
        for found in _STEP.finditer(held, begin, last):  # up to the last "<", so that each text here is whole
            ends, tag, attributes, text = found.groups()
            if text is None or (tag and len(tag) + len(attributes) > _LONGEST):
                return self._other(held, found.start(), final=final)
            if not tag:
                self.data("<")
            elif (name := tag.lower()) in heard:
                if ends:
                    self.end(name)
                elif self._begun(name, attributes):
                    return found.end() - len(text), True
            if text:
                self.data(resolved(text) if "&" in text else text)
            at = found.end()
        return self._other(held, at, final=final)

    def _begun(self, name: str, attributes: str) -> bool:
        """Hear a tag that begins something; whether all up to its end is to be passed over."""
        self.start(name, attributes)
        if attributes.endswith("/") and _EMPTY.search(attributes):
            self.end(name)
        elif name in _RAW:
            self._until = _RAW[name]
            return True
        return False

    def _other(self, held: str, at: int, *, final: bool) -> tuple[int, bool]:
        """Behind the one thing that begins with the "<" at `at`, if it is whole or is to be passed over."""
        if len(held) - at < _MARKS and not final:
            return at, False
        if _TAG_BEGINS.match(held, at):
            found = _TAG.match(held, at)
            if found and len(found[2]) + len(found[3]) <= _LONGEST:
                if (name := found[2].lower()) not in self.heard:
                    pass
                elif found[1]:
                    self.end(name)
                else:
                    self._begun(name, found[3])
                return found.end(), True
            if len(held) - at > _LONGEST + len("</>"):
                self._until = _END_OF_TAG
                return at + _LONGEST, True
            return len(held) if final else at, False
        for mark, length, end in _PASSED:
            if held.startswith(mark, at):
                self._until = end
                return at + length, True
        self.data("<")
        return at + 1, True


def _decided(held: str, at: int) -> int:
    """Where a text ends whose last characters may not be what they seem: the next ones may belong to them."""
    last = held.rfind("&", at)
    undecided = last >= 0 and len(held) - last <= _LONGEST and _UNDECIDED.match(held, last)
    return last if undecided else len(held)


class Page(Markup):
    """Paragraphs of a page, each with the headings above it."""

    heard = frozenset(_SILENT | _LINES | _BLOCKS | _CELLS)

    def __init__(self) -> None:
        super().__init__()
        self._path: list[tuple[int, str]] = []
        self._place = Locator()
        self._heading = 0
        self._silent: list[str] = []
        self._verbatim = 0
        self._flow = Flow(self._tell)

    def start(self, tag: str, attributes: str) -> None:
        if tag in _CELLS:
            self._flow.add(_CELL)
        elif tag in _LINES:
            self.flush("\n")
        elif tag in _BLOCKS:
            self.flush("\n\n")
            if tag == "pre":
                self._verbatim += 1
            elif tag == "body":
                self._silent.clear()
            elif tag == "title":
                self._heading = -1
            elif tag in _HEADINGS:
                self._heading = _HEADINGS[tag]
        else:
            self._silent.append(tag)
            del self._silent[64:]

    def end(self, tag: str) -> None:
        if tag in _LINES:
            self.flush("\n")
        elif tag in _BLOCKS:
            self.flush("\n\n")
            if tag == "pre":
                self._verbatim = max(0, self._verbatim - 1)
            self._heading = 0
        if tag in self._silent:
            while self._silent.pop() != tag:
                pass

    def data(self, text: str) -> None:
        blank = not self._flow and not self._verbatim and text.isspace()  # between two paragraphs
        if not blank and (not self._silent or self._heading == -1):
            self._flow.add(text)

    def flush(self, separator: str) -> None:
        """End the paragraph."""
        if not self._flow:
            return
        begun, text = self._flow.begun, self._shaped(self._flow.take())
        if not text and not begun:
            return
        if self._heading > 0 and not begun:
            title = clean(" ".join(text.split()))[:_TITLE]
            self._path = [*(step for step in self._path if step[0] < self._heading), (self._heading, title)]
            self._place = Locator(heading=" > ".join(title for _, title in self._path) or None)
        self.out.append((clean(text) + separator, self._place))

    def _shaped(self, text: str) -> str:
        if self._verbatim:
            return text.replace(_CELL, "\t").strip("\r\n")
        if _CELL in text:
            return "\t".join([" ".join(cell.split()) for cell in text.split(_CELL)]).strip()
        return " ".join(text.split())

    def _tell(self, text: str) -> None:
        self.out.append((clean(text).replace(_CELL, "\t"), self._place))
