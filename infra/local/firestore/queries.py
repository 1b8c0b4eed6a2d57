"""Run a structured query over documents: filter, sort, cut at cursors, skip, limit, project.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#structuredquery
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from google.cloud.firestore_v1.types import StructuredQuery as QueryTypes

from infra.local.firestore.filters import Alternatives, alternatives, check_alternatives, field_key
from infra.local.firestore.messages import Cursor, Document, DocumentMask, StructuredQuery
from infra.local.firestore.paths import NAME, FieldPath, check_id, format_field, parse_field
from infra.local.firestore.refusals import invalid
from infra.local.firestore.store import Store
from infra.local.firestore.values import Key, key, lookup
from infra.local.firestore.writes import slot

DESCENDING = QueryTypes.Direction.DESCENDING

Row = tuple[list[Key], Document]


@dataclass(frozen=True)
class Order:
    """One field to sort by."""

    field: FieldPath
    descending: bool


@dataclass(frozen=True)
class Query:
    """A structured query, understood and checked."""

    parent: str
    collection: str
    all_descendants: bool
    alternatives: Alternatives
    orders: Sequence[Order]
    message: StructuredQuery


@dataclass(frozen=True)
class Answer:
    """The documents a query found, whole, how many its offset skipped, and the moment of which that is true."""

    documents: list[Document]
    skipped: int
    at: int


def parse(parent: str, message: StructuredQuery) -> Query:
    """Understand the query. Refuses what no index could make run."""
    if message.HasField("find_nearest"):
        raise invalid("The local Firestore has no vector search.")
    if len(message.from_) > 1:
        raise invalid("A query can have one collection selector only.")
    if message.offset < 0 or message.limit.value < 0:
        raise invalid("Offset and limit must not be negative.")
    found = alternatives(message.where)
    check_alternatives(found)
    if message.from_ and message.from_[0].collection_id:
        check_id(message.from_[0].collection_id)
    selector = message.from_[0] if message.from_ else StructuredQuery().from_.add()
    orders = _orders(message, found)
    return Query(parent, selector.collection_id, selector.all_descendants, found, orders, message)


def _orders(message: StructuredQuery, found: Alternatives) -> list[Order]:
    """What the query sorts by: what it says, then every field compared by an inequality, then the name."""
    orders = [Order(parse_field(one.field.field_path), one.direction == DESCENDING) for one in message.order_by]
    last = orders[-1].descending if orders else False
    said = {order.field for order in orders}
    unequal = {item.field for conditions in found for item in conditions if item.inequality}
    orders += [Order(field, last) for field in sorted(unequal - said - {NAME}, key=format_field)]
    if NAME not in said:
        orders.append(Order(NAME, last))
    return orders


def candidates(store: Store, query: Query, at: int) -> list[Document]:
    """Every document that the query's collection selector covers."""
    if query.collection and query.all_descendants:
        return store.in_group(query.collection, query.parent, at)
    if query.collection:
        return store.in_collection(f"{query.parent}/{query.collection}", at)
    if query.all_descendants:
        return store.below(query.parent, at)
    depth = query.parent.count("/") + 2
    return [document for document in store.below(query.parent, at) if document.name.count("/") == depth]


def run(query: Query, documents: Iterable[Document], at: int) -> Answer:
    """The answer of the query over its candidates, which are those of the moment `at`."""
    rows = _within_cursors(query, _sorted(query, _matching(query, documents)))
    skipped = min(query.message.offset, len(rows))
    rows = rows[skipped:]
    if query.message.HasField("limit"):
        rows = rows[: query.message.limit.value]
    return Answer([document for _, document in rows], skipped, at)


def _matching(query: Query, documents: Iterable[Document]) -> Iterable[Row]:
    for document in documents:
        if not any(all(part.holds(document) for part in conditions) for conditions in query.alternatives):
            continue
        keys = [field_key(document, order.field) for order in query.orders]
        # A document without a field that is sorted by is in no index of that field.
        present = [one for one in keys if one is not None]
        if len(present) == len(keys):
            yield present, document


def _sorted(query: Query, rows: Iterable[Row]) -> list[Row]:
    ordered = list(rows)
    for index in reversed(range(len(query.orders))):
        ordered.sort(key=lambda row: row[0][index], reverse=query.orders[index].descending)
    return ordered


def _within_cursors(query: Query, rows: list[Row]) -> list[Row]:
    if query.message.HasField("start_at"):
        start = _cursor(query, query.message.start_at)
        before = query.message.start_at.before
        rows = [
            row for row in rows if (_side(query, row[0], start) >= 0 if before else _side(query, row[0], start) > 0)
        ]
    if query.message.HasField("end_at"):
        end = _cursor(query, query.message.end_at)
        before = query.message.end_at.before
        rows = [row for row in rows if (_side(query, row[0], end) < 0 if before else _side(query, row[0], end) <= 0)]
    return rows


def _cursor(query: Query, cursor: Cursor) -> list[Key]:
    if len(cursor.values) > len(query.orders):
        raise invalid("A cursor has more values than the query has orders.")
    return [key(value) for value in cursor.values]


def _side(query: Query, keys: list[Key], cursor: list[Key]) -> int:
    """-1 before the cursor, 0 at it, 1 after it, in the query's own direction."""
    for order, mine, its in zip(query.orders, keys, cursor, strict=False):
        if mine != its:
            return 1 if (mine > its) != order.descending else -1
    return 0


def project(document: Document, fields: Iterable[FieldPath]) -> Document:
    """A copy of the document with these fields only."""
    small = Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    for field in fields:
        value = lookup(document.fields, field)
        if value is not None:
            slot(small, field).CopyFrom(value)
    return small


def masked(document: Document, mask: DocumentMask | None) -> Document:
    """The document as the mask of a read wants it."""
    return document if mask is None else project(document, [parse_field(path) for path in mask.field_paths])


def selected(query: Query, document: Document) -> Document:
    """The document as the query's projection wants it."""
    if not query.message.HasField("select"):
        return document
    return project(document, [parse_field(one.field_path) for one in query.message.select.fields])
