"""A small Drive that exercises every way a file can end: one chunk and many, native code, shared drives, refusals."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.contract.pdfs import HAS_OCR, picture_of_text
from tests.unit.reader_samples import docx, paragraph, pdf, table, xlsx

_WORDS = ("harbour", "lantern", "copper", "meadow", "thistle", "granite", "ferry", "orchard", "saddle", "walnut")


def write_folder(folder: Path, long_text: int) -> int:
    """Fill an empty folder, with one text of that many bytes. The number of files that Drive lists for its one person.

    Folders and what is in the bin are not counted.
    """
    chance = random.Random(2)
    for name, content in _files(chance, long_text).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    layout = {
        "people": [{"email": "ada@example.com", "name": "Ada", "folder": "ada"}],
        "shared_drives": [{"name": "Team", "folder": "team", "members": ["ada@example.com"]}],
        "files": {
            "ada/notes/plan (copy).md": {"name": "plan.md"},
            "ada/thrown away.txt": {"trashed": True},
        },
    }
    (folder / ".drive.json").write_text(json.dumps(layout))
    return sum(1 for path in folder.rglob("*") if path.is_file()) - 2  # the layout, and what is in the bin


def prose(chance: random.Random, size: int) -> str:
    """About so many characters of paragraphs, none like another, some with names and dates."""
    paragraphs, length = list[str](), 0
    while length < size:
        words = " ".join(chance.choices(_WORDS, k=60))
        opening = f"On {len(paragraphs) % 28 + 1} May 2026 Clara Novak wrote: " if len(paragraphs) % 8 == 0 else ""
        paragraphs.append(f"{opening}{words} {len(paragraphs)}.")
        length += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs)


def _files(chance: random.Random, long_text: int) -> dict[str, str | bytes]:
    report = docx(
        paragraph("Findings", "Heading1")
        + paragraph(prose(chance, 4000))
        + paragraph("Costs", "Heading2")
        + table(("item", "price"), ("rope", "12"))
    )
    files: dict[str, str | bytes] = {
        "ada/long.txt": prose(chance, long_text),
        "ada/report.docx": report,
        "ada/letter.docx": docx(paragraph("Dear harbour master, the ferry of Tuesday was late.")),
        "ada/manual.pdf": pdf([f"Page {n} of the manual\n" + prose(chance, 300)[:90] for n in range(1, 13)]),
        "ada/leaflet.pdf": pdf(["The leaflet about thistles"]),
        "ada/locked.pdf": pdf(["Nobody reads this"], encrypted=True),
        "ada/torn.pdf": b"%PDF-1.7\nand then nothing more",
        "ada/notes/plan.md": "# Plan\n\n## Spring\n\nPaint the boat.\n\n## Autumn\n\nSell the walnut oil.\n",
        "ada/notes/plan (copy).md": "# Plan\n\nAnother plan of the same name.\n",
        "ada/notes/same words.txt": "The compass points to the orchard.\n",
        "ada/notes/same words again.txt": "The compass points to the orchard.\n",
        "ada/table.csv": "name,amount\n" + "".join(f"{word},{n}\n" for n, word in enumerate(_WORDS * 40)),
        "ada/table.xlsx": xlsx({"One": '<row r="1"><c t="inlineStr"><is><t>barley</t></is></c><c><v>4</v></c></row>'}),
        "ada/data.json": json.dumps({"lantern": {"colour": "copper", "numbers": list(range(50))}}),
        "ada/page.html": "<html><head><title>Ferries</title></head><body><h1>Ferries</h1><p>At nine.</p></body></html>",
        "ada/code.py": "def meadow() -> int:\n    return 42\n" * 30,
        "ada/empty.txt": "",
        "ada/noise.bin": bytes(chance.randrange(256) for _ in range(5000)),
        "ada/thrown away.txt": "Nobody finds this.\n",
        "ada/A Doc.gdoc": "# A Doc\n\nWritten in Docs about granite.\n",
        "ada/A Sheet.gsheet": json.dumps({"sheets": [{"name": "Costs", "rows": [["what", "how much"], ["rope", 12]]}]}),
        "ada/Slides.gslides": json.dumps({"slides": [{"title": "Saddle", "body": "What it is", "notes": "Slowly"}]}),
        "ada/to the report.gshortcut": json.dumps({"target": "ada/report.docx"}),
        "team/minutes.md": "# Minutes\n\nThe team met about the ferry.\n",
        "team/deep/er/budget.csv": "year,amount\n2026,7\n",
    }
    if HAS_OCR:
        files["ada/scan.pdf"], _ = picture_of_text("Scanned thistle 4711")
    return files
