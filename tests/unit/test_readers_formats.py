"""What is read from each kind of file, and what is said of the kinds that are not read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Image, Pages, Part, Text
from shared.readers import FORMATS, BytesSource, read
from shared.readers.registry import by_name
from tests.unit import reader_samples as make


def parts(content: bytes, name: str, mime_type: str = "") -> list[Part]:
    return list(read(BytesSource(content, name, mime_type)))


def texts(content: bytes, name: str, mime_type: str = "") -> list[tuple[str, dict[str, object]]]:
    return [(p.text, p.locator.as_json()) for p in parts(content, name, mime_type) if isinstance(p, Text)]


def refused(content: bytes, name: str, mime_type: str = "") -> Skipped:
    with pytest.raises(Skipped) as caught:
        parts(content, name, mime_type)
    return caught.value


GERMAN = "Füße, Äpfel und schöne Grüße aus München. Über allen Gipfeln ist Ruh. "
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. "
JAPANESE = "これは日本語のテキストです。今日は天気がとても良いですね。"
ENCODINGS = [
    (GERMAN, "utf-8"),
    (GERMAN, "utf-8-sig"),
    (GERMAN, "cp1252"),
    (GERMAN, "utf-16"),
    (GERMAN, "utf-16-le"),
    (GERMAN, "utf-16-be"),
    (GERMAN, "utf-32"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8-r"),
    (RUSSIAN, "utf-16-le"),
    (JAPANESE, "shift_jis"),
    (JAPANESE, "euc_jp"),
    (JAPANESE, "iso2022_jp"),
    (JAPANESE, "utf-16"),
]


@pytest.mark.parametrize(("text", "encoding"), ENCODINGS)
def test_text_of_any_encoding_is_read_as_it_was_written(text: str, encoding: str) -> None:
    """People keep files of thirty years; a question mark for every umlaut finds nothing."""
    text = text * 20

    assert "".join(piece for piece, _ in texts(text.encode(encoding), "letter.txt")) == text


def test_lines_are_counted_in_any_encoding() -> None:
    """`line 3` must be line 3 in the person's editor."""
    for encoding in ("utf-8", "utf-16", "utf-32-le"):
        long = "\n".join(f"Zeile {n} über alles" for n in range(1, 2001))

        last = texts(long.encode(encoding), "a.txt")[-1]

        first = last[1]["line_first"]
        assert last[0].startswith(f"Zeile {first} ")
        assert last[1]["line_last"] == 2000


def test_markdown_knows_the_headings_above_a_paragraph() -> None:
    """The place of a passage in a long document is its headings, and what is in a code fence is none."""
    found = texts(
        b"---\ntitle: x\n---\n\n# One **bold** {#id}\n\nfirst\n\n```\n# no heading\n```\n\n"
        b"## Two\nsecond\n\nSetext\n======\nthird\n",
        "notes.md",
    )

    assert [place.get("heading") for _, place in found] == [None, "One bold", "One bold > Two", "Setext"]
    assert found[2] == (
        "## Two\nsecond\n\n",
        {"byte_start": 69, "byte_end": 84, "line_first": 13, "line_last": 15, "heading": "One bold > Two"},
    )


def test_a_table_counts_rows_as_a_spreadsheet_does() -> None:
    """A line end between quotes does not end a row."""
    rows = [f'{n},"two\nlines, ""quoted""",end\n' for n in range(1, 1001)]

    found = texts("".join(rows).encode(), "t.csv")

    assert found[0][1]["row_first"] == 1
    for text, place in found:
        first, last = place["row_first"], place["row_last"]
        assert isinstance(first, int)
        assert isinstance(last, int)
        assert text == "".join(rows[first - 1 : last])


def test_a_row_longer_than_a_part_keeps_its_number() -> None:
    """A cell may hold a whole letter; the rows behind it must not be counted wrong."""
    letter = '2,"Dear all,\n' + "many words and a line end\n" * 2000 + '""yours""\n"\n'
    found = texts(("a,b\n" + letter + "3,x\n4,y\n").encode(), "t.csv")

    rows = [(place["row_first"], place["row_last"]) for _, place in found]
    assert len(rows) > 10
    assert rows == [(1, 1), *[(2, 2)] * (len(rows) - 2), (3, 4)]


def test_a_quote_that_is_never_closed_ends_with_its_line() -> None:
    """One stray quote must not make one row of the rest of the table."""
    found = texts(("a,b\n" * 9 + '1,"open\n' + "2,3\n" * 3000).encode(), "t.csv")

    assert found[-1][1]["row_last"] == 3010


