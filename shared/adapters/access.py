"""A person's Drive: their grant, one access token for all instances, and a client that uses it.

The refresh token lives sealed in Postgres, the access token sealed in Firestore until it expires, and for seconds in
this process. Only one worker at a time asks Google for a new one; the others wait for its answer. A refusal
(`invalid_grant`) is believed only if no newer consent came meanwhile.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from uuid import uuid4

from shared.adapters import oauth
from shared.adapters.drive import Drive
from shared.adapters.firestore import AccessTokens, SealedToken
from shared.adapters.governor import Governor
from shared.adapters.postgres import Database, Transaction
from shared.adapters.sealing import Seal, Unsealable
from shared.adapters.secrets import Secrets
from shared.config import Settings
from shared.domain.errors import ReconnectNeeded, Unavailable

_EARLY = timedelta(minutes=4)  # a token is renewed this long before Google stops taking it
_REFRESH_SECONDS = 20.0


# Refusals of Drive that a fresh token does not cure: only the person, or their administrator, can.
_BY_DRIVE = frozenset({"domainPolicy", "insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})


def pause_if_refused(database: Database, user_id: str, refusal: ReconnectNeeded) -> None:
    """Believe Drive when it says that this person's grant does not do: work stops until they connect again."""
    if refusal.code not in _BY_DRIVE:
        return

    def story(tx: Transaction) -> None:
        if tx.row("note_refused_by_drive", reason=refusal.reason):
            _audit(tx, "refused", refusal)

    database.run_transaction(user_id, story)


def _audit(tx: Transaction, action: str, refusal: ReconnectNeeded) -> None:
    tx.run(
        "note_audit",
        action=action,
        file_id=None,
        revision=None,
        bytes=None,
        why=refusal.code,
        outcome=refusal.reason,
    )


