"""The consent door: sends a person to Google, takes the grant that comes back, and hands the browser to the dashboard.

GET /connect    begins a consent: PKCE S256, a one-time state bound to this browser, a nonce, the one redirect address;
                with another dashboard's voucher the browser goes back there in the end
GET /callback   Google's answer: consumes the state, exchanges the code, keeps the sealed refresh token, asks for a sync

A person is who Google's verified id token says (`sub`), never who a query says. Pages obeyed:
https://developers.google.com/identity/protocols/oauth2/web-server and RFC 9700.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from functools import cache
from urllib.parse import urlencode

import flask
import functions_framework

from schemas.messages.sync_requested_pb2 import SyncRequested
from shared import log
from shared.adapters import oauth
from shared.adapters.edge import OAuthStates, forget_access_token, open_connection
from shared.adapters.hold import hold
from shared.adapters.postgres import Database, Transaction
from shared.adapters.publish_requests import PlainOutbox
from shared.adapters.sealing import Seal
from shared.adapters.secrets import Secrets
from shared.config import Settings, settings
from shared.domain.errors import BadRequest
from shared.domain.names import MY_DRIVE, SYNC_REQUESTS
from shared.doors import cookie_name, door, redirect, set_cookie

COOKIE = "consent"
SIGNIN_SECONDS = 60.0
_RANDOM = re.compile(r"^[A-Za-z0-9_-]{40,128}$")


@functions_framework.http
@door
def oauth_callback(request: flask.Request) -> flask.Response:
    """The two pages of the consent door."""
    if request.method not in ("GET", "HEAD"):
        raise BadRequest("This page is only for reading.", status=405)
    if request.path == "/connect":
        return begin(request, settings())
    if request.path == "/callback":
        return finish(request, settings())
    raise BadRequest("There is nothing here.", status=404)


def begin(request: flask.Request, config: Settings) -> flask.Response:
    """Send the browser to Google with a fresh state, and remember what it must come back with."""
    state, verifier, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    browser = request.cookies.get(cookie_name(COOKIE, config.connect_url), "")
    if not _RANDOM.match(browser):
        browser = secrets.token_urlsafe(48)
    begun = {"browser": _hash(browser), "verifier": verifier, "nonce": nonce}
    voucher = request.args.get("voucher", "")
    if voucher:
        if not _RANDOM.match(voucher):
            raise _no_voucher()
        begun["voucher"] = _hash(voucher)
    OAuthStates(config).begin(_hash(state).hex(), begun)
    challenge = oauth.challenge_of(verifier)
    hint = request.args.get("login_hint") or None
    answer = redirect(oauth.authorize_url(config, state, nonce, challenge, login_hint=hint))
    set_cookie(answer, COOKIE, browser, config.connect_url, seconds=config.state_seconds)
    return answer


def finish(request: flask.Request, config: Settings) -> flask.Response:
    """Take Google's answer. Every step may be tried again from the first page; a used state never works twice."""
    begun = _consume(request, config)
    refusal = request.args.get("error")
    if refusal:
        raise oauth.consent_refused(refusal)
    if request.args.get("iss", config.oauth_issuer) != config.oauth_issuer:
        raise BadRequest("This answer comes from somebody else than Google.", code="wrong_issuer")
    grant, claims = _exchange(request, config, begun)
    user_id, back = _keep(config, grant, claims, begun.get("voucher"))
    log.bind(user_id=user_id)
    if back is not None:  # another dashboard's person: it is the one who shows them their Drive
        _ask_for_sync(config, user_id)
        log.event("connected", vouched=True)
        return redirect(back)
    code = secrets.token_urlsafe(32)
    _offer_signin(user_id, code)
    _ask_for_sync(config, user_id)
    log.event("connected")
    return redirect(f"{config.dashboard_url}/signin?{urlencode({'code': code})}")


def _consume(request: flask.Request, config: Settings) -> dict[str, object]:
    state = request.args.get("state", "")
    browser = request.cookies.get(cookie_name(COOKIE, config.connect_url), "")
    if not _RANDOM.match(state):
        raise BadRequest("This page only works on the way back from Google. Begin at the dashboard.", code="no_state")
    begun = OAuthStates(config).consume(_hash(state).hex())
    if begun is None:
        raise BadRequest("This connection attempt is too old or was used already. Please connect again.", code="state")
    if not hmac.compare_digest(bytes(begun["browser"]), _hash(browser)):
        raise BadRequest("This connection attempt began in another browser. Please connect again here.", code="browser")
    return begun


