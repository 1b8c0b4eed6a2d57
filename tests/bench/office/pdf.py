"""PDFs as office programs export them, as invoicing programs print them, and as scanners make them."""

from __future__ import annotations

import random
import re
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from xml.sax.saxutils import escape

from tests.bench.office.packages import Block, Rows, shown
from tests.bench.office.pictures import font_file
from tests.unit.reader_samples import document

_LEFT, _TOP, _BOTTOM, _WIDTH = 56.0, 780.0, 60.0, 484.0  # of what is written on A4, in points
_COLUMN = 232.0  # the width of one of two
_PICTURE_HEIGHT = 210
_LETTER_WIDTH = 0.5  # of a letter's height, about
_LARGER = {"h1": 1.7, "h2": 1.25}


@dataclass(frozen=True, slots=True)
class _Placed:
    """A line of text, or a picture, on a page: points from the left and the bottom."""

    left: float
    bottom: float
    size: float
    text: str
    picture: bytes = b""


def exported(blocks: Sequence[Block], dice: random.Random, title: str, size: int = 11) -> bytes:
    """As an office program does it: embedded fonts, kerned lines, tags, a description that leaves room for edits."""
    written = _Writer(title, fonts=dice.randint(1, 5))
    for page in _pages(blocks, size):
        written.page(page, size, dice)
    return written.finished(dice, "Microsoft Word for Microsoft 365")


def printed(blocks: Sequence[Block], dice: random.Random, title: str, size: int = 9) -> bytes:
    """As an invoicing program does it: the fonts that every reader has, a line at a time."""
    written = _Writer(title, fonts=0)
    for page in _pages(blocks, size):
        written.page(page, size, dice)
    return written.finished(dice, "ReportLab PDF Library")


def typeset(blocks: Sequence[Block], dice: random.Random, title: str, size: int = 10) -> bytes:
    """As journals do it with LaTeX: two columns, a font for each use, lines in small pieces."""
    written = _Writer(title, fonts=dice.randint(4, 12))
    columns = [*_pages(blocks, size, _COLUMN)]
    for left, right in zip_longest(columns[::2], columns[1::2], fillvalue=()):
        moved = [replace(one, left=one.left + _WIDTH - _COLUMN) for one in right]
        written.page([*left, *moved], size, dice)
    return written.finished(dice, "pdfTeX-1.40.25")


def scanned(pages: Sequence[bytes], texts: Sequence[str], dice: random.Random) -> bytes:
    """Pages that are JPEGs of A4; a page that has a text shows it to searches only, as scanners that recognise do."""
    written = _Writer("Scan", fonts=0)
    for picture, text in zip(pages, texts, strict=True):
        written.scan(picture, text)
    return written.finished(dice, "Scanner")


def _pages(blocks: Sequence[Block], size: int, width: float = _WIDTH) -> list[list[_Placed]]:
    pages: list[list[_Placed]] = [[]]
    top = _TOP
    for height, line in _lines(blocks, size, width):
        if top - height < _BOTTOM:
            pages.append([])
            top = _TOP
        top -= height
        pages[-1] += [_Placed(one.left, top, one.size, one.text, one.picture) for one in line]
    return pages


def _lines(blocks: Sequence[Block], size: int, width: float) -> Iterator[tuple[float, list[_Placed]]]:
    """Each line's height and what stands in it."""
    for block in blocks:
        if block.kind == "picture":
            yield _PICTURE_HEIGHT + 10, [_Placed(_LEFT, 0, size, "", block.picture)]
        elif block.kind == "table":
            yield from _table_lines(block.rows, size, width)
        else:
            large = _LARGER.get(block.kind, 1) * size
            yield size * 0.7, []
            text = ("• " if block.kind == "li" else "") + block.text
            for line in textwrap.wrap(text, round(width / large / _LETTER_WIDTH)):
                yield large * 1.25, [_Placed(_LEFT, 0, large, line)]


def _table_lines(rows: Rows, size: int, width: float) -> Iterator[tuple[float, list[_Placed]]]:
    texts = [[shown(value) for value in row] for row in rows]
    widths = [min(40, max(map(len, column))) + 2 for column in zip(*texts, strict=True)]
    scale = min(width / sum(widths), size * 0.6)
    starts = [_LEFT + scale * sum(widths[:column]) for column in range(len(widths))]
    for row in texts:
        cells = zip(starts, widths, row, strict=True)
        yield size * 1.5, [_Placed(left, 0, size, text[:width]) for left, width, text in cells if text]


