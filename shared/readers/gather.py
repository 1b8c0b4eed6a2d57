"""From the pieces a container is made of to parts: joined where small, cut where large, the same every time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import unescape

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State, Text

PART = 4096  # characters: small enough to point to a place, large enough to be cheap, and under 64 KiB in any script
LONG = 32_768  # a paragraph is handed over in pieces of this many characters, so that none is held whole
_AGAIN = 240.0  # seconds of the processor to come back to a place: half a life, so that each life gets on
_ENDS = ("\n\n", "\n\r\n", "\n", ". ", "! ", "? ", "\u3002", " ")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a row, a line: its text with the separator that follows it, its place, and the state behind it."""

    text: str
    locator: Locator
    after: State


def cut_at(text: str, start: int, stop: int) -> int:
    """Where to cut a text that is too long between `start` and `stop`: behind a paragraph, a line, a sentence, a
    word, in this order, and for want of all of them at `stop`."""
    half = (start + stop) // 2
    for mark in _ENDS:
        at = text.rfind(mark, half, stop)
        if at >= 0:
            return at + len(mark)
        if mark == "\n" and (at := text.rfind(mark, start, half)) >= 0:
            return at + 1
    return stop


def gather(blocks: Iterable[Block | Part], after: State) -> Iterator[Part]:
    """Parts from blocks. Neighbours of one place are joined up to `PART` characters; what is longer is cut.

    `after` is the state that reading goes on from: a part that ends inside a block has the block's number of pieces
    in `piece`, and so many pieces of the first block are left out.
    """
    skip = int(after.get("piece", 0))
    before = {name: value for name, value in after.items() if name != "piece"}
    held: list[Block] = []
    size = 0
    try:
        for block in blocks:
            if held and not (isinstance(block, Block) and size + len(block.text) <= PART and _beside(held[-1], block)):
                yield _joined(held)
                held, size = [], 0
            if not isinstance(block, Block):
                yield block
            elif len(block.text) > PART:
                yield from _pieces(block, before, skip)
            elif block.text:
                held.append(block)
                size += len(block.text)
            skip, before = 0, dict(block.after)
    except Skipped:  # damage, or a bound: what came before it is whole
        if held:
            yield _joined(held)
        raise
    if held:
        yield _joined(held)


def numbered(sections: Iterable[Callable[[], Iterable[tuple[str, Locator]]]], after: State) -> Iterator[Block]:
    """Blocks of a container's sections, with their numbers as state.

    What lies before the state is read again and left out: XML has no place in its middle to begin at.
    """
    first, skip = int(after.get("section", 0)), int(after.get("block", 0))
    began = time.thread_time()
    for number, section in enumerate(sections):
        if number < first:
            continue
        for count, (text, locator) in enumerate(section(), 1):
            if number > first or count > skip:
                yield Block(text, locator, {"section": number, "block": count})
            elif time.thread_time() - began > _AGAIN:
                raise Skipped("Finding the place to read on takes too long in a file of this kind.", code="too_heavy")


class Flow:
    """Collects running text into paragraphs; a very long one is handed over before its end, at exact lengths."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._pieces: list[str] = []
        self._size = 0
        self.begun = False

    def __bool__(self) -> bool:
        """Whether a paragraph has begun."""
        return bool(self._pieces) or self.begun

    def add(self, text: str) -> None:
        if not text:  # a million of them would be a list of a million
            return
        self._pieces.append(text)
        self._size += len(text)
        if self._size > LONG:
            whole = "".join(self._pieces)
            stop = len(whole) - len(whole) % LONG
            for at in range(0, stop, LONG):
                self._emit(whole[at : at + LONG])
            self._pieces, self._size, self.begun = [whole[stop:]], len(whole) - stop, True

    def take(self) -> str:
        """What has been collected and not yet handed over; begins anew."""
        text = "".join(self._pieces)
        self._pieces, self._size, self.begun = [], 0, False
        return text


def _beside(one: Block, other: Block) -> bool:
    a, b = one.locator, other.locator
    if a is b:
        return True
    return (a.heading, a.sheet, a.slide, a.part, a.page_last) == (b.heading, b.sheet, b.slide, b.part, b.page_first)


def _joined(held: list[Block]) -> Part:
    return Text("".join(b.text for b in held), held[0].locator.through(held[-1].locator), held[-1].after)


def _pieces(block: Block, before: State, skip: int) -> Iterator[Part]:
    start, count, text = 0, 0, block.text
    while start < len(text):
        end = len(text) if len(text) - start <= PART else cut_at(text, start, start + PART)
        count += 1
        if count > skip:
            after = block.after if end == len(text) else {**before, "piece": count}
            yield Text(text[start:end], block.locator, after)
        start = end


_BAD = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """Without what no database takes: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\0" not in text:  # most text; ten times as fast
        return text
    return _BAD.sub("\ufffd", text)


_ENDLESS = re.compile("&#[0-9]{1000,}")


def resolved(text: str) -> str:
    """Character references as what they stand for. Python's own resolver fails at a number that its `int` refuses."""
    return unescape(_ENDLESS.sub("&#xFFFD", text) if "&#" in text else text)
