"""A folder of many mixed files, good and bad, as nobody has tidied it for years; the same for the same seed.

Each file that has text has a phrase of five words that is in no other file of the folder, unless it is a copy.
"""

from __future__ import annotations

import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

_SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "za")
_WORDS = (
    "harbour", "ladle", "copper", "willow", "thursday", "lantern", "gravel", "orchard", "pepper", "violin",
    "north", "kettle", "saddle", "meadow", "ticket", "barley", "window", "river", "chalk", "apron", "compass",
    "button", "thunder", "basket", "mirror", "candle", "bridge", "pebble", "garden", "engine",
)  # fmt: skip
_OTHER = (
    "Füße über schöne Äpfel",
    "été près du château",
    "朝の光 静かな町",
    "утро тихий сад",
    "صباح هادئ في الحديقة",
    "🦆 🥖 ⚓",
)

Make = Callable[[random.Random, str], bytes]


def make(
    folder: Path, files: int = 2000, seed: int = 1, *, big: bool = True, huge: bool = False, odd: bool = True
) -> dict[str, dict[str, Any]]:
    """Fill `folder` with so many files, and say of each path: its kind, its phrase or None, and what must become of
    it, `indexed` or `skipped`.

    `big` adds a text of 5 MB, `huge` a table of 20 MB, `odd` names and places that real folders have, with a symbolic
    link that is in no manifest, since Drive has none. A disk that refuses a name goes without that file.
    """
    dice = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, dict[str, Any]] = {}
    contents: list[tuple[str, bytes]] = []
    folders = _folders(dice, files)
    fixed = [*(_ODD if odd else ()), *([("text", "Archive/big.txt")] if big else [])]
    fixed += [("csv", "Archive/huge.csv")] if huge else []
    while len(manifest) < files:
        number = len(manifest)
        odd_place = bool(fixed)
        kind, path = fixed.pop(0) if fixed else (dice.choices(_KINDS, _WEIGHTS)[0], "")
        if kind == "copy" and contents:
            original, content = dice.choice(contents)
            path = f"{dice.choice(folders)}/Copy {number} of {Path(original).name}"
            said = {**manifest[original], "phrase": None}
            manifest[original]["phrase"] = None  # it is no longer in one file only
        else:
            extensions, expect, maker = _MAKERS[kind] if kind != "copy" else _MAKERS["text"]
            phrase = _phrase(dice, number)
            path = path or f"{dice.choice(folders)}/{_name(dice, number)}.{dice.choice(extensions)}"
            said = {"kind": kind, "phrase": phrase if expect == "indexed" else None, "expect": expect}
            content = _sized(dice, path, maker(dice, phrase))
        if _write(folder / path, content, may_fail=odd_place):
            manifest[path] = said
            if said["phrase"] and not odd_place:
                contents.append((path, content))
    if odd:
        _link(folder)
        _lock_one(folder, manifest)
    return manifest


def one_of_each(seed: int = 1) -> dict[str, bytes]:
    """A file of every kind, by its name."""
    dice = random.Random(seed)
    return {f"{kind}.{row[0].split()[0]}": row[2](dice, "words") for kind, row in _TABLE.items() if row[0]}


