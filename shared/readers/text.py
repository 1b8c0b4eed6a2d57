"""Plain text in any encoding, and Markdown with its headings.

Bytes are decoded as they come and cut into parts by a rule that looks forward only: the same from any part's end,
however the windows fell. Decoding keeps what it cannot decode (`surrogateescape`) until the part is cut, so that byte
spans stay exact beside damage; the text itself then says U+FFFD.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from shared.domain.parts import Locator, Part, State, Text
from shared.readers.encoding import detect, guess, single_byte
from shared.readers.gather import PART, clean, cut_at
from shared.readers.limits import Limits
from shared.readers.source import HEAD, Source, beginning

_SLICE = 256 * 1024  # decoded at a time: one emoji makes a str four bytes a character wide
_LOOK = 64 * 1024  # characters that a second look at the encoding is based on


class Cutter(Protocol):
    """Says where parts end, and what a part's place is beyond its bytes and lines."""

    def cut(self, text: str, start: int, *, final: bool) -> int:
        """Where the part that begins at `start` ends; -1 asks for more text, which `final` rules out."""
        ...

    def place(self) -> dict[str, Any]:
        """The locator fields of the part just cut."""
        ...

    def state(self) -> dict[str, Any]:
        """What the next part needs to know."""
        ...


class Paragraphs:
    """Cuts at paragraphs, lines, sentences, words."""

    def cut(self, text: str, start: int, *, final: bool) -> int:
        if len(text) - start > PART:
            return cut_at(text, start, start + PART)
        return len(text) if final else -1

    def place(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}


