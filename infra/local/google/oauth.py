"""OAuth 2.0 and OpenID Connect for test people: consent page, codes, tokens, revocation, keys.

Everything that was granted lives in SQLite as hashes, so that it survives a kill and a copy of the file opens nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from google.auth import exceptions as google_exceptions
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.google.faults import Faults
from infra.local.google.keys import SERVICE_ACCOUNT, Keys
from infra.local.google.layout import Layout, Person
from infra.local.google.pages import DRIVE_SCOPES, consent_page, message_page, page_headers
from infra.local.google.store import Store
from infra.local.google.wire import Identity

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (ticket TEXT PRIMARY KEY, body TEXT NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
  code TEXT PRIMARY KEY, body TEXT NOT NULL, expires REAL NOT NULL, grant_id TEXT);
CREATE TABLE IF NOT EXISTS grants (
  id TEXT PRIMARY KEY, client TEXT NOT NULL, email TEXT NOT NULL, scopes TEXT NOT NULL, created REAL NOT NULL,
  refresh TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS access (
  token TEXT PRIMARY KEY, grant_id TEXT, client TEXT NOT NULL, email TEXT NOT NULL, scopes TEXT NOT NULL,
  expires REAL NOT NULL);
"""
_CODE_SECONDS = 600
_REQUEST_SECONDS = 3600
_REFRESH_LIMIT = 100
_BODY_LIMIT = 64 * 1024
_ALIASES = {
    "email": "https://www.googleapis.com/auth/userinfo.email",
    "profile": "https://www.googleapis.com/auth/userinfo.profile",
}
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Client:
    """The one OAuth client that is registered here."""

    id: str
    secret: str
    redirect_uris: list[str]


