"""What every child process runs: frames, the parent's file, the bounds. `shared.readers.child` starts it.

It has no token, opens no file and no connection: the document's blocks come from the parent. Frames in both
directions are a length, a letter and that many bytes; questions and answers are JSON.

    parent  Q question, B block of the document        child  R wants a block, A answer, P payload, E error

The program beside it that is to be run has two functions: `opened(file, question)` gives a document, with `pages`
in it, `answer(question) -> (answer, payload)` and `close()`; `fault(error)` gives `encrypted` or `broken`. Neither
imports anything of the project, so that starting one costs only Python and the library.
"""

from __future__ import annotations

import io
import json
import resource
import runpy
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_FRAME = struct.Struct("<Ic")
_BLOCK = 64 * 1024  # small: the dictionaries of a PDF's pages lie between their pictures
_BLOCKS = 32
_GRAIN = 1024  # bytes of what is kept for good
_GRAINS = 4096  # of them; the first ones stay, since what is read again is read again from its beginning


class Pipe:
    """Frames to and from the parent."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._in, self._out = incoming, outgoing

    def receive(self) -> tuple[bytes, bytes]:
        header = self._in.read(_FRAME.size)
        if len(header) < _FRAME.size:
            sys.exit(0)  # the parent is gone
        length, letter = _FRAME.unpack(header)
        return letter, self._in.read(length)

    def send(self, letter: bytes, payload: bytes) -> None:
        self._out.write(_FRAME.pack(len(payload), letter) + payload)
        self._out.flush()


class Remote(io.RawIOBase):
    """The parent's file: a few blocks of it here, the rest on demand. What is read within `keeping` stays."""

    def __init__(self, pipe: Pipe, size: int) -> None:
        self._pipe, self._size, self._at = pipe, size, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._kept: dict[int, bytes] = {}
        self._keeps = False
        self.fetched = 0

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep the little that is read while the block runs, up to a bound: it will be read again and again."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")  # ctypes calls its bytes "<B"
        filled = 0
        while filled < len(view) and self._at < self._size:
            piece = self._piece(len(view) - filled)
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._at += len(piece)
        return filled

    def _piece(self, most: int) -> bytes:
        """Some of the next bytes, at most so many."""
        number, offset = divmod(self._at, _GRAIN)
        grain = self._kept.get(number)
        if grain is not None:
            return grain[offset : offset + most]
        number, offset = divmod(self._at, _BLOCK)
        block = self._block(number)
        if self._keeps:
            for at in range(offset - offset % _GRAIN, min(offset + most, len(block)), _GRAIN):
                if len(self._kept) < _GRAINS:
                    self._kept[(number * _BLOCK + at) // _GRAIN] = block[at : at + _GRAIN]
        return block[offset : offset + most]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            self._pipe.send(b"R", json.dumps([number * _BLOCK, _BLOCK]).encode())
            _, block = self._pipe.receive()
            self.fetched += len(block)
            self._blocks[number] = block
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return block


def serve(pipe: Pipe, program: dict[str, Any]) -> None:
    """Answer questions until the parent closes the pipe."""
    document: Any = None
    while True:
        _, raw = pipe.receive()
        question = json.loads(raw)
        _allow(question["seconds"])
        answer: Any = 0
        payload = b""
        try:
            if question["ask"] in ("open", "close"):
                if document is not None:
                    document.close()
                document = None
            if question["ask"] == "open":
                document = program["opened"](Remote(pipe, question["size"]), question)
                answer = document.pages
            elif question["ask"] != "close":
                answer, payload = document.answer(question)
        except MemoryError:
            pipe.send(b"E", b"memory")
        except Exception as fault:  # noqa: BLE001 - reported as what it is; the parent decides
            pipe.send(b"E", program["fault"](fault).encode())
        else:
            pipe.send(b"A", json.dumps(answer).encode())
            if payload:
                pipe.send(b"P", payload)


def _allow(seconds: float) -> None:
    """So much processor time from now on; a parent that was killed cannot end a child that spins."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1, hard=False)


def _limit(kind: int, value: int, *, hard: bool = True) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    resource.setrlimit(kind, (value, value if hard else most))


def main() -> None:
    """Bound this process, load the program, serve."""
    name, memory = sys.argv[1], int(sys.argv[2])
    if sys.platform == "linux":  # elsewhere an address space cannot be bounded; the wall clock still is
        _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 32)
    _limit(resource.RLIMIT_CORE, 0)
    program = runpy.run_path(str(Path(__file__).with_name(name)))
    serve(Pipe(sys.stdin.buffer, sys.stdout.buffer), program)


if __name__ == "__main__":
    main()
