"""Small files of every kind, made here byte by byte, so that a test can say exactly what is in them."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def zipped(entries: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with these entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def content_types(main: str) -> str:
    return (
        f'<?xml version="1.0"?><Types xmlns="{PACKAGE}/content-types"><Override PartName="/x" '
        f'ContentType="application/vnd.openxmlformats-officedocument.{main}.main+xml"/></Types>'
    )


def rels(*related: tuple[str, str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="{identity}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for identity, kind, target in related
    )
    return f'<?xml version="1.0"?><Relationships xmlns="{PACKAGE}/relationships">{rows}</Relationships>'


def docx_xml(body: str, root: str = "document") -> str:
    inner = f"<w:body>{body}</w:body>" if root == "document" else body
    return f'<?xml version="1.0" encoding="UTF-8"?><w:{root} xmlns:w="{W}">{inner}</w:{root}>'


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def table(*rows: Sequence[str]) -> str:
    cells = "".join("<w:tr>" + "".join(f"<w:tc>{paragraph(c)}</w:tc>" for c in row) + "</w:tr>" for row in rows)
    return f"<w:tbl>{cells}</w:tbl>"


def docx(body: str, **beside: str) -> bytes:
    """A Word document with this body; `footnotes`, `comments`, `header` ... by name."""
    styles = docx_xml(
        '<w:style w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Heading2"><w:name w:val="heading 2"/></w:style>'
        '<w:style w:styleId="Mine"><w:name w:val="Mine"/><w:basedOn w:val="Heading2"/></w:style>',
        "styles",
    )
    names = {kind: f"{kind}1.xml" for kind in beside}
    related = [("rs", "styles", "styles.xml"), *((f"r{kind}", kind, name) for kind, name in names.items())]
    return zipped(
        {
            "[Content_Types].xml": content_types("wordprocessingml.document"),
            "_rels/.rels": rels(("r1", "officeDocument", "word/document.xml")),
            "word/document.xml": docx_xml(body),
            "word/_rels/document.xml.rels": rels(*related),
            "word/styles.xml": styles,
            **{f"word/{names[kind]}": docx_xml(content, "notes") for kind, content in beside.items()},
        }
    )


def xlsx(sheets: dict[str, str], strings: str = "", prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A workbook: of each sheet the rows' XML, and the shared strings' `<si>` items. Cell style 1 is a date, 2 a
    date with time."""
    numbered = list(enumerate(sheets.items(), 1))
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, (name, _) in numbered)
    entries: dict[str, str | bytes] = {
        "[Content_Types].xml": content_types("spreadsheetml.sheet"),
        "_rels/.rels": rels(("r1", "officeDocument", "/xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": rels(
            *((f"r{n}", "worksheet", f"worksheets/sheet{n}.xml") for n, _ in numbered),
            ("rs", "sharedStrings", "sharedStrings.xml"),
            ("rt", "styles", "styles.xml"),
        ),
        "xl/styles.xml": '<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd hh:mm"/></numFmts>'
        '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs></styleSheet>',
    }
    for n, (_, rows) in numbered:
        entries[f"xl/worksheets/sheet{n}.xml"] = f"<worksheet><sheetData>{rows}</sheetData></worksheet>"
    if strings:
        p = f"{prefix}:" if prefix else ""
        entries["xl/sharedStrings.xml"] = f'<?xml version="1.0" encoding="UTF-8"?><{p}sst>{strings}</{p}sst>'
    return zipped(entries, method)


def pptx(slides: Sequence[tuple[str, str]]) -> bytes:
    """A presentation of (text, notes); the files' numbers run against the order of showing."""
    count = len(slides)
    entries: dict[str, str | bytes] = {
        "[Content_Types].xml": content_types("presentationml.presentation"),
        "_rels/.rels": rels(("r1", "officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f'<p:presentation xmlns:p="p" xmlns:r="{OFFICE}"><p:sldIdLst>'
        + "".join(f'<p:sldId id="{256 + n}" r:id="r{n}"/>' for n in range(count))
        + "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": rels(
            *((f"r{n}", "slide", f"slides/slide{count - n}.xml") for n in range(count))
        ),
    }
    for n, (text, notes) in enumerate(slides):
        name = count - n
        entries[f"ppt/slides/slide{name}.xml"] = _shape(text)
        if notes:
            entries[f"ppt/slides/_rels/slide{name}.xml.rels"] = rels(("n", "notesSlide", f"../notesSlides/n{name}.xml"))
            entries[f"ppt/notesSlides/n{name}.xml"] = _shape(notes, '<a:fld type="slidenum"><a:t>7</a:t></a:fld>')
    return zipped(entries)


def _shape(text: str, extra: str = "") -> str:
    paragraphs = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r>{extra}</a:p>" for line in text.split("\n"))
    return f'<p:sld xmlns:p="p" xmlns:a="a"><p:sp><p:txBody>{paragraphs}</p:txBody></p:sp></p:sld>'


def notebook(*cells: tuple[str, str]) -> bytes:
    """A Jupyter notebook of (source, printed)."""
    return json.dumps(
        {
            "nbformat": 4,
            "cells": [
                {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": [{"text": [printed]}]}
                for source, printed in cells
            ],
        }
    ).encode()


BLANK, SCAN, DRAWING = "<blank>", "<scan>", "<drawing>"


def pdf(pages: Sequence[str | bytes], encrypted: bool = False) -> bytes:
    """A PDF: a page of text for a str, an empty page for BLANK, a scanned one for SCAN, one with lines for DRAWING,
    and for bytes a page that shows them as a grey picture, 1000 pixels wide."""
    objects: list[bytes] = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    kids = []
    for page in pages:
        image = b""
        if isinstance(page, bytes):
            image, height = page, len(page) // 1000
        elif page == SCAN:
            image, height = bytes(range(256)) * 40, 10
        else:
            height = 0
        content = _page_content(page)
        objects.append(_stream(content))
        number = len(objects)
        resources = b"/Font<</F 3 0 R>>"
        if image:
            width = len(image) // height
            header = (
                f"/Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/DeviceGray/BitsPerComponent 8"
            )
            objects.append(_stream(image, header.encode()))
            resources += b"/XObject<</I %d 0 R>>" % len(objects)
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<<%s>>>>" % (number, resources)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids))
    extra = b""
    if encrypted:
        objects.append(b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -4>>" % (b"41" * 32, b"42" * 32))
        extra = b"/Encrypt %d 0 R/ID[<43><43>]" % len(objects)
    return document(objects, extra)


def drawn_pdf(content: bytes, form: bytes = b"") -> bytes:
    """A PDF of one page of 612 x 792 with this content; `/F` is its font, `/I` its picture, `/X` a form of a page's
    size with this content."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources 5 0 R>>",
        _stream(content),
        b"<</Font<</F 6 0 R>>/XObject<</I 7 0 R/X 8 0 R>>>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        _stream(bytes(256), b"/Type/XObject/Subtype/Image/Width 16/Height 16/ColorSpace/DeviceGray/BitsPerComponent 8"),
        _stream(form, b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<</XObject<</I 7 0 R>>>>"),
    ]
    return document(objects, b"")


def words_at(*placed: tuple[float, float, str]) -> bytes:
    """The content of a page: words, each at its place from the left and the bottom, in the order given."""
    return b"".join(f"BT /F 9 Tf {x} {y} Td ({text}) Tj ET\n".encode() for x, y, text in placed)


def _page_content(page: str | bytes) -> bytes:
    if isinstance(page, bytes) or page == SCAN:
        return b"q 612 0 0 792 0 0 cm /I Do Q"
    if page == BLANK:
        return b""
    if page == DRAWING:
        return b"100 100 m 200 200 l S 50 50 80 80 re f"
    lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in page.split("\n")]
    shown = " T* ".join(f"({line}) Tj" for line in lines)
    return f"BT /F 9 Tf 11 TL 36 760 Td {shown} ET".encode("cp1252")


def _stream(content: bytes, header: bytes = b"") -> bytes:
    packed = zlib.compress(content)
    return b"<<%s/Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (header, len(packed), packed)


def document(objects: Sequence[bytes], extra: bytes) -> bytes:
    """A PDF of these objects, the first its catalog; `extra` goes into the trailer."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, extra, start)
    return bytes(out)
