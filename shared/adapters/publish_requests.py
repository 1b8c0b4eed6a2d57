"""Pub/Sub by plain requests, for a door that says one small message now and then: its client costs more than the door.

See docs/decisions/20261128-doors-without-clients.md. Page obeyed:
https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish
"""

from __future__ import annotations

import base64
from functools import cache

from google.protobuf.message import Message

from shared.adapters.google_calls import InvalidArgument, within
from shared.adapters.google_requests import GoogleRequests
from shared.adapters.outgoing import Letter, letter
from shared.config import Settings
from shared.domain.errors import Unavailable

SERVICE = "Pub/Sub"


class PlainOutbox:
    """As `shared.adapters.pubsub.Outbox`: messages of one piece of work, each in a request of its own."""

    def __init__(self, settings: Settings, *, timeout: float = 20.0) -> None:
        self._settings = settings
        self._timeout = timeout
        self._unconfirmed: list[Letter] = []

    def publish(self, topic: str, message: Message, **attributes: str) -> int:
        """Take a message and return its size in bytes. `confirm` sends it."""
        taken = letter(self._settings.google_cloud_project, topic, message, attributes)
        self._unconfirmed.append(taken)
        return len(taken.data)

    def confirm(self) -> None:
        """Send everything taken so far, in order, each within `timeout` seconds. Raises `Unavailable` when the broker
        does not hold it all. A message whose answer was lost is sent again: it may be there twice, as anything may that
        Pub/Sub delivers."""
        sending, self._unconfirmed = self._unconfirmed, []
        for one in sending:
            self._send(one)

    def _send(self, one: Letter) -> None:
        url = f"{self._settings.pubsub_endpoint}/v1/{one.topic}:publish"
        body = {"messages": [{"data": base64.b64encode(one.data).decode(), "attributes": one.attributes}]}
        try:
            within(self._timeout, lambda left: _requests().ask("POST", url, timeout=left, body=body))
        except InvalidArgument as refused:  # a schema that was changed, say: what asked for it must come again
            raise Unavailable(f"{SERVICE} does not take a message: {refused.reason}", code="refused") from refused


@cache
def _requests() -> GoogleRequests:
    """The process's connections, made on first use."""
    return GoogleRequests(SERVICE)
