"""Large files that take no room: what is written to one is held by reference, and a block that is written a thousand
times is held once.

Every size is about what was asked for. The same size gives the same bytes.
"""

from __future__ import annotations

import base64
import io
import random
import zipfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256

from tests.unit import reader_samples as make

MEGABYTE = 1000**2
_WORDS = ["Fähre", "lantern", "gravel", "静かな町", "copper", "тихий", "north", "kettle", "saddle", "🦆", "violin"]
_BLOCK = 4 * MEGABYTE
_ENDS = (".\n", ".\n\n", "\r\n", ". ")


class Content:
    """A file to write to, from its beginning to its end, and to read anywhere."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._starts: list[int] = []
        self._digest = ""

    def write(self, piece: bytes) -> int:
        """Add bytes, without a copy of them."""
        if piece:
            self._starts.append(self.size)
            self._pieces.append(piece)
            self.size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing waits."""

    def spans(self, first: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """The bytes from `first` up to `stop`, or to the end."""
        stop = self.size if stop is None else stop
        for number in range(max(0, bisect_right(self._starts, first) - 1), len(self._pieces)):
            start = self._starts[number]
            if start >= stop:
                return
            yield memoryview(self._pieces[number])[max(0, first - start) : stop - start]

    @property
    def sha256(self) -> str:
        """Of the whole."""
        if not self._digest:
            whole = sha256()
            for span in self.spans():
                whole.update(span)
            self._digest = whole.hexdigest()
        return self._digest


def text(size: int) -> Content:
    """Prose in several scripts: one block again and again, with new lines between."""
    content, block = Content(), _prose(size)
    while content.size < size:
        content.write(f"Line {content.size} is like no other.\n".encode())
        content.write(block)
    return content


def markdown(size: int) -> Content:
    """The same under headings, as Drive exports a document."""
    content, block = Content(), _prose(min(size, 400_000))
    while content.size < size:
        content.write(f"# Part {content.size}\n\n".encode())
        content.write(block)
    return content


def table(size: int) -> Content:
    """A CSV, with line ends and quotes within its fields."""
    content = Content()
    content.write(b"number,words,share\n")
    dice = random.Random(3)
    rows = "".join(f'{dice.randrange(10**6)},"{_some(dice)}, ""{_some(dice)}\n""",{n}\n' for n in range(2000)).encode()
    while content.size < size:
        content.write(f"{content.size},new,1\n".encode())
        content.write(rows)
    return content


def workbook(size: int) -> Content:
    """An XLSX whose strings do not repeat, numbered in the order of their first use as Excel does it."""
    content = Content()
    count = max(1, size // 145)
    sheets = range(1, 4)
    dice = random.Random(4)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[call-overload]
        for name, entry in _entries(make.xlsx({f"Sheet {n}": "" for n in sheets})):
            if "/worksheets/" not in name:
                archive.writestr(name, entry)
        for n in sheets:
            numbers = range(count * (n - 1) // 3, count * n // 3)
            rows = (f'<row><c t="s"><v>{at}</v></c><c><v>{at * 7}.5</v></c></row>' for at in numbers)
            _entry(archive, f"xl/worksheets/sheet{n}.xml", "<worksheet><sheetData>", rows, "</sheetData></worksheet>")
        strings = (f"<si><t>{n} {base64.b64encode(dice.randbytes(120)).decode()}</t></si>" for n in range(count))
        _entry(archive, "xl/sharedStrings.xml", "<sst>", strings, "</sst>")
    return content


def pdf(size: int) -> Content:
    """Pages of text that show a picture too, and among them scanned pages: some that go into a window together, a few
    that are larger than one."""
    dice = random.Random(5)
    pictures = {height: dice.randbytes(1000 * height) for height in (2000, 700, 4000)}
    content, offsets, pages = Content(), list[int](), list[int]()

    def put(*pieces: bytes) -> int:
        offsets.append(content.size)
        for piece in (b"%d 0 obj\n" % len(offsets), *pieces, b"\nendobj\n"):
            content.write(piece)
        return len(offsets)

    content.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    put(b"<</Type/Catalog/Pages 2 0 R>>")
    offsets.append(0)  # the list of pages, which is known at the end only
    put(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
    while content.size < size or len(pages) < 10:
        number = len(pages)
        height = 4000 if number % 50 == 49 else 700 if number % 10 in (7, 8) or size < 10 * MEGABYTE else 2000
        scanned = number % 50 == 49 or number % 10 in (7, 8)
        shown = b"q 612 0 0 792 0 0 cm /I Do Q" + (b"" if scanned else b" " + _lines(number))
        text = put(b"<</Length %d>>stream\n" % len(shown), shown, b"\nendstream")
        about = b"<</Type/XObject/Subtype/Image/Width 1000/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8" % height
        about += b"/Length %d>>stream\n" % len(pictures[height])
        picture = put(about, pictures[height], b"\nendstream")
        resources = b"<</Font<</F 3 0 R>>/XObject<</I %d 0 R>>>>" % picture
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources%s>>" % (text, resources)
        pages.append(put(page))
    offsets[1] = content.size
    kids = b" ".join(b"%d 0 R" % page for page in pages)
    content.write(b"2 0 obj\n<</Type/Pages/Kids[%s]/Count %d>>\nendobj\n" % (kids, len(pages)))
    start = content.size
    content.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1))
    content.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    content.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(offsets) + 1, start))
    return content


