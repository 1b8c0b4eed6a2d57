"""What strangers put into a Drive: bombs, torn files, and things that look like other things."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.errors import Skipped, Unavailable
from shared.domain.parts import Part, Text, Truncated
from shared.readers import BytesSource, Limits, PathSource, read
from shared.readers import pdf as pdf_reader
from tests.unit import reader_samples as make
from tests.unit.reader_checks import texts
from tests.unit.test_readers_resume import SAMPLES

ROOT = Path(__file__).parents[2]


def refused(content: bytes, name: str, limits: Limits | None = None) -> Skipped:
    with pytest.raises(Skipped) as caught:
        list(read(BytesSource(content, name), limits))
    return caught.value


def word(document: str, **more: str | bytes) -> bytes:
    return make.zipped(
        {
            "[Content_Types].xml": make.content_types("wordprocessingml.document"),
            "_rels/.rels": make.rels(("r1", "officeDocument", "word/document.xml")),
            "word/document.xml": document,
            **more,
        }
    )


def test_a_zip_bomb_is_named_as_one() -> None:
    """Kilobytes that unpack to gigabytes must cost neither memory nor minutes."""
    bomb = word(make.docx_xml(make.paragraph("a" * 30_000_000)))

    assert len(bomb) < 100_000
    assert refused(bomb, "bomb.docx").code == "zip_bomb"


def test_unpacked_bytes_are_counted_not_believed() -> None:
    """A directory may say one thing and the bytes another."""
    limits = Limits(inflated_bytes=200_000, ratio=10_000)
    why = refused(word(make.docx_xml(make.paragraph("") * 30_000)), "big.docx", limits)

    assert why.code == "inflates_too_much"
    assert "195.3 KB" in why.reason


@pytest.mark.parametrize("name", ["styles", "document"])
def test_entities_are_never_expanded(name: str) -> None:
    """A billion laughs is a few hundred bytes; so is a request to a foreign address."""
    laughs = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        '<!ENTITY c SYSTEM "http://127.0.0.1:9/x">]><w:document xmlns:w="w"><w:p><w:t>&b;&c;</w:t></w:p></w:document>'
    )
    related = make.rels(("r1", "styles", "styles.xml"))
    content = word(
        laughs if name == "document" else make.docx_xml(make.paragraph("x")),
        **{"word/styles.xml": laughs, "word/_rels/document.xml.rels": related},
    )

    assert refused(content, "laughs.docx").code == "dtd"


def test_deep_nesting_is_refused() -> None:
    """A recursive reader would end in a crash that no handler sees."""
    assert refused(word("<a>" * 300 + "</a>" * 300), "deep.docx").code == "too_deep"


def test_a_tag_that_never_ends_is_refused() -> None:
    """The parser keeps an unfinished tag in memory."""
    import random

    noise = random.Random(1).randbytes(9_000_000).hex()
    why = refused(word(f'<w:document xmlns:w="w"><w:p w:x="{noise}"/></w:document>'), "tag.docx")

    assert why.code == "tag_too_long"


def test_too_many_parts_are_refused_before_they_are_listed() -> None:
    """A directory of millions of entries is memory before anything is read."""
    content = make.zipped({f"{n}": b"" for n in range(40)})

    assert refused(content, "many.zip", Limits(parts=30)).code == "too_many_parts"


def test_torn_files_end_with_a_reason() -> None:
    """Uploads break off; a person must read why the file is not found."""
    for name in ("doc.docx", "book.xlsx", "deck.pptx"):
        content = SAMPLES[name]
        for size in (30, len(content) // 2, len(content) - 10):
            assert refused(content[:size], name).code == "broken"
    assert refused(b"%PDF-1.7\nnothing more", "a.pdf").code == "broken"
    assert refused(b"this is no PDF", "a.pdf").code == "broken"
    assert refused(b"\x00\x01\x02" * 99, "a.docx").code == "broken"
    assert refused(b'{"cells": 5', "a.ipynb").code == "broken"


def test_a_damaged_entry_ends_with_a_reason() -> None:
    """Flipped bits in the middle of a document."""
    content = bytearray(make.docx("".join(make.paragraph(f"some words {n * 7919 % 1000}") for n in range(900))))
    at = content.find(b"word/document.xml") + 600
    content[at : at + 40] = bytes(40)

    assert refused(bytes(content), "bits.docx").code == "broken"


def test_an_encrypted_entry_is_named() -> None:
    """A password is something a person can do something about."""
    content = bytearray(make.docx(make.paragraph("x")))
    with zipfile.ZipFile(BytesSource(bytes(content)).seekable()) as archive:
        assert "word/document.xml" in archive.namelist()
    at = content.find(b"word/document.xml", content.find(b"PK\x01\x02")) - 46
    content[at + 8] |= 1

    assert refused(bytes(content), "locked.docx").code == "encrypted"


def test_a_row_longer_than_the_bound_is_named() -> None:
    """One line of gigabytes must not be held."""
    why = refused(b"a" * 3_000_000, "long.csv", Limits(row_bytes=1_000_000))

    assert why.code == "row_too_long"
    assert "Row 1 " in why.reason


def test_a_line_of_ten_megabytes_is_read() -> None:
    """Minified code and one-line JSON are common."""
    content = b'{"words": "' + b"many words " * 900_000 + b'"}'

    found = list(read(BytesSource(content, "a.json")))

    assert sum(len(part.text) for part in found if isinstance(part, Text)) == len(content)
    assert {part.locator.line_first for part in found if isinstance(part, Text)} == {1}


HOSTILE_PAGES = [
    "<!-" * 900_000,
    "<!--" * 600_000,
    "<a " * 900_000,
    "<" * 2_000_000,
    "<![CDATA[" * 300_000,
    "<div>" * 400_000,
    "<script>" + "x<" * 900_000,
    "&#" * 900_000,
    "<svg>" * 300_000,
]


@pytest.mark.parametrize("page", HOSTILE_PAGES, ids=[page[:9] for page in HOSTILE_PAGES])
def test_no_web_page_keeps_the_parser_busy(page: str) -> None:
    """Python's parser is quadratic for some inputs; two megabytes would take an hour."""
    used = time.process_time()
    try:
        list(read(BytesSource(page.encode(), "evil.html")))
    except Skipped as why:
        assert why.code == "no_text"  # noqa: PT017 - either end is right; the time is the point
    assert time.process_time() - used < 30


