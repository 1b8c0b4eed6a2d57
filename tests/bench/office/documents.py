"""Documents as Word, LibreOffice Writer and a browser save them, and as plain text. See `packages`."""

from __future__ import annotations

import base64
import html
import random
import re
import textwrap
import zlib
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench.office.packages import (
    DRAWING,
    OFFICE,
    Block,
    Rows,
    content_type,
    open_document,
    open_rows,
    packed,
    related,
    relation,
    shown,
    template,
)

_STYLES = {"h1": "Heading1", "h2": "Heading2", "li": "ListParagraph"}
_FONTS = ("Arial", "Calibri", "Cambria Math", "Times New Roman", "Symbol", "Courier New")


def docx(blocks: Sequence[Block], dice: random.Random, margin: str = "") -> bytes:
    """A Word document; `margin` stands in its header, above the pages' numbers in its footer."""
    parts = dict(template(dice.choice(("python-docx.docx", "pandoc.docx", "writer.docx", "writer.docx"))))
    editions = [f"00{dice.getrandbits(24):06X}" for _ in range(dice.randint(2, 9))]
    head = parts["word/document.xml"].decode().partition("<w:body>")[0]
    links, types, section, body, pictures = "", "", "", list[str](), 0
    for block in blocks:
        if block.kind == "picture":
            pictures += 1
            parts[f"word/media/image{pictures}.jpeg"] = block.picture
            links += relation(f"rIdM{pictures}", "image", f"media/image{pictures}.jpeg")
            body.append(_picture(pictures))
        elif block.kind == "table":
            body.append(_table(block.rows, dice, editions))
        else:
            body.append(_paragraph(block.text, _STYLES.get(block.kind, ""), dice, editions))
    if margin:
        for side, tag, text, more in (("header", "w:hdr", margin, ""), ("footer", "w:ftr", "Page ", _field("PAGE"))):
            inner = _paragraph(text, side.title(), dice, editions).replace("</w:p>", f"{more}</w:p>")
            parts[f"word/{side}9.xml"] = f"{head.replace('<w:document', f'<{tag}')}{inner}</{tag}>".encode()
            links += relation(f"rId9{side}", side, f"{side}9.xml")
            types += content_type(f"word/{side}9.xml", f"wordprocessingml.{side}")
            section += f'<w:{side}Reference w:type="default" r:id="rId9{side}"/>'
    section += '<w:pgSz w:w="11906" w:h="16838"/><w:pgMar w:top="1440" w:right="1440" w:bottom="1440" w:left="1440"/>'
    end = f'<w:sectPr w:rsidR="{editions[0]}">{section}</w:sectPr></w:body></w:document>'
    parts["word/document.xml"] = f"{head}<w:body>{''.join(body)}{end}".encode()
    return packed(related(parts, "word/_rels/document.xml.rels", links, types))


def _paragraph(text: str, style: str, dice: random.Random, editions: Sequence[str]) -> str:
    """In the runs into which Word breaks a text that was edited and checked for spelling."""
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    if style == "ListParagraph":
        named += '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    runs, words = "", text.split(" ")
    while words:
        many = len(words) if dice.random() < 0.5 else dice.randint(1, 25)
        piece, words = " ".join(words[:many]) + (" " if words[many:] else ""), words[many:]
        bold = "<w:b/><w:bCs/>" if dice.random() < 0.04 else ""
        look = f'<w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:cs="Calibri"/>{bold}<w:lang w:val="en-GB"/>'
        runs += '<w:proofErr w:type="spellStart"/>' if dice.random() < 0.05 else ""
        runs += f'<w:r w:rsidRPr="{dice.choice(editions)}"><w:rPr>{look}</w:rPr>'
        runs += f'<w:t xml:space="preserve">{escape(piece)}</w:t></w:r>'
    edition = dice.choice(editions)
    about = f'w:rsidR="{edition}" w:rsidRDefault="{dice.choice(editions)}" w:rsidP="{edition}"'
    return f'<w:p {about}><w:pPr>{named}<w:rPr><w:lang w:val="en-GB"/></w:rPr></w:pPr>{runs}</w:p>'


