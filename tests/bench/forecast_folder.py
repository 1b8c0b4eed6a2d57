"""A folder whose mix of files nobody knew who made the forecast: a small office's shared folder, seeded.

Other kinds, sizes and contents than those of `tests.mixed_folder`: minutes, letters and contracts in sentences with
names, dates and amounts; ledgers and sensor readings; a website; exported mail; a repository; scans, photographs,
recordings; PDF brochures; DOCX with the parts that word processors write; copies in many places.
"""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from datetime import date, timedelta
from email.message import EmailMessage
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw

FIRST = [
    "Marta", "Jonas", "Aiko", "Priya", "Tomasz", "Lena", "Oliver", "Fatima", "Hugo", "Ingrid", "Samuel", "Beatriz",
    "Noor", "Viktor", "Clara", "Émile",
]  # fmt: skip
LAST = [
    "Keller", "Okafor", "Lindgren", "Moreau", "Tanaka", "Petrov", "Santos", "Haddad", "Novak", "Brandt", "O'Neill",
    "Varga", "Chowdhury", "Weiß",
]  # fmt: skip
FIRMS = ["Harbour Mills Ltd", "Nordlicht GmbH", "Tanaka & Sons", "Blue Anchor Inc", "Verein der Imker", "City of Ghent"]
PLACES = ["Rotterdam", "Aarhus", "Lyon", "Bergen", "Kyoto", "Porto", "Graz", "Leeds", "Antwerp", "Oslo"]
THINGS = [
    "invoice", "lease", "tender", "permit", "survey", "boiler", "roof", "ledger", "orchard", "pump", "bridge",
    "archive", "timetable", "budget",
]  # fmt: skip
VERBS = [
    "approved", "postponed", "reviewed", "signed", "questioned", "delivered", "cancelled", "repaired", "inspected",
    "translated",
]  # fmt: skip
TAILS = (
    "because the estimate was higher than expected", "as agreed at the last meeting", "after a long discussion",
    "pending an answer from the insurer", "so that work can begin before the frost", "without further remarks",
    "although two members had doubts about the schedule", "and asked for a written report",
)  # fmt: skip

Make = Callable[[random.Random], bytes]


def make_folder(folder: Path, files: int = 2000, seed: int = 20261127) -> int:
    """Write the files below an empty folder. How many there are."""
    dice = random.Random(seed)
    kinds, weights = [row[0] for row in TABLE], [row[3] for row in TABLE]
    rows = {row[0]: row for row in TABLE}
    tops = ["Board", "Members", "Premises/2024", "Premises/2025", "Website/public", "Finance/Ledgers", "Press", "IT"]
    written: list[bytes] = []
    for number in range(files):
        _, endings, make, _ = rows[dice.choices(kinds, weights)[0]]
        copied = written and endings == "txt" and dice.random() < 0.15
        content = dice.choice(written) if copied else make(dice)
        path = folder / dice.choice(tops) / f"{dice.choice(THINGS)}_{number:04}.{dice.choice(endings.split())}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if path.suffix == ".txt":
            written.append(content)
    return files


def _person(dice: random.Random) -> str:
    return f"{dice.choice(FIRST)} {dice.choice(LAST)}"


def _day(dice: random.Random) -> date:
    return date(2021, 1, 1) + timedelta(days=dice.randrange(1900))


def _sentence(dice: random.Random) -> str:
    forms = (
        f"{_person(dice)} {dice.choice(VERBS)} the {dice.choice(THINGS)} {dice.choice(TAILS)}.",
        f"The {dice.choice(THINGS)} of {dice.choice(FIRMS)} was {dice.choice(VERBS)} on {_day(dice):%d %B %Y}.",
        f"It costs EUR {dice.randrange(40, 90_000):,} and is paid to {dice.choice(FIRMS)}.",
        f"Nothing was heard of the {dice.choice(THINGS)} in {dice.choice(PLACES)}, {dice.choice(TAILS)}.",
        f"We need the {dice.choice(THINGS)} and the {dice.choice(THINGS)} {dice.choice(TAILS)}.",
        f"Who looks after the {dice.choice(THINGS)} while the {dice.choice(THINGS)} is being {dice.choice(VERBS)}?",
    )
    return dice.choice(forms)


def _paragraph(dice: random.Random) -> str:
    return " ".join(_sentence(dice) for _ in range(dice.randrange(2, 9)))


def _paragraphs(dice: random.Random, most: int) -> list[str]:
    return [_paragraph(dice) for _ in range(dice.randrange(1, most))]


