"""Connecting a person from the command line, and what the stack knows about people.

`--yes` walks through the same pages as a browser: connect, Google's consent, the callback, the dashboard's sign-in.
A Drive of somebody else's (`--drive`) has no consent page: its refresh token is sealed and kept as if it came from one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urljoin

import requests

from infra.local.errors import StackError
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared.adapters.access import Access
from shared.adapters.edge import forget_access_token, open_connection
from shared.adapters.oauth import OAuthMisconfigured
from shared.adapters.postgres import Database, Transaction
from shared.adapters.pubsub import Outbox
from shared.adapters.sealing import Seal
from shared.adapters.secrets import Secrets
from shared.config import Settings
from shared.domain.errors import DrivestreamError, ReconnectNeeded
from shared.domain.names import MY_DRIVE, SYNC_REQUESTS

_SCOPE = "https://www.googleapis.com/auth/drive.readonly"


def connected_people(everybody: Database) -> list[str]:
    """User ids of everybody who is connected, as the caretaker sees them."""
    with everybody.transaction(None) as tx:
        return [str(row["user_id"]) for row in tx.rows("active_people")]


def connect_by_browser_pages(settings: Settings) -> str:
    """Walk through the consent of the local Google, which grants at once. Returns the dashboard's session cookie."""
    with _browser() as browser:
        address = settings.connect_url + "/connect"
        answer = _get(browser, address)
        for _ in range(6):
            if "session" in browser.cookies:
                return str(browser.cookies["session"])
            if answer.status_code not in (302, 303):
                break
            address = urljoin(address, answer.headers["Location"])
            answer = _get(browser, address)
        raise StackError(f"The consent did not end in a session: {answer.status_code} {answer.text[:200]}")


def connect_by_refresh_token(settings: Settings, refresh_token: str) -> str:
    """Connect the person behind a refresh token of another Drive. Returns the user id."""
    database = Database(settings, "drivestream_worker")
    _require_drive(settings, database, refresh_token)
    subject = "outside:" + hashlib.sha256(f"{settings.drive_endpoint}\n{refresh_token}".encode()).hexdigest()[:32]
    row = database.run_transaction(
        None, lambda tx: tx.row("connect_person", sub=subject, email="", full_name=settings.drive_endpoint)
    )
    assert row is not None
    user_id = str(row["user_id"])
    vault = Secrets(settings)
    seal = Seal(lambda: vault.get(settings.token_keys_secret))

    def story(tx: Transaction) -> None:
        known = tx.row("grant_of_person")
        if known is None or seal.open(user_id, known["refresh_token_sealed"]) != refresh_token:
            tx.row("save_grant", sealed=seal.seal(user_id, refresh_token), scopes=[_SCOPE])
        tx.row("reactivate_person")
        tx.rows("resume_waiting")

    database.run_transaction(user_id, story)
    open_connection(settings, user_id)
    forget_access_token(settings, user_id)
    outbox = Outbox(settings)
    outbox.publish(
        SYNC_REQUESTS, SyncRequested(user_id=user_id, corpus=MY_DRIVE, reason=SyncRequested.Reason.CONNECTED)
    )
    outbox.confirm()
    return user_id


def _require_drive(settings: Settings, database: Database, refresh_token: str) -> None:
    """The Drive answers and takes this token, before anything is written down. Raises `StackError`."""
    where = settings.drive_endpoint
    # What does not answer now is said now: somebody waits in front of a terminal.
    hasty = replace(settings, http_timeout_seconds=10.0)
    try:
        Access(hasty, database).drive_by(refresh_token).start_page_token(MY_DRIVE)
    except ReconnectNeeded as error:
        raise StackError(f"{where}/token does not accept the token given by --token ({error.code}).") from error
    except OAuthMisconfigured as error:
        raise StackError(f"{where}/token cannot be used: {error}") from error
    except DrivestreamError as error:
        raise StackError(f"The Drive at {where} cannot be used: {error.reason} Check --drive and --token.") from error


def sign_in(settings: Settings, user_id: str) -> str:
    """A dashboard session for a person of this machine, by the same one-time code that the consent ends with."""
    code = secrets.token_urlsafe(32)
    Database(settings, "drivestream_worker").run_transaction(
        user_id,
        lambda tx: tx.run("offer_signin", code_hash=hashlib.sha256(code.encode()).digest(), seconds=60.0),
    )
    with _browser() as browser:
        answer = _get(browser, f"{settings.dashboard_url}/signin?code={code}")
    session = answer.cookies.get("session")
    if session is None:
        raise StackError(f"The dashboard did not sign in: {answer.status_code} {answer.text[:200]}")
    return session


def kept_session(text: str, settings: Settings, there: Callable[[str], object]) -> str | None:
    """The session of the last start, if the dashboard still knows it and its person is connected and still `there`."""
    session = text.strip().removeprefix("session=")
    with _browser() as browser:
        browser.cookies.set("session", session)
        answer = _get(browser, f"{settings.dashboard_url}/api/status")
    if answer.status_code != 200:
        return None
    person = answer.json()["person"]
    return session if person["status"] == "active" and there(person["email"]) else None


def _browser() -> requests.Session:
    browser = requests.Session()
    browser.trust_env = False  # this machine only: no proxy is asked
    return browser


def _get(browser: requests.Session, address: str) -> requests.Response:
    try:
        return browser.get(address, allow_redirects=False, timeout=60)
    except requests.RequestException as error:
        raise StackError(f"The function at {address} did not answer: {type(error).__name__}.") from error
