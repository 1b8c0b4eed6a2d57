"""The file of an OAuth client, as Google's console offers it for download (`client_secret_….json`).

"installed", a desktop app, may have people sent back to any port of their own machine (RFC 8252, 7.3,
https://developers.google.com/identity/protocols/oauth2/native-app); "web" only to an address that is registered with
it. What the file holds is never repeated in a sentence, but for addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLE = "http://127.0.0.1:8090/callback"
_LARGEST = 64 * 1024
_ID = re.compile(r"[\w.-]+", re.ASCII)
_PAGE = r"(?:/[\w./-]*)?"
_AT_GOOGLE = re.compile(rf"https://(?:accounts\.google\.com|(?:oauth2|www)\.googleapis\.com){_PAGE}", re.ASCII)
_ON_LOOPBACK = re.compile(rf"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?{_PAGE}", re.ASCII)
_CALLBACK = re.compile(r"(http://(?:127\.0\.0\.1|localhost):([1-9]\d{0,4}))/callback", re.ASCII)
_SETTINGS = {
    "auth_uri": "OAUTH_AUTHORIZE_URL",
    "token_uri": "OAUTH_TOKEN_URL",
    "auth_provider_x509_cert_url": "OAUTH_CERTS_URL",
}


class ClientFileError(Exception):
    """The file cannot be used; the message says in one sentence what to do."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Who we are at Google. `door` is the address on this machine that people are sent back to, without "/callback",
    and `port` its port; empty and 0 where any will do. `addresses` are settings that the file has instead of Google's
    own."""

    id: str
    secret: str = field(repr=False)
    door: str = ""
    port: int = 0
    addresses: Mapping[str, str] = field(default_factory=dict)


def read_client(path: Path, *, taken: int) -> OAuthClient:
    """The client in this file. `taken` is a port that people cannot be sent back to. Raises `ClientFileError`."""
    kind, said = _content(path)
    client_id, secret = said.get("client_id"), said.get("client_secret")
    if not isinstance(client_id, str) or not _ID.fullmatch(client_id):
        raise ClientFileError(f"{path} lacks a client_id: download the OAuth client's file again")
    if not isinstance(secret, str) or not secret:
        raise ClientFileError(
            f"{path} lacks the client_secret, which Google gives to desktop and web apps only, and only once: "
            "make a new client (or a new secret) in Google's console and download its file"
        )
    door, port = _door(path, said.get("redirect_uris"), taken) if kind == "web" else ("", 0)
    addresses = {
        setting: address
        for name, setting in _SETTINGS.items()
        if (address := _elsewhere(path, name, said.get(name))) is not None
    }
    return OAuthClient(client_id, secret, door, port, addresses)


def _content(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LARGEST))
    except OSError as error:
        raise ClientFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        content = None  # and not its words: they may be secret
    for kind in ("installed", "web"):
        if isinstance(content, dict) and isinstance(content.get(kind), dict):
            return kind, content[kind]
    what = content.get("type") if isinstance(content, dict) else None
    known = {"service_account": "the key of a service account", "authorized_user": "the credentials of a person"}
    raise ClientFileError(
        f"{path} is {known.get(str(what), 'not the file of an OAuth client')}: make an OAuth client of the type "
        "'Desktop app' in Google's console, and give the JSON file that it offers for download"
    )


def _door(path: Path, registered: Any, taken: int) -> tuple[str, int]:
    """Where a web client's people come back to."""
    addresses = [one for one in registered if isinstance(one, str)] if isinstance(registered, list) else []
    doors = [(match[1], int(match[2])) for one in addresses if (match := _CALLBACK.fullmatch(one))]
    for door, port in doors:
        if port != taken and port <= 65535:
            return door, port
    if any(port == taken for _, port in doors):
        raise ClientFileError(
            f"port {taken}, to which the client in {path} has people sent back, is the dashboard's: give the dashboard "
            "another one with --port"
        )
    raise ClientFileError(
        f"the web client in {path} has no redirect URI on this machine: add one such as {EXAMPLE} to it in Google's "
        "console, and to the file's redirect_uris"
    )


def _elsewhere(path: Path, name: str, address: Any) -> str | None:
    """An address on this machine that stands for Google's; None for Google's own, whose newest the settings have."""
    if address is None or (isinstance(address, str) and _AT_GOOGLE.fullmatch(address)):
        return None
    if isinstance(address, str) and _ON_LOOPBACK.fullmatch(address):
        return address
    raise ClientFileError(
        f"the {name} in {path} is neither Google's nor on this machine, and secrets go nowhere else: download the file "
        "again from Google's console"
    )
