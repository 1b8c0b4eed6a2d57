"""The lexer of web pages: tags as browsers see them, wherever a page is cut, whatever it is made of."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.readers import markup
from shared.readers.drawing import Drawing
from shared.readers.markup import Page
from tests.unit.reader_checks import texts

SEEN = [
    ("<p>a < b and <3 hearts <</p>", "a < b and <3 hearts <"),
    ('<a title="x > y">one</a> two', "one two"),
    ("<p title=it's>one</p> <p class=\"it's\">two</p>", "one\n\ntwo"),
    ('<p ">one</p>', "one"),
    ("<P>one</P >two", "one\n\ntwo"),
    ("one<!-- <p> > -->two<!-->three<!--->four<!-- - -- -->five", "onetwothreefourfive"),
    ("one<!doctype x>two<?php echo '1' ?>three</ 4>four</>five<![CDATA[ <p> ]>]]>six", "onetwothreefourfivesix"),
    ("one<script>if (a</b) '</scripty>' <!-- </script >two<style></SCRIPT></style>three", "onetwothree"),
    ("one<script src='x'/>two<script src=x/>three</script>four", "onetwofour"),
    ("one<svg viewBox='0'/>two<svg><text>three</svg>four", "onetwofour"),
    ("caf&eacute; &amp;lt; &#8364;&#x20ac &nosuch; &ampx&notit;", "café &lt; €€ &nosuch; &x¬it;"),
    (f"&#{'0' * 300}65;&#{'0' * 5000}65;&#{'9' * 5000} x", "A\ufffd\ufffd x"),
    ("one<b", "one"),
    ("one<", "one<"),
    ("one</", "one"),
    ("one &am", "one &am"),
    ("<p>one<p>two<br/>three<td>four<td>five", "one\n\ntwo\nthree\tfour\tfive"),
    ("<o:p></o:p>one<custom-thing a=1 b = '2' c>two", "onetwo"),
]


@pytest.mark.parametrize(("page", "seen"), SEEN, ids=[page[:24] for page, _ in SEEN])
def test_a_page_says_what_a_browser_shows(page: str, seen: str) -> None:
    """People write pages by hand, and programs write worse ones."""
    assert "".join(text for text, _ in texts(page.encode(), "a.html")).strip() == seen


def told(kind: type[markup.Markup], pieces: list[str]) -> str:
    heard = kind()
    for piece in pieces:
        heard.feed(piece)
    heard.feed("", final=True)
    heard.flush("\n\n")
    return "".join(text for text, _ in heard.out)


PIECES = [
    *("<p>", "<", ">", "</p>", "<a title='", "'>", '"', "=", "/", "!", "-", "--", "<!--", "-->", "]]>", "<![CDATA["),
    *("<script>", "</script>", "</SCRIPT ", "<style>", "</style>", "<td>", "<h1>", "</h1>", "<pre>", "</pre>", "<svg>"),
    *("</svg>", "<title>", "<text>", "</text>", "&", "&amp", ";", "&#", "6", "0" * 9, "x41", "&nbsp;", " ", "\n"),
    *("word", "é", "<tspan x='1'>", "<b ", "a" * 30, "?", "<?"),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_it_does_not_matter_where_a_page_is_cut(pieces: list[str], cuts: list[int], drawing: bool) -> None:
    """What a tag is, and where one is given up for its length, must be the same in every life."""
    page = "".join(pieces)
    kind = Drawing if drawing else Page
    places = sorted({0, len(page), *(cut for cut in cuts if cut < len(page))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markup, "_LONGEST", 50)
        whole = told(kind, [page])

        assert told(kind, [page[a:b] for a, b in pairwise(places)]) == whole
        assert told(kind, list(page)) == whole


@pytest.mark.parametrize("long", [-3, -2, -1, 0, 1, 2, 3])
def test_a_tag_as_long_as_the_bound_is_the_same_tag_in_any_pieces(long: int) -> None:
    """At the bound itself, one character more or less must not decide differently."""
    page = f'one<p title="{"x" * (markup._LONGEST - len("p title=") - 2 + long - 4)} > z">two<b>three'

    assert told(Page, [page]) == told(Page, [page[:65_000], *page[65_000:]])
    assert ("one\n\n" in told(Page, [page])) == (long <= 0)


def test_nothing_is_held_of_what_is_passed_over() -> None:
    """A page may carry a comment, a script or a picture of any size."""
    for begin in ("<!--", "<script>", "<style>", "<![CDATA[", "<?", "<img src='", "&#"):
        heard = Page()
        heard.feed(begin)
        for _ in range(100):
            heard.feed("0" * 10_000)

            assert len(heard._rest) <= markup._LONGEST + 10_000
