"""Files within files: each is read through the registry like any file, and has its own reason where it is not read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from shared.domain.errors import Skipped
from shared.domain.parts import Image, Locator, Pages, Part, State, Text, Truncated
from shared.readers.gather import clean
from shared.readers.limits import Limits, amount
from shared.readers.source import HeldFile, Source

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NAME = 200  # characters of a name that a locator keeps
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f]+")

Given = Text | Pages | Image


def inside(source: Source, limits: Limits, after: State | None, place: str) -> Iterator[Given | Skipped]:
    """The parts of a file within a file, their places beginning with `place`. Where it is not read, or not to its end,
    the last thing given is the reason."""
    from shared.readers.registry import read  # whose table has a row for the container that asks

    inner = replace(limits, nesting=limits.nesting - 1)
    try:
        for part in read(source, inner, after):
            if isinstance(part, Truncated):
                yield Skipped(part.reason, code="truncated")
                return
            yield replace(part, locator=within(place, part.locator))
    except Skipped as why:
        yield why


def within(place: str, locator: Locator) -> Locator:
    """A place in a file that is itself at a place."""
    return replace(locator, part=" > ".join(step for step in (place, locator.part) if step) or None)


def shown(name: str) -> str:
    """A name as it is shown: on one line, and not endless."""
    name = _BLANKS.sub(" ", clean(name)).strip()
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def note(place: str, why: Skipped) -> str:
    """The line that stands in the text for a file that is not read."""
    return f"{place}: {why.reason}\n"


class Refusals:
    """The lines of an archive's files that are not read, held back until one is: an archive of which nothing can be
    read is skipped with its reason."""

    def __init__(self, *, told: bool) -> None:
        self._told = told
        self._held: list[tuple[Text, Skipped]] = []

    def add(self, line: Text, why: Skipped) -> Iterator[Text]:
        """A file is not read. Gives what is to be told of that now."""
        self._held.append((line, why))
        if self._told:
            yield from self.release()

    def release(self) -> Iterator[Text]:
        """A file is read: the lines that were held back."""
        self._told = True
        yield from (line for line, _ in self._held)
        self._held.clear()

    def close(self) -> None:
        """The archive ends. Raises `Skipped` where nothing in it could be read."""
        if not self._told:
            raise _nothing(self._held)


def _nothing(refused: list[tuple[Text, Skipped]]) -> Skipped:
    if not refused:
        return Skipped("The archive is empty.", code="empty")
    codes = {why.code for _, why in refused}
    code = codes.pop() if len(codes) == 1 else "archive"
    if code == "encrypted":
        return Skipped("The files in the archive are protected with a password.", code=code)
    number = f"None of the {len(refused):,} files" if len(refused) > 1 else "The one file"
    can = "can" if len(refused) > 1 else "cannot"
    return Skipped(f"{number} in the archive {can} be read. {refused[0][0].text.strip()}", code=code)


class Streamed:
    """A file within a file that can be unpacked once only: held up to a bound, streamed above it."""

    def __init__(self, pieces: Iterable[bytes], limits: Limits, name: str = "", mime_type: str = "") -> None:
        self.name, self.mime_type = name, mime_type
        self.size: int | None = None
        self._most = limits.hold_bytes
        self._held: bytearray | None = None
        rest = iter(pieces)
        held = bytearray()
        for piece in rest:
            held += piece
            if len(held) > self._most:
                self._pieces: Iterator[Buffer] | None = chain([held], rest)
                return
        self._held, self.size = held, len(held)

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        if self._held is not None:
            yield memoryview(self._held)[start:]
            return
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            raise self._too_large()
        for piece in pieces:
            if start < len(piece := memoryview(piece)):
                yield piece[start:]
            start = max(0, start - len(piece))

    def seekable(self) -> io.RawIOBase:
        if self._held is None:
            raise self._too_large()
        return HeldFile(self._held)

    def _too_large(self) -> Skipped:
        return too_large(self._most)


def too_large(most: int) -> Skipped:
    """The reason for a file within a file that would have to be held whole."""
    return Skipped(f"A file of this kind is read within another file only up to {amount(most)}.", code="part_too_large")


class Outside(Exception):
    """The container itself cannot be read any further. No file in it is to blame."""

    def __init__(self, why: Skipped) -> None:
        super().__init__(why.reason)
        self.why = why


class Sheltered:
    """A container's source, whose own refusals pass by those who would take them for a refusal of an inner file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.size, self.mime_type = source.name, source.size, source.mime_type

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        try:
            yield from self._source.windows(start)
        except Skipped as why:
            raise Outside(why) from why

    def seekable(self) -> io.RawIOBase:
        return _Sheltered(self._source.seekable())


class _Sheltered(io.RawIOBase):
    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Buffer, /) -> int | None:
        try:
            return self._file.readinto(buffer)
        except Skipped as why:
            raise Outside(why) from why

    def close(self) -> None:
        self._file.close()
        super().close()


def in_the_open(parts: Iterator[Part]) -> Iterator[Part]:
    """The parts of a sheltered container; its own refusals are refusals again."""
    try:
        yield from parts
    except Outside as fault:
        raise fault.why from fault
