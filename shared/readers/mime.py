"""Mail as it travels: lines, headers, boundaries, transfer encodings. All of it streams, and nothing is believed.

What comes out does not depend on how the bytes arrive: every decoder cuts at places that the bytes themselves have.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from functools import cached_property
from itertools import chain

from shared.readers.encoding import detect, guess, known
from shared.readers.gather import clean
from shared.readers.limits import KIB, MIB

_FEED = 256 * KIB
_HEADERS = 256 * KIB  # of one part; what follows is dropped
_LINE = 64 * KIB
_VALUE = 32 * KIB  # of one header
_PARAMETERS = 2 * KIB  # of a header that has some: Python's parser takes longer than linear time for them
_BOUNDARY = 200
_AHEAD = 4 * KIB  # as much as must be seen to know a line for what it is
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
# How a message begins in a mailbox: `From sender date`, then a header. Anything less is a sentence.
_FROM = re.compile(rb"From [^\n]{0,1000}(?:\d\d:\d\d[^\n]{0,1000}(?:\n|\Z)|\n[!-9;-~]{1,100}[ \t]*:)")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stop:
    """What ends a part: the boundaries around it, innermost first, and in a mailbox the next message."""

    boundaries: tuple[bytes, ...] = ()
    mailbox: bool = False

    def within(self, boundary: bytes) -> Stop:
        return replace(self, boundaries=(boundary, *self.boundaries))

    def pattern(self) -> re.Pattern[bytes]:
        """Finds the line end before a line that may be an end."""
        ends = [b"--" + re.escape(boundary) for boundary in self.boundaries] + ([b"From "] if self.mailbox else [])
        return re.compile(rb"\n(?=" + b"|".join(ends) + rb")") if ends else _NEVER

    def at(self, text: bytes, start: int) -> tuple[bytes, bool] | None:
        """The end that the line at `start` is: its boundary, and whether it is the last one."""
        if self.mailbox and text.startswith(b"From ", start) and _FROM.match(text, start):
            return MESSAGE
        if not text.startswith(b"--", start):
            return None
        for boundary in self.boundaries:
            if text.startswith(boundary, start + 2):
                rest = start + 2 + len(boundary)
                last = text.startswith(b"--", rest)
                if _BLANK.match(text, rest + 2 * last):
                    return boundary, last
        return None


MESSAGE = (b"\n", True)  # the end that a new message is; no boundary has a line end in it
_NEVER = re.compile(rb"(?!)")
_BLANK = re.compile(rb"[ \t]*(?:\r|\n|\Z)")


class Scanner:
    """A source's bytes, line by line or up to an end. `at` is the offset of what comes next."""

    def __init__(self, windows: Iterator[memoryview], at: int = 0) -> None:
        self._windows = (window[start : start + _FEED] for window in windows for start in range(0, len(window), _FEED))
        self._held, self._next, self._final = b"", 0, False
        self.at = at

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return not self._ahead(1)

    def line(self) -> bytes:
        """The next line with its end, in pieces where it is very long; nothing at the end of all."""
        self._ahead(_LINE)
        end = self._held.find(b"\n", self._next, self._next + _LINE) + 1
        return self._take(end or min(len(self._held), self._next + _LINE))

    def peek(self) -> bytes:
        """The beginning of what comes next."""
        self._ahead(_AHEAD)
        return self._held[self._next : self._next + _AHEAD]

    def stands_at(self, stop: Stop) -> tuple[bytes, bool] | None:
        """The end that the next line is."""
        self._ahead(_AHEAD)
        return stop.at(self._held, self._next)

    def until(self, stop: Stop) -> Iterator[bytes]:
        """All before the next end; the line end before it belongs to it. To be called at the beginning of a line."""
        pattern, look = stop.pattern(), self._next
        if self.stands_at(stop):
            return
        while True:
            look = max(look, self._next)
            found = pattern.search(self._held, look)
            begin = found.end() if found else len(self._held)
            if found and (self._final or len(self._held) - begin >= _AHEAD):
                if stop.at(self._held, begin):
                    end = found.start()
                    yield self._take(end - self._held.endswith(b"\r", self._next, end))
                    self._take(begin)
                    return
                look = begin
                continue
            if not found and self._final:
                yield self._take(len(self._held))
                return
            safe = found.start() - 1 if found else len(self._held) - _BOUNDARY - 8
            if safe > self._next:
                yield self._take(safe)
            look = 0
            self._more()

    def _ahead(self, count: int) -> bool:
        while not self._final and len(self._held) - self._next < count:
            self._more()
        return self._next < len(self._held)

    def _more(self) -> None:
        window = next(self._windows, None)
        if window is None:
            self._final = True
        else:
            self._held, self._next = self._held[self._next :] + bytes(window), 0

    def _take(self, end: int) -> bytes:
        piece = self._held[self._next : end]
        self._next += len(piece)
        self.at += len(piece)
        return piece


