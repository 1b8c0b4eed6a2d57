"""Mail as programs save and export it."""

from __future__ import annotations

import base64
import html
import quopri
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

_LOOK = 'style="font-family:Calibri,Helvetica,sans-serif;font-size:11.0pt;margin:0cm"'


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message."""

    name: str
    mime_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """What is said, by whom and when."""

    sender: str
    to: str
    subject: str
    text: str
    sent: datetime
    attached: Sequence[Attachment] = ()


def message(letter: Letter, dice: random.Random) -> bytes:
    """A saved message: the way that it came, its text twice, and what is attached."""
    token, host = f"{dice.getrandbits(96):024x}", letter.sender.rpartition("@")[2]
    when = letter.sent.strftime("%a, %d %b %Y %H:%M:%S +0000")
    head = [
        f"Received: from {host} ([192.0.2.{dice.randint(1, 254)}]) by mx.post.example with ESMTPS id {token[:12]};",
        f"        {when}",
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={host}; s=mail;",
        f"        h=from:to:subject:date; b={base64.b64encode(dice.randbytes(128)).decode()}",
        f"From: {letter.sender}",
        f"To: {letter.to}",
        f"Subject: {_header(letter.subject)}",
        f"Date: {when}",
        f"Message-ID: <{token}@{host}>",
        "MIME-Version: 1.0",
    ]
    shown = "".join(f"<p {_LOOK}>{html.escape(line)}</p>\n" for line in letter.text.split("\n"))
    both = [_text("plain", letter.text), _text("html", f"<html><body>{shown}</body></html>")]
    body = _multipart("alternative", f"b1_{token}", both)
    if letter.attached:
        body = _multipart("mixed", f"b2_{token}", [body, *map(_file, letter.attached)])
    return "\r\n".join([*head, body.replace("\n", "\r\n")]).encode()


def mailbox(messages: Sequence[bytes], dice: random.Random) -> bytes:
    """Messages as an export puts them, one behind the other."""
    said = bytearray()
    for one in messages:
        said += f"From {dice.getrandbits(60)}@xxx Tue Jan 01 08:00:00 +0000 2019\n".encode()
        said += one.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ") + b"\n\n"
    return bytes(said)


def _multipart(kind: str, boundary: str, parts: Sequence[str]) -> str:
    inner = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n{inner}--{boundary}--\n'


def _text(kind: str, text: str) -> str:
    coded = quopri.encodestring(text.encode()).decode()
    return f"Content-Type: text/{kind}; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n{coded}"


def _file(one: Attachment) -> str:
    head = f'Content-Type: {one.mime_type}; name="{one.name}"\nContent-Disposition: attachment; filename="{one.name}"\n'
    return f"{head}Content-Transfer-Encoding: base64\n\n{base64.encodebytes(one.content).decode()}"


def _header(text: str) -> str:
    return text if text.isascii() else f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="
