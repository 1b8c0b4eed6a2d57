"""Who makes one file of a kind: what is in it comes from `stories`, how it is wrapped from the modules beside this."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from tests.bench.office import documents, packages, pdf, pictures, sheets
from tests.bench.office.mail import Attachment, Letter, mailbox, message
from tests.bench.office.packages import Block, Cell, shown
from tests.bench.office.stories import Desk, serial
from tests.unit import document_samples, reader_samples

# A kind's name on disk, its first bytes, and how many bytes are usual and the most.
_NOISE = {
    "layers": ("{word}.psd", b"8BPS\0\1" + bytes(6), 1_500_000, 4_000_000),
    "film": ("VID_{number}.mp4", b"\0\0\0\x18ftypmp42" + bytes(8), 1_800_000, 12_000_000),
    "clip": ("{word}.mov", b"\0\0\0\x14ftypqt  " + bytes(8), 1_500_000, 8_000_000),
    "song": ("Track {number}.mp3", b"ID3\3\0\0\0\0\0\0", 1_200_000, 5_000_000),
    "voice memo": ("Memo {number}.m4a", b"\0\0\0\x18ftypM4A " + bytes(8), 300_000, 2_000_000),
    "foreign archive": ("{word}.7z", b"7z\xbc\xaf\x27\x1c\0\4", 400_000, 3_000_000),
    "program": ("setup-{word}.exe", b"MZ\x90\0\3\0\0\0", 1_500_000, 6_000_000),
    "font": ("{word}.ttf", b"\0\1\0\0\0\x0f\0\x80", 90_000, 300_000),
    "database": ("{word}.sqlite", b"SQLite format 3\0", 120_000, 900_000),
    "thumbnails": ("{word}{number}.dat", b"\1\0\0\0\xff\xfe\0\0", 12_000, 90_000),
    "passwords": ("{word}.kdbx", b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5", 4_000, 9_000),
}
_CODE = {
    "py": """def {one}_{two}({all}, {two}={number}):
    for i in range(len({all})):
        if {all}[i].{one} > {two}:
            {all}[i].{one} -= {number}
    return [x for x in {all} if x.{one}]

""",
    "css": """.{one}-{two} {{
  margin: {number}px auto;
  color: #{colour};
}}
""",
    "sql": """SELECT {one}.id, {one}.{two}, COUNT({all}.id) FROM {one}
LEFT JOIN {all} ON {all}.{one}_id = {one}.id
WHERE {one}.{two} > {number} GROUP BY {one}.id;
""",
    "sh": """if [ -d "$HOME/{one}/{two}" ]; then
  cp -a "$HOME/{one}/{two}" /mnt/{all}/{number}
fi
""",
    "js": """function {one}_{two}({all}, {two}) {{
  const {one} = {all}.filter(x => x.{two} !== {number});
  if ({one}.length > {number}) {{
    console.log("{text}", {one});
  }}
  return {one}.map(x => x.{two} * {number});
}}
""",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A file's name and what is in it."""

    name: str
    content: bytes


def _named(desk: Desk, extension: str) -> str:
    """A document's name: its subject, with a date before or behind it, as an edition, or as a program names it."""
    day, title = desk.prose.moment(), desk.prose.title()
    stems = (
        title,
        title,
        f"{title} final",
        f"{title} {day.year}",
        f"{day.isoformat()} {title}",
        f"{title.lower().replace(' ', '_')}_v2",
        f"{serial(day)}_{desk.prose.word()}",
    )
    return f"{desk.dice.choice(stems)}.{extension}"


def document(story: Callable[[Desk], list[Block]], pictured: float = 0.0) -> Callable[[Desk], Made]:
    """Word documents that tell this; so many of them, from 0 to 1, begin with a picture."""

    def make(desk: Desk) -> Made:
        blocks = [*_letterhead(desk, pictured), *story(desk)]
        margin = desk.prose.firm() if desk.dice.random() < 0.35 else ""
        return Made(_named(desk, "docx"), documents.docx(blocks, desk.dice, margin))

    return make


def _letterhead(desk: Desk, share: float) -> list[Block]:
    return [Block("picture", picture=_inner_photo(desk))] if desk.dice.random() < share else []


