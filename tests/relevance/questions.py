"""The labelled questions: what a person would type, and what they would have wanted to see.

`questions.jsonl` has one question a line. A label names a file, and where one place of it is meant, words that stand in
the passage (`says`); its grade is 3 for the answer, 2 for what helps nearly as much, 1 for what is worth a look.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SEED = 20261127

# What is typed in each kind.
KINDS = {
    "words": "a few words of what is looked for",
    "question": "a whole question",
    "phrase": "words exactly as they stand",
    "name": "a file's name",
    "misspelt": "words with slips in them",
    "inflected": "words in another form than the text's",
    "compound": "parts of German compounds, and whole ones",
    "language": "German, French, Spanish, Russian and Swedish",
    "cjk": "Japanese, Chinese and Korean",
    "arabic": "Arabic",
}


@dataclass(frozen=True, slots=True)
class Label:
    """One thing that should be found. `says` is empty where the file is meant, wherever in it."""

    file: str
    grade: int
    says: str = ""

    def fits(self, file: str, passage: str | None) -> bool:
        """Is this result what the label means? A result without a passage is a file found by its name alone."""
        return file == self.file and (not self.says or plain(self.says) in plain(passage or ""))


@dataclass(frozen=True, slots=True)
class Question:
    """What is typed, and all that is relevant to it."""

    kind: str
    asks: str
    relevant: tuple[Label, ...]


class Halves(NamedTuple):
    """The same questions twice over: constants are chosen on one half, figures are told of the other."""

    tuned: list[Question]
    reported: list[Question]


def questions() -> list[Question]:
    """All of them, as they stand in the file."""
    lines = (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Question(line["kind"], line["asks"], tuple(Label(**label) for label in line["relevant"]))
        for line in map(json.loads, lines)
    ]


def halves() -> Halves:
    """A shuffle that is the same everywhere; each kind is halved for itself."""
    kinds = defaultdict[str, list[Question]](list)
    for question in questions():
        kinds[question.kind].append(question)
    split = Halves([], [])
    for kind, asked in kinds.items():
        random.Random(f"{SEED} {kind}").shuffle(asked)
        split.tuned.extend(asked[::2])
        split.reported.extend(asked[1::2])
    return split


def plain(text: str) -> str:
    """As labels are compared with passages: without case, with single spaces."""
    return " ".join(text.casefold().split())
