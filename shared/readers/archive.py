"""Containers made of a zip and XML, read with every bound counted and nothing extracted.

Order of defence: the directory's size and entries, each entry's method and encryption, inflation counted as it happens
(in all, and against the packed size), XML without a DTD, its depth, its names, the size of one unfinished tag, and the
processor's time from one piece of text to the next.
"""

from __future__ import annotations

import io
import struct
import time
import xml.parsers.expat as expat
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from shared.domain.errors import Skipped
from shared.readers.limits import KIB, MIB, Limits, amount

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, ValueError, RuntimeError)
_FEED = 64 * KIB
_TAG = MIB  # an unfinished tag that is longer is an attack, not a document; of attributes alone it takes 45 MiB
_NAMES = 10_000  # different ones, which the parser keeps ...
_NAME_CHARACTERS = MIB  # ... and their characters
_DIRECTORY = 4 * MIB
_ENTRY = b"PK\x01\x02"

T = TypeVar("T")


def broken(what: str) -> Skipped:
    """The reason for a file that is not what it says, or only a piece of it."""
    return Skipped(f"The file is damaged or incomplete: {what}.", code="broken")


def too_many_parts(bound: int) -> Skipped:
    """The reason for a container of which even the table of contents is too much."""
    return Skipped(f"The file holds more than {bound:,} parts, the bound for one file.", code="too_many_parts")


def too_deep(bound: int) -> Skipped:
    """The reason for a document that is nested as no person nests."""
    return Skipped(f"The document nests more than {bound} levels deep, the bound for safe reading.", code="too_deep")


class Archive:
    """A zip, entry by entry. Close it when done; it closes the file it was given."""

    def __init__(self, file: io.RawIOBase, limits: Limits) -> None:
        self.limits = limits
        self._inflated = 0
        self._size = file.seek(0, io.SEEK_END)  # no entry is larger, whatever it says
        self._file = _Counted(file, limits)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._file.all_read = True
        except _BROKEN as fault:
            self._file.close()
            raise broken("its table of contents cannot be read") from fault
        except Skipped:
            self._file.close()
            raise
        self.names = {info.filename for info in self._zip.infolist()}

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def size(self, name: str) -> int:
        """What the entry says it unpacks to; nothing to rely on."""
        return self._zip.getinfo(name).file_size

    def feed(self, name: str) -> Iterator[bytes]:
        """The unpacked bytes of an entry, 64 KiB at a time, counted against the bounds."""
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise Skipped("The file is protected with a password.", code="encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken("it is packed in a way that such documents never are")
        count = 0
        try:
            with self._zip.open(info) as entry:
                while piece := entry.read(_FEED):
                    count += len(piece)
                    self.inflated(len(piece), count, info.compress_size)
                    yield piece
        except _BROKEN as fault:
            raise broken(f"its part {name[:100]} cannot be unpacked") from fault

    def inflated(self, more: int, entry: int, packed: int) -> None:
        """Count bytes that came out of an entry; beyond a bound, `Skipped`."""
        limits = self.limits
        self._inflated += more
        if self._inflated > limits.inflated_bytes:
            raise Skipped(
                f"The file unpacks to more than {amount(limits.inflated_bytes)}, the bound for one file.",
                code="inflates_too_much",
            )
        if entry > limits.ratio_from and entry > limits.ratio * max(min(packed, self._size), 1):
            raise Skipped(
                f"A part of the file unpacks to more than {limits.ratio} times its size, as only a zip bomb does.",
                code="zip_bomb",
            )

    def held(self, name: str) -> bytes:
        """A whole entry, up to the bound for what must be held."""
        pieces, size = [], 0
        for piece in self.feed(name):
            size += len(piece)
            if size > min(self.limits.held_bytes, 16 * MIB):
                raise Skipped(f"The part {name[:100]} of the file is too large to be held.", code="part_too_large")
            pieces.append(piece)
        return b"".join(pieces)

    def packed(self, name: str) -> tuple[io.BufferedIOBase, int, zipfile.ZipInfo]:
        """The file, the offset of an entry's packed bytes in it, and the entry: for reading from its middle."""
        info = self._zip.getinfo(name)
        self._file.seek(info.header_offset)
        header = self._file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04" or info.flag_bits & 1:
            raise broken(f"its part {name[:100]} cannot be found")
        name_length, extra_length = struct.unpack("<26xHH", header)
        return self._file, info.header_offset + 30 + name_length + extra_length, info

    def xml(self, name: str, handler: Handler[T]) -> Iterator[T]:
        """Parse an entry and give what the handler puts out, as it comes."""
        return parse(self.feed(name), handler, self.limits, name)


class _Counted(io.BufferedReader):
    """The file as zipfile reads it. zipfile holds the whole table of contents, whatever its size and its entries."""

    def __init__(self, file: io.RawIOBase, limits: Limits) -> None:
        super().__init__(file, _FEED)
        self._parts = limits.parts
        self.all_read = False  # the table of contents, that is

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError) as fault:
            if whence == io.SEEK_END:  # before the beginning: zipfile looks there for what a small file lacks
                raise OSError(str(fault)) from fault
            raise ValueError(str(fault)) from fault  # nonsense in the table of contents

    def read(self, size: int | None = -1, /) -> bytes:
        if self.all_read:
            return super().read(size)
        if size is None or size < 0:
            size = _DIRECTORY  # the file's end, which zipfile looks for its beginning in
        piece = b"" if size > _DIRECTORY else super().read(size)
        if size > _DIRECTORY or piece.count(_ENTRY) > self._parts:
            raise too_many_parts(self._parts)
        return piece


