"""A broker that delivers when it is told to: in any order, again, late, and again after a refusal.

The functions publish to it by Google's own client over gRPC, or by plain requests; what it holds is delivered into the
functions' doors.
"""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import grpc
from google.pubsub_v1.types import pubsub
from starlette.applications import Starlette

from infra.local.serving import HttpServer
from infra.local.transcoding import posted
from shared.domain.names import DEAD_LETTERS

# topic → its subscription, the function behind it, and how often it is tried
ROUTES = {
    "sync-requests": ("change-lister", "change_lister", 5),
    "file-changes": ("file-streamer", "file_streamer", 5),
    "file-backfill": ("file-streamer-backfill", "file_streamer", 5),
    "file-chunks": ("ai-processor", "ai_processor", 10),
    "ticks": ("channel-renewer", "channel_renewer", 5),
    DEAD_LETTERS: (DEAD_LETTERS, "channel_renewer", 100),
}
_DEAD = "CloudPubSubDeadLetterSourceSubscription"


@dataclass(frozen=True)
class Letter:
    """One message on its way."""

    topic: str
    data: bytes
    attributes: tuple[tuple[str, str], ...] = ()
    attempt: int = 1


class PostOffice:
    """Takes messages; `deliver(function, body)` says whether a function took one."""

    def __init__(self, deliver: Callable[[str, dict[str, Any]], bool], chance: random.Random, workers: int) -> None:
        self._deliver = deliver
        self._chance = chance
        self._lock = Lock()
        self._box: list[Letter] = []
        self._late: list[Letter] = []
        self.counts: Counter[str] = Counter()
        self.repeated = 0.0  # the share of messages that are delivered a second time
        self.late = 0.0  # the share whose copy is delivered only after a later rest
        self.workers = ThreadPoolExecutor(workers, thread_name_prefix="delivery")
        self._server = grpc.server(ThreadPoolExecutor(8))
        request, response = pubsub.PublishRequest.pb(), pubsub.PublishResponse.pb()
        publish = grpc.unary_unary_rpc_method_handler(
            lambda asked, _: response(message_ids=self._take(asked)),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": publish}),)
        )
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        routes = [posted("/v1/{topic:path}:publish", request, lambda asked: response(message_ids=self._take(asked)))]
        self._rest = HttpServer(Starlette(routes=routes))
        self._rest.start()
        self.rest_url = self._rest.url

    def stop(self) -> None:
        """Take nothing more."""
        self._rest.stop()
        self._server.stop(grace=0).wait()
        self.workers.shutdown()

    def _take(self, asked: Any) -> list[str]:
        topic = asked.topic.rsplit("/", 1)[-1]
        with self._lock:
            for message in asked.messages:
                self._box.append(Letter(topic, message.data, tuple(sorted(message.attributes.items()))))
                self.counts[topic] += 1
            return [str(len(self._box))] * len(asked.messages)

    def waiting(self) -> list[Letter]:
        """What has not been delivered yet."""
        with self._lock:
            return list(self._box)

    def drain(self) -> None:
        """Deliver until nothing is left, whatever it takes."""
        while True:
            with self._lock:
                round_, self._box = self._box, []
            if not round_:
                return
            again = [letter for letter in round_ if self._chance.random() < self.repeated]
            self.counts["repeated"] += len(again)
            self._late += [letter for letter in round_ if self._chance.random() < self.late]
            round_ += again
            self._chance.shuffle(round_)
            list(self.workers.map(self._send, round_))

    def bring_the_late(self) -> None:
        """What was held back at earlier rests comes now, long after it mattered."""
        with self._lock:
            self.counts["late"] += len(self._late)
            self._box, self._late = self._box + self._late, []

    def _send(self, letter: Letter) -> None:
        subscription, function, most = ROUTES[letter.topic]
        body = {
            "message": {
                "data": base64.b64encode(letter.data).decode(),
                "attributes": dict(letter.attributes),
                "messageId": "1",
            },
            "subscription": f"projects/p/subscriptions/{subscription}",
            "deliveryAttempt": letter.attempt,
        }
        if self._deliver(function, body):
            return
        with self._lock:
            self.counts["redelivered"] += 1
            if letter.attempt < most:
                self._box.append(replace(letter, attempt=letter.attempt + 1))
            else:
                self.counts["dead"] += 1
                self._box.append(Letter(DEAD_LETTERS, letter.data, ((_DEAD, subscription),)))