def test_a_picture_inside_a_tag_is_not_text() -> None:
    """Saved pages carry their pictures as megabytes of letters in an attribute."""
    page = f'<p>before</p><img src="data:image/png;base64,{"QUJD" * 200_000}"><p>after</p>'
    comment = f"<p>one</p><!-- {'no > words ' * 20_000} --><p>two</p>"

    def text(content: str) -> str:
        return "".join(part.text for part in read(BytesSource(content.encode(), "a.html")) if isinstance(part, Text))

    assert text(page) == "before\n\nafter\n\n"
    assert text(comment) == "one\n\ntwo\n\n"


def test_text_stops_at_its_bound_and_says_so() -> None:
    """A runaway log must not fill the database."""
    found = list(read(BytesSource(b"a line of text\n" * 90_000, "a.log"), Limits(text_bytes=100_000)))

    assert isinstance(found[-1], Truncated)
    assert "97.66 KB" in found[-1].reason
    assert sum(len(part.text) for part in found if isinstance(part, Text)) <= 100_000


def spinning() -> bytes:
    """A page whose drawing PDFium cannot finish: forms that draw one another, ten to the power of twelve lines."""
    count = 14
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    objects.append(b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>")
    objects.append(make._stream(b"/X Do"))
    for n in range(count):
        resources = b"/Resources<</XObject<</X %d 0 R>>>>" % (6 + n) if n < count - 1 else b""
        body = b"/X Do " * 9 if n < count - 1 else b"0 0 m 1 1 l S "
        objects.append(make._stream(body, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + resources))
    return make.document(objects, b"")


def test_a_pdf_that_never_ends_is_stopped_and_the_next_one_is_read() -> None:
    """One hostile file must not take the function with it."""
    limits = Limits(child_seconds=1.0)

    assert refused(spinning(), "spin.pdf", limits).code == "too_heavy"
    assert isinstance(next(read(BytesSource(make.pdf(["words on a fine page"]), "a.pdf"), limits)), Text)


def test_a_pdf_child_knows_no_secret_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """PDFium reads what strangers wrote; were it taken over, there must be nothing to take."""
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "canary")
    child = pdf_reader.Child(Limits(child_memory_bytes=400 << 20))
    try:
        child.open(BytesSource(make.pdf(["x"])).seekable())
        environment = Path(f"/proc/{child.pid}/environ")
        if environment.exists():
            bounds = resource.prlimit(child.pid, resource.RLIMIT_AS), resource.prlimit(child.pid, resource.RLIMIT_FSIZE)

            assert b"canary" not in environment.read_bytes()
            assert bounds == ((400 << 20, 400 << 20), (0, 0))
    finally:
        child.end()


def test_the_children_are_kept_and_never_more_than_allowed() -> None:
    """Starting PDFium takes a tenth of a second, and each child takes its memory."""
    source = BytesSource(SAMPLES["scan.pdf"], "scan.pdf")
    first, second = read(source), read(source)
    next(first)
    next(second)
    lent = set(pdf_reader._children.lent)

    first.close()  # type: ignore[attr-defined]
    second.close()  # type: ignore[attr-defined]
    for _ in range(5):
        list(read(source))

    assert len(lent) == 2
    assert not pdf_reader._children.lent
    assert len(pdf_reader._children.free) <= 2
    assert {child.pid for child in pdf_reader._children.free} <= {child.pid for child in lent}


class Cut(BytesSource):
    """A source whose connection is lost in the middle of a PDF."""

    def seekable(self):  # type: ignore[no-untyped-def]
        class File(type(super().seekable())):  # type: ignore[misc]
            def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
                if self.tell() > 300_000:
                    raise Unavailable("Drive does not answer.")
                return int(super().readinto(buffer))

        return File(self._content)


