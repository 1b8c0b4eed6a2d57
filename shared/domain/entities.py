"""What passages name, and how the named are related, as far as the passage itself bears it out.

A model proposes; what counts is decided here, by the text: a name is a substring of its passage, a relation joins two
such names of one passage by a word of a closed list. Whatever else an answer holds is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = ("person", "organisation", "place", "date", "amount", "topic")
PREDICATES = (
    "works_for", "part_of", "located_in", "owns", "made", "knows", "contacted", "paid", "costs", "happened_on", "about",
)  # fmt: skip
ENTITIES_PER_PASSAGE = 30
RELATIONS_PER_PASSAGE = 30
NAME_CHARACTERS = 120


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


def said(text: str) -> dict[str, Any] | None:
    """A model's answer, or None where it is not what the schema says."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("entities"), list):
        return None
    return answer if isinstance(answer.get("relations", []), list) else None


def grounded(answer: dict[str, Any], passages: Sequence[str]) -> list[Named]:
    """For each passage what of an answer really stands in it, each once, up to the caps."""
    found = [Named() for _ in passages]
    entities: list[dict[Entity, None]] = [{} for _ in passages]
    for number, given in _numbered(answer["entities"], len(passages)):
        kind, name = given.get("kind"), given.get("name")
        if kind in KINDS and isinstance(name, str) and (place := _place(name.strip(), passages[number])):
            entities[number][Entity(str(kind), name.strip(), *place)] = None
    for named, known in zip(found, entities, strict=True):
        named.entities = sorted(known, key=lambda entity: (entity.start, entity.end))[:ENTITIES_PER_PASSAGE]
    for number, given in _numbered(answer.get("relations", []), len(passages)):
        relation = _relation(given, found[number].entities)
        kept = found[number].relations
        if relation is not None and relation not in kept and len(kept) < RELATIONS_PER_PASSAGE:
            kept.append(relation)
    return found


def _numbered(given: Sequence[Any], passages: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """What names one of these passages, with its number."""
    for one in given:
        number = one.get("passage") if isinstance(one, dict) else None
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < passages:
            yield number, one


def _place(name: str, passage: str) -> tuple[int, int] | None:
    start = passage.find(name) if 1 < len(name) <= NAME_CHARACTERS else -1
    return None if start < 0 else (start, start + len(name))


def _relation(given: dict[str, Any], entities: Sequence[Entity]) -> Relation | None:
    """The relation, where both of its ends are entities of the passage and not the same one."""
    subject, target = (_named(given.get(end), entities) for end in ("subject", "object"))
    predicate = given.get("predicate")
    if subject is None or target is None or subject == target or predicate not in PREDICATES:
        return None
    return Relation(subject, str(predicate), target)


def _named(name: Any, entities: Sequence[Entity]) -> Entity | None:
    wanted = name.strip() if isinstance(name, str) else ""
    return next((entity for entity in entities if entity.name == wanted), None)
