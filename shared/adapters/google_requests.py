"""Plain authorised requests to Google's REST doors: JSON out, JSON back.

A generated client costs a start up to three seconds and a hundred megabytes for what is one POST; see
docs/decisions/20261127-plain-requests-at-a-start.md. What an error means is said by `google_calls`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from shared.adapters.google_calls import CLOUD_PLATFORM, reached, refusal

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession

TOKEN_SECONDS = 20.0

# Sessions may share credentials; the first that finds the token too old gets the new one for all.
_renewing = threading.Lock()


class GoogleRequests:
    """Requests to one service, a name for people. Safe to share between threads."""

    def __init__(self, service: str, credentials: Credentials | None = None) -> None:
        self._service = service
        self._credentials = credentials
        self._idle: deque[AuthorizedSession] = deque()

    def ask(self, method: str, url: str, *, timeout: float, body: Any = None) -> bytes:
        """The content of the answer to one request. `timeout` is in seconds. Raises as `google_calls.refusal` says for
        every answer but 200. A redirect is not followed: it would carry the body to an address that nobody chose."""
        with reached(self._service), self._session() as session:
            response = session.request(  # type: ignore[no-untyped-call]
                method, url, json=body, timeout=timeout, allow_redirects=False
            )
        if response.status_code != 200:
            raise refusal(self._service, response)
        return bytes(response.content)

    @contextmanager
    def _session(self) -> Iterator[AuthorizedSession]:
        """A session that nobody else uses meanwhile, with a token that is still good."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._new_session()
        try:
            _renew(session.credentials)
            yield session
        finally:
            self._idle.append(session)

    def _new_session(self) -> AuthorizedSession:
        from google.auth.transport.requests import AuthorizedSession

        with _renewing:
            return AuthorizedSession(self._credentials or default_credentials())  # type: ignore[no-untyped-call]


@cache
def default_credentials() -> Credentials:
    """The credentials of this process, found on first use."""
    import google.auth

    found, _ = google.auth.default(scopes=CLOUD_PLATFORM)
    return found


def access_token() -> str:
    """A token of this process that is still good. Raises `Unavailable` where Google gives none."""
    with reached("Google"):
        credentials = default_credentials()
        _renew(credentials)
    return str(credentials.token)


def _renew(credentials: Credentials) -> None:
    from google.auth.transport.requests import Request

    with _renewing:
        if not credentials.valid:
            credentials.refresh(partial(Request(), timeout=TOKEN_SECONDS))  # type: ignore[no-untyped-call]
