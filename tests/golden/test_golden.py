"""Files that other programs made: their text is found, at the right place. `files/README.md` says how each was made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.domain.parts import Image, Pages, Text
from shared.readers import FORMATS, BytesSource, read

FILES = Path(__file__).parent / "files"
COUNTING = "Rivers of the north > Counting them"
DEEPER = f"The Otter Report > {COUNTING}"

# What stands in a file, and the place of it: the fields named are among those of the part that it is found in.
FOUND: list[tuple[str, str, dict[str, Any]]] = [
    ("pandoc.txt", "thawing month of 2031", {"line_first": 1}),
    ("pandoc.md", "They were counted at *night*", {"heading": COUNTING, "line_first": 11}),
    ("calc.csv", "Łódź, the old mill", {"row_first": 1, "row_last": 4}),
    ("python.tsv", 'said ""nine""', {"row_last": 3, "line_last": 4}),
    ("jq.json", '"moonlight"', {"line_first": 1, "line_last": 8}),
    ("jq.jsonl", '"Halden"', {"line_last": 2}),
    ("pyyaml.yaml", "by: lamp", {"line_first": 1}),
    ("python.ini", "wheels = 2", {"line_first": 1}),
    ("pandoc.xml", "The lamps were lent", {"line_first": 1}),
    ("pandoc.opml", "Counting them", {"line_first": 1}),
    ("python.plist", "<string>Dunmere</string>", {"line_last": 10}),
    ("gnu.diff", "+came back in 1987.", {"line_last": 6}),
    ("git.log", "Count the otters at Dunmere", {"line_last": 5}),
    ("pandoc.tex", "footnote{The lamps were", {"line_first": 1}),
    ("pandoc.rst", "The lamps were lent", {"line_first": 1}),
    ("pandoc.adoc", "The lamps were lent", {"line_first": 1}),
    ("pandoc.org", "The lamps were lent", {"line_first": 1}),
    ("pandoc.textile", "The lamps were lent", {"line_first": 1}),
    ("ffmpeg.srt", "00:00:03,000 --> 00:00:04,000\nAnd stops at Dunmere.", {"line_first": 1}),
    ("ffmpeg.vtt", "00:03.000 --> 00:04.000\nAnd stops at Dunmere.", {"line_first": 1}),
    ("ffmpeg.ass", "And stops at Dunmere.", {"line_first": 1}),
    ("icalendar.ics", "Dunmere; by the wheel", {"line_first": 1}),
    ("vobject.vcf", "Keeper of the bridge of Halden", {"line_first": 1}),
    ("pandoc.html", "Dunmere\t14\nHalden\t9\n", {"heading": COUNTING}),
    ("writer.html", "14 otters", {"heading": COUNTING}),
    ("chromium.html", "They were counted at night", {"heading": COUNTING}),
    ("pandoc.ipynb", "print(14 + 9)", {"part": "cell 2"}),
    ("pandoc.docx", "Dunmere\t14\n", {"heading": DEEPER}),
    ("pandoc.docx", "The lamps were lent", {"part": "footnotes"}),
    ("writer.docx", "Dunmere\t14 otters\n", {"heading": COUNTING}),
    ("writer.docx", "the price of oil", {"part": "comments"}),
    ("writer.docx", "The Sill river almanac", {"part": "header"}),
    ("writer.docx", "Printed at Halden", {"part": "footer"}),
    ("python-docx.docx", "Dunmere\t14 otters\n", {"heading": COUNTING}),
    ("calc.xlsx", "Łódź, the old mill\t2.5\t2023-04-01", {"sheet": "Count", "row_first": 1, "row_last": 4}),
    ("calc.xlsx", "eel\t0.25", {"sheet": "Food", "row_last": 3}),
    ("gnumeric.xlsx", "Dunmere\t14\t2023-03-15", {"sheet": "Count"}),
    ("openpyxl.xlsx", "Dunmere\t14\t2023-03-15", {"sheet": "Count", "row_last": 2}),
    ("xlsxwriter.xlsx", "Halden\t9", {"sheet": "Count", "row_last": 3}),
    ("impress.pptx", "along the upper Sill", {"slide": 1}),
    ("impress.pptx", "Mention the bridge-keeper.", {"slide": 1, "part": "notes"}),
    ("impress.pptx", "Trout, mostly.", {"slide": 2}),
    ("pandoc.pptx", "bridge-keeper\u2019s daughter", {"slide": 2, "part": "notes"}),
    ("python-pptx.pptx", "Mention the bridge-keeper.", {"slide": 1, "part": "notes"}),
    ("writer.pdf", "Printed at Halden", {"page_first": 1, "page_last": 1}),
    ("impress.pdf", "Trout, mostly.", {"page_first": 2}),
    ("chromium.pdf", "thawing month of 2031", {"page_first": 1}),
    ("writer.odt", "Dunmere\t14 otters\n", {"heading": COUNTING}),
    ("writer.odt", "The lamps were lent", {"heading": COUNTING, "part": "footnotes"}),
    ("writer.odt", "the price of oil", {"part": "comments"}),
    ("writer.odt", "The Sill river almanac", {"part": "header"}),
    ("pandoc.odt", "Halden\t9\n", {"heading": COUNTING}),
    ("calc.ods", "Łódź, the old mill\t2.5\t2023-04-01", {"sheet": "Count", "row_first": 1, "row_last": 4}),
    ("gnumeric.ods", "eel\t0.25", {"sheet": "Food", "row_last": 3}),
    ("impress.odp", "Mention the bridge-keeper.", {"slide": 1, "part": "notes"}),
    ("impress.odp", "Trout, mostly.", {"slide": 2}),
    ("pandoc.epub", "They were counted at night", {"part": "Rivers of the north", "heading": COUNTING}),
    ("pandoc-2.epub", "thawing month of 2031", {"part": "What comes next"}),
    ("writer.epub", "14 otters", {"part": "Rivers of the north"}),
    ("writer.rtf", "Dunmere\t14 otters\n", {"heading": COUNTING}),
    ("writer.rtf", "the price of oil", {"heading": COUNTING, "part": "comments"}),
    ("writer.rtf", "Füße, naïve, Łódź, Ελλάδα, 日本語", {"heading": "Rivers of the north"}),
    ("pandoc.rtf", "The lamps were lent", {"heading": COUNTING, "part": "footnotes"}),
    ("graphviz.svg", "Mill at Dunmere", {}),
    ("matplotlib.svg", "Otters of the Sill", {}),
    ("calc.xls", "Łódź, the old mill\t2.5\t2023-04-01", {"sheet": "Count", "row_first": 1, "row_last": 4}),
    ("calc.xls", "eel\t0.25", {"sheet": "Food", "row_last": 3}),
    ("gnumeric-95.xls", "Dunmere\t14\t2023-03-15", {"sheet": "Count"}),
    ("gnumeric.xls", "Dunmere\t14\t2023-03-15", {"sheet": "Count"}),
    ("python.eml", "Fourteen otters at Dunmere, naïve ones.", {}),
    ("python.eml", "Halden\t9\n", {"part": "attachment report.odt", "heading": COUNTING}),
    ("python.mbox", "From the bridge I saw nine.", {"part": "message 2: Re: Otters"}),
    ("info-zip.zip", "Halden\t9\n", {"part": "pandoc.odt", "heading": COUNTING}),
    ("info-zip.zip", "They were counted at *night*", {"part": "pandoc.md", "heading": COUNTING, "line_first": 11}),
    ("gnu.log.gz", "Count the otters at Dunmere", {"part": "gnu.log", "line_last": 5}),
    ("gnu.log.bz2", "Count the otters at Dunmere", {"part": "gnu.log", "line_last": 5}),
    ("gnu.log.xz", "Count the otters at Dunmere", {"part": "gnu.log", "line_last": 5}),
    ("gnu.tar", "Halden\t9\n", {"part": "pandoc.odt", "heading": COUNTING}),
    ("gnu.tar", "stands by itself before that.md\n", {"line_first": 1}),
    ("gnu.tgz", "Count the otters at Dunmere", {"part": "git.log", "line_last": 5}),
]
PICTURES = [
    ("magick.png", "image/png", [None]),
    ("magick.jpg", "image/jpeg", [None]),
    ("magick.gif", "image/gif", [None]),
    ("magick.bmp", "image/bmp", [None]),
    ("magick.webp", "image/webp", [None]),
    ("magick.tiff", "image/tiff", [1, 2]),
    ("chromium-scan.pdf", "application/pdf", [1]),
]
# No free program that we know of writes xlsb: the unit tests make one byte by byte. No program writes tabs: they are
# answers of the Sheets API, made into lines.
UNMADE = {"xlsb", "tabs"}


@pytest.mark.parametrize(("name", "words", "place"), FOUND, ids=[f"{row[0]}: {row[1][:20]!r}" for row in FOUND])
def test_the_text_of_a_file_of_another_program_is_found_at_its_place(
    name: str, words: str, place: dict[str, Any]
) -> None:
    """What our own samples say of a format is what we think of it; this is what the world writes."""
    parts = [part for part in read(BytesSource((FILES / name).read_bytes(), name)) if isinstance(part, Text)]
    holding = [part.locator.as_json() for part in parts if words in part.text.replace("\r\n", "\n")]

    assert holding, "".join(part.text for part in parts)
    assert [place] == [{field: found.get(field) for field in place} for found in holding[:1]]


@pytest.mark.parametrize(("name", "mime_type", "pages"), PICTURES, ids=[row[0] for row in PICTURES])
def test_a_picture_of_text_is_handed_over_for_recognition(name: str, mime_type: str, pages: list[int | None]) -> None:
    """With its page, and as something that a recogniser can open: tesseract reads it, where there is one."""
    parts = [p for p in read(BytesSource((FILES / name).read_bytes(), name)) if isinstance(p, Image | Pages)]

    assert [part.locator.page_first for part in parts] == pages
    for part in parts:
        if isinstance(part, Image):
            assert part.mime_type == mime_type
            if shutil.which("tesseract") and mime_type != "image/gif":
                command = ["tesseract", "stdin", "stdout", "--psm", "7"]
                said = subprocess.run(command, input=part.content, capture_output=True, check=True).stdout
                assert b"Dunmere" in said or b"Halden" in said


def test_every_format_that_is_read_has_a_file_of_another_program() -> None:
    """A row without one is a promise."""
    shown = {name.rpartition(".")[2] for name, *_ in [*FOUND, *PICTURES]}

    missing = {row.kind for row in FORMATS if row.read and not shown & set(row.extensions.split())}

    assert missing == UNMADE


def test_every_file_is_used_and_small_and_told_of() -> None:
    """What nobody reads is only weight."""
    files = {path.name: path.stat().st_size for path in FILES.iterdir() if path.name != "README.md"}
    told = (FILES / "README.md").read_text()

    assert set(files) == {name for name, *_ in [*FOUND, *PICTURES]}
    assert all(f"`{name}`" in told for name in files)
    assert max(files.values()) < 100_000
    assert sum(files.values()) < 2_000_000