def _minutes(dice: random.Random) -> bytes:
    return ("\n\n".join(_paragraphs(dice, 40)) + "\n").encode()


def _handbook(dice: random.Random) -> bytes:
    parts = [f"# {dice.choice(THINGS).title()}"]
    for paragraph in _paragraphs(dice, 25):
        parts += [f"## {_sentence(dice)}"] * (dice.random() < 0.2) + [paragraph]
        if dice.random() < 0.2:
            parts.append("\n".join(f"- {_sentence(dice)}" for _ in range(dice.randrange(2, 7))))
    return "\n\n".join(parts).encode()


def _ledger(dice: random.Random) -> bytes:
    out = io.StringIO()
    rows = csv.writer(out, delimiter=dice.choice(",;"))
    rows.writerow(["date", "account", "payee", "amount", "balance"])
    for _ in range(dice.randrange(20, 600)):
        amount = f"{dice.uniform(-900, 900):.2f}"
        rows.writerow([_day(dice), dice.randrange(1000, 9999), _person(dice), amount, f"{dice.uniform(0, 1e5):.2f}"])
    return out.getvalue().encode()


def _readings(dice: random.Random) -> bytes:
    lines = [
        {"t": 1.7e9 + n * 60, "celsius": round(dice.gauss(12, 6), 2), "pump": dice.random() < 0.3}
        for n in range(dice.randrange(50, 900))
    ]
    return json.dumps(lines, indent=dice.choice((None, 1))).encode()


def _page(dice: random.Random) -> bytes:
    items = "".join(f'<li class="item"><a href="/{dice.choice(THINGS)}">{_sentence(dice)}</a></li>' for _ in range(9))
    body = "".join(f'<div class="row"><p>{one}</p></div>\n' for one in _paragraphs(dice, 16))
    css = "".join(f".c{n}{{margin:{n}px;color:#{n:06x};padding:0 {n}em}}\n" for n in range(dice.randrange(10, 160)))
    return f"<!doctype html><html><head><style>{css}</style></head><body><ul>{items}</ul>{body}</body></html>".encode()


def _letter(dice: random.Random) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"] = "office@example.org", "members@example.org"
    mail["Subject"], mail["Date"] = _sentence(dice), f"{_day(dice):%a, %d %b %Y} 09:00:00 +0000"
    mail.set_content("\n\n".join(_paragraphs(dice, 8)))
    if dice.random() < 0.3:
        mail.add_attachment(_photo(dice), maintype="image", subtype="jpeg", filename="site.jpg")
    return mail.as_bytes()


def _module(dice: random.Random) -> bytes:
    lines = []
    for number in range(dice.randrange(3, 60)):
        name, other = dice.choice(THINGS), dice.choice(VERBS)
        lines += [f"def {name}_{number}({other}: int) -> int:", f'    """{other.title()} the {name}."""']
        lines += [
            f"    total = {other} * {dice.randrange(99)} + {number}",
            "    return total if total > 0 else 0",
            "",
            "",
        ]
    return "\n".join(lines).encode()


def _document(dice: random.Random) -> bytes:
    """With styles, settings, a theme and sometimes a picture, as word processors write them."""
    word = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    run = '<w:r><w:rPr><w:rFonts w:ascii="Calibri"/><w:sz w:val="22"/></w:rPr><w:t xml:space="preserve">{}</w:t></w:r>'
    body = "".join(
        f'<w:p w:rsidR="{dice.randrange(16**8):08X}">{run.format(escape(one))}</w:p>' for one in _paragraphs(dice, 60)
    )
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="S{n}"><w:name w:val="{dice.randrange(16**12):x}"/></w:style>'
        for n in range(400)
    )
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    link = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    parts: dict[str, bytes] = {
        "[Content_Types].xml": (
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>'
        ).encode(),
        "_rels/.rels": (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{link}" Target="word/document.xml"/></Relationships>'
        ).encode(),
        "word/document.xml": f"<w:document {word}><w:body>{body}</w:body></w:document>".encode(),
        "word/styles.xml": f"<w:styles {word}>{styles}</w:styles>".encode(),
    }
    if dice.random() < 0.4:
        parts["word/media/image1.jpeg"] = _photo(dice)
    return _zipped(parts)


