"""The messages of `google.firestore.v1` as plain protobuf classes.

The client library ships them wrapped by proto-plus, which is slow on a server's path; `.pb()` gives the class beneath.
To the type checker each message is a class of its own whose fields are `Any`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

MICROS = 1_000_000

if TYPE_CHECKING:

    class Message:
        """What every message can."""

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        @classmethod
        def FromString(cls, data: bytes) -> Any: ...  # noqa: N802 - the wire's own name

    class Value(Message): ...  # noqa: D101

    class Document(Message): ...  # noqa: D101

    class DocumentMask(Message): ...  # noqa: D101

    class Write(Message): ...  # noqa: D101

    class WriteResult(Message): ...  # noqa: D101

    class FieldTransform(Message): ...  # noqa: D101

    class Precondition(Message): ...  # noqa: D101

    class StructuredQuery(Message): ...  # noqa: D101

    class Filter(Message): ...  # noqa: D101

    class Aggregation(Message): ...  # noqa: D101

    class AggregationResult(Message): ...  # noqa: D101

    class Cursor(Message): ...  # noqa: D101

    class TransactionOptions(Message): ...  # noqa: D101
else:
    from google.cloud.firestore_v1 import types as _types

    Value = _types.Value.pb()
    Document = _types.Document.pb()
    DocumentMask = _types.DocumentMask.pb()
    Write = _types.Write.pb()
    WriteResult = _types.WriteResult.pb()
    FieldTransform = _types.DocumentTransform.FieldTransform.pb()
    Precondition = _types.Precondition.pb()
    StructuredQuery = _types.StructuredQuery.pb()
    Filter = _types.StructuredQuery.Filter.pb()
    Aggregation = _types.StructuredAggregationQuery.Aggregation.pb()
    AggregationResult = _types.aggregation_result.AggregationResult.pb()
    Cursor = _types.Cursor.pb()
    TransactionOptions = _types.TransactionOptions.pb()


def wire(name: str) -> Any:
    """The plain class of a request or response, by its name."""
    from google.cloud.firestore_v1 import types

    return getattr(types, name).pb()


def to_timestamp(micros: int) -> Timestamp:
    """Microseconds since 1970 as the wire says them."""
    seconds, rest = divmod(micros, MICROS)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def to_micros(stamp: Timestamp) -> int:
    """The wire's time as microseconds since 1970; nanoseconds are rounded down, as the service does."""
    return stamp.seconds * MICROS + stamp.nanos // 1000