class OAuthError(Exception):
    """An answer of the token endpoint that is an error."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


class OAuth:
    """The authorization server."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        client: Client,
        layout: Callable[[], Layout],
        faults: Faults,
        url: Callable[[], str],
        *,
        approve: bool,
        access_seconds: float = 3600.0,
    ) -> None:
        self._store = store
        self._keys = keys
        self._client = client
        self._layout = layout
        self._faults = faults
        self._url = url
        self._approve = approve
        self.access_seconds = access_seconds
        self.refresh_seconds: float | None = None  # set for an app in testing, whose grants Google ends by itself

    def routes(self) -> list[Route]:
        """Where Google has them, under one host."""
        return [
            Route("/o/oauth2/v2/auth", self._authorize, methods=["GET"]),
            Route("/o/oauth2/v2/consent", self._decide, methods=["POST"]),
            Route("/token", self._token, methods=["POST"]),
            Route("/revoke", self._revoke, methods=["POST"]),
            Route("/oauth2/v1/certs", self._certs, methods=["GET"]),
            Route("/v1/userinfo", self._userinfo, methods=["GET", "POST"]),
            Route("/.well-known/openid-configuration", self._configuration, methods=["GET"]),
        ]

    # What tests and the one-machine stack ask for directly

    def identify(self, token: str) -> Identity | None:
        """Whose access token this is; None if it is unknown, revoked or expired."""
        row = self._store.row(
            "SELECT email, client, scopes FROM access WHERE token = ? AND expires > ?", _hash(token), self._faults.now()
        )
        return Identity(row["email"], row["client"], frozenset(row["scopes"].split())) if row else None

    def grant(self, person: Person, scopes: str) -> dict[str, Any]:
        """What the token endpoint would answer to a fresh consent of this person."""
        return self._granted(
            {"client_id": self._client.id, "email": person.email, "scope": scopes, "offline": True}, None
        )

    def revoke_person(self, email: str) -> None:
        """As if the person had removed the app in their Google account."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM access WHERE email = ?", (email,))
            connection.execute("DELETE FROM grants WHERE email = ?", (email,))

    def expire_access_tokens(self) -> None:
        """Every access token is over now; refresh tokens stay."""
        self._store.run("DELETE FROM access")

    # The consent page

    async def _authorize(self, request: Request) -> Response:
        self._faults.count("authorize")
        return await run_in_threadpool(self._authorized, dict(request.query_params))

    def _authorized(self, asked: dict[str, str]) -> Response:
        if asked.get("client_id") != self._client.id:
            return message_page("Access blocked", "This app is not known here (invalid_client).", 401)
        if asked.get("redirect_uri") not in self._client.redirect_uris:
            text = f"The redirect address {asked.get('redirect_uri')!r} is not registered (redirect_uri_mismatch)."
            return message_page("Access blocked", text, 400)
        wrong = _wrong(asked)
        if wrong:
            return _back(asked, {"error": wrong[0], "error_description": wrong[1]})
        hinted = self._layout().person(asked.get("login_hint", ""))
        if self._approve:
            return self._allowed(asked, hinted or self._layout().people[0], set(asked["scope"].split()))
        if asked.get("prompt") == "none":
            return _back(asked, {"error": "interaction_required"})
        ticket = secrets.token_urlsafe(32)
        now = self._faults.now()
        self._store.run("DELETE FROM requests WHERE expires < ?", now)
        self._store.run(
            "INSERT INTO requests (ticket, body, expires) VALUES (?, ?, ?)",
            _hash(ticket),
            json.dumps(asked),
            now + _REQUEST_SECONDS,
        )
        return consent_page(ticket, asked, self._layout().people, hinted)

    async def _decide(self, request: Request) -> Response:
        form = _form(await _limited_body(request))
        return await run_in_threadpool(self._decided, form)

    def _decided(self, form: Mapping[str, str]) -> Response:
        with self._store.write() as connection:
            row = connection.execute(
                "DELETE FROM requests WHERE ticket = ? AND expires > ? RETURNING body",
                (_hash(form.get("ticket", "")), self._faults.now()),
            ).fetchone()
        if row is None:
            return message_page("This page is over", "It was used or is too old. Go back and connect again.", 400)
        asked = json.loads(row["body"])
        if form.get("decision") != "allow":
            return _back(asked, {"error": "access_denied"})
        person = self._layout().person(form.get("person", ""))
        if person is None:
            return message_page("Nobody was chosen", "Go back, choose a person and try again.", 400)
        ticked = {scope for scope in DRIVE_SCOPES if f"scope:{scope}" in form}
        scopes = {s for s in asked["scope"].split() if s not in DRIVE_SCOPES or s in ticked}
        return self._allowed(asked, person, scopes)

    def _allowed(self, asked: Mapping[str, str], person: Person, scopes: set[str]) -> Response:
        code = "4/" + secrets.token_urlsafe(32)
        scope = " ".join(sorted(_ALIASES.get(s, s) for s in scopes))
        body = {
            "client_id": asked["client_id"],
            "redirect_uri": asked["redirect_uri"],
            "email": person.email,
            "scope": scope,
            "offline": asked.get("access_type") == "offline",
            "again": "consent" in asked.get("prompt", "").split(),
            "nonce": asked.get("nonce", ""),
            "challenge": asked.get("code_challenge", ""),
        }
        now = self._faults.now()
        self._store.run("DELETE FROM codes WHERE expires < ?", now)
        self._store.run(
            "INSERT INTO codes (code, body, expires) VALUES (?, ?, ?)",
            _hash(code),
            json.dumps(body),
            now + _CODE_SECONDS,
        )
        return _back(asked, {"code": code, "scope": scope, "authuser": "0", "prompt": "consent"})

    # Tokens

    async def _token(self, request: Request) -> Response:
        return await self._said("token", request, self._exchanged)

    async def _revoke(self, request: Request) -> Response:
        return await self._said("revoke", request, self._revoked)

    async def _said(
        self, route: str, request: Request, act: Callable[[Mapping[str, str], Mapping[str, str]], dict[str, Any]]
    ) -> Response:
        self._faults.count(route)
        form = _form(await _limited_body(request))
        return await run_in_threadpool(self._answered, route, form, dict(request.headers), act)

    def _answered(
        self,
        route: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        act: Callable[[Mapping[str, str], Mapping[str, str]], dict[str, Any]],
    ) -> Response:
        slow = self._faults.take("slow", route)
        if slow:
            time.sleep(slow.seconds)
        fault = self._faults.take("fail", route)
        after = {"Retry-After": fault.retry_after} if fault and fault.retry_after else {}
        try:
            if fault and not fault.lose_answer:
                raise OAuthError(fault.reason or "internal_failure", "Injected.", fault.status)
            said = act(form, headers)
            if fault:
                raise OAuthError(fault.reason or "internal_failure", "Injected.", fault.status)
        except OAuthError as error:
            body = {"error": error.code, "error_description": error.description}
            return JSONResponse(body, error.status, {"Cache-Control": "no-store", **after})
        return JSONResponse(said, 200, {"Cache-Control": "no-store", "Pragma": "no-cache"})

    def _exchanged(self, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        kind = form.get("grant_type")
        if kind == _JWT_BEARER:
            return self._service(form)
        if kind not in ("authorization_code", "refresh_token"):
            raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {kind}")
        client, secret = _client(form, headers)
        right = hmac.compare_digest(secret.encode(), self._client.secret.encode())
        if client != self._client.id or not right:
            raise OAuthError("invalid_client", "The OAuth client was not found.", 401)
        return self._coded(form) if kind == "authorization_code" else self._refreshed(form)

    def _coded(self, form: Mapping[str, str]) -> dict[str, Any]:
        code = _hash(form.get("code", ""))
        row = self._store.row("SELECT body, expires, grant_id FROM codes WHERE code = ?", code)
        if row is None or row["expires"] <= self._faults.now():
            raise OAuthError("invalid_grant", "Malformed auth code.")
        if row["grant_id"] is not None:
            # A code that is shown twice was stolen from somebody: what it gave is taken back.
            self._forget(row["grant_id"])
            raise OAuthError("invalid_grant", "The code was used already.")
        said = json.loads(row["body"])
        if form.get("redirect_uri") != said["redirect_uri"]:
            raise OAuthError("redirect_uri_mismatch", "Bad Request")
        if said["challenge"] and _challenge(form.get("code_verifier", "")) != said["challenge"]:
            raise OAuthError("invalid_grant", "Invalid code verifier.")
        return self._granted(said, code)

    def _granted(self, said: Mapping[str, Any], code: str | None) -> dict[str, Any]:
        """Tokens for a consent. A refresh token comes with the first one, and whenever consent is asked again."""
        now = self._faults.now()
        email, client, scopes = said["email"], said["client_id"], said["scope"]
        grant_id = secrets.token_urlsafe(16)
        with self._store.write() as connection:
            if code is not None:
                used = connection.execute(
                    "UPDATE codes SET grant_id = ? WHERE code = ? AND grant_id IS NULL", (grant_id, code)
                )
                if used.rowcount != 1:
                    raise OAuthError("invalid_grant", "The code was used already.")
            live = connection.execute(
                "SELECT count(*) FROM grants WHERE client = ? AND email = ? AND refresh IS NOT NULL", (client, email)
            ).fetchone()[0]
            refresh = "1//" + secrets.token_urlsafe(48)
            given = said["offline"] and (code is None or not live or said["again"])
            connection.execute(
                "INSERT INTO grants (id, client, email, scopes, created, refresh) VALUES (?, ?, ?, ?, ?, ?)",
                (grant_id, client, email, scopes, now, _hash(refresh) if given else None),
            )
            connection.execute(
                "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE client = ? AND email = ?"
                " AND refresh IS NOT NULL ORDER BY created DESC, rowid DESC LIMIT -1 OFFSET ?)",
                (client, email, _REFRESH_LIMIT),
            )
        answer = self._access(grant_id, client, email, scopes)
        if given:
            answer["refresh_token"] = refresh
            if self.refresh_seconds is not None:
                answer["refresh_token_expires_in"] = int(self.refresh_seconds)
        if "openid" in scopes.split():
            answer["id_token"] = self._id_token(client, email, scopes, said.get("nonce", ""), answer["access_token"])
        return answer

    def _refreshed(self, form: Mapping[str, str]) -> dict[str, Any]:
        row = self._store.row("SELECT * FROM grants WHERE refresh = ?", _hash(form.get("refresh_token", "")))
        if row is None or self._layout().person(row["email"]) is None:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        if self.refresh_seconds is not None and row["created"] + self.refresh_seconds <= self._faults.now():
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        answer = self._access(row["id"], row["client"], row["email"], row["scopes"])
        if "openid" in row["scopes"].split():
            token = answer["access_token"]
            answer["id_token"] = self._id_token(row["client"], row["email"], row["scopes"], "", token)
        return answer

    def _access(self, grant_id: str | None, client: str, email: str, scopes: str) -> dict[str, Any]:
        token = "ya29." + secrets.token_urlsafe(48)
        now = self._faults.now()
        with self._store.write() as connection:
            connection.execute("DELETE FROM access WHERE expires < ?", (now,))
            connection.execute(
                "INSERT INTO access (token, grant_id, client, email, scopes, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (_hash(token), grant_id, client, email, scopes, now + self.access_seconds),
            )
        return {"access_token": token, "expires_in": int(self.access_seconds), "token_type": "Bearer", "scope": scopes}

    def _id_token(self, client: str, email: str, scopes: str, nonce: str, access_token: str) -> str:
        person = self._layout().person(email)
        if person is None:
            raise OAuthError("invalid_grant", "Account has been deleted.")
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {"aud": client, "azp": client, "at_hash": _base64url(half), **_claims(person, scopes)}
        return self._keys.sign(claims | ({"nonce": nonce} if nonce else {}), self._url())

    def _service(self, form: Mapping[str, str]) -> dict[str, Any]:
        """A service account's own grant: an access token, or an id token for an audience."""
        try:
            claims = self._keys.service_claims(form.get("assertion", ""), self._url() + "/token")
        except (ValueError, google_exceptions.GoogleAuthError) as error:
            raise OAuthError("invalid_grant", "Invalid JWT Signature.") from error
        if claims.get("iss") != SERVICE_ACCOUNT:
            raise OAuthError("invalid_grant", "Invalid grant: account not found")
        if claims.get("target_audience"):
            said = {"aud": claims["target_audience"], "email": SERVICE_ACCOUNT, "email_verified": True}
            return {"id_token": self._keys.sign({**said, "azp": SERVICE_ACCOUNT, "sub": "1" * 21}, self._url())}
        return self._access(None, SERVICE_ACCOUNT, SERVICE_ACCOUNT, str(claims.get("scope", "")))

    def _revoked(self, form: Mapping[str, str], _: Mapping[str, str]) -> dict[str, Any]:
        """Any token takes along all that its person has granted to this project, as at Google."""
        token = _hash(form.get("token", ""))
        row = self._store.row(
            "SELECT email FROM grants WHERE refresh = ? UNION SELECT email FROM access WHERE token = ?", token, token
        )
        if row is None:
            raise OAuthError("invalid_token", "Token expired or revoked")
        self.revoke_person(row["email"])
        return {}

    def _forget(self, grant_id: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM access WHERE grant_id = ?", (grant_id,))
            connection.execute("DELETE FROM grants WHERE id = ?", (grant_id,))

    # OpenID Connect

    async def _certs(self, _: Request) -> Response:
        self._faults.count("certs")
        fault = self._faults.take("fail", "certs")
        if fault:
            return JSONResponse({"error": fault.reason or "backendError"}, fault.status)
        return JSONResponse(self._keys.certificates(), 200, {"Cache-Control": "public, max-age=3600"})

    async def _userinfo(self, request: Request) -> Response:
        return await run_in_threadpool(self._who, request.headers.get("authorization", ""))

    def _who(self, authorization: str) -> Response:
        who = self.identify(authorization.removeprefix("Bearer ").strip())
        person = self._layout().person(who.email) if who else None
        if who is None or person is None or "openid" not in who.scopes:
            return JSONResponse({"error": "invalid_request", "error_description": "Invalid Credentials"}, 401)
        return JSONResponse(_claims(person, " ".join(who.scopes)))

    async def _configuration(self, _: Request) -> Response:
        url = self._url()
        return JSONResponse(
            {
                "issuer": url,
                "authorization_endpoint": url + "/o/oauth2/v2/auth",
                "token_endpoint": url + "/token",
                "revocation_endpoint": url + "/revoke",
                "userinfo_endpoint": url + "/v1/userinfo",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )


def _wrong(asked: Mapping[str, str]) -> tuple[str, str] | None:
    """What makes an authorization request unacceptable, once its client and address are known."""
    if asked.get("response_type") != "code":
        return "unsupported_response_type", "response_type must be code"
    if not asked.get("scope", "").split():
        return "invalid_scope", "scope is missing"
    if asked.get("code_challenge") and asked.get("code_challenge_method") != "S256":
        return "invalid_request", "code_challenge_method must be S256"
    return None


def _back(asked: Mapping[str, str], said: Mapping[str, str]) -> Response:
    """Send the browser back to the app."""
    state = {"state": asked["state"]} if "state" in asked else {}
    address = asked["redirect_uri"]
    mark = "&" if urlsplit(address).query else "?"
    return RedirectResponse(address + mark + urlencode({**state, **said}), 302, page_headers(None, None))


def _claims(person: Person, scopes: str) -> dict[str, Any]:
    granted = scopes.split()
    claims: dict[str, Any] = {"sub": person.sub}
    if _ALIASES["email"] in granted or "email" in granted:
        claims |= {"email": person.email, "email_verified": True}
    if _ALIASES["profile"] in granted or "profile" in granted:
        claims |= {"name": person.name, "given_name": person.name.split(" ")[0]}
    return claims


def _client(form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret, from the form or from Basic authentication."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            user, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return user, secret
    return form.get("client_id", ""), form.get("client_secret", "")


def _challenge(verifier: str) -> str:
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


async def _limited_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _BODY_LIMIT:
            return b""
    return bytes(body)
