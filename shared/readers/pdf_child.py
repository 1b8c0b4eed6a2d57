"""The program that PDFium runs in: started by `shared.readers.pdf`, spoken to through its standard input and output.

It has no token, opens no file and no connection: the document's blocks come from the parent. Frames in both
directions are a length, a letter and that many bytes; questions and answers are JSON.

    parent  Q question, B block of the document        child  R wants a block, A answer, P payload, E error

It imports nothing of the project, so that starting it costs only Python and PDFium.
"""

from __future__ import annotations

import ctypes
import io
import json
import re
import resource
import struct
import sys
import zlib
from collections import OrderedDict
from typing import Any, BinaryIO

_FRAME = struct.Struct("<Ic")
_BLOCK = 64 * 1024  # small: the dictionaries of pages lie between their pictures
_BLOCKS = 32
_FEW = 16  # characters: fewer than this on a page that shows a picture are no text layer
_ANSWER = 256 * 1024  # characters of text in one answer
_OBJECTS = 2000  # objects of a page that are looked at
_DPI = 200
_PASSWORD = 4  # FPDF_ERR_PASSWORD


class Pipe:
    """Frames to and from the parent."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._in, self._out = incoming, outgoing

    def receive(self) -> tuple[bytes, bytes]:
        header = self._in.read(_FRAME.size)
        if len(header) < _FRAME.size:
            sys.exit(0)  # the parent is gone
        length, letter = _FRAME.unpack(header)
        return letter, self._in.read(length)

    def send(self, letter: bytes, payload: bytes) -> None:
        self._out.write(_FRAME.pack(len(payload), letter) + payload)
        self._out.flush()


class Remote(io.RawIOBase):
    """The parent's file: a few blocks of it here, the rest on demand."""

    def __init__(self, pipe: Pipe, size: int) -> None:
        self._pipe, self._size, self._at = pipe, size, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.fetched = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")  # ctypes calls its bytes "<B"
        filled = 0
        while filled < len(view) and self._at < self._size:
            number, offset = divmod(self._at, _BLOCK)
            piece = self._block(number)[offset : offset + len(view) - filled]
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._at += len(piece)
        return filled

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            self._pipe.send(b"R", json.dumps([number * _BLOCK, _BLOCK]).encode())
            _, block = self._pipe.receive()
            self.fetched += len(block)
            self._blocks[number] = block
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return block


class Document:
    """One PDF. PDFium keeps every stream that it has parsed: closing and opening again bounds that."""

    def __init__(self, pipe: Pipe, size: int, budget: int, pixels: int) -> None:
        self._file, self._budget, self._pixels = Remote(pipe, size), budget, pixels
        self._pdf: Any = None
        self._before = 0

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
            return self._file.fetched

    def close(self) -> None:
        if self._pdf is not None:
            self._pdf.close()
            self._pdf = None
            _give_back()

    def pages(self, first: int, last: int) -> list[list[Any]]:
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
            page = self.pdf()[number - 1]
        except (pypdfium2.PdfiumError, IndexError):
            return ["", "unreadable"]
        try:
            words = page.get_textpage()
            try:
                text = _tidy(words.get_text_range())
            finally:
                words.close()
            count = len("".join(text[: _FEW * 8].split()))
            return [text, "" if count >= _FEW else _shown(page, bare=count == 0)]
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


def _shown(page: Any, *, bare: bool) -> str:
    """`picture` if the page shows what its few characters do not say: any drawing on a page without characters, a
    picture over most of a page with a few."""
    import pypdfium2.raw as pdfium

    width, height = page.get_size()
    for count, thing in enumerate(page.get_objects(max_depth=4)):
        if count > _OBJECTS:
            break
        if thing.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = thing.get_bounds()
            if bare or (right - left) * (top - bottom) > 0.5 * width * height:
                return "picture"
        elif bare and thing.type in (pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_SHADING):
            return "picture"
        elif bare and thing.type == pdfium.FPDF_PAGEOBJ_TEXT:
            return "picture"  # letters that stand for no characters
    return ""


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


def serve(pipe: Pipe) -> None:
    """Answer questions until the parent closes the pipe."""
    document: Document | None = None
    while True:
        _, raw = pipe.receive()
        question = json.loads(raw)
        _allow(question["seconds"])
        payload = b""
        try:
            if question["ask"] == "open":
                if document is not None:
                    document.close()
                document = Document(pipe, question["size"], question["budget"], question["pixels"])
                answer: Any = len(document.pdf())
            elif document is None:
                raise ValueError("no document is open")
            elif question["ask"] == "pages":
                answer = document.pages(question["first"], question["last"])
            elif question["ask"] == "window":
                answer, payload = document.window(question["first"], question["last"], question["most"])
            elif question["ask"] == "picture":
                answer, payload = 1, document.picture(question["page"], question["most"])
            else:
                document.close()
                answer = 0
        except MemoryError:
            pipe.send(b"E", b"memory")
        except Exception as fault:  # noqa: BLE001 - reported as what it is; the parent decides
            encrypted = getattr(fault, "err_code", None) == _PASSWORD
            pipe.send(b"E", b"encrypted" if encrypted else b"broken")
        else:
            pipe.send(b"A", json.dumps(answer).encode())
            if payload:
                pipe.send(b"P", payload)


def _allow(seconds: float) -> None:
    """So much processor time from now on; a parent that was killed cannot end a child that spins."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1, hard=False)


def _limit(kind: int, value: int, *, hard: bool = True) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    resource.setrlimit(kind, (value, value if hard else most))


def main() -> None:
    """Bound this process, load PDFium, serve."""
    memory = int(sys.argv[1])
    if sys.platform == "linux":  # elsewhere an address space cannot be bounded; the wall clock still is
        _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 32)
    _limit(resource.RLIMIT_CORE, 0)
    serve(Pipe(sys.stdin.buffer, sys.stdout.buffer))


if __name__ == "__main__":
    main()
