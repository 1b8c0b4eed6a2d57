"""Pub/Sub: say a message to a topic, and know that it was said.

`publish` returns at once; `confirm` waits until the broker holds every message published since the last confirmation.
A function must confirm before it returns: afterwards its processor time is taken away. Errors follow
https://cloud.google.com/pubsub/docs/publisher. The two doors say theirs by plain requests (`publish_requests`).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from shared.adapters.outgoing import letter
from shared.config import Settings
from shared.domain.errors import Unavailable

if TYPE_CHECKING:
    from google.cloud.pubsub_v1 import PublisherClient

_clients: dict[str, PublisherClient] = {}
_lock = threading.Lock()


class Outbox:
    """Messages of one piece of work. Not shared between threads; the client below it is."""

    def __init__(self, settings: Settings, *, timeout: float = 60.0) -> None:
        self._project = settings.google_cloud_project
        self._timeout = timeout
        self._unconfirmed: list[Future[str]] = []

    def publish(self, topic: str, message: Message, **attributes: str) -> int:
        """Hand a message to the client and return its size in bytes. `confirm` tells whether the broker has it. The
        message carries the trace that it belongs to."""
        said = letter(self._project, topic, message, attributes)
        self._unconfirmed.append(publisher().publish(said.topic, said.data, **said.attributes))
        return len(said.data)

    def confirm(self) -> None:
        """Wait until the broker holds everything published so far. Raises `Unavailable` when it does not."""
        # Imported here: they bring gRPC, a tenth of a second that a start need not pay before it has something to say.
        from google.api_core import exceptions

        waiting, self._unconfirmed = self._unconfirmed, []
        for future in waiting:
            try:
                future.result(timeout=self._timeout)
            except (exceptions.GoogleAPICallError, exceptions.RetryError, TimeoutError) as error:
                raise Unavailable(f"Pub/Sub did not take a message: {type(error).__name__}.") from error


def publisher() -> PublisherClient:
    """The process's publisher, made on first use: the server forks after import."""
    with _lock:
        if "client" not in _clients:
            from google.api_core.retry import Retry
            from google.cloud import pubsub_v1

            _clients["client"] = pubsub_v1.PublisherClient(
                batch_settings=pubsub_v1.types.BatchSettings(max_bytes=9_000_000, max_latency=0.005),
                publisher_options=pubsub_v1.types.PublisherOptions(
                    retry=Retry(initial=0.1, maximum=10.0, multiplier=2.0, timeout=50.0), timeout=50.0
                ),
            )
        return _clients["client"]
