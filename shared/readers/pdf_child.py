"""The program that PDFium runs in; `child_program.py` says how it is spoken to."""

from __future__ import annotations

import ctypes
import io
import re
import resource
import struct
import zlib
from itertools import pairwise
from typing import Any

_FEW = 16  # characters: fewer than this on a page that is half a picture are no text layer ...
_STAMP = 120  # ... and fewer than this are a stamp or a page number on one that is nothing but a picture
_ANSWER = 256 * 1024  # characters of text in one answer
_OBJECTS = 2000  # objects of a page that are looked at
_LINES, _PIECES, _LETTERS = 12, 3000, 30_000  # of a page whose order is looked at
_STRIPES = 200  # that a page is cut into to find its columns
_DPI = 200
_PASSWORD = 4  # FPDF_ERR_PASSWORD


def opened(file: Any, question: dict[str, Any]) -> Document:
    """Begin a document."""
    return Document(file, question["budget"], question["pixels"])


def fault(error: Exception) -> str:
    """What is wrong with a document that raised this."""
    return "encrypted" if getattr(error, "err_code", None) == _PASSWORD else "broken"


class Document:
    """One PDF. PDFium keeps every stream that it has parsed: closing and opening again bounds that."""

    def __init__(self, file: Any, budget: int, pixels: int) -> None:
        self._file, self._budget, self._pixels = file, budget, pixels
        self._pdf: Any = None
        self._before = 0
        self.pages = len(self.pdf())

    def answer(self, question: dict[str, Any]) -> tuple[Any, bytes]:
        """What the parent wants to know, and what it wants to have."""
        if question["ask"] == "pages":
            return self.texts(question["first"], question["last"]), b""
        if question["ask"] == "window":
            return self.window(question["first"], question["last"], question["most"])
        return 1, self.picture(question["page"], question["most"])

    def pdf(self) -> Any:
        """The open document; opened again once it has made this process grow by more than its budget."""
        import pypdfium2

        if self._pdf is not None and self._grown() - self._before > self._budget:
            self.close()
        if self._pdf is None:
            self._before = self._grown()
            self._file.seek(0)
            self._pdf = pypdfium2.PdfDocument(self._file)
        return self._pdf

    def _grown(self) -> int:
        """Bytes in memory. Where the system does not say, bytes fetched: they are what is kept, and more."""
        try:
            with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - pathlib costs more than the call
                return int(statm.read().split()[1]) * resource.getpagesize()
        except OSError:
            return int(self._file.fetched)

    def close(self) -> None:
        if self._pdf is not None:
            self._pdf.close()
            self._pdf = None
            _give_back()

    def texts(self, first: int, last: int) -> list[list[Any]]:
        """For pages from `first` on: text, and whether the page shows something that the text does not say."""
        told: list[list[Any]] = []
        size = 0
        for number in range(first, last + 1):
            told.append(self._page(number))
            size += len(told[-1][0])
            if size > _ANSWER:
                break
        return told

    def _page(self, number: int) -> list[Any]:
        import pypdfium2

        try:
            pdf = self.pdf()
            # PDFium finds a page by reading the dictionaries of those before it, and does so again whenever the
            # document is opened again: in a file of scans that would fetch every picture again too.
            with self._file.keeping():
                pdf.get_page_size(number - 1)
            page = pdf[number - 1]
        except (pypdfium2.PdfiumError, IndexError):
            return ["", "unreadable"]
        try:
            words = page.get_textpage()
            try:
                text = _tidy(_in_order(words) or words.get_text_range())
            finally:
                words.close()
            count = len("".join(text[: _STAMP * 8].split()))
            return [text, "" if count >= _STAMP else _shown(page, count)]
        except pypdfium2.PdfiumError:
            return ["", "unreadable"]
        finally:
            page.close()

    def window(self, first: int, last: int, most: int) -> tuple[int, bytes]:
        """Pages from `first` on as a PDF of at most `most` bytes: how many of them, none if one alone is larger."""
        count, most_pages = last - first + 1, last - first + 1
        fitting: tuple[int, bytes] = (0, b"")
        while fitting[0] < count <= most_pages:
            pdf = self._cut(first, count)
            if pdf and len(pdf) <= most:
                fitting = (count, _timeless(pdf))
                count += 1  # pages differ in size: perhaps one more
            else:
                most_pages = count - 1
                guess = count * most // len(pdf) if pdf else 0
                count = max(min(guess, most_pages), fitting[0] + 1, 1)
        return fitting

    def _cut(self, first: int, count: int) -> bytes:
        """Pages as a PDF of their own; nothing if one of them cannot be copied."""
        import pypdfium2

        out = io.BytesIO()
        new = pypdfium2.PdfDocument.new()
        try:
            new.import_pages(self.pdf(), list(range(first - 1, first - 1 + count)))
            new.save(out)
        except pypdfium2.PdfiumError:
            return b""
        finally:
            new.close()
        return out.getvalue()

    def picture(self, number: int, most: int) -> bytes:
        """A page as a grey PNG of at most `most` bytes; as fine as fits, 200 dots an inch at best."""
        page = self.pdf()[number - 1]
        try:
            width, height = page.get_size()
            scale = min(_DPI / 72, (self._pixels / max(width * height, 1)) ** 0.5, 20_000 / max(width, height, 1))
            while True:
                bitmap = page.render(scale=scale, grayscale=True)
                try:
                    png = _png(bitmap)
                finally:
                    bitmap.close()
                if len(png) <= most:
                    return png
                scale *= max(0.5, min(0.9, (most / len(png)) ** 0.5))
        finally:
            page.close()


