"""The server that Google's Firestore clients reach by gRPC, and the doors by REST, at a port of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from starlette.applications import Starlette
from starlette.routing import Route

from infra.local.ai.faults import Refusal
from infra.local.firestore.database import Database
from infra.local.firestore.faults import Faults
from infra.local.firestore.indexes import declared
from infra.local.firestore.messages import wire
from infra.local.firestore.refusals import Refused
from infra.local.firestore.service import METHODS, Service
from infra.local.serving import HttpServer
from infra.local.transcoding import posted

SERVICE = "google.firestore.v1.Firestore"
# The methods that the doors use: https://firebase.google.com/docs/firestore/reference/rest
REST = {
    "/v1/{database:path}/documents:batchGet": "BatchGetDocuments",
    "/v1/{database:path}/documents:commit": "Commit",
}
THREADS = 64
# Above the service's own limit, so that the refusal is ours and not the transport's.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class FirestoreServer:
    """A Firestore on 127.0.0.1 whose documents live in SQLite under `data`.

    indexes: composite indexes as in infra/topology.json; a query that needs another one is refused.
    ttl: collection → timestamp field, for `collect_garbage`. clock: seconds since 1970, for commit times.
    """

    def __init__(
        self,
        data: Path,
        *,
        indexes: Iterable[Mapping[str, Any]] = (),
        ttl: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data = data
        self._indexes = declared(indexes)
        self._ttl = dict(ttl or {})
        self._clock = clock
        self._server: grpc.Server | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._rest: HttpServer | None = None
        self._database: Database | None = None
        self.faults = Faults()
        self.port = 0

    @property
    def url(self) -> str:
        """The value for FIRESTORE_EMULATOR_HOST."""
        return f"127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        """The value for FIRESTORE_ENDPOINT."""
        return self._rest.url if self._rest else ""

    def start(self, port: int = 0, rest_port: int = 0) -> None:
        """Open the documents, bind and serve. Raises OSError when a port is taken."""
        database = Database(self._data, self._clock)
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="firestore")
        server = grpc.server(threads, options=options)
        service = Service(database, self._indexes)
        server.add_generic_rpc_handlers((self._handler(service),))
        rest = HttpServer(Starlette(routes=self._routes(service)), rest_port)
        try:
            self.port = server.add_insecure_port(f"127.0.0.1:{port}")
            rest.start()
        except (RuntimeError, OSError) as error:
            database.store.close()
            raise OSError(f"Port {port} or {rest_port} of 127.0.0.1 is taken.") from error
        server.start()
        self._server, self._threads, self._rest, self._database = server, threads, rest, database

    def stop(self) -> None:
        """Finish the calls under way and close the documents; safe to call twice."""
        if self._rest is not None:
            self._rest.stop()
        if self._server is not None:
            self._server.stop(grace=1).wait()
        if self._threads is not None:
            self._threads.shutdown()
        if self._database is not None:
            self._database.store.close()
        self._server = self._threads = self._rest = self._database = None

    def writes(self) -> dict[str, int]:
        """Writes per document (`collection/id`) since the start."""
        return self._running().rates.counts()

    def peak_write_rates(self) -> dict[str, int]:
        """The most writes that each document had within any one second since the start."""
        return self._running().rates.peaks()

    def max_write_rate(self) -> int:
        """The most writes that any one document had within any one second since the start."""
        return max(self.peak_write_rates().values(), default=0)

    def collect_garbage(self, now: float | None = None) -> int:
        """Delete what is expired at `now` (seconds since 1970), as the service does within a day or so."""
        return self._running().collect_garbage(self._ttl, self._clock() if now is None else now)

    def _running(self) -> Database:
        if self._database is None:
            raise RuntimeError("The server is not running.")
        return self._database

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        handlers = {}
        for method, (request, streams) in METHODS.items():
            answer = _story(service, method)
            if streams:
                make, call = grpc.unary_stream_rpc_method_handler, self._streaming(method, answer)
            else:
                make, call = grpc.unary_unary_rpc_method_handler, self._unary(method, answer)
            handlers[method] = make(call, wire(request).FromString, _serialize)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _routes(self, service: Service) -> list[Route]:
        routes = []
        for path, method in REST.items():
            request, streams = METHODS[method]
            call = self._refusing(method, _story(service, method), streams=streams)
            routes.append(posted(path, wire(request), call, streams=streams))
        return routes

    def _refusing(self, method: str, answer: Callable[[Any], Any], *, streams: bool) -> Callable[[Any], Any]:
        def call(request: Any) -> Any:
            try:
                self.faults.before(method)
                response = list(answer(request)) if streams else answer(request)
                self.faults.after(method)
            except Refused as refused:
                raise Refusal(refused.status.name, refused.message) from refused
            return response

        return call

    def _unary(self, method: str, answer: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self.faults.before(method)
                response = answer(request)
                self.faults.after(method)
            except Refused as refused:
                context.abort(refused.status, refused.message)
            else:
                return response

        return call

    def _streaming(
        self, method: str, answer: Callable[[Any], Iterator[Any]]
    ) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                self.faults.before(method)
                yield from answer(request)
                self.faults.after(method)
            except Refused as refused:
                context.abort(refused.status, refused.message)

        return call


def _story(service: Service, method: str) -> Callable[[Any], Any]:
    story: Callable[[Any], Any] = getattr(service, re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower())
    return story


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
