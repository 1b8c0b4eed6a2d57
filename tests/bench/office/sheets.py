"""Workbooks and decks as Excel, PowerPoint and LibreOffice save them. See `packages`."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from datetime import date
from xml.sax.saxutils import escape

from tests.bench.office.packages import (
    DRAWING,
    OFFICE,
    XML,
    Cell,
    Rows,
    Slide,
    content_type,
    open_document,
    open_rows,
    packed,
    related,
    relation,
    relations,
    template,
    without,
)

_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_EPOCH = date(1899, 12, 30)  # of a workbook's days


def xlsx(sheets: Mapping[str, Rows], dice: random.Random) -> bytes:
    """A workbook as LibreOffice or openpyxl saves it: shared texts, formulas with their values, cells that are empty
    and have a look."""
    parts = dict(template(dice.choice(("calc.xlsx", "openpyxl.xlsx", "openpyxl.xlsx"))))
    main = "xl/_rels/workbook.xml.rels"
    for name in [name for name in parts if name.startswith("xl/worksheets/")]:
        del parts[name]
    for name in (main, "[Content_Types].xml"):
        parts[name] = without(parts[name], r"(?:worksheets/|sharedStrings\.xml)")
    strings: dict[str, int] = {}
    links, names, types = relation("rIdT", "sharedStrings", "sharedStrings.xml"), "", ""
    for number, (name, rows) in enumerate(sheets.items(), 1):
        path = f"worksheets/sheet{number}.xml"
        parts[f"xl/{path}"] = _sheet(rows, strings, dice)
        links += relation(f"rIdS{number}", "worksheet", path)
        names += f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rIdS{number}"/>'
        types += content_type(f"xl/{path}", "spreadsheetml.worksheet")
    types += content_type("xl/sharedStrings.xml", "spreadsheetml.sharedStrings")
    texts = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in strings)
    parts["xl/sharedStrings.xml"] = f'{XML}<sst xmlns="{_SHEETS}" uniqueCount="{len(strings)}">{texts}</sst>'.encode()
    book = parts["xl/workbook.xml"].decode()
    if "xmlns:r=" not in book:
        book = book.replace("<workbook ", f'<workbook xmlns:r="{OFFICE}" ', 1)
    parts["xl/workbook.xml"] = re.sub(
        "<sheets>.*</sheets>", f"<sheets>{names}</sheets>", book, flags=re.DOTALL
    ).encode()
    return packed(related(parts, main, links, types))


def _sheet(rows: Rows, strings: dict[str, int], dice: random.Random) -> bytes:
    pane = '<pane ySplit="1" topLeftCell="A2" state="frozen"/>'
    view = f'<sheetViews><sheetView workbookViewId="0">{pane}</sheetView></sheetViews>'
    view += '<sheetFormatPr defaultRowHeight="15"/>'
    widths = "".join(
        f'<col min="{column}" max="{column}" width="{dice.uniform(8, 40):.5f}" customWidth="1"/>'
        for column in range(1, 9)
    )
    lines = "".join(_row(number, row, strings, dice) for number, row in enumerate(rows, 1))
    tail = '<pageMargins left="0.7" right="0.7" top="0.75" bottom="0.75" header="0.3" footer="0.3"/>'
    body = f"{view}<cols>{widths}</cols><sheetData>{lines}</sheetData>{tail}"
    return f'{XML}<worksheet xmlns="{_SHEETS}" xmlns:r="{OFFICE}">{body}</worksheet>'.encode()


def _row(number: int, row: Sequence[Cell], strings: dict[str, int], dice: random.Random) -> str:
    cells = ""
    for column, value in enumerate(row):
        place = f"{_letters(column)}{number}"
        if value is None:
            cells += f'<c r="{place}" s="0"/>' if dice.random() < 0.5 else ""
        elif isinstance(value, str):
            cells += f'<c r="{place}" s="0" t="s"><v>{strings.setdefault(value, len(strings))}</v></c>'
        elif isinstance(value, date):
            cells += f'<c r="{place}" s="1"><v>{(value - _EPOCH).days}</v></c>'
        elif isinstance(value, tuple):
            cells += f'<c r="{place}" s="0"><f>{escape(value[0])}</f><v>{value[1]!r}</v></c>'
        else:
            cells += f'<c r="{place}" s="0"><v>{value!r}</v></c>'
    return f'<row r="{number}" spans="1:{len(row)}">{cells}</row>'


def _letters(column: int) -> str:
    return (_letters(column // 26 - 1) if column >= 26 else "") + chr(65 + column % 26)


def ods(sheets: Mapping[str, Rows]) -> bytes:
    """A workbook as LibreOffice Calc saves it."""
    start = '<table:table table:style-name="ta1" table:name='
    body = "".join(f'{start}"{escape(name)}">{open_rows(rows)}</table:table>' for name, rows in sheets.items())
    return open_document("calc.ods", "spreadsheet", body)


def pptx(slides: Sequence[Slide], dice: random.Random) -> bytes:
    """A deck as PowerPoint saves it: master, layouts, themes, notes, pictures."""
    parts = dict(template("python-pptx.pptx"))
    main = "ppt/_rels/presentation.xml.rels"
    for name in [name for name in parts if name.startswith(("ppt/slides/", "ppt/notesSlides/"))]:
        del parts[name]
    for name in (main, "[Content_Types].xml"):
        parts[name] = without(parts[name], r"(?:slides|notesSlides)/")
    links, types, listed = "", "", ""
    for number, slide in enumerate(slides, 1):
        path = f"slides/slide{number}.xml"
        below = relation("rId1", "slideLayout", f"../slideLayouts/slideLayout{dice.choice((1, 2, 2, 2, 4))}.xml")
        shapes = _shape('type="title"', 2, [slide.title], dice) + _shape('idx="1"', 3, slide.lines, dice)
        if slide.picture:
            parts[f"ppt/media/image{number}.jpeg"] = slide.picture
            below += relation("rId9", "image", f"../media/image{number}.jpeg")
            about = f'<p:nvPicPr><p:cNvPr id="9" name="Picture {number}"/><p:cNvPicPr/><p:nvPr/></p:nvPicPr>'
            shapes += f'<p:pic>{about}<p:blipFill><a:blip r:embed="rId9"/></p:blipFill><p:spPr/></p:pic>'
        if slide.notes:
            told = f"notesSlides/notesSlide{number}.xml"
            below += relation("rId2", "notesSlide", f"../{told}")
            types += content_type(f"ppt/{told}", "presentationml.notesSlide")
            parts[f"ppt/{told}"] = _drawn("notes", _shape('type="body" idx="3" sz="quarter"', 3, [slide.notes], dice))
        types += content_type(f"ppt/{path}", "presentationml.slide")
        links += relation(f"rIdS{number}", "slide", path)
        listed += f'<p:sldId id="{255 + number}" r:id="rIdS{number}"/>'
        parts[f"ppt/{path}"] = _drawn("sld", shapes)
        parts[f"ppt/slides/_rels/slide{number}.xml.rels"] = relations(below)
    presented = re.sub(rb"<p:sldId [^>]*/>", b"", parts["ppt/presentation.xml"])
    parts["ppt/presentation.xml"] = presented.replace(b"<p:sldIdLst>", b"<p:sldIdLst>" + listed.encode())
    return packed(related(parts, main, links, types))


def _shape(place: str, number: int, lines: Sequence[str], dice: random.Random) -> str:
    said = ""
    for line in lines:
        run = f'<a:r><a:rPr lang="en-GB" dirty="0"/><a:t>{escape(line)}</a:t></a:r><a:endParaRPr lang="en-GB"/>'
        said += f'<a:p><a:pPr lvl="{dice.choice((0, 0, 0, 1))}"/>{run}</a:p>'
    about = f'<p:cNvPr id="{number}" name="Placeholder {number}"/><p:cNvSpPr><a:spLocks noGrp="1"/></p:cNvSpPr>'
    head = f"<p:nvSpPr>{about}<p:nvPr><p:ph {place}/></p:nvPr></p:nvSpPr><p:spPr/>"
    return f"<p:sp>{head}<p:txBody><a:bodyPr/><a:lstStyle/>{said}</p:txBody></p:sp>"


def _drawn(kind: str, shapes: str) -> bytes:
    names = f'xmlns:a="{DRAWING}/main" xmlns:r="{OFFICE}" xmlns:p="{_SLIDES}"'
    group = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    tree = f"<p:cSld><p:spTree>{group}{shapes}</p:spTree></p:cSld>"
    colours = "<p:clrMapOvr><a:masterClrMapping/></p:clrMapOvr>"
    return f"{XML}<p:{kind} {names}>{tree}{colours}</p:{kind}>".encode()


def odp(slides: Sequence[Slide]) -> bytes:
    """A deck as LibreOffice Impress saves it."""
    body = ""
    for number, slide in enumerate(slides, 1):
        notes = f"<presentation:notes>{_frame([slide.notes])}</presentation:notes>" if slide.notes else ""
        inner = f"{_frame([slide.title])}{_frame(slide.lines)}{notes}"
        body += f'<draw:page draw:name="page{number}" draw:master-page-name="Default">{inner}</draw:page>'
    return open_document("impress.odp", "presentation", body)


def _frame(lines: Sequence[str]) -> str:
    text = "".join(f'<text:p text:style-name="P1">{escape(line)}</text:p>' for line in lines)
    about = 'draw:style-name="gr1" draw:layer="layout" svg:width="25.199cm" svg:height="3.506cm"'
    return f"<draw:frame {about}><draw:text-box>{text}</draw:text-box></draw:frame>"