def test_trouble_with_drive_stays_trouble_with_drive() -> None:
    """A lost connection must be tried again, not recorded as a broken file; and the pool must survive it."""
    pages: list[str | bytes] = [os.urandom(500_000) for _ in range(6)]

    with pytest.raises(Unavailable):
        list(read(Cut(make.pdf(pages), "a.pdf")))

    assert list(read(BytesSource(SAMPLES["scan.pdf"], "scan.pdf")))


SMALL = {name: content for name, content in SAMPLES.items() if len(content) < 40_000 and name != "scan.pdf"}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_mutation_makes_a_reader_fail_otherwise_than_by_a_reason(data: st.DataObject) -> None:
    """Whatever the bytes: text, a reason, or both."""
    name = data.draw(st.sampled_from(sorted(SMALL)))
    content = bytearray(SMALL[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))

    _drained(read(BytesSource(bytes(content), name), Limits(text_bytes=10_000_000)))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from([*SAMPLES, "none"]))
def test_any_bytes_under_any_name_end_in_a_state(content: bytes, name: str) -> None:
    """Whatever the name says."""
    if not content.startswith(b"%PDF"):
        _drained(read(BytesSource(content, name)))


def _drained(parts: Iterator[Part]) -> None:
    try:
        for part in parts:
            assert isinstance(part, Truncated) or part.after
    except Skipped as why:
        assert why.reason.endswith(".")  # noqa: PT017 - either end is right


MEASURE = """
import resource, sys
from shared.readers import Limits, read
from shared.domain.chunks import pack

class Endless:
    name, mime_type, size = sys.argv[1], "", None
    def windows(self, start=0):
        line = sys.argv[2].encode()
        block = memoryview((line * ((1 << 21) // len(line) + 1))[: 1 << 21])
        for _ in range(int(sys.argv[3])):
            yield block

list(zip(range(20), read(Endless())))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(chunk.payload) for chunk in pack(read(Endless(), Limits())))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


LINES = {
    "a.log": "The quick brown fox jumps over the lazy dog.\n",
    "a.txt": "x" * 9000,
    "a.csv": '1,"two words",three,2020-01-01\n',
    "a.md": "# Heading\n\n" + "Words and words and words again.\n" * 30,
}


@pytest.mark.parametrize("name", LINES)
def test_two_hundred_megabytes_of_text_take_no_memory(name: str) -> None:
    """Memory must not grow with the file. Tables and Markdown, which take longer, show it with fifty."""
    blocks = 100 if name in ("a.log", "a.txt") else 25
    program = [sys.executable, "-c", MEASURE, name, LINES[name], str(blocks)]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    count, grown = map(int, ran.stdout.split())

    assert count == blocks << 21
    assert grown < 16 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound files in other ways")
def test_readers_write_nothing_to_disk(tmp_path: Path) -> None:
    """The functions run where a written file is memory; nothing of a person's may stay behind."""
    for name in ("notes.txt", "book.xlsx", "scan.pdf", "page.html"):
        (tmp_path / name).write_bytes(SAMPLES[name])
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from infra.local.read import main\n"
        f"sys.exit(main([{str(tmp_path)!r}, '--json']))"
    )
    clean = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/nowhere"}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env=clean, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count('"state": "indexed"') == 4


def test_a_file_on_disk_reads_like_its_bytes(tmp_path: Path) -> None:
    """The window is one buffer, filled again and again: nothing may keep a view of it."""
    for name in ("notes.txt", "table.csv", "page.html", "book.xlsx"):
        (tmp_path / name).write_bytes(SAMPLES[name])

        from_disk = list(read(PathSource(tmp_path / name, window_bytes=4096)))

        assert from_disk == list(read(BytesSource(SAMPLES[name], name)))


def test_a_bound_of_the_settings_is_a_bound_of_the_readers() -> None:
    """An operator who lowers a bound must see it lowered."""
    from shared.config import Settings

    limits = Limits.of(Settings(google_cloud_project="p", text_bytes=1000))

    assert limits == replace(Limits(), text_bytes=1000)


def test_a_number_that_python_refuses_is_no_accident() -> None:
    """Its `int` takes no more than 4,300 digits, and fails at some characters that `isdigit` is true of."""
    strings = f"<si><t>one &#{'9' * 5000}; two</t></si>"
    cell = '<row><c t="s"><v>0</v></c></row>'
    outline = b'<w:name w:val="Mine"/><w:outlineLvl w:val="\xc2\xb2"/>'
    document = make.docx(make.paragraph("words", "Mine"))
    with zipfile.ZipFile(io.BytesIO(document)) as archive:
        entries: dict[str, str | bytes] = {
            name: archive.read(name).replace(b'<w:name w:val="Mine"/>', outline) for name in archive.namelist()
        }

    assert [text for text, _ in texts(make.xlsx({"A": cell}, strings), "a.xlsx")] == ["one \ufffd two\n"]
    assert [text for text, _ in texts(make.zipped(entries), "a.docx")] == ["words\n\n"]
