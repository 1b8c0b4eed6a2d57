"""Notification channels of a corpus: recorded first, then opened, and the new one before the old one is stopped.

Drive has no renewal: a new channel with a new id is opened well before the old one ends, and both announce for a
moment. Whatever breaks between two steps, there are never more than two of a corpus:

    recorded   written down, not answered yet. Drive may have opened it all the same: then its first message, which
               names its resource, makes it open at the door (`KnownChannels.adopt`). One that stays silent is
               forgotten.
    open       its resource is known, so it can be stopped. Believed until the expiry that Drive granted.
    stopped    at Drive and here, once a newer one is open.

A channel may be open by every record and say nothing: an address that changed, a wall in front of it, a fault of
Drive's. What a sweep finds tells: a change that is minutes old, and that no notification announced. Such a channel is
replaced, and counted.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from shared import log
from shared.adapters.drive import Drive
from shared.adapters.edge import Channel, KnownChannels
from shared.adapters.firestore import Channels
from shared.adapters.postgres import Database
from shared.config import Settings
from shared.domain.errors import Rejected

_NEVER_CAME = timedelta(minutes=15)  # Drive's first message to a channel comes within seconds
_TRIED = timedelta(hours=1)  # a channel is given so long before it is replaced for its silence
_SKEW = timedelta(seconds=10)  # between Drive's clock and ours; and a burst is announced by its first notification


class Watching:
    """Keeps a corpus announced."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._channels = Channels(settings)
        self._known = KnownChannels(settings)

    def hear(self, user_id: str, corpus: str) -> None:
        """A sync begins: whatever is announced from now on asks for another one."""
        for channel in self._channels.of_corpus(user_id, corpus):
            if channel.announced_at > channel.now - timedelta(days=1):
                self._known.hear(channel.channel_id)

    def keep_open(self, user_id: str, corpus: str, drive: Drive, page_token: str | None = None) -> bool:
        """Make sure that a channel is open for longer than the renewal margin, and one only. False where no push can
        reach us. The channel tells of changes after `page_token`, or from now on."""
        if not self._settings.webhook_url:
            return False
        now = self._clock(user_id)
        recorded: list[Channel] = []
        opened: list[Channel] = []
        for channel in self._channels.of_corpus(user_id, corpus):
            if not channel.resource_id and channel.recorded_at < now - _NEVER_CAME:
                self._channels.forget(channel.channel_id)
            else:
                (opened if channel.resource_id else recorded).append(channel)
        if opened and opened[0].expires_at > now + self._margin(opened[0]):
            for surplus in opened[1:]:  # whoever opened the first died before these were stopped
                self.stop(surplus, drive)
            return True
        if opened and opened[0].expires_at > now and recorded:
            return True  # its first message, or the next look, says what became of the new one
        for surplus in [*opened[1:], *recorded[1:]]:
            self.stop(surplus, drive)
        if not self._open(user_id, corpus, drive, page_token or drive.start_page_token(corpus), now):
            return False
        for old in [*opened[:1], *recorded[:1]]:
            self.stop(old, drive)
        return True

    def replace_silent(self, user_id: str, corpus: str, drive: Drive, page_token: str, changed_at: datetime) -> None:
        """A sweep found a change of that moment: where an open channel should have announced it, and nothing came, open
        another one in its place."""
        if not self._settings.webhook_url:
            return
        opened = [channel for channel in self._channels.of_corpus(user_id, corpus) if channel.resource_id]
        now = self._clock(user_id)
        if now - changed_at < timedelta(seconds=self._settings.silence_seconds) or not opened:
            return
        newest = max(channel.recorded_at for channel in opened)
        heard = max(channel.notified_at for channel in opened)
        if heard > changed_at - _SKEW or newest > changed_at - _SKEW or newest > now - _TRIED:
            return
        log.event("channel silent", "WARNING", user_id=user_id, corpus=corpus, channel_id=opened[0].channel_id)
        if self._open(user_id, corpus, drive, page_token, now):
            for channel in opened:
                self.stop(channel, drive)
                self._note_silence(user_id, channel.channel_id)

    def _margin(self, channel: Channel) -> timedelta:
        """How long before its end a channel is replaced: by up to a quarter sooner, so that channels of people who
        connected together do not end together for ever."""
        share = UUID(channel.channel_id).int % 1000 / 4000
        return timedelta(seconds=self._settings.channel_renewal_seconds * (1 + share))

    def _clock(self, user_id: str) -> datetime:
        row = self._database.run_transaction(user_id, lambda tx: tx.row("clock"))
        assert row is not None
        now: datetime = row["now"]
        return now

    def stop(self, channel: Channel, drive: Drive) -> None:
        """End a channel at Drive and forget it. Only the person's own grant can stop it."""
        if channel.resource_id:
            drive.stop_channel(channel.channel_id, channel.resource_id)
        self._channels.forget(channel.channel_id)
        self._note(channel.user_id, channel.channel_id, channel.corpus, "stopped", None, None)

    def _open(self, user_id: str, corpus: str, drive: Drive, page_token: str, now: datetime) -> bool:
        channel_id, token = str(uuid4()), secrets.token_urlsafe(32)
        expires = now + timedelta(seconds=self._settings.channel_seconds)
        token_hash = hashlib.sha256(token.encode()).digest()
        self._channels.record(channel_id, user_id, corpus, token_hash, expires, recorded_at=now)
        self._note(user_id, channel_id, corpus, "pending", None, expires)
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
        # Where Drive does not answer it may have opened the channel all the same, so the record stays.
        granted = datetime.fromtimestamp(watch.expiration / 1000, UTC)
        self._channels.activate(channel_id, watch.resource_id, granted)
        self._note(user_id, channel_id, corpus, "active", watch.resource_id, granted)
        return True

    def _note_silence(self, user_id: str, channel_id: str) -> None:
        self._database.run_transaction(user_id, lambda tx: tx.run("note_silence", channel_id=channel_id))

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
