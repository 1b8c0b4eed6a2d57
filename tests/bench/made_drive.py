"""A Drive v3 of made files: what the streamer asks of one, for files that no disk has to hold.

A native file is exported as Drive does it: whole, in pieces, without its length and whatever Range was asked for; or,
where the export is refused as too large, by the long-running download. The first answer with such a content breaks off
in its middle, since only then does it matter that Range is ignored.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.bench.made_files import Content
from tests.contract.fake_http import Line, Request, Server

DOCUMENT = "application/vnd.google-apps.document"
_FILES = "/drive/v3/files/"


@dataclass(frozen=True)
class Made:
    """A file of this Drive; a native one where its type is that of a document, its `content` then the export's."""

    name: str
    content: Content
    mime_type: str = "application/octet-stream"
    too_large_to_export: bool = False


class MadeDrive:
    """Serves files by their names, which are their ids. Use it in a `with`."""

    def __init__(self) -> None:
        self._files: dict[str, Made] = {}
        self._broken_off: set[str] = set()
        self._lock = threading.Lock()
        self._server = Server(self._respond)

    @property
    def url(self) -> str:
        """The base address."""
        return self._server.url

    def __enter__(self) -> MadeDrive:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def put(self, file: Made) -> str:
        """Add a file; its id."""
        self._files[file.name] = file
        return file.name

    def remove(self, file_id: str) -> None:
        """It is gone, and what was held for it is free."""
        del self._files[file_id]

    def _respond(self, request: Request, line: Line) -> None:
        parts = urlsplit(request.target)
        name, _, what = unquote(parts.path.removeprefix(_FILES)).partition("/")
        if parts.path.startswith("/drive/v3/operations/"):
            return line.json(self._operation(unquote(parts.path.rpartition("/")[2]), done=True))
        if parts.path.startswith("/content/"):
            return self._export(self._files[unquote(parts.path.removeprefix("/content/"))], line)
        file = self._files.get(name)
        if file is None:
            return line.refuse(404, "notFound")
        if what == "download":
            return line.json(self._operation(name, done=False))
        if what == "export":
            refused = file.too_large_to_export
            return line.refuse(403, "exportSizeLimitExceeded") if refused else self._export(file, line)
        if parse_qs(parts.query).get("alt") == ["media"]:
            return _media(file.content, request, line)
        return line.json(_described(file))

    def _operation(self, name: str, *, done: bool) -> dict[str, Any]:
        answer = {"downloadUri": f"{self.url}/content/{name}", "partialDownloadAllowed": True}
        return {"name": name, "done": done, **({"response": answer} if done else {})}

    def _export(self, file: Made, line: Line) -> None:
        with self._lock:
            break_off = file.name not in self._broken_off
            self._broken_off.add(file.name)
        line.head(200, Content_Type="text/markdown", Transfer_Encoding="chunked")
        for span in file.content.spans(0, file.content.size * 2 // 3 if break_off else None):
            line.raw(b"%x\r\n" % len(span))
            line.raw(span)
            line.raw(b"\r\n")
        if break_off:
            line.drain()
            return line.hang_up()
        return line.raw(b"0\r\n\r\n")


def _media(content: Content, request: Request, line: Line) -> None:
    first, last = request.range or (0, None)
    last = content.size - 1 if last is None else min(last, content.size - 1)
    if request.range is None:
        line.head(200, Content_Length=content.size)
    elif first > last:
        return line.answer(416, Content_Range=f"bytes */{content.size}")
    else:
        line.head(206, Content_Length=last - first + 1, Content_Range=f"bytes {first}-{last}/{content.size}")
    for span in content.spans(first, last + 1):
        line.raw(span)
    return None


def _described(file: Made) -> dict[str, Any]:
    about = {"id": file.name, "name": file.name, "mimeType": file.mime_type, "version": "1"}
    about["modifiedTime"] = "2026-01-02T03:04:05Z"
    if file.mime_type == DOCUMENT:
        return about
    return {**about, "size": str(file.content.size), "sha256Checksum": file.content.sha256, "headRevisionId": "r1"}