def test_a_web_page_gives_its_words_and_headings_and_no_script() -> None:
    """Scripts are for browsers; a heading says where a paragraph stands."""
    found = texts(
        b"<!DOCTYPE html><html><head><title>My page</title><style>p{}</style><script>if (a<b) { x() }</script></head>"
        b"<body><h1>Top</h1><p>Fish &amp; chips,\n   cheap</p><h2>Sub</h2><ul><li>one</li><li>two</li></ul>"
        b"<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table><pre>x\n  y</pre>"
        b"<noscript>no</noscript></body></html>",
        "page.html",
    )

    assert found == [
        ("My page\n\n", {}),
        ("Top\n\nFish & chips, cheap\n\n", {"heading": "Top"}),
        ("Sub\n\none\n\ntwo\n\na\tb\n1\t2\n\nx\n  y\n\n".replace("1\t2\n\n", "1\t2\n"), {"heading": "Top > Sub"}),
    ]


def test_a_web_page_is_decoded_as_it_declares() -> None:
    """An old page says its charset in its head only."""
    page = "<meta charset=windows-1251><p>Привет</p>".encode("cp1251")

    assert texts(page, "page.html")[0][0] == "Привет\n\n"


def test_a_word_document_gives_headings_tables_and_notes() -> None:
    """What stands in a footnote or a table is as worth finding as the body."""
    body = (
        make.paragraph("Chapter", "Heading1")
        + make.paragraph("Fish &amp; chips")
        + make.paragraph("Detail", "Mine")
        + make.table(("a", "b"), ("c", "d"))
        + "<w:p><w:r><w:t>kept</w:t><w:tab/><w:t>on</w:t></w:r>"
        + "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    )
    found = texts(make.docx(body, footnotes=make.paragraph("a note"), header=make.paragraph("the head")), "d.docx")

    assert found == [
        ("Chapter\n\nFish & chips\n\n", {"heading": "Chapter"}),
        ("Detail\n\na\tb\nc\td\n\nkept\ton\n\n", {"heading": "Chapter > Detail"}),
        ("a note\n\n", {"part": "footnotes"}),
        ("the head\n\n", {"part": "header"}),
    ]


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("prefix", ["", "x"])
def test_a_workbook_gives_all_sheets_row_by_row(method: int, prefix: str) -> None:
    """Numbers as people see them, dates as dates, texts from wherever they are kept."""
    p = f"{prefix}:" if prefix else ""
    strings = (
        f"<{p}si><{p}t>Name</{p}t></{p}si><{p}si/>"
        f"<{p}si><{p}r><{p}t>Fish</{p}t></{p}r><{p}r><{p}t xml:space='preserve'> &amp; chips</{p}t></{p}r>"
        f"<{p}rPh><{p}t>spoken</{p}t></{p}rPh></{p}si>"
    )
    first = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="D1" t="s"><v>2</v></c></row>'
        '<row r="5"><c r="A5"><v>0.10000000000000001</v></c><c r="B5" s="1"><v>45000</v></c>'
        '<c r="C5" s="2"><v>45000.5</v></c><c r="D5" t="inlineStr"><is><t>in</t></is></c>'
        '<c r="E5" t="b"><v>1</v></c><c r="F5" t="str"><f>A1</f><v>sum</v></c></row>'
    )
    found = texts(
        make.xlsx({"One": first, "Two &amp; more": "<row><c><v>7</v></c></row>"}, strings, prefix, method), "b.xlsx"
    )

    assert found == [
        (
            "Name\t\t\tFish & chips\n0.1\t2023-03-15\t2023-03-15 12:00:00\tin\tTRUE\tsum\n",
            {"sheet": "One", "row_first": 1, "row_last": 5},
        ),
        ("7\n", {"sheet": "Two & more", "row_first": 1, "row_last": 1}),
    ]


@pytest.mark.parametrize("method", [0, 8])
def test_shared_texts_larger_than_memory_are_found_again_in_any_order(method: int) -> None:
    """The checkpoints of the unpacking must lead to the same strings forwards, backwards and across."""
    count = 60_000
    strings = "".join(
        f"<si><t>text number {n} {'%x' % (n * 2654435761 % 2**64)} &lt;{n}&gt;</t></si>" for n in range(count)
    )
    order = [*range(0, count, 37), *range(count - 1, 0, -997), 5, count - 1, count + 5]
    rows = "".join(f'<row r="{r}"><c t="s"><v>{n}</v></c></row>' for r, n in enumerate(order, 1))

    text = "".join(piece for piece, _ in texts(make.xlsx({"S": rows}, strings, method=method), "b.xlsx"))

    assert [line.split(" ")[2] for line in text.splitlines()] == [str(n) for n in order if n < count]
    assert all(f"<{line.split(' ')[2]}>" in line for line in text.splitlines())


