"""The Drive of a teacher of biology and history at a secondary school, and of the thesis on soils that grows beside it:
2,000 files of some ninety kinds, as ten school years leave them.

Worksheets, exams, plans, letters to parents, marks, scans from the copier in the staff room, articles, LaTeX, data,
notebooks, photographs, recordings, mail, what pupils handed in, copies, and now and then something empty, locked or
broken. It was written without a look at the forecast that it is to test. How a folder is filled is told in
`office_folder`; what is in the files is drawn by dice in `school`.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.office import makers as office
from tests.bench.office_folder import Kind, fill
from tests.bench.school import makers as make
from tests.bench.school.makers import document, pictured, printed, scan
from tests.bench.school.texts import Teacher

SEED = 20260309
_LESSONS = (
    "Schule/Bio/Klasse {word}", "Schule/Geschichte/{word}", "Schule/{year}/Bio 11", "Schule/{year}/Geschichte 9b",
    "Schule/Material von {last}", "Schule/Vertretung", "Alter PC/Schule/{word}", "Referendariat/{word}", "Downloads",
    "",
)  # fmt: skip
_EXAMS = ("Schule/{year}/Klassenarbeiten", "Schule/Abitur {year}", "Schule/Klausuren", "Schule/{year}/Bio 11")
_CLASS = ("Schule/{year}/Klassenleitung", "Schule/Fahrten/{place}", "Schule/{year}/Organisation", "Schule/Fachschaft")
_THESIS = ("Diss", "Diss/{word}", "Diss/Kapitel", "Forschung/{word}")
_DATA = ("Diss/data", "Diss/data/{year}", "Forschung/{word}/data", "Diss/R")
_PAPERS = ("Diss/Papers", "Papers", "Papers/{word}", "Downloads", "Forschung/{word}")
_PHOTOS = ("Fotos/{year}", "Schule/Fahrten/{place}", "Diss/Fotos/{place}", "Fotos/Handy")
_OTHER = ("Downloads", "Alter PC/{word}", "Privat/{word}", "")


def make_folder(place: Path, files: int = 2000, seed: int = SEED) -> dict[str, str]:
    """Fill a folder with so many files, at least one of each kind: each file's path and kind. One seed, one folder."""
    return fill(place, KINDS, files, seed, Teacher)


