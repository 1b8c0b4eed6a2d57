"""One file that was packed with gzip, bzip2 or xz: unpacked as it streams, and read as what it is.

A packed TAR archive counts as one archive: its files are read.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from shared.domain.errors import Skipped
from shared.domain.parts import Part, State, Truncated
from shared.readers import kinds
from shared.readers.archive import broken
from shared.readers.inner import shown, too_large, within
from shared.readers.limits import KIB, MIB, Limits, amount
from shared.readers.source import HeldFile, Opened, Source

_FEED = 256 * KIB
_FRAMED = 31  # zlib's number for its largest window within gzip's frame
_DICTIONARY = 40 * MIB  # of xz, which takes as much as the file says: 8 MiB by default, 64 at its largest
_SUFFIXES = {".gz": "", ".bz2": "", ".xz": "", ".tgz": ".tar", ".tbz2": ".tar", ".tbz": ".tar", ".txz": ".tar"}


def read_packed(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A packed file. Locators: its own name, and the place in it; for an archive, those of its files."""
    from shared.readers.registry import read  # whose table has a row for this reader

    if limits.nesting < 1:
        raise Skipped("A packed file within another file is not opened.", code="nested")
    unpacked: Unpacked | Opened = Unpacked(source, limits)
    name, inner = shown(unpacked.name), after.get("inner")
    if inner:
        is_archive = inner.get("kind") == "tar"
    else:
        unpacked = Opened(unpacked, seek_first=False)
        is_archive = kinds.by_content(unpacked.head) == "tar"
    deeper = replace(limits, nesting=limits.nesting - (not is_archive))
    for part in read(unpacked, deeper, inner):
        if isinstance(part, Truncated):
            yield part
        else:
            place = part.locator if is_archive else within(name, part.locator)
            yield replace(part, locator=place, after={"inner": part.after})


class Unpacked:
    """What a packed file holds. Its size is known at its end only."""

    def __init__(self, source: Source, limits: Limits) -> None:
        stem, dot, suffix = source.name.rpartition(".")
        plain = _SUFFIXES.get((dot + suffix).lower())
        self.name = source.name if plain is None else stem + plain
        self.size: int | None = None
        self.mime_type = ""
        self._source, self._limits = source, limits

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        """The bytes from `start` on; those before it are unpacked and dropped."""
        for piece in self._pieces():
            if start < len(piece):
                yield memoryview(piece)[start:]
            start = max(0, start - len(piece))

    def seekable(self) -> io.RawIOBase:
        held = bytearray()
        for piece in self._pieces():
            held += piece
            if len(held) > self._limits.hold_bytes:
                raise too_large(self._limits.hold_bytes)
        return HeldFile(held)

    def _pieces(self) -> Iterator[bytes]:
        """All that was packed: a packed file may be several, one behind the other."""
        packed = unpacked = 0
        unzip: Unzip | None = None
        for data in self._fed():
            packed += len(data)
            while data or not (unzip is None or unzip.needs_input):
                if unzip is None:
                    data = data.lstrip(b"\0")  # padding, as on tapes
                    unzip = _unzip(data[0]) if data else None
                    continue
                piece = _next(unzip, data)
                unpacked += len(piece)
                self._check(packed, unpacked)
                if piece:
                    yield piece
                data, unzip = (unzip.unused_data, None) if unzip.eof else (b"", unzip)
        if unzip is not None:
            raise broken("its end is missing")

    def _fed(self) -> Iterator[bytes]:
        for window in self._source.windows():
            for at in range(0, len(window), _FEED):
                yield bytes(window[at : at + _FEED])

    def _check(self, packed: int, unpacked: int) -> None:
        limits = self._limits
        if unpacked > limits.inflated_bytes:
            raise Skipped(
                f"The file unpacks to more than {amount(limits.inflated_bytes)}, the bound for one file.",
                code="inflates_too_much",
            )
        if unpacked > max(limits.ratio_from, limits.ratio * packed):
            raise Skipped(
                f"The file unpacks to more than {limits.ratio} times its size, as only a zip bomb does.",
                code="zip_bomb",
            )


class Unzip(Protocol):
    """One packed stream. What it has not unpacked yet it keeps."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Inflate:
    """zlib's, as those of bzip2 and xz are."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_FRAMED)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _unzip(first: int) -> Unzip:
    """What unpacks a stream that begins with this byte."""
    if first == ord("B"):
        return bz2.BZ2Decompressor()
    if first == 0xFD:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)
    return _Inflate()


def _next(unzip: Unzip, data: bytes) -> bytes:
    """The next bytes that come out."""
    try:
        return unzip.decompress(data, _FEED)
    except lzma.LZMAError as fault:
        if "Memory usage limit" in str(fault):
            raise Skipped(
                f"The file needs more than {amount(_DICTIONARY)} of memory to be unpacked, the bound for safe reading.",
                code="too_heavy",
            ) from fault
        raise broken("it cannot be unpacked") from fault
    except (zlib.error, OSError, ValueError, EOFError) as fault:
        raise broken("it cannot be unpacked") from fault