def test_a_presentation_gives_slides_in_their_order_with_notes() -> None:
    """The file's numbering is not the order of showing."""
    found = texts(make.pptx([("Title one\nbody", "say this"), ("Second", "")]), "deck.pptx")

    assert found == [
        ("Title one\nbody\n\n", {"slide": 1}),
        ("say this\n\n", {"slide": 1, "part": "notes"}),
        ("Second\n\n", {"slide": 2}),
    ]


def test_a_notebook_gives_its_cells_and_what_they_print() -> None:
    """The quotes and escapes of JSON are not what people wrote."""
    assert texts(make.notebook(('print("a")\n', "a\n"), ("# more", "")), "lab.ipynb") == [
        ('print("a")\n\na\n\n', {"part": "cell 1"}),
        ("# more\n\n", {"part": "cell 2"}),
    ]


def test_a_pdf_gives_its_text_page_by_page_and_windows_for_the_rest() -> None:
    """A page without a text layer needs recognition; an empty page needs nothing."""
    found = parts(
        make.pdf(
            ["Fish (and) chips\nsecond line", make.SCAN, make.SCAN, make.BLANK, "the last page says this", make.DRAWING]
        ),
        "scan.pdf",
    )

    assert [type(part) for part in found] == [Text, Pages, Text, Pages]
    assert isinstance(found[0], Text)
    assert found[0].text == "Fish (and) chips\nsecond line\n\n"
    assert [getattr(part, "locator").as_json() for part in found] == [  # noqa: B009
        {"page_first": 1, "page_last": 1},
        {"page_first": 2, "page_last": 3},
        {"page_first": 5, "page_last": 5},
        {"page_first": 6, "page_last": 6},
    ]
    assert isinstance(found[1], Pages)
    assert _count(found[1].pdf) == 2


def test_no_window_of_pages_is_longer_than_fifteen_or_larger_than_two_mebibytes() -> None:
    """Document AI takes fifteen pages; a message takes two MiB; no page may be lost between windows."""
    import random

    dice = random.Random(3)
    large = [dice.randbytes(1000 * 500) for _ in range(5)]
    huge = dice.randbytes(1000 * 3000)

    found = parts(make.pdf([*[make.SCAN] * 20, *large, huge, make.SCAN]), "scan.pdf")

    places = [(p.locator.page_first, p.locator.page_last) for p in found if isinstance(p, Pages | Image)]
    assert places[0] == (1, 15)
    assert [first for first, _ in places] == [1, *(last + 1 for _, last in places[:-1] if last)]
    assert places[-1][1] == 27
    assert [p.mime_type for p in found if isinstance(p, Image)] == ["image/png"]
    assert all(
        len(p.pdf if isinstance(p, Pages) else p.content) <= 2 << 20 for p in found if isinstance(p, Pages | Image)
    )


def _count(pdf: bytes) -> int:
    import pypdfium2

    document = pypdfium2.PdfDocument(pdf)
    try:
        return len(document)
    finally:
        document.close()


def test_content_and_name_beat_the_stated_type() -> None:
    """Drive's word comes from an upload; the bytes do not lie."""
    assert texts(make.docx(make.paragraph("hello")), "odd.bin", "application/octet-stream")[0][0] == "hello\n\n"
    assert texts(make.pdf(["sixteen letters and more"]), "letter.txt", "text/plain")[0][1] == {
        "page_first": 1,
        "page_last": 1,
    }
    assert texts(b"<!doctype html><p>x", "report.xls", "application/vnd.ms-excel")[0][0] == "x\n\n"
    assert texts(b"# H\nx", "native.pdf", "text/markdown")[0][1]["heading"] == "H"
    assert texts(b"a;b\n1;2\n", "t.csv", "application/vnd.ms-excel")[0][1]["row_last"] == 2
    assert texts(b"BM is how this poem begins", "x")[0][0].startswith("BM")
    assert texts(b"<?xml version='1.0'?>\n<!-- x --><svg xmlns='s'><text>drawn</text></svg>", "a")[0][0] == "drawn\n"
    assert texts(b"<svg>words", "a.py")[0][0] == "<svg>words"
    assert texts(b"BEGIN:VCARD\nFN:Ann\nEND:VCARD\n", "a", "text/plain")[0][1]["heading"] == "Ann"
    mail = b"Received: x\n by y\nFrom: a@b.example\nDate: today\nSubject: otters\n\nhello"
    assert texts(mail, "a", "text/plain")[0][0] == "From: a@b.example\nDate: today\nSubject: otters\n\n"
    assert texts(b"From: here\nTo: there\nSubject: roads\n\nhello", "a")[0][0].startswith("From: here\nTo")
    page = (
        b"MIME-Version: 1.0\nX: y\nContent-Type: multipart/related; boundary=x\n\n--x\nContent-Type: text/html\n\n<p>hi"
    )
    assert [texts(page, name)[0][0] for name in ("a.mht", "a.doc")] == ["hi\n\n"] * 2
    assert "picture" in refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "notes.txt", "text/plain").reason