def illustrated(desk: Desk) -> Made:
    return Made(_named(desk, "docx"), documents.docx(desk.report(lambda: _inner_photo(desk)), desk.dice))


def _any_story(desk: Desk) -> list[Block]:
    stories = (desk.letter, desk.letter, desk.minutes, desk.report, desk.article, desk.note, desk.recipe)
    return desk.dice.choice(stories)()


def native_document(desk: Desk) -> Made:
    return Made(_named(desk, "gdoc"), documents.markdown(_any_story(desk)).encode())


def native_sheet(desk: Desk) -> Made:
    tabs = [
        {"name": name, "rows": [[_native_cell(value) for value in row] for row in rows]}
        for name, rows in desk.sheets().items()
    ]
    return Made(_named(desk, "gsheet"), json.dumps({"sheets": tabs}, ensure_ascii=False).encode())


def _native_cell(value: Cell) -> Cell:
    return value[1] if isinstance(value, tuple) else value if isinstance(value, int | float) else shown(value)


def native_slides(desk: Desk) -> Made:
    slides = [{"title": one.title, "body": "\n".join(one.lines), "notes": one.notes} for one in desk.slides()]
    return Made(_named(desk, "gslides"), json.dumps({"slides": slides}, ensure_ascii=False).encode())


def native_drawing(desk: Desk) -> Made:
    return Made(_named(desk, "gdraw"), _drawing(desk))


def form(desk: Desk) -> Made:
    return Made(_named(desk, "gform"), json.dumps({"title": desk.prose.title()}).encode())


def shortcut(desk: Desk) -> Made:
    target = {"target": f"Accounts/{desk.dice.randint(2016, 2026)}/{desk.prose.title()}.xlsx"}
    return Made(_named(desk, "gshortcut"), json.dumps(target).encode())


def open_text(desk: Desk) -> Made:
    return Made(_named(desk, "odt"), documents.odt(_any_story(desk), desk.dice))


def rich_text(desk: Desk) -> Made:
    return Made(_named(desk, "rtf"), documents.rtf(_any_story(desk)))


def old_document(desk: Desk) -> Made:
    text = documents.plain(_any_story(desk)).encode("cp1252", "replace")
    return Made(_named(desk, "doc"), document_samples.compound(("WordDocument", bytes(1536) + text + bytes(16_000))))


def old_deck(desk: Desk) -> Made:
    content = desk.dice.randbytes(desk.many(300_000, 1_500_000))
    return Made(_named(desk, "ppt"), document_samples.compound(("PowerPoint Document", content)))


def workbook(desk: Desk) -> Made:
    return Made(_named(desk, "xlsx"), sheets.xlsx(desk.sheets(), desk.dice))


def old_workbook(desk: Desk) -> Made:
    rows = next(iter(desk.sheets().values()))
    cells = [[float(cell) if isinstance(cell, int | float) else shown(cell) for cell in row] for row in rows]
    return Made(_named(desk, "xls"), document_samples.xls(cells))


def open_workbook(desk: Desk) -> Made:
    return Made(_named(desk, "ods"), sheets.ods(desk.sheets()))


def table(desk: Desk) -> Made:
    """A bank's export, a list out of a program; some with semicolons in the letters of Windows."""
    rows = next(iter(desk.sheets().values()))
    western = desk.dice.random() < 0.3
    text = io.StringIO()
    csv.writer(text, delimiter=";" if western else ",").writerows([[shown(cell) for cell in row] for row in rows])
    return Made(_named(desk, "csv"), text.getvalue().encode("cp1252" if western else "utf-8", "replace"))


def deck(desk: Desk) -> Made:
    slides = desk.slides((lambda: _inner_photo(desk)) if desk.dice.random() < 0.7 else None)
    return Made(_named(desk, "pptx"), sheets.pptx(slides, desk.dice))


def open_deck(desk: Desk) -> Made:
    return Made(_named(desk, "odp"), sheets.odp(desk.slides()))


def printed_invoice(desk: Desk) -> Made:
    blocks = [*_letterhead(desk, 0.4), *desk.invoice()]
    name = desk.dice.choice(("Invoice", "INV", "Rechnung", "Facture", "Receipt", "Order", "document"))
    written = (pdf.exported if desk.dice.random() < 0.45 else pdf.printed)(blocks, desk.dice, name)
    return Made(f"{name}_{desk.dice.randint(1000, 999_999)}.pdf", written)


