"""What one write makes of one document: preconditions, masks and transforms.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#write
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.local.firestore.messages import (
    MICROS,
    Document,
    FieldTransform,
    Precondition,
    Value,
    Write,
    to_micros,
    to_timestamp,
)
from infra.local.firestore.paths import FieldPath, check_document, parse_field
from infra.local.firestore.refusals import already_exists, failed_precondition, invalid, not_found
from infra.local.firestore.values import ARRAY, NUMBER, check_document_fields, key, lookup

INT64 = range(-(2**63), 2**63)
MILLISECOND = MICROS // 1000


@dataclass
class Outcome:
    """The document after the write (None: there is none) and what its transforms answered."""

    document: Document | None
    results: list[Value] = field(default_factory=list)


def name_of(write: Write) -> str:
    """The document that the write is about."""
    match write.WhichOneof("operation"):
        case "update":
            name = write.update.name
        case "delete":
            name = write.delete
        case "transform":
            name = write.transform.document
        case _:
            raise invalid("A write must have an operation.")
    check_document(name)
    return str(name)


def check_sequence(writes: Iterable[Write]) -> None:
    """Refuse a write that demands the opposite of what an earlier one in the same request leaves."""
    left: dict[str, bool] = {}
    for write in writes:
        name = name_of(write)
        wanted = write.current_document
        if name in left and wanted.HasField("exists") and wanted.exists != left[name]:
            raise invalid(f"Two writes of one request contradict each other: {name}")
        left[name] = write.WhichOneof("operation") != "delete"


def apply(write: Write, current: Document | None, at: int) -> Outcome:
    """The outcome of the write at time `at` (microseconds). Refuses where a precondition does not hold."""
    name = name_of(write)
    _check_precondition(write.current_document, current, name)
    if write.WhichOneof("operation") == "delete":
        return Outcome(None)
    document = _updated(write, current, name)
    transforms = [*write.update_transforms, *write.transform.field_transforms]
    results = [_transform(document, transform, at) for transform in transforms]
    check_document_fields(document)
    if current is not None and _same(document, current):
        # As in the service: a write that changes nothing keeps the update time.
        return Outcome(current, results)
    document.create_time.CopyFrom(current.create_time if current is not None else to_timestamp(at))
    document.update_time.CopyFrom(to_timestamp(at))
    return Outcome(document, results)


def _check_precondition(wanted: Precondition, current: Document | None, name: str) -> None:
    match wanted.WhichOneof("condition_type"):
        case "exists" if wanted.exists and current is None:
            raise not_found(f"No document to update: {name}")
        case "exists" if not wanted.exists and current is not None:
            raise already_exists(f"Document already exists: {name}")
        case "update_time" if current is None or not _same_time(wanted, current):
            raise failed_precondition(f"The stored version does not match the required base version: {name}")


def _same_time(wanted: Precondition, current: Document) -> bool:
    return to_micros(wanted.update_time) == to_micros(current.update_time)


def _updated(write: Write, current: Document | None, name: str) -> Document:
    document = Document(name=name)
    masked = write.HasField("update_mask") or write.WhichOneof("operation") == "transform"
    if masked and current is not None:
        document.MergeFrom(current)
    if not masked:
        document.fields.MergeFrom(write.update.fields)
    for path in [parse_field(path) for path in write.update_mask.field_paths]:
        value = lookup(write.update.fields, path)
        if value is None:
            _remove(document, path)
        else:
            slot(document, path).CopyFrom(value)
    return document


def _same(document: Document, current: Document) -> bool:
    # By bytes and not by ==, to which NaN is never equal.
    bare = [Document(fields=item.fields).SerializeToString(deterministic=True) for item in (document, current)]
    return bool(bare[0] == bare[1])


def slot(document: Document, path: FieldPath) -> Value:
    """The value at the path, made if it is missing; what is no map on the way becomes one."""
    fields = document.fields
    for name in path[:-1]:
        if fields[name].WhichOneof("value_type") != "map_value":
            fields[name].Clear()
            fields[name].map_value.SetInParent()
        fields = fields[name].map_value.fields
    slot: Value = fields[path[-1]]
    return slot


def _remove(document: Document, path: FieldPath) -> None:
    fields = document.fields
    for name in path[:-1]:
        if name not in fields:
            return
        fields = fields[name].map_value.fields
    fields.pop(path[-1], None)


def _transform(document: Document, transform: FieldTransform, at: int) -> Value:
    path = parse_field(transform.field_path)
    current = lookup(document.fields, path)
    match transform.WhichOneof("transform_type"):
        case "set_to_server_value":
            new = Value(timestamp_value=to_timestamp(at - at % MILLISECOND))
        case "increment":
            new = _incremented(current, transform.increment)
        case "maximum":
            new = _extreme(current, transform.maximum, largest=True)
        case "minimum":
            new = _extreme(current, transform.minimum, largest=False)
        case "append_missing_elements":
            new = _union(current, transform.append_missing_elements.values)
        case "remove_all_from_array":
            new = _difference(current, transform.remove_all_from_array.values)
        case kind:
            raise invalid(f"Unknown transform {kind}.")
    slot(document, path).CopyFrom(new)
    return Value(null_value=0) if new.WhichOneof("value_type") == "array_value" else new


def _number(value: Value) -> int | float:
    kind = value.WhichOneof("value_type")
    if kind not in {"integer_value", "double_value"}:
        raise invalid("The operand of a numeric transform must be a number.")
    number: int | float = getattr(value, kind)
    return number


def _is_number(value: Value | None) -> bool:
    return value is not None and key(value)[0] == NUMBER


def _incremented(current: Value | None, operand: Value) -> Value:
    by = _number(operand)
    if current is None or not _is_number(current):
        return operand
    total = _number(current) + by
    if isinstance(total, float):
        return Value(double_value=total)
    return Value(integer_value=min(max(total, INT64.start), INT64.stop - 1))


def _extreme(current: Value | None, operand: Value, largest: bool) -> Value:
    number = _number(operand)
    if current is None or not _is_number(current):
        return operand
    # NaN wins whichever way; equal numbers of two types leave the field as it is.
    if math.isnan(number) or math.isnan(_number(current)):
        return operand if math.isnan(number) else current
    better = number > _number(current) if largest else number < _number(current)
    return operand if better else current


def _items(current: Value | None) -> list[Value]:
    return list(current.array_value.values) if current is not None and key(current)[0] == ARRAY else []


def _union(current: Value | None, added: Iterable[Value]) -> Value:
    items = _items(current)
    seen = {key(item) for item in items}
    for item in added:
        if key(item) not in seen:
            seen.add(key(item))
            items.append(item)
    return _array(items)


def _difference(current: Value | None, removed: Iterable[Value]) -> Value:
    gone = {key(item) for item in removed}
    return _array([item for item in _items(current) if key(item) not in gone])


def _array(items: list[Value]) -> Value:
    array = Value()
    array.array_value.SetInParent()
    array.array_value.values.extend(items)
    return array