def _give_back() -> None:
    """Return freed memory to the system, where its C library can: PDFium's many small pieces would keep the rest."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _timeless(pdf: bytes) -> bytes:
    """Without the moment of its making and the random name that PDFium gives it: the same pages, the same bytes."""
    return _NAME.sub(_zeros, _MADE.sub(_zeros, pdf, count=1))


_MADE = re.compile(rb"(?<=<</CreationDate\(D:)\d{14}[^)]{0,8}(?=\)/Creator\(PDFium\))")
_NAME = re.compile(rb"(?<=/ID\[<)[0-9A-F]{32}><[0-9A-F]{32}(?=>\]>>\s{1,4}startxref\s{1,4}\d{1,12}\s{1,4}%%EOF)")


def _zeros(found: re.Match[bytes]) -> bytes:
    return re.sub(rb"[0-9A-F]", b"0", found[0])


def _tidy(text: str) -> str:
    """PDFium's text as people write it: its line ends, its mark for a hyphen at a line's end, its ligatures."""
    text = _HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).translate(_LIGATURES)
    return _BAD.sub("\ufffd", text)


_HYPHEN = re.compile("[\x02\ufffe\u00ad]\n?")
_BAD = re.compile("[\x00\ud800-\udfff]")
_LIGATURES = {0xFB00 + n: text for n, text in enumerate(["ff", "fi", "fl", "ffi", "ffl", "st", "st"])}


def _shown(page: Any, count: int) -> str:
    """`picture` if the page shows what its few characters do not say: any drawing on a page without characters,
    pictures over half of a page with a few, over nearly all of one with some more."""
    import pypdfium2.raw as pdfium

    width, height = page.get_size()
    covered = within = 0.0
    for number, thing in enumerate(page.get_objects(max_depth=4)):
        if number > _OBJECTS:
            break
        if thing.type == pdfium.FPDF_PAGEOBJ_FORM and not thing.level:
            within = _area(thing)  # what is in it is measured by its own rule
        if count and thing.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            covered += within if thing.level else _area(thing)
            within = 0.0 if thing.level else within
        elif not count and thing.type != pdfium.FPDF_PAGEOBJ_FORM:
            return "picture"  # a text object, too: letters that stand for no characters
    return "picture" if covered > (0.5 if count < _FEW else 0.8) * width * height else ""


def _area(thing: Any) -> float:
    left, bottom, right, top = thing.get_bounds()
    return float((right - left) * (top - bottom))


class Line:
    """A piece of a line: its place on the page, and once that is looked at, its words."""

    def __init__(self, left: float, bottom: float, right: float, top: float) -> None:
        self.left, self.bottom, self.right, self.top = left, bottom, right, top
        self.letters: list[str] = []

    @property
    def width(self) -> float:
        return self.right - self.left

    def over(self, other: Line) -> bool:
        """Whether this stands higher, by more than what is raised within a line."""
        return self.bottom + self.top > other.bottom + other.top + (other.top - other.bottom)

    def joined(self, other: Line) -> bool:
        """Take in what stands on the same line, right behind this."""
        middle = (other.bottom + other.top) / 2
        beside = self.bottom < middle < self.top and -1 < other.left - self.right < self.top - self.bottom
        if beside:
            self.right = other.right
            self.bottom, self.top = min(self.bottom, other.bottom), max(self.top, other.top)
        return beside


def _in_order(words: Any) -> str:
    """The text of a page whose program wrote its lines in another order than people read them: across its columns, or
    from the bottom. Nothing for any other page, above all for one with a table: PDFium's order is right there."""
    count = words.count_rects()
    if not _LINES <= count <= _PIECES or words.count_chars() > _LETTERS:
        return ""
    lines = list[Line]()
    for number in range(count):
        piece = Line(*words.get_rect(number))
        if not (lines and lines[-1].joined(piece)):
            lines.append(piece)
    columns = _columns(lines)
    if not columns and sum(b.over(a) for a, b in pairwise(lines)) < len(lines) // 2:
        return ""
    return "\n".join("".join(line.letters) for line in _read(_lettered(words), columns))


