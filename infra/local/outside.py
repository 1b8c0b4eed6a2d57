"""Another Drive v3 server at `URL/drive/v3`, used with a refresh token that is exchanged at `URL/token`."""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from shared.adapters import oauth
from shared.adapters.drive import Drive
from shared.config import Settings

_CLIENT_ID, _CLIENT_SECRET = "local-client", "local-client-secret"


def drive_at(url: str, refresh_token: str, settings: Settings | None = None) -> Drive:
    """The Drive behind this address. Its access token is fetched when it is first needed."""
    url = url.rstrip("/")
    config = replace(
        settings or Settings(google_cloud_project="local", retry_base_seconds=0.2),
        drive_endpoint=url,
        oauth_token_url=f"{url}/token",
        oauth_client_id=_CLIENT_ID,
    )
    return Drive(config, Token(config, refresh_token))


class Token:
    """One access token for as long as the server takes it. Safe to share between threads."""

    def __init__(self, config: Settings, refresh_token: str) -> None:
        self._config, self._refresh_token = config, refresh_token
        self._lock = threading.Lock()
        self._token = ""
        self._got = float("-inf")

    def __call__(self, fresh: bool) -> str:
        """The token; with `fresh`, one that was given a moment ago at the earliest."""
        asked = time.monotonic()
        with self._lock:
            if not self._token or (fresh and self._got < asked):
                self._token = oauth.refresh(self._config, _CLIENT_SECRET, self._refresh_token).access_token
                self._got = time.monotonic()
            return self._token


def add_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """`--drive URL --token T`, which go together."""
    help_of_drive = "a Drive v3 server, at URL/drive/v3"
    parser.add_argument("--drive", metavar="URL", type=_address, required=required, help=help_of_drive)
    parser.add_argument("--token", metavar="T", required=required, help="a refresh token, exchanged at URL/token")


def _address(text: str) -> str:
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return text
    raise argparse.ArgumentTypeError(f"give an address such as http://127.0.0.1:9000, not {text!r}")
