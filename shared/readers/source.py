"""Where a reader's bytes come from: a stream of windows, or a file to seek in.

Drive's source lives in `shared/adapters/drive.py`; the two here serve files on this machine and bytes at hand. A
reader sees no difference.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

WINDOW = 2 * 1024 * 1024
HEAD = 200_000  # as much of the beginning as a look at a file may need: signatures, and chardet's sample


class Source(Protocol):
    """A file's bytes. `size` is None where nobody can know it beforehand, as for an export."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int | None: ...

    @property
    def mime_type(self) -> str: ...

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        """The bytes from `start` to the end. A window is valid only until the next one is asked for."""
        ...

    def seekable(self) -> io.RawIOBase:
        """The same bytes with random access, for containers. The caller closes it."""
        ...


class HeldFile(io.RawIOBase):
    """Bytes in memory as a raw file, without a second copy of them."""

    def __init__(self, content: Buffer) -> None:
        self._view = memoryview(content).cast("B")
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        if at < 0:
            raise ValueError(f"negative seek position {at}")
        self._at = at
        return at

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer).cast("B")
        piece = self._view[self._at : self._at + len(room)]
        room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class BytesSource:
    """Bytes at hand, as a source."""

    def __init__(self, content: bytes, name: str = "", mime_type: str = "", window_bytes: int = WINDOW) -> None:
        self.name, self.mime_type = name, mime_type
        self.size: int | None = len(content)
        self._content, self._window_bytes = content, window_bytes

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        view = memoryview(self._content)
        for at in range(start, len(view), self._window_bytes):
            yield view[at : at + self._window_bytes]

    def seekable(self) -> io.RawIOBase:
        return HeldFile(self._content)


class PathSource:
    """A file on this machine, as a source. Every window is the same buffer, filled again."""

    def __init__(self, path: Path, mime_type: str = "", window_bytes: int = WINDOW) -> None:
        self.path, self.name, self.mime_type = path, path.name, mime_type
        self.size: int | None = path.stat().st_size
        self._window_bytes = window_bytes

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            yield from file_windows(file, self._window_bytes)

    def seekable(self) -> io.RawIOBase:
        return self.path.open("rb", buffering=0)


def file_windows(file: io.RawIOBase, window_bytes: int = WINDOW) -> Iterator[memoryview]:
    """The rest of a raw file, through one buffer that is filled again for every window."""
    buffer = memoryview(bytearray(window_bytes))
    while count := file.readinto(buffer):
        yield buffer[:count]


def beginning(windows: Iterator[memoryview], least: int = HEAD) -> tuple[bytes, Iterator[memoryview]]:
    """The first bytes (`least` of them or more, fewer only at the end), and all windows with those bytes again."""
    held = bytearray()
    for window in windows:
        if not held and len(window) >= least:  # the usual case: nothing is copied but the sample
            return bytes(window[:least]), chain([window], windows)
        held += window
        if len(held) >= least:
            break
    return bytes(held), chain([memoryview(held)] if held else [], windows)


class Opened:
    """A source whose beginning has been looked at; readers get this one, so that nothing is fetched twice.

    `seek_first` says that a container is expected: then the look goes through the seekable file, which is kept.
    """

    def __init__(self, source: Source, *, seek_first: bool) -> None:
        self._source = source
        self.name = source.name
        self._file: io.RawIOBase | None = None
        self._windows: Iterator[memoryview] | None = None
        if seek_first:
            self._file = source.seekable()
            self.head = _first(self._file, HEAD)
        else:
            self.head, self._windows = beginning(source.windows())
        # Only now: a native file that proves too large in one format comes in another.
        self.size, self.mime_type = source.size, source.mime_type

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        if self._windows is not None:
            windows, self._windows = self._windows, None
            yield from _without(windows, start)
        elif self._file is not None:
            with closing(self.seekable()) as file:
                file.seek(start)
                yield from file_windows(file)
        else:
            yield from self._source.windows(start)

    def seekable(self) -> io.RawIOBase:
        """Random access. The file is lent: closing it leaves it here for the next who asks."""
        windows, self._windows = self._windows, None
        if self._file is None:
            first = b"" if windows is None else bytes(next(windows, b""))
            # The one answer so far may have held the whole file.
            self._file = HeldFile(first) if first and self.size == len(first) else self._source.seekable()
        self._file.seek(0)
        return _Lent(self._file)

    def close(self) -> None:
        """Let go of what was looked at."""
        if self._file is not None:
            self._file.close()
        self._file = self._windows = None


class _Lent(io.RawIOBase):
    """Another's file: closing this one does not close that."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Buffer, /) -> int | None:
        return self._file.readinto(buffer)


def _first(file: io.RawIOBase, count: int) -> bytes:
    room = bytearray(count)
    filled = 0
    while filled < count and (got := file.readinto(memoryview(room)[filled:])):
        filled += got
    return bytes(room[:filled])


def _without(windows: Iterator[memoryview], skip: int) -> Iterator[memoryview]:
    """All windows but the first `skip` bytes."""
    for window in windows:
        if skip < len(window):
            yield window[skip:]
        skip = max(0, skip - len(window))
