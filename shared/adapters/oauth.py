"""Google's OAuth 2.0 and OpenID Connect: consent, tokens, and who somebody is.

No token, code or secret ever becomes part of a message or a URL here. What an error of the token endpoint means is
said in one place, `_classify`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from shared.adapters.transport import Answer, Patience, ask, retry_after
from shared.config import Settings
from shared.domain.errors import BadRequest, ReconnectNeeded, Unavailable

DRIVE_READONLY = "https://www.googleapis.com/auth/drive.readonly"
SCOPES = ("openid", "email", "profile", DRIVE_READONLY)
_NEEDED = ("openid", DRIVE_READONLY)
_ALSO_GRANTED_BY = {DRIVE_READONLY: ("https://www.googleapis.com/auth/drive",)}  # all of Drive includes reading it
_CLOCK_SKEW = 10  # seconds
_CERTS_SECONDS = 3600.0
_CERTS_AGAIN = 60.0  # seconds before an unknown key makes us look again
_MAX_AGE = re.compile(r"max-age=(\d+)")


class OAuthMisconfigured(Exception):
    """Google does not accept this app's client id, secret or redirect address: an operator must correct them."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What Google gave. `refresh_token` None means: keep the one you have. `expires_in` is in seconds, and so is
    `refresh_expires_in`, which only a grant has that Google ends by itself, such as that of an app in testing."""

    access_token: str
    expires_in: int
    refresh_token: str | None
    scopes: frozenset[str]
    id_token: str | None
    refresh_expires_in: int | None = None

    def __repr__(self) -> str:
        return f"Grant(expires_in={self.expires_in}, scopes={sorted(self.scopes)})"


def challenge_of(verifier: str) -> str:
    """The S256 code challenge of a PKCE verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorize_url(settings: Settings, state: str, nonce: str, challenge: str, login_hint: str | None = None) -> str:
    """Where a person consents. `prompt=consent` because only then Google gives a refresh token every time."""
    query = {
        "client_id": settings.oauth_client_id,
        "redirect_uri": settings.redirect_uri,
        "response_type": "code",
        "scope": " ".join(SCOPES),
        "access_type": "offline",
        "prompt": "consent",
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if login_hint:
        query["login_hint"] = login_hint
    return f"{settings.oauth_authorize_url}?{urlencode(query)}"


def missing_scopes(granted: Iterable[str]) -> frozenset[str]:
    """What nothing works without and was not granted. A person may untick reading Drive; the answer's scopes are
    the truth. A missing name or e-mail address is no reason to turn somebody away."""
    have = frozenset(granted)
    return frozenset(scope for scope in _NEEDED if not have & {scope, *_ALSO_GRANTED_BY.get(scope, ())})


def consent_refused(error: str) -> BadRequest:
    """The sentence for an `error` that Google sends to the redirect address instead of a code."""
    sentences = {
        "access_denied": "You did not allow access, so nothing was connected. You can try again at any time.",
        "admin_policy_enforced": "Your organisation does not allow this app. Ask its administrator.",
        "org_internal": "This app is open to one organisation only, and this account is not of it.",
        "temporarily_unavailable": "Google cannot connect accounts at the moment. Please try again later.",
    }
    code = error if error in sentences else "consent_refused"
    return BadRequest(sentences.get(error, "Google did not connect this account. Please try again."), code=code)


def limited(ends: datetime) -> str:
    """The warning for a grant that Google ends by itself."""
    day = f"{ends.day} {ends:%B %Y, %H:%M} UTC"
    return f"Google ends this connection on {day}, as it does while an app is in testing. Connect again before then."


def limit_reached() -> ReconnectNeeded:
    """The refusal of a grant whose time was limited from the beginning."""
    return ReconnectNeeded(
        "Google had limited this connection in time, as it does while an app is in testing, and the time is over. "
        "Connect again to go on.",
        code="grant_expired",
    )


def exchange_code(settings: Settings, client_secret: str, code: str, verifier: str) -> Grant:
    """A code for tokens, once. Raises `BadRequest` for a code that is wrong, old or used: start again."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": settings.redirect_uri,
        "client_id": settings.oauth_client_id,
        "client_secret": client_secret,
    }
    # Not repeated: a code is good for one use, and a lost answer may have used it.
    try:
        return _grant(_post(settings, settings.oauth_token_url, form))
    except ReconnectNeeded as error:
        raise BadRequest("This sign-in is too old or was used already. Please start again.", code=error.code) from error


def refresh(settings: Settings, client_secret: str, refresh_token: str) -> Grant:
    """A fresh access token. Raises `ReconnectNeeded` when the grant has ended, however it ended."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": settings.oauth_client_id,
        "client_secret": client_secret,
    }
    return _grant(_patiently(settings, form))


def revoke(settings: Settings, token: str) -> None:
    """End a grant, with all its tokens. One that has ended already is ended."""
    try:
        _post(settings, settings.oauth_revoke_url, {"token": token})
    except ReconnectNeeded:
        return


def verify_id_token(settings: Settings, id_token: str, audience: str, nonce: str | None = None) -> dict[str, Any]:
    """The claims of an id token that Google signed for `audience`. Raises `BadRequest` (403) for any other."""
    claims = _verified(settings, id_token, audience, settings.oauth_certs_url, settings.oauth_issuer)
    if nonce is not None and claims.get("nonce") != nonce:
        raise _forbidden()
    return claims