REFUSED = [
    (b"", "a.txt", "", "empty", "empty"),
    (b" \n\n \t\n", "a.txt", "", "no_text", "no text"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "a.jpg", "image/jpeg", "broken", "how large the picture is"),
    (b"8BPS\0\x01", "a.psd", "", "image", "recognition"),
    (b"ID3\x04\0\0\0\0", "a.mp3", "", "audio", "sound"),
    (b"\0\0\0\x18ftypmp42\0\0", "a.mp4", "", "video", "video"),
    (b"\x1f\x8b\x08\0\0\0", "a.gz", "", "broken", "its end is missing"),
    (b"BZh91AY&SY\0", "a.bz2", "", "broken", "its end is missing"),
    (b"7z\xbc\xaf\x27\x1c\0\4", "a.7z", "", "archive", "as ZIP"),
    (b"Rar!\x1a\7\1\0", "a.rar", "", "archive", "as ZIP"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0", "a.jpg", "image/jpeg", "image", "saved as JPEG"),
    (b"\0\0\0\x18ftypavif\0\0\0\0", "a", "", "image", "saved as JPEG"),
    (b"\0\0\0\x18ftypisom\0\0\0\0", "a.heic", "image/heif", "image", "saved as JPEG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a", "", "image", "saved as JPEG"),
    (b"AT&TFORM\0\0\1\0DJVM", "a", "", "unsupported", "DjVu"),
    (bytes(60) + b"BOOKMOBI" + bytes(90), "a.azw", "", "unsupported", "as EPUB"),
    (b"AC1032" + bytes(90), "a.dwg", "", "unsupported", "CAD"),
    (b"%!PS-Adobe-3.0\n%%Title: x\n", "a.eps", "", "unsupported", "as PDF"),
    (b"-----BEGIN PGP MESSAGE-----\n\nhQEM\n", "a.txt", "text/plain", "encrypted", "encrypted"),
    (b"\x85\1\x0c\3" + bytes(range(256)), "a.gpg", "", "encrypted", "encrypted"),
    (b"Salted__" + bytes(range(256)), "a", "", "encrypted", "encrypted"),
    (make.zipped({"Index/Document.iwa": "x", "preview.jpg": "x"}), "a", "", "unsupported", "exported as PDF"),
    (make.zipped({"index.apxl": "<a/>"}), "a.key", "", "unsupported", "exported as PDF"),
    (b"\x7fELF\x02\x01\x01\0", "a", "", "program", "program"),
    (b"MZ\x90\0\x03\0\0\0", "a.exe", "", "program", "program"),
    (b"wOF2\0\x01\0\0", "a.woff2", "", "font", "font"),
    (b"SQLite format 3\0\x10", "a.db", "", "database", "database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "a.doc", "", "unsupported", "before 2007"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "a.docx", "", "encrypted", "password"),
    (bytes(range(256)) * 9, "a.dat", "", "unsupported", "no text"),
    (b"{\\rtf1 }", "a.rtf", "", "no_text", "no text"),
    (make.zipped({"a.zip": make.zipped({"a.txt": "x"})}), "a.zip", "", "nested", "archive"),
    (make.zipped({"META-INF/MANIFEST.MF": "x"}), "a.jar", "", "program", "program"),
    (make.zipped({"mimetype": "application/epub+zip"}), "a.epub", "", "broken", "where its text begins"),
    (make.zipped({"mimetype": "application/vnd.oasis.opendocument.formula"}), "a.odf", "", "unsupported", "formulas"),
    (make.pdf(["x"], encrypted=True), "a.pdf", "", "encrypted", "password"),
    (b"whatever", "f", "application/vnd.google-apps.form", "native", "Form"),
]


@pytest.mark.parametrize(("content", "name", "mime_type", "code", "said"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_is_not_read_ends_with_a_sentence(content: bytes, name: str, mime_type: str, code: str, said: str) -> None:
    """Nothing is silent: a person sees why a file is not found."""
    why = refused(content, name, mime_type)

    assert why.code == code
    assert said in why.reason
    assert why.reason[0].isupper()
    assert why.reason.endswith(".")


def test_the_table_of_formats_is_complete_and_unambiguous() -> None:
    """docs/formats.md is made of it."""
    extensions = [extension for row in FORMATS for extension in row.extensions.split()]
    types = [mime_type for row in FORMATS for mime_type in row.mime_types.split()]

    assert len(set(extensions)) == len(extensions)
    assert len(set(types)) == len(types)
    assert all(row.how.endswith(".") for row in FORMATS)
    assert all((row.read is None) == (not row.locator) for row in FORMATS)
    assert by_name("Makefile") == by_name("x.py")
    assert by_name("v2.0 draft") is None


class Counting(BytesSource):
    """Says how often it was asked for its bytes."""

    asked = 0

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        self.asked += 1
        return super().windows(start)

    def seekable(self) -> io.RawIOBase:
        self.asked += 1
        return super().seekable()


@pytest.mark.parametrize(
    ("content", "name", "mime_type"),
    [
        (b"text", "a.txt", "text/plain"),
        (b"<p>x", "a.html", "text/html"),
        (b"a,b\n", "a.csv", "text/csv"),
        (make.docx(make.paragraph("x")), "a.docx", ""),
        (make.docx(make.paragraph("x")), "no name says it", "application/octet-stream"),
        (make.pdf(["sixteen letters and more"]), "a.pdf", "application/pdf"),
        (make.notebook(("x", "y")), "a.ipynb", ""),
    ],
)
def test_a_small_file_costs_one_request(content: bytes, name: str, mime_type: str) -> None:
    """Drive counts requests, and each one takes its time."""
    source = Counting(content, name, mime_type)

    assert list(read(source))
    assert source.asked == 1


SAID = [
    ("<meta charset={}><p>{}", "a.html"),
    ('<?xml version="1.0" encoding="{}"?><a>{}</a>', "a.xml"),
    ('@charset "{}"; p::before {{ content: "{}" }}', "a.css"),
    ("#!/usr/bin/python\n# -*- coding: {} -*-\nsay({!r})\n", "a.py"),
    ("\\documentclass{{x}}\n\\usepackage[{}]{{inputenc}}\n{}", "a.tex"),
]


@pytest.mark.parametrize(("template", "name"), SAID, ids=[name for _, name in SAID])
def test_a_text_is_believed_about_its_encoding_where_that_can_be(template: str, name: str) -> None:
    """A few letters are too few to guess from; and many pages say what is not so."""
    true = template.format("cp1250", "Łódź").encode("cp1250")
    lie = template.format("utf-8", "Füße und Äpfel, schöne Grüße").encode("cp1252")
    greek = template.format("iso-8859-7", "Füße und Äpfel").encode()  # it is UTF-8, whatever it says
    damage = template.format("cp932", "Der Müller zählte nachts die Äpfel, größere Füße und süße Öle. " * 5).encode(
        "cp1252"
    )

    said = ["".join(text for text, _ in texts(content, name)) for content in (true, lie, greek, damage)]

    assert ["Łódź" in said[0], "schöne Grüße" in said[1], "Füße und Äpfel" in said[2]] == [True] * 3
    assert "größere Füße" in said[3]


@pytest.mark.parametrize("charset", ["utf-16", "utf-32", "hex", "idna", "punycode", "undefined", "utf-7", "x"])
def test_no_charset_that_a_page_states_stops_its_reading(charset: str) -> None:
    """Python knows codecs that are no text, that fail without a mark, or that cannot go on behind an error."""
    page = f"<meta charset={charset}><p>Füße und Äpfel, schöne Grüße".encode("cp1252")
    mail = b"Subject: x\r\nContent-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\nmany words\r\n"

    assert texts(page.replace(charset.encode(), b"cp037"), "a.html") == texts(page, "a.html")
    assert texts(page, "a.html")[0][0] == "Füße und Äpfel, schöne Grüße\n\n"
    assert "many words" in "".join(text for text, _ in texts(mail, "a.eml"))
    for wide in ("utf-16", "utf-16-le", "utf-16-be"):
        body = b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        body += base64.b64encode("\nmany Äpfel".encode(wide))
        assert texts(body, "a.eml")[0][0] == "many Äpfel"
