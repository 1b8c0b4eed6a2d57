"""Pictures, for recognition of their text: handed over as they are where they are small enough, else made smaller.

What a picture's header declares is checked before anybody decodes it. Decoding happens in a child process only.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Image, Locator, Part, State, Truncated
from shared.readers import child
from shared.readers.archive import broken
from shared.readers.limits import Limits
from shared.readers.source import Source
from shared.readers.tiff import tiff_pages

_TINY = 16  # points: in a picture that is lower or narrower nobody reads anything
_MARKERS = 5000  # of a JPEG, before the one that says its size
_SIZED = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # JPEG's markers that do
_NAMED = 3  # unreadable pages that a reason names


@dataclass(frozen=True, slots=True)
class Shape:
    """What a picture's header says of it."""

    kind: str
    width: int
    height: int
    moving: bool = False


def read_image(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A PNG, JPEG, GIF, BMP or WebP. It has no place but the file; of a moving one the first frame counts."""
    if after:
        return
    with closing(source.seekable()) as file:
        shape = measured(file)
        _check(shape, limits)
        content = _fitting(file, shape, limits.window_bytes)
        if content:
            yield Image(content, f"image/{shape.kind}", Locator(), {"page": 1})
        else:
            yield _smaller(file, shape.kind, Locator(), {"page": 1}, limits)


def read_tiff(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A TIFF, page by page. Locators: the page."""
    unread = [str(reason) for reason in after.get("unread", [])]
    first, given = int(after.get("page", 0)) + 1, bool(after)
    fault: Skipped | None = None
    with closing(source.seekable()) as file:
        for page in tiff_pages(file, limits):
            if page.number < first:
                continue
            place = Locator(page_first=page.number, page_last=page.number)
            try:
                _check(Shape("tiff", page.width, page.height), limits)
                content = _all(page.file, limits.window_bytes)
                state = {"page": page.number, **({"unread": unread} if unread else {})}
                if content:
                    picture = Image(content, "image/tiff", place, state)
                else:
                    picture = _smaller(page.file, "tiff", place, state, limits)
            except Skipped as why:
                fault = fault or why
                unread = [*unread, f"Page {page.number}: {why.reason}"][:_NAMED]
                continue
            yield picture
            given = True
    if fault and not given:
        raise fault
    if unread:
        yield Truncated(" ".join(unread), {})


def measured(file: io.RawIOBase) -> Shape:
    """A picture's kind and size, by its header alone. Raises `Skipped` for one that has none."""
    file.seek(0)
    head = file.read(64) or b""
    try:
        if head.startswith(b"\x89PNG"):
            return Shape("png", *struct.unpack_from(">II", head, 16))
        if head.startswith(b"GIF8"):
            return Shape("gif", *struct.unpack_from("<HH", head, 6))
        if head.startswith(b"BM"):
            core = struct.unpack_from("<I", head, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if core else "<ii", head, 18)
            return Shape("bmp", width, abs(height))
        if head.startswith(b"\xff\xd8"):
            return _jpeg(file)
        return _webp(head)
    except (struct.error, ValueError, IndexError) as fault:
        raise broken("it does not say how large the picture is") from fault


def _webp(head: bytes) -> Shape:
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return Shape("webp", width, height, moving=bool(head[20] & 2))
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return Shape("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return Shape("webp", width & 0x3FFF, height & 0x3FFF)
    raise ValueError(kind)


def _jpeg(file: io.RawIOBase) -> Shape:
    at = 2
    for _ in range(_MARKERS):
        file.seek(at)
        segment = file.read(9) or b""
        if segment.startswith(b"\xff\xff"):  # padding
            at += 1
            continue
        if segment[0] == 0xFF and segment[1] in _SIZED:
            height, width = struct.unpack_from(">HH", segment, 5)
            return Shape("jpeg", width, height)
        length = struct.unpack_from(">H", segment, 2)[0]
        if segment[0] != 0xFF or length < 2:
            break
        at += 2 + length
    raise ValueError("no size")


def _check(shape: Shape, limits: Limits) -> None:
    if shape.width < 1 or shape.height < 1:
        raise broken("it does not say how large the picture is")
    if shape.width * shape.height > limits.image_pixels:
        raise Skipped(
            f"The picture has {shape.width} x {shape.height} points, more than the "
            f"{limits.image_pixels / 1e6:g} million that text recognition takes.",
            code="too_large",
        )
    if min(shape.width, shape.height) < _TINY:
        raise Skipped("The picture is too small to hold text.", code="no_text")


def _fitting(file: io.RawIOBase, shape: Shape, most: int) -> bytes:
    """The picture as it is, if it fits and stands still; of a GIF the first frame; else nothing."""
    if shape.kind == "gif":
        return _first_frame(_all(file, most, cut=True), most)
    return b"" if shape.moving else _all(file, most)


def _all(file: io.RawIOBase, most: int, *, cut: bool = False) -> bytes:
    """The whole file; where it is larger than `most`, its beginning or nothing."""
    larger = file.seek(0, io.SEEK_END) > most
    file.seek(0)
    content = bytearray()
    while len(content) < most and (cut or not larger) and (piece := file.read(most - len(content))):
        content += piece
    return bytes(content)


def _first_frame(gif: bytes, most: int) -> bytes:
    """A GIF that ends behind its first picture; nothing where that is larger than these bytes."""
    begun = False
    try:
        at = 13 + _colours(gif[10])
        while gif[at] == 0x21:  # an extension
            at = _behind_blocks(gif, at + 2)
        begun = gif[at] == 0x2C
        end = _behind_blocks(gif, at + 11 + _colours(gif[at + 9])) if begun else 0
    except IndexError:
        end = most
    if not begun:
        raise broken("there is no picture in it")
    return gif[:end] + b";" if end < most else b""


def _colours(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _behind_blocks(gif: bytes, at: int) -> int:
    while length := gif[at]:
        at += 1 + length
    return at + 1


def _smaller(file: io.RawIOBase, kind: str, place: Locator, after: dict[str, Any], limits: Limits) -> Image:
    """The picture in grey, as fine as fits."""
    with _children.lend(limits) as painter:
        painter.open(file, kind=kind, pixels=limits.image_pixels)
        _, content = painter.payload("picture", most=limits.window_bytes)
        painter.close_document()
    return Image(content, "image/png" if content.startswith(b"\x89PNG") else "image/jpeg", place, after)


class Child(child.Child):
    """A process with Pillow in it."""

    program = "image_child.py"
    thing = "picture"


_children = child.Children(Child)
