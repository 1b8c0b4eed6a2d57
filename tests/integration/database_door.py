"""A door before Postgres that breaks connections at a chosen message, before the server has it or after its answer.

It knows as much of the protocol as that takes: an exchange begins with what a client says to a server that is ready,
and ends when the server says that it is ready again.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Side = Literal["before", "after"]


@dataclass
class _Connection:
    client: socket.socket
    server: socket.socket
    ready: bool = False  # after what the server said last
    doomed: bool = False  # the answer that comes now is not passed on
    heard: bytes = field(default=b"", repr=False)

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def answered(self, said: bytes) -> bool:
        """Whether the server is ready after this, too."""
        self.heard += said
        while len(self.heard) >= 5 and len(self.heard) > (size := int.from_bytes(self.heard[1:5])):
            self.ready = self.heard[:1] == b"Z"
            self.heard = self.heard[1 + size :]
        return self.ready and not self.heard


class DatabaseDoor:
    """Listens on loopback while it is open. Counts `exchanges` since the last order."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._order: tuple[int, Side] | None = None
        self.exchanges = 0
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        """The address of the database through this door."""
        host = f"{self._parts.username}:{self._parts.password}@127.0.0.1:{self._listener.getsockname()[1]}"
        return urlunsplit(self._parts._replace(netloc=host))

    def break_at(self, exchange: int, side: Side) -> None:
        """Break the connection of the exchange of this number, counted from now on, once."""
        with self._lock:
            self.exchanges, self.broken, self._order = 0, 0, (exchange, side)

    def cut_idle(self) -> None:
        """Close every connection without a word, as what stands between two networks does."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
        self.cut_idle()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._parts.hostname or "", self._parts.port or 0))
            except OSError:  # closed
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(client, server)
            with self._lock:
                self._connections.append(connection)
            for pump in (self._to_server, self._to_client):
                threading.Thread(target=pump, args=(connection,), daemon=True).start()

    def _to_server(self, connection: _Connection) -> None:
        with suppress(OSError):
            while said := connection.client.recv(65_536):
                if self._due(connection) == "before":
                    break
                connection.server.sendall(said)
        connection.close()

    def _to_client(self, connection: _Connection) -> None:
        with suppress(OSError):
            while said := connection.server.recv(65_536):
                whole = connection.answered(said)
                if not connection.doomed:
                    connection.client.sendall(said)
                elif whole:
                    break
        connection.close()

    def _due(self, connection: _Connection) -> Side | None:
        """What is to happen at what the client says now."""
        with self._lock:
            if not connection.ready:
                return None
            connection.ready = False
            self.exchanges += 1
            if self._order is None or self._order[0] != self.exchanges:
                return None
            _, side = self._order
            self._order, self.broken = None, self.broken + 1
            connection.doomed = side == "after"
            return side
