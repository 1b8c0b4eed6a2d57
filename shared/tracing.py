"""One trace for each file, from Drive's notification to the rows, in OpenTelemetry's terms and on its wire.

A trace goes from function to function as the W3C `traceparent` in a message's attributes; every log line names it, and
spans are kept for the share of traces that the settings say. What a request recorded is sent before it is answered,
because afterwards an instance may be frozen. Where no endpoint is set nothing is recorded, sent or imported for it.
Why not the SDK: docs/decisions/20261127-traces-without-the-sdk.md.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from shared import log
from shared.config import Settings

if TYPE_CHECKING:
    import requests
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1 import trace_pb2

TRACEPARENT = "traceparent"  # the attribute of a message, and the header of a request
MOST_SPANS = 500  # of one request: what is recorded is held in memory until its end
EXPORT_SECONDS = 5.0  # a slow collector must not hold up the work for long
_SCOPE = "drivestream"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_CLOUD_TRACE = re.compile(r"([0-9a-f]{32})/(\d{1,20})(?:;o=[01])?")
_NOWHERE = {"0" * 32, "0" * 16}

Value = str | int | float | bool


class Carrier(Protocol):
    """Headers or attributes."""

    def get(self, name: str, default: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a trace: what comes next is its child. `kept` says whether the trace is recorded."""

    trace_id: str  # 32 hexadecimal digits
    span_id: str  # 16
    kept: bool

    @property
    def traceparent(self) -> str:
        """As https://www.w3.org/TR/trace-context/ writes it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.kept:02d}"


@dataclass(slots=True)
class Span:
    """A piece of work with its times, in nanoseconds since 1970."""

    name: str
    place: Place
    parent_id: str
    kind: str  # of OpenTelemetry: INTERNAL, SERVER, CLIENT, PRODUCER or CONSUMER
    attributes: dict[str, Value]
    began: int = field(default_factory=time.time_ns)
    ended: int = 0
    error: str = ""
    link: Place | None = None

    def note(self, **attributes: Value | None) -> None:
        """Say more of it. What is None is not said."""
        self.attributes |= {name: value for name, value in attributes.items() if value is not None}


class _Request:
    """What one request records. `record` is safe to call from its threads."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.span: Span | None = None
        self.spans: list[Span] = []
        self.refused = False

    def record(self, span: Span) -> None:
        if span.place.kept and len(self.spans) < MOST_SPANS:
            self.spans.append(span)


_request: ContextVar[_Request | None] = ContextVar("trace_request", default=None)
_here: ContextVar[Place | None] = ContextVar("trace_place", default=None)
_sessions: dict[str, requests.Session] = {}
_lock = threading.Lock()


def parent_in(carrier: Carrier) -> Place | None:
    """The place that a `traceparent`, or Cloud Run's own header, names; None where neither does."""
    if found := _TRACEPARENT.fullmatch(carrier.get(TRACEPARENT, "")):
        place = Place(found[1], found[2], bool(int(found[3], 16) & 1))
    elif found := _CLOUD_TRACE.fullmatch(carrier.get("X-Cloud-Trace-Context", "")):
        place = Place(found[1], f"{int(found[2]) % 2**64:016x}", kept=False)
    else:
        return None
    return None if _NOWHERE & {place.trace_id, place.span_id} else place


@contextmanager
def request(settings: Settings, name: str, headers: Carrier, kind: str = "SERVER") -> Iterator[Span]:
    """The work of one request of the function `name`; what it recorded is sent at its end.

    Whoever calls from outside may name the trace but not have it recorded: that is for the share of the settings.
    """
    recording = _Request(settings.otel_traces_sampler_arg if settings.otel_exporter_otlp_traces_endpoint else 0.0)
    outside = parent_in(headers)
    trace_id = outside.trace_id if outside else secrets.token_hex(16)
    span = Span(
        name,
        Place(trace_id, secrets.token_hex(8), _chosen(trace_id, recording.share)),
        outside.span_id if outside else "",
        kind,
        {},
    )
    recording.span = span
    request_before, place_before = _request.set(recording), _here.set(span.place)
    _bind(settings, span.place)
    try:
        with _timed(span):
            yield span
    finally:
        recording.record(span)
        _request.reset(request_before)
        _here.reset(place_before)
        if recording.spans and not recording.refused:
            _send(settings, name, recording.spans)


def go_on(settings: Settings, span: Span, attributes: Carrier) -> None:
    """This request turned out to be part of the trace that a message names. The message is one of ours, so its trace
    is recorded here too if it was where it came from."""
    parent, recording = parent_in(attributes), _request.get()
    if parent is None or recording is None:
        return
    span.place = Place(parent.trace_id, span.place.span_id, parent.kept and recording.share > 0.0)
    span.parent_id = parent.span_id
    _here.set(span.place)
    _bind(settings, span.place)


def note(**attributes: Value | None) -> None:
    """Say more of this request."""
    recording = _request.get()
    if recording is not None and recording.span is not None:
        recording.span.note(**attributes)


