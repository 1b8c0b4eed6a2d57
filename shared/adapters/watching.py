"""Notification channels of a corpus: recorded first, then opened, and the new one before the old one is stopped.

Drive has no renewal: a new channel with a new id is opened well before the old one ends, and both announce for a
moment. A channel that was recorded but never came to be expires by itself; one that Drive opened but that we failed
to note is answered and ends within seven days.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from shared import log
from shared.adapters.drive import Drive
from shared.adapters.firestore import Channel, Channels
from shared.adapters.postgres import Database
from shared.config import Settings
from shared.domain.errors import Rejected, Unavailable


class Watching:
    """Keeps a corpus announced."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._channels = Channels(settings)

    def hear(self, user_id: str, corpus: str) -> None:
        """A sync begins: whatever is announced from now on asks for another one."""
        for channel in self._channels.of_corpus(user_id, corpus):
            if channel.announced_at > channel.now - timedelta(days=1):
                self._channels.hear(channel.channel_id)

    def keep_open(self, user_id: str, corpus: str, drive: Drive, page_token: str) -> bool:
        """Make sure that a channel is open for longer than the renewal margin. False where no push can reach us."""
        if not self._settings.webhook_url:
            return False
        known = self._channels.of_corpus(user_id, corpus)
        margin = timedelta(seconds=self._settings.channel_renewal_seconds)
        if any(channel.resource_id and channel.expires_at > channel.now + margin for channel in known):
            return True
        if not self._open(user_id, corpus, drive, page_token):
            return False
        for old in known:
            self.stop(old, drive)
        return True

    def stop(self, channel: Channel, drive: Drive) -> None:
        """End a channel at Drive and forget it. Only the person's own grant can stop it."""
        if channel.resource_id:
            drive.stop_channel(channel.channel_id, channel.resource_id)
        self._channels.forget(channel.channel_id)
        self._note(channel.user_id, channel.channel_id, channel.corpus, "stopped", None, None)

    def _open(self, user_id: str, corpus: str, drive: Drive, page_token: str) -> bool:
        channel_id, token = str(uuid4()), secrets.token_urlsafe(32)
        expires = datetime.now(UTC) + timedelta(seconds=self._settings.channel_seconds)
        self._channels.record(channel_id, user_id, corpus, hashlib.sha256(token.encode()).digest(), expires)
        try:
            watch = drive.watch(
                page_token, corpus, channel_id, token, self._settings.webhook_url, int(expires.timestamp() * 1000)
            )
        except Rejected as refusal:
            # Whatever Drive has against it: without notifications the sweep finds every change, only later.
            self._channels.forget(channel_id)
            self._note(user_id, channel_id, corpus, "unsupported", None, None)
            log.event("no notifications here", "WARNING", user_id=user_id, corpus=corpus, reason=str(refusal))
            return False
        except Unavailable:
            self._channels.forget(channel_id)
            raise
        granted = datetime.fromtimestamp(watch.expiration / 1000, UTC)
        self._channels.activate(channel_id, watch.resource_id, granted)
        self._note(user_id, channel_id, corpus, "active", watch.resource_id, granted)
        return True

    def _note(
        self, user_id: str, channel_id: str, corpus: str, state: str, resource_id: str | None, expires: datetime | None
    ) -> None:
        self._database.run_transaction(
            user_id,
            lambda tx: tx.run(
                "note_channel",
                channel_id=channel_id,
                corpus=corpus,
                resource_id=resource_id,
                state=state,
                expires_at=expires,
            ),
        )
