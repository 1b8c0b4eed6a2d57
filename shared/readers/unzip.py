"""ZIP archives, entry by entry: what is in them is read through the registry, one level deep.

Nothing is extracted: an entry's name is only a name. Every entry that is not read stands in the text with its reason.
Entries are read in the order in which they lie in the file, so that a large archive is read forwards.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State, Text
from shared.readers.archive import Archive, broken
from shared.readers.inner import Refusals, Sheltered, in_the_open, inside, note, shown, too_large
from shared.readers.limits import KIB, Limits, amount
from shared.readers.source import HeldFile, Source

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, ValueError, RuntimeError)
_FEED = 256 * KIB
_HEADER = 30  # bytes of an entry's own header, before its name
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags of an entry


def read_zip(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A ZIP archive. Locators: the entry's name, and the place in it."""
    if limits.nesting < 1:
        raise Skipped("An archive within another file is not opened.", code="nested")
    return in_the_open(_read_zip(Sheltered(source), limits, after))


def _read_zip(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """What the entries give."""
    first, inner, refusals = int(after.get("entry", 0)), after.get("inner"), Refusals(told=bool(after))
    with closing(Entries(source.seekable(), limits)) as archive:
        for entry in archive.entries(first):
            for part in _parts(archive, entry, limits, inner):
                if isinstance(part, Skipped):
                    line = Text(note(entry.name, part), Locator(part=entry.name), {"entry": entry.number + 1})
                    yield from refusals.add(line, part)
                else:
                    yield from refusals.release()
                    yield replace(part, after={"entry": entry.number, "inner": part.after})
            inner = None
    refusals.close()


def _parts(archive: Entries, entry: Entry, limits: Limits, after: State | None) -> Iterator[Any]:
    """An entry's parts, the first with its name before it: so it is found by its name too."""
    if entry.why is not None:
        yield entry.why
        return
    lead = None if after else f"{entry.name}\n\n"
    for part in inside(EntrySource(archive, entry, limits), limits, after, entry.name):
        if lead and isinstance(part, Text):
            yield replace(part, text=lead + part.text)
        else:
            yield part
        lead = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive, as the table of contents states it, and why it is not to be touched."""

    number: int
    name: str
    info: zipfile.ZipInfo
    why: Skipped | None


class Entries(Archive):
    """A zip that is no document: all its entries, each on its own."""

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """The files from number `first` on. Raises `Skipped` where all of them together are too large."""
        infos = sorted(self._zip.infolist(), key=lambda info: info.header_offset)
        ends = [*(info.header_offset for info in infos[1:]), self._zip.start_dir]
        unpacked = 0
        for number, (info, end) in enumerate(zip(infos, ends, strict=False)):
            name = _name(info)
            if name.endswith("/") or name.startswith("__MACOSX/"):  # a folder; what macOS notes about each file
                continue
            why = self._why(info, end)
            unpacked += info.file_size if why is None else 0
            if number < first:
                continue
            if unpacked > self.limits.inflated_bytes:
                raise Skipped(
                    f"The archive unpacks to more than {amount(self.limits.inflated_bytes)}, the bound for one file.",
                    code="inflates_too_much",
                )
            yield Entry(number, shown(name) or f"entry {number + 1}", info, why)

    def _why(self, info: zipfile.ZipInfo, end: int) -> Skipped | None:
        """What the table of contents alone tells against an entry. zipfile gives no more than the stated size."""
        if info.flag_bits & _ENCRYPTED:
            return Skipped("It is protected with a password.", code="encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return Skipped("It is packed in a way that is not read.", code="unsupported")
        if info.header_offset + _HEADER + info.compress_size > end:
            return Skipped("It lies on top of another file of the archive, as only in a zip bomb.", code="zip_bomb")
        if info.file_size > max(self.limits.ratio_from, self.limits.ratio * info.compress_size):
            return Skipped(
                f"It unpacks to more than {self.limits.ratio} times its size, as only a zip bomb does.",
                code="zip_bomb",
            )
        return None

    def unpacked(self, info: zipfile.ZipInfo, start: int = 0) -> Iterator[bytes]:
        """An entry's bytes from `start` on; those before it are unpacked and dropped. A wrong checksum shows at the
        end."""
        try:
            with self._zip.open(info) as entry:
                while piece := entry.read(_FEED):
                    if start < len(piece):
                        yield piece[start:]
                    start = max(0, start - len(piece))
        except _BROKEN as fault:
            raise broken("it cannot be unpacked") from fault

    def stored(self, info: zipfile.ZipInfo) -> io.RawIOBase:
        """An entry that is not packed, as the piece of the archive that it is: too large to be held, so that its
        checksum stays unproved."""
        self._file.seek(info.header_offset)
        header = self._file.read(_HEADER)
        if len(header) < _HEADER or header[:4] != b"PK\x03\x04":
            raise broken("it cannot be found")
        return _Slice(self._file, info.header_offset + _HEADER + sum(struct.unpack("<26xHH", header)), info.file_size)


class EntrySource:
    """An entry as a source: unpacked as it streams, held where it must be read from its middle."""

    def __init__(self, archive: Entries, entry: Entry, limits: Limits) -> None:
        self.name = entry.name.replace("\\", "/").rpartition("/")[2]
        self.size: int | None = entry.info.file_size
        self.mime_type = ""
        self._archive, self._info, self._most = archive, entry.info, limits.hold_bytes

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        return map(memoryview, self._archive.unpacked(self._info, start))

    def seekable(self) -> io.RawIOBase:
        if self._info.file_size <= self._most:
            return HeldFile(b"".join(self._archive.unpacked(self._info)))
        if self._info.compress_type == zipfile.ZIP_STORED:
            return self._archive.stored(self._info)
        raise too_large(self._most)


class _Slice(io.RawIOBase):
    """A part of a file that others read too."""

    def __init__(self, file: io.BufferedIOBase, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

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
        room = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(room)
        self._at += count
        return count


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name. Many programs write UTF-8 and do not say so."""
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename
