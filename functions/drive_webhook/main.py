"""The public door for Drive's notifications. It holds nothing worth stealing: no token, no key, no SQL.

A notification says only "look": it carries no user and no file. It is believed if its channel is one of ours, its
token hashes to what we stored, its resource is the channel's, and the channel has not expired. Then one sync is asked
for, and only then is it answered with 2xx, so that Drive tries again otherwise. An unknown channel and a wrong token
get the same answer. Page obeyed: https://developers.google.com/workspace/drive/api/guides/push
"""

from __future__ import annotations

import hashlib
import hmac
import re

import flask
import functions_framework

from schemas.messages.sync_requested_pb2 import SyncRequested
from shared import log
from shared.adapters.edge import Channel, KnownChannels
from shared.adapters.publish_requests import PlainOutbox
from shared.config import Settings, settings
from shared.domain.errors import BadRequest, Unavailable
from shared.domain.names import SYNC_REQUESTS
from shared.doors import door

QUIET_SECONDS = 2.0  # a burst of notifications asks for one sync; the lister's first step opens the ear again
_CHANNEL_ID = re.compile(r"^[A-Za-z0-9_-]{10,64}$")
_NOT_OURS = "This notification does not belong to a channel of ours."


@functions_framework.http
@door
def drive_webhook(request: flask.Request) -> flask.Response:
    """One notification."""
    if request.method != "POST":
        raise BadRequest("This address takes Google Drive's notifications by POST only.", status=405)
    if request.path != "/":
        raise BadRequest("There is nothing here.", status=404)
    config = settings()
    channels = KnownChannels(config)
    channel = authentic(request, channels)
    if not channel.resource_id:
        # Whoever opened it may never learn of it: from here on it can be stopped.
        channels.adopt(channel, request.headers["X-Goog-Resource-ID"])
    if request.headers.get("X-Goog-Resource-State") == "sync":
        return flask.Response(status=204)  # Drive says that the channel is open; nothing has changed
    notify(channel, config)
    return flask.Response(status=204)


def authentic(request: flask.Request, channels: KnownChannels) -> Channel:
    """The channel of this notification. Raises `BadRequest` for a forged one, always in the same words."""
    channel_id = request.headers.get("X-Goog-Channel-ID", "")
    token = request.headers.get("X-Goog-Channel-Token", "")
    resource = request.headers.get("X-Goog-Resource-ID", "")
    if not _CHANNEL_ID.match(channel_id) or not token or len(token) > 256 or not resource:
        raise BadRequest(_NOT_OURS, status=403, code="forged")
    channel = channels.find(channel_id)
    expected = channel.token_hash if channel else bytes(32)
    right_token = hmac.compare_digest(hashlib.sha256(token.encode("utf-8", "replace")).digest(), expected)
    # The first message may come before Drive has told us the resource, so an empty one fits any.
    right_resource = channel is not None and channel.resource_id in ("", resource)
    if channel is None or not right_token or not right_resource or channel.expires_at <= channel.now:
        raise BadRequest(_NOT_OURS, status=403, code="forged")
    return channel


def notify(channel: Channel, config: Settings) -> None:
    """Ask for a sync of the channel's corpus, once for a burst."""
    channels = KnownChannels(config)
    if not channels.announce(channel, quiet_seconds=QUIET_SECONDS):
        return
    outbox = PlainOutbox(config)
    try:
        outbox.publish(
            SYNC_REQUESTS,
            SyncRequested(
                user_id=channel.user_id,
                corpus=channel.corpus,
                reason=SyncRequested.Reason.NOTIFIED,
                announced_ms=int(channel.now.timestamp() * 1000),
            ),
        )
        outbox.confirm()
    except Unavailable:
        channels.hear(channel.channel_id)  # Drive will try again, and must not be taken for a repetition
        raise
    log.event("notified", user_id=channel.user_id, corpus=channel.corpus)
