"""Secret Manager on one machine: its REST door over files that only this user may read.

A secret is a directory, a version a file named by its number; a version that is disabled has a file `N.disabled`
beside it. Files appear whole or not at all, so that a stop at any moment leaves every version readable.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google_crc32c
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.ai.faults import Faults, Refusal, delayed
from infra.local.serving import HttpServer

LARGEST = 65_536
_NAME = re.compile(r"projects/([a-z0-9-]{1,63})/secrets/([A-Za-z0-9_-]{1,255})")


class SecretManagerServer:
    """Secrets on loopback, kept in `data`. Counts `calls`; `faults` knows the garble `damaged`."""

    def __init__(self, data: Path, *, project: str = "drivestream-local") -> None:
        self.faults = Faults()
        self.calls = 0
        self._data = data
        self._project = project
        self._writing = threading.Lock()
        self._http: HttpServer | None = None
        _private_directory(data)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._http.port if self._http else 0

    def start(self, port: int = 0) -> None:
        """Serve on this port of 127.0.0.1, or on a free one."""
        one = "/v1/projects/{project}/secrets/{secret}"
        routes = [
            Route("/v1/projects/{project}/secrets", self._door(self._create), methods=["POST"]),
            Route(one + ":addVersion", self._door(self._add), methods=["POST"]),
            Route(one + "/versions/{version}:access", self._door(self._access), methods=["GET"]),
            Route(one + "/versions/{version}", self._door(self._describe), methods=["GET"]),
            Route(one + "/versions/{version}:disable", self._door(self._disable), methods=["POST"]),
            Route(one + "/versions/{version}:enable", self._door(self._enable), methods=["POST"]),
        ]
        self._http = HttpServer(Starlette(routes=routes), port)
        self._http.start()

    def stop(self) -> None:
        """Stop serving; safe to call twice."""
        if self._http:
            self._http.stop()
        self._http = None

    def put(self, name: str, value: bytes) -> str:
        """Make `value` the latest version of `projects/P/secrets/S` (or of S in this server's project), unless it is
        that already. Returns the version's resource name."""
        full = name if "/" in name else f"projects/{self._project}/secrets/{name}"
        directory = self._directory(full)
        with self._writing:
            _private_directory(directory.parent)
            _private_directory(directory)
            versions = _versions(directory)
            if versions and (directory / str(versions[-1])).read_bytes() == value:
                return f"{full}/versions/{versions[-1]}"
            number = versions[-1] + 1 if versions else 1
            _write_private(directory / str(number), value)
        return f"{full}/versions/{number}"

    def get(self, name: str) -> bytes | None:
        """The latest version of a secret, or None where there is none."""
        directory = self._directory(name if "/" in name else f"projects/{self._project}/secrets/{name}")
        versions = _versions(directory)
        return (directory / str(versions[-1])).read_bytes() if versions else None

    def _directory(self, name: str) -> Path:
        match = _NAME.fullmatch(name)
        if not match:
            raise Refusal("INVALID_ARGUMENT", f"The provided name [{name}] does not match the expected format.")
        return self._data / match[1] / match[2]

    def _door(self, answer: Any) -> Any:
        async def door(request: Request) -> Response:
            self.calls += 1
            try:
                fault = self.faults.take()
                body = await request.body()
                # A few small files: reading them here is shorter than a thread's start.
                content = answer(dict(request.path_params), dict(request.query_params), body)
            except Refusal as refusal:
                return refusal.response()
            if fault.get("garble") == "damaged":
                content["payload"]["dataCrc32c"] = "1"
            return await delayed(fault, JSONResponse(content))

        return door

    def _create(self, path: dict[str, str], query: dict[str, str], body: bytes) -> dict[str, Any]:
        del body
        name = f"projects/{path['project']}/secrets/{query.get('secretId', '')}"
        directory = self._directory(name)
        if directory.exists():
            raise Refusal("ALREADY_EXISTS", f"Secret [{name}] already exists.")
        _private_directory(directory.parent)
        _private_directory(directory)
        return {"name": name, "replication": {"automatic": {}}}

    def _add(self, path: dict[str, str], query: dict[str, str], body: bytes) -> dict[str, Any]:
        del query
        name, directory = self._existing(path)
        try:
            payload = json.loads(body)["payload"]
            value = base64.b64decode(payload.get("data", ""))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            raise Refusal("INVALID_ARGUMENT", "The payload is missing or malformed.") from None
        if len(value) > LARGEST:
            raise Refusal("INVALID_ARGUMENT", "The payload is larger than 65536 bytes.")
        if "dataCrc32c" in payload and int(payload["dataCrc32c"]) != google_crc32c.value(value):
            raise Refusal("INVALID_ARGUMENT", "The provided CRC32C does not match the payload.")
        with self._writing:
            versions = _versions(directory)
            number = versions[-1] + 1 if versions else 1
            _write_private(directory / str(number), value)
        return {"name": f"{name}/versions/{number}", "state": "ENABLED"}

    def _access(self, path: dict[str, str], query: dict[str, str], body: bytes) -> dict[str, Any]:
        del query, body
        name, file = self._version(path)
        if _disabled(file).exists():
            raise Refusal("FAILED_PRECONDITION", f"Secret Version [{name}] is in DISABLED state.")
        value = file.read_bytes()
        payload = {"data": base64.b64encode(value).decode(), "dataCrc32c": str(google_crc32c.value(value))}
        return {"name": name, "payload": payload}

    def _describe(self, path: dict[str, str], query: dict[str, str], body: bytes) -> dict[str, Any]:
        del query, body
        name, file = self._version(path)
        made = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat().replace("+00:00", "Z")
        return {"name": name, "createTime": made, "state": "DISABLED" if _disabled(file).exists() else "ENABLED"}

    def _disable(self, path: dict[str, str], query: dict[str, str], body: bytes) -> dict[str, Any]:
        del query, body
        name, file = self._version(path)
        _write_private(_disabled(file), b"")
        return {"name": name, "state": "DISABLED"}

    def _enable(self, path: dict[str, str], query: dict[str, str], body: bytes) -> dict[str, Any]:
        del query, body
        name, file = self._version(path)
        _disabled(file).unlink(missing_ok=True)
        return {"name": name, "state": "ENABLED"}

    def _existing(self, path: dict[str, str]) -> tuple[str, Path]:
        name = f"projects/{path['project']}/secrets/{path['secret']}"
        directory = self._directory(name)
        if not directory.is_dir():
            raise Refusal("NOT_FOUND", f"Secret [{name}] not found.")
        return name, directory

    def _version(self, path: dict[str, str]) -> tuple[str, Path]:
        secret, directory = self._existing(path)
        versions = _versions(directory)
        asked = path["version"]
        number = versions[-1] if asked == "latest" and versions else int(asked) if asked.isdecimal() else 0
        if number not in versions:
            raise Refusal("NOT_FOUND", f"Secret Version [{secret}/versions/{asked}] not found.")
        return f"{secret}/versions/{number}", directory / str(number)


def _versions(directory: Path) -> list[int]:
    if not directory.is_dir():
        return []
    return sorted(int(file.name) for file in directory.iterdir() if file.name.isdecimal())


def _disabled(version: Path) -> Path:
    return version.with_name(version.name + ".disabled")


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def _write_private(path: Path, value: bytes) -> None:
    """Written beside its place, forced to disk, then moved there in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
