"""Office files, books and drawings made to exhaust memory or time: what each costs is bounded, and named."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Text
from shared.readers import BytesSource, Limits, read
from tests.unit import document_samples as documents
from tests.unit import reader_samples as make
from tests.unit.test_readers_hostile import word

ROOT = Path(__file__).parents[2]
_DICE = random.Random(4)


def _hex() -> str:
    return f"{_DICE.getrandbits(48):x}"


def _document(inner: str) -> bytes:
    return word(f'<w:document xmlns:w="w">{inner}</w:document>')


def _lying_directory() -> bytes:
    """A table of contents that says it is short, in the old field; zipfile goes by the new one."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    content = bytearray(out.getvalue())
    struct.pack_into("<HHI", content, content.rfind(b"PK\x05\x06") + 8, 5, 5, 500)
    return bytes(content)


BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a tag of many attributes": (
        "a.docx",
        lambda: _document("<w:p " + " ".join(f'a{n:x}=""' for n in range(90_000)) + "/>"),
        "too_many_names",
    ),
    "attributes that never repeat": (
        "a.docx",
        lambda: _document("".join("<p " + " ".join(f'a{_hex()}=""' for _ in range(90)) + "/>" for _ in range(900))),
        "too_many_names",
    ),
    "elements that never repeat": (
        "a.odt",
        lambda: documents.open_document("text", "".join(f"<a{_hex()}/>" for _ in range(200_000))),
        "too_many_names",
    ),
    "a few names, each very long": (
        "a.docx",
        lambda: _document("".join(f"<a{_DICE.randbytes(150_000).hex()}/>" for _ in range(5))),
        "too_many_names",
    ),
    "a long attribute": ("a.docx", lambda: _document(f'<w:p x="{_DICE.randbytes(700_000).hex()}"/>'), "tag_too_long"),
    "a long comment": (
        "a.odt",
        lambda: documents.open_document("text", f"<!--{_DICE.randbytes(900_000).hex()}-->"),
        "tag_too_long",
    ),
    "a table of contents that lies": ("a.docx", _lying_directory, "too_many_parts"),
    "one cell of all the text": (
        "a.xlsx",
        lambda: make.xlsx({"S": f'<row><c t="str"><v>{_DICE.randbytes(900_000).hex()}</v></c></row>'}),
        "part_too_large",
    ),
    "one shared string of all the text": (
        "a.xlsx",
        lambda: make.xlsx(
            {"S": '<row><c t="s"><v>0</v></c></row>'},
            "<si>" + "".join(f"<r><t>{_hex()}</t></r>" for _ in range(150_000)) + "</si><si/>",
        ),
        "part_too_large",
    ),
    "strings in no order": (
        "a.xlsx",
        lambda: make.xlsx(
            {"S": "".join(f'<row><c t="s"><v>{_DICE.randrange(500_000)}</v></c></row>' for _ in range(4000))},
            "".join(f"<si><t>{_hex()}</t></si>" for _ in range(500_000)),
        ),
        "too_heavy",
    ),
    "tags that never close": (
        "a.xlsx",
        lambda: make.xlsx({"S": '<row><c t="s"><v>0</v></c></row>'}, "<si>" + "<t><rPh>" * 50_000),
        "no_text",
    ),
    "tab stops without end": (
        "a.docx",
        lambda: _document(f"<w:p><w:pPr>{''.join('<w:tab/>' + _hex()[:1] for _ in range(300_000))}</w:pPr></w:p>"),
        "no_text",
    ),
    "relations without end": (
        "a.docx",
        lambda: word(
            make.docx_xml(make.paragraph("x")),
            **{"word/_rels/document.xml.rels": make.rels(*((_hex(), "header", "document.xml") for _ in range(20_000)))},
        ),
        "too_many_parts",
    ),
    "a spine without end": (
        "a.epub",
        lambda: documents.epub({f"x{n}%20y/../c.xhtml": "<p>x</p>" for n in range(12_000)}),
        "too_many_parts",
    ),
    "a notebook of nothings": ("a.ipynb", lambda: b'{"cells":[' + b"[]," * 900_000 + b"[]]}", ""),
    "comments before a page": ("no name", lambda: b"<!---->" * 9000 + b"x", ""),
    "headings of brackets": ("a.md", lambda: (b"# " + b"[" * 4000 + b"\n") * 90, ""),
    "a drawing of one tag": ("a.svg", lambda: b"<svg><text>x</text><path d='" + b"M0 0" * 900_000 + b"'/></svg>", ""),
}
_MEASURE = """
import json, resource, sys
from shared.domain.errors import Skipped
from shared.readers import BytesSource, read
from tests.unit import test_readers_bombs as bombs
name, content = sys.argv[1], sys.stdin.buffer.read()
before, code = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
try:
    for part in read(BytesSource(content, bombs.BOMBS[name][0])):
        pass
except Skipped as why:
    code = why.code
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"code": code, "grown": after.ru_maxrss - before, "cpu": after.ru_utime}))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_named_and_takes_neither_memory_nor_minutes(name: str) -> None:
    """Each of these was worth a gigabyte or an hour to whoever sent it."""
    _, content, code = BOMBS[name]
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURE, name], input=content(), cwd=ROOT, capture_output=True, check=True
    )
    took = json.loads(ran.stdout)

    assert took["code"] == code
    assert took["grown"] < 48 * 1024
    assert took["cpu"] < 40


def test_a_long_tag_is_not_looked_at_again_with_every_piece() -> None:
    """Expat begins an unfinished tag anew each time; the pieces of one are collected until that pays."""
    tag = '<w:p x="' + "y" * 900_000 + '"/>'
    content = word(f'<w:document xmlns:w="w">{tag * 30}{make.paragraph("words")}</w:document>')
    used = time.process_time()

    found = list(read(BytesSource(content, "a.docx"), Limits(ratio=10_000)))

    assert [part.text for part in found if isinstance(part, Text)] == ["words\n\n"]
    assert time.process_time() - used < 10


def test_what_gives_no_text_for_long_is_given_up() -> None:
    """A step that never ends would be begun again in every life."""
    content = make.xlsx({"S": "".join(f'<row r="{n}"><c s="{n % 9}"/></row>' for n in range(200_000))})

    with pytest.raises(Skipped) as caught:
        list(read(BytesSource(content, "a.xlsx"), Limits(step_seconds=0.01, ratio=10_000)))

    assert caught.value.code == "too_heavy"


def test_a_file_that_no_life_can_come_back_into_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before a place is read again to find it; if that takes half a life, no life gets on."""
    from shared.readers import gather

    content = make.docx("".join(make.paragraph(f"words {n} " * 20 + _DICE.randbytes(99).hex()) for n in range(2000)))
    whole = list(read(BytesSource(content, "a.docx")))
    monkeypatch.setattr(gather, "_AGAIN", 0.0)

    again = list(read(BytesSource(content, "a.docx"), None, whole[-2].after))

    assert [type(part).__name__ for part in again] == ["Truncated"]


@pytest.mark.parametrize("encoding", ["UTB-8", "shift_jis", "rot13", "hex"])
def test_an_encoding_that_there_is_not_is_damage(encoding: str) -> None:
    """The parser asks Python for it, and Python has its own ways to say no."""
    content = make.zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f'<?xml version="1.0" encoding="{encoding}"?><x/>',
        }
    )

    with pytest.raises(Skipped) as caught:
        list(read(BytesSource(content, "a.odt")))

    assert caught.value.code == "broken"
