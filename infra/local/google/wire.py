"""Drive v3 over HTTP: tokens, faults, JSON, batches and content.

Content leaves by the kernel's sendfile where uvicorn's own connection is at hand, so that the server is not what a
benchmark measures. A file that is edited in place while it is sent ends with a broken connection, never with a mix.
"""

from __future__ import annotations

import asyncio
import email
import json
import os
import re
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any, BinaryIO, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from infra.local.google import sheets
from infra.local.google.answers import Answer, ApiError, Empty, Json, Made, known_error
from infra.local.google.drive import DriveApi, Method, find_method
from infra.local.google.faults import Fault, Faults
from infra.local.google.folder import FolderDrive
from infra.local.google.items import Item

PREFIX = "/drive/v3/"
BATCH = "/batch/drive/v3"
DOWNLOAD = "/download/"
_BODY_LIMIT = 4 * 1024 * 1024
_SLICE = 64 * 1024 * 1024
_BLOCK = 1024 * 1024
_DRIVE_SCOPES = tuple(f"https://www.googleapis.com/auth/drive{s}" for s in ("", ".readonly"))
_METADATA_SCOPES = tuple(f"https://www.googleapis.com/auth/drive.metadata{s}" for s in ("", ".readonly"))
_CONTENT = (
    "files.media", "files.export", "files.download", "operations.get", "spreadsheets.get", "spreadsheets.values.get",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a bearer token stands for, and what it allows."""

    email: str
    client: str
    scopes: frozenset[str]


class Tokens(Protocol):
    """Knows access tokens."""

    def identify(self, token: str) -> Identity | None:
        """Whose token this is; None if it is unknown, revoked or expired."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, from the wire or from a batch."""

    verb: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class DriveWire:
    """The ASGI side of Drive."""

    def __init__(self, api: DriveApi, folder: FolderDrive, tokens: Tokens, faults: Faults) -> None:
        self._api = api
        self._folder = folder
        self._tokens = tokens
        self._faults = faults

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is Drive's."""
        return path.startswith((PREFIX, DOWNLOAD, sheets.PREFIX)) or path == BATCH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        out = _Out(send, receive, self._faults)
        try:
            asked = Asked(
                scope["method"],
                scope["raw_path"].decode("latin-1").split("?")[0],
                dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
                headers,
                await _body(receive),
            )
            if asked.path == BATCH:
                await self._batch(asked, out)
                return
            route, lookup = self._route(asked)
            self._faults.count(route)
            out.cut = self._faults.take("cut", route)
            slow = self._faults.take("slow", route)
            if slow:
                await asyncio.sleep(slow.seconds)
            answer = await run_in_threadpool(self._answered, asked, route, lookup)
            await self._send(answer, asked, out)
        except ApiError as error:
            await out.json(error.status, error.body(), error.headers)

    def _route(self, asked: Asked) -> tuple[str, tuple[Method, dict[str, str]] | None]:
        """The name under which faults and counters know the request, and the method that answers it."""
        if asked.path.startswith(DOWNLOAD):
            return "files.media", None
        if asked.path.startswith(sheets.PREFIX):
            return sheets.asked_for(asked.path)[0], None
        found = find_method(asked.verb, asked.path.removeprefix(PREFIX))
        if found is None:
            return "unknown", None
        media = found[0].id == "files.get" and asked.query.get("alt") == "media"
        return "files.media" if media else found[0].id, found

    def _answered(self, asked: Asked, route: str, found: tuple[Method, dict[str, str]] | None) -> Answer:
        fault = self._faults.take("fail", route)
        if fault and not fault.lose_answer:
            raise _injected(fault)
        answer = self._answer(asked, route, found)
        if fault:
            raise _injected(fault)
        return answer

    def _answer(self, asked: Asked, route: str, found: tuple[Method, dict[str, str]] | None) -> Answer:
        if found is None and not (asked.path.startswith((DOWNLOAD, sheets.PREFIX)) and asked.verb == "GET"):
            raise ApiError(404, "notFound", "Not Found")
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        who = self._tokens.identify(token.strip()) if scheme.lower() == "bearer" else None
        person = self._folder.layout.person(who.email) if who else None
        if who is None or person is None:
            raise known_error(401)
        self._faults.charge(route, person.email)
        if not (
            who.scopes.intersection(_DRIVE_SCOPES)
            or (route not in _CONTENT and who.scopes.intersection(_METADATA_SCOPES))
        ):
            error = known_error(403, "insufficientPermissions")
            error.headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
            raise error
        keys = _keys(asked)
        if asked.path.startswith(sheets.PREFIX):
            return self._api.spreadsheet(asked.path, asked.query, person, keys)
        if found is None:
            return self._api.downloaded(asked.path.removeprefix(DOWNLOAD), person, keys)
        method, variables = found
        variables = {name: unquote(value) for name, value in variables.items()}
        return self._api.answer(method, variables, person, who.client, asked.query, _json(asked), keys)

    async def _send(self, answer: Answer, asked: Asked, out: _Out) -> None:
        if isinstance(answer, Json):
            await out.json(200, answer.body, {})
        elif isinstance(answer, Empty):
            await out.start(204, {})
            await out.end()
        elif isinstance(answer, Made):
            await out.start(200, {"content-type": answer.mime_type})
            await out.pieces(answer.body)
        else:
            await self._send_file(answer.item, asked, out)

    async def _send_file(self, item: Item, asked: Asked, out: _Out) -> None:
        item, file = await run_in_threadpool(self._opened, item)
        with file:
            size = os.fstat(file.fileno()).st_size
            wanted = asked.headers.get("range")
            if wanted and self._faults.take("ignore_range", "files.media"):
                wanted = None
            headers = {
                "content-type": item.mime_type,
                "content-disposition": "attachment",
                "accept-ranges": "bytes",
                "cache-control": "private, max-age=0, must-revalidate",
            }
            span = (0, size)
            status = 200
            if wanted and (parsed := parse_range(wanted, size)) is not None:
                if parsed[0] >= parsed[1]:
                    await out.json(416, _unsatisfiable(), {"content-range": f"bytes */{size}"})
                    return
                span, status = parsed, 206
                headers["content-range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
            headers["content-length"] = str(span[1] - span[0])
            await out.start(status, headers)
            await out.file(file, span[0], span[1] - span[0], self._faults.take("drip", "files.media"))

    def _opened(self, item: Item) -> tuple[Item, BinaryIO]:
        """The file, opened at the very revision that the index tells of."""
        for _ in range(10):
            now = self._folder.current(item.id)
            if now is None:
                break
            try:
                file = self._folder.path_of(now).open("rb", buffering=0)
            except PermissionError as error:  # of a file that this user of the machine may not read
                raise known_error(403, "cannotDownloadFile") from error
            except OSError:
                self._folder.scan()
                continue
            found = os.fstat(file.fileno())
            if found.st_size == now.size and now.mtime_ns in (-1, found.st_mtime_ns):
                return now, file
            file.close()
            self._folder.scan()
        raise ApiError(404, "notFound", f"File not found: {item.id}.", location="fileId")

    async def _batch(self, asked: Asked, out: _Out) -> None:
        self._faults.count("batch")
        parts = _parts(asked)
        answers = []
        for content_id, inner in parts:
            status, body, headers = await run_in_threadpool(self._inner, inner)
            said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            answers.append(
                f"--batch_local\r\nContent-Type: application/http\r\n"
                f"Content-ID: <response-{content_id.lstrip('<')}\r\n\r\n"
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                f"Content-Type: application/json; charset=UTF-8\r\n{said}"
                f"Content-Length: {len(body)}\r\n\r\n{body.decode()}\r\n"
            )
        text = "".join(answers) + "--batch_local--\r\n"
        await out.whole(200, text.encode(), {"content-type": "multipart/mixed; boundary=batch_local"})

    def _inner(self, asked: Asked) -> tuple[int, bytes, Mapping[str, str]]:
        try:
            route, found = self._route(asked)
            if route in ("files.media", "files.export"):
                raise ApiError(400, "badRequest", "Media downloads are not supported in batches.")
            self._faults.count(route)
            answer = self._answered(asked, route, found)
        except ApiError as error:
            return error.status, json.dumps(error.body()).encode(), error.headers
        return (200, json.dumps(answer.body).encode(), {}) if isinstance(answer, Json) else (204, b"", {})


class _Out:
    """One answer on its way: knows how to cut it, slow it down, or hand it to the kernel."""

    def __init__(self, send: Send, receive: Receive, faults: Faults) -> None:
        self._send = send
        self._receive = receive
        self._faults = faults
        cycle = getattr(send, "__self__", None)
        self._cycle = cycle if isinstance(cycle, RequestResponseCycle) else None
        self.cut: Fault | None = None

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def json(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        await self.whole(status, text, {"content-type": "application/json; charset=UTF-8", **headers})

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.pieces(body)

    async def pieces(self, body: bytes) -> None:
        """The whole body, or what a cut leaves of it."""
        if self.cut and self.cut.bytes < len(body):
            await self._more(body[: self.cut.bytes])
            await self._break(self.cut)
            return
        for at in range(0, len(body), _BLOCK):
            await self._more(body[at : at + _BLOCK])
        await self.end()

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def file(self, file: BinaryIO, offset: int, count: int, drip: Fault | None) -> None:
        """A span of a file; broken off where a fault says so, or where somebody edits the file meanwhile."""
        cut = self.cut if self.cut and self.cut.bytes < count else None
        count = cut.bytes if cut else count
        before = _stamp(file)
        done = 0
        while done < count:
            if drip:
                step = await self._slowly(file, offset + done, min(count - done, max(1, drip.bytes // 10)))
            elif self._cycle is not None:
                step = await self._by_kernel(self._cycle, file, offset + done, min(count - done, _SLICE))
            else:
                step = await self._by_hand(file, offset + done, min(count - done, _BLOCK))
            done += step
            self._faults.sent(step)
            if step == 0 or _stamp(file) != before:
                await self._break(None)
                return
        await (self._break(cut) if cut else self.end())

    async def _more(self, body: bytes) -> None:
        if body:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _slowly(self, file: BinaryIO, offset: int, count: int) -> int:
        await asyncio.sleep(0.1)
        return await self._by_hand(file, offset, count)

    async def _by_hand(self, file: BinaryIO, offset: int, count: int) -> int:
        body = await run_in_threadpool(os.pread, file.fileno(), count, offset)
        await self._more(body)
        return len(body)

    async def _by_kernel(self, cycle: RequestResponseCycle, file: BinaryIO, offset: int, count: int) -> int:
        """Send a span without copying it; 0 if the reader has gone."""
        # The protocol's own count of what is still to come has to move along with what the kernel sends.
        cycle.conn.send_with_data_passthrough(h11.Data(data=_Span(count)))  # type: ignore[arg-type]
        try:
            return await asyncio.get_running_loop().sendfile(cycle.transport, file, offset, count)
        except (OSError, RuntimeError):
            return 0

    async def _break(self, fault: Fault | None) -> None:
        """End the connection in the middle of the body."""
        if self._cycle is None:
            raise ConnectionAbortedError("the connection is cut here")
        transport = self._cycle.transport
        connection = transport.get_extra_info("socket")
        if fault is not None:
            await _drained(transport, connection)
        if fault is None or fault.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _Span:
    """Stands for bytes that somebody else sends."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


def _keys(asked: Asked) -> dict[str, str]:
    """Resource keys by file id: `X-Goog-Drive-Resource-Keys: id1/key1,id2/key2`."""
    pairs = asked.headers.get("x-goog-drive-resource-keys", "").split(",")
    return dict(pair.strip().split("/", 1) for pair in pairs if "/" in pair)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (not included) of one byte range; None for what is not one, which is then ignored.

    An empty span means 416.
    """
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    start = int(found[1])
    end = min(size, int(found[2]) + 1) if found[2] else size
    if found[2] and int(found[2]) < start:
        return None
    return (start, end) if start < size else (size, size)


def _stamp(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


async def _drained(transport: asyncio.WriteTransport, connection: socket.socket) -> None:
    """Until the reader has everything that was written: a reset would throw the rest away."""
    for _ in range(5000):
        if transport.get_write_buffer_size() == 0 and _unsent(connection) == 0:
            return
        await asyncio.sleep(0.001)


def _unsent(connection: socket.socket) -> int:
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def _injected(fault: Fault) -> ApiError:
    error = known_error(fault.status, fault.reason)
    if fault.retry_after is not None:
        error.headers["Retry-After"] = fault.retry_after
    return error


def _unsatisfiable() -> dict[str, Any]:
    reason = "requestedRangeNotSatisfiable"
    return ApiError(416, reason, "Request range not satisfiable", location="Range", place="header").body()


def _json(asked: Asked) -> dict[str, Any]:
    if not asked.body.strip() or asked.verb == "GET":
        return {}
    try:
        said = json.loads(asked.body)
    except ValueError as error:
        raise ApiError(400, "parseError", "Parse Error") from error
    if not isinstance(said, dict):
        raise ApiError(400, "parseError", "Parse Error")
    return said


def _parts(asked: Asked) -> list[tuple[str, Asked]]:
    """The calls inside a batch, by Content-ID."""
    kind = asked.headers.get("content-type", "")
    if asked.verb != "POST" or "multipart/mixed" not in kind:
        raise ApiError(400, "badRequest", "A batch is a POST of multipart/mixed.")
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + asked.body)
    found = [(str(part.get("Content-ID", "<>")), _part(part, asked)) for part in message.walk() if part is not message]
    if not 0 < len(found) <= 100:
        raise ApiError(400, "badRequest", "The batch request must hold 1 to 100 calls.")
    return found


def _part(part: Message, outer: Asked) -> Asked:
    """One call of a batch; it speaks with the batch's token unless it brings its own."""
    payload = part.get_payload(decode=True)
    text = payload.replace(b"\r\n", b"\n").lstrip(b"\n") if isinstance(payload, bytes) else b""
    head, _, body = text.partition(b"\n\n")
    request_line, _, lines = head.decode("latin-1").partition("\n")
    verb, _, target = request_line.partition(" ")
    parts = urlsplit(target.rsplit(" HTTP/", 1)[0])
    headers = {name.lower(): value for name, value in email.message_from_string(lines).items()}
    if "authorization" in outer.headers:
        headers.setdefault("authorization", outer.headers["authorization"])
    return Asked(verb, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > _BODY_LIMIT:
            raise ApiError(413, "uploadTooLarge", "The request is too large.")
        if not message.get("more_body"):
            return bytes(body)
