"""The terms by which texts in other scripts, with accents, and compounds are found; and that English costs nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.terms import LONGEST, MOST_SOUGHT, extra_terms, sought_terms


def found(text: str, query: str) -> bool:
    """Whether the query's terms find the text's, or its plain words, as a tsquery over both would."""
    known = {*(f"@{term}" for term in extra_terms(text).split()), *re.findall(r"\w+", text.lower())}
    wanted = sought_terms(query).query
    assert wanted is not None
    return all(
        any(
            any(word.startswith(term[1:-3]) for word in known) if term.endswith(":*") else term[1:-1] in known
            for term in group.strip("()").split(" | ")
        )
        for group in wanted.split(" & ")
    )


@pytest.mark.parametrize(("text", "query"), [
    ("灯台は静かに光っている。", "灯台"),
    ("東京都庁の展望室は無料です。", "京都庁"),
    ("我喜欢在图书馆看书。", "图书馆"),
    ("夜の猫", "猫"),
    ("猫が好き", "猫"),
    ("ﾃﾞｰﾀ分析", "データ"),
    ("서울에서 만나요", "서울"),
    ("การประชุมประจำปี", "ประชุม"),
    ("قرأتُ الْكِتَابَ في المكتبة", "كتاب"),
    ("وصل كتاب جديد", "الكتاب"),
    ("اجتمعنا في المدرسة أمس", "مدرسه"),
    ("می‌خواهم کتاب بخوانم", "میخواهم"),
    ("Ein Roggenmischbrot, bitte.", "Brot"),
    ("Ein Roggenmischbrot, bitte.", "Roggen"),
    ("Die Gartentüren klemmen", "Türen"),
    ("La réunion du comité", "reunion"),
    ("Kaffee und Küche", "kuche"),
    ("हिन्दी में लिखा गया", "हिन्दी"),
    ("ΑΘΉΝΑ και θάλασσα", "θαλασσα"),
    ("re\u0301union de famille", "réunion"),
])  # fmt: skip
def test_a_text_is_found_by_what_a_reader_would_type(text: str, query: str) -> None:
    """Each of these is one word to its reader, and none or half of one to Postgres' parser."""
    assert found(text, query)


@pytest.mark.parametrize(("text", "query"), [
    ("灯台は静かに光っている。", "灯火"),
    ("東京と京都", "京東"),
    ("Ein Roggenmischbrot, bitte.", "Mehl"),
    ("قرأت الكتاب", "قلم"),
    ("Ein Brot, bitte.", "Roggenmischbrot"),
])  # fmt: skip
def test_what_does_not_stand_there_is_not_found(text: str, query: str) -> None:
    """Terms that match everything would find nothing."""
    assert not found(text, query)


def test_plain_english_gets_no_terms() -> None:
    """Most texts are, and pay with neither time nor room."""
    text = "The keeper of the lighthouse “lit” the lamp – and wrote the weather into the log of understandings."

    assert extra_terms(text) == ""
    assert extra_terms(text + " Crème.") == "creme"


def test_short_words_do_not_hinder_the_long_ones() -> None:
    """Somebody who asks for "das Brot" wants bread, not an article."""
    assert sought_terms("das Brot").query == sought_terms("Brot").query
    assert sought_terms("to be").query == "'to' & 'be'"


def test_what_is_excluded_is_not_sought() -> None:
    """A minus before a word says what is not wanted."""
    assert sought_terms("Brot -Mehl").query == sought_terms("Brot").query
    assert sought_terms("-Mehl").query is None


def test_the_longest_run_is_looked_for_whole() -> None:
    """Pairs of characters may stand anywhere; a run that stands whole is what was meant."""
    assert sought_terms("灯台 静かに").run == "静かに"
    assert sought_terms("lighthouse").run is None


def test_a_word_that_is_no_word_gives_no_term() -> None:
    """Postgres refuses a lexeme of 2 KB, and with it the whole chunk."""
    assert extra_terms("x" * 5000 + " ü" + "é" * 5000) == ""
    assert sought_terms("é" * 500).query is None
    assert len((sought_terms("字" * 500).query or "").split(" & ")) == MOST_SOUGHT


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_gives_terms_that_postgres_takes(text: str) -> None:
    """Terms are cut at spaces and stand in quotes: neither may be in them."""
    terms = extra_terms(text)

    assert terms == " ".join(dict.fromkeys(terms.split(" ")))
    assert all(0 < len(term) <= 4 * LONGEST and "'" not in term and "\\" not in term for term in terms.split())
    assert re.fullmatch(r"(?:[^'\\]|'[^'\\]+')*", sought_terms(text).query or "")
