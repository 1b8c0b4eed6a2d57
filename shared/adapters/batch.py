"""Many small requests in one: Google's batch format, `multipart/mixed` of whole HTTP requests and answers.

https://developers.google.com/workspace/drive/api/guides/performance#batch-requests: at most 100 calls, each counted by
itself, and none for the bytes of files.
"""

from __future__ import annotations

import email
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import NamedTuple
from uuid import uuid4

from shared.adapters.transport import Answer, Headers

MOST = 100  # calls in one batch


class Inner(NamedTuple):
    """One GET of a batch: path and query without the server's name."""

    target: str
    headers: Mapping[str, str]


def encode(calls: Sequence[Inner]) -> tuple[str, bytes]:
    """Content type and body of a batch of these calls. Each is named by its place."""
    boundary = f"batch_{uuid4().hex}"
    parts = []
    for place, call in enumerate(calls):
        lines = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        parts.append(
            f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
            f"Content-ID: <{place}>\r\n\r\nGET {call.target} HTTP/1.1\r\n{lines}\r\n\r\n"
        )
    return f"multipart/mixed; boundary={boundary}", ("".join(parts) + f"--{boundary}--\r\n").encode()


def decode(answer: Answer) -> dict[int, Answer]:
    """The answers by the places of their calls; one that cannot be read is left out. Raises ValueError where the
    whole is no batch."""
    kind = answer.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/mixed"):
        raise ValueError("Not an answer to a batch")
    whole = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode("latin-1", "replace") + answer.body)
    found: dict[int, Answer] = {}
    for part in whole.get_payload() if whole.is_multipart() else ():
        if isinstance(part, Message):
            place = _place(str(part.get("Content-ID", "")))
            inner = _inner(part)
            if place is not None and inner is not None:
                found[place] = inner
    return found


def _place(content_id: str) -> int | None:
    digits = content_id.strip().removeprefix("<").removesuffix(">").removeprefix("response-")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _inner(part: Message) -> Answer | None:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return None
    head, _, rest = payload.lstrip().partition(b"\n")
    words = head.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None
    lines, blank, body = _split(rest)
    headers: Headers = {name.lower(): value for name, value in email.message_from_bytes(lines).items()}
    return Answer(int(words[1]), headers, body) if blank else None


def _split(rest: bytes) -> tuple[bytes, bytes, bytes]:
    """Header lines and body of an answer, whichever way its lines end."""
    if rest.startswith((b"\r\n", b"\n")):
        return b"", b"\n", rest.partition(b"\n")[2]
    crlf, lf = rest.find(b"\r\n\r\n"), rest.find(b"\n\n")
    return rest.partition(b"\r\n\r\n" if lf < 0 or 0 <= crlf < lf else b"\n\n")
