"""A chunk's text → passages: what is embedded, searched and shown, each with its exact place.

A passage never crosses from one part, sheet, slide or heading into another, and crosses a page only where a page is
too short to stand alone. Inside such a section it ends where a paragraph does, and where one is too long for that,
where a sentence or a word does; then neighbours overlap a little, so that what stands on the cut is found whole. The
same text always gives the same passages: `(job, chunk, ordinal)` names one for good.

Which paragraph begins the next passage is decided by what it says (`turning_point`), not by how much stands before it:
after an edit the cuts find back to where they were, and of a long document only a few passages are new.
"""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from itertools import count

from semantic_text_splitter import TextSplitter

from shared.domain.parts import Locator
from shared.domain.tokens import estimate_tokens
from shared.domain.turning import SEEN, turning_point

FULL_TOKENS = 320  # prose comes out at 190 to 380, on average a little less than this
MAX_TOKENS = 512
TINY_TOKENS = 60
OVERLAP_TOKENS = 52  # about 15 %, where a paragraph had to be cut
# The splitter's time for text without spaces grows with the square of what it is shown: 128 KB of unbroken Chinese
# took eight seconds, this much takes a tenth of one. Prose is as fast either way.
WINDOW_TOKENS = 5_000

_LINE_END = re.compile(r"\n\s*")

Mark = tuple[int, Locator]


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of a chunk's text. `text` is exactly as it stands in the chunk at `start`, `hash` is 32 bytes and equal
    for texts that differ in white space or Unicode composition only."""

    ordinal: int
    text: str
    locator: Locator
    hash: bytes
    start: int


def cut(
    text: str,
    marks: Sequence[Mark],
    *,
    full_tokens: int = FULL_TOKENS,
    max_tokens: int = MAX_TOKENS,
    tiny_tokens: int = TINY_TOKENS,
    overlap_tokens: int = OVERLAP_TOKENS,
) -> list[Passage]:
    """The passages of `text`, in order, each of at most `max_tokens` estimated tokens.

    `marks` say from which character on the text stands at which locator, in rising order; a passage's locator is the
    smallest span of the marks it touches. Every character that is neither white space nor in a run of mere
    punctuation is in some passage. NUL and lone surrogates, which Postgres refuses, become U+FFFD.
    """
    text = _storable(text)
    places = _Places(marks)
    passages: list[Passage] = []
    splitter = _splitter(full_tokens, max_tokens, min(overlap_tokens, full_tokens - 1))
    for section_start, section_end in _sections(text, places, tiny_tokens, full_tokens):
        for start, end in _cuts(text, section_start, section_end, splitter, full_tokens, max_tokens):
            piece = text[start:end]
            if _says_something(piece):
                passages.append(Passage(len(passages), piece, places.span(start, end), passage_hash(piece), start))
    return passages


def passage_hash(text: str) -> bytes:
    """The name under which a passage's vector is found again: SHA-256 of the text, composed and with single spaces."""
    return sha256(" ".join(unicodedata.normalize("NFC", text).split()).encode("utf-8", "surrogatepass")).digest()


