"""The `where` of a structured query: as a predicate on documents, and as alternatives of plain conditions."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

from google.cloud.firestore_v1.types import StructuredQuery as QueryTypes

from infra.local.firestore.messages import Document, Filter
from infra.local.firestore.paths import NAME, FieldPath, parse_field
from infra.local.firestore.refusals import invalid
from infra.local.firestore.values import ARRAY, NAN_KEY, NULL_KEY, REFERENCE, Key, key, lookup, name_value

Op = QueryTypes.FieldFilter.Operator
UnaryOp = QueryTypes.UnaryFilter.Operator
AND = QueryTypes.CompositeFilter.Operator.AND

MAX_ALTERNATIVES = 30
MAX_NOT_IN = 10

Test = Callable[[Key], bool]

_RANGES: dict[int, Callable[[Key, Key], bool]] = {
    Op.LESS_THAN: operator.lt,
    Op.LESS_THAN_OR_EQUAL: operator.le,
    Op.GREATER_THAN: operator.gt,
    Op.GREATER_THAN_OR_EQUAL: operator.ge,
}
# Null and NaN equal nothing in a list; whoever looks for them says IS_NULL or IS_NAN.
_NOTHING = frozenset({NULL_KEY, NAN_KEY})
_ARRAY_OPS = {Op.ARRAY_CONTAINS, Op.ARRAY_CONTAINS_ANY}
_LIST_OPS = {Op.IN, Op.NOT_IN, Op.ARRAY_CONTAINS_ANY}


@dataclass(frozen=True)
class Condition:
    """One comparison of one field."""

    field: FieldPath
    test: Test
    inequality: bool  # its field is sorted by, and an index must end with it
    array: bool = False  # it looks into an array
    pins: bool = False  # it leaves one value only, so sorting by its field says nothing
    choices: int = 1  # how many alternatives it stands for
    negates: bool = False  # it says what its field is not

    def holds(self, document: Document) -> bool:
        """Whether the document has the field and its value passes."""
        found = field_key(document, self.field)
        return found is not None and self.test(found)


Alternatives = list[list[Condition]]


def field_key(document: Document, field: FieldPath) -> Key | None:
    """What the document is sorted and compared by; None where it lacks the field."""
    if field == NAME:
        return name_value(document.name)
    value = lookup(document.fields, field)
    return None if value is None else key(value)


def alternatives(where: Filter) -> Alternatives:
    """The filter as an OR of ANDs. A document matches if every condition of one alternative holds."""
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            return _composite(where)
        case "field_filter":
            return [[_field_condition(where)]]
        case "unary_filter":
            return [[_unary_condition(where)]]
    return [[]]


def check_alternatives(found: Alternatives) -> None:
    """Refuse what the service refuses as too much for one query."""
    if len({id(item) for conditions in found for item in conditions if item.negates}) > 1:
        raise invalid("Only a single NOT_EQUAL, NOT_IN, IS_NOT_NAN or IS_NOT_NULL filter is allowed per query.")
    total = 0
    for conditions in found:
        count = 1
        for condition in conditions:
            count *= condition.choices
        total += count
        if sum(condition.array for condition in conditions) > 1:
            raise invalid("Only one array-contains or array-contains-any is allowed per disjunction.")
    if total > MAX_ALTERNATIVES:
        raise invalid(f"The query has {total} disjunctions in normal form; the limit is {MAX_ALTERNATIVES}.")


def _composite(where: Filter) -> Alternatives:
    parts = [alternatives(part) for part in where.composite_filter.filters]
    if not parts:
        raise invalid("A composite filter must have at least one filter.")
    if where.composite_filter.op != AND:
        return list(itertools.chain.from_iterable(parts))
    if math.prod(len(part) for part in parts) > MAX_ALTERNATIVES:
        raise invalid(f"The query has more than {MAX_ALTERNATIVES} disjunctions in normal form.")
    return [list(itertools.chain.from_iterable(choice)) for choice in itertools.product(*parts)]


def _unary_condition(where: Filter) -> Condition:
    field = parse_field(where.unary_filter.field.field_path)
    op = where.unary_filter.op
    if op == UnaryOp.IS_NULL:
        return Condition(field, lambda found: found == NULL_KEY, inequality=False, pins=True)
    if op == UnaryOp.IS_NAN:
        return Condition(field, lambda found: found == NAN_KEY, inequality=False, pins=True)
    if op == UnaryOp.IS_NOT_NULL:
        return Condition(field, lambda found: found != NULL_KEY, inequality=True, negates=True)
    if op == UnaryOp.IS_NOT_NAN:
        return Condition(field, lambda found: found not in _NOTHING, inequality=True, negates=True)
    raise invalid("A unary filter must have an operator.")


def _field_condition(where: Filter) -> Condition:
    field = parse_field(where.field_filter.field.field_path)
    op = Op(where.field_filter.op)
    wanted = key(where.field_filter.value)
    if op in _LIST_OPS:
        _check_list(op, wanted)
    if field == NAME:
        _check_names(op, wanted)
    if op in _RANGES:
        return Condition(field, _in_range(op, wanted), inequality=True)
    if op == Op.EQUAL:
        return Condition(field, lambda found: found == wanted, inequality=False, pins=True)
    if op == Op.NOT_EQUAL:
        return Condition(field, lambda found: found not in (wanted, NULL_KEY), inequality=True, negates=True)
    if op in _ARRAY_OPS:
        items = set(wanted[1]) - _NOTHING if op == Op.ARRAY_CONTAINS_ANY else {wanted}
        return Condition(field, _contains(items), inequality=False, array=True, choices=len(items))
    return _membership(field, op, wanted)


def _membership(field: FieldPath, op: Op, wanted: Key) -> Condition:
    items = set(wanted[1]) - _NOTHING
    if op == Op.IN:
        return Condition(field, lambda found: found in items, inequality=False, choices=len(wanted[1]))
    if op == Op.NOT_IN:
        # Whether something is not null cannot be said either.
        none = NULL_KEY in wanted[1]
        return Condition(
            field, lambda found: not none and found not in items and found != NULL_KEY, inequality=True, negates=True
        )
    raise invalid("A field filter must have an operator.")


def _in_range(op: Op, wanted: Key) -> Test:
    compare = _RANGES[op]
    return lambda found: found[0] == wanted[0] and found != NAN_KEY and compare(found, wanted)


def _contains(items: set[Key]) -> Test:
    return lambda found: found[0] == ARRAY and not items.isdisjoint(found[1])


def _check_list(op: Op, wanted: Key) -> None:
    if wanted[0] != ARRAY or not wanted[1]:
        raise invalid(f"'{op.name}' requires a non-empty array.")
    if op == Op.NOT_IN and len(wanted[1]) > MAX_NOT_IN:
        raise invalid(f"'NOT_IN' supports up to {MAX_NOT_IN} comparison values.")


def _check_names(op: Op, wanted: Key) -> None:
    names = wanted[1] if op in _LIST_OPS else [wanted]
    if any(name[0] != REFERENCE for name in names):
        raise invalid("__name__ can only be compared with the name of a document.")