def archive(size: int) -> Content:
    """A ZIP: half of it one text that is not packed, then packed texts, a workbook to be read from its middle, and
    films that nobody reads."""
    content = Content()
    with zipfile.ZipFile(content, "w") as whole:  # type: ignore[call-overload]
        _stored(whole, "letters/all.txt", text(size // 2))
        packed, block = min(size // 20, 100 * MEGABYTE), _prose(size // 5)
        while content.size < size // 2 + packed:
            whole.writestr(f"letters/{content.size}.txt", block, zipfile.ZIP_DEFLATED, 1)
        _stored(whole, "Accounts.xlsx", workbook(min(size // 10, 24 * MEGABYTE)))
        _stored(whole, "films/ferry.mp4", _film(max(1000, size - content.size)))
    return content


def _entries(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _stored(whole: zipfile.ZipFile, name: str, content: Content) -> None:
    with whole.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
        for span in content.spans():
            entry.write(span.obj if len(span) == len(span.obj) else span)  # type: ignore[arg-type]


def _film(size: int) -> Content:
    content = Content()
    content.write(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    noise = random.Random(6).randbytes(min(size, _BLOCK))
    while content.size < size:
        content.write(noise)
    return content


def _entry(archive: zipfile.ZipFile, name: str, first: str, pieces: Iterable[str], last: str) -> None:
    with archive.open(name, "w", force_zip64=True) as entry:
        entry.write(first.encode())
        held: list[str] = []
        for piece in pieces:
            held.append(piece)
            if len(held) == 1000:
                entry.write("".join(held).encode())
                held.clear()
        entry.write(("".join(held) + last).encode())


def _lines(number: int) -> bytes:
    lines = b" T* ".join(b"(%d: line %d of sixty on a page of many) Tj" % (number, line) for line in range(60))
    return b"BT /F 9 Tf 11 TL 36 760 Td %s ET" % lines


def _prose(most: int) -> bytes:
    """A block of at most so many bytes, and of no more than four megabytes."""
    return _block()[:most].decode(errors="ignore").encode()


@cache
def _block() -> bytes:
    dice = random.Random(7)
    pieces: list[str] = []
    size = 0
    while size < _BLOCK:
        pieces.append(_some(dice) + dice.choice(_ENDS))
        size += len(pieces[-1].encode())
    return "".join(pieces).encode()


def _some(dice: random.Random) -> str:
    return " ".join(dice.choices(_WORDS, k=dice.randrange(3, 60)))
