"""Packs a reader's parts into chunks: self-contained, each small enough for one message, named by their order.

Chunking is deterministic and has no memory beyond the chunk at hand: going on from a chunk's `after` gives the chunks
that an undisturbed reading would have given next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.domain.parts import Locator, Pages, Part, State, Text, Truncated
from shared.domain.turning import turning_point

CHUNK_BYTES = 512 * 1024  # as much text as keeps the first passages of a long file from waiting for the rest
MARKS = 2048  # places in one chunk: a list of ten-character sections must not be mostly marks
HARD_BYTES = 2 * 1024 * 1024  # DESIGN §3: no payload is larger

Kind = Literal["text", "pages", "image"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One message's worth of a file.

    Of text, `payload` is UTF-8 and `marks` says where in it (in characters) each part begins and what place that is;
    `locator` is the place of the whole chunk. The texts of all chunks, one after the other, are the text of the file.
    `truncated` says why the file's text ends here although the file does not. It may come with an empty payload.
    """

    index: int
    kind: Kind
    payload: bytes
    mime_type: str
    locator: Locator
    marks: tuple[tuple[int, Locator], ...]
    after: State
    truncated: str | None = None


def pack(parts: Iterator[Part], first_index: int = 0, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Chunks from parts, numbered from `first_index`. Text is cut between parts only: of those in the last eighth of
    a full chunk, before the one that `turning_point` names, so that an edit does not move the cuts behind it.

    Raises `ValueError` for a part that fits into no chunk: a reader has broken its promise.
    """
    index, texts, size = first_index, list[tuple[Text, bytes]](), 0
    for part in parts:
        payload = _payload(part, min(chunk_bytes, HARD_BYTES))
        full = size + len(payload) > chunk_bytes or len(texts) == MARKS
        if texts and not isinstance(part, Truncated) and (full or not isinstance(part, Text)):
            room = min(chunk_bytes // 8, chunk_bytes - len(payload))
            cut = _cut(texts, part, room) if isinstance(part, Text) else len(texts)
            yield _text_chunk(index, texts[:cut])
            index, texts = index + 1, texts[cut:]
            size = sum(len(kept) for _, kept in texts)
        if isinstance(part, Text):
            texts.append((part, payload))
            size += len(payload)
            continue
        if isinstance(part, Truncated):
            yield _text_chunk(index, texts, part)
        elif isinstance(part, Pages):
            yield Chunk(index, "pages", payload, "application/pdf", part.locator, (), part.after)
        else:
            yield Chunk(index, "image", payload, part.mime_type, part.locator, (), part.after)
        index, texts, size = index + 1, [], 0
    if texts:
        yield _text_chunk(index, texts)


def _cut(texts: list[tuple[Text, bytes]], following: Text, last_bytes: int) -> int:
    """How many of these parts are the chunk; the others begin the next one, before `following`."""
    best, lowest, kept = len(texts), turning_point(following.text), 0
    for place in range(len(texts) - 1, len(texts) * 7 // 8, -1):
        part, payload = texts[place]
        kept += len(payload)
        if kept > last_bytes:
            break
        if (found := turning_point(part.text)) < lowest:
            best, lowest = place, found
    return best


def _payload(part: Part, text_bytes: int) -> bytes:
    if isinstance(part, Text):
        payload, most = part.text.encode(), text_bytes
    elif isinstance(part, Truncated):
        return b""
    else:
        payload, most = (part.pdf if isinstance(part, Pages) else part.content), HARD_BYTES
    if len(payload) > most:
        raise ValueError(f"a part of {len(payload)} bytes does not fit into a chunk of {most}")
    return payload


def _text_chunk(index: int, texts: list[tuple[Text, bytes]], end: Truncated | None = None) -> Chunk:
    marks, at = [], 0
    for part, _ in texts:
        marks.append((at, part.locator))
        at += len(part.text)
    locator = texts[0][0].locator.through(texts[-1][0].locator) if texts else Locator()
    after = end.after if end else texts[-1][0].after
    payload = b"".join(payload for _, payload in texts)
    return Chunk(index, "text", payload, "text/plain", locator, tuple(marks), after, end.reason if end else None)
