"""One file that was packed with gzip: unpacked as it streams, and read as what it is."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace

from shared.domain.errors import Skipped
from shared.domain.parts import Part, State, Truncated
from shared.readers.archive import broken
from shared.readers.inner import shown, too_large, within
from shared.readers.limits import KIB, Limits, amount
from shared.readers.source import HeldFile, Source

_FEED = 256 * KIB
_FRAMED = 31  # zlib's number for its largest window within gzip's frame


def read_gzip(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A packed file. Locators: its own name, and the place in it."""
    from shared.readers.registry import read  # whose table has a row for this reader

    if limits.nesting < 1:
        raise Skipped("A packed file within another file is not opened.", code="nested")
    unpacked = Unpacked(source, limits)
    for part in read(unpacked, replace(limits, nesting=limits.nesting - 1), after.get("inner")):
        if isinstance(part, Truncated):
            yield part
        else:
            place = within(shown(unpacked.name), part.locator)
            yield replace(part, locator=place, after={"inner": part.after})


class Unpacked:
    """What a gzip file holds. Its size is known at its end only."""

    def __init__(self, source: Source, limits: Limits) -> None:
        name = source.name[:-3] if source.name.lower().endswith(".gz") else source.name
        self.name = f"{name[:-4]}.tar" if name.lower().endswith(".tgz") else name
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
        """All that was packed: a gzip file may be several, one behind the other."""
        packed = unpacked = 0
        unzip: zlib._Decompress | None = None
        for data in self._fed():
            packed += len(data)
            while data:
                if unzip is None:
                    data = data.lstrip(b"\0")  # padding, as on tapes
                    unzip = zlib.decompressobj(_FRAMED) if data else None
                    continue
                piece, data = _next(unzip, data)
                unpacked += len(piece)
                self._check(packed, unpacked)
                if piece:
                    yield piece
                unzip = None if unzip.eof else unzip
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


def _next(unzip: zlib._Decompress, data: bytes) -> tuple[bytes, bytes]:
    """The next bytes that come out, and the packed ones that are left."""
    try:
        piece = unzip.decompress(data, _FEED)
    except zlib.error as fault:
        raise broken("it cannot be unpacked") from fault
    return piece, unzip.unused_data if unzip.eof else unzip.unconsumed_tail