def _verified(settings: Settings, id_token: str, audience: str, certs_url: str, issuer: str) -> dict[str, Any]:
    from google.auth import exceptions, jwt

    if not audience:
        raise OAuthMisconfigured("No audience is set, so no id token can be accepted.")
    certs = _certs(certs_url)
    try:
        key_id = jwt.decode_header(id_token).get("kid")  # type: ignore[no-untyped-call]
        claims: dict[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
            id_token, certs=certs.get(settings, key_id), audience=audience, clock_skew_in_seconds=_CLOCK_SKEW
        )
    except (ValueError, TypeError, AttributeError, exceptions.GoogleAuthError) as error:
        raise _forbidden() from error
    if claims.get("iss") not in {issuer, "https://accounts.google.com", "accounts.google.com"}:
        raise _forbidden()
    return claims


def verify_push_token(settings: Settings, bearer: str) -> None:
    """Accept a message only from our own push service account. Raises `BadRequest` (403) for anybody else."""
    if not settings.push_service_account:
        raise OAuthMisconfigured("PUSH_SERVICE_ACCOUNT is not set, so no push can be accepted.")
    token = bearer.removeprefix("Bearer ").strip()
    claims = _verified(settings, token, settings.push_audience, settings.push_certs_url, settings.push_issuer)
    if claims.get("email") != settings.push_service_account or claims.get("email_verified") is not True:
        raise _forbidden()


def verify_service_token(settings: Settings, bearer: str, audience: str) -> str:
    """The service account that calls, by Google's id token for `audience`. Raises `BadRequest` (403) for anybody who
    is no service account; whether it may call at all is for the caller of this to say."""
    token = bearer.removeprefix("Bearer ").strip()
    claims = _verified(settings, token, audience, settings.push_certs_url, settings.push_issuer)
    email = claims.get("email")
    if not isinstance(email, str) or claims.get("email_verified") is not True:
        raise _forbidden()
    return email


def _forbidden() -> BadRequest:
    return BadRequest("This caller is not allowed here.", status=403, code="forbidden")


class _Certs:
    """Google's signing keys, kept as long as Google says, looked up again when an unknown key turns up."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._certs: Mapping[str, str] = {}
        self._fetched = float("-inf")
        self._expires = float("-inf")

    def get(self, settings: Settings, key_id: str | None) -> Mapping[str, str]:
        with self._lock:
            now = time.monotonic()
            unknown = key_id not in self._certs and now - self._fetched > _CERTS_AGAIN
            if now >= self._expires or unknown:
                self._fetch(settings, now)
            return self._certs

    def _fetch(self, settings: Settings, now: float) -> None:
        answer = ask(settings, "GET", self._url, headers={"Accept": "application/json"})
        certs = _json(answer)
        if answer.status != 200 or not certs or not all(isinstance(pem, str) for pem in certs.values()):
            raise Unavailable("Google's signing keys are not available at the moment.")
        age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        self._certs, self._fetched = certs, now
        self._expires = now + min(float(age.group(1)) if age else _CERTS_SECONDS, 24 * _CERTS_SECONDS)


@cache
def _certs(url: str) -> _Certs:
    return _Certs(url)


def _patiently(settings: Settings, form: Mapping[str, str]) -> dict[str, Any]:
    patience = Patience(settings.retry_base_seconds, tries=2)
    while True:
        try:
            return _post(settings, settings.oauth_token_url, form)
        except Unavailable as error:
            patience.wait(error)


def _post(settings: Settings, url: str, form: Mapping[str, str]) -> dict[str, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = ask(settings, "POST", url, headers=headers, body=urlencode(form).encode())
    if answer.status != 200:
        raise _classify(answer)
    return _json(answer)


def _classify(answer: Answer) -> Exception:
    """What an error of the token or revocation endpoint means."""
    error = _json(answer).get("error")
    code = error if isinstance(error, str) else ""
    if answer.status in (408, 429) or answer.status >= 500 or code in _PASSING:
        return Unavailable("Google cannot renew access at the moment.", retry_after=retry_after(answer.headers))
    if code in _ENDED:
        return ReconnectNeeded(_ENDED[code], code=code)
    # Only words that OAuth knows are repeated: an answer may quote what it was sent.
    said = code if code in _OURS else f"status {answer.status}"
    return OAuthMisconfigured(f"Google does not accept this app itself ({said}). Check its id, secret and address.")


_PASSING = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})
_AGAIN = "Google no longer accepts this connection. Please connect again."
_ADMIN = "Your organisation does not allow this app. Ask its administrator, then connect again."
# Google says the same word for all of these, so the sentence names what is likely.
_LIKELY = (
    "Google no longer accepts this connection. Usually it was removed in the Google account, lay unused for six "
    "months, was pushed out by a hundred newer ones, or ended with a change of password. Please connect again."
)
_ENDED = {
    "invalid_grant": _LIKELY,
    "invalid_token": _AGAIN,
    "access_denied": _AGAIN,
    "invalid_scope": _AGAIN,
    "invalid_rapt": _AGAIN,
    "admin_policy_enforced": _ADMIN,
    "org_internal": _ADMIN,
}
_OURS = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "invalid_request",
        "redirect_uri_mismatch",
        "unsupported_grant_type",
        "unsupported_token_type",
    }
)


def _json(answer: Answer) -> dict[str, Any]:
    try:
        content = json.loads(answer.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _grant(answer: Mapping[str, Any]) -> Grant:
    if not isinstance(answer.get("access_token"), str):
        raise Unavailable("Google's answer holds no access token.", code="bad_answer")
    scope = answer.get("scope")
    return Grant(
        access_token=answer["access_token"],
        expires_in=int(answer.get("expires_in") or 3600),
        refresh_token=answer.get("refresh_token") or None,
        # RFC 6749 5.1: an answer without scopes grants what was asked for.
        scopes=frozenset(scope.split()) if isinstance(scope, str) else frozenset(SCOPES),
        id_token=answer.get("id_token") or None,
        refresh_expires_in=int(answer.get("refresh_token_expires_in") or 0) or None,
    )
