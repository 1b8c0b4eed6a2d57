"""Programs that may die without harm: native code reads what strangers wrote in a process of its own.

A program is a file beside this one, named by a subclass of `Child`; `child_program.py` runs it. The children are kept
for the next document, a few of each kind at most, and end when they have been idle for a while.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from shared.domain.errors import Skipped, Unavailable
from shared.readers.limits import Limits, amount

_FRAME = struct.Struct("<Ic")
_IDLE_SECONDS = 60.0
_WAIT_SECONDS = 120.0
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")  # what Python needs to start, and no more


class Child:
    """One process with native code in it, and the document that it has open."""

    program: ClassVar[str]  # a file beside this one; `child_program.py` says what must be in it
    thing: ClassVar[str]  # what a person calls such a document

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._file: io.RawIOBase | None = None
        self.pages = 0
        self.idle = True  # between questions: may be kept for the next document
        # Started afresh: a fork would copy gRPC's threads and the tokens in memory.
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-s",
                "-B",
                str(Path(__file__).with_name("child_program.py")),
                self.program,
                str(limits.child_memory_bytes),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            # Ctrl-C in a terminal is for whoever started us: a child that died of it would look too heavy.
            process_group=0,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._in.fileno(), False)
        os.set_blocking(self._out.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fits(self, limits: Limits) -> bool:
        """Whether this child runs under these bounds and still lives."""
        return self._process.poll() is None and limits.child_memory_bytes == self.limits.child_memory_bytes

    def open(self, file: io.RawIOBase, **facts: Any) -> None:
        """Begin a document. Raises `Skipped` for one that is encrypted or broken."""
        self._file = file
        self.pages = self.ask("open", size=file.seek(0, io.SEEK_END), **facts)

    def close_document(self) -> None:
        self.ask("close")
        self._file = None

    def ask(self, what: str, **facts: Any) -> Any:
        """Ask, and serve the document's blocks until the answer comes."""
        self.idle = False
        left = self.limits.child_seconds
        question = {"ask": what, "seconds": left, **facts}
        left = self._send(b"Q", json.dumps(question).encode(), left)
        while True:
            letter, payload, left = self._receive(left)
            if letter != b"R":
                break
            offset, length = json.loads(payload)
            left = self._send(b"B", self._block(offset, length), left)
        self.idle = True
        if letter == b"E":
            raise self.fault(payload.decode())
        return json.loads(payload)

    def payload(self, what: str, **facts: Any) -> tuple[int, bytes]:
        """As `ask`, for an answer that is a number and, if that is not zero, bytes."""
        count = int(self.ask(what, **facts))
        if not count:
            return 0, b""
        self.idle = False
        _, payload, _ = self._receive(self.limits.child_seconds)
        self.idle = True
        return count, payload

    def fault(self, what: str) -> Skipped:
        """The reason for a document that the program cannot read, or at which it died."""
        seconds, memory = f"{self.limits.child_seconds:g} seconds", amount(self.limits.child_memory_bytes)
        thing = self.thing
        if what == "encrypted":
            return Skipped(f"The {thing} is protected with a password.", code="encrypted")
        if what == "broken":
            return Skipped(f"The {thing} is damaged or incomplete.", code="broken")
        reason = f"Reading the {thing} needs more than {memory} of memory or {seconds} for one step, or it is damaged."
        if what == "time":
            reason = f"The {thing} needs more than {seconds} for one step, the bound for safe reading."
        return Skipped(reason, code="too_heavy")

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()

    def _block(self, offset: int, length: int) -> bytes:
        """Reading Drive may take its time: that is not the child's."""
        assert self._file is not None
        self._file.seek(offset)
        block = bytearray()
        while len(block) < length and (piece := self._file.read(length - len(block))):
            block += piece
        return bytes(block)

    def _send(self, letter: bytes, payload: bytes, left: float) -> float:
        view = memoryview(_FRAME.pack(len(payload), letter) + payload)
        while view:
            left = self._ready(self._in.fileno(), selectors.EVENT_WRITE, left)
            try:
                view = view[self._in.write(view) or 0 :]
            except BrokenPipeError as fault:
                raise self._died() from fault
        return left

    def _receive(self, left: float) -> tuple[bytes, bytes, float]:
        header, left = self._exactly(_FRAME.size, left)
        length, letter = _FRAME.unpack(header)
        payload, left = self._exactly(length, left)
        return letter, payload, left

    def _exactly(self, count: int, left: float) -> tuple[bytes, float]:
        got = bytearray()
        while len(got) < count:
            left = self._ready(self._out.fileno(), selectors.EVENT_READ, left)
            piece = self._out.read(count - len(got))
            if piece == b"":
                raise self._died()
            got += piece or b""
        return bytes(got), left

    def _ready(self, descriptor: int, event: int, left: float) -> float:
        """Wait until the pipe can be used; what is left of the child's time after that."""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            began = time.monotonic()
            ready = selector.select(max(left, 0))
            left -= time.monotonic() - began
        if not ready:
            self.end()
            raise self.fault("time")
        return left

    def _died(self) -> Skipped:
        self.end()
        return self.fault("died")


C = TypeVar("C", bound=Child)


class Children(Generic[C]):
    """The pool of one program. Nothing is started before the first document."""

    def __init__(self, kind: type[C]) -> None:
        self._kind = kind
        self.lent: set[C] = set()
        self.free: dict[C, float] = {}  # and since when
        self._places = 0  # taken, by children lent or about to be
        self._changed = threading.Condition()
        self._owner = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def lend(self, limits: Limits) -> Iterator[C]:
        """A child for one document. Kept afterwards if it is between questions, else ended."""
        child = self._take(limits)
        self.lent.add(child)
        try:
            yield child
        finally:
            self.lent.discard(child)
            self._give_back(child)

    def _take(self, limits: Limits) -> C:
        with self._changed:
            if self._owner != os.getpid():  # forked: the parent's children are not ours
                self._owner, self._places, self._timer = os.getpid(), 0, None
                self.free.clear()
                atexit.register(self.end_idle, 0.0)
            if not self._changed.wait_for(lambda: self._places < limits.children, _WAIT_SECONDS):
                raise Unavailable(f"All readers of a {self._kind.thing} are busy.", retry_after=10)
            self._places += 1
            while self.free:
                child, _ = self.free.popitem()
                if child.fits(limits):
                    child.limits = limits
                    return child
                child.end()
        try:
            return self._kind(limits)
        except BaseException:
            with self._changed:
                self._places -= 1
                self._changed.notify()
            raise

    def _give_back(self, child: C) -> None:
        keep = child.idle
        if not keep:
            child.end()
        with self._changed:
            self._places -= 1
            if keep:
                self.free[child] = time.monotonic()
                self._watch()
            self._changed.notify()

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(_IDLE_SECONDS, self.end_idle, [_IDLE_SECONDS * 0.9])
            self._timer.daemon = True
            self._timer.start()

    def end_idle(self, seconds: float) -> None:
        """End the children that nobody has used for so long."""
        with self._changed:
            self._timer = None
            old = [child for child, since in self.free.items() if time.monotonic() - since >= seconds]
            for child in old:
                del self.free[child]
            if self.free:
                self._watch()
        for child in old:
            child.end()