def _zipped(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _bundle(dice: random.Random) -> bytes:
    return _zipped({f"{dice.choice(THINGS)}{n}.txt": _minutes(dice) for n in range(dice.randrange(1, 6))})


def _brochure(dice: random.Random) -> bytes:
    """A PDF with text on every page, and a picture behind it on some."""
    pages = [_paragraphs(dice, 5) for _ in range(dice.randrange(1, 9))]
    picture = zlib.compress(dice.randbytes(300 * dice.randrange(1, 200)))
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} /MediaBox [0 0 595 842] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(picture), picture),
    ]
    for number, texts in enumerate(pages):
        lines = [line for text in texts for line in _wrapped(text)]
        shown = "".join(f"({line}) Tj 0 -13 Td\n" for line in lines[:58])
        drawn = zlib.compress(f"BT /F 10 Tf 40 800 Td\n{shown}ET".encode("cp1252", "replace"))
        kid = f"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F 3 0 R >> >> /Contents {6 + 2 * number} 0 R >>"
        objects.append(kid.encode())
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(drawn), drawn))
    return _pdf_of(objects)


def _wrapped(text: str) -> list[str]:
    lines, line = list[str](), ""
    for word in text.replace("(", "").replace(")", "").split():
        if len(line) + len(word) > 95:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, line]


def _scan(dice: random.Random) -> bytes:
    """A PDF of pictures of pages."""
    count = dice.randrange(1, 4)
    kids = " ".join(f"{3 + 3 * n} 0 R" for n in range(count))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode()]
    for number in range(count):
        at = 3 + 3 * number
        picture = _picture(dice, (620, 877), "JPEG")
        drawn = b"q 595 0 0 842 0 0 cm /I Do Q"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /I {at + 2} 0 R >> >>"
            f" /Contents {at + 1} 0 R >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn))
        objects.append(
            b"<< /Type /XObject /Subtype /Image /Width 620 /Height 877 /ColorSpace /DeviceRGB /BitsPerComponent 8"
            b" /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream" % (len(picture), picture)
        )
    return _pdf_of(objects)


def _pdf_of(objects: list[bytes]) -> bytes:
    out, places = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    return out + head + b"".join(places) + end


def _picture(dice: random.Random, size: tuple[int, int], kind: str) -> bytes:
    image = Image.new("RGB", size, (250, 249, 244))
    draw = ImageDraw.Draw(image)
    for line in range(dice.randrange(2, 9)):
        draw.text((30, 40 + 60 * line), _sentence(dice)[:70], fill=(20, 20, 20))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def _photo(dice: random.Random) -> bytes:
    return _picture(dice, (dice.randrange(200, 640), dice.randrange(200, 480)), "JPEG")


def _drawing(dice: random.Random) -> bytes:
    return _picture(dice, (dice.randrange(100, 500), dice.randrange(100, 400)), "PNG")


def _recording(dice: random.Random) -> bytes:
    samples = dice.randbytes(2 * dice.randrange(4_000, 150_000))
    sound = (16, 1, 1, 8000, 16000, 2, 16, b"data", len(samples))
    head = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVEfmt ", *sound)
    return head + samples


def _settings(dice: random.Random) -> bytes:
    return "".join(
        f"{dice.choice(THINGS)}_{n}: {dice.randrange(9999)}\n" for n in range(dice.randrange(3, 80))
    ).encode()


def _journal(dice: random.Random) -> bytes:
    lines = [f"{_day(dice)} 0{n % 10}:11:07 WARN {_sentence(dice)}" for n in range(dice.randrange(20, 400))]
    return "\n".join(lines).encode()


def _nothing(dice: random.Random) -> bytes:
    del dice
    return b""


# kind, its endings, who makes it, how many of 100
TABLE: tuple[tuple[str, str, Make, float], ...] = (
    ("minutes", "txt", _minutes, 17),
    ("handbook", "md", _handbook, 9),
    ("ledger", "csv", _ledger, 9),
    ("readings", "json", _readings, 5),
    ("page", "html htm", _page, 7),
    ("letter", "eml", _letter, 6),
    ("module", "py ts go", _module, 9),
    ("document", "docx", _document, 9),
    ("bundle", "zip", _bundle, 1),
    ("brochure", "pdf", _brochure, 7),
    ("scan", "pdf", _scan, 2),
    ("photo", "jpg jpeg", _photo, 8),
    ("drawing", "png", _drawing, 3),
    ("recording", "wav", _recording, 2),
    ("settings", "yaml ini conf", _settings, 3),
    ("journal", "log", _journal, 2),
    ("nothing", "txt docx", _nothing, 1),
)
