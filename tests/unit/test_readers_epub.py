"""Books: chapters in the order of reading, under the titles that their table of contents gives them."""

from __future__ import annotations

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Text
from shared.readers import BytesSource, read
from tests.unit import document_samples as make

FONTS = "http://www.idpf.org/2008/embedding"
CIPHER = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"


def texts(content: bytes) -> list[tuple[str, dict[str, object]]]:
    return [
        (part.text, part.locator.as_json()) for part in read(BytesSource(content, "b.epub")) if isinstance(part, Text)
    ]


def refused(content: bytes) -> Skipped:
    with pytest.raises(Skipped) as caught:
        texts(content)
    return caught.value


def encryption(algorithm: str) -> str:
    return f'<encryption><EncryptedData><EncryptionMethod Algorithm="{algorithm}"/></EncryptedData></encryption>'


def test_chapters_come_in_the_order_of_reading_with_their_titles() -> None:
    """`Chapter 3` says more than `part0004_split_001.html`."""
    book = make.epub(
        {"z.xhtml": "<h1>Begin</h1><p>first</p>", "a%20b.xhtml": "<p>second<script>no()</script></p>"},
        {"z.xhtml#top": "One, the  beginning"},
    )

    assert texts(book) == [
        ("Begin\n\nfirst\n\n", {"heading": "Begin", "part": "One, the beginning"}),
        ("second\n\n", {"part": "OPS/a b.xhtml"}),
    ]


def test_the_contents_of_a_new_book_are_a_web_page() -> None:
    """EPUB 3 says in `nav.xhtml` what EPUB 2 says in `toc.ncx`."""
    nav = '<!DOCTYPE html><html><nav><ol><li><a href="c.xhtml">The <b>one</b> chapter</a></li></ol></nav></html>'
    package = (
        '<package><manifest><item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
        '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="c"/></spine></package>'
    )
    container = '<container><rootfile full-path="book.opf"/></container>'
    book = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "book.opf": package}

    found = texts(make.zipped({**book, "nav.xhtml": nav, "c.xhtml": "<p>words</p>"}))
    damaged = texts(make.zipped({**book, "nav.xhtml": "<a href='c.xhtml'>torn", "c.xhtml": "<p>words</p>"}))

    assert found == [("words\n\n", {"part": "The one chapter"})]
    assert damaged == [("words\n\n", {"part": "c.xhtml"})]


def test_a_chapter_is_read_once_however_often_it_is_named() -> None:
    """A spine of a million references to one chapter would be a bomb."""
    book = make.epub({"c.xhtml": "<p>once</p>"})
    again = make.epub({"c.xhtml": "<p>once</p>", "c.xhtml#x": "<p>once</p>", "./c.xhtml": "<p>once</p>"})

    assert texts(again) == texts(book)


def test_a_locked_book_says_so_and_scrambled_fonts_do_not_lock_it() -> None:
    """A person must know that it is the seller's lock; letters' shapes are no text."""
    chapters = {"c.xhtml": "<p>words</p>"}

    assert refused(make.epub(chapters, **{"META-INF__encryption_xml": encryption(CIPHER)})).code == "drm"
    assert texts(make.epub(chapters, **{"META-INF__encryption_xml": encryption(FONTS)}))


def test_a_book_without_a_beginning_is_broken() -> None:
    """Half an upload."""
    assert refused(make.zipped({"mimetype": "application/epub+zip"})).code == "broken"
    assert (
        refused(
            make.zipped(
                {"mimetype": "application/epub+zip", "META-INF/container.xml": '<c><rootfile full-path="x"/></c>'}
            )
        ).code
        == "broken"
    )