def statement(desk: Desk) -> Made:
    """A bank's, of a month or a year."""
    rows = [row[:7] for row in desk.cash_book()[:250]]
    head = [Block("h1", desk.prose.firm()), Block("p", desk.prose.paragraph("letter", 3))]
    blocks = [*_letterhead(desk, 0.3), *head, Block("table", rows=rows)]
    return Made(f"Statement {desk.prose.moment():%Y-%m}.pdf", pdf.printed(blocks, desk.dice, "Statement"))


def printed(story: Callable[[Desk], list[Block]]) -> Callable[[Desk], Made]:
    """PDFs that tell this, as an office program exports them."""

    def make(desk: Desk) -> Made:
        title = desk.prose.title()
        return Made(f"{title}.pdf", pdf.exported(story(desk), desk.dice, title, desk.dice.choice((9, 10, 11, 12))))

    return make


def manual(desk: Desk) -> list[Block]:
    return desk.manual((lambda: _inner_photo(desk)) if desk.dice.random() < 0.5 else None)


def brochure(desk: Desk) -> list[Block]:
    return desk.article(lambda: _inner_photo(desk))


def scan(desk: Desk) -> Made:
    texts = [documents.plain(desk.letter()) for _ in range(desk.dice.choice((1, 1, 1, 1, 2, 2, 3, 5)))]
    pages = [pictures.scanned(desk.dice, text, desk.dice.choice((130, 150, 150, 200))) for text in texts]
    seen = texts if desk.dice.random() < 0.2 else [""] * len(texts)
    name = desk.dice.choice((f"Scan_{serial(desk.prose.moment())}.pdf", f"scan{desk.dice.randint(1, 9999):04}.pdf"))
    return Made(name, pdf.scanned(pages, seen, desk.dice))


def scanned_picture(desk: Desk) -> Made:
    return Made(f"Scan {desk.dice.randint(1, 999)}.jpg", pictures.scanned(desk.dice, documents.plain(desk.letter())))


def photo(width: int, height: int, quality: int) -> Callable[[Desk], Made]:
    def make(desk: Desk) -> Made:
        taken = datetime.combine(desk.prose.moment(), time(desk.dice.randint(7, 21), desk.dice.randrange(60)))
        content = pictures.photograph(desk.dice, width, height, taken, quality)
        number = desk.dice.randint(1, 9999)
        names = (f"IMG_{taken:%Y%m%d_%H%M%S}.jpg", f"IMG-{taken:%Y%m%d}-WA{number:04}.jpg", f"DSC_{number:04}.JPG")
        return Made(desk.dice.choice(names), content)

    return make


