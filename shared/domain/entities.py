"""What passages name, and how the named are related, as far as the passage itself bears it out.

A model proposes; what counts is decided here, by the text: a name is a substring of its passage, a relation joins two
such names of one passage by a word of a closed list. Whatever else an answer holds is dropped.

An answer is short, since its tokens are the dearest: `{"passages": [{"passage": 0, "person": ["Ada", "Grace"], "knows":
[["Ada", "Grace"]]}]}`. A passage that names nothing is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.domain.tokens import estimate_tokens

KINDS = ("person", "organisation", "place", "date", "amount", "topic")
PREDICATES = (
    "works_for", "part_of", "located_in", "owns", "made", "knows", "contacted", "paid", "costs", "happened_on", "about",
)  # fmt: skip
# A passage of prose, two hundred words, names fewer; a table names one a cell, and every cell is found by its words.
ENTITIES_PER_PASSAGE = 12
RELATIONS_PER_PASSAGE = 8
NAME_CHARACTERS = 120
# Of an answer about one passage: twelve names of 8 tokens, eight pairs of them, and the words between.
ANSWER_TOKENS = 300


@dataclass(frozen=True, slots=True)
class Entity:
    """Something named in a passage: `name` is `passage[start:end]`, `kind` one of `KINDS`."""

    kind: str
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Relation:
    """Two entities of one passage, and how they are related: `predicate` is one of `PREDICATES`."""

    subject: Entity
    predicate: str
    object: Entity


@dataclass(slots=True)
class Named:
    """What one passage names, in the order of the text."""

    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)


def longest_answer(passage: str) -> int:
    """How many tokens what a passage names may take to say: less where there is little to name."""
    return min(ANSWER_TOKENS, 15 + 3 * estimate_tokens(passage))


def said(text: str) -> dict[str, Any] | None:
    """A model's answer, or None where it is not what the schema says."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("passages"), list) else None


def grounded(answer: dict[str, Any], passages: Sequence[str]) -> list[Named]:
    """For each passage what of an answer really stands in it, each once, up to the caps."""
    entities: list[dict[Entity, None]] = [{} for _ in passages]
    for number, given in _numbered(answer["passages"], len(passages)):
        for kind in KINDS:
            for name in _listed(given, kind):
                if isinstance(name, str) and (place := _place(name.strip(), passages[number])):
                    entities[number][Entity(kind, name.strip(), *place)] = None
    found = [Named(sorted(known, key=_order)[:ENTITIES_PER_PASSAGE]) for known in entities]
    relations: list[dict[Relation, None]] = [{} for _ in passages]
    for number, given in _numbered(answer["passages"], len(passages)):
        for predicate in PREDICATES:
            for pair in _listed(given, predicate):
                if relation := _relation(predicate, pair, found[number].entities):
                    relations[number][relation] = None
    for named, stated in zip(found, relations, strict=True):
        named.relations = sorted(stated, key=lambda one: (*_order(one.subject), *_order(one.object)))
        del named.relations[RELATIONS_PER_PASSAGE:]
    return found


def _numbered(given: Sequence[Any], passages: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """What is said of one of these passages, with its number."""
    for one in given:
        number = one.get("passage") if isinstance(one, dict) else None
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < passages:
            yield number, one


def _listed(given: dict[str, Any], word: str) -> list[Any]:
    found = given.get(word)
    return found if isinstance(found, list) else []


def _order(entity: Entity) -> tuple[int, int]:
    return entity.start, entity.end


def _place(name: str, passage: str) -> tuple[int, int] | None:
    start = passage.find(name) if 1 < len(name) <= NAME_CHARACTERS else -1
    return None if start < 0 else (start, start + len(name))


def _relation(predicate: str, pair: Any, entities: Sequence[Entity]) -> Relation | None:
    """The relation, where both of its ends are entities of the passage and not the same one."""
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    subject, target = (_named(end, entities) for end in pair)
    if subject is None or target is None or subject == target:
        return None
    return Relation(subject, predicate, target)


def _named(name: Any, entities: Sequence[Entity]) -> Entity | None:
    wanted = name.strip() if isinstance(name, str) else ""
    return next((entity for entity in entities if entity.name == wanted), None)
