"""The server that Google's Pub/Sub clients talk to by gRPC, and the doors by REST, at a port of its own."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from starlette.applications import Starlette

from infra.local.pubsub.broker import Broker
from infra.local.pubsub.catalog import Catalog
from infra.local.pubsub.envelope import Sign
from infra.local.pubsub.faults import Faults
from infra.local.pubsub.publisher import Publisher
from infra.local.pubsub.push import Pusher
from infra.local.pubsub.schemas import SchemaService
from infra.local.pubsub.store import Store
from infra.local.pubsub.subscriber import Subscriber
from infra.local.serving import HttpServer

_OPTIONS = (
    ("grpc.max_receive_message_length", 12 * 1024 * 1024),  # above Publish's own limit, which has a better message
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a shared one
)


class PubSubServer:
    """Pub/Sub for one project, its state in `data`.

    `sign` makes the RS256 token of a push whose subscription has an `oidc_token`; without it pushes carry none.
    `push_concurrency` is the number of pushes under way per subscription, one for all or by short name.
    `backoff_scale` multiplies every retry delay: with 0.01 the usual least backoff of 10 s takes 0.1 s. Deadlines
    and the number of attempts are not scaled, so a message reaches the dead letters that much sooner.
    """

    def __init__(
        self,
        data: Path,
        *,
        project: str = "local",
        sign: Sign | None = None,
        issuer: str = "https://accounts.google.com",
        push_concurrency: int | Mapping[str, int] = 16,
        backoff_scale: float = 1.0,
    ) -> None:
        self._store = Store(data)
        catalog = Catalog(self._store, project)
        self._broker = Broker(self._store, catalog, backoff_scale)
        self._broker.forget_expired()
        self._subscriber = Subscriber(self._broker, catalog)
        self._publisher = Publisher(self._broker, catalog)
        self._handlers = (
            self._publisher.handler(),
            self._subscriber.handler(),
            SchemaService(self._broker, catalog).handler(),
        )
        self._pusher = Pusher(self._broker, catalog, sign, issuer, push_concurrency)
        self._server: grpc.Server | None = None
        self._rest: HttpServer | None = None
        self._stopped = False
        self.port = 0

    @property
    def url(self) -> str:
        """Host and port, as PUBSUB_EMULATOR_HOST wants them."""
        return f"127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        """The value for PUBSUB_ENDPOINT."""
        return self._rest.url if self._rest else ""

    @property
    def faults(self) -> Faults:
        """Faults to suffer, for tests."""
        return self._broker.faults

    def start(self, port: int = 0, rest_port: int = 0) -> None:
        """Serve on 127.0.0.1; port 0 takes a free one. Raises OSError when a port is taken."""
        # A streaming pull keeps a thread for as long as it lasts; threads are made only as they are needed.
        pool = ThreadPoolExecutor(max_workers=128, thread_name_prefix="pubsub")
        server = grpc.server(pool, handlers=self._handlers, options=_OPTIONS)
        rest = HttpServer(Starlette(routes=[*self._publisher.routes()]), rest_port)
        try:
            self.port = server.add_insecure_port(f"127.0.0.1:{port}")
            rest.start()
        except (RuntimeError, OSError) as error:
            raise OSError(f"Port {port} or {rest_port} of 127.0.0.1 is taken.") from error
        server.start()
        self._server, self._rest = server, rest
        self._pusher.start()

    def stop(self) -> None:
        """Stop within a second or two; safe to call twice. Pushes under way are broken off and repeated later."""
        if self._stopped:
            return
        self._stopped = True
        if self._rest is not None:
            self._rest.stop()
        if self._server is not None:
            self._subscriber.stop()
            ended = self._server.stop(grace=0.5)
            self._pusher.stop()
            ended.wait()
        self._publisher.stop()
        self._store.close()

    def backlog(self) -> dict[str, int]:
        """Unacknowledged messages by the short name of every subscription."""
        return self._broker.backlog()

    def idle(self) -> bool:
        """Nothing unacknowledged anywhere, and nothing under way."""
        return self._broker.idle()