def _inner_photo(desk: Desk) -> bytes:
    width = desk.dice.choice((320, 500, 640, 900))
    return pictures.photograph(desk.dice, width, width * 2 // 3, datetime.combine(desk.prose.moment(), time(12)), 80)


def phone_picture(desk: Desk) -> Made:
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + desk.dice.randbytes(desk.many(350_000, 1_500_000, 0.4))
    return Made(f"IMG_{desk.dice.randint(1, 9999):04}.HEIC", content)


def screenshot(desk: Desk) -> Made:
    lines = [desk.prose.sentence(desk.dice.choice(("note", "letter"))) for _ in range(desk.dice.randint(4, 26))]
    width, height = desk.dice.choice(((1440, 900), (1280, 720), (720, 1480)))
    name = f"Screenshot {desk.prose.moment()} at {desk.dice.randint(8, 20)}.{desk.dice.randint(10, 59)}.png"
    return Made(name, pictures.screenshot(desk.dice, lines, width, height))


def graphic(desk: Desk) -> Made:
    kind = desk.dice.choice(("PNG", "PNG", "GIF", "WEBP", "BMP"))
    side = desk.dice.choice((64, 200, 400))
    return Made(f"{desk.prose.word()}.{kind.lower()}", pictures.drawn(desk.dice, kind, side, side * 3 // 4))


def vector(desk: Desk) -> Made:
    return Made(_named(desk, "svg"), _drawing(desk))


def _drawing(desk: Desk) -> bytes:
    dice, shapes = desk.dice, ""
    for _ in range(desk.many(90, 900)):
        start, line = (dice.randint(0, 800), dice.randint(0, 600)), (dice.random() * 90, dice.random() * 90)
        shapes += f'<path d="M{start[0]} {start[1]}l{line[0]:.3f} {line[1]:.3f}z"/>'
    words = "".join(f'<text x="20" y="{30 * n}">{desk.prose.title()}</text>' for n in range(1, dice.randint(2, 9)))
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 600">{shapes}{words}</svg>'.encode()


def plain_text(desk: Desk) -> Made:
    text = documents.plain(_any_story(desk), desk.dice.choice((0, 72)))
    western = desk.dice.random() < 0.15
    return Made(_named(desk, "txt"), text.encode("cp1252" if western else "utf-8", "replace"))


def long_text(desk: Desk) -> Made:
    chapters = [block for _ in range(desk.many(18, 40)) for block in desk.article()]
    return Made(_named(desk, "txt"), documents.plain(chapters, 72).encode())


def marked_text(desk: Desk) -> Made:
    return Made(_named(desk, "md"), documents.markdown(_any_story(desk)).encode())


def _message(desk: Desk, attached: float) -> bytes:
    prose = desk.prose
    text = "\n\n".join(prose.paragraph("letter", 4) for _ in range(desk.many(3, 14)))
    if desk.dice.random() < 0.5:  # what it answers
        before = [prose.paragraph("letter", 4) for _ in range(desk.dice.randint(1, 6))]
        text += "\n\n" + "\n>\n".join(f"> {line}" for line in before)
    files = [_attachment(desk)] if desk.dice.random() < attached else []
    sent = datetime.combine(prose.moment(), time(desk.dice.randint(6, 22), desk.dice.randrange(60)))
    said = Letter(prose.mail_address(), prose.mail_address(), prose.title(), text, sent, files)
    return message(said, desk.dice)


def _attachment(desk: Desk) -> Attachment:
    if desk.dice.random() < 0.6:
        return Attachment("image001.jpg", "image/jpeg", _inner_photo(desk))
    made = printed_invoice(desk)
    return Attachment(made.name, "application/pdf", made.content)


def mail(desk: Desk) -> Made:
    return Made(_named(desk, "eml"), _message(desk, 0.35))


def exported_mail(desk: Desk) -> Made:
    messages = [_message(Desk(desk.dice), 0.08) for _ in range(desk.many(70, 250, 0.5))]
    return Made(f"{desk.prose.word()}.mbox", mailbox(messages, desk.dice))


def web_page(desk: Desk) -> Made:
    title, menu = desk.prose.title(), [desk.prose.word().title() for _ in range(desk.dice.randint(6, 40))]
    return Made(f"{title}.html", documents.web_page(desk.article(), desk.dice, title, menu))


def calendar(desk: Desk) -> Made:
    events = ""
    for _ in range(desk.many(25, 500)):
        day, about = serial(desk.prose.moment()), desk.prose.sentence("note").replace(",", "\\,")
        events += f"BEGIN:VEVENT\r\nUID:{desk.dice.getrandbits(64):x}@google.com\r\nDTSTAMP:{day}T080000Z\r\n"
        events += f"DTSTART:{day}T{desk.dice.randint(8, 18):02}0000Z\r\nSUMMARY:{desk.prose.title()}\r\n"
        events += f"DESCRIPTION:{about}\r\nSTATUS:CONFIRMED\r\nTRANSP:OPAQUE\r\nEND:VEVENT\r\n"
    return Made(_named(desk, "ics"), f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n".encode())


def contacts(desk: Desk) -> Made:
    cards = ""
    for _ in range(desk.many(12, 300, 1.0)):
        name = desk.prose.person()
        cards += f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{name}\r\nN:{';'.join(reversed(name.split()))};;;\r\n"
        cards += f"TEL;TYPE=CELL:{desk.prose.phone()}\r\nEMAIL:{desk.prose.mail_address()}\r\nEND:VCARD\r\n"
    return Made(_named(desk, "vcf"), cards.encode())


def record(desk: Desk) -> Made:
    """An export of an app as JSON."""
    items = [
        {
            "id": desk.dice.getrandbits(48),
            "title": desk.prose.title(),
            "at": desk.prose.moment().isoformat(),
            "value": round(desk.dice.gauss(50, 20), 3),
            "tags": [desk.prose.word()],
            "text": desk.prose.sentence("note"),
        }
        for _ in range(desk.many(60, 3000, 1.0))
    ]
    text = json.dumps(items, indent=desk.dice.choice((None, 2)), ensure_ascii=False)
    return Made(_named(desk, "json"), text.encode())


def track(desk: Desk) -> Made:
    """A walk or a ride, as a watch writes it down."""
    dice, points = desk.dice, ""
    north, east, moment = dice.uniform(40, 58), dice.uniform(-4, 12), datetime.combine(desk.prose.moment(), time(9))
    for _ in range(desk.many(300, 2500)):
        north += dice.gauss(0, 1e-4)
        east += dice.gauss(0, 1e-4)
        moment += timedelta(seconds=8)
        about = f"<ele>{dice.gauss(120, 9):.1f}</ele><time>{moment.isoformat()}Z</time>"
        points += f'<trkpt lat="{north:.6f}" lon="{east:.6f}">{about}</trkpt>\n'
    head = '<?xml version="1.0"?>\n<gpx version="1.1" creator="Watch" xmlns="http://www.topografix.com/GPX/1/1">'
    body = f"<trk><name>{desk.prose.title()}</name><trkseg>\n{points}</trkseg></trk></gpx>"
    return Made(_named(desk, "gpx"), (head + body).encode())


def settings(desk: Desk) -> Made:
    extension, mark = desk.dice.choice((("yaml", ": "), ("ini", " = "), ("conf", " "), ("toml", " = ")))
    lines = [f"# {desk.prose.sentence('report')}"]
    many = desk.many(25, 200)
    lines += [f'{desk.prose.word()}_{desk.prose.word()}{mark}"{desk.dice.getrandbits(24)}"' for _ in range(many)]
    return Made(f"{desk.prose.word()}.{extension}", "\n".join(lines).encode())


def source(desk: Desk) -> Made:
    """Code as amateurs and their website's builder leave it."""
    extension = desk.dice.choice(("py", "py", "js", "js", "css", "php", "ts", "sql", "sh", "java", "ino"))
    begins, ends = {"py": ("# ", ""), "sh": ("# ", ""), "sql": ("-- ", ""), "css": ("/* ", " */")}.get(
        extension, ("// ", "")
    )
    pieces = []
    for _ in range(desk.many(12, 150, 0.9)):
        said = desk.prose.sentence("manual") if desk.dice.random() < 0.5 else ""
        words = {name: desk.prose.word().split()[0].lower() for name in ("one", "two", "all")}
        code = _CODE.get(extension, _CODE["js"]).format(
            **words,
            number=desk.dice.randint(0, 999),
            colour=f"{desk.dice.getrandbits(24):06x}",
            text=desk.prose.title(),
        )
        pieces.append((f"{begins}{said}{ends}\n" if said else "") + code)
    return Made(f"{desk.prose.word()}.{extension}", "\n".join(pieces).encode())


def locked_packages(desk: Desk) -> Made:
    """What a package manager writes down of a website."""
    needed = {}
    for number in range(desk.many(250, 900)):
        needed[f"node_modules/{desk.prose.word()}-{desk.prose.word()}"] = {
            "version": f"{number % 9}.{number % 17}.{number % 5}",
            "resolved": f"https://packages.example/{number}.tgz",
            "integrity": f"sha512-{desk.dice.getrandbits(352):x}",
            "license": "MIT",
        }
    return Made("package-lock.json", json.dumps({"lockfileVersion": 3, "packages": needed}, indent=2).encode())


def log(desk: Desk) -> Made:
    moment, lines = datetime.combine(desk.prose.moment(), time(6)), []
    for _ in range(desk.many(500, 6000)):
        moment += timedelta(seconds=desk.dice.randrange(400))
        head = f"{moment.isoformat()} {desk.dice.choice(('INFO', 'INFO', 'INFO', 'WARN', 'ERROR'))}"
        lines.append(f"{head} [{desk.prose.word()}] {desk.prose.sentence('note')} {desk.dice.randrange(9999)}ms")
    return Made(f"{desk.prose.word()}.log", "\n".join(lines).encode())


def notebook(desk: Desk) -> Made:
    cells = []
    for number in range(desk.many(12, 60)):
        cells += [
            ("markdown", desk.prose.paragraph("report")),
            ("code", f"{desk.prose.word()} = {number}\nprint({number})"),
        ]
    return Made(_named(desk, "ipynb"), reader_samples.notebook(*cells))


def subtitles(desk: Desk) -> Made:
    text = ""
    for number in range(1, desk.many(300, 1100)):
        minute, second = divmod(number * 3, 60)
        start = f"00:{minute:02}:{second:02},000 --> 00:{minute:02}:{second:02},900"
        text += f"{number}\n{start}\n{desk.prose.sentence()}\n\n"
    return Made(_named(desk, "srt"), text.encode())


def paper(desk: Desk) -> Made:
    marks = {"h1": "\\section{%s}\n\n", "h2": "\\subsection{%s}\n\n", "p": "%s\n\n"}
    body = "".join(marks[block.kind] % block.text.replace("%", "\\%") for block in desk.article())
    text = f"\\documentclass{{article}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    return Made(_named(desk, "tex"), text.encode())


def book(desk: Desk) -> Made:
    chapters = {}
    for number in range(1, desk.dice.randint(8, 24)):
        texts = (desk.prose.paragraph("article", 9) for _ in range(desk.dice.randint(10, 45)))
        chapters[f"ch{number:02}.xhtml"] = "".join(f"<p>{text}</p>\n" for text in texts)
    with zipfile.ZipFile(io.BytesIO(document_samples.epub(chapters))) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    return Made(_named(desk, "epub"), packages.packed(parts))


def noise(kind: str) -> Callable[[Desk], Made]:
    """What nobody reads: a beginning that tells what it is, and bytes that do not pack."""
    name, head, usual, most = _NOISE[kind]

    def make(desk: Desk) -> Made:
        named = name.format(number=desk.dice.randint(1, 9999), word=desk.prose.word())
        return Made(named, head + desk.dice.randbytes(desk.many(usual, most, 0.9)))

    return make


def packed(desk: Desk) -> Made:
    """A zip of things of other kinds."""
    makers = (plain_text, marked_text, document(Desk.letter), printed_invoice, source, photo(640, 480, 70), table)
    return Made(_named(desk, "zip"), packages.archive(_several(desk, makers, desk.many(8, 60))))


def _several(desk: Desk, makers: Sequence[Callable[[Desk], Made]], many: int) -> dict[str, bytes]:
    made = [desk.dice.choice(makers)(Desk(desk.dice)) for _ in range(many)]
    return {f"{number:03} {one.name.replace('/', '-')}": one.content for number, one in enumerate(made)}


def tape(desk: Desk) -> Made:
    """A backup of a website's texts."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", fileobj=out, mtime=0) as squeezed, tarfile.open(fileobj=squeezed, mode="w") as backup:
        for name, content in _several(desk, (source, plain_text, settings), desk.many(12, 60)).items():
            about = tarfile.TarInfo(f"backup/{name}")
            about.size = len(content)
            backup.addfile(about, io.BytesIO(content))
    return Made(_named(desk, "tgz"), out.getvalue())


def empty(desk: Desk) -> Made:
    stem = desk.dice.choice(("Untitled", "New Text Document", desk.prose.word()))
    return Made(f"{stem}.{desk.dice.choice(('txt', 'md', 'csv'))}", b"")


def locked_pdf(desk: Desk) -> Made:
    pages = [documents.plain(desk.letter())[:900].encode("ascii", "ignore").decode()]
    return Made(_named(desk, "pdf"), reader_samples.pdf(pages, encrypted=True))


def locked_office(desk: Desk) -> Made:
    sealed = ("EncryptedPackage", desk.dice.randbytes(desk.many(30_000, 300_000)))
    name = _named(desk, desk.dice.choice(("docx", "xlsx")))
    return Made(name, document_samples.compound(sealed, ("EncryptionInfo", desk.dice.randbytes(1200))))


def cut_pdf(desk: Desk) -> Made:
    """A download that broke off in its first quarter."""
    whole = printed(Desk.report)(desk)
    return Made(whole.name, whole.content[: len(whole.content) // 4])


def cut_document(desk: Desk) -> Made:
    whole = document(Desk.report)(desk)
    return Made(whole.name, whole.content[: len(whole.content) // 2])
