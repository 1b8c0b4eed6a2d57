"""Zips as office programs make them, and the pieces of documents, workbooks and decks that go into them.

What Word, LibreOffice or openpyxl put around a text (styles, themes, settings, layouts) is taken from the files in
`tests/golden`, which such programs wrote; the text and the marks in it are made here. The same arguments give the same
bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

Cell = str | float | int | date | tuple[str, float] | None  # a formula is itself and its value
Rows = Sequence[Sequence[Cell]]
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"
TYPE = "application/vnd.openxmlformats-officedocument."
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "files"
_ASIDE = r"(?:header|footer|footnotes|endnotes|comments)\d*\.xml"
_STORED = (".jpg", ".jpeg", ".png", ".pdf", "/")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document. `kind` is h1, h2, p, li, table (its rows) or picture (a JPEG)."""

    kind: str
    text: str = ""
    rows: Rows = ()
    picture: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Slide:
    """One of a deck, with its notes and a JPEG where it has them."""

    title: str
    lines: Sequence[str]
    notes: str = ""
    picture: bytes = field(default=b"", repr=False)


def shown(value: Cell) -> str:
    """A cell as a person sees it."""
    if isinstance(value, tuple):
        value = value[1]
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


@cache
def template(name: str) -> Mapping[str, bytes]:
    """The parts of a golden file, without those that hold its text beside the main one."""
    with zipfile.ZipFile(_GOLDEN / name) as packed:
        parts = {entry: packed.read(entry) for entry in packed.namelist() if not re.search(f"/{_ASIDE}$", entry)}
    for entry in ("word/_rels/document.xml.rels", "[Content_Types].xml"):
        if entry in parts:
            parts[entry] = without(parts[entry], _ASIDE)
    if "styles.xml" in parts:
        margins = rb"<style:(header|footer)(?:\s[^>]*)?>.*?</style:\1>"
        parts["styles.xml"] = re.sub(margins, b"", parts["styles.xml"], flags=re.DOTALL)
    return parts


def without(listed: bytes, named: str) -> bytes:
    """A list of relations or types, without those of the parts that are named so."""
    return re.sub(rf"<(?:Relationship|Override)\b[^>]*{named}[^>]*/>".encode(), b"", listed)


def relation(name: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{name}" Type="{OFFICE}/{kind}" Target="{target}"/>'


def relations(links: str) -> bytes:
    """The part that lists these relations."""
    return f'{XML}<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>'.encode()


def content_type(path: str, kind: str) -> str:
    return f'<Override PartName="/{path}" ContentType="{TYPE}{kind}+xml"/>'


def related(parts: dict[str, bytes], main: str, links: str, types: str) -> dict[str, bytes]:
    """The parts, with more relations of the main one, and more types."""
    parts[main] = parts[main].replace(b"</Relationships>", f"{links}</Relationships>".encode())
    known = parts["[Content_Types].xml"]
    jpeg = "" if b'"jpeg"' in known else '<Default Extension="jpeg" ContentType="image/jpeg"/>'
    parts["[Content_Types].xml"] = known.replace(b"</Types>", f"{jpeg}{types}</Types>".encode())
    return parts


def open_document(name: str, kind: str, body: str) -> bytes:
    """An OpenDocument file like the golden one, with another body."""
    parts = dict(template(name))
    content = parts["content.xml"].decode()
    start = content[: content.index(f"<office:{kind}")]
    end = f"</office:{kind}></office:body></office:document-content>"
    parts["content.xml"] = f"{start}<office:{kind}>{body}{end}".encode()
    return packed(parts)


def open_rows(rows: Rows) -> str:
    """Rows of a table in an OpenDocument file."""
    start = '<table:table-row table:style-name="ro1">'
    return "".join(f"{start}{''.join(map(_open_cell, row))}</table:table-row>" for row in rows)


def _open_cell(value: Cell) -> str:
    if value is None:
        return "<table:table-cell/>"
    kind = 'office:value-type="string" calcext:value-type="string"'
    if isinstance(value, date):
        kind = f'table:style-name="ce2" office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, tuple):
        kind = f'table:formula="of:={escape(value[0])}" office:value-type="float" office:value="{value[1]}"'
    elif isinstance(value, int | float):
        kind = f'office:value-type="float" office:value="{value}" calcext:value-type="float"'
    return f"<table:table-cell {kind}><text:p>{escape(shown(value))}</text:p></table:table-cell>"


def packed(parts: Mapping[str, bytes]) -> bytes:
    """A zip; the list of types, or the kind of an OpenDocument file, stands first."""
    return archive(dict(sorted(parts.items(), key=lambda part: part[0] not in ("mimetype", "[Content_Types].xml"))))


def archive(entries: Mapping[str, bytes]) -> bytes:
    """A zip of these files, at a fixed time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in entries.items():
            method = zipfile.ZIP_STORED if name == "mimetype" or name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            made.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()
