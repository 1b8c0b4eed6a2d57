"""Count, sum and average over the answer of a query."""

from __future__ import annotations

from collections.abc import Sequence

from infra.local.firestore.messages import Aggregation, AggregationResult, Document, Value
from infra.local.firestore.paths import FieldPath, parse_field
from infra.local.firestore.refusals import invalid
from infra.local.firestore.values import NUMBER, key, lookup
from infra.local.firestore.writes import INT64

MAX_AGGREGATIONS = 5


def aggregate(aggregations: Sequence[Aggregation], documents: Sequence[Document]) -> AggregationResult:
    """One value for each aggregation, under its alias or `field_N`."""
    if not 1 <= len(aggregations) <= MAX_AGGREGATIONS:
        raise invalid(f"A query takes 1 to {MAX_AGGREGATIONS} aggregations.")
    # Sums of several fields are taken over the documents that have them all, as an index of them all would give.
    wanted = fields(aggregations)
    documents = [one for one in documents if all(lookup(one.fields, field) is not None for field in wanted)]
    result = AggregationResult()
    for index, one in enumerate(aggregations, start=1):
        result.aggregate_fields[one.alias or f"field_{index}"].CopyFrom(_value(one, documents))
    return result


def fields(aggregations: Sequence[Aggregation]) -> list[FieldPath]:
    """The fields that are summed or averaged."""
    operands = [getattr(one, one.WhichOneof("operator") or "count") for one in aggregations]
    return [parse_field(one.field.field_path) for one in operands if hasattr(one, "field")]


def _value(aggregation: Aggregation, documents: Sequence[Document]) -> Value:
    match aggregation.WhichOneof("operator"):
        case "count":
            up_to = aggregation.count.up_to.value if aggregation.count.HasField("up_to") else len(documents)
            return Value(integer_value=min(len(documents), up_to))
        case "sum":
            return _sum(_numbers(aggregation.sum.field.field_path, documents))
        case "avg":
            numbers = _numbers(aggregation.avg.field.field_path, documents)
            return Value(double_value=sum(numbers) / len(numbers)) if numbers else Value(null_value=0)
    raise invalid("An aggregation must have an operator.")


def _numbers(path: str, documents: Sequence[Document]) -> list[int | float]:
    values = [lookup(document.fields, parse_field(path)) for document in documents]
    numeric = [value for value in values if value is not None and key(value)[0] == NUMBER]
    return [getattr(value, value.WhichOneof("value_type")) for value in numeric]


def _sum(numbers: list[int | float]) -> Value:
    total = sum(numbers)
    if isinstance(total, int) and total in INT64:
        return Value(integer_value=total)
    return Value(double_value=float(total))
