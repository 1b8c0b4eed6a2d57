"""What a person asked for and what is written down, told to those who do it."""

from __future__ import annotations

from google.protobuf.message import Message

from functions.dashboard.visit import Visit
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared import log
from shared.adapters.pubsub import Outbox
from shared.domain.errors import Unavailable
from shared.domain.names import MY_DRIVE, SYNC_REQUESTS


def announce(visit: Visit, topic: str, message: Message, what: str) -> None:
    """Say that something is written down. Where the broker is away it is only logged: a schedule finds what is written,
    and the person cannot or need not ask again."""
    outbox = Outbox(visit.config)
    outbox.publish(topic, message)
    try:
        outbox.confirm()
    except Unavailable as wait:
        log.event(f"{what} not announced", "ERROR", code=wait.code, reason=wait.reason)


def ask_for_a_look(visit: Visit, what: str) -> None:
    """Have the person's My Drive looked at now, because of what they have just changed."""
    tick = SyncRequested.Reason.TICK
    announce(visit, SYNC_REQUESTS, SyncRequested(user_id=str(visit.user_id), corpus=MY_DRIVE, reason=tick), what)
