"""The Drive of a small joinery and the household behind it, as ten years leave it: 2,000 files of some eighty kinds.

Office documents and their older kin, native Google files, invoices, manuals, scans, photographs, mail, notes, source
code, web pages, films, copies, and now and then something empty, locked or broken. It was written without a look at
the forecast that it is to test. What is in the files is drawn by dice in `office`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Generic, TypeVar

from tests.bench.office import makers as make
from tests.bench.office.makers import Made
from tests.bench.office.prose import Prose
from tests.bench.office.stories import Desk

SEED = 20260214
_DOCUMENTS = (
    "Customers/{last}", "Customers/{last}/Letters", "Office/{year}", "Office/Contracts", "Office/Templates",
    "Choir/{year}", "Home/Letters", "Home/House", "Home/School/{year}", "Old laptop/Documents", "Downloads", "Staff",
    "",
)  # fmt: skip
_ACCOUNTS = ("Accounts/{year}", "Accounts/{year}/Purchases", "Accounts/{year}/Bank", "Customers/{last}", "Downloads")
_PHOTOS = ("Photos/{year}", "Photos/{year}/{place}", "Customers/{last}/Photos", "Photos/From the phone")
_CODE = ("Website/src", "Website/src/{word}", "Code/{word}", "Home/School/{year}/Informatics")
_OTHER = ("Downloads", "Old laptop/Documents", "Home/{word}", "Office/{word}", "")


Writer = TypeVar("Writer", bound=Desk)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Writer]):
    """So many files of a kind among 2,000, where they lie, who makes one (nobody makes a copy of an earlier one), and
    what readers find: text, pages for recognition, what an export of a native file holds, or the code of a reason."""

    name: str
    count: int
    folders: Sequence[str]
    make: Callable[[Writer], Made] | None
    found: str = "text"


def make_folder(place: Path, files: int = 2000, seed: int = SEED) -> dict[str, str]:
    """Fill a folder with so many files, at least one of each kind: each file's path and kind. One seed, one folder."""
    return fill(place, KINDS, files, seed, Desk)


def fill(
    place: Path, kinds: Sequence[Kind[Writer]], files: int, seed: int, writer: Callable[[random.Random], Writer]
) -> dict[str, str]:
    """A folder with files of these kinds, in the hand of the writer whom dice make: each file's path and kind."""
    known: dict[str, str] = {}
    for kind, many in _counts(kinds, files):
        for number in range(many):
            dice = random.Random(f"{seed} {kind.name} {number}")
            desk = writer(dice)
            made = kind.make(desk) if kind.make else _copied(place, [*known], dice)
            few = writer(random.Random(dice.randrange(25))).prose  # few people: a folder holds more than one file
            path = _free(f"{_where(kind.folders, few, dice)}/{_fitting(made.name)}".lstrip("/"), known)
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(made.content)
            saved = datetime.combine(desk.prose.moment(), time(dice.randrange(24), dice.randrange(60)), UTC).timestamp()
            os.utime(file, (saved, saved))
            known[path] = kind.name
    return known


def _counts(kinds: Sequence[Kind[Writer]], files: int) -> list[tuple[Kind[Writer], int]]:
    """One of each, and the others by their shares."""
    rest, whole = files - len(kinds), sum(kind.count - 1 for kind in kinds)
    if rest < 0:
        raise ValueError(f"There are {len(kinds)} kinds, so there must be as many files.")
    ends, seen = [0], 0
    for kind in kinds:
        seen += kind.count - 1
        ends.append(round(rest * seen / whole))
    return [(kind, 1 + ends[at + 1] - ends[at]) for at, kind in enumerate(kinds)]


def _where(folders: Sequence[str], few: Prose, dice: random.Random) -> str:
    return dice.choice(folders).format(
        last=few.person().split()[1],
        place=few.street().split("\n")[1],
        word=few.word(),
        year=dice.randint(2016, 2026),
    )


def _fitting(name: str) -> str:
    return name.replace("/", "-").strip(". ")[-120:]


