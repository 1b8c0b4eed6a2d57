"""How good search is: labelled questions over the sample Drive and texts of ours, by the dashboard's own SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.integration.conftest import TestDatabase
from tests.relevance.library import Document, Library, documents, library
from tests.relevance.questions import KINDS, Label, Question, halves, questions
from tests.relevance.scoring import compare, ndcg

pytestmark = pytest.mark.xdist_group("relevance")  # the library is filled once
ASKED = questions()


Passages = dict[str, list[str | None]]


@pytest.fixture(scope="module")
def held() -> list[Document]:
    return documents()


@pytest.fixture(scope="module")
def passages(held: list[Document]) -> Passages:
    """What a result of each file may say. A file without passages is found by its name."""
    return {document.path: [passage.text for passage in document.passages] or [None] for document in held}


@pytest.fixture(scope="module")
def searched(shared_database: TestDatabase, held: list[Document]) -> Iterator[Library]:
    with library(shared_database.admin_url, shared_database.url(), held) as filled:
        yield filled


# The labels -----------------------------------------------------------------------------------------------------------


def test_there_are_enough_questions_of_every_kind_and_each_is_asked_once() -> None:
    """A kind with three questions says nothing about search."""
    kinds = Counter(question.kind for question in ASKED)

    assert kinds.keys() == KINDS.keys()
    assert kinds.total() >= 200
    assert min(kinds.values()) >= 12
    assert len({question.asks.casefold() for question in ASKED}) == len(ASKED)


def test_every_label_points_to_something_that_is_there(passages: Passages) -> None:
    """A label that nothing fits would count against every search alike, and nobody would see it."""
    for question in ASKED:
        assert question.relevant
        for label in question.relevant:
            assert 1 <= label.grade <= 3
            assert any(label.fits(label.file, passage) for passage in passages.get(label.file, [])), label


def test_the_best_answer_can_be_given(passages: Passages) -> None:
    """Two labels that only one passage fits could not both be earned: not even the best list would reach 1."""
    for question in ASKED:
        best = [
            next(passage for passage in passages[label.file] if label.fits(label.file, passage))
            for label in question.relevant
        ]
        given = sorted(zip(question.relevant, best, strict=True), key=lambda one: -one[0].grade)
        assert ndcg(question, [(label.file, passage) for label, passage in given]) == 1, question.asks


def test_the_halves_are_of_the_same_kinds_and_share_nothing() -> None:
    """A figure of questions that the constants were chosen by would praise itself."""
    split = halves()
    tuned, reported = (Counter(question.kind for question in half) for half in split)

    assert not set(split.tuned) & set(split.reported)
    assert set(split.tuned) | set(split.reported) == set(ASKED)
    assert all(0 <= tuned[kind] - reported[kind] <= 1 for kind in KINDS)
    assert split == halves()


# The measure ----------------------------------------------------------------------------------------------------------


def test_a_list_is_worth_more_the_earlier_the_better_answer_stands() -> None:
    """Of 1 at best, 0 with nothing relevant in the first ten; the same thing twice is worth no more than once."""
    question = Question("words", "tide", (Label("tide.md", 3, "High Water"), Label("moon.md", 1)))
    answer, hint, noise = ("tide.md", "at high\nwater"), ("moon.md", "full"), ("tide.md", "at low water")

    assert ndcg(question, [answer, hint]) == 1
    assert 1 > ndcg(question, [answer]) > ndcg(question, [noise, answer]) > ndcg(question, [hint]) > 0
    assert ndcg(question, [answer, answer, answer]) == ndcg(question, [answer])
    assert ndcg(question, [noise] * 10 + [answer]) == 0
    assert ndcg(question, [("tide.md", None)]) == 0


# Search ---------------------------------------------------------------------------------------------------------------


def test_hybrid_search_is_at_least_as_good_as_vectors_and_as_full_text_alone(searched: Library) -> None:
    """Otherwise one of the two is only a cost. Asked of the half that no constant was chosen by."""
    reached = {way: kinds["all"] for way, kinds in compare(searched, halves().reported).items()}

    assert reached["hybrid"] >= reached["vectors"]
    assert reached["hybrid"] >= reached["full text"]


@pytest.mark.parametrize("kind", ["cjk", "arabic", "compound"])
def test_what_postgres_knows_no_words_of_is_found(searched: Library, kind: str) -> None:
    """Its parser takes a Chinese sentence and a German compound for one word each. One in ten may be missed: forms
    that share no letters in a row, such as Steinbock and Steinböcke."""
    asked = [question for question in ASKED if question.kind == kind]

    for search in (searched.hybrid, searched.by_words):
        missed = [question.asks for question in asked if not ndcg(question, search(question.asks))]
        assert len(missed) <= len(asked) // 10, missed


def test_some_of_the_words_are_enough_where_no_passage_and_no_name_has_all(searched: Library) -> None:
    """Whoever asks a whole question uses words that the answer does not; without a vector nothing would be found."""
    asked, manual = "How do I clean the telescope mirror?", "texts/observatory/Mirror cleaning.md"
    by_words, hybrid = searched.by_words(asked), searched.hybrid(asked)

    assert manual in [file for file, _ in by_words[:3]]
    assert len(by_words) > 5
    assert manual in [file for file, _ in hybrid[:3]]
    assert set(hybrid) - set(by_words), "what is near in meaning keeps its place on the page"
    assert searched.by_words("weathercock zeppelin dome") == searched.by_words("dome zeppelin")


def test_who_excludes_a_word_or_quotes_does_not_get_some_of_the_words(searched: Library) -> None:
    """They have said exactly what they want, and nothing is the true answer."""
    assert searched.by_words("dome zeppelin") != []
    assert searched.by_words('dome "zeppelin"') == []
    assert searched.by_words("dome zeppelin -fox") == []


def test_some_of_the_words_are_looked_for_among_the_persons_own_passages(searched: Library) -> None:
    """A list that is asked last must keep to one person as well."""
    assert Library(searched.reader, uuid4()).by_words("dome zeppelin") == []
