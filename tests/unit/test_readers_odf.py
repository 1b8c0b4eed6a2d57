"""OpenDocument: texts, spreadsheets and presentations, with the places that search points to."""

from __future__ import annotations

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Text
from shared.readers import BytesSource, Limits, read
from tests.unit import document_samples as make
from tests.unit.document_samples import h, p, sheet, slide


def texts(content: bytes, name: str = "no name says it") -> list[tuple[str, dict[str, object]]]:
    return [(part.text, part.locator.as_json()) for part in read(BytesSource(content, name)) if isinstance(part, Text)]


def rows(body: str) -> list[tuple[str, object, object]]:
    content = make.open_document("spreadsheet", f'<table:table table:name="S">{body}</table:table>')
    found = read(BytesSource(content))
    return [(part.text, part.locator.row_first, part.locator.row_last) for part in found if isinstance(part, Text)]


def test_a_text_gives_headings_tables_notes_and_margins() -> None:
    """What stands in a footnote, a comment or a footer is as worth finding as the body."""
    body = (
        h("Chapter")
        + p("Fish &amp; chips")
        + h("Detail", 2)
        + '<table:table table:name="T">'
        + "<table:table-row><table:table-cell>" + p("a") + p("b") + "</table:table-cell>"
        + "<table:table-cell>" + p("c") + "</table:table-cell></table:table-row>"
        + "<table:table-row><table:covered-table-cell/><table:table-cell>" + p("d")
        + "</table:table-cell></table:table-row>"
        + "</table:table>"
        + p(
            'kept<text:tab/>on<text:s text:c="3"/>and<text:line-break/>on'
            '<text:note text:note-class="endnote"><text:note-citation>1</text:note-citation><text:note-body>'
            + p("a note")
            + "</text:note-body></text:note>"
            + "<office:annotation><dc:creator>Ada</dc:creator><dc:date>2020</dc:date>"
            + p("a remark")
            + "</office:annotation>"
        )
        + "<text:tracked-changes>" + p("gone") + "</text:tracked-changes>"
    )  # fmt: skip
    found = texts(make.open_document("text", body, styles_xml=make.margins(p("the head"), p("the foot"))))

    assert found == [
        ("Chapter\n\nFish & chips\n\n", {"heading": "Chapter"}),
        ("Detail\n\na b\tc\n\td\n\n", {"heading": "Chapter > Detail"}),
        ("a note\n\n", {"heading": "Chapter > Detail", "part": "endnotes"}),
        ("a remark\n\n", {"heading": "Chapter > Detail", "part": "comments"}),
        ("kept\ton   and\non\n\n", {"heading": "Chapter > Detail"}),
        ("the head\n\n", {"part": "header"}),
        ("the foot\n\n", {"part": "footer"}),
    ]


def test_a_picture_is_found_by_what_is_said_of_it() -> None:
    """A description is often all the text that a picture has."""
    frame = "<draw:frame><svg:title>The mill</svg:title><svg:desc>seen from Dunmere</svg:desc></draw:frame>"

    assert texts(make.open_document("text", p(f"Look: {frame}") + frame))[0][0] == (
        "Look: The mill seen from Dunmere \n\nThe mill seen from Dunmere \n\n"
    )


def test_a_spreadsheet_gives_all_sheets_row_by_row() -> None:
    """Numbers as they are, dates as the calendar writes them, all else as it is shown."""
    cells = (
        "<table:table-row><table:table-cell/>"
        '<table:table-cell office:value-type="date" office:date-value="2023-03-15"><text:p>15.03.23</text:p>'
        "</table:table-cell>"
        '<table:table-cell office:value-type="percentage" office:value="0.5"><text:p>50 %</text:p></table:table-cell>'
        '<table:table-cell office:value-type="float" office:value="7"/>'
        '<table:table-cell office:value-type="float" office:value="14"><text:p>1E+01</text:p></table:table-cell>'
        "</table:table-row>"
    )

    assert rows(cells) == [("\t2023-03-15\t50 %\t7\t14\n", 1, 1)]
    assert texts(make.open_document("spreadsheet", sheet("One", ("a", "b")) + sheet("Two &amp; more", ("c",)))) == [
        ("a\tb\n", {"sheet": "One", "row_first": 1, "row_last": 1}),
        ("c\n", {"sheet": "Two & more", "row_first": 1, "row_last": 1}),
    ]


def test_rows_that_repeat_are_told_once_and_counted_all() -> None:
    """A hostile sheet says of one row that it stands there a million times; an honest one ends with such a row."""
    repeated, same = 'table:number-rows-repeated="{}"', f"<table:table-cell>{p('same')}</table:table-cell>"
    found = rows(
        f"<table:table-row {repeated.format(4)}><table:table-cell/></table:table-row>"
        f"<table:table-row {repeated.format(1_000_000)}>{same}</table:table-row>"
        f"<table:table-row><table:table-cell>{p('last')}</table:table-cell></table:table-row>"
        f"<table:table-row {repeated.format('9' * 50)}><table:table-cell/></table:table-row>"
    )

    assert found == [("same\nlast\n", 5, 1_000_005)]


def test_cells_that_repeat_are_bounded() -> None:
    """Sixteen thousand equal cells say no more than sixteen."""
    cell = '<table:table-cell table:number-columns-repeated="{}">{}</table:table-cell>'
    found = rows(
        "<table:table-row>"
        + cell.format(3, p("x"))
        + cell.format(2, "")
        + cell.format(16_000, p("y"))
        + "</table:table-row>"
    )

    assert found == [("x\tx\tx\t\t\t" + "\t".join("y" * 16) + "\n", 1, 1)]


def test_a_cell_may_be_longer_than_a_paragraph() -> None:
    """Whole letters are kept in cells."""
    long = "many words " * 20_000
    cells = f"<table:table-cell>{p(long)}</table:table-cell><table:table-cell>{p('b')}</table:table-cell>"
    found = rows(f"<table:table-row>{cells}</table:table-row>")

    assert "".join(text for text, _, _ in found) == long.strip() + "\tb\n"
    assert {first for _, first, _ in found} == {1}


def test_a_presentation_gives_slides_with_notes() -> None:
    """The speaker's words are the ones that people search for."""
    found = texts(make.open_document("presentation", slide("Title one\nbody", "say this") + slide("Second")))

    assert found == [
        ("Title one\nbody\n\n", {"slide": 1}),
        ("say this\n\n", {"slide": 1, "part": "notes"}),
        ("Second\n\n", {"slide": 2}),
    ]


def test_an_encrypted_document_is_named() -> None:
    """A password is something a person can do something about."""
    manifest = "<m:manifest xmlns:m='m'><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>"
    content = make.zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "META-INF/manifest.xml": manifest,
            "content.xml": b"\x93\x01noise",
        }
    )

    with pytest.raises(Skipped) as caught:
        list(read(BytesSource(content, "secret.odt")))

    assert caught.value.code == "encrypted"


def test_entities_are_never_expanded() -> None:
    """A billion laughs is a few hundred bytes."""
    laughs = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    content = make.zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": laughs})

    with pytest.raises(Skipped) as caught:
        list(read(BytesSource(content, "laughs.odt"), Limits()))

    assert caught.value.code == "dtd"