def _table(rows: Rows, dice: random.Random, editions: Sequence[str]) -> str:
    width = 9000 // len(rows[0])
    about = f'<w:tcW w:w="{width}" w:type="dxa"/><w:shd w:val="clear" w:color="auto" w:fill="auto"/>'
    lines = ""
    for row in rows:
        cells = (_paragraph(shown(value), "", dice, editions) for value in row)
        inner = "".join(f"<w:tc><w:tcPr>{about}</w:tcPr>{cell}</w:tc>" for cell in cells)
        lines += f'<w:tr w:rsidR="{editions[0]}"><w:trPr><w:trHeight w:val="284"/></w:trPr>{inner}</w:tr>'
    grid = f'<w:gridCol w:w="{width}"/>' * len(rows[0])
    look = '<w:tblStyle w:val="TableGrid"/><w:tblW w:w="0" w:type="auto"/><w:tblLook w:val="04A0"/>'
    return f"<w:tbl><w:tblPr>{look}</w:tblPr><w:tblGrid>{grid}</w:tblGrid>{lines}</w:tbl>"


def _picture(number: int) -> str:
    return (
        f'<w:p><w:r><w:drawing><wp:inline xmlns:wp="{DRAWING}/wordprocessingDrawing">'
        f'<wp:extent cx="4860000" cy="3240000"/><wp:docPr id="{number}" name="Picture {number}"/>'
        f'<a:graphic xmlns:a="{DRAWING}/main"><a:graphicData uri="{DRAWING}/picture">'
        f'<pic:pic xmlns:pic="{DRAWING}/picture"><pic:blipFill><a:blip xmlns:r="{OFFICE}" r:embed="rIdM{number}"/>'
        "</pic:blipFill></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )


def _field(name: str) -> str:
    begin, end = (f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "end"))
    return f'{begin}<w:r><w:instrText xml:space="preserve"> {name} </w:instrText></w:r>{end}'


def odt(blocks: Sequence[Block], dice: random.Random) -> bytes:
    """A document as LibreOffice Writer saves it."""
    return open_document("writer.odt", "text", "".join(_open_block(block, dice) for block in blocks))


def _open_block(block: Block, dice: random.Random) -> str:
    if block.kind == "table":
        return f'<table:table table:name="Table{dice.randint(1, 99)}">{open_rows(block.rows)}</table:table>'
    first, _, rest = block.text.partition(" ")
    text = f'<text:span text:style-name="T{dice.randint(1, 9)}">{escape(first)}</text:span> {escape(rest)}'
    if block.kind == "li":
        item = f'<text:list-item><text:p text:style-name="P4">{text}</text:p></text:list-item>'
        return f'<text:list text:style-name="L1">{item}</text:list>'
    if block.kind in ("h1", "h2"):
        return f'<text:h text:style-name="P{block.kind[1]}" text:outline-level="{block.kind[1]}">{text}</text:h>'
    return f'<text:p text:style-name="{dice.choice(("P3", "Standard"))}">{text}</text:p>'


def rtf(blocks: Sequence[Block]) -> bytes:
    """Rich text with the fonts, the styles and the theme that Word declares."""
    about = r"\fswiss\fcharset0\fprq2{\*\panose 020b0604020202020204}"
    fonts = "".join(f"{{\\f{number}{about}{name};}}" for number, name in enumerate(_FONTS))
    about = r"\ql \li0\ri0\widctlpar\wrapdefault\fs22\lang2057 \snext0"
    styles = "".join(f"{{\\s{number}{about} heading {number};}}" for number in range(1, 10))
    looks = {"h1": r"\s1\b\fs32", "h2": r"\s2\b\fs26", "li": r"\fi-360\li720 \bullet\tab"}
    usual, body = r"\fs22", ""
    for block in blocks:
        look = rf"\pard\plain \ltrpar\ql\sa160\sl259\slmult1 {looks.get(block.kind, usual)}"
        lines = ["\t".join(map(shown, row)) for row in block.rows] or [block.text]
        body += "".join(f"{look} {_rich(line)}\\par\r\n" for line in lines)
    theme = zlib.compress(template("python-docx.docx")["word/theme/theme1.xml"]).hex()
    packed_theme = "\r\n".join(textwrap.wrap(theme, 128))
    head = f"{{\\rtf1\\ansi\\ansicpg1252\\uc1\\deff1{{\\fonttbl{fonts}}}{{\\stylesheet{styles}}}\r\n"
    return f"{head}{body}{{\\*\\themedata {packed_theme}}}}}".encode("ascii")


