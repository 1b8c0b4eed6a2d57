"""One request: who asks, what may be answered, and in which form."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import flask

from functions.dashboard.callers import calling, meant
from shared import log
from shared.adapters.postgres import Database, Transaction
from shared.config import Settings
from shared.domain.errors import BadRequest
from shared.doors import cookie_name

SESSION = "session"
SIGNED_OUT = "signed_out"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class Visit:
    """A request with what is needed to answer it."""

    request: flask.Request
    config: Settings
    database: Database

    @cached_property
    def session(self) -> bytes | None:
        """The name of the session that the cookie claims, or None without a cookie."""
        token = self.request.cookies.get(cookie_name(SESSION, self.config.dashboard_url), "")
        return digest(token) if token else None

    @cached_property
    def caller(self) -> str | None:
        """Another dashboard's service account that signed the request; None where nobody did. Raises `BadRequest`."""
        return calling(self.request, self.config)

    @cached_property
    def user_id(self) -> UUID | None:
        """Whose session it is, or whom a service speaks for; None for nobody. Nothing else says who somebody is."""
        if self.caller is not None:
            user_id = meant(self.request, self.database, self.caller)
        else:
            user_id = person_of(self.database, self.session)
        log.bind(user_id=user_id)
        return user_id

    def signed_in(self) -> UUID:
        """The person. Raises `BadRequest` (401) for nobody."""
        if self.user_id is None:
            raise BadRequest(
                "Please sign in: connect your Google Drive on the first page.", status=401, code=SIGNED_OUT
            )
        return self.user_id

    @contextmanager
    def mine(self) -> Iterator[Transaction]:
        """A transaction that sees this person's rows and nobody else's. Raises `BadRequest` (401) for nobody."""
        with self.database.transaction(self.signed_in()) as tx:
            yield tx

    @property
    def wants_page(self) -> bool:
        """Does a person read the answer in a browser? A program says nothing, or asks for JSON."""
        return self.request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"

    def refuse_other_sites(self) -> None:
        """A page of somebody else must not press our buttons. Raises `BadRequest` (403).

        Browsers say where a request comes from (https://www.w3.org/TR/fetch-metadata/), older ones in `Origin`; a
        program says neither, and cannot be tricked into sending somebody's cookie.
        """
        site, origin = self.request.headers.get("Sec-Fetch-Site"), self.request.headers.get("Origin")
        if site is not None:
            allowed = site in {"same-origin", "none"}
        else:
            allowed = origin is None or origin == origin_of(self.config.dashboard_url)
        if not allowed:
            raise BadRequest("This request comes from another site's page.", status=403, code="other_site")


def person_of(database: Database, session: bytes | None) -> UUID | None:
    """The person a session belongs to, as long as it lasts and they have not asked to be forgotten."""
    if session is None:
        return None
    with database.transaction(None) as tx:
        row = tx.row("person_of_session", session_hash=session)
    return row["user_id"] if row else None


def digest(secret: str) -> bytes:
    """What is stored of a code or a session."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def origin_of(address: str) -> str:
    """Scheme, host and port, as browsers write an origin."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def checked_id(text: str) -> str:
    """An id as Drive and we make them. Raises `BadRequest` for anything else."""
    if not _ID.fullmatch(text):
        raise BadRequest("This is not an id.", code="bad_id")
    return text


def as_json(payload: Any, status: int = 200, *, apart_from: Collection[str] = ()) -> flask.Response:
    """JSON with times in RFC 3339. An answer that differs from another one only in `apart_from` has the same ETag."""
    answer = flask.Response(_dumped(payload), status, mimetype="application/json")
    if apart_from:
        told = {name: payload[name] for name in payload if name not in apart_from}
        answer.set_etag(etag_of(told), weak=True)
    return answer


def etag_of(payload: Any) -> str:
    """A name of what is told, that is another one when it changes."""
    return hashlib.sha256(_dumped(payload).encode()).hexdigest()[:32]


def _dumped(payload: Any) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), default=plain)


def plain(value: object) -> str | int | float:
    """A value in its JSON form. Raises `TypeError` for one that has none."""
    match value:
        case int() | float() | str():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
