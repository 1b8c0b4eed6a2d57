"""What the doors keep in Firestore: consents in progress, channels that may notify, who is connected.

Each is one document, read and written by itself, so that a door needs no client. The collections are told in
`shared.adapters.documents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.adapters.documents import Collections, Documents
from shared.adapters.google_calls import AlreadyThere
from shared.config import Settings

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class OAuthStates:
    """Consents in progress, each usable once by the browser that began it."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = timedelta(seconds=settings.state_seconds)
        self._documents = Documents(settings, Collections.OAUTH_STATES)

    def begin(self, state_hash: str, fields: Mapping[str, Any]) -> None:
        """Remember a consent. The state itself is never stored, only its hash."""
        # For the collection of garbage only: whether it is too old, the server's clock decides.
        expires = datetime.now(UTC) + self._seconds
        # Nobody else has this state: what is there is ours, of an attempt whose answer was lost.
        with suppress(AlreadyThere):
            self._documents.create(state_hash, {**fields, "expires_at": expires})

    def consume(self, state_hash: str) -> dict[str, Any] | None:
        """The fields, once. None when the state is unknown, used or too old; also when it was used by an attempt of
        ours whose answer was lost: the person begins again."""
        begun = self._documents.get(state_hash)
        if begun is None or not self._documents.remove(state_hash, unless_changed=begun):
            return None  # of several at once, one is the first
        return begun.fields if begun.created_at + self._seconds > begun.now else None


@dataclass(frozen=True, slots=True)
class Channel:
    """A notification channel as the public door needs it. The token is stored as its SHA-256 only."""

    channel_id: str
    user_id: str
    corpus: str
    token_hash: bytes
    resource_id: str  # empty until Drive has answered
    expires_at: datetime
    recorded_at: datetime
    announced_at: datetime  # when the door last asked for a sync that has not begun yet
    notified_at: datetime  # when the door last believed a notification
    now: datetime  # the server's clock when this was read


class KnownChannels:
    """Channels by id, for whoever is notified. `shared.adapters.firestore.Channels` is for whoever opens them."""

    def __init__(self, settings: Settings) -> None:
        self._documents = Documents(settings, Collections.CHANNELS)

    def find(self, channel_id: str) -> Channel | None:
        """The channel, or None."""
        known = self._documents.get(channel_id)
        return channel_of(channel_id, known.fields, known.now) if known else None

    def adopt(self, channel: Channel, resource_id: str) -> None:
        """Drive's message names the resource of a channel whose opening was not answered, or not yet."""
        known = self._documents.get(channel.channel_id)
        if known is not None and not known.fields["resource_id"]:
            # Who was faster knew the same from Drive's answer, or has forgotten the channel.
            self._documents.change(channel.channel_id, {"resource_id": resource_id}, unless_changed=known)

    def announce(self, channel: Channel, *, quiet_seconds: float) -> bool:
        """Should a sync be asked for now? No when one was asked for a moment ago and has not begun."""
        tried = None
        for _ in range(5):
            known = self._documents.get(channel.channel_id)
            if known is None:
                return False
            announced = known.fields["announced_at"]
            if announced == tried:
                return True  # by ourselves, and the answer was lost
            if announced > known.now - timedelta(seconds=quiet_seconds):
                return False
            tried = known.now
            if self._documents.change(
                channel.channel_id, {"announced_at": tried, "notified_at": tried}, unless_changed=known
            ):
                return True
            # Somebody was faster; what they did decides.
        return True  # one sync too many harms nobody

    def hear(self, channel_id: str) -> None:
        """The sync that was asked for begins (or could not be asked for): the next notification asks again. A channel
        that is gone announces nothing."""
        self._documents.change(channel_id, {"announced_at": LONG_AGO})


def channel_of(channel_id: str, fields: Mapping[str, Any], now: datetime) -> Channel:
    """The channel that a document tells of, as it was at `now` by the server's clock."""
    return Channel(
        channel_id=channel_id,
        user_id=fields["user_id"],
        corpus=fields["corpus"],
        token_hash=fields["token_hash"],
        resource_id=fields["resource_id"],
        expires_at=fields["expires_at"],
        recorded_at=fields.get("recorded_at", LONG_AGO),
        announced_at=fields["announced_at"],
        notified_at=fields.get("notified_at", LONG_AGO),
        now=now,
    )


def open_connection(settings: Settings, user_id: str) -> None:
    """From here on Firestore may be written for this person."""
    Documents(settings, Collections.CONNECTIONS).put(user_id, {"user_id": user_id}, dated="opened_at")


def forget_access_token(settings: Settings, user_id: str) -> None:
    """A new consent: the stored token is worth nothing."""
    Documents(settings, Collections.ACCESS_TOKENS).remove(user_id)
