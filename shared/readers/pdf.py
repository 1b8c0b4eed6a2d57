"""PDF by PDFium, in a child process that may die without harm.

Pages with a text layer become text; runs of pages without one become small PDFs for recognition. The children are
kept for the next document, a few at most, and end when they have been idle for a while.
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
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from shared.domain.errors import Skipped, Unavailable
from shared.domain.parts import Image, Locator, Pages, Part, State, Truncated
from shared.readers.gather import Block, gather
from shared.readers.limits import Limits, amount
from shared.readers.source import Source

_FRAME = struct.Struct("<Ic")
_ASKED = 16  # pages in one question
_IDLE_SECONDS = 60.0
_WAIT_SECONDS = 120.0
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")  # what Python needs to start, and no more
_NAMED = 5  # damaged pages that a reason names


def read_pdf(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A PDF, page by page. Locators: the page."""
    with closing(source.seekable()) as file, _children.lend(limits) as child:
        child.open(file)
        yield from gather(_pages(child, limits, after), after)
        child.close_document()


def _pages(child: Child, limits: Limits, after: State) -> Iterator[Block | Part]:
    page = int(after.get("page", 0)) + 1
    unreadable = [int(number) for number in after.get("unreadable", [])]
    bare: list[int] = []  # consecutive pages without a text layer, not yet handed over
    while page <= child.pages:
        for text, shown in child.ask("pages", first=page, last=min(page + _ASKED - 1, child.pages)):
            if bare and (shown != "picture" or len(bare) == limits.window_pages):
                yield from _windows(child, limits, bare, unreadable, keep=shown == "picture")
            if shown == "picture":
                bare.append(page)
            elif shown == "unreadable":
                unreadable.append(page)
            elif text.strip():
                yield Block(text.rstrip() + "\n\n", Locator(page_first=page, page_last=page), _state(page, unreadable))
            page += 1
    yield from _windows(child, limits, bare, unreadable, keep=False)
    if unreadable:
        yield Truncated(_damaged(unreadable), {"page": child.pages, "unreadable": []})


def _windows(child: Child, limits: Limits, bare: list[int], unreadable: list[int], *, keep: bool) -> Iterator[Part]:
    """Hand over pages as windows. With `keep`, the run goes on: what did not fit begins the next window."""
    while bare:
        first = bare[0]
        count, pdf = child.payload("window", first=first, last=bare[-1], most=limits.window_bytes)
        last = first + max(count, 1) - 1
        place = Locator(page_first=first, page_last=last)
        if count:
            yield Pages(pdf, place, _state(last, unreadable))
        elif png := _picture(child, first, limits):
            yield Image(png, "image/png", place, _state(last, unreadable))
        else:
            unreadable.append(first)
        del bare[: last - first + 1]
        if keep:
            return


def _picture(child: Child, page: int, limits: Limits) -> bytes:
    """A page that is too large for a window, drawn anew; nothing if it cannot be drawn."""
    try:
        return child.payload("picture", page=page, most=limits.window_bytes)[1]
    except Skipped as fault:
        if fault.code != "broken":
            raise
        return b""


def _state(page: int, unreadable: list[int]) -> dict[str, Any]:
    return {"page": page, "unreadable": unreadable[:100]} if unreadable else {"page": page}


def _damaged(pages: list[int]) -> str:
    named = ", ".join(str(page) for page in pages[:_NAMED]) + (" and others" if len(pages) > _NAMED else "")
    return f"Page {named} is damaged" if len(pages) == 1 else f"Pages {named} are damaged"


class Child:
    """One process with PDFium in it, and the document that it has open."""

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
                str(Path(__file__).with_name("pdf_child.py")),
                str(limits.child_memory_bytes),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
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

    def open(self, file: io.RawIOBase) -> None:
        """Begin a document. Raises `Skipped` for one that is encrypted or broken."""
        self._file = file
        size = file.seek(0, io.SEEK_END)
        limits = self.limits
        self.pages = self.ask("open", size=size, budget=limits.pdf_budget_bytes, pixels=limits.image_pixels)

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
            raise _fault(payload.decode(), self.limits)
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
            raise _fault("time", self.limits)
        return left

    def _died(self) -> Skipped:
        self.end()
        return _fault("died", self.limits)


def _fault(what: str, limits: Limits) -> Skipped:
    seconds, memory = f"{limits.child_seconds:g} seconds", amount(limits.child_memory_bytes)
    reason, code = {
        "encrypted": ("The PDF is protected with a password.", "encrypted"),
        "broken": ("The PDF is damaged or incomplete.", "broken"),
        "time": (f"The PDF needs more than {seconds} for one step, the bound for safe reading.", "too_heavy"),
    }.get(
        what,
        (
            f"Reading the PDF needs more than {memory} of memory or {seconds} for one step, or it is damaged.",
            "too_heavy",
        ),
    )
    return Skipped(reason, code=code)


class _Children:
    """The pool. Nothing is started before the first PDF."""

    def __init__(self) -> None:
        self.lent: set[Child] = set()
        self.free: dict[Child, float] = {}  # and since when
        self._places = 0  # taken, by children lent or about to be
        self._changed = threading.Condition()
        self._owner = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def lend(self, limits: Limits) -> Iterator[Child]:
        """A child for one document. Kept afterwards if it is between questions, else ended."""
        child = self._take(limits)
        self.lent.add(child)
        try:
            yield child
        finally:
            self.lent.discard(child)
            self._give_back(child)

    def _take(self, limits: Limits) -> Child:
        with self._changed:
            if self._owner != os.getpid():  # forked: the parent's children are not ours
                self._owner, self._places, self._timer = os.getpid(), 0, None
                self.free.clear()
                atexit.register(self.end_idle, 0.0)
            if not self._changed.wait_for(lambda: self._places < limits.children, _WAIT_SECONDS):
                raise Unavailable("All PDF readers are busy.", retry_after=10)
            self._places += 1
            while self.free:
                child, _ = self.free.popitem()
                if child.fits(limits):
                    child.limits = limits
                    return child
                child.end()
        try:
            return Child(limits)
        except BaseException:
            with self._changed:
                self._places -= 1
                self._changed.notify()
            raise

    def _give_back(self, child: Child) -> None:
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


_children = _Children()
