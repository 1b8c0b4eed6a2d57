"""Small OpenDocument files, books, rich texts and workbooks, made here byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.unit.reader_samples import zipped

_NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "draw", "presentation", "style", "svg")
)
_NAMES += ' xmlns:dc="http://purl.org/dc/elements/1.1/"'


def open_document(kind: str, body: str, **entries: str) -> bytes:
    """An OpenDocument file: `text`, `spreadsheet` or `presentation`, and what stands in its body."""
    content = f'<?xml version="1.0"?><office:document-content {_NAMES}><office:body><office:{kind}>{body}'
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"{content}</office:{kind}></office:body></office:document-content>",
            **{name.replace("_", "."): text for name, text in entries.items()},
        }
    )


def margins(header: str, footer: str) -> str:
    """A `styles.xml` with a header and a footer."""
    return (
        f'<?xml version="1.0"?><office:document-styles {_NAMES}><office:master-styles><style:master-page>'
        f"<style:header>{header}</style:header><style:footer>{footer}</style:footer>"
        "</style:master-page></office:master-styles></office:document-styles>"
    )


def p(text: str) -> str:
    return f"<text:p>{text}</text:p>"


def h(text: str, level: int = 1) -> str:
    return f'<text:h text:outline-level="{level}">{text}</text:h>'


def sheet(name: str, *rows: Sequence[str]) -> str:
    """A sheet of cells that show these texts."""
    lines = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell>{p(c)}</table:table-cell>" for c in row)
        + "</table:table-row>"
        for row in rows
    )
    return f'<table:table table:name="{name}">{lines}</table:table>'


def slide(text: str, notes: str = "") -> str:
    beside = (
        f"<presentation:notes><draw:frame><draw:text-box>{p(notes)}</draw:text-box></draw:frame></presentation:notes>"
    )
    lines = "".join(p(line) for line in text.split("\n"))
    shape = f"<draw:frame><draw:text-box>{lines}</draw:text-box></draw:frame>"
    return f"<draw:page>{shape}{beside if notes else ''}</draw:page>"


def epub(chapters: dict[str, str], contents: dict[str, str] | None = None, **entries: str) -> bytes:
    """A book of XHTML bodies by file name, in the order of reading, and the titles that its contents give them."""
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    ncx = ""
    if contents:
        items += '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
        points = "".join(
            f'<navPoint><navLabel><text>{title}</text></navLabel><content src="{name}"/></navPoint>'
            for name, title in contents.items()
        )
        doctype = '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://x/ncx.dtd">'
        ncx = f"{doctype}<ncx><navMap>{points}</navMap></ncx>"
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfile full-path="OPS/book.opf"/></container>',
            "OPS/book.opf": f"<package><manifest>{items}</manifest><spine>{order}</spine></package>",
            **({"OPS/toc.ncx": ncx} if ncx else {}),
            **{
                f"OPS/{name.replace('%20', ' ')}": '<?xml version="1.0"?><!DOCTYPE html>'
                f"<html xmlns='http://www.w3.org/1999/xhtml'><head><title>{name}</title></head><body>{body}</body></html>"
                for name, body in chapters.items()
            },
            **{name.replace("__", "/").replace("_", "."): text for name, text in entries.items()},
        }
    )


def xlsb(rows: Sequence[Sequence[str | float]]) -> bytes:
    """A binary workbook of one sheet named Bin."""
    cells = b"".join(
        _record(0, struct.pack("<IIHBBBI", number, 0, 0, 0, 0, 0, 0))
        + b"".join(_cell(column, value) for column, value in enumerate(row))
        for number, row in enumerate(rows)
    )
    size = struct.pack("<IIII", 0, max(len(rows) - 1, 0), 0, max(map(len, rows)) - 1)
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "application/vnd.ms-excel.sheet.binary.macroEnabled.main"
    package = "http://schemas.openxmlformats.org/package/2006"
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default ContentType="{main}"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            f'Type="{relations}/officeDocument" Target="xl/workbook.bin"/></Relationships>',
            "xl/_rels/workbook.bin.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
            f'Type="{relations}/worksheet" Target="worksheets/sheet1.bin"/></Relationships>',
            "xl/workbook.bin": _record(0x83, b"")
            + _record(0x8F, b"")
            + _record(0x9C, struct.pack("<II", 0, 1) + _wide("rId1") + _wide("Bin"))
            + _record(0x90, b"")
            + _record(0x84, b""),
            "xl/worksheets/sheet1.bin": _record(0x81, b"")
            + _record(0x94, size)
            + _record(0x91, b"")
            + cells
            + _record(0x92, b"")
            + _record(0x82, b""),
        }
    )


def xls(rows: Sequence[Sequence[str | float]]) -> bytes:
    """An old workbook of one sheet named Old, in its old container; at most seven megabytes of it."""
    start, name = _biff(0x0809, struct.pack("<HHHHII", 0x0600, 5, 0, 0, 0, 0)), b"Old"
    end = _biff(0x000A, b"")
    globals_size = len(start) + 4 + 8 + len(name) + len(end)
    sheets = _biff(0x0085, struct.pack("<IBBBB", globals_size, 0, 0, len(name), 0) + name)
    size = struct.pack("<IIHHH", 0, len(rows), 0, max(map(len, rows)), 0)
    cells = b"".join(
        _biff(0x0204, struct.pack("<HHHHB", number, column, 0, len(value), 1) + value.encode("utf-16-le"))
        if isinstance(value, str)
        else _biff(0x0203, struct.pack("<HHHd", number, column, 0, value))
        for number, row in enumerate(rows)
        for column, value in enumerate(row)
    )
    sheet = _biff(0x0809, struct.pack("<HHHHII", 0x0600, 0x10, 0, 0, 0, 0)) + _biff(0x0200, size) + cells + end
    return compound(("Workbook", start + sheets + end + sheet))


def _biff(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def compound(*streams: tuple[str, bytes]) -> bytes:
    """An old Office container with these streams: a file system of 512-byte sectors."""
    pages = [content.ljust(max(4096, -(-len(content) // 512) * 512), b"\0") for _, content in streams]
    sectors = sum(len(page) // 512 for page in pages) + 1
    tables = -(-sectors // 127)
    chain = [0xFFFFFFFD] * tables + [0xFFFFFFFE]
    directory = _entry("Root Entry", 5, 0xFFFFFFFE, 0, 1)
    for number, ((name, content), page) in enumerate(zip(streams, pages, strict=True), 1):
        after = number + 1 if number < len(streams) else 0xFFFFFFFF
        directory += _entry(name, 2, len(chain), max(len(content), 4096), 0xFFFFFFFF, after)
        chain += [*range(len(chain) + 1, len(chain) + len(page) // 512), 0xFFFFFFFE]
    table = struct.pack(f"<{len(chain)}I", *chain).ljust(tables * 512, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6) + bytes(10)
    header += struct.pack("<IIIIIIII", tables, tables, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack(f"<{tables}I", *range(tables)).ljust(436, b"\xff")
    return header + table + directory.ljust(512, b"\0") + b"".join(pages)


def _entry(name: str, kind: int, start: int, size: int, child: int, after: int = 0xFFFFFFFF) -> bytes:
    head = name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<HBB", 2 * len(name) + 2, kind, 1)
    return head + struct.pack("<III", 0xFFFFFFFF, after, child) + bytes(36) + struct.pack("<II", start, size) + bytes(4)


def _cell(column: int, value: str | float) -> bytes:
    place = struct.pack("<II", column, 0)
    if isinstance(value, str):
        return _record(6, place + _wide(value))
    return _record(5, place + struct.pack("<d", value))


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _record(kind: int, content: bytes) -> bytes:
    length, size = len(content), bytearray()
    while True:
        size.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            break
    name = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    return name + bytes(size) + content


def samples() -> dict[str, bytes]:
    """Files long enough to be read over several lives."""
    words = "Some words, and more of them. "
    body = "".join(h(f"Part {n}", n % 3 + 1) + p(words * n * 9) for n in range(1, 12))
    table = sheet("T", *([f"a{n}", "b" * n] for n in range(30)))
    note = p(
        "told<text:note text:note-class='footnote'><text:note-body>" + p("beside") + "</text:note-body></text:note>"
    )
    rows = [[f"cell {n}", "x" * (n % 60), f"{n}"] for n in range(400)]
    chapters = {
        f"c{n}.xhtml": f"<h1>Chapter {n}</h1><p>{words * n * 20}</p><h2>End</h2><p>of {n}</p>" for n in range(12)
    }
    rich = "".join(rf"{{\pard\outlinelevel0 Part {n}\par}}{{\pard {words * n * 20}\u8364?\par}}" for n in range(12))
    wide = r"{\fonttbl{\f1\fcharset128 x;}}\f1 " + r"\'82\'a0" * 20_000
    return {
        "text.odt": open_document("text", body + table + note, styles_xml=margins(p("top"), p("bottom"))),
        "table.ods": open_document("spreadsheet", sheet("One", *rows) + sheet("Two", *rows[:90])),
        "show.odp": open_document(
            "presentation", "".join(slide(f"Slide {n}\n{words * n}", f"say {n}") for n in range(9))
        ),
        "book.epub": epub(chapters, {"c3.xhtml": "The third"}),
        "rich.rtf": (r"{\rtf1\ansi{\stylesheet{\s1 heading 1;}}" + rich + r"\pard\s1 Last\par " + wide + "}").encode(),
        "figure.svg": f"<svg><title>T</title>{'<text>some words <tspan x=1>more</tspan></text>' * 900}</svg>".encode(),
        "old.xls": xls([[f"row {n}", n + 0.5, "y" * (n % 50)] for n in range(300)]),
        "old.xlsb": xlsb([[f"row {n}", n + 0.5, "y" * (n % 50)] for n in range(300)]),
    }
