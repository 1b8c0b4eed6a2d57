"""Values: their order across types, their size, and what the service refuses to store.

Order: https://cloud.google.com/firestore/docs/concepts/data-types#value_type_ordering
Size: https://cloud.google.com/firestore/docs/storage-size
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from infra.local.firestore.messages import Document, Value, to_micros
from infra.local.firestore.paths import ROOT_SEGMENTS, FieldPath, name_key
from infra.local.firestore.refusals import invalid

MAX_DOCUMENT_BYTES = 1_048_576
MAX_VALUE_BYTES = 1_048_487
MAX_DEPTH = 20
MAX_NAME_BYTES = 1500

# The rank of a type in the order of values; two values of different rank never need a closer look.
NULL, BOOLEAN, NUMBER, TIMESTAMP, TEXT, BYTES, REFERENCE, GEO_POINT, ARRAY, VECTOR, MAP = range(11)

Key = tuple[int, Any]

NULL_KEY: Key = (NULL, 0)
NAN_KEY: Key = (NUMBER, (0, 0))

_RESERVED = re.compile(r"__.*__", re.DOTALL)


def key(value: Value) -> Key:
    """Something that sorts and compares as the value does in the service, across all types."""
    kind = value.WhichOneof("value_type")
    match kind:
        case "integer_value":
            return (NUMBER, (1, value.integer_value))
        case "double_value":
            return NAN_KEY if math.isnan(value.double_value) else (NUMBER, (1, value.double_value))
        case "string_value":
            return (TEXT, value.string_value)
        case "boolean_value":
            return (BOOLEAN, value.boolean_value)
        case "timestamp_value":
            return (TIMESTAMP, to_micros(value.timestamp_value))
        case "bytes_value":
            return (BYTES, value.bytes_value)
        case "reference_value":
            return name_value(value.reference_value)
        case "geo_point_value":
            return (GEO_POINT, (value.geo_point_value.latitude, value.geo_point_value.longitude))
        case "array_value":
            return (ARRAY, tuple(key(item) for item in value.array_value.values))
        case "map_value":
            return _map_key(value.map_value.fields)
        case "null_value":
            return NULL_KEY
    raise invalid(f"A value of kind {kind} cannot be stored or compared.")


def name_value(name: str) -> Key:
    """The key of a reference to the document."""
    return (REFERENCE, name_key(name))


def _map_key(fields: Mapping[str, Value]) -> Key:
    if "__type__" in fields and fields["__type__"].string_value == "__vector__":
        numbers = tuple(key(item) for item in fields["value"].array_value.values)
        return (VECTOR, (len(numbers), numbers))
    return (MAP, tuple(sorted((name, key(value)) for name, value in fields.items())))


def lookup(fields: Any, path: FieldPath) -> Value | None:
    """The value at the path, or None where the document has none."""
    for name in path[:-1]:
        if name not in fields:
            return None
        fields = fields[name].map_value.fields
    found: Value | None = fields.get(path[-1])
    return found


def check_document_fields(document: Document) -> None:
    """Round times to microseconds, and refuse a document that is too large, too deep or has reserved names."""
    size = _reference_size(document.name) + 32 + _fields_size(document.fields, depth=0)
    if size > MAX_DOCUMENT_BYTES:
        raise invalid(
            f"Document '{document.name}' cannot be written because its size ({size:,} bytes) exceeds the maximum "
            f"allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )


def _fields_size(fields: Mapping[str, Value], depth: int) -> int:
    if depth > MAX_DEPTH:
        raise invalid(f"Maps and arrays are nested more than {MAX_DEPTH} levels deep.")
    return sum(_name_size(name) + _size(value, depth) for name, value in fields.items())


def _name_size(name: str) -> int:
    size = len(name.encode())
    if not name or size > MAX_NAME_BYTES:
        raise invalid(f"A field name must have 1 to {MAX_NAME_BYTES} bytes.")
    if _RESERVED.fullmatch(name) and name != "__type__":
        raise invalid(f"Field name {name!r} is reserved.")
    return size + 1


def _reference_size(name: str) -> int:
    return 16 + sum(len(part.encode()) + 1 for part in name.split("/")[ROOT_SEGMENTS:])


def _size(value: Value, depth: int) -> int:
    match value.WhichOneof("value_type"):
        case "null_value" | "boolean_value":
            return 1
        case "integer_value" | "double_value":
            return 8
        case "timestamp_value":
            value.timestamp_value.nanos -= value.timestamp_value.nanos % 1000
            return 8
        case "string_value":
            return _bounded(len(value.string_value.encode())) + 1
        case "bytes_value":
            return _bounded(len(value.bytes_value))
        case "reference_value":
            return _reference_size(value.reference_value)
        case "geo_point_value":
            return _geo_point_size(value)
        case "array_value":
            return _array_size(value, depth + 1)
        case "map_value":
            return _fields_size(value.map_value.fields, depth + 1)
        case kind:
            raise invalid(f"A value of kind {kind} cannot be stored.")


def _bounded(size: int) -> int:
    if size > MAX_VALUE_BYTES:
        raise invalid(f"A value is longer than {MAX_VALUE_BYTES} bytes.")
    return size


def _geo_point_size(value: Value) -> int:
    point = value.geo_point_value
    if not (-90 <= point.latitude <= 90 and -180 <= point.longitude <= 180):
        raise invalid("A geo point is outside latitude -90..90 or longitude -180..180.")
    return 16


def _array_size(value: Value, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise invalid(f"Maps and arrays are nested more than {MAX_DEPTH} levels deep.")
    items = value.array_value.values
    if any(item.WhichOneof("value_type") == "array_value" for item in items):
        raise invalid("Nested arrays are not allowed.")
    return sum(_size(item, depth) for item in items)
