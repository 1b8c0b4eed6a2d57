"""TIFF, taken apart into its pages: each a TIFF of its own, made of the directory's entries and of the original's
bytes. Nothing is decoded and no page is held, however large the file."""

from __future__ import annotations

import io
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.errors import Skipped
from shared.readers.archive import broken
from shared.readers.limits import MIB, Limits

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)  # of a value, by the number of its type
_LONG = 4
_KIND, _WIDTH, _HEIGHT, _COMPRESSION = 254, 256, 257, 259
_PLACES = {273: 279, 324: 325}  # where the strips or tiles lie, and how long they are
# What a page needs to be drawn: no thumbnails, colour profiles, camera's notes, other directories.
_KEPT = {254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 292, 293, 296, 317, 320, 322, 323,
         324, 325, 332, 338, 339, 347, 529, 530, 531, 532}  # fmt: skip
_OTHER = 5  # bits of _KIND: a smaller copy of another picture, or a mask
_OLD_JPEG = 6
_VALUES = MIB  # bytes of one entry's values
_DIRECTORY = 12 * 4096


@dataclass(frozen=True, slots=True)
class Page:
    """One page as a file of its own."""

    number: int
    width: int
    height: int
    file: io.RawIOBase


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    raw: bytes


def tiff_pages(file: io.RawIOBase, limits: Limits) -> Iterator[Page]:
    """The pages, in order. Raises `Skipped` where a directory is damaged; the pages before it have been given."""
    size = file.seek(0, io.SEEK_END)
    head = _read(file, 0, 8)
    order = "<" if head[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", head, 4)[0]
    number, seen = 0, set[int]()
    while at and at not in seen:
        seen.add(at)
        if len(seen) > limits.parts:
            raise Skipped(f"The file holds more than {limits.parts:,} pages, the bound for one file.", code="too_many")
        entries, at = _directory(file, at, order)
        if not _number(entries, _KIND, order) & _OTHER:
            number += 1
            width, height = _number(entries, _WIDTH, order), _number(entries, _HEIGHT, order)
            yield Page(number, width, height, _page(file, size, entries, order))


def _directory(file: io.RawIOBase, at: int, order: str) -> tuple[dict[int, _Entry], int]:
    """A directory's entries by tag, and where the next directory is."""
    count = struct.unpack(order + "H", _read(file, at, 2))[0]
    if count * 12 > _DIRECTORY:
        raise broken("a page's description is longer than any real one")
    raw = _read(file, at + 2, count * 12 + 4)
    entries = {}
    for tag, kind, values, place in struct.iter_unpack(order + "HHI4s", raw[:-4]):
        length = values * (_SIZES[kind] if kind < len(_SIZES) else 0)
        if tag not in _KEPT or not length:
            continue
        if length > _VALUES:
            raise broken("a page's description is longer than any real one")
        if length > 4:
            place = _read(file, struct.unpack(order + "I", place)[0], length)
        entries[tag] = _Entry(kind, values, place[:length])
    return entries, struct.unpack(order + "I", raw[-4:])[0]


def _numbers(entries: dict[int, _Entry], tag: int, order: str) -> tuple[int, ...]:
    entry = entries.get(tag)
    letter = {1: "B", 3: "H", 4: "I"}.get(entry.kind) if entry else None
    return struct.unpack(f"{order}{entry.count}{letter}", entry.raw) if entry and letter else ()


def _number(entries: dict[int, _Entry], tag: int, order: str) -> int:
    return next(iter(_numbers(entries, tag, order)), 0)


def _page(file: io.RawIOBase, size: int, entries: dict[int, _Entry], order: str) -> io.RawIOBase:
    """A TIFF with this one directory. Its strips or tiles stay where they are and only seem to follow it."""
    if _number(entries, _COMPRESSION, order) == _OLD_JPEG:
        return _Unreadable("it is packed in a way that was given up in 1995")
    tag = next((tag for tag in _PLACES if tag in entries), 0)
    starts = _numbers(entries, tag, order)
    lengths = _numbers(entries, _PLACES.get(tag, 0), order) or ((size - starts[0],) if len(starts) == 1 else ())
    whole = all(0 <= start <= start + length <= size for start, length in zip(starts, lengths, strict=False))
    if not starts or len(starts) != len(lengths) or not whole or sum(lengths) > size:
        return _Unreadable("its picture lies beyond the end")
    entries[tag] = entries[_PLACES[tag]] = _Entry(_LONG, len(starts), bytes(4 * len(starts)))
    data = 8 + 2 + 12 * len(entries) + 4 + sum(len(e.raw) + len(e.raw) % 2 for e in entries.values() if len(e.raw) > 4)
    moved, at = [], data
    for length in lengths:
        moved.append(at)
        at += length
    entries[tag] = _Entry(_LONG, len(starts), struct.pack(f"{order}{len(moved)}I", *moved))
    entries[_PLACES[tag]] = _Entry(_LONG, len(starts), struct.pack(f"{order}{len(lengths)}I", *lengths))
    return _Assembled(file, _written(entries, order), list(zip(moved, starts, lengths, strict=True)), at)


def _written(entries: dict[int, _Entry], order: str) -> bytes:
    """A TIFF's header and a directory, with the values behind it."""
    values = bytearray()
    rows = bytearray()
    behind = 8 + 2 + 12 * len(entries) + 4
    for tag, entry in sorted(entries.items()):
        place = entry.raw.ljust(4, b"\0")
        if len(entry.raw) > 4:
            place = struct.pack(order + "I", behind + len(values))
            values += entry.raw + b"\0" * (len(entry.raw) % 2)
        rows += struct.pack(order + "HHI4s", tag, entry.kind, entry.count, place)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(entries)) + bytes(rows) + bytes(4) + bytes(values)


class _Assembled(io.RawIOBase):
    """Some bytes, and behind them pieces of another file."""

    def __init__(self, file: io.RawIOBase, head: bytes, pieces: list[tuple[int, int, int]], size: int) -> None:
        self._file, self._head, self._size, self._at = file, head, size, 0
        self._pieces = [piece for piece in pieces if piece[2]]  # where it seems to be, where it is, how long it is
        self._starts = [start for start, _, _ in self._pieces]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer).cast("B")
        if self._at < len(self._head):
            piece = self._head[self._at : self._at + len(room)]
        else:
            number = bisect_right(self._starts, self._at) - 1
            if number < 0 or self._at >= self._size:
                return 0
            seems, start, length = self._pieces[number]
            inside = self._at - seems
            self._file.seek(start + inside)
            piece = self._file.read(min(len(room), length - inside)) or b""
        room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Unreadable(io.RawIOBase):
    """A page that cannot be taken out: whoever reads it learns why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        raise broken(self._why)


def _read(file: io.RawIOBase, at: int, length: int) -> bytes:
    file.seek(at)
    content = bytearray()
    while len(content) < length and (piece := file.read(length - len(content))):
        content += piece
    if len(content) < length:
        raise broken("a page lies beyond its end")
    return bytes(content)
