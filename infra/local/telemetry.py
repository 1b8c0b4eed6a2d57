"""An OpenTelemetry collector on one machine: takes spans by OTLP over HTTP, and keeps each request as a line of OTLP's
own JSON in `traces.jsonl` (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.local.serving import HttpServer

FILE = "traces.jsonl"
_IDS = ("traceId", "spanId", "parentSpanId")


@dataclass(frozen=True, slots=True)
class KeptSpan:
    """A span as the file has it. Times are in nanoseconds since 1970."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    attributes: dict[str, str]
    error: str
    linked_to: tuple[str, ...]  # trace ids

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) / 1e6


class TelemetryServer:
    """Takes `POST /v1/traces` in protobuf on loopback. What it took stays in `data`, and may be read at any time."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._writing = threading.Lock()
        self._http: HttpServer | None = None

    @property
    def endpoint(self) -> str:
        """Where spans are sent to."""
        return f"http://127.0.0.1:{self._http.port if self._http else 0}/v1/traces"

    def start(self, port: int = 0) -> None:
        """Serve on this port of 127.0.0.1, or on a free one."""
        self._data.mkdir(parents=True, exist_ok=True)
        self._data.chmod(0o700)
        self._http = HttpServer(Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])]), port)
        self._http.start()

    def stop(self) -> None:
        """Stop serving; safe to call twice."""
        if self._http:
            self._http.stop()
        self._http = None

    def spans(self) -> list[KeptSpan]:
        """Everything taken so far."""
        return list(spans_in(self._data))

    async def _take(self, request: Request) -> Response:
        if request.headers.get("content-type") != "application/x-protobuf":
            return Response(status_code=415)
        try:
            taken = ExportTraceServiceRequest.FromString(await request.body())
        except DecodeError:
            return Response(status_code=400)
        with self._writing, (self._data / FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_json(taken)) + "\n")
        return Response(media_type="application/x-protobuf")  # an empty ExportTraceServiceResponse: all were taken


def as_json(message: ExportTraceServiceRequest) -> dict[str, Any]:
    """OTLP's JSON: protobuf's, but ids are hexadecimal and enums are numbers."""
    said: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    for span in _spans_of(said):
        for named in (span, *span.get("links", ())):
            named |= {name: base64.b64decode(named[name]).hex() for name in _IDS if name in named}
    return said


def spans_in(data: Path) -> Iterator[KeptSpan]:
    """The spans that were kept in this folder, in the order in which they came."""
    path = data / FILE
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            service = _plain(resource["resource"]["attributes"])["service.name"]
            for scope in resource["scopeSpans"]:
                yield from (_kept(service, span) for span in scope["spans"])


def _spans_of(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in said.get("resourceSpans", ()):
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def _kept(service: str, span: dict[str, Any]) -> KeptSpan:
    return KeptSpan(
        service,
        span["name"],
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId", ""),
        int(span["startTimeUnixNano"]),
        int(span["endTimeUnixNano"]),
        _plain(span.get("attributes", [])),
        span.get("status", {}).get("message", ""),
        tuple(link["traceId"] for link in span.get("links", ())),
    )


def _plain(attributes: list[dict[str, Any]]) -> dict[str, str]:
    return {one["key"]: str(next(iter(one["value"].values()), "")) for one in attributes}
