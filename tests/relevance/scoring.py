"""How good a list of results is: nDCG@10, by the grades of the labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from math import log2
from statistics import mean

from tests.relevance.library import FIRST, Library, Result
from tests.relevance.questions import Question

Figures = dict[str, float]


def ndcg(question: Question, results: Sequence[Result]) -> float:
    """From 0 (nothing relevant among the first ten) to 1 (all that is relevant, the best first).

    A result earns the best label that it fits, and each label is earned once: the same place, or another passage of
    a file that was found already, is one more line to read and no gain.
    """
    open_labels = list(question.relevant)
    gains = []
    for file, passage in results[:FIRST]:
        fitting = [label for label in open_labels if label.fits(file, passage)]
        best = max(fitting, key=lambda label: label.grade, default=None)
        if best:
            open_labels.remove(best)
        gains.append(best.grade if best else 0)
    return _discounted(gains) / _discounted(sorted((label.grade for label in question.relevant), reverse=True))


def _discounted(grades: Iterable[int]) -> float:
    return sum((2.0**grade - 1) / log2(place + 1) for place, grade in enumerate(grades, 1))


def compare(library: Library, asked: Sequence[Question]) -> dict[str, Figures]:
    """The mean nDCG@10 of each way to search, for each kind of question and for `all`."""
    ways = {"hybrid": library.hybrid, "vectors": library.by_vectors, "full text": library.by_words}
    return {way: figures(search, asked) for way, search in ways.items()}


def figures(search: Callable[[str], Sequence[Result]], asked: Sequence[Question]) -> Figures:
    """The mean nDCG@10 for each kind of question, and for `all`."""
    scores = defaultdict[str, list[float]](list)
    for question in asked:
        scores[question.kind].append(ndcg(question, search(question.asks)))
    means = {kind: round(mean(reached), 4) for kind, reached in scores.items()}
    return {**means, "all": round(mean(chain.from_iterable(scores.values())), 4)}
