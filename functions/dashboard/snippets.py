"""The part of a passage that shows why it was found, and where in it the query's words stand. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from functions.dashboard.words import shown
from shared.domain.terms import LEAST_PART

LENGTH = 320
_WORD = re.compile(r"\w+")
# Words that are everywhere show nothing; they count only where a query has no others.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be but by did do does for from had has have he her his how i if in is it its me my not of
        on or our she so that the their them they this to us was we were what when where which who why will with you
        your""",
    )
)
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ies", "ied", "ers", "er", "est", "ed", "es", "ly", "s", "e")

Span = tuple[int, int]


class Snippet(NamedTuple):
    """Text on one line, and the spans (in characters) to be marked in it."""

    text: str
    marks: list[Span]

    def pieces(self) -> list[tuple[str, bool]]:
        """The text in pieces, each marked or not."""
        pieces, at = [], 0
        for start, end in self.marks:
            pieces += [(self.text[at:start], False), (self.text[start:end], True)]
            at = end
        return [piece for piece in [*pieces, (self.text[at:], False)] if piece[0]]


def snippet(passage: str, query: str, length: int = LENGTH) -> Snippet:
    """At most about `length` characters of the passage, around the query itself or else most of its words."""
    text = shown(passage)
    spans = _spans(text, query)
    start = _best_start(spans, length)
    begin, end = _window(text, start, length)
    lead = "…" if begin else ""
    marks = [(a - begin + len(lead), b - begin + len(lead)) for a, b, _ in spans if a >= begin and b <= end]
    return Snippet(lead + text[begin:end] + ("…" if end < len(text) else ""), marks)


def _spans(text: str, query: str) -> list[tuple[int, int, str]]:
    """Where the query stands as a phrase, else where its words stand: (start, end, what was found)."""
    words = _WORD.findall(query)
    if len(words) > 1:
        phrase = re.compile(r"\b" + r"[\W_]+".join(map(re.escape, words)) + r"\b", re.IGNORECASE)
        if whole := [(found.start(), found.end(), "phrase") for found in phrase.finditer(text)]:
            return whole
    wanted = {_stem(word) for word in words if word.casefold() not in _COMMON} or {_stem(word) for word in words}
    whole = [
        (found.start(), found.end(), stem) for found in _WORD.finditer(text) if (stem := _stem(found.group())) in wanted
    ]
    return whole or _parts(text, words)


def _parts(text: str, words: list[str]) -> list[tuple[int, int, str]]:
    """Where the words stand inside of others: in a script without spaces, or in a compound."""
    sought = [re.escape(word) for word in words if len(word) >= LEAST_PART or not word.isascii()]
    if not sought:
        return []
    inside = re.compile("|".join(sorted(sought, key=len, reverse=True)), re.IGNORECASE)
    return [(found.start(), found.end(), found.group().casefold()) for found in inside.finditer(text)]


def _stem(word: str) -> str:
    """Much the same for words that Postgres takes for one; only marks hang on it."""
    low = word.casefold()
    for ending in _ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= 3:
            return low[: -len(ending)].rstrip("i")
    return low


def _best_start(spans: list[tuple[int, int, str]], length: int) -> int:
    """The span from which a window shows the most different words."""
    best, most = 0, 0
    for index, (start, _, _) in enumerate(spans[:200]):
        inside = {what for a, b, what in spans[index : index + 60] if b <= start + length * 3 // 4}
        if len(inside) > most:
            best, most = start, len(inside)
    return best


def _window(text: str, start: int, length: int) -> Span:
    if len(text) <= length:
        return 0, len(text)
    begin = max(0, min(start - length // 4, len(text) - length))
    end = min(len(text), begin + length)
    if begin and (space := text.find(" ", begin, begin + 40)) >= 0 and space < start:
        begin = space + 1
    if end < len(text) and (space := text.rfind(" ", end - 40, end)) > start:
        end = space
    return begin, end
