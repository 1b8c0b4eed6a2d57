"""PDFs and pictures made by hand, so that the tests need no library that writes them."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Sequence

import pypdfium2

HAS_OCR = shutil.which("tesseract") is not None


def text_pdf(pages: Sequence[str]) -> bytes:
    """A PDF with one line of text a page."""
    return _pdf([f"BT /F 36 Tf 40 700 Td ({_escaped(text)}) Tj ET".encode() for text in pages])


def scan_pdf(pages: int) -> bytes:
    """Small pages without a text layer. A page's number stands on it in ten stripes, black for a one; `number_on`
    reads it."""
    stripes = [[bit for bit in range(10) if number >> bit & 1] for number in range(1, pages + 1)]
    return _pdf([b"".join(b"%d 0 2 20 re f " % (2 * bit) for bit in page) for page in stripes], box=b"20 20")


def number_on(picture: bytes) -> int:
    """The number on a page of `scan_pdf`, from its picture as a PGM."""
    head, _, pixels = picture.partition(b"255\n")
    width = int(head.split()[1])
    return sum(1 << bit for bit in range(10) if pixels[int((2 * bit + 1) * width / 20)] < 128)


def blank_pdf() -> bytes:
    """A PDF with one page and nothing on it."""
    return _pdf([b""])


def picture_of_text(text: str) -> tuple[bytes, bytes]:
    """The same line of text as a PDF without a text layer, and as a PNG."""
    with pypdfium2.PdfDocument(text_pdf([text])) as document:
        bitmap = document[0].render(scale=2, grayscale=True)
        width, height = bitmap.width, bitmap.height
        raw = bytes(memoryview(bitmap.buffer).cast("B"))
        rows = [raw[y * bitmap.stride : y * bitmap.stride + width] for y in range(height)]
    packed = zlib.compress(b"".join(rows))
    image = (
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8"
        b" /Filter /FlateDecode /Length %d >>\nstream\n" % (width, height, len(packed))
    )
    scan = _pdf([b"q 612 0 0 792 0 0 cm /I Do Q"], image + packed + b"\nendstream")
    return scan, _png(width, height, rows)


def _pdf(contents: Sequence[bytes], image: bytes = b"<< >>", box: bytes = b"612 792") -> bytes:
    kids = b" ".join(b"%d 0 R" % (5 + 2 * index) for index in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d /MediaBox [0 0 %b] >>" % (kids, len(contents), box),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        image,
    ]
    for index, content in enumerate(contents):
        resources = b"<< /Font << /F 3 0 R >> /XObject << /I 4 0 R >> >>"
        objects.append(b"<< /Type /Page /Parent 2 0 R /Resources %b /Contents %d 0 R >>" % (resources, 6 + 2 * index))
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content))
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def _png(width: int, height: int, rows: Sequence[bytes]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
