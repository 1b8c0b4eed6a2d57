"""A small real HTTP server that can misbehave in every way a network can: each answer is written by hand."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from shared.config import Settings


class Request(NamedTuple):
    """One request as it came; header names in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def range(self) -> tuple[int, int | None] | None:
        """(first, last) of the Range header."""
        value = self.headers.get("range")
        if value is None:
            return None
        first, last = value.removeprefix("bytes=").split("-")
        return int(first), int(last) if last else None


class Line:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.sent = 0

    def head(self, status: int, **headers: object) -> None:
        """Status and headers only; an underscore in a name stands for a hyphen."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._connection.sendall(f"HTTP/1.1 {status} Because\r\n{lines}\r\n".encode())

    def raw(self, content: bytes | memoryview) -> None:
        """Bytes of the body, as they are."""
        self._connection.sendall(content)
        self.sent += len(content)

    def file(self, descriptor: int, offset: int, count: int) -> int:
        """A span of an open file, handed over by the kernel; how many bytes of it were sent."""
        done = 0
        while done < count and (
            sent := os.sendfile(self._connection.fileno(), descriptor, offset + done, count - done)
        ):
            done += sent
        self.sent += done
        return done

    def answer(self, status: int, content: bytes = b"", **headers: object) -> None:
        """A whole, well-formed answer."""
        self.head(status, Content_Length=len(content), **headers)
        self.raw(content)

    def json(self, content: Any, status: int = 200, **headers: object) -> None:
        """A whole answer in JSON."""
        self.answer(status, json.dumps(content).encode(), Content_Type="application/json", **headers)

    def refuse(self, status: int, reason: str, **headers: object) -> None:
        """An error in Drive's words."""
        error = {"code": status, "message": f"About {reason}.", "errors": [{"domain": "global", "reason": reason}]}
        self.json({"error": error}, status, **headers)

    def drain(self) -> None:
        """Wait until the other end has all that was sent so far, on Linux; elsewhere nobody can tell."""
        while sys.platform == "linux":
            unsent = fcntl.ioctl(self._connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
            if not any(unsent):
                return
            time.sleep(0.0005)

    def hang_up(self) -> None:
        """End the connection in an orderly way."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def reset(self) -> None:
        """End the connection by a reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed by number: the reading end still holds the socket object open.
        socket.close(self._connection.detach())


Respond = Callable[[Request, Line], None]


class Server:
    """Listens on loopback and lets `respond` write every answer. Use it in a `with`."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._connections: list[socket.socket] = []
        self.requests: list[Request] = []
        self.connections = 0
        self.bytes_sent = 0
        self._done = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for end in (self._listener, *self._connections):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while not self._done.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        line = Line(connection)
        # A client that hangs up in the middle is what many tests are about.
        with suppress(OSError, ValueError), connection.makefile("rb") as incoming:
            while (request := _read(incoming)) is not None:
                with self._lock:
                    self.requests.append(request)
                before = line.sent
                try:
                    self._respond(request, line)
                finally:
                    with self._lock:
                        self.bytes_sent += line.sent - before


def _read(incoming: Any) -> Request | None:
    first = incoming.readline().split()
    if len(first) < 2:
        return None
    headers = {}
    while (header := incoming.readline().strip()) != b"":
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", 0)))
    return Request(first[0].decode(), first[1].decode(), headers, body)


def serve(content: bytes, request: Request, line: Line, **headers: object) -> None:
    """Serve a file as Drive does: whole, or the part that Range asks for."""
    size = len(content)
    if request.range is None:
        line.answer(200, content, **headers)
        return
    first, last = request.range
    last = size - 1 if last is None else min(last, size - 1)
    if first > last:
        line.answer(416, Content_Range=f"bytes */{size}")
        return
    part = content[first : last + 1]
    line.answer(206, part, Content_Range=f"bytes {first}-{last}/{size}", **headers)


def cut(content: bytes, request: Request, line: Line, after: int, *, reset: bool) -> None:
    """Begin as Drive does, and break off after some bytes of the body."""
    first = request.range[0] if request.range else 0
    body = content[first:]
    status, more = (206, {"Content_Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}) if first else (200, {})
    line.head(status, Content_Length=len(body), **more)
    line.raw(body[:after])
    line.reset() if reset else line.hang_up()


def scripted(content: bytes, *faults: Respond | None) -> Respond:
    """The n-th request meets the n-th fault (None: none); the rest are served well."""
    waiting = list(faults)
    lock = threading.Lock()

    def respond(request: Request, line: Line) -> None:
        with lock:
            fault = waiting.pop(0) if waiting else None
        if fault is None:
            serve(content, request, line)
        else:
            fault(request, line)

    return respond


WINDOW = 64 * 1024
CONTENT = random.Random(7).randbytes(10 * WINDOW + 123)
SHA = ("sha256", hashlib.sha256(CONTENT).hexdigest())


def settings_for(url: str, **more: Any) -> Settings:
    """Settings that point at a server, with small windows and short pauses."""
    values = {
        "window_bytes": WINDOW,
        "hold_bytes": 4 * WINDOW,
        "retry_base_seconds": 0.002,
        "http_timeout_seconds": 5.0,
    }
    return Settings(google_cloud_project="test", drive_endpoint=url, **{"http_timeout_seconds": 5.0, **values, **more})


def content_of(download: Any, start: int = 0) -> bytes:
    """All windows of a download or a source, as one."""
    return b"".join(bytes(window) for window in download.windows(start))


def cut_after(request: Request, line: Line, after: int) -> None:
    """Break off CONTENT in an orderly way."""
    cut(CONTENT, request, line, after, reset=False)
