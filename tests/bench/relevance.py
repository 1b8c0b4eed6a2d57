"""How good search is: nDCG@10 of the labelled questions in `tests/relevance`, with the local, lexical embedding.

Of each half of the questions: hybrid search, nearness of vectors alone, and full text alone, for every kind of question
and for all. Constants are chosen on the tuned half; the reported one is what counts.
"""

from __future__ import annotations

import argparse
from collections import Counter

from tests.relevance.library import documents, library
from tests.relevance.questions import halves, questions
from tests.relevance.scoring import compare
from tests.scratch_postgres import scratch_postgres


def measure(arguments: list[str]) -> dict[str, object]:
    """The library's size, the questions of each kind, and the figures of both halves."""
    argparse.ArgumentParser(prog="./dev bench relevance", description=__doc__).parse_args(arguments)
    held = documents()
    with scratch_postgres() as server, library(server.admin_url, server.url_for("drivestream_app"), held) as filled:
        reached = {name: compare(filled, half) for name, half in halves()._asdict().items()}
    return {
        "files": len(held),
        "passages": sum(len(document.passages) for document in held),
        "questions": {**Counter(question.kind for question in questions()), "all": len(questions())},
        "ndcg_at_10": reached,
    }