def _folders(dice: random.Random, files: int) -> list[str]:
    tops = ["Work", "Home", "Old laptop", "Fotos & Bücher", "写真", "2019", "New folder (2)", "tmp.d"]
    folders = list(tops)
    for number in range(max(4, files // 25)):
        folders.append(f"{dice.choice(folders)}/{dice.choice(_WORDS)} {number}")
    return folders


def _name(dice: random.Random, number: int) -> str:
    form = dice.choice(("{a}-{b}-{n}", "{a} {b} {n}", "{A}_{b}_{n}", "{a}.{b}.{n}", "{n} {a} – {b}", "{a} ({n})"))
    one, two = dice.choice(_WORDS), dice.choice(_WORDS)
    return form.format(a=one, A=one.title(), b=two, n=number)


def _phrase(dice: random.Random, number: int) -> str:
    """Five words; the third is this file's own."""
    own = ""
    for _ in range(4):
        own, number = own + _SYLLABLES[number % 16], number // 16
    return f"{dice.choice(_WORDS)} {dice.choice(_WORDS)} {own}x {dice.choice(_WORDS)} {dice.choice(_WORDS)}"


def _prose(dice: random.Random, paragraphs: int) -> list[str]:
    return [
        " ".join(dice.choice(_WORDS) for _ in range(dice.randrange(8, 50))).capitalize()
        + (". " + dice.choice(_OTHER) if dice.random() < 0.1 else ".")
        for _ in range(paragraphs)
    ]


def _with(dice: random.Random, phrase: str, paragraphs: list[str]) -> list[str]:
    """The paragraphs with the phrase as one of them."""
    paragraphs.insert(dice.randrange(len(paragraphs) + 1), phrase)
    return paragraphs


def _text(dice: random.Random, phrase: str) -> bytes:
    ends = dice.choice(("\n\n", "\n", "\r\n\r\n"))
    return (ends.join(_with(dice, phrase, _prose(dice, dice.randrange(1, 30)))) + ends).encode()


def _utf16(dice: random.Random, phrase: str) -> bytes:
    return b"\xff\xfe" + "\r\n".join(_with(dice, phrase, _prose(dice, 8))).encode("utf-16-le")


def _latin1(dice: random.Random, phrase: str) -> bytes:
    lines = _with(dice, phrase, ["Schöne Grüße aus dem Süden, wo die Äpfel früh blühen und die Füße müde sind."])
    return "\r\n\r\n".join(lines).encode("latin-1")


def _markdown(dice: random.Random, phrase: str) -> bytes:
    lines = ["# " + dice.choice(_WORDS)]
    for paragraph in _with(dice, phrase, _prose(dice, dice.randrange(2, 14))):
        if dice.random() < 0.3:
            lines.append(f"{'#' * dice.randrange(2, 5)} {dice.choice(_WORDS)} {dice.choice(_WORDS)}")
        lines.append(paragraph)
    return "\n\n".join([*lines, "```\n# no heading\n```", ""]).encode()


def _csv(dice: random.Random, phrase: str) -> bytes:
    delimiter = dice.choice((",", ";", "\t"))
    rows = [[str(n), dice.choice(_WORDS), f"{dice.random():.3f}", ""] for n in range(dice.randrange(2, 60))]
    rows[dice.randrange(len(rows))][3] = f'"{phrase}"' if dice.random() < 0.5 else phrase
    return "\n".join(delimiter.join(row) for row in [["number", "what", "value", "remark"], *rows]).encode()


def _json(dice: random.Random, phrase: str) -> bytes:
    said = {"name": dice.choice(_WORDS), "values": [dice.random() for _ in range(9)], "notes": _prose(dice, 3)}
    return json.dumps(
        {**said, "remark": phrase}, ensure_ascii=dice.random() < 0.5, indent=dice.choice((None, 2))
    ).encode()


def _jsonl(dice: random.Random, phrase: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in _with(dice, phrase, _prose(dice, 12))).encode()


def _html(dice: random.Random, phrase: str) -> bytes:
    body = "".join(f"<p>{text}</p>\n" for text in _with(dice, phrase, _prose(dice, dice.randrange(1, 9))))
    head = f"<title>{dice.choice(_WORDS)}</title><script>var x = '<p>never shown</p>'</script>"
    end = "" if dice.random() < 0.2 else "</body></html>"
    return f"<!doctype html><html><head><meta charset=utf-8>{head}</head><body><h1>On</h1>{body}{end}".encode()


def _code(dice: random.Random, phrase: str) -> bytes:
    lines = [f"value_{n} = {dice.randrange(1000)}  # {dice.choice(_WORDS)}" for n in range(dice.randrange(2, 40))]
    lines.insert(dice.randrange(len(lines)), f"# {phrase}")
    return ("\n".join(lines) + "\n").encode()


def _log(dice: random.Random, phrase: str) -> bytes:
    lines = _with(dice, phrase, _prose(dice, 20))
    return "".join(f"2026-02-0{n % 9 + 1}T04:{n:02}:00Z INFO {line}\n" for n, line in enumerate(lines)).encode()


def _yaml(dice: random.Random, phrase: str) -> bytes:
    return f"name: {dice.choice(_WORDS)}\nlist: [1, 2]\nremark: {phrase}\n".encode()


def _xml(dice: random.Random, phrase: str) -> bytes:
    body = "".join(f"<item n='{n}'>{text}</item>" for n, text in enumerate(_with(dice, phrase, _prose(dice, 3))))
    return f"<?xml version='1.0' encoding='UTF-8'?>\n<list>{body}</list>\n".encode()


_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "application/vnd.openxmlformats-officedocument."


def _zipped(entries: dict[str, str | bytes]) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():  # with one time for all, the same seed gives the same bytes
            archive.writestr(zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _office(main: str, content_type: str, parts: dict[str, str | bytes]) -> bytes:
    override = f'<Override PartName="/{main}" ContentType="{_OFFICE}{content_type}.main+xml"/>'
    link = f'<Relationship Id="rId1" Type="{_DOCUMENT}/officeDocument" Target="{main}"/>'
    return _zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{override}</Types>',
            "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}">{link}</Relationships>',
            **parts,
        }
    )


def _docx(dice: random.Random, phrase: str) -> bytes:
    texts = _with(dice, phrase, _prose(dice, dice.randrange(1, 12)))
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in texts)
    document = f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    return _office("word/document.xml", "wordprocessingml.document", {"word/document.xml": document})