def _rich(text: str) -> str:
    plain = re.sub(r"([\\{}])", r"\\\1", text).replace("\t", r"\tab ")
    return "".join(letter if letter.isascii() else _rich_letter(letter) for letter in plain)


def _rich_letter(letter: str) -> str:
    western = letter.encode("cp1252", "ignore")
    return f"\\'{western[0]:02x}" if western else f"\\u{ord(letter)}?"


def web_page(blocks: Sequence[Block], dice: random.Random, title: str, menu: Sequence[str]) -> bytes:
    """A page as a browser saves it: more around the text than text."""
    kinds = ("nav", "card", "btn", "hero", "grid", "foot")
    names = [f"{dice.choice(kinds)}-{dice.getrandbits(20):x}" for _ in range(60)]
    styles = "".join(
        f".{name}{{margin:{dice.randrange(40)}px;color:#{dice.getrandbits(24):06x};display:flex}}" for name in names
    )
    script = "".join(f"q.push(['{name}',{dice.random():.6f},'{dice.getrandbits(64):x}']);" for name in names * 3)
    links = "".join(
        f'<li class="{dice.choice(names)}"><a href="/{dice.getrandbits(32)}">{html.escape(one)}</a></li>'
        for one in menu
    )
    body = "".join(_web_block(block, dice.choice(names)) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{styles}</style>\n<script>{script}</script></head>'
        f'\n<body class="{names[0]}"><nav><ul>{links}</ul></nav>\n<main><article>{body}</article></main>'
        f"\n<footer><p>© {dice.randint(2016, 2026)} {html.escape(title)}</p></footer></body></html>"
    ).encode()


def _web_block(block: Block, name: str) -> str:
    if block.kind == "picture":
        return f'<img class="{name}" src="data:image/jpeg;base64,{base64.b64encode(block.picture).decode()}">\n'
    if block.kind == "table":
        rows = ("".join(f"<td>{html.escape(shown(value))}</td>" for value in row) for row in block.rows)
        return f'<table class="{name}">{"".join(f"<tr>{row}</tr>" for row in rows)}</table>\n'
    return f'<{block.kind} class="{name}">{html.escape(block.text)}</{block.kind}>\n'


def markdown(blocks: Sequence[Block]) -> str:
    """What notes, and exports of native documents, look like."""
    marks = {"h1": "# ", "h2": "## ", "li": "- "}
    said = ""
    for block in blocks:
        if block.kind == "table":
            lines = [f"| {' | '.join(map(shown, row))} |" for row in block.rows]
            said += "\n".join([lines[0], "| --- " * len(block.rows[0]) + "|", *lines[1:]]) + "\n\n"
        elif block.text:
            said += f"{marks.get(block.kind, '')}{block.text}\n" + ("" if block.kind == "li" else "\n")
    return said


def plain(blocks: Sequence[Block], width: int = 0) -> str:
    """Text without marks, wrapped where `width` says so."""
    lines: list[str] = []
    for block in blocks:
        text = ("* " if block.kind == "li" else "") + block.text
        lines += ["\t".join(map(shown, row)) for row in block.rows]
        lines += textwrap.wrap(text, width) if width else [text]
        lines += [] if block.kind == "li" else [""]
    return "\n".join(lines) + "\n"
