"""Document AI on one machine: the REST door of an OCR processor, over pdfium and tesseract.

It serves `processors.process` and `processors.processorVersions.process` for raw documents, with Google's limits and
Google's errors. A PDF page's text layer is taken where it has one; other pages and pictures go through tesseract,
where it is installed.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import pypdfium2
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.ai.faults import Faults, Refusal, cut_short, delayed
from infra.local.serving import HttpServer

PAGES_ONLINE = 15
PAGES_IMAGELESS = 30
BYTES_ONLINE = 40 * 1024 * 1024
IMAGE_PIXELS = 40_000_000
IMAGE_TYPES = {"image/png", "image/jpeg", "image/tiff", "image/gif", "image/bmp", "image/webp"}
REWRITTEN = {"image/gif", "image/bmp", "image/webp"}
DPI = 250
RENDERED_PIXELS = 25_000_000
OCR_SECONDS = 120
NO_OCR = "OCR needs tesseract-ocr on this machine (Debian: apt-get install tesseract-ocr)"

# pdfium is not safe to use from two threads of one process, not even on two documents.
_PDFIUM = threading.Lock()


class DocumentAiServer:
    """An OCR processor on loopback. Counts `calls` and `pages`; `faults` knows the garbles `truncated_json` and
    `no_text`. `tesseract=None` looks for the program; an empty string is a machine without it."""

    def __init__(self, data: Path | None = None, *, tesseract: str | None = None) -> None:
        del data  # nothing is kept between starts
        self.faults = Faults()
        self.calls = 0
        self.pages = 0
        self._counting = threading.Lock()
        self._tesseract = shutil.which("tesseract") if tesseract is None else tesseract
        self._ocr_slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._http: HttpServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._http.port if self._http else 0

    def start(self, port: int = 0) -> None:
        """Serve on this port of 127.0.0.1, or on a free one."""
        base = "/v1/projects/{project}/locations/{location}/processors/"
        routes = [
            Route(base + "{processor}:process", self._process, methods=["POST"]),
            Route(base + "{processor}/processorVersions/{version}:process", self._process, methods=["POST"]),
        ]
        self._http = HttpServer(Starlette(routes=routes), port)
        self._http.start()

    def stop(self) -> None:
        """Stop serving; safe to call twice."""
        if self._http:
            self._http.stop()
        self._http = None

    async def _process(self, request: Request) -> Response:
        with self._counting:
            self.calls += 1
        try:
            fault = self.faults.take()
            body = await _json_of(request)
            answer = await run_in_threadpool(self._read, body)
        except Refusal as refusal:
            return refusal.response()
        if fault.get("garble") == "no_text":
            answer = {"document": {}}
        response: Response = JSONResponse(answer)
        if fault.get("garble") == "truncated_json":
            response = cut_short(bytes(response.body))
        return await delayed(fault, response)

    def _read(self, body: dict[str, Any]) -> dict[str, Any]:
        content, mime_type = _raw_document(body)
        if mime_type == "application/pdf":
            limit = PAGES_IMAGELESS if body.get("imagelessMode") else PAGES_ONLINE
            texts = self._pdf(content, limit)
        elif mime_type in IMAGE_TYPES:
            _check_pixels(content)
            texts = self._recognise(_for_tesseract(content, mime_type)).split("\f")
            texts = texts[:-1] if len(texts) > 1 and not texts[-1].strip() else texts
        else:
            raise Refusal("INVALID_ARGUMENT", f"Unsupported input file format: {mime_type}.")
        with self._counting:
            self.pages += len(texts)
        return {"document": _masked(_document(texts, mime_type), str(body.get("fieldMask", "")))}

    def _pdf(self, content: bytes, limit: int) -> list[str]:
        layers, pictures = _pages(content, limit)
        return [layer or self._recognise(pictures[index]) for index, layer in enumerate(layers)]

    def _recognise(self, picture: bytes) -> str:
        """The text of one picture file; tesseract reads and writes pipes only."""
        if not self._tesseract:
            raise Refusal("FAILED_PRECONDITION", NO_OCR)
        with self._ocr_slots:
            try:
                done = subprocess.run(
                    [self._tesseract, "-", "-", "--dpi", str(DPI)],
                    input=picture,
                    capture_output=True,
                    timeout=OCR_SECONDS,
                    check=False,
                    env={**os.environ, "OMP_THREAD_LIMIT": "1"},
                )
            except subprocess.TimeoutExpired:
                raise Refusal("DEADLINE_EXCEEDED", "Recognising a page took too long.") from None
        if done.returncode != 0:
            raise Refusal("INVALID_ARGUMENT", "The image cannot be decoded: it is broken or of an unsupported kind.")
        return done.stdout.decode("utf-8", "replace")


async def _json_of(request: Request) -> dict[str, Any]:
    """The body, refused before it is held where it cannot be a document within the limit."""
    received = bytearray()
    async for piece in request.stream():
        received += piece
        if len(received) > BYTES_ONLINE * 4 // 3 + 100_000:
            raise Refusal("INVALID_ARGUMENT", "Request payload size exceeds the limit of 40 MB.")
    try:
        body = json.loads(received)
    except ValueError:
        raise Refusal("INVALID_ARGUMENT", "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise Refusal("INVALID_ARGUMENT", "Invalid JSON payload received.")
    return body


def _raw_document(body: dict[str, Any]) -> tuple[bytes, str]:
    raw = body.get("rawDocument")
    if not isinstance(raw, dict):
        raise Refusal("INVALID_ARGUMENT", "This machine processes raw documents only.")
    try:
        content = base64.b64decode(raw.get("content", ""), validate=False)
    except (binascii.Error, TypeError, ValueError):
        raise Refusal("INVALID_ARGUMENT", "rawDocument.content is not base64.") from None
    if not content:
        raise Refusal("INVALID_ARGUMENT", "The document is empty.")
    if len(content) > BYTES_ONLINE:
        raise Refusal("INVALID_ARGUMENT", "Document size exceeds the limit of 40 MB.")
    return content, str(raw.get("mimeType", ""))


def _pages(content: bytes, limit: int) -> tuple[list[str], dict[int, bytes]]:
    """Each page's text layer, and a picture (PGM) of each page that has none, by page index."""
    layers: list[str] = []
    pictures: dict[int, bytes] = {}
    with _PDFIUM:
        try:
            with pypdfium2.PdfDocument(content) as document:
                if len(document) > limit:
                    raise Refusal(
                        "INVALID_ARGUMENT",
                        f"Document pages exceed the limit: {limit} got {len(document)}",
                        reason="PAGE_LIMIT_EXCEEDED",
                    )
                for index in range(len(document)):
                    page = document[index]
                    layers.append(page.get_textpage().get_text_bounded().strip())
                    if not layers[-1]:
                        pictures[index] = _picture(page)
        except pypdfium2.PdfiumError as fault:
            raise Refusal("INVALID_ARGUMENT", f"The PDF cannot be read: {fault}") from None
    return layers, pictures


