"""TAR archives, file by file as they stream: what is in them is read through the registry, one level deep.

An archive of this kind has no table of contents. A header of 512 bytes stands before each file, and what does not fit
into it, a long name above all, stands as a file of its own before that. Nothing is extracted: a name is only a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State, Text
from shared.readers.archive import broken, too_many_parts
from shared.readers.inner import Refusals, Sheltered, Streamed, in_the_open, inside, note, shown
from shared.readers.limits import KIB, MIB, Limits
from shared.readers.source import Source

_BLOCK = 512
_FEED = 256 * KIB
_MORE = MIB  # bytes of what stands before a header: no name is longer
_FILES = (b"0", b"\0", b"7")
_SPARSE = b"S"
_LONG_NAME, _PAX = b"L", b"x"
_BESIDE = (b"K", b"g")  # a long target of a link; what is said of all files
_BARE = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, folders, devices: nothing follows, whatever their size


def read_tar(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A TAR archive. Locators: the file's name, and the place in it."""
    if limits.nesting < 1:
        raise Skipped("An archive within another file is not opened.", code="nested")
    return in_the_open(_read_tar(Sheltered(source), limits, after))


def _read_tar(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """What the files give. Going on begins at the file's header, whose offset is known."""
    number, at, inner = int(after.get("entry", 0)), int(after.get("at", 0)), after.get("inner")
    refusals = Refusals(told=bool(after))
    tape = Tape(source.windows(at), at)
    while entry := tape.entry():
        if number >= limits.parts:
            raise too_many_parts(limits.parts)
        here, behind = {"entry": number, "at": entry.at}, {"entry": number + 1, "at": entry.end}
        for part in _parts(tape, entry, limits, inner):
            if isinstance(part, Skipped):
                yield from refusals.add(Text(note(entry.name, part), Locator(part=entry.name), behind), part)
            else:
                yield from refusals.release()
                yield replace(part, after={**here, "inner": part.after})
        tape.skip_to(entry.end)
        number, inner = number + 1, None
    refusals.close()


def _parts(tape: Tape, entry: Entry, limits: Limits, after: State | None) -> Iterator[Any]:
    """A file's parts, the first with its name before it: so it is found by its name too."""
    if entry.sparse:
        yield Skipped("It is stored in a way that is not read.", code="unsupported")
        return
    lead = None if after else f"{entry.name}\n\n"
    name = entry.name.replace("\\", "/").rpartition("/")[2]
    for part in inside(Streamed(tape.content(entry.size), limits, name), limits, after, entry.name):
        if lead and isinstance(part, Text):
            yield replace(part, text=lead + part.text)
        else:
            yield part
        lead = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive: where its headers begin and where the next file's do."""

    at: int
    name: str
    size: int
    end: int
    sparse: bool


@dataclass(slots=True)
class _Told:
    """What has been said of the file whose header comes next."""

    name: str = ""
    size: int | None = None
    sparse: bool = False

    def hear(self, kind: bytes, content: bytes) -> None:
        """A long name, or records of `length key=value`."""
        if kind == _LONG_NAME:
            self.name = _text(content.partition(b"\0")[0])
            return
        at = 0
        while found := _RECORD.match(content, at):
            length = int(found[1])
            value = content[found.end() : at + length - 1]
            if found[2] in (b"path", b"GNU.sparse.name"):
                self.name = _text(value)
            elif found[2] == b"size" and value.isdigit() and len(value) < 20:
                self.size = int(value)
            self.sparse = self.sparse or found[2].startswith(b"GNU.sparse.")
            at += max(length, 1)


_RECORD = re.compile(rb"([0-9]{1,7}) ([^=\n]{1,200})=")


class Tape:
    """The archive's bytes, forwards only. `at` is the offset of what comes next."""

    def __init__(self, windows: Iterator[memoryview], at: int) -> None:
        self._pieces = (
            bytes(window[start : start + _FEED]) for window in windows for start in range(0, len(window), _FEED)
        )
        self._held = b""
        self.at = at

    def entry(self) -> Entry | None:
        """The next file, or nothing at the archive's end. Links, folders and devices hold no text."""
        told, begin = _Told(), self.at
        while True:
            header = self._exactly(_BLOCK)
            if len(header) < _BLOCK or not header.strip(b"\0"):  # many writers leave the end away
                return None
            kind, size = header[156:157], number(header[124:136])
            if size is None or not is_header(header):
                raise broken("a file's header in it cannot be read")
            if kind in (_LONG_NAME, _PAX):
                if size > _MORE:
                    raise broken("a name in it has no end")
                told.hear(kind, self._exactly(_padded(size))[:size])
            elif kind in _BESIDE:
                self.skip_to(self.at + _padded(size))
            elif kind in _BARE:
                told, begin = _Told(), self.at
            else:
                self._pass_map(header)
                size = size if told.size is None else told.size
                end = self.at + _padded(size)
                if kind in (*_FILES, _SPARSE):
                    name = shown(told.name or _name(header)) or "a file without a name"
                    return Entry(begin, name, size, end, told.sparse or kind == _SPARSE)
                self.skip_to(end)
                told, begin = _Told(), self.at

    def content(self, count: int) -> Iterator[bytes]:
        """So many bytes, as they come. Raises where the archive ends before."""
        while count:
            if not self._held:
                self._held = next(self._pieces, b"")
            if not self._held:
                raise broken("its end is missing")
            piece, self._held = self._held[:count], self._held[count:]
            self.at += len(piece)
            count -= len(piece)
            yield piece

    def _pass_map(self, header: bytes) -> None:
        """Of a file with holes, the list of them that goes on behind its header."""
        more = header[156:157] == _SPARSE and header[482]
        while more:
            block = self._exactly(_BLOCK)
            more = len(block) == _BLOCK and block[504]

    def skip_to(self, at: int) -> None:
        """Pass over what is left of a file. An archive that ends there has no next one."""
        while self.at < at:
            if not self._held:
                self._held = next(self._pieces, b"")
            if not self._held:
                return
            step = min(at - self.at, len(self._held))
            self._held = self._held[step:]
            self.at += step

    def _exactly(self, count: int) -> bytes:
        """So many bytes, or as many as there are."""
        while len(self._held) < count and (piece := next(self._pieces, b"")):
            self._held += piece
        piece, self._held = self._held[:count], self._held[count:]
        self.at += len(piece)
        return piece


def is_header(block: bytes) -> bool:
    """Whether this is the header of a file: it has the sum of its bytes in it, which some programs take as signed."""
    stated = number(block[148:156])
    if len(block) < _BLOCK or not stated:
        return False
    plain = sum(block[:148]) + sum(block[156:_BLOCK]) + 8 * ord(" ")
    return stated in (plain, plain - 256 * sum(byte > 127 for byte in block[:148] + block[156:_BLOCK]))


def number(digits: bytes) -> int | None:
    """A number of a header: octal digits, or where these are too few its bytes. None for anything else."""
    if digits[:1] == b"\x80":
        return int.from_bytes(digits[1:], "big")
    digits = digits.strip(b" \0")
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else None


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    folder = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(folder + b"/" + name if folder else name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
