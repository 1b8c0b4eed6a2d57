"""The local Google: one server for Drive v3, OAuth and OpenID Connect over a folder."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from infra.local.google import drive, folder, oauth, push
from infra.local.google.faults import Faults
from infra.local.google.keys import Keys, service_account_file, write_private
from infra.local.google.layout import LayoutError, read_layout
from infra.local.google.oauth import Client, OAuth
from infra.local.google.pages import OpenPages, message_page
from infra.local.google.resources import Resources
from infra.local.google.store import Store
from infra.local.google.wire import DriveWire
from infra.local.serving import HttpServer

SCOPES = "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/drive.readonly"
# Scanning may take this share of one core: a big folder is looked at less often.
_SCAN_SHARE = 0.1


class GoogleServer:
    """Serves `folder` as a Drive. What it must remember lives in `data`; the folder is only read, without what is
    `hidden` in it."""

    def __init__(
        self,
        folder: Path,
        data: Path,
        *,
        approve: bool = False,
        client_id: str = "local-client",
        client_secret: str = "local-client-secret",  # noqa: S107 - of the local Google only
        redirect_uris: list[str] | None = None,
        scan_seconds: float = 0.5,
        access_seconds: float = 3600.0,
        faults: Faults | None = None,
        hidden: Iterable[Path] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.data = data.resolve()
        self._hidden = [self.data, *hidden]
        self.faults = faults or Faults()
        self.redirect_uris = [] if redirect_uris is None else redirect_uris
        self._client = Client(client_id, client_secret, self.redirect_uris)
        self._approve = approve
        self._scan_seconds = scan_seconds
        self._access_seconds = access_seconds
        self._stopping = threading.Event()
        self._scanner: threading.Thread | None = None
        self._server: HttpServer | None = None
        self._started = False

    # The life of the server

    def start(self, port: int = 0) -> None:
        """Read the folder, take up where the last run ended, and serve. Raises `LayoutError` or OSError."""
        if not self.folder.is_dir():
            raise LayoutError(f"{self.folder} is not a folder; name one that exists")
        read_layout(self.folder)
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._store = Store(self.data / "drive.sqlite", folder.SCHEMA + push.SCHEMA + drive.SCHEMA)
        self._tokens = Store(self.data / "oauth.sqlite", oauth.SCHEMA)
        self.keys = Keys(self.data, self.faults.now)
        self._push = push.Push(self._store, self.faults)
        self.index = folder.FolderDrive(self.folder, self._store, self.faults.now, self._push.wake, self._hidden)
        self.index.scan()
        self._server = HttpServer(self._app(), port)
        self._server.start()
        self._stopping.clear()
        self._push.start()
        self._scanner = threading.Thread(target=self._scan_for_ever, name="drive-scan", daemon=True)
        self._scanner.start()
        service_account_file(self.data / "service-account.json", self.keys, self.url + "/token")

    def stop(self) -> None:
        """Stop serving, scanning and sending; safe to call twice."""
        self._stopping.set()
        server, self._server = self._server, None
        if server is None:
            return
        server.stop()
        if self._scanner is not None:
            self._scanner.join(timeout=10)
        self._push.close()
        self._store.close()
        self._tokens.close()

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 that is served, once started."""
        return self._server.port if self._server else 0

    @property
    def url(self) -> str:
        """The server's address, once started."""
        return self._server.url if self._server else ""

    # What points the functions here

    def settings(self) -> dict[str, str]:
        """Environment values that make the functions use this Google."""
        return {
            "DRIVE_ENDPOINT": self.url,
            "OAUTH_CLIENT_ID": self._client.id,
            "OAUTH_AUTHORIZE_URL": self.url + "/o/oauth2/v2/auth",
            "OAUTH_TOKEN_URL": self.url + "/token",
            "OAUTH_REVOKE_URL": self.url + "/revoke",
            "OAUTH_CERTS_URL": self.url + "/oauth2/v1/certs",
            "OAUTH_ISSUER": self.url,
            "PUSH_CERTS_URL": self.url + "/oauth2/v1/certs",
            "PUSH_ISSUER": self.url,
        }

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT of this Google, such as Pub/Sub puts on a push; `iss`, `iat` and `exp` are filled in."""
        return self.keys.sign(claims, self.url)

    def service_account_file(self) -> Path:
        """A key file for GOOGLE_APPLICATION_CREDENTIALS; its tokens come from this server."""
        return self.data / "service-account.json"

    # What tests do to people and files

    def grant(self, email: str, scopes: str = SCOPES) -> dict[str, Any]:
        """Tokens as after a consent of this person. Raises KeyError for somebody unknown."""
        person = self.index.layout.person(email)
        if person is None:
            raise KeyError(email)
        return self._oauth.grant(person, scopes)

    def revoke(self, email: str) -> None:
        """The person removes the app in their Google account: every token dies."""
        self._oauth.revoke_person(email)

    def expire_access_tokens(self) -> None:
        """Every access token dies; refresh tokens stay."""
        self._oauth.expire_access_tokens()

    def scan(self) -> bool:
        """Look at the folder now; returns whether anything changed."""
        return self.index.scan()

    def id_of(self, path: str) -> str:
        """The id of a file by its path in the folder. Raises KeyError."""
        for item in self.index.items():
            if item.path == path:
                return item.id
        raise KeyError(path)

    def trash(self, file_id: str) -> None:
        """Move to the trash."""
        self.index.edit(file_id, trashed=True)

    def untrash(self, file_id: str) -> None:
        """Take out of the trash."""
        self.index.edit(file_id, trashed=None)

    def share(self, file_id: str, *emails: str) -> None:
        """Share with these people and nobody else; with nobody: take back."""
        self.index.edit(file_id, shared_with=list(emails) or None)

    def edit(self, file_id: str, **overrides: Any) -> None:
        """Say what `.drive.json` could: name, starred, can_download, link_shared, mime_type, description;
        None takes it back."""
        self.index.edit(file_id, **overrides)

    def delete(self, file_id: str) -> None:
        """Delete for good, on disk."""
        self.index.delete(file_id)

    # Inside

    def _app(self) -> Any:
        secret = self._link_secret()
        resources = Resources(self.index, lambda: self.url, secret)
        api = drive.DriveApi(self.index, self._push, resources, self._store, self.faults, lambda: self.url)
        self._oauth = OAuth(
            self._tokens,
            self.keys,
            self._client,
            lambda: self.index.layout,
            self.faults,
            lambda: self.url,
            approve=self._approve,
            access_seconds=self._access_seconds,
        )
        wire = DriveWire(api, self.index, self._oauth, self.faults)
        pages = OpenPages(self.index, resources.open_key)
        site = Starlette(routes=[Route("/", _home), *self._oauth.routes(), *pages.routes()])

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # Drive gets uvicorn's own `send`: only that one can hand a file to the kernel.
            chosen = wire if scope["type"] == "http" and wire.serves(scope["path"]) else site
            await chosen(scope, receive, send)

        return app

    def _link_secret(self) -> bytes:
        path = self.data / "link-secret"
        if not path.exists():
            write_private(path, secrets.token_bytes(32))
        return path.read_bytes()

    def _scan_for_ever(self) -> None:
        pause = self._scan_seconds
        while not self._stopping.wait(pause):
            began = time.thread_time()
            if not self.index.scan():
                # A look that found something costs more; it must not make the next one late.
                pause = max(self._scan_seconds, (time.thread_time() - began) / _SCAN_SHARE)
            self.index.hash_some(0.05)


async def _home(_: Request) -> Response:
    return message_page("The local Google", "This server stands in for Google Drive and Google sign-in.", 200)