def _picture(page: pypdfium2.PdfPage) -> bytes:
    width, height = page.get_size()
    scale = min(DPI / 72, math.sqrt(RENDERED_PIXELS / max(1.0, width * height)))
    bitmap = page.render(scale=scale, grayscale=True)
    pixels = memoryview(bitmap.buffer).cast("B")
    rows = b"".join(pixels[y * bitmap.stride : y * bitmap.stride + bitmap.width] for y in range(bitmap.height))
    return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + rows


def _check_pixels(content: bytes) -> None:
    """Google refuses pictures above 40 megapixels; PNG says its size at a fixed place, which is enough here."""
    if content.startswith(b"\x89PNG") and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        if width * height > IMAGE_PIXELS:
            raise Refusal("INVALID_ARGUMENT", f"Image size of {width}x{height} exceeds the limit of 40 megapixels.")


def _for_tesseract(content: bytes, mime_type: str) -> bytes:
    """Not every tesseract was built to read these; PNG all of them read."""
    if mime_type not in REWRITTEN:
        return content
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=["GIF", "BMP", "WEBP"]) as picture:
            picture.convert("RGB").save(out, "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise Refusal("INVALID_ARGUMENT", "The image cannot be decoded.") from None
    return out.getvalue()


def _document(texts: list[str], mime_type: str) -> dict[str, Any]:
    pages, text = [], ""
    for number, page in enumerate(texts, 1):
        start = len(text)
        text += page.rstrip() + "\n"
        segment = {"startIndex": str(start), "endIndex": str(len(text))}
        pages.append({"pageNumber": number, "layout": {"textAnchor": {"textSegments": [segment]}, "confidence": 0.9}})
    return {"mimeType": mime_type, "text": text, "pages": pages}


def _masked(document: dict[str, Any], mask: str) -> dict[str, Any]:
    """Only the fields of the mask: top-level ones, or `pages.x`."""
    if not mask:
        return document
    wanted = [path.strip() for path in mask.split(",")]
    masked = {name: value for name, value in document.items() if name in wanted}
    of_pages = [_camel(path.removeprefix("pages.").split(".")[0]) for path in wanted if path.startswith("pages.")]
    if of_pages and "pages" not in wanted:
        masked["pages"] = [{name: page[name] for name in of_pages if name in page} for page in document["pages"]]
    return masked


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