KINDS: tuple[Kind[Teacher], ...] = (
    Kind("worksheet", 150, _LESSONS, document(pictured(Teacher.worksheet, 0.45))),
    Kind("exam", 72, _EXAMS, document(pictured(Teacher.exam, 0.4))),
    Kind("lesson plan", 53, (*_LESSONS, "Referendariat/Entwürfe"), document(Teacher.plan)),
    Kind("handout", 41, _LESSONS, document(pictured(Teacher.handout, 0.5))),
    Kind("letter to parents", 39, _CLASS, document(Teacher.letter)),
    Kind("translated letter", 6, _CLASS, document(Teacher.letter, "uk")),
    Kind("minutes", 19, _CLASS, document(Teacher.minutes)),
    Kind("pupil's essay", 50, ("Schule/{year}/Abgaben", "Schule/{year}/Abgaben/{last}"), document(Teacher.essay)),
    Kind("draft", 12, _THESIS, document(pictured(Teacher.article, 0.4))),
    Kind("old document", 58, ("Alter PC/Schule/{word}", "Schule/Material"), make.old_document, "unsupported"),
    Kind("open text", 38, _LESSONS, make.open_text),
    Kind("rich text", 4, ("Alter PC/Schule/{word}",), make.rich_text),
    Kind("pages of Apple", 4, ("Schule/{year}/Abgaben", "Downloads"), make.pages_of_apple, "unsupported"),
    Kind("native document", 101, (*_LESSONS, *_CLASS), make.native_document, "native"),
    Kind("native sheet", 39, (*_CLASS, "Diss"), office.native_sheet, "native"),
    Kind("native slides", 29, (*_LESSONS, "Schule/{year}/Abgaben"), office.native_slides, "native"),
    Kind("native drawing", 4, _LESSONS, make.drawing("gdraw"), "native"),
    Kind("form", 13, _CLASS, make.pointer("gform"), "form"),
    Kind("site", 2, _CLASS, make.pointer("gsite"), "site"),
    Kind("map", 1, ("Schule/Fahrten/{place}",), make.pointer("gmap"), "map"),
    Kind("shortcut", 11, _OTHER, make.shortcut, "shortcut"),
    Kind("marks", 60, ("Schule/{year}/Noten", *_CLASS), office.workbook),
    Kind("data workbook", 15, _DATA, make.data_workbook),
    Kind("old workbook", 15, ("Alter PC/Schule/{word}", "Schule/{year}/Noten"), office.old_workbook),
    Kind("open workbook", 6, ("Schule/{year}/Noten",), office.open_workbook),
    Kind("list", 19, (*_CLASS, "Downloads"), make.table("csv", ";;,")),
    Kind("data", 45, _DATA, make.table("csv", ",,;", 600)),
    Kind("data with tabs", 7, _DATA, make.table("tsv", "\t", 500)),
    Kind("deck", 70, (*_LESSONS, "Diss/Vorträge"), make.deck),
    Kind("old deck", 11, ("Alter PC/Schule/{word}",), make.old_deck, "unsupported"),
    Kind("open deck", 4, ("Schule/{year}/Abgaben",), office.open_deck),
    Kind("printed worksheet", 64, _LESSONS, printed(pictured(Teacher.worksheet, 0.35))),
    Kind("past exam", 33, ("Schule/Abitur {year}", "Downloads"), printed(pictured(Teacher.exam, 0.7), 10, 11)),
    Kind("printed letter", 22, _CLASS, printed(Teacher.letter)),
    Kind("printed essay", 14, ("Schule/{year}/Abgaben",), printed(Teacher.essay)),
    Kind("printed slides", 21, (*_LESSONS, "Diss/Vorträge"), printed(make.slides_pdf, 20, 24)),
    Kind("curriculum", 13, ("Schule/Fachschaft", "Downloads"), printed(pictured(Teacher.handbook, 0.3), 9, 10, 11)),
    Kind("article", 76, _PAPERS, make.typeset(pictured(Teacher.article, 0.6))),
    Kind("thesis", 4, ("Diss", "Papers"), printed(pictured(Teacher.thesis, 0.7), 10, 11)),
    Kind("receipt", 23, ("Schule/Fahrten/{place}", "Privat/Steuer {year}"), make.receipt),
    Kind("scanned worksheet", 36, _LESSONS, scan(Teacher.worksheet, 1.6, 12, 0), "pages"),
    Kind("scanned letter", 15, ("Privat/{word}", *_CLASS), scan(Teacher.letter, 1.2, 4, 0), "pages"),
    Kind("scanned chapter", 4, ("Papers", "Schule/Geschichte/{word}"), scan(Teacher.article, 11, 30, 0), "pages"),
    Kind("recognised scan", 9, (*_LESSONS, *_PAPERS), scan(Teacher.handout, 3, 20, 1)),
    Kind("scanned picture", 8, _LESSONS, make.scanned_picture, "pages"),
    Kind("fax", 3, ("Alter PC/{word}",), make.fax, "pages"),
    Kind("photo", 79, _PHOTOS, make.photo(1600, 78), "pages"),
    Kind("large photo", 11, _PHOTOS, make.photo(3264, 88), "pages"),
    Kind("phone picture", 29, ("Fotos/Handy",), make.noise("phone picture"), "image"),
    Kind("screenshot", 34, ("Downloads", "Schule/{year}/Organisation", ""), make.screenshot, "pages"),
    Kind("graphic", 33, (*_LESSONS, "Diss/figures"), make.graphic, "pages"),
    Kind("vector", 10, ("Diss/figures", "Schule/Bio/Grafik"), make.drawing("svg")),
    Kind("plain text", 33, (*_LESSONS, "Diss/notes"), make.plain_text),
    Kind("marked text", 35, ("Diss/notes", "Notizen", "Forschung/{word}"), make.marked_text),
    Kind("chapter", 18, _THESIS, make.tex(Teacher.article, "scrbook")),
    Kind("source of a worksheet", 15, ("Schule/Mathe/{word}",), make.tex(Teacher.worksheet, "scrartcl")),
    Kind("bibliography", 6, ("Diss", "Papers"), make.bibliography),
    Kind("litter of LaTeX", 16, _THESIS, make.litter),
    Kind("synchronisation of LaTeX", 4, _THESIS, make.sync),
    Kind("notebook", 17, ("Diss/notebooks", "Schule/Informatik/{word}"), make.notebook),
    Kind("source", 39, ("Diss/R", "Schule/Informatik/{word}", "Schule/{year}/Abgaben"), make.source),
    Kind("statistics", 4, _DATA, make.noise("statistics"), "unsupported"),
    Kind("record", 10, (*_DATA, "Downloads"), make.record),
    Kind("quiz", 8, ("Schule/Moodle",), make.quiz),
    Kind("construction", 8, ("Schule/Mathe/{word}",), make.construction),
    Kind("web page", 21, ("Downloads", *_LESSONS), make.web_page),
    Kind("link", 15, (*_LESSONS, "Downloads"), make.link),
    Kind("mail", 22, ("Mail", "Schule/{year}/Organisation"), make.mail),
    Kind("mailbox", 2, ("Mail",), make.exported_mail),
    Kind("Outlook message", 4, ("Mail",), make.outlook_message, "unsupported"),
    Kind("calendar", 7, ("Schule/{year}/Organisation", "Downloads"), make.calendar),
    Kind("contacts", 3, ("Mail",), office.contacts),
    Kind("subtitles", 6, ("Schule/Filme",), make.subtitles),
    Kind("book", 8, ("Bücher", "Downloads"), make.book),
    Kind("kindle book", 3, ("Bücher",), make.noise("kindle book"), "unsupported"),
    Kind("old scan", 2, ("Papers",), make.noise("old scan"), "unsupported"),
    Kind("film", 10, ("Schule/Filme", "Schule/Fahrten/{place}"), make.noise("film"), "video"),
    Kind("phone film", 6, ("Fotos/Handy",), make.noise("phone film"), "video"),
    Kind("listening exercise", 14, ("Schule/Englisch/Audio",), make.noise("listening exercise"), "audio"),
    Kind("recording", 8, ("Forschung/Interviews", "Diss"), make.noise("recording"), "audio"),
    Kind("zip", 13, ("Schule/{year}/Abgaben", "Downloads"), make.packed),
    Kind("tape", 2, ("Alter PC/Backup",), office.tape),
    Kind("foreign archive", 4, ("Downloads", "Alter PC/Backup"), make.noise("foreign archive"), "archive"),
    Kind("program", 3, ("Downloads",), make.noise("program"), "program"),
    Kind("font", 4, ("Schule/Schriften",), make.noise("font"), "font"),
    Kind("database", 3, ("Diss/data", "Papers"), make.noise("database"), "database"),
    Kind("thumbnails", 5, ("Alter PC/{word}", "Fotos/{year}"), make.noise("thumbnails"), "database"),
    Kind("passwords", 1, ("Privat/{word}",), make.noise("passwords"), "encrypted"),
    Kind("owner of a document", 4, _LESSONS, make.owner, "broken"),
    Kind("empty", 8, _OTHER, office.empty, "empty"),
    Kind("locked pdf", 4, ("Privat/Steuer {year}", "Schule/Abitur {year}"), make.locked_pdf, "encrypted"),
    Kind("locked workbook", 4, ("Schule/{year}/Noten",), make.locked_workbook, "encrypted"),
    Kind("cut pdf", 3, ("Downloads",), make.cut(make.typeset(Teacher.article), 0.3), "broken"),
    Kind("cut deck", 2, ("Downloads",), make.cut(make.deck, 0.6), "broken"),
    Kind("copy", 57, (*_OTHER, "Alter PC/Backup/{word}"), None, "copy"),
)  # fmt: skip
