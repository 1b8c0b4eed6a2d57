"""Native files in the formats that text is read from. The stub on disk is the document; the export is made from it.

What is offered is told by `about.get?fields=exportFormats`, and is a part of what Google offers: no format is listed
that this server cannot make.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from infra.local.google.items import GOOGLE

EXPORT_LIMIT = 10 * 1024 * 1024
DOCUMENT = GOOGLE + "document"
SPREADSHEET = GOOGLE + "spreadsheet"
PRESENTATION = GOOGLE + "presentation"
DRAWING = GOOGLE + "drawing"
_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = _OFFICE + "wordprocessingml.document"
XLSX = _OFFICE + "spreadsheetml.sheet"
PPTX = _OFFICE + "presentationml.presentation"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_SHAPES = "http://schemas.openxmlformats.org/drawingml/2006/main"

Export = Callable[[bytes], bytes]


def text_of(stub: bytes) -> str:
    """The stub's text; a byte order mark and broken bytes do no harm."""
    return stub.decode("utf-8-sig", "replace")


def markdown(stub: bytes) -> bytes:
    """A Doc as Markdown: what the stub holds."""
    return text_of(stub).encode()


def plain(stub: bytes) -> bytes:
    """A Doc as plain text, with the byte order mark and the line ends that Google's export has."""
    text = re.sub(r"^#{1,6}\s+|\*\*|__|`", "", text_of(stub), flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return b"\xef\xbb\xbf" + _windows_lines(text).encode()


def web_page(stub: bytes) -> bytes:
    """A Doc as HTML: headings, list items and paragraphs."""
    body = "".join(f"<{tag}>{html.escape(text)}</{tag}>" for tag, text in _blocks(stub))
    return f'<html><head><meta charset="utf-8"></head><body>{body}</body></html>'.encode()


def word(stub: bytes) -> bytes:
    """A Doc as DOCX with its headings."""
    paragraphs = "".join(
        f"<w:p>{_style(tag)}<w:r><w:t xml:space='preserve'>{_xml(text)}</w:t></w:r></w:p>"
        for tag, text in _blocks(stub)
    )
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    parts = {"word/document.xml": f'<w:document xmlns:w="{main}"><w:body>{paragraphs}</w:body></w:document>'}
    return _package(parts, "word/document.xml", {"/word/document.xml": DOCX + ".main+xml"})


def workbook(stub: bytes) -> bytes:
    """A Sheet as XLSX, all sheets."""
    sheets = tabs_of(stub)
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts = {}
    links, names = "", ""
    types = {"/xl/workbook.xml": XLSX + ".main+xml"}
    for number, (name, rows) in enumerate(sheets, 1):
        cells = "".join(f'<row r="{r}">{"".join(map(_cell, row))}</row>' for r, row in enumerate(rows, 1))
        path = f"worksheets/sheet{number}.xml"
        parts[f"xl/{path}"] = f'<worksheet xmlns="{space}"><sheetData>{cells}</sheetData></worksheet>'
        types[f"/xl/{path}"] = _OFFICE + "spreadsheetml.worksheet+xml"
        links += f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" Target="{path}"/>'
        names += f'<sheet name="{_xml(name[:31])}" sheetId="{number}" r:id="rId{number}"/>'
    parts["xl/workbook.xml"] = f'<workbook xmlns="{space}" xmlns:r="{_RELATIONS}"><sheets>{names}</sheets></workbook>'
    parts["xl/_rels/workbook.xml.rels"] = _relations(links)
    return _package(parts, "xl/workbook.xml", types)


def comma_separated(stub: bytes) -> bytes:
    """A Sheet as CSV: the first sheet only, as at Google."""
    return _delimited(stub, ",")


def tab_separated(stub: bytes) -> bytes:
    """A Sheet as TSV: the first sheet only, as at Google."""
    return _delimited(stub, "\t")


def slide_text(stub: bytes) -> bytes:
    """Slides as plain text: title and body of each. Google does not promise the notes, so they are not there."""
    texts = ["\n".join(str(slide[part]) for part in ("title", "body") if slide.get(part)) for slide in _slides(stub)]
    return b"\xef\xbb\xbf" + _windows_lines("\n\n".join(texts) + "\n").encode()


def deck(stub: bytes) -> bytes:
    """Slides as PPTX: each with its title, its body, and its notes page, which repeats the slide's number."""
    slides = _slides(stub)
    links, ids = "", ""
    parts, types = {}, {"/ppt/presentation.xml": PPTX + ".main+xml"}
    for number, slide in enumerate(slides, 1):
        path, notes = f"slides/slide{number}.xml", f"notesSlides/notesSlide{number}.xml"
        types[f"/ppt/{path}"] = _OFFICE + "presentationml.slide+xml"
        parts[f"ppt/{path}"] = _slide("sld", [("title", slide.get("title")), ("body", slide.get("body"))])
        if slide.get("notes"):
            types[f"/ppt/{notes}"] = _OFFICE + "presentationml.notesSlide+xml"
            parts[f"ppt/{notes}"] = _slide("notes", [("body", slide["notes"])], number)
            parts[f"ppt/slides/_rels/slide{number}.xml.rels"] = _relations(
                f'<Relationship Id="rId1" Type="{_RELATIONS}/notesSlide" Target="../{notes}"/>'
            )
        links += f'<Relationship Id="rId{number}" Type="{_RELATIONS}/slide" Target="{path}"/>'
        ids += f'<p:sldId id="{255 + number}" r:id="rId{number}"/>'
    parts["ppt/presentation.xml"] = (
        f'<p:presentation xmlns:p="{_SLIDES}" xmlns:r="{_RELATIONS}"><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>'
    )
    parts["ppt/_rels/presentation.xml.rels"] = _relations(links)
    return _package(parts, "ppt/presentation.xml", types)


def drawing(stub: bytes) -> bytes:
    """A Drawing as SVG: what the stub holds."""
    return stub


EXPORTS: dict[str, dict[str, Export]] = {
    DOCUMENT: {"text/markdown": markdown, "text/plain": plain, "text/html": web_page, DOCX: word},
    SPREADSHEET: {XLSX: workbook, "text/csv": comma_separated, "text/tab-separated-values": tab_separated},
    PRESENTATION: {PPTX: deck, "text/plain": slide_text},
    DRAWING: {"image/svg+xml": drawing},
}
# What files.download makes when nobody says what they want.
DOWNLOADS = {DOCUMENT: DOCX, SPREADSHEET: XLSX, PRESENTATION: PPTX, DRAWING: "image/svg+xml"}


def _blocks(stub: bytes) -> list[tuple[str, str]]:
    """Paragraphs of Markdown as (tag, text)."""
    blocks = []
    for block in re.split(r"\n\s*\n", text_of(stub).replace("\r\n", "\n")):
        for line in block.split("\n") if re.match(r"\s*([-*#|]|\d+\.)", block) else [block]:
            heading = re.match(r"(#{1,6})\s+(.*)", line)
            item = re.match(r"\s*(?:[-*]|\d+\.)\s+(.*)", line)
            if heading:
                blocks.append((f"h{len(heading[1])}", heading[2]))
            elif item:
                blocks.append(("li", item[1]))
            elif line.strip():
                blocks.append(("p", line.strip()))
    return blocks


def _style(tag: str) -> str:
    return f'<w:pPr><w:pStyle w:val="Heading{tag[1]}"/></w:pPr>' if tag[0] == "h" else ""


def tabs_of(stub: bytes) -> list[tuple[str, list[list[Any]]]]:
    """The tabs of a Sheet: name and rows."""
    document = _document(stub)
    found = document.get("sheets") if isinstance(document, dict) else None
    sheets = []
    for number, sheet in enumerate(found if isinstance(found, list) else [], 1):
        if isinstance(sheet, dict):
            rows = [row if isinstance(row, list) else [row] for row in sheet.get("rows") or []]
            sheets.append((str(sheet.get("name") or f"Sheet{number}"), rows))
    return sheets or [("Sheet1", [])]


def _document(stub: bytes) -> Any:
    try:
        return json.loads(text_of(stub))
    except ValueError:
        return None


def _slides(stub: bytes) -> list[dict[str, Any]]:
    document = _document(stub)
    found = document.get("slides") if isinstance(document, dict) else None
    return [slide for slide in (found if isinstance(found, list) else []) if isinstance(slide, dict)]


def _slide(kind: str, told: list[tuple[str, Any]], number: int = 0) -> str:
    """A slide, or the notes page of the slide with this number."""
    shapes = "".join(_shape(place, _paragraphs(str(text))) for place, text in told if text)
    if number:
        shapes += _shape("sldNum", f'<a:p><a:fld id="{{0}}" type="slidenum"><a:t>{number}</a:t></a:fld></a:p>')
    return (
        f'<p:{kind} xmlns:p="{_SLIDES}" xmlns:a="{_SHAPES}"><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:{kind}>'
    )


def _shape(place: str, paragraphs: str) -> str:
    placed = f'<p:nvSpPr><p:nvPr><p:ph type="{place}"/></p:nvPr></p:nvSpPr>'
    return f"<p:sp>{placed}<p:txBody>{paragraphs}</p:txBody></p:sp>"


def _paragraphs(text: str) -> str:
    return "".join(f"<a:p><a:r><a:t>{_xml(line)}</a:t></a:r></a:p>" for line in text.splitlines())


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{_xml(str(value))}</t></is></c>'


def _delimited(stub: bytes, delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([["" if cell is None else cell for cell in row] for row in tabs_of(stub)[0][1]])
    return text.getvalue().encode("utf-8", "replace")


def _windows_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _xml(text: str) -> str:
    return escape(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text), {'"': "&quot;"})


def _relations(links: str) -> str:
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{links}</Relationships>'
    )


def _package(parts: dict[str, str], main: str, types: dict[str, str]) -> bytes:
    """An Office file: the parts, what they are, and which is the main one."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    overrides = "".join(f'<Override PartName="{part}" ContentType="{kind}"/>' for part, kind in types.items())
    default = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    space = "http://schemas.openxmlformats.org/package/2006/content-types"
    all_parts = {
        "[Content_Types].xml": f'<Types xmlns="{space}">{default}{overrides}</Types>',
        "_rels/.rels": _relations(f'<Relationship Id="rId1" Type="{office}" Target="{main}"/>'),
        **parts,
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in all_parts.items():
            # A fixed time: the same document exports to the same bytes.
            info = zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0))
            archive.writestr(info, f'<?xml version="1.0" encoding="UTF-8"?>{text}', zipfile.ZIP_DEFLATED)
    return packed.getvalue()