def _xlsx(dice: random.Random, phrase: str) -> bytes:
    def row(number: int, text: str) -> str:
        return f'<row r="{number}"><c><v>{number}</v></c><c t="inlineStr"><is><t>{text}</t></is></c></row>'

    rows = "".join(row(number, text) for number, text in enumerate(_with(dice, phrase, _prose(dice, 9)), 1))
    link = f'<Relationship Id="rId1" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet1.xml"/>'
    sheets = '<sheets><sheet name="Sheet" sheetId="1" r:id="rId1"/></sheets>'
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_DOCUMENT}">{sheets}</workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}">{link}</Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{rows}</sheetData></worksheet>',
    }
    return _office("xl/workbook.xml", "spreadsheetml.sheet", parts)


def _pdf(dice: random.Random, phrase: str) -> bytes:
    pages = _with(dice, phrase, [" ".join(dice.choice(_WORDS) for _ in range(7)) for _ in range(dice.randrange(3))])
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} /MediaBox [0 0 595 842] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        drawn = f"BT /F 14 Tf 60 760 Td ({text}) Tj ET"
        font = "<< /Font << /F 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /Resources {font} /Contents {5 + 2 * number} 0 R >>")
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    out = "%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(f"{len(out):010d} 00000 n \n")
        out += f"{number} 0 obj\n{content}\nendobj\n"
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{''.join(places)}"
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return (out + table + end).encode()