class _Places:
    """The marks of a chunk, searchable by character."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self.locators = [locator for _, locator in marks] or [Locator()]
        # What stands before the first mark belongs to it: a reader marks where its text begins.
        self.offsets = [0, *(offset for offset, _ in marks[1:])]

    def span(self, start: int, end: int) -> Locator:
        """The smallest locator around the characters from `start` to `end`."""
        first = max(0, bisect_right(self.offsets, start) - 1)
        last = max(first + 1, bisect_left(self.offsets, end))
        return _around(self.locators[first:last])


def _around(locators: Sequence[Locator]) -> Locator:
    if len(locators) == 1:
        return locators[0]
    return replace(
        locators[0],
        byte_start=min((at.byte_start for at in locators if at.byte_start is not None), default=None),
        byte_end=max((at.byte_end for at in locators if at.byte_end is not None), default=None),
        line_first=min((at.line_first for at in locators if at.line_first is not None), default=None),
        line_last=max((at.line_last for at in locators if at.line_last is not None), default=None),
        page_first=min((at.page_first for at in locators if at.page_first is not None), default=None),
        page_last=max((at.page_last for at in locators if at.page_last is not None), default=None),
        row_first=min((at.row_first for at in locators if at.row_first is not None), default=None),
        row_last=max((at.row_last for at in locators if at.row_last is not None), default=None),
    )


Standing = tuple[str | None, str | None, int | None, str | None]


def _standing(at: Locator) -> Standing:
    """What no passage crosses: a locator names one part, one sheet, one slide and one heading."""
    return (at.part, at.sheet, at.slide, at.heading)


def _sections(text: str, places: _Places, tiny: int, full: int) -> Iterator[tuple[int, int]]:
    """Runs of characters that are cut on their own: one heading, page, sheet, slide or part each, except that pages
    (of one heading and part) too short to stand alone are joined with their neighbours."""
    start, end, last, tokens = 0, 0, places.locators[0], 0
    for run_end, locator in _runs(places, len(text)):
        # A long run need not be counted whole: all that matters is that it is not short.
        run_tokens = estimate_tokens(text[end : min(run_end, end + 4 * full)])
        short = (tokens < tiny or run_tokens < tiny) and tokens + run_tokens <= full
        if end > start and not (_standing(locator) == _standing(last) and short):
            yield start, end
            start, tokens = end, 0
        end, last, tokens = run_end, locator, tokens + run_tokens
    if end > start:
        yield start, end


def _runs(places: _Places, length: int) -> Iterator[tuple[int, Locator]]:
    """Neighbouring marks of one standing and page, as (end, a locator of the run)."""
    offsets, locators = places.offsets, places.locators
    for index, locator in enumerate(locators):
        following = locators[index + 1] if index + 1 < len(locators) else None
        if following is not None and _standing(following) == _standing(locator) and _page(following) == _page(locator):
            continue
        yield (min(offsets[index + 1], length) if following is not None else length), locator


def _page(at: Locator) -> tuple[int | None, int | None]:
    return (at.page_first, at.page_last)


@cache
def _splitter(full: int, limit: int, overlap: int) -> TextSplitter:
    return TextSplitter.from_callback(estimate_tokens, (full, limit), overlap=overlap, trim=False)


def _cuts(text: str, start: int, end: int, splitter: TextSplitter, full: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut one section between paragraphs, and inside of one that is longer than a passage."""
    least, most = full * 3 // 5, full * 6 // 5
    ahead = deque[tuple[int, int, bool]]()  # paragraphs: where each ends, its tokens, and whether a blank line follows
    paragraphs = _paragraphs(text, start, end)
    while start < end:
        tokens, best, rank = 0, 0, (2, 0)
        for place in count():
            if place == len(ahead) and (more := next(paragraphs, None)) is not None:
                ahead.append(more)
            if place == len(ahead):
                best = place if tokens <= most else best  # all that is left
                break
            stop, cost, blank = ahead[place]
            tokens += cost
            if tokens > most:
                break
            if tokens >= least:
                found = (0 if blank else 1, turning_point(text[stop : stop + SEEN]))
                best, rank = (place + 1, found) if found < rank else (best, rank)
        # Before a paragraph that is too long stands at most a short one: it is cut together with it.
        taken = [ahead.popleft() for _ in range(best or place + 1)]
        stop = taken[-1][0]
        yield from _pieces(text, start, stop, splitter, limit, whole=sum(one[1] for one in taken) <= most)
        start = stop


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    for found in _LINE_END.finditer(text, start, end):
        stop = found.end()
        yield stop, estimate_tokens(text[start:stop]), found.group().count("\n") > 1
        start = stop
    if start < end:
        yield end, estimate_tokens(text[start:end]), False


def _pieces(
    text: str, start: int, end: int, splitter: TextSplitter, limit: int, *, whole: bool
) -> Iterator[tuple[int, int]]:
    """Cut paragraphs window by window, so that a long one costs no more memory than a short one; `whole` ones need no
    cut."""
    if whole:
        yield from _bounded(text, start, end, limit)
        return
    while start < end:
        window = _window(text, start, end)
        at_end = start + len(window) == end
        chunks = splitter.chunk_indices(window)
        # The last two chunks of a window may have been cut by its edge rather than by the text: cut them again
        # with what follows.
        kept = chunks if at_end or len(chunks) < 3 else chunks[:-2]
        for offset, chunk in kept:
            yield from _bounded(text, start + offset, start + offset + len(chunk), limit)
        if at_end:
            return
        start += chunks[-2][0] if len(kept) < len(chunks) else len(window)


def _window(text: str, start: int, end: int) -> str:
    widest = text[start : min(end, start + 3 * WINDOW_TOKENS)]
    tokens = estimate_tokens(widest)
    return widest if tokens <= WINDOW_TOKENS else widest[: len(widest) * WINDOW_TOKENS // tokens]


def _bounded(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """The piece without the white space around it; halved where even one letter with its marks is over the limit."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        return
    if estimate_tokens(text[start:end]) <= limit:
        yield start, end
        return
    middle = (start + end) // 2
    yield from _bounded(text, start, middle, limit)
    yield from _bounded(text, middle, end, limit)


_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def _says_something(text: str) -> bool:
    """Whether there is more than white space, punctuation and rules made of them."""
    if _LETTER_OR_DIGIT.search(text):
        return True
    return any(
        not character.isspace()
        and character not in string.punctuation
        and unicodedata.category(character)[0] not in "PZC"
        for character in text
    )


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _storable(text: str) -> str:
    """One character for one character, so that offsets stay true."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
