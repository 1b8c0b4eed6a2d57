"""A chunk's text is cut into passages: nothing lost, nothing too long, each with a true place."""

from __future__ import annotations

import itertools
import random
import statistics
import string
import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.chunks import pack
from shared.domain.parts import Locator
from shared.domain.tokens import estimate_tokens
from shared.passages import MAX_TOKENS, Mark, cut, passage_hash
from shared.readers import BytesSource, Limits, read

SENTENCE = "The harbour master counted the boats again before the tide turned. "
SCRIPTS = [
    SENTENCE,
    "潮が満ちる前に港長はもう一度船を数えた。",
    "عد مدير الميناء القوارب مرة أخرى قبل المد. ",
    "नाव बंदरगाह में लौट आई। ",
    "⛵️👩‍👩‍👧‍👦🇮🇸 ",
    "x" * 700,
    "\n\n",
    "e\u0301" * 40,
    "----------\n",
]
pieces = st.lists(st.tuples(st.sampled_from(SCRIPTS) | st.text(max_size=40), st.integers(1, 30)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(pieces)
def test_every_word_of_every_script_is_in_a_passage_in_order_and_within_bounds(drawn: list[tuple[str, int]]) -> None:
    """A word outside all passages can never be found; a passage over the model's limit can never be embedded."""
    text = "".join(piece * times for piece, times in drawn)

    passages = cut(text, [])

    covered = bytearray(len(text))
    for ordinal, passage in enumerate(passages):
        assert passage.ordinal == ordinal
        assert 0 < estimate_tokens(passage.text) <= MAX_TOKENS
        covered[passage.start : passage.start + len(passage.text)] = b"\1" * len(passage.text)
    assert [passage.start for passage in passages] == sorted(passage.start for passage in passages)
    lost = {character for character, seen in zip(text, covered, strict=True) if not seen}
    assert all(unicodedata.category(c)[0] in "PZC" or c.isspace() or c in string.punctuation for c in lost), lost


@settings(max_examples=30, deadline=None)
@given(pieces)
def test_the_same_text_gives_the_same_passages(drawn: list[tuple[str, int]]) -> None:
    """A chunk that is delivered twice must name its passages alike, or they would be stored twice."""
    text = "".join(piece * times for piece, times in drawn)

    assert cut(text, []) == cut(text, [])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from(["A", "A > B", "C"])), min_size=1, max_size=25))
def test_a_locator_is_the_smallest_span_around_its_passage(lines: list[tuple[int, str]]) -> None:
    """A search result opens at the place it names: a line too many or too few is a wrong answer."""
    text, marks = "", list[Mark]()
    for number, (words, heading) in enumerate(lines, 1):
        marks.append((len(text), Locator(line_first=number, line_last=number, heading=heading)))
        text += f"w{number} " * (words + 1) + "\n"

    for passage in cut(text, marks):
        named = {int(word[1:]) for word in passage.text.split() if word.startswith("w") and word[1:]}
        assert {passage.locator.line_first, passage.locator.line_last} == {min(named), max(named)}
        assert {lines[number - 1][1] for number in named} == {passage.locator.heading}


def test_a_text_of_many_windows_has_no_seam() -> None:
    """A long file is cut in windows; a sentence lost between two of them would be lost in silence."""
    numbers = [f"Sentence number {number} is here." for number in range(6_000)]
    text = " ".join(numbers)

    passages = cut(text, [])

    assert len(passages) > 100
    assert all(any(sentence in passage.text for passage in passages) for sentence in numbers[::97])
    for before, after in itertools.pairwise(passages):
        assert before.start < after.start <= before.start + len(before.text) + 1


def test_a_cut_paragraph_overlaps_by_about_a_sixth() -> None:
    """What stands on a cut is found whole; more overlap than that would only cost embeddings."""
    text = SENTENCE * 400

    shown = sum(len(passage.text) for passage in cut(text, []))

    assert 1.05 < shown / len(text) < 1.25


