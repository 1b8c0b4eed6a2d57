"""Serve a Starlette app on loopback from a background thread, and stop it cleanly."""

from __future__ import annotations

import socket
import threading

import uvicorn
from starlette.types import ASGIApp


class HttpServer:
    """One app on one port of 127.0.0.1; `port=0` takes a free one. `start` returns once it accepts connections."""

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._app = app
        self._wanted = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it, each small answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._wanted))
        listener.listen(512)
        self.port = listener.getsockname()[1]
        # No log_config: the one it brings lets a server that starts just then say so, before log_level forbids it.
        config = uvicorn.Config(
            self._app,
            http="h11",
            log_config=None,
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=75,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name=f"http-{self.port}", daemon=True
        )
        # The socket listens already, so a client that connects now waits in its backlog rather than being refused.
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join(timeout=10)
        self._server = self._thread = None