def forget() -> None:
    """Send nothing of this request: strangers at a door must not have us send anything."""
    if recording := _request.get():
        recording.refused = True


@contextmanager
def span(name: str, kind: str = "INTERNAL", **attributes: Value) -> Iterator[Span]:
    """A piece of the work that is going on, as a child of it."""
    here, recording = _here.get(), _request.get()
    place = Place(here.trace_id, secrets.token_hex(8), here.kept) if here else Place("", "", kept=False)
    piece = Span(name, place, here.span_id if here else "", kind, attributes)
    if recording is None or not place.kept:
        yield piece  # its name is never sent, so nothing below it is its child
        return
    before = _here.set(place)
    try:
        with _timed(piece):
            yield piece
    finally:
        _here.reset(before)
        recording.record(piece)


@contextmanager
def apart(name: str, **attributes: Value) -> Iterator[Span]:
    """The beginning of another trace, linked to this one: of each of many files that are found at once."""
    here, recording = _here.get(), _request.get()
    trace_id = secrets.token_hex(16)
    place = Place(trace_id, secrets.token_hex(8), recording is not None and _chosen(trace_id, recording.share))
    first = Span(name, place, "", "PRODUCER", attributes, link=here)
    before = _here.set(place)
    try:
        with _timed(first):
            yield first
    finally:
        _here.reset(before)
        if recording is not None:
            recording.record(first)


def carried() -> dict[str, str]:
    """What a message must carry so that its work becomes part of this trace."""
    here = _here.get()
    return {TRACEPARENT: here.traceparent} if here else {}


def _chosen(trace_id: str, share: float) -> bool:
    # As OpenTelemetry's TraceIdRatioBased does: every function decides the same of one trace.
    return int(trace_id[16:], 16) < share * 2**64


@contextmanager
def _timed(one: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        one.error = getattr(error, "code", None) or type(error).__name__
        raise
    finally:
        one.ended = time.time_ns()


def _bind(settings: Settings, place: Place) -> None:
    log.bind(
        **{
            "logging.googleapis.com/trace": f"projects/{settings.google_cloud_project}/traces/{place.trace_id}",
            "logging.googleapis.com/spanId": place.span_id,
            "logging.googleapis.com/trace_sampled": place.kept,
        }
    )


# The wire -------------------------------------------------------------------------------------------------------------


def _send(settings: Settings, function: str, spans: list[Span]) -> None:
    """Send what was recorded. A trace is worth no failed work: what cannot be sent is lost, and the log says so."""
    import requests
    from google.auth.exceptions import GoogleAuthError

    address = settings.otel_exporter_otlp_traces_endpoint
    body = exported(settings, function, spans).SerializeToString()
    try:
        answer = _session(address).post(
            address, data=body, headers={"Content-Type": "application/x-protobuf"}, timeout=EXPORT_SECONDS
        )
        answer.raise_for_status()
    except (requests.RequestException, GoogleAuthError) as error:
        log.event("trace not sent", "WARNING", spans=len(spans), error=type(error).__name__)


def _session(address: str) -> requests.Session:
    import requests

    with _lock:
        if address not in _sessions:
            _sessions[address] = requests.Session()
            if address.startswith("https://telemetry.googleapis.com/"):  # a collector of one's own asks for nothing
                import google.auth
                from google.auth.transport.requests import AuthorizedSession

                credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/trace.append"])
                _sessions[address] = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        return _sessions[address]


def exported(settings: Settings, function: str, spans: list[Span]) -> ExportTraceServiceRequest:
    """The spans as https://opentelemetry.io/docs/specs/otlp/ sends them."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1 import trace_pb2

    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.extend(
        _attributes({"service.name": function, "gcp.project_id": settings.google_cloud_project})
    )
    scope = resource.scope_spans.add()
    scope.scope.name = _SCOPE
    scope.spans.extend(_as_message(one, trace_pb2) for one in spans)
    return message


def _as_message(one: Span, wire: Any) -> trace_pb2.Span:
    message: trace_pb2.Span = wire.Span(
        trace_id=bytes.fromhex(one.place.trace_id),
        span_id=bytes.fromhex(one.place.span_id),
        parent_span_id=bytes.fromhex(one.parent_id),
        name=one.name,
        kind=wire.Span.SpanKind.Value(f"SPAN_KIND_{one.kind}"),
        start_time_unix_nano=one.began,
        end_time_unix_nano=one.ended,
        attributes=_attributes(one.attributes),
    )
    if one.error:
        message.status.CopyFrom(wire.Status(code=wire.Status.STATUS_CODE_ERROR, message=one.error))
    if one.link:
        message.links.add(trace_id=bytes.fromhex(one.link.trace_id), span_id=bytes.fromhex(one.link.span_id))
    return message


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    kinds = {bool: "bool_value", int: "int_value", float: "double_value"}
    said = []
    for name, value in values.items():
        any_value = AnyValue()
        setattr(any_value, kinds.get(type(value), "string_value"), value)
        said.append(KeyValue(key=name, value=any_value))
    return said