def test_pages_stand_alone_unless_they_are_tiny() -> None:
    """A result names its page; a page of three words is no passage of its own."""
    pages = [SENTENCE * 12, SENTENCE * 12, "Chapter two", SENTENCE * 5, "Fin."]
    text, marks = _marked([(page, Locator(page_first=n, page_last=n)) for n, page in enumerate(pages, 1)])

    spans = [(passage.locator.page_first, passage.locator.page_last) for passage in cut(text, marks)]

    assert spans == [(1, 1), (2, 3), (4, 5)]


@pytest.mark.parametrize("field", ["sheet", "slide", "part", "heading"])
def test_no_passage_crosses_what_a_locator_can_name_only_once(field: str) -> None:
    """A passage over two sheets would have to lie about one of them."""
    names: list[str] | list[int] = [1, 2, 3] if field == "slide" else ["one", "two", "three"]
    text, marks = _marked([(f"tiny {name}", Locator(**{field: name})) for name in names])  # type: ignore[arg-type]

    assert [getattr(passage.locator, field) for passage in cut(text, marks)] == names


def test_rules_and_blank_runs_are_no_passages() -> None:
    """A line of dashes is nothing anybody searches for, and would cost a vector."""
    text, marks = _marked(
        [("-----\n=====\n. . .", Locator(slide=1)), ("⛵️", Locator(slide=2)), (" \n", Locator(slide=3))]
    )

    assert [passage.text for passage in cut(text, marks)] == ["⛵️"]
    assert cut("", []) == []


def test_a_hash_ignores_spacing_and_composition_and_nothing_else() -> None:
    """The hash decides whether a vector is paid for again: too strict wastes money, too loose answers wrongly."""
    assert passage_hash("Caf\u00e9  au\nlait") == passage_hash("Cafe\u0301 au lait")
    assert passage_hash("Cafe au lait") != passage_hash("Café au lait")
    assert len(passage_hash("")) == 32


def test_what_postgres_refuses_is_replaced_one_for_one() -> None:
    """One NUL or lone surrogate would otherwise fail the chunk's transaction for ever."""
    (passage,) = cut("before \x00 and \ud800 after", [])

    assert passage.text == "before \ufffd and \ufffd after"


def test_the_estimate_never_calls_a_text_cheaper_than_it_is() -> None:
    """Requests are sized by it; models charge about four ASCII characters a token, and at most one per other letter."""
    assert estimate_tokens("") == 0
    assert estimate_tokens("word" * 300) >= 300
    assert estimate_tokens("潮" * 300) == 300


def _marked(parts: list[tuple[str, Locator]]) -> tuple[str, list[Mark]]:
    text, marks = "", list[Mark]()
    for part, locator in parts:
        marks.append((len(text), locator))
        text += part + "\n\n"
    return text, marks


# Edits ----------------------------------------------------------------------------------------------------------------

WORDS = [
    "brook",
    "meadow",
    "lantern",
    "orchard",
    "harbour",
    "thistle",
    "granite",
    "willow",
    "copper",
    "saddle",
    "ember",
]


def paragraph(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(30, 160))).capitalize() + "."


def hashes(paragraphs: Sequence[str]) -> set[bytes]:
    """The names of all passages of a text file, read and packed as the streamer does it."""
    content = "\n\n".join(paragraphs).encode()
    chunks = list(pack(read(BytesSource(content, "book.txt", "text/plain"), Limits())))
    assert len(chunks) > 1
    return {passage.hash for chunk in chunks for passage in cut(chunk.payload.decode(), list(chunk.marks))}


def test_after_an_edit_the_cuts_of_a_long_document_find_back_to_where_they_were() -> None:
    """A comma on page 5 must not have 300 pages embedded anew: a hundred paragraphs replaced, put in or taken out."""
    chance = random.Random(5)
    book = [paragraph(chance) for _ in range(1000)]  # about 600,000 characters, 300 pages
    before = hashes(book)
    new = []
    for _ in range(100):
        place, how = chance.randrange(len(book)), chance.choice(["replace", "insert", "delete"])
        middle = [] if how == "delete" else [paragraph(chance)]
        edited = [*book[:place], *middle, *book[place + (how != "insert") :]]
        new.append(len(hashes(edited) - before))

    assert statistics.median(new) <= 3
    assert max(new) <= 6