class Access:
    """Drives of people, for one function. Safe to share between threads."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._secrets = Secrets(settings)
        self._seal = Seal(
            lambda: self._secrets.get(settings.token_keys_secret),
            lambda: self._secrets.get(settings.token_keys_secret, fresh=True),
        )
        self._tokens = AccessTokens(settings)
        self.governor = Governor(settings)
        self._kept: dict[str, tuple[str, float]] = {}  # user id → token, monotonic end
        self._given = threading.local()  # user id → the token that this thread has; after a 401, the refused one
        self._drives: dict[str, Drive] = {}
        self._lock = threading.Lock()

    def drive(self, user_id: str) -> Drive:
        """The person's Drive. Its pacer is shared by all of this process's work for the same person."""
        with self._lock:
            if user_id not in self._drives:
                if len(self._drives) >= 256:
                    self._drives.clear()
                    self._kept.clear()
                self._drives[user_id] = Drive(
                    self._settings,
                    lambda fresh: self.token(user_id, fresh=fresh),
                    lambda lane: self.governor.meter(user_id, lane),
                )
            return self._drives[user_id]

    def token(self, user_id: str, *, fresh: bool = False) -> str:
        """A bearer token. `fresh` after Google refused the one this thread was given last: if another thread or
        process has a newer one by now, that one will do. Raises `ReconnectNeeded` or `Unavailable`."""
        given: dict[str, str] = self._given.__dict__
        token = self._token(user_id, given.get(user_id) if fresh else None)
        if len(given) >= 256:
            given.clear()
        given[user_id] = token
        return token

    def _token(self, user_id: str, refused: str | None) -> str:
        kept = self._kept.get(user_id)
        if kept and kept[0] != refused and kept[1] > time.monotonic():
            return kept[0]
        holder = uuid4().hex
        deadline = time.monotonic() + _REFRESH_SECONDS * 1.5
        while time.monotonic() < deadline:
            stored = self._tokens.read(user_id)
            token = self._usable(user_id, stored)
            if token is not None and token != refused:
                return token
            # Whoever reads a token that is too old asks only for its successor, which may have come meanwhile.
            if self._tokens.may_refresh(user_id, holder, _REFRESH_SECONDS, after=stored.sealed if stored else ""):
                return self._refresh(user_id, holder)
            time.sleep(0.1)  # another worker is asking Google; its answer will be in Firestore
        raise Unavailable("Google's token endpoint is slow; another worker is still waiting for it.", retry_after=10)

    def drive_by(self, refresh_token: str) -> Drive:
        """The Drive behind a refresh token, for the last calls of a person who leaves: nothing is stored any more. The
        margin below Google's quotas is for these few, too."""
        kept: list[str] = []

        def token(fresh: bool) -> str:
            if fresh or not kept:
                kept[:] = [oauth.refresh(self._settings, self.client_secret(), refresh_token).access_token]
            return kept[0]

        return Drive(self._settings, token)

    def refresh_token(self, sealed: str, user_id: str) -> str:
        """Open a sealed refresh token; for the one who revokes it."""
        return self._seal.open(user_id, sealed)

    def client_secret(self) -> str:
        """The OAuth client's secret."""
        return self._secrets.get(self._settings.oauth_client_secret).decode()

    def keys_made_at(self) -> datetime:
        """When the newest of the keys that seal tokens came to be. Raises `Unavailable` where that cannot be told."""
        return self._secrets.made_at(self._settings.token_keys_secret)

    def _usable(self, user_id: str, stored: SealedToken | None) -> str | None:
        if stored is None or stored.expires_at - _EARLY <= stored.now:
            return None
        try:
            token = self._seal.open(user_id, stored.sealed)
        except Unsealable:
            return None  # a new one is sealed with a key that is there
        self._keep(user_id, token, (stored.expires_at - stored.now - _EARLY).total_seconds())
        return token

    def _refresh(self, user_id: str, holder: str) -> str:
        try:
            grant = self._granted(user_id)
        except BaseException:
            self._tokens.give_up(user_id, holder)
            raise
        sealed = self._seal.seal(user_id, grant.access_token)
        self._tokens.store(user_id, holder, sealed, float(grant.expires_in))
        self._keep(user_id, grant.access_token, grant.expires_in - _EARLY.total_seconds())
        return grant.access_token

    def _granted(self, user_id: str, tried: int | None = None) -> oauth.Grant:
        row = self._database.run_transaction(user_id, lambda tx: tx.row("grant_of_person"))
        if row is None or row["status"] == "erasing":
            raise ReconnectNeeded("This person is not connected.", code="not_connected")
        if row["revision"] == tried or (row["status"] == "reconnect_needed" and tried is None):
            raise ReconnectNeeded("Google no longer accepts the connection. Connect again to go on.")
        try:
            refresh_token = self._seal.open(user_id, row["refresh_token_sealed"])
        except Unsealable as lost:
            refusal = ReconnectNeeded("The connection can no longer be used. Connect again to go on.", code=lost.code)
            self._note_refusal(user_id, row["revision"], refusal)
            raise refusal from lost
        try:
            return oauth.refresh(self._settings, self.client_secret(), refresh_token)
        except ReconnectNeeded as refused:
            # A consent given a moment ago makes the old token invalid: look again before believing it.
            revision = row["revision"]
            if tried is None and self._revision(user_id) != revision:
                return self._granted(user_id, tried=revision)
            refusal = oauth.limit_reached() if row["limit_reached"] else refused
            self._note_refusal(user_id, revision, refusal)
            raise refusal from refused

    def _revision(self, user_id: str) -> int | None:
        row = self._database.run_transaction(user_id, lambda tx: tx.row("grant_of_person"))
        return row["revision"] if row else None

    def _note_refusal(self, user_id: str, revision: int, refusal: ReconnectNeeded) -> None:
        def story(tx: Transaction) -> None:
            if tx.row("note_reconnect_needed", reason=refusal.reason, revision=revision):
                _audit(tx, "refresh_failed", refusal)

        self._database.run_transaction(user_id, story)

    def _keep(self, user_id: str, token: str, seconds: float) -> None:
        # Shorter than its life: a token that was revoked or replaced elsewhere is noticed soon.
        self._kept[user_id] = (token, time.monotonic() + min(seconds, 60.0))