class _Writer:
    """The objects of one PDF."""

    def __init__(self, title: str, fonts: int) -> None:
        self._objects: list[bytes] = [b"", b""]  # the catalog and the list of pages, which are known at the end
        self._pages: list[int] = []
        self._title = title
        self._office = bool(fonts)
        self._fonts = [self._font(number) for number in range(fonts)] or [
            self._put(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
        ]

    def page(self, placed: Sequence[_Placed], size: float, dice: random.Random) -> None:
        content, pictures = [b"q 0.5 w 56 50 m 540 50 l S Q"], b""
        for number, one in enumerate(placed):
            if one.picture:
                pictures += b"/I%d %d 0 R" % (number, self._picture(one.picture))
                content.append(b"q 320 0 0 %d 56 %.2f cm /I%d Do Q" % (_PICTURE_HEIGHT, one.bottom, number))
                continue
            font = len(self._fonts) - 1 if one.size > size else 0
            text = _kerned(one.text, dice) if self._office else b"(%s) Tj" % _literal(one.text)
            line = b"BT /F%d %.1f Tf 1 0 0 1 %.2f %.2f Tm %s ET" % (font, one.size, one.left, one.bottom, text)
            content.append(b"/P <</MCID %d>>BDC %s EMC" % (number, line) if self._office else line)
        self._add(b"\n".join(content), pictures)

    def scan(self, picture: bytes, text: str) -> None:
        lines = textwrap.wrap(text, 95)[:55]
        told = b" T* ".join(b"(%s) Tj" % _literal(line) for line in lines)
        hidden = b" BT 3 Tr /F0 9 Tf 13 TL 50 780 Td %s ET" % told if lines else b""
        self._add(b"q 595 0 0 842 0 0 cm /I Do Q" + hidden, b"/I %d 0 R" % self._picture(picture))

    def finished(self, dice: random.Random, maker: str) -> bytes:
        day = b"%d%02d%02d" % (dice.randint(2016, 2026), dice.randint(1, 12), dice.randint(1, 28))
        about = b"/Title(%s)/Producer(%s)/CreationDate(D:%s093012)" % (_literal(self._title), maker.encode(), day)
        name = b"%032x" % dice.getrandbits(128)
        extra = b"/Info %d 0 R/ID[<%s><%s>]" % (self._put(b"<<%s>>" % about), name, name)
        described = b""
        if self._office:
            told = (
                f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:title>{escape(self._title)}</dc:title></x:xmpmeta>'.encode()
            )
            described = b"/Metadata %d 0 R" % self._put(_stream(told + b" " * 2000, b"/Type/Metadata/Subtype/XML"))
        kids = b" ".join(b"%d 0 R" % page for page in self._pages)
        self._objects[:2] = (
            b"<</Type/Catalog/Pages 2 0 R/Lang(en-GB)%s>>" % described,
            b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(self._pages), kids),
        )
        return document(self._objects, extra)

    def _add(self, content: bytes, pictures: bytes) -> None:
        fonts = b"".join(b"/F%d %d 0 R" % pair for pair in enumerate(self._fonts))
        resources = b"<</Font<<%s>>/XObject<<%s>>/ProcSet[/PDF/Text/ImageB/ImageC]>>" % (fonts, pictures)
        shows = self._put(_deflated(content))
        about = b"/MediaBox[0 0 595 842]/Contents %d 0 R/Resources%s" % (shows, resources)
        self._pages.append(self._put(b"<</Type/Page/Parent 2 0 R%s>>" % about))

    def _picture(self, content: bytes) -> int:
        height, width, layers = _jpeg_size(content)
        space = b"DeviceGray" if layers == 1 else b"DeviceRGB"
        size = b"/Width %d/Height %d/ColorSpace/%s/BitsPerComponent 8" % (width, height, space)
        return self._put(_stream(content, b"/Type/XObject/Subtype/Image%s/Filter/DCTDecode" % size))

    def _font(self, number: int) -> int:
        name = b"%sAAA+Aileron" % bytes([65 + number] * 3)
        file = self._put(_deflated(font_file(), b"/Length1 %d" % len(font_file())))
        about = b"/FontName/%s/Flags 32/FontBBox[-250 -250 1200 950]/ItalicAngle 0/Ascent 905/Descent -210" % name
        shape = self._put(b"<</Type/FontDescriptor%s/CapHeight 700/StemV 80/FontFile2 %d 0 R>>" % (about, file))
        about = b"/BaseFont/%s/Encoding/WinAnsiEncoding/FirstChar 32/LastChar 255" % name
        widths = b" ".join([b"500"] * 224)
        return self._put(b"<</Type/Font/Subtype/TrueType%s/Widths[%s]/FontDescriptor %d 0 R>>" % (about, widths, shape))

    def _put(self, content: bytes) -> int:
        self._objects.append(content)
        return len(self._objects)


def _kerned(text: str, dice: random.Random) -> bytes:
    """A line in pieces, between which a typesetter moves by some thousandths."""
    pieces, at = [], 0
    while at < len(text):
        end = at + dice.randint(3, 24)
        pieces.append(b"(%s)%d" % (_literal(text[at:end]), dice.randint(-9, 9)))
        at = end
    return b"[%s] TJ" % b"".join(pieces)


def _literal(text: str) -> bytes:
    return re.sub(rb"([\\()])", rb"\\\1", text.encode("cp1252", "replace"))


def _deflated(content: bytes, about: bytes = b"") -> bytes:
    return _stream(zlib.compress(content), about + b"/Filter/FlateDecode")


def _stream(content: bytes, about: bytes) -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (about, len(content), content)


def _jpeg_size(content: bytes) -> tuple[int, int, int]:
    """Height, width, and how many colours there are."""
    at = 2
    while content[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return int.from_bytes(content[at + 5 : at + 7]), int.from_bytes(content[at + 7 : at + 9]), content[at + 9]
