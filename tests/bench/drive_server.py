"""A Drive v3 that is never the limit: bytes leave by the kernel's sendfile, each connection has a thread of its own.

It serves a folder, and only what a plain reader needs: `files.list`, `files.get`, `alt=media`, `token`. Ids are paths.
It can be slow, cap its connections, refuse and cut. In a process of its own, `python -m tests.bench.drive_server DIR`,
it says its address in one line of JSON and ends with its standard input. `GET /counts` tells what was asked of it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import mimetypes
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.contract.fake_http import Line, Request, Server

ROOT = Path(__file__).resolve().parents[2]
_FOLDER = "application/vnd.google-apps.folder"
_STEP = 256 * 1024  # bytes between two looks at the clock of a capped connection
_PAGE = 100


class Drive:
    """What is served, and how badly."""

    def __init__(self, folder: Path, chosen: argparse.Namespace) -> None:
        self._folder = folder
        self._chosen = chosen
        self._dice = random.Random(7)
        self._lock = threading.Lock()
        self._cuts: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def respond(self, request: Request, line: Line) -> None:
        """Answer one request."""
        parts = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/drive/v3/files")
        what = self._what(parts.path, query)
        if what == "counts":
            return line.json(dict(self._counts))
        self._count(what, 1)
        if self._chosen.delay:
            time.sleep(self._chosen.delay)
        if what != "token" and self._chosen.refusals and self._roll() < self._chosen.refusals:
            status, reason = self._pick([(429, "rateLimitExceeded"), (503, "backendError")])
            self._count(str(status), 1)
            return line.refuse(status, reason)
        if what == "token":
            return line.json({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"})
        if what == "list":
            return self._list(query, line)
        place = self._folder / _path_of(unquote(path).strip("/"))
        if not place.exists():
            return line.refuse(404, "notFound")
        return self._media(place, request, line) if what == "media" else line.json(self._file(place))

    def _what(self, path: str, query: dict[str, str]) -> str:
        if path in ("/token", "/counts"):
            return path[1:]
        if path == "/drive/v3/files":
            return "list"
        return "media" if query.get("alt") == "media" else "get"

    def _list(self, query: dict[str, str], line: Line) -> None:
        parent = query["q"].split("'")[1]
        children = sorted((self._folder / _path_of(parent)).iterdir())
        start, size = int(query.get("pageToken", 0)), min(int(query.get("pageSize", _PAGE)), _PAGE)
        page: dict[str, Any] = {"files": [self._file(child) for child in children[start : start + size]]}
        if start + size < len(children):
            page["nextPageToken"] = str(start + size)
        line.json(page)

    def _file(self, place: Path) -> dict[str, Any]:
        parents = {"id": _id_of(str(place.relative_to(self._folder))), "name": place.name}
        if place.is_dir():
            return {**parents, "mimeType": _FOLDER}
        found = place.stat()
        stated = {f"{name}Checksum": _digest(place, name, found.st_mtime_ns) for name in self._chosen.stated}
        kind = mimetypes.guess_type(place.name)[0] or "application/octet-stream"
        return {**parents, "mimeType": kind, "size": str(found.st_size), **stated}

    def _media(self, place: Path, request: Request, line: Line) -> None:
        size = place.stat().st_size
        first, last = request.range or (0, None)
        last = size - 1 if last is None else min(last, size - 1)
        if request.range is None:
            line.head(200, Content_Length=size)
        elif first > last:
            return line.answer(416, Content_Range=f"bytes */{size}")
        else:
            line.head(206, Content_Length=last - first + 1, Content_Range=f"bytes {first}-{last}/{size}")
        stop = self._cut(str(place), first, last + 1)
        with place.open("rb", buffering=0) as file:
            sent = self._send(line, file.fileno(), first, stop)
        self._count("media_bytes", sent)
        if stop <= last:
            self._count("cuts", 1)
            line.drain()  # what waits to be sent would be lost with a reset, and was never the client's
            line.reset() if self._pick(["reset", "close"]) == "reset" else line.hang_up()
        return None

    def _cut(self, name: str, first: int, stop: int) -> int:
        """Where the body ends: the first attempt at each file somewhere in its middle, if cuts are wanted. Of the
        second attempt it is noted how much of the first it asks for again."""
        with self._lock:
            if name in self._cuts:
                again = max(0, self._cuts[name] - first)
                self._counts["refetched"] += again
                self._counts["most_refetched"] = max(again, self._counts["most_refetched"])
            if not self._chosen.cut or name in self._cuts or stop - first < 2:
                return stop
            self._cuts[name] = self._dice.randrange(first + 1, stop)
            return self._cuts[name]

    def _send(self, line: Line, descriptor: int, first: int, stop: int) -> int:
        rate, began, at = self._chosen.rate, time.monotonic(), first
        while at < stop:
            at += line.file(descriptor, at, min(stop - at, _STEP) if rate else stop - at)
            if rate:
                time.sleep(max(0.0, began + (at - first) / rate - time.monotonic()))
        return at - first

    def _count(self, what: str, number: int) -> None:
        with self._lock:
            self._counts[what] += number

    def _roll(self) -> float:
        with self._lock:
            return self._dice.random()

    def _pick(self, choices: list[Any]) -> Any:
        with self._lock:
            return self._dice.choice(choices)


def _id_of(path: str) -> str:
    return base64.urlsafe_b64encode(path.encode()).decode().rstrip("=")


def _path_of(file_id: str) -> str:
    if file_id == "root":
        return "."
    try:
        return base64.urlsafe_b64decode(file_id + "=" * (-len(file_id) % 4)).decode()
    except ValueError:
        return f"no file has the id {file_id}"


@cache
def _digest(place: Path, algorithm: str, _modified: int) -> str:
    """Of one revision of a file, so that a listing costs no reading the second time."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.drive_server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second of one connection")
    parser.add_argument("--refusals", type=float, default=0.0, help="the share of requests answered by 429 or 503")
    parser.add_argument("--cut", action="store_true", help="break off the first attempt at each file")
    parser.add_argument("--stated", nargs="*", default=["md5", "sha256"], help="the checksums that are stated")
    chosen = parser.parse_args()
    with Server(Drive(chosen.folder.resolve(), chosen).respond) as server:
        print(json.dumps({"url": server.url}), flush=True)
        sys.stdin.read()


class Running:
    """A server in another process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> dict[str, int]:
        """Requests by kind, refusals, cuts, and bytes of content sent, so far."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=30) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def prepare(self, file: str) -> None:
        """Let the server compute the checksums that it states of a file, which nobody's clock should count."""
        with urllib.request.urlopen(f"{self.url}/drive/v3/files/{file}", timeout=600) as answer:
            answer.read()


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Running]:
    """The server in its own process while the block runs, with options of its command line."""
    command = [sys.executable, "-m", "tests.bench.drive_server", str(folder), *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Running(json.loads(process.stdout.readline())["url"])
        finally:
            process.stdin.close()


def id_of(path: str) -> str:
    """The id under which a path of the folder is served; "root" is the folder itself."""
    return _id_of(path)


if __name__ == "__main__":
    main()