def _lettered(words: Any) -> list[Line]:
    """The lines once more, letter by letter: two lines may overlap, so that a place does not say whose a letter is."""
    import pypdfium2.raw as pdfium

    lines, blank = list[Line](), False
    for number in range(words.count_chars()):
        letter = chr(min(pdfium.FPDFText_GetUnicode(words, number), 0x10FFFF))
        if letter.isspace():
            blank = True
            continue
        piece = Line(*words.get_charbox(number, loose=True))
        if not (lines and lines[-1].joined(piece)):
            lines.append(piece)
            blank = False
        lines[-1].letters += [" ", letter] if blank else [letter]
        blank = False
    return lines


def _columns(lines: list[Line]) -> list[tuple[float, float]]:
    """Left and right edges of columns of prose that the lines go to and fro between; none where there are none."""
    first, last = min(x.left for x in lines), max(x.right for x in lines)
    step = max(last - first, 1) / _STRIPES
    over = [0] * (_STRIPES + 1)
    for line in lines:
        for stripe in range(int((line.left - first) / step), min(int((line.right - first) / step), _STRIPES) + 1):
            over[stripe] += 1
    columns = list[tuple[float, float]]()
    begin = -1
    for stripe, many in enumerate([*(many > max(1, len(lines) // 12) for many in over), False]):
        if many and begin < 0:
            begin = stripe
        elif not many and begin >= 0:
            columns.append((first + begin * step, first + stripe * step))
            begin = -1
    within = [[x for x in lines if a - step <= x.left and x.right <= b + step] for a, b in columns]
    prose = all(
        len(x) >= _LINES // 2 and b - a > (last - first) / 5 and _full(x)
        for x, (a, b) in zip(within, columns, strict=True)
    )
    crossed = sum(b.left > a.right and b.top > a.bottom and b.bottom < a.top for a, b in pairwise(lines))
    return columns if prose and crossed >= _LINES // 2 else []


def _full(lines: list[Line]) -> bool:
    """Whether most lines reach from edge to edge, as those of prose do and those of a table do not."""
    widest = max(line.width for line in lines)
    return sum(line.width > 0.75 * widest for line in lines) > 0.6 * len(lines)


def _read(lines: list[Line], columns: list[tuple[float, float]]) -> list[Line]:
    """From the top, column by column between those lines that lie across them."""
    ordered, waiting = list[Line](), list[Line]()

    def column(line: Line) -> int:
        return next((n for n, (_, right) in enumerate(columns) if line.left < right), len(columns))

    def across(line: Line) -> bool:
        return sum(line.left < right and line.right > left for left, right in columns) > 1

    for line in sorted(lines, key=lambda x: (-round(x.top), x.left)):
        if across(line):
            ordered += sorted(waiting, key=column)
            waiting = []
            ordered.append(line)
        else:
            waiting.append(line)
    return ordered + sorted(waiting, key=column)


def _png(bitmap: Any) -> bytes:
    """A grey bitmap as PNG, in sixteen shades: what makes a scan large is noise in the last bits."""
    buffer = memoryview(ctypes.string_at(bitmap.buffer, bitmap.stride * bitmap.height))
    packer = zlib.compressobj(6)
    rows = []
    for row in range(bitmap.height):
        line = bytes(buffer[row * bitmap.stride : row * bitmap.stride + bitmap.width]).translate(_SHADES)
        rows.append(packer.compress(b"\0" + line))
    rows.append(packer.flush())
    head = struct.pack(">IIBBBBB", bitmap.width, bitmap.height, 8, 0, 0, 0, 0)
    pieces = ((b"IHDR", head), (b"IDAT", b"".join(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in pieces
    )


_SHADES = bytes(min(255, (value + 8) // 17 * 17) for value in range(256))