def _png(dice: random.Random, phrase: str) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    width, height = dice.randrange(1, 60), dice.randrange(1, 60)
    rows = b"".join(b"\0" + bytes([dice.randrange(256)]) * width for _ in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _zip(dice: random.Random, phrase: str) -> bytes:
    return _zipped({"a.txt": phrase, "b/c.csv": "1,2\n"})


def _empty(dice: random.Random, phrase: str) -> bytes:
    return b""


def _noise(dice: random.Random, phrase: str) -> bytes:
    return b"\x01" + dice.randbytes(dice.randrange(200, 20_000))


def _broken_pdf(dice: random.Random, phrase: str) -> bytes:
    return b"%PDF-1.7\n" + dice.randbytes(dice.randrange(10, 3000))


def _broken_docx(dice: random.Random, phrase: str) -> bytes:
    """Its end, where a ZIP has its table of contents, was never saved."""
    whole = _docx(dice, phrase)
    return whole[: dice.randrange(100, len(whole) // 2)]


def _cut_zip(dice: random.Random, phrase: str) -> bytes:
    return _zipped({"noise.dat": dice.randbytes(3000)})[:2000]


# kind: (its extensions, what becomes of it, who makes it, how many of 100)
_TABLE: dict[str, tuple[str, str, Make, float]] = {
    "text": ("txt text TXT asc", "indexed", _text, 20),
    "utf-16": ("txt csv", "indexed", _utf16, 1),
    "latin-1": ("txt", "indexed", _latin1, 1),
    "markdown": ("md markdown MD", "indexed", _markdown, 11),
    "csv": ("csv tsv", "indexed", _csv, 9),
    "json": ("json geojson", "indexed", _json, 7),
    "jsonl": ("jsonl ndjson", "indexed", _jsonl, 2),
    "html": ("html htm", "indexed", _html, 7),
    "code": ("py sh rb yml", "indexed", _code, 10),
    "log": ("log", "indexed", _log, 3),
    "yaml": ("yaml yml", "indexed", _yaml, 2),
    "xml": ("xml", "indexed", _xml, 2),
    "docx": ("docx", "indexed", _docx, 5),
    "xlsx": ("xlsx", "indexed", _xlsx, 4),
    "pdf": ("pdf PDF", "indexed", _pdf, 4),
    "copy": ("", "indexed", _text, 3),
    "empty": ("txt md pdf docx bin", "skipped", _empty, 2),
    "noise": ("bin dat dat2 tmp", "skipped", _noise, 2),
    "broken pdf": ("pdf", "skipped", _broken_pdf, 1),
    "broken docx": ("docx", "skipped", _broken_docx, 1),
    "cut zip": ("zip", "skipped", _cut_zip, 1),
    "zip": ("zip", "indexed", _zip, 0.5),
    "png": ("png", "skipped", _png, 1.5),
}
_MAKERS = {kind: (row[0].split(), row[1], row[2]) for kind, row in _TABLE.items()}
_KINDS = list(_TABLE)
_WEIGHTS = [row[3] for row in _TABLE.values()]

_ODD: tuple[tuple[str, str], ...] = (
    ("text", "two\nlines.txt"),
    ("text", ".hidden"),
    ("text", ".config/settings.ini"),
    ("text", "no extension at all"),
    ("text", "x" * 250 + ".txt"),
    ("text", "  spaces around  .txt"),
    ("text", "\"quoted\" & 'so' <on>.txt"),
    ("text", "100% #1 ?a=b&c.txt"),
    ("text", "back\\slash.txt"),
    ("text", "🥖 baguette 🦆.txt"),
    ("text", "cafe\u0301.txt"),  # the same word in both ways of writing it
    ("text", "caf\u00e9.txt"),
    ("text", "\u202eright to left.txt"),
    ("text", "نص عربي.txt"),
    ("text", "日本語のメモ.txt"),
    ("text", os.fsdecode(b"caf\xe9 of 1998.txt")),  # a name that is no UTF-8
    ("text", "-rf.txt"),
    ("text", "NUL.txt"),
    ("text", "trailing dot."),
    ("markdown", "Same/notes.md"),
    ("markdown", "same/notes.md"),
    ("markdown", "README"),
    ("text", "Deep/" + "/".join(f"level {depth}" for depth in range(1, 21)) + "/bottom.txt"),
    ("pdf", "named like a text.txt"),
    ("docx", "named like a zip.zip"),
    ("text", "named like a picture.jpg.txt"),
    ("png", "picture without extension"),
    ("empty", "empty"),
)


def _sized(dice: random.Random, path: str, content: bytes) -> bytes:
    """The big ones: their own text first, then much of the same."""
    wanted = {"Archive/big.txt": 5_000_000, "Archive/huge.csv": 20_000_000}.get(path, 0)
    if not wanted:
        return content
    delimiter = "," if path.endswith(".csv") else " "
    lines = [delimiter.join(dice.choice(_WORDS) for _ in range(12)) + "\n" for _ in range(500)]
    filler = "".join(lines).encode()
    return content + b"\n" + filler * (wanted // len(filler) + 1)


def _write(path: Path, content: bytes, *, may_fail: bool) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:  # a disk without upper and lower case has some of the odd names already
            file.write(content)
    except OSError:
        if not may_fail:
            raise
        return False
    return True


def _link(folder: Path) -> None:
    (folder / "link to nowhere").symlink_to("gone.txt")
    (folder / "link to everything").symlink_to(folder, target_is_directory=True)


def _lock_one(folder: Path, manifest: dict[str, dict[str, Any]]) -> None:
    """A file that its owner may not read; to root every file is readable, so there it stays as it was."""
    path = next((path for path, said in reversed(manifest.items()) if said["kind"] == "text"), None)
    if path is not None and os.geteuid() != 0:
        (folder / path).chmod(0)
        manifest[path] |= {"kind": "locked", "phrase": None, "expect": "skipped"}
