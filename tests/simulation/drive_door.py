"""The HTTP door of the Drive in memory: as much of Drive v3 as the functions ask for, thousands of answers a second."""

from __future__ import annotations

import email
import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.simulation.drive_model import DOCUMENT, FOLDER, SHORTCUT, DriveModel, Item, Log, moment

BATCH = "/batch/drive/v3"
PAGE = 200  # fewer than asked for, as Drive may answer, so that pages are turned
Answer = tuple[int, bytes]
_INSIDE = re.compile(r"'(.+)' in parents")


class DriveDoor:
    """Serves a model on 127.0.0.1. `identify` tells whose a bearer token is, or None."""

    def __init__(self, model: DriveModel, identify: Callable[[str], str | None]) -> None:
        self.model = model
        self._identify = identify
        door = self

        class Line(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True
            wbufsize = -1

            def handle(self) -> None:
                while door._one(self.rfile, self.wfile):
                    self.wfile.flush()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Line)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def _one(self, rfile: Any, wfile: Any) -> bool:
        try:
            first = rfile.readline()
        except ConnectionError:
            return False
        if not first:
            return False
        method, target, _ = first.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (line := rfile.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = rfile.read(int(headers.get("content-length") or 0))
        status, content = self.answer(method, target, headers, body)
        kind = "application/json" if content[:1] == b"{" else "text/plain"
        if target == BATCH:
            kind = "multipart/mixed; boundary=batch"
        wfile.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )
        return True

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Any request."""
        if target == BATCH:
            return 200, b"".join(self._batch(headers, body)) + b"--batch--\r\n"
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        email = self._identify(headers.get("authorization", "").removeprefix("Bearer "))
        if email is None:
            return _error(401, "authError")
        path = unquote(parts.path).removeprefix("/drive/v3/")
        with self.model.lock:
            return self._route(email, method, path, query, json.loads(body) if body else {})

    def _batch(self, headers: Mapping[str, str], body: bytes) -> Iterator[bytes]:
        """The answers to the calls of a batch, each with its call's number."""
        whole = email.message_from_bytes(f"Content-Type: {headers['content-type']}\r\n\r\n".encode() + body)
        for part in whole.get_payload():
            line, _, rest = part.get_payload(decode=True).strip().partition(b"\r\n")
            own = {name.lower(): value for name, value in email.message_from_bytes(rest).items()}
            status, content = self.answer("GET", line.split()[1].decode(), {**headers, **own}, b"")
            number = part["Content-ID"].strip("<>")
            yield (
                (
                    f"--batch\r\nContent-Type: application/http\r\nContent-ID: <response-{number}>\r\n\r\n"
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n\r\n"
                ).encode()
                + content
                + b"\r\n"
            )

    def _route(self, email: str, method: str, path: str, query: Mapping[str, str], body: dict[str, str]) -> Answer:
        model = self.model
        steps = path.split("/")
        model.requests["/".join(steps[::2]) if steps[0] == "files" else path] += 1
        drive = query.get("driveId", "")
        if drive and email not in model.members.get(drive, ()):
            return _error(404, "notFound")
        log: Log = ("drive", drive) if drive else ("user", email)
        if path == "files":
            inside = _INSIDE.fullmatch(query.get("q", ""))
            return self._list(email, drive, inside[1] if inside else "", int(query.get("pageToken") or 0))
        if steps[0] == "files":
            return self._file(email, steps[1], export="export" in steps, media=query.get("alt") == "media")
        if path == "changes/startPageToken":
            return _json({"startPageToken": str(model.start_token())})
        if path == "changes":
            return self._changes(email, log, int(query["pageToken"]))
        if path == "changes/watch":
            channel = model.watch(email, log, body)
            return _json({"resourceId": channel.resource_id, "expiration": str(int(channel.expires * 1000))})
        if path == "channels/stop":
            found = model.channels.get(body["id"])
            if found is None or found.email != email:
                return _error(404, "notFound")
            del model.channels[body["id"]]
            return 204, b""
        if path == "drives":
            return _json({"drives": [{"id": one, "name": one} for one in model.drives_of(email)]})
        return _error(404, "notFound")

    def _list(self, email: str, drive: str, folder: str, start: int) -> Answer:
        # Nothing changes while a listing is read: places in it are stable.
        found = self.model.inside(email, folder) if folder else self.model.listed(email, drive)
        page: dict[str, Any] = {"files": [self.describe(email, item) for item in found[start : start + PAGE]]}
        if start + PAGE < len(found):
            page["nextPageToken"] = str(start + PAGE)
        return _json(page)

    def _file(self, email: str, file_id: str, *, export: bool, media: bool) -> Answer:
        item = self.model.items.get(file_id)
        if item is None or email not in self.model.viewers(item):
            return _error(404, "notFound")
        if export or media:
            self.model.downloads[email, file_id, item.content_key] += 1
            return 200, item.content.encode()
        return _json(self.describe(email, item))

    def _changes(self, email: str, log: Log, token: int) -> Answer:
        found = self.model.entries(log, token)
        page: dict[str, Any] = {"changes": [self._change(email, log, kind, name) for _, kind, name in found[:PAGE]]}
        if len(found) > PAGE:
            page["nextPageToken"] = str(found[PAGE][0])
        else:
            page["newStartPageToken"] = str(found[-1][0] + 1 if found else token)
        return _json(page)

    def _change(self, email: str, log: Log, kind: str, name: str) -> dict[str, Any]:
        model = self.model
        if kind == "drive":
            gone = email not in model.members[name]
            about = {} if gone else {"drive": {"id": name, "name": name}}
            return {"changeType": "drive", "driveId": name, "removed": gone, **about}
        item = model.items.get(name)
        corpus = log[1] if log[0] == "drive" else ""
        if item is None or item.drive != corpus or email not in model.viewers(item):
            return {"changeType": "file", "fileId": name, "removed": True}
        return {"changeType": "file", "fileId": name, "removed": False, "file": self.describe(email, item)}

    def describe(self, email: str, item: Item) -> dict[str, Any]:
        """The item's JSON for one person."""
        said: dict[str, Any] = {
            "id": item.id,
            "name": item.name,
            "mimeType": item.mime_type,
            "version": str(item.version),
            "createdTime": moment(item.created),
            "modifiedTime": moment(item.modified),
            "trashed": self.model.in_bin(item),
            "explicitlyTrashed": item.trashed,
            "parents": [item.parent or f"root-{item.drive or item.owner}"],
            "capabilities": {"canDownload": True, "canCopy": True},
        }
        if item.drive:
            said["driveId"] = item.drive
        else:
            said |= {"ownedByMe": item.owner == email, "owners": [{"emailAddress": item.owner}]}
        if item.mime_type == SHORTCUT:
            said["shortcutDetails"] = {"targetId": item.target, "targetMimeType": "text/plain"}
        elif item.mime_type == DOCUMENT:
            said["exportLinks"] = {"text/markdown": "x", "text/plain": "x"}
        elif item.mime_type != FOLDER:
            key = item.content_key.removeprefix("sha256:")
            said |= {"size": str(len(item.content)), "sha256Checksum": key, "headRevisionId": key[:24]}
        return said


def _json(answer: dict[str, Any]) -> Answer:
    return 200, json.dumps(answer).encode()


def _error(status: int, reason: str) -> Answer:
    return status, json.dumps({"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}}).encode()
