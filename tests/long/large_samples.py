"""A sizable file of every format that is read, written piece by piece."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.unit import document_samples as documents
from tests.unit import reader_samples as make

MB = 1_000_000
_WORDS = [f"{a}{b}{c}" for a in ("mill", "bridge", "otter", "lamp") for b in ("er", "ing", "é", "日") for c in "stnm"]


def words(seed: int, count: int) -> str:
    """So many words, the same for the same seed."""
    return " ".join(random.Random(seed).choices(_WORDS, k=count))


def _lines(size: int, line: Callable[[int], str]) -> Iterator[bytes]:
    written = number = 0
    while written < size:
        piece = "".join(line(n) for n in range(number, number + 500)).encode()
        number, written = number + 500, written + len(piece)
        yield piece


def text(size: int, line: Callable[[int], str]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(_lines(size, line))

    return write


def _prose(number: int) -> str:
    return f"{number} {words(number, 12)}.\n"


def _archive(entries: dict[str, str | bytes], main: str, pieces: Iterator[bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
            with archive.open(main, "w") as entry:
                for piece in pieces:
                    entry.write(piece)

    return write


def _between(first: str, pieces: Iterator[bytes], last: str) -> Iterator[bytes]:
    yield first.encode()
    yield from pieces
    yield last.encode()


def _unzipped(content: bytes) -> dict[str, str | bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _docx(path: Path) -> None:
    entries = _unzipped(make.docx(""))
    del entries["word/document.xml"]
    first, last = make.docx_xml("\0").split("\0")
    body = _lines(
        120 * MB, lambda n: make.paragraph(f"Part {n}", "Heading1") if n % 99 == 0 else make.paragraph(_prose(n))
    )
    _archive(entries, "word/document.xml", _between(first, body, last))(path)


def _xlsx(path: Path) -> None:
    """As Excel writes it: half a million different strings, first used in their order."""
    count = 500_000
    entries = _unzipped(make.xlsx({"One": ""}, "<si/>"))
    del entries["xl/sharedStrings.xml"]
    rows = "".join(
        f'<row r="{n + 1}"><c r="A{n + 1}" t="s"><v>{n}</v></c><c r="B{n + 1}"><v>{n * 7}.5</v></c></row>'
        for n in range(count)
    )
    entries["xl/worksheets/sheet1.xml"] = f"<worksheet><sheetData>{rows}</sheetData></worksheet>"
    strings = (f"<si><t>{n} {words(n, 12)}</t></si>".encode() for n in range(count))
    _archive(entries, "xl/sharedStrings.xml", _between("<sst>", strings, "</sst>"))(path)


def _pptx(path: Path) -> None:
    path.write_bytes(make.pptx([(f"Slide {n}\n{words(n, 3000)}", words(-n, 500)) for n in range(1000)]))


def _open_document(kind: str, piece: Callable[[int], str], size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        entries = _unzipped(documents.open_document(kind, "\0"))
        first, last = str(entries.pop("content.xml"), "utf-8").split("\0")
        _archive(entries, "content.xml", _between(first, _lines(size, piece), last))(path)

    return write


def _rows(number: int) -> str:
    row = "".join(f"<table:table-cell>{documents.p(f'{number} {word}')}</table:table-cell>" for word in _WORDS[:8])
    opens = f'<table:table table:name="S{number}">' if number % 50_000 == 0 else ""
    return f"{opens}<table:table-row>{row}</table:table-row>" + ("</table:table>" if number % 50_000 == 49_999 else "")


def _ods(path: Path) -> None:
    rows = "".join(_rows(number) for number in range(250_000))
    path.write_bytes(documents.open_document("spreadsheet", rows))


def _epub(path: Path) -> None:
    path.write_bytes(
        documents.epub({f"c{n}.xhtml": f"<h1>Chapter {n}</h1><p>{words(n, 9000)}</p>" for n in range(1500)})
    )


def _rtf(path: Path) -> None:
    picture = random.Random(1).randbytes(40_000).hex()
    body = _lines(
        30 * MB,
        lambda n: (
            rf"{{\pard\outlinelevel0\b Part {n}\par}}{{\pict\pngblip {picture}}}" + "\n"
            if n % 500 == 0
            else rf"{{\pard\plain\f0\fs24 {words(n, 12).encode('ascii', 'replace').decode()} \u8364?\par}}" + "\n"
        ),
    )
    with path.open("wb") as file:
        file.writelines(_between(r"{\rtf1\ansi ", body, "}"))


def _pdf(path: Path) -> None:
    pages: list[str | bytes] = ["\n".join(f"{n} {line} words on a page" for line in range(60)) for n in range(600)]
    noise = random.Random(2)
    pages[5::30] = [noise.randbytes(1000 * 700) for _ in pages[5::30]]
    path.write_bytes(make.pdf(pages))


def _workbook(writer: Callable[[list[list[str | float]]], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(writer([[f"{n} {words(n, 4)}", n * 0.5, n] for n in range(40_000)]))

    return write


def _mail(path: Path) -> None:
    """A letter with one large attachment, and a mailbox of many such."""
    with path.open("wb") as file:
        for message in range(1 if path.suffix == ".eml" else 40):
            if path.suffix == ".mbox":
                file.write(b"From ada@example.com Fri Jan  2 03:04:05 2026\n")
            head = f"From: a@example.com\nTo: b@example.com\nSubject: {message}\nMIME-Version: 1.0\n"
            file.write((head + "Content-Type: multipart/mixed; boundary=X\n\n").encode())
            file.write(b"--X\nContent-Type: text/plain; charset=utf-8\n\n")
            file.writelines(_lines(MB, _prose))
            file.write(b"--X\nContent-Type: text/plain; name=log.txt\nContent-Disposition: attachment\n\n")
            file.writelines(_lines(60 * MB if path.suffix == ".eml" else MB, _prose))
            file.write(b"--X--\n\n")


def _picture(kind: str, frames: int = 1) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        from PIL import Image

        side = 3000 if kind == "GIF" else 4000
        noise = Image.frombytes("L", (side // 8, side // 8), random.Random(3).randbytes((side // 8) ** 2))
        picture = noise.resize((side, side)).convert("RGB")
        more = {"save_all": True, "append_images": [picture] * (frames - 1)} if frames > 1 else {}
        picture.save(path, kind, **more)

    return write


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(60):
            archive.writestr(f"notes/{number}.txt", "".join(_prose(n) for n in range(number, number + 9000)))


def _packed(kind: Callable[..., gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile], size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with kind(path, "wb") as file:
            file.writelines(_lines(size, _prose))

    return write


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number in range(60):
            content = "".join(_prose(n) for n in range(number, number + 9000)).encode()
            header = tarfile.TarInfo(f"notes/{number}.txt")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def _notebook(path: Path) -> None:
    cells = [{"cell_type": "code", "source": [_prose(n)], "outputs": [{"text": [_prose(-n)]}]} for n in range(26_000)]
    path.write_text(json.dumps({"cells": cells}))


def _card(number: int) -> str:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Person {number}\r\nNOTE:{words(number, 20)}\r\nEND:VCARD\r\n"


LARGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "text": ("txt", text(60 * MB, _prose)),
    "markdown": ("md", text(30 * MB, lambda n: f"# Part {n}\n\n" if n % 40 == 0 else _prose(n))),
    "csv": ("csv", text(30 * MB, lambda n: f'{n},"{words(n, 9)}",{n * 3}\n')),
    "tabs": ("gsheet-tabs", text(30 * MB, lambda n: json.dumps([n + 1, words(n, 9), str(n * 3)]) + "\n")),
    "json": ("json", text(30 * MB, lambda n: json.dumps({"n": n, "said": words(n, 9)}) + "\n")),
    "yaml": ("yaml", text(30 * MB, lambda n: f"- said: {words(n, 9)}\n")),
    "xml": ("xml", text(30 * MB, lambda n: f"<said n='{n}'>{words(n, 9)}</said>\n")),
    "code": ("py", text(30 * MB, lambda n: f"print({words(n, 9)!r})\n")),
    "log": ("log", text(30 * MB, lambda n: f"2026-01-02 {words(n, 9)}\n")),
    "prose": ("tex", text(30 * MB, _prose)),
    "subtitles": ("srt", text(30 * MB, lambda n: f"{n}\n00:00:01,000 --> 00:00:02,000\n{words(n, 9)}\n\n")),
    "card": ("vcf", text(30 * MB, _card)),
    "html": ("html", text(30 * MB, lambda n: f"<h2>Part {n}</h2>" if n % 40 == 0 else f"<p>{_prose(n)}</p>")),
    "notebook": ("ipynb", _notebook),
    "docx": ("docx", _docx),
    "xlsx": ("xlsx", _xlsx),
    "pptx": ("pptx", _pptx),
    "pdf": ("pdf", _pdf),
    "odt": ("odt", _open_document("text", lambda n: documents.h(f"Part {n}") + documents.p(_prose(n)), 90 * MB)),
    "ods": ("ods", _ods),
    "odp": ("odp", _open_document("presentation", lambda n: documents.slide(words(n, 90), words(-n, 20)), 40 * MB)),
    "epub": ("epub", _epub),
    "rtf": ("rtf", _rtf),
    "svg": ("svg", text(30 * MB, lambda n: f"<text x='{n}'>{words(n, 9)}</text>\n" if n else "<svg>")),
    "xls": ("xls", _workbook(documents.xls)),
    "xlsb": ("xlsb", _workbook(documents.xlsb)),
    "mail": ("eml", _mail),
    "mailbox": ("mbox", _mail),
    "png": ("png", _picture("PNG")),
    "jpeg": ("jpg", _picture("JPEG")),
    "gif": ("gif", _picture("GIF")),
    "bmp": ("bmp", _picture("BMP")),
    "webp": ("webp", _picture("WEBP")),
    "tiff": ("tiff", _picture("TIFF", 2)),
    "zip": ("zip", _zip),
    "tar": ("tar", _tar),
    "gzip": ("gz", _packed(gzip.GzipFile, 60 * MB)),
    "bzip2": ("bz2", _packed(bz2.BZ2File, 20 * MB)),
    "xz": ("xz", _packed(lzma.LZMAFile, 20 * MB)),
}