class Headers:
    """What stands above a part."""

    def __init__(self, block: bytes) -> None:
        parsed: Message = BytesHeaderParser().parsebytes(block)
        self._raw: dict[str, str] = {}
        for name, value in parsed.raw_items():
            self._raw.setdefault(name.lower(), str(value)[:_VALUE])
        short = Message()
        for name in ("content-type", "content-disposition"):
            if name in self._raw:
                short[name] = _UNFOLDED.sub(" ", self._raw[name])[:_PARAMETERS]
        self._short = short
        self.type = short.get_content_type()
        self.encoding = self._raw.get("content-transfer-encoding", "").strip().lower()
        self.attached = self._raw.get("content-disposition", "").strip().lower().startswith("attachment")

    def __bool__(self) -> bool:
        return bool(self._raw)

    def text(self, name: str) -> str:
        """A header's words, decoded; empty where it is missing."""
        value = self._raw.get(name, "")
        if not value.isascii():
            raw = value.encode("ascii", "surrogateescape")
            value = raw.decode(guess(raw), "replace")
        return " ".join(clean(words(_UNFOLDED.sub(" ", value))).split())

    @cached_property
    def name(self) -> str:
        """The name of an attachment, as its sender gave it."""
        return words(_or_nothing(self._short.get_filename))

    @cached_property
    def charset(self) -> str:
        return _or_nothing(self._short.get_content_charset)

    @cached_property
    def boundary(self) -> bytes:
        """What stands between the parts; nothing where there is none to go by."""
        boundary = _or_nothing(self._short.get_boundary).encode("ascii", "replace") if self.multipart else b""
        return boundary if len(boundary) <= _BOUNDARY else b""

    @property
    def multipart(self) -> bool:
        return self.type.startswith("multipart/")


_UNFOLDED = re.compile(r"\r?\n[ \t]*|\r")


def headers(scanner: Scanner, stop: Stop) -> Headers:
    """The headers that come next, and the empty line behind them. Where no header stands, nothing is taken."""
    block = bytearray()
    while not scanner.stands_at(stop):
        ahead = scanner.peek()
        if ahead.startswith((b"\n", b"\r\n")):
            scanner.line()
            break
        if not (_FIELD.match(ahead) or (block and ahead.startswith((b" ", b"\t")))):
            break
        line = scanner.line()
        if len(block) + len(line) <= _HEADERS:
            block += line
    return Headers(bytes(block))


def _or_nothing(parameter: Callable[[], str | None]) -> str:
    """A parameter of a header; Python's decoders of them stumble over some."""
    try:
        return parameter() or ""
    except (LookupError, TypeError, ValueError):
        return ""


def words(text: str) -> str:
    """A header with its encoded words decoded."""
    try:
        pieces = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(
        piece if isinstance(piece, str) else as_text(piece, charset or _UNENCODED) for piece, charset in pieces
    )


def as_text(content: bytes, charset: str) -> str:
    """Bytes in a charset that somebody named; where nobody knows it, as they look."""
    codec = known(charset) or (charset if charset == _UNENCODED else guess(content))
    return content.decode(codec, "replace")


_UNENCODED = "raw-unicode-escape"  # what Python makes of the words between encoded ones


def decoded(pieces: Iterable[bytes], encoding: str, *, mailbox: bool) -> Iterator[bytes]:
    """A part's bytes as they were before they travelled."""
    if encoding == "base64":
        return _base64(pieces)
    if mailbox:
        pieces = (_QUOTED_FROM.sub(rb"\1", lines) if b">From " in lines else lines for lines in _lines(pieces))
    if encoding == "quoted-printable":
        return map(binascii.a2b_qp, _lines(pieces))
    return iter(pieces)


def unicode(pieces: Iterable[bytes], charset: str) -> Iterator[bytes]:
    """A text's bytes as UTF-8, where its charset is a known one that does not begin with ASCII; without blanks at its
    beginning, so that an empty text is empty."""
    codec, pieces = known(charset), iter(pieces)
    if codec in ("utf-16", "utf-32"):  # Python's decoders of these fail where there is no mark
        first = next(pieces, b"")
        found, pieces = detect(first, whole=False)[0], chain([first], pieces)
        codec = found if found.startswith("utf") else f"{codec}-le"
    if codec not in ("", "ascii", "utf-8"):
        decoder = codecs.getincrementaldecoder(codec)("replace")
        pieces = (decoder.decode(piece).encode("utf-8", "replace") for piece in pieces)
    begun = False
    for piece in pieces:
        piece = piece if begun else piece.removeprefix(codecs.BOM_UTF8).lstrip()
        begun = begun or bool(piece)
        if piece:
            yield piece


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end with a line; an endless line is cut at exact lengths."""
    held = b""
    for piece in pieces:
        held += piece
        end = held.rfind(b"\n") + 1
        if end:
            yield held[:end]
            held = held[end:]
        while len(held) >= MIB:
            cut = held.find(b"=", MIB - 3, MIB) if b"=" in held[MIB - 3 : MIB] else MIB  # not inside of `=E2`
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def _base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        held += piece.translate(None, _NOT_BASE64)
        if b"=" in held:  # the end: what stands behind it does not belong to it
            break
        whole = len(held) // 4 * 4
        yield binascii.a2b_base64(held[:whole])
        held = held[whole:]
    last = held.partition(b"=")[0]
    last = last[:-1] if len(last) % 4 == 1 else last
    yield binascii.a2b_base64(last + b"=" * (-len(last) % 4))


_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
