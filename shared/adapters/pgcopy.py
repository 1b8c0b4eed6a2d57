"""Rows as Postgres' binary COPY format: about twenty times as fast as the same rows as text.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A half vector is its dimension, two unused
bytes, and big-endian IEEE half floats (pgvector's `halfvec_recv`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from struct import Struct
from typing import Any
from uuid import UUID

from shared.adapters.pgtext import clean, clean_text

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # signature, no flags, no header extension
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_BUFFER_BYTES = 128 * 1024
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_length = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_float4 = Struct(">if").pack
_bool = Struct(">i?").pack


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


def _uuid(value: UUID | str) -> bytes:
    return b"\0\0\0\x10" + (value if isinstance(value, UUID) else UUID(value)).bytes


def _text(value: str) -> bytes:
    return _bytes(clean_text(value).encode())


def _jsonb(value: Any) -> bytes:
    return _bytes(b"\x01" + json.dumps(clean(value), ensure_ascii=False, allow_nan=False).encode())


def _timestamptz(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise ValueError(f"A time needs a time zone: {value!r}.")
    return _int8(8, (value - _EPOCH) // timedelta(microseconds=1))


@cache
def _half_floats(dimensions: int) -> Struct:
    return Struct(f">iHH{dimensions}e")


def _halfvec(value: Sequence[float]) -> bytes:
    dimensions = len(value)
    return _half_floats(dimensions).pack(4 + 2 * dimensions, dimensions, 0, *value)


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "uuid": _uuid,
    "int4": lambda value: _int4(4, value),
    "int8": lambda value: _int8(8, value),
    "float4": lambda value: _float4(4, value),
    "bool": lambda value: _bool(1, value),
    "text": _text,
    "bytea": _bytes,
    "jsonb": _jsonb,
    "timestamptz": _timestamptz,
    "halfvec": _halfvec,
}


def check_types(types: Iterable[str]) -> None:
    """Raises `ValueError` for a type that cannot be sent, before anything is."""
    unknown = sorted(set(types) - _ENCODERS.keys())
    if unknown:
        raise ValueError(f"Binary COPY knows {', '.join(_ENCODERS)}; it does not know {', '.join(unknown)}.")


def encode(types: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The rows in buffers of about 128 KiB. Memory does not grow with the number of rows."""
    encoders = [_ENCODERS[name] for name in types]
    start_of_row = Struct(">h").pack(len(encoders))
    buffer = bytearray(_HEADER)
    for row in rows:
        buffer += start_of_row
        for encoder, value in zip(encoders, row, strict=True):
            buffer += _NULL if value is None else encoder(value)
        if len(buffer) >= _BUFFER_BYTES:
            yield bytes(buffer)
            buffer.clear()
    buffer += _TRAILER
    yield bytes(buffer)
