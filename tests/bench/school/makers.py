"""Who makes one file of a kind: the texts are told by `texts`, the wrapping is that of `tests.bench.office` and, where
a school's files differ from an office's, made here."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta

from PIL import Image

from tests.bench.office import documents, packages, pdf, pictures, sheets
from tests.bench.office.mail import Attachment, Letter, mailbox, message
from tests.bench.office.makers import Made
from tests.bench.office.packages import Block, shown
from tests.bench.school.texts import Teacher
from tests.unit import document_samples, reader_samples

Make = Callable[[Teacher], Made]
Story = Callable[[Teacher], list[Block]]
# What no reader opens: a name, the first bytes, how many bytes are usual, and the most.
_NOISE = {
    "film": (".mp4", b"\0\0\0\x18ftypisom" + bytes(8), 2_400_000, 12_000_000),
    "phone film": (".MOV", b"\0\0\0\x14ftypqt  " + bytes(8), 2_000_000, 9_000_000),
    "listening exercise": (".mp3", b"ID3\4\0\0\0\0\0\0", 1_400_000, 4_500_000),
    "recording": (".m4a", b"\0\0\0\x18ftypM4A " + bytes(8), 900_000, 5_000_000),
    "phone picture": (".HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 900_000, 2_200_000),
    "foreign archive": (".rar", b"Rar!\x1a\x07\1\0", 1_100_000, 6_000_000),
    "program": (".exe", b"MZ\x90\0\3\0\0\0", 2_500_000, 8_000_000),
    "font": (".ttf", b"\0\1\0\0\0\x11\1\0", 75_000, 240_000),
    "database": (".sqlite", b"SQLite format 3\0", 300_000, 2_500_000),
    "kindle book": (".mobi", bytes(60) + b"BOOKMOBI", 600_000, 2_400_000),
    "old scan": (".djvu", b"AT&TFORM\0\0", 1_200_000, 6_000_000),
    "statistics": (".sav", b"$FL2@(#) \0\0\0\2\0\0\0", 60_000, 900_000),
    "thumbnails": ("Thumbs.db", bytes(3) + b"\xff\xfe\1", 18_000, 90_000),
    "passwords": (".kdbx", b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5", 5_000, 12_000),
}
# What cp1252 lacks and a formula needs; the rest is a question mark, as in many a PDF of a formula.
_PRINTED = str.maketrans({**dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)), "→": ">", "−": "–"})
_TEX = {"h1": "\\chapter{%s}\n\\label{ch:%d}\n\n", "h2": "\\section{%s}\\label{sec:%d}\n\n", "li": "\\item %s %% %d\n"}
_FORMULA = "\\begin{align}\n  \\frac{%d x^{%d}}{\\sqrt{%d}} &= \\sum_{i=1}^{n} \\beta_{%d} x_i \\\\\n\\end{align}\n"


def named(desk: Teacher, extension: str) -> str:
    """As teachers name their files: the class, the subject, the number of the edition; or as nobody does."""
    dice, title = desk.dice, desk.prose.title()
    year = f"{dice.randint(5, 13)}{dice.choice('abcd')}"
    stems = (
        title, f"{year} {title}", f"AB {dice.randint(1, 30)} {title}", f"{title}_{desk.prose.moment():%Y-%m-%d}",
        f"{title} neu", f"{title}_final_v{dice.randint(2, 9)}", f"KA{dice.randint(1, 4)}_{year}_{dice.choice('AB')}",
        f"{desk.prose.moment():%y%m%d}_{desk.prose.word()}",
        f"{desk.prose.person().replace(' ', '_')}_{desk.prose.word()}", f"Dokument{dice.randint(1, 40)}",
    )  # fmt: skip
    return f"{dice.choice(stems)}.{extension}"


def inner_picture(desk: Teacher) -> bytes:
    """A drawing, a photograph or a cut-out of a book, as it stands in a document."""
    width = desk.dice.choice((240, 240, 420, 420, 640, 640, 1000, 1600))
    taken = datetime.combine(desk.prose.moment(), time(10))
    return pictures.photograph(desk.dice, width, width * 3 // 4, taken, desk.dice.choice((70, 85, 92)))


def pictured(story: Callable[[Teacher, Callable[[], bytes] | None], list[Block]], share: float) -> Story:
    """The story; so many of them, from 0 to 1, with pictures."""
    return lambda desk: story(desk, (lambda: inner_picture(desk)) if desk.dice.random() < share else None)


def document(story: Story, language: str = "") -> Make:
    """Word documents; some with what is in no text: equations as objects, fonts, a preview."""

    def make(desk: Teacher) -> Made:
        desk = Teacher(desk.dice, language) if language else desk
        margin = f"{desk.prose.firm()} {desk.prose.title()}" if desk.dice.random() < 0.4 else ""
        content = documents.docx(story(desk), desk.dice, margin)
        return Made(named(desk, "docx"), _heavier(content, desk) if desk.dice.random() < 0.3 else content)

    return make


def _heavier(content: bytes, desk: Teacher) -> bytes:
    dice, parts = desk.dice, dict[str, bytes]()
    preview = pictures.photograph(dice, 180, 255, datetime.combine(desk.prose.moment(), time(9)), 70)
    parts |= {"docProps/thumbnail.jpeg": preview} if dice.random() < 0.4 else {}
    for number in range(desk.many(9, 60) if dice.random() < 0.5 else 0):
        equation = ("Equation Native", bytes(900) + dice.randbytes(dice.randint(60, 400)))
        parts[f"word/embeddings/oleObject{number}.bin"] = document_samples.compound(equation)
        parts[f"word/media/image9{number}.wmf"] = b"\xd7\xcd\xc6\x9a" + dice.randbytes(dice.randint(200, 1500)) * 2
    for number in range(dice.randint(1, 4) if dice.random() < 0.3 else 0):
        parts[f"word/fonts/font{number}.odttf"] = dice.randbytes(dice.randint(40_000, 160_000))
    return _with(content, parts)


def open_text(desk: Teacher) -> Made:
    return Made(named(desk, "odt"), documents.odt(any_story(desk), desk.dice))


def rich_text(desk: Teacher) -> Made:
    return Made(named(desk, "rtf"), documents.rtf(desk.essay()))


def any_story(desk: Teacher) -> list[Block]:
    short = (desk.worksheet, desk.letter, desk.note)
    long = (desk.worksheet, desk.plan, desk.minutes, desk.essay, desk.handout, desk.exam)
    return desk.dice.choices((desk.dice.choice(short), desk.dice.choice(long), desk.article), (40, 55, 5))[0]()


def old_document(desk: Teacher) -> Made:
    text = documents.plain(any_story(desk)).encode("utf-16-le") + desk.dice.randbytes(desk.many(9_000, 700_000, 1.4))
    return Made(named(desk, "doc"), document_samples.compound(("WordDocument", bytes(1536) + text)))


def old_deck(desk: Teacher) -> Made:
    content = desk.dice.randbytes(desk.many(500_000, 3_000_000, 0.9))
    return Made(named(desk, "ppt"), document_samples.compound(("PowerPoint Document", content)))


def outlook_message(desk: Teacher) -> Made:
    content = desk.dice.randbytes(desk.many(40_000, 300_000, 0.9))
    return Made(named(desk, "msg"), document_samples.compound(("__properties_version1.0", content)))


def native_document(desk: Teacher) -> Made:
    return Made(named(desk, "gdoc"), documents.markdown(any_story(desk)).encode())


def drawing(extension: str) -> Make:
    """A plot or a sketch: many paths, some words."""

    def make(desk: Teacher) -> Made:
        dice = desk.dice
        points = (f"{x * 3},{dice.gauss(200, 60):.2f}" for x in range(desk.many(160, 4000, 1.0)))
        words = "".join(
            f'<text x="{dice.randint(0, 600)}" y="{dice.randint(0, 400)}">{desk.prose.word()}</text>'
            for _ in range(dice.randint(3, 30))
        )
        line = f'<polyline fill="none" stroke="#333" points="{" ".join(points)}"/>'
        return Made(named(desk, extension), f'<svg xmlns="http://www.w3.org/2000/svg">{line}{words}</svg>'.encode())

    return make


def pointer(extension: str) -> Make:
    """A native file that has a name and a place, and nothing else."""
    return lambda desk: Made(named(desk, extension), json.dumps({"title": desk.prose.title()}).encode())


def shortcut(desk: Teacher) -> Made:
    return Made(named(desk, "gshortcut"), json.dumps({"target": f"Schule/{desk.prose.title()}.docx"}).encode())


def data_workbook(desk: Teacher) -> Made:
    tabs = {name: desk.data(350) for name in ("raw", "clean", "Auswertung")[: desk.dice.randint(1, 3)]}
    return Made(named(desk, "xlsx"), sheets.xlsx(tabs, desk.dice))


def table(extension: str, delimiters: str, usual: float = 0) -> Make:
    """A list as school programs export it, in the letters of Windows, or about so many rows of measurements."""

    def make(desk: Teacher) -> Made:
        rows = desk.data(usual, 20_000) if usual else desk.dice.choice((desk.pupils, desk.marks))()
        delimiter, text = desk.dice.choice(delimiters), io.StringIO()
        csv.writer(text, delimiter=delimiter).writerows([[shown(cell) for cell in row] for row in rows])
        return Made(
            named(desk, extension), text.getvalue().encode("cp1252" if delimiter == ";" else "utf-8", "replace")
        )

    return make


def deck(desk: Teacher) -> Made:
    """With pictures, mostly, and now and then with a film in it."""
    content = sheets.pptx(desk.slides((lambda: inner_picture(desk)) if desk.dice.random() < 0.8 else None), desk.dice)
    if desk.dice.random() < 0.08:
        content = _with(content, {"ppt/media/media1.mp4": desk.dice.randbytes(desk.many(1_200_000, 4_000_000))})
    return Made(named(desk, "pptx"), content)


def _printable(blocks: Sequence[Block]) -> list[Block]:
    """In the letters that the fonts of our PDFs have."""
    return [
        replace(
            block,
            text=block.text.translate(_PRINTED),
            rows=[[cell.translate(_PRINTED) if isinstance(cell, str) else cell for cell in row] for row in block.rows],
        )
        for block in blocks
    ]


def printed(story: Story, *sizes: int) -> Make:
    """PDFs as an office program exports them, in letters of one of these sizes."""

    def make(desk: Teacher) -> Made:
        title, size = desk.prose.title(), desk.dice.choice(sizes or (10, 11, 11, 12, 14))
        return Made(named(desk, "pdf"), pdf.exported(_printable(story(desk)), desk.dice, title, size))

    return make


def typeset(story: Story) -> Make:
    """PDFs of journals, named by their publishers or by those who collect them."""

    def make(desk: Teacher) -> Made:
        dice, blocks = desk.dice, _printable(story(desk))
        names = (
            f"1-s2.0-S{dice.randint(10**14, 10**15)}-main.pdf", f"{desk.prose.cited()}.pdf",
            f"{desk.prose.title()}.pdf", f"s{dice.randint(10000, 99999)}-0{dice.randint(10, 26)}-y.pdf",
        )  # fmt: skip
        return Made(dice.choice(names), pdf.typeset(blocks, dice, desk.prose.title(), dice.choice((8, 9, 9, 10))))

    return make


def receipt(desk: Teacher) -> Made:
    """With a logo, or as plain as a till prints it."""
    logo = [Block("picture", picture=inner_picture(desk))] if desk.dice.random() < 0.4 else []
    write = pdf.exported if desk.dice.random() < 0.6 else pdf.printed
    content = write(_printable([*logo, *desk.receipt()]), desk.dice, "Rechnung")
    return Made(f"Rechnung_{desk.dice.getrandbits(24)}.pdf", content)


def slides_pdf(desk: Teacher) -> list[Block]:
    slides = desk.slides((lambda: inner_picture(desk)) if desk.dice.random() < 0.6 else None)
    told = (
        [Block("h1", one.title), *(Block("li", line) for line in one.lines), Block("picture", picture=one.picture)]
        for one in slides
    )
    return [block for blocks in told for block in blocks if block.kind != "picture" or block.picture]


def _sheet_of(desk: Teacher, story: Story, dpi: int) -> tuple[bytes, str]:
    text = documents.plain(story(desk))
    return pictures.scanned(desk.dice, text, dpi, desk.dice.choice((40, 55, 75))), text


def scan(story: Story, usual: float, most: int, searchable: float) -> Make:
    """So many pages from the copier in the staff room; of so many files, from 0 to 1, it recognised the text, too."""

    def make(desk: Teacher) -> Made:
        dpi = desk.dice.choice((100, 150, 150, 200))
        pages = [_sheet_of(desk, story, dpi) for _ in range(desk.many(usual, most, 0.8))]
        recognised = desk.dice.random() < searchable
        seen = [text if recognised else "" for _, text in pages]
        name = desk.dice.choice(
            (f"SKM_C{desk.dice.getrandbits(40)}.pdf", f"Scan {desk.prose.moment()}.pdf", named(desk, "pdf"))
        )
        return Made(name, pdf.scanned([page for page, _ in pages], seen, desk.dice))

    return make


def scanned_picture(desk: Teacher) -> Made:
    return Made(f"Scan{desk.dice.randint(1, 9999):04}.jpg", _sheet_of(desk, Teacher.worksheet, 150)[0])


def fax(desk: Teacher) -> Made:
    pages = [
        Image.open(io.BytesIO(_sheet_of(desk, Teacher.letter, 150)[0])).convert("1")
        for _ in range(desk.dice.randint(1, 4))
    ]
    out = io.BytesIO()
    pages[0].save(out, "TIFF", compression="group4", save_all=True, append_images=pages[1:])
    return Made(named(desk, "tif"), out.getvalue())


def photo(width: int, quality: int) -> Make:
    """Of an excursion, of the blackboard, of an experiment."""

    def make(desk: Teacher) -> Made:
        taken = datetime.combine(desk.prose.moment(), time(desk.dice.randint(8, 16), desk.dice.randrange(60)))
        content = pictures.photograph(desk.dice, width, width * 3 // 4, taken, quality)
        names = (
            f"IMG_{desk.dice.randint(1, 9999):04}.JPG",
            f"{taken:%Y%m%d_%H%M%S}.jpg",
            f"Tafelbild {taken:%d.%m.}.jpg",
        )
        return Made(desk.dice.choice(names), content)

    return make


def screenshot(desk: Teacher) -> Made:
    lines = [desk.prose.sentence(desk.dice.choice(("lesson", "note"))) for _ in range(desk.dice.randint(2, 22))]
    size = desk.dice.choice(((1366, 768), (1920, 1080), (800, 500), (750, 1334)))
    name = f"Bildschirmfoto {desk.prose.moment()} um {desk.dice.randint(7, 23):02}.{desk.dice.randint(10, 59)}.png"
    return Made(name, pictures.screenshot(desk.dice, lines, *size))


def graphic(desk: Teacher) -> Made:
    kind, side = desk.dice.choice(("PNG", "PNG", "PNG", "GIF", "WEBP")), desk.dice.choice((120, 300, 512, 900))
    return Made(named(desk, kind.lower()), pictures.drawn(desk.dice, kind, side, side * 2 // 3))


def plain_text(desk: Teacher) -> Made:
    return Made(
        named(desk, "txt"),
        documents.plain(any_story(desk)).encode(desk.dice.choice(("utf-8", "utf-8", "cp1252", "utf-16")), "replace"),
    )


def marked_text(desk: Teacher) -> Made:
    return Made(
        named(desk, "md"), documents.markdown(desk.dice.choice((desk.note, desk.handout, desk.plan))()).encode()
    )


def tex(story: Story, kind: str) -> Make:
    """A source of LaTeX with its formulas and citations."""

    def make(desk: Teacher) -> Made:
        said = f"\\documentclass[11pt,a4paper]{{{kind}}}\n\\usepackage[utf8]{{inputenc}}\n"
        said += "\\usepackage{amsmath,siunitx}\n\\begin{document}\n"
        for number, block in enumerate(story(desk)):
            text = block.text.replace("%", "\\%").replace("&", "\\&").replace("_", "\\_")
            said += _TEX[block.kind] % (text, number) if block.kind in _TEX else f"{text}~\\cite{{{_key(desk)}}}\n\n"
            for row in block.rows:
                said += f"  {' & '.join(map(shown, row))} \\\\ \\hline\n"
            if desk.dice.random() < 0.12:
                said += _FORMULA % tuple(desk.dice.randint(1, 99) for _ in range(4))
        return Made(named(desk, "tex"), f"{said}\\end{{document}}\n".encode())

    return make


def _key(desk: Teacher) -> str:
    return desk.prose.cited().split()[0].lower() + str(desk.dice.randint(1970, 2026))


def bibliography(desk: Teacher) -> Made:
    said = ""
    for _ in range(desk.many(90, 900, 1.0)):
        who, year = (
            " and ".join(desk.prose.person() for _ in range(desk.dice.randint(1, 6))),
            desk.dice.randint(1970, 2026),
        )
        said += f"@article{{{_key(desk)},\n  author = {{{who}}},\n  year = {{{year}}},\n"
        said += f"  title = {{{{{desk.prose.title()}}}}},\n"
        said += f"  doi = {{10.{desk.dice.randint(1000, 9999)}/{desk.dice.getrandbits(40):x}}},\n"
        said += f"  abstract = {{{desk.prose.paragraph('report', 9)}}},\n" if desk.dice.random() < 0.5 else ""
        said += f"  file = {{:Papers/{desk.dice.getrandbits(32):08x}.pdf:PDF}}\n}}\n\n"
    return Made(f"{desk.prose.word()}.bib", said.encode())


def litter(desk: Teacher) -> Made:
    """What LaTeX leaves beside its source."""
    extension, said = desk.dice.choice(("aux", "toc", "log", "out", "bbl")), ""
    for number in range(desk.many(120, 2500, 1.0)):
        said += f"\\@writefile{{toc}}{{\\contentsline {{section}}{{\\numberline {{{number}}}{desk.prose.title()}}}}}\n"
        said += f"Overfull \\hbox ({desk.dice.random() * 30:.5f}pt too wide) at lines {number}--{number + 9}\n"
    return Made(f"{desk.prose.word()}.{extension}", said.encode())


def sync(desk: Teacher) -> Made:
    lines = (
        f"x{n % 40},{desk.dice.randint(1, 900)}:{desk.dice.getrandbits(24)},{desk.dice.getrandbits(24)}"
        for n in range(desk.many(2500, 20_000))
    )
    return Made(f"{desk.prose.word()}.synctex.gz", gzip.compress("\n".join(lines).encode(), mtime=0))


def notebook(desk: Teacher) -> Made:
    """Cells with what they printed and drew."""
    cells: list[Mapping[str, object]] = []
    for number in range(desk.many(18, 110, 0.8)):
        if number % 3 == 0:
            lines = desk.prose.paragraph("report", 5).splitlines(keepends=True)
            cells.append({"cell_type": "markdown", "metadata": {}, "source": lines})
            continue
        shows = [_shown_below(desk)] if desk.dice.random() < 0.6 else []
        code = {"execution_count": number, "outputs": shows, "source": _code(desk, "py").splitlines(keepends=True)}
        cells.append({"cell_type": "code", "metadata": {}, **code})
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return Made(named(desk, "ipynb"), json.dumps(whole, indent=1).encode())


def _shown_below(desk: Teacher) -> Mapping[str, object]:
    """A drawing or a table below a cell."""
    if desk.dice.random() < 0.3:
        drawn = base64.b64encode(pictures.drawn(desk.dice, "PNG", 380, 250)).decode()
        return {"output_type": "display_data", "data": {"image/png": drawn}, "metadata": {}}
    lines = [" ".join(f"{shown(cell):>9}" for cell in row) + "\n" for row in desk.data(6, 20)]
    return {"output_type": "display_data", "data": {"text/plain": lines}, "metadata": {}}


def source(desk: Teacher) -> Made:
    extension = desk.dice.choice(("R", "R", "py", "py", "java", "java", "cpp"))
    return Made(
        f"{desk.prose.word()}.{extension}",
        "".join(_code(desk, extension) for _ in range(desk.many(16, 140, 1.0))).encode(),
    )


def _code(desk: Teacher, extension: str) -> str:
    one, two = (desk.prose.word().split()[0].lower() for _ in range(2))
    number, comment = desk.dice.randint(1, 400), desk.prose.sentence("note")
    if extension == "R":
        model = f"{one}_m <- lmer({two} ~ {one} * site + (1 | plot), data = d)\nsummary({one}_m)\n"
        return f"# {comment}\n{model}ggplot(d, aes({one}, {two})) + geom_point(alpha = .{number}) + theme_bw()\n\n"
    if extension == "py":
        frame = f'df = pd.read_csv("data/{one}_{number}.csv", sep=";")\ndf["{two}"] = df["{one}"].rolling({number})\n'
        return f'# {comment}\n{frame}print(df.groupby("{one}")["{two}"].agg(["mean", "std"]))\n\n'
    body = f"  for (int i = 0; i < {number}; i++) {{\n    {two}[i] = {one}.get(i) * {number}; // {comment}\n  }}\n"
    return f"public static int {one}{number}(List<Integer> {one}, int[] {two}) {{\n{body}  return {two}.length;\n}}\n\n"


def _message(desk: Teacher, attached: float) -> bytes:
    prose, dice = desk.prose, desk.dice
    text = "\n\n".join(prose.paragraph("letter", 4) for _ in range(desk.many(2, 12)))
    for depth in range(dice.choice((0, 0, 1, 2, 4))):
        mark = ">" * (depth + 1)
        text += f"\n\n{mark} {prose.person()}, {prose.day()}:\n{mark} {prose.paragraph('letter', 4)}"
    files = (
        [Attachment("Anlage.pdf", "application/pdf", printed(Teacher.letter)(desk).content)]
        if dice.random() < attached
        else []
    )
    sent = datetime.combine(prose.moment(), time(dice.randint(6, 23), dice.randrange(60)))
    return message(Letter(prose.mail_address(), prose.mail_address(), prose.title(), text, sent, files), dice)


def mail(desk: Teacher) -> Made:
    return Made(named(desk, "eml"), _message(desk, 0.4))


def exported_mail(desk: Teacher) -> Made:
    return Made(
        f"{desk.prose.word()}.mbox", mailbox([_message(desk, 0.05) for _ in range(desk.many(110, 300, 0.6))], desk.dice)
    )


def web_page(desk: Teacher) -> Made:
    menu = [desk.prose.title() for _ in range(desk.dice.randint(12, 90))]
    return Made(f"{desk.prose.title()}.html", documents.web_page(desk.handout(), desk.dice, desk.prose.title(), menu))


def calendar(desk: Teacher) -> Made:
    said, day = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Untis//\r\n",
        datetime.combine(desk.prose.moment(), time(7, 50)),
    )
    for _ in range(desk.many(60, 900, 1.0)):
        day += timedelta(hours=desk.dice.randint(1, 40))
        said += (
            f"BEGIN:VEVENT\r\nUID:{desk.dice.getrandbits(80):x}\r\nDTSTART;TZID=Europe/Berlin:{day:%Y%m%dT%H%M%S}\r\n"
        )
        said += (
            f"DURATION:PT45M\r\nSUMMARY:{desk.prose.title()}\r\nLOCATION:R{desk.dice.randint(1, 340)}\r\nEND:VEVENT\r\n"
        )
    return Made(named(desk, "ics"), f"{said}END:VCALENDAR\r\n".encode())


def quiz(desk: Teacher) -> Made:
    """Questions for Moodle."""
    said = '<?xml version="1.0" encoding="UTF-8"?>\n<quiz>\n'
    for number in range(desk.many(20, 200)):
        said += f'<question type="multichoice"><name><text>Q{number}</text></name><questiontext format="html"><text>'
        said += f"<![CDATA[<p>{desk.prose.sentence('task')}</p>]]></text></questiontext>\n"
        said += (
            "".join(
                f'<answer fraction="{25 * (n == 0)}"><text>{desk.prose.title()}</text></answer>\n' for n in range(4)
            )
            + "</question>\n"
        )
    return Made(named(desk, "xml"), f"{said}</quiz>\n".encode())


def record(desk: Teacher) -> Made:
    """Answers of a survey, places on a map."""
    items = [
        {"type": "Feature",
         "geometry": {"type": "Point", "coordinates": [desk.dice.gauss(9, 2), desk.dice.gauss(52, 1)]},
         "properties": {"id": number, "name": desk.prose.title(), "remark": desk.prose.sentence("note")}}
        for number in range(desk.many(40, 1500, 1.1))
    ]  # fmt: skip
    text = json.dumps(
        {"type": "FeatureCollection", "features": items}, indent=desk.dice.choice((None, 1)), ensure_ascii=False
    )
    return Made(named(desk, desk.dice.choice(("json", "geojson"))), text.encode())


def subtitles(desk: Teacher) -> Made:
    times = ((n, f"00:{n // 20:02}:{n % 20 * 3:02}") for n in range(1, desk.many(140, 1100)))
    lines = (f"{n}\n{at},000 --> {at},950\n{desk.prose.sentence('lesson')}\n" for n, at in times)
    return Made(named(desk, "srt"), "\n".join(lines).encode())


def book(desk: Teacher) -> Made:
    chapters = {}
    for number in range(1, desk.dice.randint(7, 30)):
        said = "".join(f"<p>{desk.prose.paragraph('article', 10)}</p>\n" for _ in range(desk.many(30, 120)))
        chapters[f"c{number:03}.xhtml"] = f"<h1>{desk.prose.title()}</h1>{said}"
    return Made(named(desk, "epub"), _with(document_samples.epub(chapters), {}))


def _with(content: bytes, parts: Mapping[str, bytes]) -> bytes:
    """A zip with these parts, too, and without the time at which it was made."""
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        return packages.packed({name: made.read(name) for name in made.namelist()} | dict(parts))


def construction(desk: Teacher) -> Made:
    """A sketch of GeoGebra: a zip of XML and a preview."""
    elements = (
        f'<element type="point" label="P{number}"><coords x="{desk.dice.gauss(0, 5):.9f}" y="0"/></element>\n'
        for number in range(desk.many(30, 300))
    )
    parts = {
        "geogebra_thumbnail.png": pictures.drawn(desk.dice, "PNG", 240, 160),
        "geogebra.xml": f"<geogebra>{''.join(elements)}</geogebra>".encode(),
    }
    return Made(named(desk, "ggb"), packages.archive({**parts, "geogebra_javascript.js": b"function ggbOnInit() {}"}))


def pages_of_apple(desk: Teacher) -> Made:
    parts = {f"Index/{name}.iwa": desk.dice.randbytes(desk.many(30_000, 400_000)) for name in ("Document", "Tables")}
    return Made(
        named(desk, desk.dice.choice(("pages", "key"))), packages.archive({**parts, "preview.jpg": inner_picture(desk)})
    )


def packed(desk: Teacher) -> Made:
    """What a class handed in."""
    kinds = (document(Teacher.essay), printed(Teacher.essay), open_text, photo(1000, 70), plain_text, source)
    made = [desk.dice.choice(kinds)(Teacher(desk.dice)) for _ in range(desk.many(11, 34, 0.6))]
    entries = {f"{n:02} {one.name.replace('/', '-')}": one.content for n, one in enumerate(made)}
    return Made(named(desk, "zip"), packages.archive(entries))


def link(desk: Teacher) -> Made:
    address = f"https://www.{desk.prose.word().split()[0].lower()}.example/{desk.dice.getrandbits(40):x}"
    return Made(f"{desk.prose.title()}.url", f"[InternetShortcut]\r\nURL={address}\r\nIconIndex=0\r\n".encode())


def noise(kind: str) -> Make:
    """A beginning that tells what it is, and bytes that do not pack."""
    end, head, usual, most = _NOISE[kind]

    def make(desk: Teacher) -> Made:
        name = named(desk, end[1:]) if end.startswith(".") else end
        return Made(name, head + desk.dice.randbytes(desk.many(usual, most, 0.8)))

    return make


def owner(desk: Teacher) -> Made:
    """What Word leaves beside an open document: who has opened it."""
    who = desk.prose.person()
    content = (
        bytes([len(who)])
        + who.encode("cp1252").ljust(54)
        + bytes([len(who), 0])
        + who.encode("utf-16-le").ljust(105, b"\0")
    )
    return Made(f"~${named(desk, 'docx')[2:]}", content[:162])


def locked_pdf(desk: Teacher) -> Made:
    pages = [
        documents.plain(desk.letter())[:1500].encode("ascii", "ignore").decode() for _ in range(desk.dice.randint(1, 6))
    ]
    return Made(named(desk, "pdf"), reader_samples.pdf(pages, encrypted=True))


def locked_workbook(desk: Teacher) -> Made:
    sealed = ("EncryptedPackage", desk.dice.randbytes(desk.many(22_000, 200_000)))
    return Made(named(desk, "xlsx"), document_samples.compound(sealed, ("EncryptionInfo", desk.dice.randbytes(1100))))


def cut(make: Make, share: float) -> Make:
    """A file that was not transferred whole."""

    def broken(desk: Teacher) -> Made:
        whole = make(desk)
        return Made(whole.name, whole.content[: int(len(whole.content) * share)])

    return broken