def _free(path: str, taken: dict[str, str]) -> str:
    stem, extension = _split(path)
    number, free = 1, path
    while free in taken:
        number += 1
        free = f"{stem} ({number}){extension}"
    return free


def _split(path: str) -> tuple[str, str]:
    extension = Path(path).suffix
    return path.removesuffix(extension), extension


def _copied(place: Path, known: Sequence[str], dice: random.Random) -> Made:
    """An earlier file again, as it is kept beside, mailed to oneself, or downloaded twice."""
    first = dice.choice(known)
    name = first.rpartition("/")[2]
    stem, extension = _split(name)
    beside = (f"Copy of {name}", f"{stem} (1){extension}", f"{stem} - old{extension}", name)
    return Made(dice.choice(beside), (place / first).read_bytes())


KINDS: tuple[Kind[Desk], ...] = (
    Kind("letter", 60, _DOCUMENTS, make.document(Desk.letter, 0.25)),
    Kind("minutes", 29, ("Choir/{year}", "Office/Minutes", "Home/School/{year}"), make.document(Desk.minutes)),
    Kind("report", 51, _DOCUMENTS, make.document(Desk.report)),
    Kind("illustrated report", 21, _DOCUMENTS, make.illustrated),
    Kind("essay", 34, ("Home/School/{year}", "Home/Writing", "Website/Articles"), make.document(Desk.article)),
    Kind("contract", 21, ("Office/Contracts", "Home/House", "Staff"), make.document(Desk.contract)),
    Kind("quotation", 29, ("Customers/{last}", "Office/{year}"), make.document(Desk.invoice, 0.3)),
    Kind("native document", 116, _DOCUMENTS, make.native_document, "native"),
    Kind("native sheet", 70, (*_ACCOUNTS, "Choir/{year}"), make.native_sheet, "native"),
    Kind("native slides", 22, ("Office/Talks", "Home/School/{year}"), make.native_slides, "native"),
    Kind("native drawing", 3, _OTHER, make.native_drawing, "native"),
    Kind("form", 5, ("Choir/{year}", "Office/{year}"), make.form, "form"),
    Kind("shortcut", 9, _OTHER, make.shortcut, "shortcut"),
    Kind("open text", 21, _DOCUMENTS, make.open_text),
    Kind("rich text", 10, ("Old laptop/Documents", "Home/Letters"), make.rich_text),
    Kind("old document", 21, ("Old laptop/Documents", "Old laptop/Letters"), make.old_document, "unsupported"),
    Kind("old deck", 4, ("Old laptop/Documents",), make.old_deck, "unsupported"),
    Kind("workbook", 120, (*_ACCOUNTS, *_DOCUMENTS), make.workbook),
    Kind("old workbook", 21, ("Old laptop/Documents", "Accounts/2016", "Accounts/2017"), make.old_workbook),
    Kind("open workbook", 8, _ACCOUNTS, make.open_workbook),
    Kind("table", 65, (*_ACCOUNTS, "Downloads", "Code/{word}"), make.table),
    Kind("deck", 38, ("Office/Talks", "Home/School/{year}", "Downloads"), make.deck),
    Kind("open deck", 3, ("Home/School/{year}",), make.open_deck),
    Kind("invoice", 158, _ACCOUNTS, make.printed_invoice),
    Kind("statement", 41, ("Accounts/{year}/Bank", "Home/House"), make.statement),
    Kind("printed report", 43, (*_DOCUMENTS, "Downloads"), make.printed(Desk.report)),
    Kind("printed letter", 34, _DOCUMENTS, make.printed(Desk.letter)),
    Kind("printed contract", 19, ("Office/Contracts", "Home/House", "Staff"), make.printed(Desk.contract)),
    Kind("manual", 21, ("Office/Manuals", "Home/House", "Downloads"), make.printed(make.manual)),
    Kind("brochure", 17, ("Downloads", "Office/Marketing"), make.printed(make.brochure)),
    Kind("scan", 46, ("Scans", "Accounts/{year}/Purchases", "Home/House"), make.scan, "pages"),
    Kind("scanned picture", 6, ("Scans", "Home/Letters"), make.scanned_picture, "pages"),
    Kind("messenger photo", 120, _PHOTOS, make.photo(1280, 960, 75), "pages"),
    Kind("photo", 34, _PHOTOS, make.photo(2048, 1536, 85), "pages"),
    Kind("large photo", 10, _PHOTOS, make.photo(4032, 3024, 88), "pages"),
    Kind("phone picture", 36, ("Photos/From the phone",), make.phone_picture, "image"),
    Kind("screenshot", 50, ("Downloads", "Photos/Screenshots", "Website"), make.screenshot, "pages"),
    Kind("graphic", 26, ("Website/images", "Office/Marketing"), make.graphic, "pages"),
    Kind("vector", 8, ("Website/images", "Office/Marketing"), make.vector),
    Kind("layers", 2, ("Office/Marketing",), make.noise("layers"), "image"),
    Kind("plain text", 70, (*_DOCUMENTS, "Notes"), make.plain_text),
    Kind("long text", 5, ("Home/Writing", "Downloads"), make.long_text),
    Kind("marked text", 53, ("Notes", "Notes/{word}", "Code/{word}"), make.marked_text),
    Kind("mail", 43, ("Mail", "Customers/{last}/Letters"), make.mail),
    Kind("mailbox", 4, ("Mail/Takeout",), make.exported_mail),
    Kind("web page", 38, ("Downloads", "Home/{word}", "Website"), make.web_page),
    Kind("calendar", 10, ("Downloads", "Choir/{year}"), make.calendar),
    Kind("contacts", 7, ("Mail", "Old laptop/Documents"), make.contacts),
    Kind("record", 21, ("Downloads", "Code/{word}"), make.record),
    Kind("track", 15, ("Home/Walks",), make.track),
    Kind("settings", 12, _CODE, make.settings),
    Kind("source", 82, _CODE, make.source),
    Kind("locked packages", 3, ("Website", "Code/{word}"), make.locked_packages),
    Kind("log", 8, ("Old laptop", "Code/{word}"), make.log),
    Kind("notebook", 4, ("Code/{word}", "Home/School/{year}"), make.notebook),
    Kind("subtitles", 3, ("Videos",), make.subtitles),
    Kind("paper", 4, ("Home/School/{year}",), make.paper),
    Kind("book", 6, ("Books",), make.book),
    Kind("film", 15, ("Videos", "Photos/From the phone"), make.noise("film"), "video"),
    Kind("clip", 4, ("Videos",), make.noise("clip"), "video"),
    Kind("song", 17, ("Choir/Recordings", "Music"), make.noise("song"), "audio"),
    Kind("voice memo", 6, ("Choir/Recordings",), make.noise("voice memo"), "audio"),
    Kind("zip", 14, (*_OTHER, "Website/Backups"), make.packed),
    Kind("tape", 3, ("Website/Backups",), make.tape),
    Kind("foreign archive", 5, ("Downloads",), make.noise("foreign archive"), "archive"),
    Kind("program", 4, ("Downloads",), make.noise("program"), "program"),
    Kind("font", 5, ("Office/Marketing",), make.noise("font"), "font"),
    Kind("database", 4, ("Code/{word}", "Old laptop"), make.noise("database"), "database"),
    Kind("thumbnails", 9, ("Photos/{year}", "Old laptop"), make.noise("thumbnails"), "unsupported"),
    Kind("passwords", 1, ("Home",), make.noise("passwords"), "encrypted"),
    Kind("empty", 8, _OTHER, make.empty, "empty"),
    Kind("locked pdf", 5, _ACCOUNTS, make.locked_pdf, "encrypted"),
    Kind("locked document", 3, ("Staff", "Accounts/{year}"), make.locked_office, "encrypted"),
    Kind("cut pdf", 3, ("Downloads",), make.cut_pdf, "broken"),
    Kind("cut document", 3, ("Downloads", "Old laptop/Documents"), make.cut_document, "broken"),
    Kind("copy", 51, (*_OTHER, "Old laptop/Backup"), None, "copy"),
)  # fmt: skip