def _exchange(
    request: flask.Request, config: Settings, begun: dict[str, object]
) -> tuple[oauth.Grant, dict[str, object]]:
    code = request.args.get("code", "")
    if not code:
        raise BadRequest("Google's answer lacks its code. Please connect again.", code="no_code")
    grant = oauth.exchange_code(config, _client_secret(), code, str(begun["verifier"]))
    claims = oauth.verify_id_token(config, grant.id_token or "", config.oauth_client_id, nonce=str(begun["nonce"]))
    if oauth.missing_scopes(grant.scopes):
        raise BadRequest(
            "You did not tick the permission to read your Drive, so there is nothing to read. "
            "Connect again and leave that box ticked.",
            code="scope_missing",
        )
    return grant, claims


def _keep(config: Settings, grant: oauth.Grant, claims: dict[str, object], voucher: object) -> tuple[str, str | None]:
    """Who connected, and to which page of another dashboard they go back, if one has vouched for them. Person, grant
    and that dashboard's name for them are kept together or not at all: nobody is connected without a token."""
    sub, email, name = (str(claims.get(claim) or "") for claim in ("sub", "email", "name"))

    def story(tx: Transaction) -> tuple[str, str | None]:
        # Several consents of one person queue up here, so that one of them is the first.
        row = tx.row("connect_person", sub=sub, email=email, full_name=name)
        if row is None or row["user_id"] is None:
            raise BadRequest("Google did not say who you are. Please connect again.", code="no_subject")
        user_id = str(row["user_id"])
        tx.row("speak_for", user_id=user_id)
        hold(tx)
        back = _redeem(tx, bytes(voucher), claims) if isinstance(voucher, bytes) else None
        known = tx.row("grant_of_person")
        if grant.refresh_token is not None:
            _save(tx, user_id, grant, grant.refresh_token)
        elif known is None or known["status"] != "active":  # the one we have is dead, or there is none
            raise BadRequest(
                "Google gave no lasting permission. Remove this app under myaccount.google.com/permissions, "
                "then connect again.",
                code="no_refresh_token",
            )
        action = "connect" if known is None else "reconnect"
        tx.run("note_audit", action=action, file_id=None, revision=None, bytes=None, why="consent", outcome="ok")
        # While the person is held, so that an erasure that begins now closes what is opened here.
        open_connection(config, user_id)
        return user_id, back

    user_id, back = database().run_transaction(None, story)
    forget_access_token(config, user_id)
    return user_id, back


def _redeem(tx: Transaction, voucher: bytes, claims: dict[str, object]) -> str:
    """The page to go back to, when the account that consented is the one that the other dashboard named."""
    row = tx.row("redeem_voucher", voucher_hash=voucher) if claims.get("email_verified") is True else None
    if row is None or row["return_url"] is None:
        raise _no_voucher()
    return str(row["return_url"])


def _no_voucher() -> BadRequest:
    return BadRequest(
        "This link is too old, was used already, or is meant for another Google account. Ask for a new one where you"
        " got it, and choose the account that it names.",
        code="voucher",
    )


def _save(tx: Transaction, user_id: str, grant: oauth.Grant, refresh_token: str) -> None:
    """The new grant in place of any old one; what waited for it goes on."""
    tx.row("save_grant", sealed=seal().seal(user_id, refresh_token), scopes=list(grant.scopes))
    tx.row("reactivate_person")
    limit = grant.refresh_expires_in and tx.row("limit_grant", seconds=float(grant.refresh_expires_in))
    if limit:
        tx.run("warn_person", reason=oauth.limited(limit["refresh_expires_at"]))
    tx.rows("resume_waiting")


def _offer_signin(user_id: str, code: str) -> None:
    database().run_transaction(
        user_id, lambda tx: tx.run("offer_signin", code_hash=_hash(code), seconds=SIGNIN_SECONDS)
    )


def _ask_for_sync(config: Settings, user_id: str) -> None:
    outbox = PlainOutbox(config)
    outbox.publish(
        SYNC_REQUESTS, SyncRequested(user_id=user_id, corpus=MY_DRIVE, reason=SyncRequested.Reason.CONNECTED)
    )
    outbox.confirm()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@cache
def database() -> Database:
    """People and their grants."""
    return Database(settings(), "drivestream_worker")


@cache
def vault() -> Secrets:
    """Secrets, fetched when first needed."""
    return Secrets(settings())


@cache
def seal() -> Seal:
    """Seals refresh tokens to their person."""
    return Seal(lambda: vault().get(settings().token_keys_secret))


def _client_secret() -> str:
    return vault().get(settings().oauth_client_secret).decode()