def read_plain(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """Any text, by paragraphs."""
    return read_lines(source, limits, after, Paragraphs())


def read_markdown(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """Markdown, by sections: a part never reaches across a heading, and knows the headings above it. Pictures that lie
    in it as base64, as in a Google Doc's, are left out."""
    return _without_pictures(read_lines(source, limits, after, Sections(after)), bool(after.get("picture")))


_PICTURE = re.compile(r"data:image/[\w.+-]+;base64,([A-Za-z0-9+/=]*)")
_PICTURE_GOES_ON = re.compile(r"[A-Za-z0-9+/=]*")


def _without_pictures(parts: Iterator[Part], inside: bool) -> Iterator[Part]:
    """A picture has no line end and is cut anywhere; `inside` says that a part begins in one."""
    for part in parts:
        assert isinstance(part, Text)
        text = part.text
        start = 0
        if inside and (goes_on := _PICTURE_GOES_ON.match(text)):
            start = goes_on.end()
        inside = inside and start == len(text)
        for picture in _PICTURE.finditer(text, start):
            inside = picture.end() == len(text)
        left = _PICTURE.sub("", text[start:])
        after = {**part.after, "picture": True} if inside else part.after
        if left:
            yield part if left == text and not inside else replace(part, text=left, after=after)


def read_lines(source: Source, _limits: Limits, after: State, cutter: Cutter) -> Iterator[Part]:
    """Parts of decoded text, as the cutter cuts them, with bytes and lines."""
    text = Decoded(source, after)
    line = int(after.get("line", 1))
    while True:
        end = cutter.cut(text.held, text.at, final=text.final)
        if end < 0:
            text.more()
            continue
        if end == text.at:
            return
        start, piece = text.byte, text.take(end)
        lines = piece.count("\n")
        last = line + lines - piece.endswith("\n")
        locator = Locator(line_first=line, line_last=last, **text.span(start), **cutter.place())
        line += lines
        yield Text(piece, locator, {"line": line, **text.state(), **cutter.state()})


class Decoded:
    """A source's bytes as characters, a little at a time: `held[at:]` is what has not been taken yet."""

    def __init__(self, source: Source, after: State) -> None:
        self.held, self.at, self.final = "", 0, False
        self._chars = int(after.get("chars", 0))  # taken so far; without exact bytes, reading goes on by counting them
        self._plain = False  # nothing but ASCII has been taken, and the encoding was a guess
        self._drop = 0
        if "encoding" not in after:
            sample, windows = beginning(source.windows(), HEAD)
            encoding, self.byte, self._sure = detect(sample, whole=len(sample) < HEAD)
            self._drop = self.byte  # the byte order mark
            self._use(encoding)
        else:
            self.byte, self._sure = int(after["byte"]), bool(after["sure"])
            self._use(str(after["encoding"]))
            start = self.byte if self._exact else 0
            at_end = source.size is not None and start >= source.size
            windows = iter(()) if at_end else source.windows(start)
        self._plain = not self._sure
        self._slices = _slices(windows)
        self._skip(self._chars)

    def _use(self, encoding: str) -> None:
        self.encoding = encoding
        # Characters lead back to bytes exactly in Unicode's encodings (for UTF-8 even beside damage) and where each
        # byte is one character. In other encodings several sequences may stand for one character.
        self._single = encoding != "utf-8" and single_byte(encoding)
        self._unit = 1 if self._single or encoding == "utf-8" else {"utf-16": 2, "utf-32": 4}.get(encoding[:6], 0)
        self._exact = self._unit > 0
        self._errors = "surrogateescape" if encoding == "utf-8" else "replace"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)

    def more(self) -> None:
        """Decode the next slice behind what is held, or find that there is none."""
        piece = next(self._slices, None)
        if piece is None:
            self.final = True
            rest = self._decoder.decode(b"", True)
        else:
            rest = self._decoder.decode(piece[self._drop :])
            self._drop = max(0, self._drop - len(piece))
        self.held, self.at = self.held[self.at :] + rest, 0
        if not self._sure and not rest.isascii():
            self._decide()

    def take(self, end: int) -> str:
        """The characters up to `end`, cleaned. `byte` is then the offset behind them."""
        piece = self.held[self.at : end]
        self.at = end
        plain = piece.isascii()
        if self._plain and not plain:
            self._plain, self._chars = False, self.byte  # so far each character was one byte
        if not (self._exact or self._plain):
            self._chars += len(piece)
        elif plain or self._single:
            self.byte += len(piece) * (self._unit or 1)
        else:
            try:
                self.byte += len(piece.encode(self.encoding))
            except UnicodeEncodeError:  # some bytes were none of UTF-8's
                self.byte += len(piece.encode(self.encoding, self._errors))
                piece = clean(piece)
        return piece.replace("\0", "\ufffd")

    def span(self, start: int) -> dict[str, Any]:
        """The bytes from `start` to here, as locator fields, where they are known."""
        return {"byte_start": start, "byte_end": self.byte} if self._exact or self._plain else {}

    def state(self) -> dict[str, Any]:
        """Where and how to go on decoding."""
        if self._plain:
            return {"byte": self.byte, "encoding": "utf-8", "sure": False}
        state: dict[str, Any] = {"byte": self.byte, "encoding": self.encoding, "sure": True}
        return state if self._exact else {**state, "chars": self._chars}

    def _decide(self) -> None:
        """All was plain ASCII so far, so that the encoding was a guess. The first other character begins a sample
        that settles it, the same wherever reading began."""
        self._sure = True
        while not self.final and len(self.held) < _LOOK + _SLICE:
            self.more()
        other = _OTHER.search(self.held)
        at = other.start() if other else 0
        sample = self.held[at : at + _LOOK].encode("utf-8", "surrogateescape")
        encoding = guess(sample)
        if encoding != "utf-8":
            raw = self.held.encode("utf-8", "surrogateescape") + self._decoder.getstate()[0]
            self._use(encoding)
            self.held = self._decoder.decode(raw, self.final)

    def _skip(self, count: int) -> None:
        while count and not self.final:
            self.more()
            self.at = min(count, len(self.held))
            count -= self.at


_OTHER = re.compile("[^\x00-\x7f]")


def _slices(windows: Iterator[memoryview]) -> Iterator[memoryview]:
    for window in windows:
        for at in range(0, len(window), _SLICE):
            yield window[at : at + _SLICE]


_MARKS = re.compile(
    r"^(?:[ ]{0,3}(?P<level>\#{1,6})[ \t]+(?P<title>[^\n]*)"
    r"|[ ]{0,3}(?P<fence>```+|~~~+)[^\n]*"
    r"|(?:(?<=\n\n)|(?<=\n\r\n))(?P<above>[^\s|>*+=-][^\n|]*)\n(?P<under>===+|---+)[ \t]*\r?$)",
    re.MULTILINE,
)
_SIGNS = ("# ", "#\t", "```", "~~~", "===", "---")  # without one of them no line is a mark
_DECOR = re.compile(
    r"\{#[^{}]{0,200}\}\s*$|\s#+\s*$|[*`]|\\(?=\W)|!?\[(?=[^\[\]]{0,500}\]\()|(?<=\])\([^)]{0,500}\)|\](?=\()"
)
_BEYOND = 4096  # characters behind a part that tell whether its last line is a heading
_TITLE = 200  # characters of a heading that a locator keeps


class Sections:
    """Cuts Markdown at headings, and within a section like any text."""

    def __init__(self, after: State) -> None:
        self._path: list[tuple[int, str]] = [(int(level), str(title)) for level, title in after.get("path", [])]
        self._fence = str(after.get("fence", ""))
        self._lead = str(after.get("lead", "\n\n"))  # what the part follows: a blank line, a line, or neither

    def cut(self, text: str, start: int, *, final: bool) -> int:
        if not final and len(text) < start + PART + _BEYOND:
            return -1
        lead = len(self._lead)
        window = self._lead + text[start : start + PART + _BEYOND]
        stop = lead + min(PART, len(text) - start)
        passed, end = self._to_next_heading(window, lead, stop)
        if end < 0:
            whole = final and len(text) - start <= PART
            end = stop if whole else cut_at(window, lead, stop)
        self._pass(passed, lead, end)
        tail = window[:end]
        self._lead = "\n\n" if tail.endswith(("\n\n", "\n\r\n")) else "\n" if tail.endswith("\n") else "."
        return start + end - lead

    def place(self) -> dict[str, Any]:
        return {"heading": " > ".join(title for _, title in self._path) or None}

    def state(self) -> dict[str, Any]:
        return {"path": [list(step) for step in self._path], "fence": self._fence, "lead": self._lead}

    def _to_next_heading(self, window: str, start: int, stop: int) -> tuple[list[re.Match[str]], int]:
        """The marks up to the next heading behind `start`, and where that is, or -1."""
        passed = list[re.Match[str]]()
        if not any(sign in window for sign in _SIGNS):
            return passed, -1
        fence = self._fence
        for mark in _MARKS.finditer(window):
            if mark.start() >= stop:
                break
            if mark.start() < start:
                continue
            if mark["fence"]:
                fence = _fenced(fence, mark["fence"])
            elif not fence and mark.start() > start:
                return passed, mark.start()
            passed.append(mark)
        return passed, -1

    def _pass(self, marks: list[re.Match[str]], start: int, end: int) -> None:
        for mark in marks:
            if mark.start() >= end:
                return
            if mark["fence"]:
                self._fence = _fenced(self._fence, mark["fence"])
            elif not self._fence and mark.start() == start:
                self._enter(mark)

    def _enter(self, mark: re.Match[str]) -> None:
        level = len(mark["level"]) if mark["level"] else 1 if mark["under"][0] == "=" else 2
        title = _DECOR.sub("", mark["title"] or mark["above"] or "").strip()[:_TITLE]
        self._path = [step for step in self._path if step[0] < level]
        if title:
            self._path.append((level, clean(title)))


def _fenced(open_fence: str, mark: str) -> str:
    """The fence that is open behind this one: an inner fence is shorter or of the other kind."""
    if not open_fence:
        return mark
    return "" if mark.startswith(open_fence) else open_fence
