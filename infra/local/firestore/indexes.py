"""Which composite index a query needs, and the refusal where none is declared.

The rule of the service: one index, or several that share their sorted end, must together hold every field compared by
equality, followed by exactly the fields that are sorted by. Indexes of one field exist by themselves, except across a
collection group, and for names downwards. https://cloud.google.com/firestore/docs/query-data/index-overview
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.local.firestore.filters import Condition
from infra.local.firestore.paths import NAME, FieldPath, format_field, parse_field
from infra.local.firestore.queries import Query
from infra.local.firestore.refusals import failed_precondition

ASCENDING, DESCENDING, CONTAINS, ANY = "ASCENDING", "DESCENDING", "CONTAINS", "ANY"
COLLECTION, COLLECTION_GROUP = "COLLECTION", "COLLECTION_GROUP"

_TURNED = {ASCENDING: DESCENDING, DESCENDING: ASCENDING, CONTAINS: CONTAINS}


@dataclass(frozen=True)
class Part:
    """One field of an index, or of what a query asks of one."""

    field: FieldPath
    order: str


@dataclass(frozen=True)
class Index:
    """A declared composite index, or an exemption of one field for a collection group."""

    collection: str
    scope: str
    parts: tuple[Part, ...]


@dataclass
class Need:
    """What a query asks of the indexes: fields that are equal, in any order, then fields that are sorted by."""

    equal: set[tuple[FieldPath, bool]] = field(default_factory=set)
    sorted: list[Part] = field(default_factory=list)


def declared(entries: Iterable[Mapping[str, Any]]) -> list[Index]:
    """The indexes of `infra/topology.json`; a field has a `path` and an `order` or an `array_config`."""
    return [
        Index(
            entry["collection"],
            entry.get("query_scope", COLLECTION),
            tuple(Part(parse_field(one["path"]), one.get("order") or one["array_config"]) for one in entry["fields"]),
        )
        for entry in entries
    ]


def check(query: Query, indexes: Sequence[Index], aggregated: Sequence[FieldPath] = ()) -> None:
    """Refuse the query as the service would, where an index is missing."""
    scope = COLLECTION_GROUP if query.all_descendants else COLLECTION
    usable = [index for index in indexes if (index.collection, index.scope) == (query.collection, scope)]
    for conditions in query.alternatives:
        need = _need(query, conditions, aggregated)
        if not _is_builtin(need, scope) and not _is_covered(need, usable):
            raise failed_precondition(_advice(query.collection, scope, need))


def _need(query: Query, conditions: Sequence[Condition], aggregated: Sequence[FieldPath]) -> Need:
    equal = {(item.field, item.array) for item in conditions if not item.inequality and item.field != NAME}
    pinned = {item.field for item in conditions if item.pins}
    orders = [order for order in query.orders if order.field not in pinned]
    if orders[0].field == NAME:
        # Names alone are sorted upwards only, unless an index of an equality can be read backwards.
        orders = orders[:1] if orders[0].descending and not equal else []
    elif _name_is_implied(query):
        orders = orders[:-1]
    parts = [Part(order.field, DESCENDING if order.descending else ASCENDING) for order in orders]
    known = {name for name, _ in equal} | {part.field for part in parts}
    return Need(equal, parts + [Part(name, ANY) for name in dict.fromkeys(aggregated) if name not in known])


def _name_is_implied(query: Query) -> bool:
    """Every index ends with the name, in the direction of its last field."""
    *others, last = query.orders
    return last.field == NAME and others[-1].descending == last.descending


def _is_builtin(need: Need, scope: str) -> bool:
    if scope == COLLECTION_GROUP:
        return not need.equal and not need.sorted
    return not need.sorted or (not need.equal and len(need.sorted) == 1 and need.sorted[0].field != NAME)


def _is_covered(need: Need, indexes: Sequence[Index]) -> bool:
    prefixes = [prefix for index in indexes if (prefix := _prefix(need, index)) is not None]
    return bool(prefixes) and set().union(*prefixes) == need.equal


def _prefix(need: Need, index: Index) -> set[tuple[FieldPath, bool]] | None:
    """The equalities that the index takes care of; None if it does not end in what is sorted by."""
    cut = len(index.parts) - len(need.sorted)
    prefix = {(part.field, part.order == CONTAINS) for part in index.parts[:cut]}
    if cut < 0 or not prefix <= need.equal or not _ends_alike(index.parts[cut:], need.sorted):
        return None
    return prefix


def _ends_alike(have: Sequence[Part], want: Sequence[Part]) -> bool:
    # An index is read in either direction.
    turned = [Part(part.field, _TURNED[part.order]) for part in have]
    return _match(have, want) or _match(turned, want)


def _match(have: Sequence[Part], want: Sequence[Part]) -> bool:
    return all(mine.field == its.field and its.order in (ANY, mine.order) for mine, its in zip(have, want, strict=True))


def _advice(collection: str, scope: str, need: Need) -> str:
    equal = [
        {"path": format_field(name), "array_config": CONTAINS}
        if array
        else {"path": format_field(name), "order": ASCENDING}
        for name, array in sorted(need.equal)
    ]
    ordered = [
        {"path": format_field(part.field), "order": ASCENDING if part.order == ANY else part.order}
        for part in need.sorted
    ]
    entry: dict[str, Any] = {"collection": collection, "fields": equal + ordered}
    if scope == COLLECTION_GROUP:
        entry["query_scope"] = scope
    return (
        f"The query requires an index that is not declared. Add {json.dumps(entry)} "
        'to "firestore"."indexes" in infra/topology.json.'
    )