class Handler(Generic[T]):
    """Hears the elements of an XML part, without their prefixes, and puts what it makes of them in `out`."""

    doctype = False  # whether a DOCTYPE may stand there; one that declares anything never may

    def __init__(self) -> None:
        self.out: list[T] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins. Attributes keep their prefixes."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Text, in pieces."""


def parse(pieces: Iterator[bytes], handler: Handler[T], limits: Limits, name: str = "") -> Iterator[T]:
    """Feed XML to a handler. No DTD, so no entities; bounded depth, names, tags, and time without a result."""
    xml = _Xml(handler, limits)
    began = time.thread_time()
    try:
        for piece in pieces:
            xml.feed(piece)
            if handler.out:
                yield from handler.out
                handler.out.clear()
                began = time.thread_time()
            elif time.thread_time() - began > limits.step_seconds:
                raise Skipped(
                    f"The document needs more than {limits.step_seconds:g} seconds for one step, the bound for safe "
                    "reading.",
                    code="too_heavy",
                )
        xml.feed(b"", final=True)
    except expat.ExpatError as fault:
        raise broken(f"its part {name[:100]} is not well-formed XML") from fault
    yield from handler.out
    handler.out.clear()


class _Xml:
    """Expat within bounds.

    It looks at an unfinished tag again with every piece, and keeps every name it has seen. So the pieces of a long
    tag are collected until they double it, and names are counted: pyexpat has each of them in `intern`.
    """

    def __init__(self, handler: Handler[T], limits: Limits) -> None:
        self._parser = parser = expat.ParserCreate(intern={})
        self._waiting = bytearray()
        self._fed = self._unfinished = self._names = self._name_characters = 0
        parser.buffer_text = True
        parser.buffer_size = _FEED
        depth = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > limits.xml_depth:
                raise too_deep(limits.xml_depth)
            handler.start(tag[tag.find(":") + 1 :], attributes)

        def end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            handler.end(tag[tag.find(":") + 1 :])

        def doctype(_name: str, _system: str | None, _public: str | None, has_own: int) -> None:
            if has_own or not handler.doctype:
                raise Skipped(
                    "The document declares its own XML entities (a DTD), which is not safe to read.", code="dtd"
                )

        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = handler.text
        parser.StartDoctypeDeclHandler = doctype

    def feed(self, piece: bytes, *, final: bool = False) -> None:
        """Parse a piece, or keep it until it is worth looking at a long tag again."""
        if self._waiting or self._unfinished > _FEED:
            self._waiting += piece
            if len(self._waiting) < min(self._unfinished, _TAG - self._unfinished) and not final:
                return
            piece = bytes(self._waiting)
            self._waiting.clear()
        first, self._fed = not self._fed, self._fed + len(piece)
        try:
            self._parser.Parse(piece, final)
        except (LookupError, ValueError) as fault:
            if first and type(fault) in (LookupError, ValueError):  # pyexpat's, of the encoding that is declared
                raise broken("it states an encoding that there is not") from fault
            raise
        self._unfinished = self._fed - max(self._parser.CurrentByteIndex, 0)
        if self._unfinished > _TAG:
            raise Skipped(f"The document has a tag of more than {amount(_TAG)}.", code="tag_too_long")
        self._count_names()

    def _count_names(self) -> None:
        names = self._parser.intern
        if len(names) > self._names:
            new = islice(names, self._names, None)
            self._name_characters += sum(len(name or "") for name in new)  # a DOCTYPE without an address: None
            self._names = len(names)
        if self._names > _NAMES or self._name_characters > _NAME_CHARACTERS:
            raise Skipped("The document has more names of elements than any real one.", code="too_many_names")


class Relations(Handler[tuple[str, str, str]]):
    """The relationships of a part: id, type's last word, target."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.out.append((attributes.get("Id", ""), kind, attributes.get("Target", "")))


def relations(archive: Archive, part: str) -> list[tuple[str, str, str]]:
    """Id, kind and full name of the parts that `part` refers to; only those that exist."""
    folder, _, name = part.rpartition("/")
    rels = f"{folder}/_rels/{name}.rels".lstrip("/")
    if rels not in archive.names:
        return []
    found = []
    for identity, kind, target in archive.xml(rels, Relations()):
        path = resolved(folder, target)
        if path in archive.names:
            found.append((identity, kind, path))
        if len(found) > archive.limits.parts:
            raise too_many_parts(archive.limits.parts)
    return found


def main_part(archive: Archive) -> str:
    """The part that an Office document begins with."""
    for _, kind, path in relations(archive, ""):
        if kind == "officeDocument":
            return path
    raise broken("it does not say where its text begins")


def resolved(folder: str, target: str) -> str:
    """The full name of the part that a part in `folder` calls `target`."""
    steps = [] if target.startswith("/") else [step for step in folder.split("/") if step]
    for step in target.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return "/".join(steps)
