"""One suite for every Pub/Sub that the functions may meet on one machine, spoken to by Google's own clients.

What Google's emulator cannot do is listed in `EMULATOR_CANNOT`, and the tests that need it are skipped with the reason.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from cloudevents.http import from_http
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core import exceptions
from google.auth import crypt
from google.auth import jwt as google_jwt
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, SchemaServiceClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.local.pubsub import PubSubServer, filters, topology
from infra.local.pubsub.broker import backoff
from infra.local.serving import HttpServer
from schemas.messages import file_changed_pb2
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared import tracing
from shared.adapters import publish_requests
from shared.adapters.google_requests import GoogleRequests
from shared.adapters.publish_requests import PlainOutbox
from shared.config import Settings
from shared.domain.errors import Unavailable
from tests.contract.emulators import pubsub_emulator, pubsub_jar

ROOT = Path(__file__).parents[2]
PROJECT = "projects/local"
PATIENCE = 20.0  # seconds until a test gives up on something that must happen

EMULATOR_CANNOT = {
    "protobuf schemas": "answers 501 to Protobuf schemas",
    "filters": "ignores a subscription's filter",
    "orderingKey in push": "leaves orderingKey out of push bodies",
    "deliveryAttempt in push": "leaves deliveryAttempt out of push bodies",
    "202": "takes 202 for a failure, against Google's documentation",
    "limits": "takes messages that are larger, or have more attributes, than Google allows",
    "order after a refused pull": "delivers the next message of a key while a refused one is due again",
}


@dataclass
class PubSub:
    """An implementation with clients that talk to it."""

    name: str
    host: str
    publisher: Any  # batches, as the functions use it
    raw: Any  # sends each request as it is
    subscriber: Any
    schemas: Any
    rest: str  # the address of plain requests
    server: PubSubServer | None = None

    def needs(self, ability: str) -> None:
        if self.server is None and ability in EMULATOR_CANNOT:
            pytest.skip(f"Google's emulator {EMULATOR_CANNOT[ability]}")

    def topic(self, **more: Any) -> str:
        name = f"{PROJECT}/topics/t{uuid.uuid4().hex}"
        return str(self.raw.create_topic(request={"name": name, **more}).name)

    def subscription(self, topic: str, **more: Any) -> str:
        name = f"{PROJECT}/subscriptions/s{uuid.uuid4().hex}"
        return str(self.subscriber.create_subscription(request={"name": name, "topic": topic, **more}).name)

    def publish(self, topic: str, data: bytes = b"hello", key: str = "", **attributes: Any) -> str:
        message = {"data": data, "attributes": attributes, "ordering_key": key}
        answer = self.raw.publish(request={"topic": topic, "messages": [message]})
        return str(answer.message_ids[0])

    def pull(self, subscription: str, count: int = 1) -> list[Any]:
        """Exactly so many messages, or an error after a while."""
        found: list[Any] = []
        until = time.monotonic() + PATIENCE
        while len(found) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} messages came"
            request = {"subscription": subscription, "max_messages": count - len(found)}
            try:
                found += self.subscriber.pull(request=request, timeout=5, retry=None).received_messages
            except exceptions.DeadlineExceeded:
                continue
        return found

    def pull_now(self, subscription: str) -> list[Any]:
        request = {"subscription": subscription, "max_messages": 100, "return_immediately": True}
        with pytest.warns(DeprecationWarning, match="return_immediately"):
            return list(self.subscriber.pull(request=request, timeout=5).received_messages)

    def ack(self, subscription: str, *received: Any) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in received])

    def nack(self, subscription: str, *received: Any) -> None:
        ids = [one.ack_id for one in received]
        self.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=ids, ack_deadline_seconds=0)


@contextmanager
def clients(name: str, host: str, server: PubSubServer | None = None) -> Iterator[PubSub]:
    """Google's clients as the functions make them: PUBSUB_EMULATOR_HOST and nothing else."""
    with pytest.MonkeyPatch.context() as patch, grpc.insecure_channel(host) as channel:
        patch.setenv("PUBSUB_EMULATOR_HOST", host)
        publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        raw = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        schemas = SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=channel))
        rest = server.rest_url if server else f"http://{host}"
        yield PubSub(name, host, publisher, raw, subscriber, schemas, rest, server)
        subscriber.close()
        publisher.stop()
        publisher.transport.close()


# Started once, and not by each worker.
EMULATOR = pytest.param("Google's emulator", marks=pytest.mark.xdist_group("pubsub_emulator"))


@pytest.fixture(scope="module", params=["ours", EMULATOR])
def pubsub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    """Each implementation in turn."""
    if request.param == "ours":
        server = PubSubServer(tmp_path_factory.mktemp("pubsub"), backoff_scale=0.01)
        server.start()
        with clients("ours", server.url, server) as made:
            yield made
        server.stop()
        return
    jar = pubsub_jar()
    if jar is None:
        pytest.skip("Google's Pub/Sub emulator (gcloud components install pubsub-emulator) or Java is not installed")
    with pubsub_emulator(jar) as host, clients(request.param, host) as made:
        yield made


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[PubSub]:
    """A server of its own for what only ours can do."""
    server = PubSubServer(tmp_path, backoff_scale=0.01)
    server.start()
    with clients("ours", server.url, server) as made:
        yield made
    server.stop()


@dataclass(frozen=True)
class Pushed:
    """A request that came to the door."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.json["message"]["data"])


class Door:
    """A push endpoint. It answers the statuses it is told, in this order, and 204 from then on."""

    def __init__(self) -> None:
        self.came: queue.Queue[Pushed] = queue.Queue()
        self._statuses: queue.Queue[int] = queue.Queue()
        app = Starlette(routes=[Route("/{rest:path}", self._answer, methods=["POST"])])
        self._server = HttpServer(app)
        self._server.start()
        self.url = self._server.url
        self.stop = self._server.stop

    def will_answer(self, *statuses: int) -> None:
        for status in statuses:
            self._statuses.put(status)

    async def _answer(self, request: Request) -> Response:
        self.came.put(Pushed(dict(request.headers), await request.body()))
        return Response(status_code=204 if self._statuses.empty() else self._statuses.get())

    def next(self) -> Pushed:
        return self.came.get(timeout=PATIENCE)


@pytest.fixture
def door() -> Iterator[Door]:
    """A push endpoint on loopback."""
    made = Door()
    yield made
    made.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for something that must become true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


# Topics and subscriptions.


def test_a_topic_can_be_made_found_listed_and_deleted(pubsub: PubSub) -> None:
    """The stack makes its topics at every start, and must hear that they are there."""
    topic = pubsub.topic(labels={"kind": "test"})

    assert pubsub.raw.get_topic(topic=topic).labels == {"kind": "test"}
    assert topic in [one.name for one in pubsub.raw.list_topics(project=PROJECT)]
    with pytest.raises(exceptions.AlreadyExists):
        pubsub.raw.create_topic(name=topic)
    pubsub.raw.delete_topic(topic=topic)
    with pytest.raises(exceptions.NotFound):
        pubsub.raw.get_topic(topic=topic)
    with pytest.raises(exceptions.NotFound):
        pubsub.publish(topic)


def test_a_name_that_google_would_refuse_is_refused(pubsub: PubSub) -> None:
    """A name that works on one machine only would be found out at deployment."""
    for name in ("x", "projects/local/topics/ab", "projects/local/topics/goog-mine", "projects/local/topics/1abc"):
        with pytest.raises(exceptions.InvalidArgument):
            pubsub.raw.create_topic(name=name)


def test_a_subscription_can_be_made_found_changed_and_deleted(pubsub: PubSub) -> None:
    """The stack corrects its subscriptions at every start."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, ack_deadline_seconds=20)

    changed = types.Subscription(name=subscription, ack_deadline_seconds=30)
    pubsub.subscriber.update_subscription(
        request={"subscription": changed, "update_mask": {"paths": ["ack_deadline_seconds"]}}
    )

    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert (found.topic, found.ack_deadline_seconds) == (topic, 30)
    assert list(pubsub.raw.list_topic_subscriptions(topic=topic)) == [subscription]
    assert subscription in [one.name for one in pubsub.subscriber.list_subscriptions(project=PROJECT)]
    pubsub.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(exceptions.NotFound):
        pubsub.subscriber.get_subscription(subscription=subscription)


def test_a_subscription_needs_its_topic_and_sane_deadlines(pubsub: PubSub) -> None:
    """What is refused here would be refused by Google."""
    topic = pubsub.topic()

    with pytest.raises(exceptions.NotFound):
        pubsub.subscription(f"{PROJECT}/topics/nowhere")
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.subscription(topic, ack_deadline_seconds=601)
    with pytest.raises(exceptions.OutOfRange):
        pubsub.subscription(topic, dead_letter_policy={"dead_letter_topic": topic, "max_delivery_attempts": 3})


def test_a_deleted_topic_leaves_its_subscriptions_with_their_backlog(pubsub: PubSub) -> None:
    """What was published is still owed."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"owed")

    pubsub.raw.delete_topic(topic=topic)

    assert pubsub.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    assert pubsub.pull(subscription)[0].message.data == b"owed"


# Publishing.


def test_a_message_without_data_and_attributes_is_refused(pubsub: PubSub) -> None:
    """An empty message says nothing."""
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, b"")
    assert pubsub.publish(topic, b"", only="attributes")


def test_what_is_too_large_is_refused(pubsub: PubSub) -> None:
    """A chunk that fits on one machine must fit in Google's ten megabytes."""
    pubsub.needs("limits")
    topic = pubsub.topic()

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, bytes(10 * 1024 * 1024 + 1))
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, key="x" * 1025)
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, b"x", "", **{f"a{n}": "" for n in range(101)})
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, b"x", "", **{"a" * 257: ""})
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, a="x" * 1025)


def test_the_batching_client_gets_an_id_of_its_own_for_every_message(pubsub: PubSub) -> None:
    """The functions publish with Google's batching client and wait for its answers."""
    topic = pubsub.topic()

    futures = [pubsub.publisher.publish(topic, b"x", number=str(n)) for n in range(250)]

    assert len({future.result(timeout=PATIENCE) for future in futures}) == 250


# Publishing by plain requests, as the two doors do.


@pytest.fixture
def plainly(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a door is told of it. The emulators take anybody."""
    anybody = GoogleRequests(publish_requests.SERVICE, AnonymousCredentials())  # type: ignore[no-untyped-call]
    monkeypatch.setattr(publish_requests, "_requests", lambda: anybody)
    return Settings(google_cloud_project="local", pubsub_endpoint=pubsub.rest)


def asked_for(corpus: str) -> SyncRequested:
    return SyncRequested(user_id="ada", corpus=corpus, reason=SyncRequested.Reason.NOTIFIED)


def test_what_a_door_says_comes_as_if_the_client_had_said_it(pubsub: PubSub, plainly: Settings) -> None:
    """The lister must not see who said it, and its work belongs to the trace of the door."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    outbox = PlainOutbox(plainly, timeout=60.0)

    with tracing.request(plainly, "drive_webhook", {}) as span:
        sizes = [outbox.publish(topic.rpartition("/")[2], asked_for(name), lane=name) for name in ("a", "b")]
        outbox.confirm()
    outbox.confirm()

    came = sorted(pubsub.pull(subscription, 2), key=lambda one: str(one.message.attributes["lane"]))
    assert [SyncRequested.FromString(one.message.data) for one in came] == [asked_for("a"), asked_for("b")]
    assert sizes == [len(one.message.data) for one in came]
    traced = {"traceparent": span.place.traceparent}
    assert [dict(one.message.attributes) for one in came] == [{"lane": "a", **traced}, {"lane": "b", **traced}]
    pubsub.ack(subscription, *came)
    assert pubsub.pull_now(subscription) == []


def test_what_the_broker_does_not_take_from_a_door_is_unavailable_and_forgotten(
    pubsub: PubSub, plainly: Settings
) -> None:
    """Drive is told to come again, and then it must be said once."""
    outbox = PlainOutbox(plainly, timeout=5.0)
    outbox.publish("nobody-made-this-topic", asked_for("a"))

    with pytest.raises(Unavailable):
        outbox.confirm()
    outbox.confirm()


def test_a_door_is_told_when_a_schema_does_not_take_its_message(pubsub: PubSub, plainly: Settings) -> None:
    """A person mends that; until then whoever notified comes again."""
    pubsub.needs("protobuf schemas")
    definition = 'syntax = "proto3"; message Other { message Inner { int32 number = 1; } Inner inner = 1; }'
    schema = {"type_": types.Schema.Type.PROTOCOL_BUFFER, "definition": definition}
    name = f"s{uuid.uuid4().hex}"
    made = pubsub.schemas.create_schema(request={"parent": PROJECT, "schema": schema, "schema_id": name})
    topic = pubsub.topic(schema_settings={"schema": made.name, "encoding": types.Encoding.BINARY})
    outbox = PlainOutbox(plainly, timeout=5.0)
    outbox.publish(topic.rpartition("/")[2], asked_for("a"))

    with pytest.raises(Unavailable, match="does not take a message"):
        outbox.confirm()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"messages": [{"data": "%%%"}]}, 400, "INVALID_ARGUMENT"),
        ({"nonsense": 1}, 400, "INVALID_ARGUMENT"),
        ({"messages": []}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_a_plain_request_that_is_none_is_refused_as_google_does(
    pubsub: PubSub, body: dict[str, Any], status: int, code: str
) -> None:
    """A stand-in that takes more than Google does hides a fault until the deployment."""
    answer = requests.post(f"{pubsub.rest}/v1/{pubsub.topic()}:publish", json=body, timeout=20)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, code)


# Pulling.


def test_a_message_comes_to_every_subscription_as_it_was_published(pubsub: PubSub) -> None:
    """Each subscription has its own copy and its own acknowledgement."""
    topic = pubsub.topic()
    first, second = pubsub.subscription(topic), pubsub.subscription(topic)
    before = datetime.now(UTC)
    message_id = pubsub.publish(topic, b"hello", colour="blue")

    for subscription in (first, second):
        received = pubsub.pull(subscription)[0]
        message = received.message
        assert (message.data, message.message_id) == (b"hello", message_id)
        assert dict(message.attributes) == {"colour": "blue"}
        assert abs(message.publish_time - before) < timedelta(minutes=1)
        pubsub.ack(subscription, received)
        assert pubsub.pull_now(subscription) == []


def test_a_refused_message_comes_again_and_an_acknowledged_one_does_not(pubsub: PubSub) -> None:
    """At least once, and not for ever."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic)

    pubsub.nack(subscription, pubsub.pull(subscription)[0])
    again = pubsub.pull(subscription)[0]
    pubsub.ack(subscription, again)

    assert pubsub.pull_now(subscription) == []


def test_a_message_comes_again_when_its_deadline_passes(pubsub: PubSub) -> None:
    """A worker that dies says nothing; its deadline speaks for it."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic)
    received = pubsub.pull(subscription)[0]

    pubsub.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=[received.ack_id], ack_deadline_seconds=1)

    assert pubsub.pull_now(subscription) == []
    assert pubsub.pull(subscription)[0].message.message_id == received.message.message_id


def test_a_streaming_pull_delivers_what_is_there_and_what_comes(pubsub: PubSub) -> None:
    """Google's subscriber with a callback is how tools watch a topic."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"before")
    heard: queue.Queue[bytes] = queue.Queue()

    def hear(message: Any) -> None:
        heard.put(message.data)
        message.ack()

    stream = pubsub.subscriber.subscribe(subscription, hear)
    assert heard.get(timeout=PATIENCE) == b"before"
    pubsub.publish(topic, b"after")
    assert heard.get(timeout=PATIENCE) == b"after"

    stream.cancel()
    with suppress(TimeoutError):
        stream.result(timeout=PATIENCE)


def test_messages_of_one_key_keep_their_order(pubsub: PubSub) -> None:
    """A later message of a key never overtakes an earlier one."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    for n in range(5):
        pubsub.publish(topic, str(n).encode(), key="one")

    seen = []
    for _ in range(5):
        received = pubsub.pull(subscription)[0]
        seen.append((received.message.data, received.message.ordering_key))
        pubsub.ack(subscription, received)

    assert seen == [(str(n).encode(), "one") for n in range(5)]


def test_a_refused_message_keeps_the_others_of_its_key_waiting(pubsub: PubSub) -> None:
    """Order holds also when something goes wrong; other keys do not wait."""
    pubsub.needs("order after a refused pull")
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    for data, key in ((b"1", "one"), (b"2", "one"), (b"3", "two")):
        pubsub.publish(topic, data, key=key)

    first = pubsub.pull(subscription, 2)
    pubsub.nack(subscription, *first)
    again = pubsub.pull(subscription, 2)

    assert [one.message.data for one in first] == [b"1", b"3"]
    assert sorted(one.message.data for one in again) == [b"1", b"3"]
    pubsub.ack(subscription, *again)
    assert pubsub.pull(subscription)[0].message.data == b"2"


def test_a_filter_lets_through_what_it_names(pubsub: PubSub) -> None:
    """A subscription pays for what it wants only."""
    pubsub.needs("filters")
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, filter='attributes.kind = "text" AND NOT attributes:old')

    pubsub.publish(topic, b"no", kind="image")
    pubsub.publish(topic, b"no", kind="text", old="yes")
    pubsub.publish(topic, b"yes", kind="text")

    assert pubsub.pull(subscription)[0].message.data == b"yes"
    assert pubsub.pull_now(subscription) == []
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.subscription(topic, filter="attributes.kind =")


def test_seeking_forward_purges_the_backlog(pubsub: PubSub) -> None:
    """How an operator forgets a flood."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"flood")

    pubsub.subscriber.seek(request={"subscription": subscription, "time": datetime.now(UTC) + timedelta(seconds=1)})

    assert pubsub.pull_now(subscription) == []


def test_seeking_back_replays_what_is_retained(pubsub: PubSub) -> None:
    """How an operator does a day again."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retain_acked_messages=True)
    start = datetime.now(UTC) - timedelta(minutes=1)
    for data in (b"1", b"2"):
        pubsub.publish(topic, data)
    pubsub.ack(subscription, *pubsub.pull(subscription, 2))
    assert pubsub.pull_now(subscription) == []

    pubsub.subscriber.seek(request={"subscription": subscription, "time": start})

    assert {one.message.data for one in pubsub.pull(subscription, 2)} == {b"1", b"2"}


def test_a_message_that_is_refused_too_often_goes_to_the_dead_letters(pubsub: PubSub) -> None:
    """The caretaker reads there which subscription gave up on what, after how many tries."""
    dead, topic = pubsub.topic(), pubsub.topic()
    letters = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publish(topic, b"poison", colour="green")

    attempts = []
    for _ in range(5):
        received = pubsub.pull(subscription)[0]
        attempts.append(received.delivery_attempt)
        pubsub.nack(subscription, received)

    assert attempts == [1, 2, 3, 4, 5]
    assert pubsub.pull_now(subscription) == []
    letter = pubsub.pull(letters)[0].message
    assert letter.data == b"poison"
    mark = "CloudPubSubDeadLetterSource"
    source = {key.removeprefix(mark): value for key, value in letter.attributes.items() if key.startswith(mark)}
    assert source.pop("TopicPublishTime")
    assert source == {
        "DeliveryCount": "5",
        "Subscription": subscription.rpartition("/")[2],
        "SubscriptionProject": "local",
    }
    assert letter.attributes["colour"] == "green"


# Pushing.


def test_a_push_looks_as_google_documents_it(pubsub: PubSub, door: Door) -> None:
    """The functions' parser is written for this shape."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, push_config={"push_endpoint": f"{door.url}/a/path?x=1"})

    message_id = pubsub.publish(topic, b"hello", colour="blue")

    pushed = door.next()
    message = pushed.json["message"]
    assert pushed.headers["content-type"] == "application/json"
    assert pushed.json["subscription"] == subscription
    assert (pushed.data, message["attributes"]) == (b"hello", {"colour": "blue"})
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert datetime.fromisoformat(message["publishTime"]).tzinfo
    assert "deliveryAttempt" not in pushed.json


def test_an_unwrapped_push_is_the_data_and_its_metadata_are_headers(pubsub: PubSub, door: Door) -> None:
    """So a plain HTTP service can be subscribed."""
    topic = pubsub.topic()
    config = {"push_endpoint": door.url, "no_wrapper": {"write_metadata": True}}
    subscription = pubsub.subscription(topic, push_config=config)

    message_id = pubsub.publish(topic, b"hello")

    pushed = door.next()
    assert pushed.body == b"hello"
    assert pushed.headers["x-goog-pubsub-subscription-name"] == subscription
    assert pushed.headers["x-goog-pubsub-message-id"] == message_id
    assert pushed.headers["x-goog-pubsub-publish-time"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_push_is_done_when_it_is_answered_so(pubsub: PubSub, door: Door, status: int) -> None:
    """One message at a time shows it: the next one comes only when the first is done."""
    pubsub.needs(str(status))
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": door.url}, enable_message_ordering=True)
    door.will_answer(status)

    pubsub.publish(topic, b"first", key="one")
    pubsub.publish(topic, b"second", key="one")

    assert [door.next().data, door.next().data] == [b"first", b"second"]


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_a_push_comes_again_when_it_is_answered_otherwise(pubsub: PubSub, door: Door, status: int) -> None:
    """A function that fails is asked again."""
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": door.url})
    door.will_answer(status)

    pubsub.publish(topic)

    first, second = door.next(), door.next()
    assert first.json["message"]["messageId"] == second.json["message"]["messageId"]


def test_a_push_subscription_becomes_a_pull_subscription_and_back(pubsub: PubSub, door: Door) -> None:
    """An operator takes a broken function out of the way by this."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, push_config={"push_endpoint": door.url})

    pubsub.subscriber.modify_push_config(subscription=subscription, push_config={})
    pubsub.publish(topic, b"pulled")
    pubsub.ack(subscription, pubsub.pull(subscription)[0])
    pubsub.subscriber.modify_push_config(subscription=subscription, push_config={"push_endpoint": door.url})
    pubsub.publish(topic, b"pushed")

    assert door.next().data == b"pushed"


def test_a_nine_megabyte_message_is_pushed_whole(pubsub: PubSub, door: Door) -> None:
    """The largest that a chunk may become."""
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": door.url}, ack_deadline_seconds=60)
    data = os.urandom(9_000_000)

    pubsub.publish(topic, data)

    assert door.next().data == data


def test_pushes_of_a_key_keep_their_order_and_name_it(pubsub: PubSub, door: Door) -> None:
    """The first of a key is tried again before the second is pushed."""
    pubsub.needs("orderingKey in push")
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": door.url}, enable_message_ordering=True)
    door.will_answer(500)

    for n in range(3):
        pubsub.publish(topic, str(n).encode(), key="one")

    pushed = [door.next() for _ in range(4)]
    assert [one.data for one in pushed] == [b"0", b"0", b"1", b"2"]
    assert {one.json["message"]["orderingKey"] for one in pushed} == {"one"}


def test_pushes_count_their_attempts_where_dead_letters_are_asked_for(pubsub: PubSub, door: Door) -> None:
    """`consume` tells a last try from a first one by this."""
    pubsub.needs("deliveryAttempt in push")
    dead, topic = pubsub.topic(), pubsub.topic()
    letters = pubsub.subscription(dead)
    pubsub.subscription(
        topic,
        push_config={"push_endpoint": door.url},
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5},
    )
    door.will_answer(*[500] * 5)

    pubsub.publish(topic, b"poison")

    assert [door.next().json["deliveryAttempt"] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert pubsub.pull(letters)[0].message.data == b"poison"


# Schemas.

_DEFINITION = 'syntax = "proto3"; message Thing { string name = 1; int64 size = 2; }'


def schema_of(definition: str) -> types.Schema:
    return types.Schema(type_=types.Schema.Type.PROTOCOL_BUFFER, definition=definition)


def test_a_topic_with_a_schema_takes_what_parses_and_marks_it(pubsub: PubSub) -> None:
    """The broker keeps out what no function could read."""
    pubsub.needs("protobuf schemas")
    schema = pubsub.schemas.create_schema(parent=PROJECT, schema=schema_of(_DEFINITION), schema_id="thing")
    topic = pubsub.topic(schema_settings={"schema": schema.name, "encoding": types.Encoding.BINARY})
    subscription = pubsub.subscription(topic)

    with pytest.raises(exceptions.InvalidArgument):
        pubsub.publish(topic, b"\xff\xff\xff")
    pubsub.publish(topic, b"\x0a\x03abc")

    message = pubsub.pull(subscription)[0].message
    assert message.data == b"\x0a\x03abc"
    assert dict(message.attributes) == {
        "googclient_schemaencoding": "BINARY",
        "googclient_schemaname": schema.name,
        "googclient_schemarevisionid": schema.revision_id,
    }


def test_schemas_can_be_made_found_listed_changed_and_deleted(pubsub: PubSub) -> None:
    """Deployment and the local stack register the same definitions."""
    pubsub.needs("protobuf schemas")
    schemas = pubsub.schemas
    made = schemas.create_schema(parent=PROJECT, schema=schema_of(_DEFINITION), schema_id="other")

    wider = _DEFINITION.replace("size = 2;", "size = 2; bool old = 3;")
    committed = schemas.commit_schema(name=made.name, schema=schema_of(wider))

    assert made.definition == _DEFINITION
    assert schemas.get_schema(name=made.name).definition == wider
    assert committed.revision_id != made.revision_id
    assert made.name in [one.name for one in schemas.list_schemas(parent=PROJECT)]
    with pytest.raises(exceptions.AlreadyExists):
        schemas.create_schema(parent=PROJECT, schema=schema_of(_DEFINITION), schema_id="other")
    schemas.delete_schema(name=made.name)
    with pytest.raises(exceptions.NotFound):
        schemas.get_schema(name=made.name)


def test_a_definition_and_a_message_can_be_validated_beforehand(pubsub: PubSub) -> None:
    """CI asks this before it deploys."""
    pubsub.needs("protobuf schemas")
    schemas = pubsub.schemas

    schemas.validate_schema(parent=PROJECT, schema=schema_of(_DEFINITION))
    for broken in ("message Thing {", "", _DEFINITION + " message Second {}"):
        with pytest.raises(exceptions.InvalidArgument):
            schemas.validate_schema(parent=PROJECT, schema=schema_of(broken))
    request = {"parent": PROJECT, "schema": schema_of(_DEFINITION), "encoding": types.Encoding.JSON}
    schemas.validate_message(request={**request, "message": b'{"name": "a"}'})
    with pytest.raises(exceptions.InvalidArgument):
        schemas.validate_message(request={**request, "message": b'{"colour": "a"}'})


# Ours only: what the local stack relies on.


def test_what_is_not_built_is_refused_and_not_ignored(ours: PubSub) -> None:
    """Better a sentence at the start than a promise that is not kept."""
    topic = ours.topic()
    subscription = ours.subscription(topic)

    with pytest.raises(exceptions.MethodNotImplemented):
        ours.subscription(topic, enable_exactly_once_delivery=True)
    with pytest.raises(exceptions.MethodNotImplemented):
        ours.topic(message_retention_duration={"seconds": 600})
    with pytest.raises(exceptions.MethodNotImplemented):
        ours.subscriber.seek(request={"subscription": subscription, "snapshot": f"{PROJECT}/snapshots/abc"})
    with pytest.raises(exceptions.MethodNotImplemented):
        ours.subscriber.create_snapshot(name=f"{PROJECT}/snapshots/abc", subscription=subscription)
    with pytest.raises(exceptions.MethodNotImplemented):
        avro = types.Schema(type_=types.Schema.Type.AVRO, definition="{}")
        ours.schemas.create_schema(parent=PROJECT, schema=avro, schema_id="avro")
    with pytest.raises(exceptions.NotFound, match="this is local"):
        ours.raw.create_topic(name="projects/elsewhere/topics/abc")


@pytest.mark.parametrize(
    ("text", "attributes", "matches"),
    [
        ("", {}, True),
        ('attributes.a = "1"', {"a": "1"}, True),
        ('attributes.a = "1"', {"a": "2"}, False),
        ('attributes.a != "1"', {"a": "2"}, True),
        ("attributes:a", {"a": ""}, True),
        ("NOT attributes:a", {}, True),
        ("-attributes:a", {"a": ""}, False),
        ('hasPrefix(attributes.a, "te")', {"a": "text"}, True),
        ('hasPrefix(attributes.a, "te")', {"a": "image"}, False),
        ('attributes.a = "1" AND attributes.b = "2"', {"a": "1"}, False),
        ('attributes.a = "1" OR attributes.b = "2"', {"a": "1"}, True),
        ('attributes:c AND (attributes.a = "1" OR attributes.b = "2")', {"b": "2", "c": ""}, True),
        ('attributes."a key" = "say \\"hi\\""', {"a key": 'say "hi"'}, True),
    ],
)
def test_a_filter_means_what_google_says(text: str, attributes: dict[str, str], matches: bool) -> None:
    """A filter that is read differently here lets other messages through than in the cloud."""
    assert filters.parse(text)(attributes) is matches


@pytest.mark.parametrize(
    "text",
    ["a", "attributes", "attributes.a", "attributes.a = x", "attributes:a AND attributes:b OR attributes:c", "()", "$"],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    """A misread filter would lose messages in silence."""
    with pytest.raises(filters.BadFilter):
        filters.parse(text)


def test_retries_wait_longer_each_time_up_to_the_maximum() -> None:
    """A function that is down is not hammered."""
    retry = {"minimum_backoff": {"seconds": 10}, "maximum_backoff": {"seconds": 600}}
    subscription = types.Subscription.pb(types.Subscription(retry_policy=retry))

    assert [backoff(subscription, attempts) for attempts in (1, 2, 3, 7, 100)] == [10, 20, 40, 600, 600]


def test_a_push_carries_a_token_that_google_auth_verifies(tmp_path: Path, door: Door) -> None:
    """The functions verify pushes with Google's library, here as in the cloud."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signer = crypt.RSASigner.from_string(private, key_id="1")  # type: ignore[no-untyped-call]

    def sign(claims: dict[str, object]) -> str:
        return str(google_jwt.encode(signer, claims), "ascii")  # type: ignore[no-untyped-call]

    server = PubSubServer(tmp_path, sign=sign, issuer="https://issuer.example")
    server.start()
    with clients("ours", server.url, server) as pubsub:
        topic = pubsub.topic()
        for audience in ("", "https://audience.example"):
            token = {"service_account_email": "push@local.example", "audience": audience}
            pubsub.subscription(topic, push_config={"push_endpoint": f"{door.url}/f", "oidc_token": token})
        pubsub.publish(topic)
        tokens = [door.next().headers["authorization"].removeprefix("Bearer ") for _ in range(2)]
    server.stop()

    claims = [google_jwt.decode(token, certs={"1": public}) for token in tokens]  # type: ignore[no-untyped-call]
    assert {one["aud"] for one in claims} == {f"{door.url}/f", "https://audience.example"}
    for one in claims:
        assert (one["iss"], one["email"]) == ("https://issuer.example", "push@local.example")
        assert one["email_verified"] is True
        assert one["sub"] == one["azp"]


def test_a_push_in_cloud_events_mode_is_a_binary_cloud_event(ours: PubSub, door: Door) -> None:
    """Cloud Run makes one of a push to such an address before the function sees it."""
    topic = ours.topic()
    mode = f"__GCP_CloudEventsMode=CUSTOM_PUBSUB_{topic.replace('/', '%2F')}"
    subscription = ours.subscription(topic, push_config={"push_endpoint": f"{door.url}/?{mode}"})

    message_id = ours.publish(topic, b"hello")

    pushed = door.next()
    event = from_http(pushed.headers, pushed.body)
    assert event["source"] == f"//pubsub.googleapis.com/{topic}"
    assert event["type"] == "google.cloud.pubsub.topic.v1.messagePublished"
    assert event["id"] == event.data["message"]["messageId"] == message_id
    assert event.data["subscription"] == subscription


def test_an_endpoint_that_nobody_listens_on_costs_no_attempt(ours: PubSub, door: Door) -> None:
    """A function that starts later than its messages must not find them among the dead letters."""
    absent, dead, topic = Door(), ours.topic(), ours.topic()
    absent.stop()
    letters = ours.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    waiting = ours.subscription(topic, push_config={"push_endpoint": absent.url}, dead_letter_policy=policy)
    failing = ours.subscription(topic, push_config={"push_endpoint": door.url}, dead_letter_policy=policy)
    door.will_answer(*[500] * 5)

    ours.publish(topic)
    letter = ours.pull(letters)[0]

    assert letter.message.attributes["CloudPubSubDeadLetterSourceSubscription"] == failing.rpartition("/")[2]
    ours.subscriber.modify_push_config(subscription=waiting, push_config={"push_endpoint": f"{door.url}/started"})
    pushed = [door.next() for _ in range(6)][-1].json
    assert (pushed["subscription"], pushed["deliveryAttempt"]) == (waiting, 1)


def test_no_more_pushes_are_under_way_than_allowed(tmp_path: Path) -> None:
    """The bound is what stands for a function's instances and their concurrency."""
    inside, most, lock = 0, 0, threading.Lock()
    gate = threading.Event()

    def answer(_: Request) -> Response:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait(PATIENCE)
        with lock:
            inside -= 1
        return Response(status_code=204)

    http = HttpServer(Starlette(routes=[Route("/", answer, methods=["POST"])]))
    http.start()
    server = PubSubServer(tmp_path, push_concurrency=3)
    server.start()
    with clients("ours", server.url, server) as pubsub:
        topic = pubsub.topic()
        pubsub.subscription(topic, push_config={"push_endpoint": http.url})
        for _ in range(10):
            pubsub.publish(topic)
        until(lambda: inside == 3)
        gate.set()
        until(server.idle)
    server.stop()
    http.stop()

    assert most == 3


def test_a_push_past_its_deadline_is_repeated_while_the_first_still_runs(ours: PubSub) -> None:
    """A function that timed out keeps running, so leases are fenced; this is the case that they are fenced against."""
    first, repeated, gate = threading.Event(), threading.Event(), threading.Event()

    def answer(_: Request) -> Response:
        if first.is_set():
            repeated.set()
            return Response(status_code=204)
        first.set()
        gate.wait(PATIENCE)
        return Response(status_code=204)

    http = HttpServer(Starlette(routes=[Route("/", answer, methods=["POST"])]))
    http.start()
    topic = ours.topic()
    ours.subscription(topic, push_config={"push_endpoint": http.url}, ack_deadline_seconds=10)

    ours.publish(topic)

    assert repeated.wait(PATIENCE)
    assert ours.server is not None
    until(ours.server.idle)
    gate.set()
    http.stop()


def test_the_backlog_and_idleness_are_told_truthfully(ours: PubSub) -> None:
    """`--once` ends when nothing is left to do, and not before."""
    topic = ours.topic()
    subscription = ours.subscription(topic)
    short = subscription.rpartition("/")[2]
    server = ours.server
    assert server is not None
    assert server.idle()

    ours.publish(topic)
    ours.publish(topic)
    assert (server.backlog(), server.idle()) == ({short: 2}, False)
    received = ours.pull(subscription, 2)
    assert (server.backlog(), server.idle()) == ({short: 2}, False)
    ours.ack(subscription, *received)

    assert (server.backlog(), server.idle()) == ({short: 0}, True)


def test_a_large_payload_is_kept_once_and_gone_when_all_have_it(ours: PubSub, tmp_path: Path) -> None:
    """A backlog of chunks must not fill the disk twice, nor for ever."""
    topic = ours.topic()
    subscriptions = [ours.subscription(topic) for _ in range(3)]
    data = os.urandom(2 * 1024 * 1024)
    ours.publish(topic, data)

    def stored() -> int:
        return sum(file.stat().st_size for file in (tmp_path / "payloads").iterdir())

    for subscription in subscriptions:
        assert stored() == len(data)
        received = ours.pull(subscription)[0]
        assert received.message.data == data
        ours.ack(subscription, received)
    assert stored() == 0


def test_faults_repeat_delay_lose_shuffle_and_hold(ours: PubSub) -> None:
    """Tests of the functions rely on these."""
    topic = ours.topic()
    subscription = ours.subscription(topic)
    assert ours.server is not None
    faults, short = ours.server.faults, subscription.rpartition("/")[2]

    faults.change(short, duplicate=2)
    ours.publish(topic)
    for _ in range(3):
        ours.ack(subscription, ours.pull(subscription)[0])
    assert ours.server.idle()

    faults.clear()
    faults.hold(short)
    for n in range(50):
        ours.publish(topic, str(n).encode())
    assert ours.pull_now(subscription) == []
    faults.change(short, shuffle=True)
    faults.release(short)
    received = ours.pull(subscription, 50)
    assert [one.message.data for one in received] != sorted((one.message.data for one in received), key=int)
    ours.ack(subscription, *received)

    faults.clear()
    faults.change(short, drop=1, delay=0.1)
    ours.publish(topic)
    assert ours.pull_now(subscription) == []
    assert ours.pull(subscription)[0].message.data == b"hello"


def test_stopping_is_quick_while_pushes_and_pulls_are_under_way(tmp_path: Path) -> None:
    """Ctrl-C must not wait for a streaming life of eight minutes."""
    gate, entered = threading.Event(), threading.Event()

    def answer(_: Request) -> Response:
        entered.set()
        gate.wait(PATIENCE)
        return Response(status_code=204)

    http = HttpServer(Starlette(routes=[Route("/", answer, methods=["POST"])]))
    http.start()
    server = PubSubServer(tmp_path)
    server.start()
    with clients("ours", server.url, server) as pubsub:
        topic = pubsub.topic()
        pubsub.subscription(topic, push_config={"push_endpoint": http.url}, ack_deadline_seconds=600)
        stream = pubsub.subscriber.subscribe(pubsub.subscription(topic), lambda message: message.ack())
        pubsub.publish(topic)
        assert entered.wait(PATIENCE)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        stopper.join(PATIENCE)
        assert not stopper.is_alive()
        stream.cancel()
    server.stop()
    gate.set()
    http.stop()

    again = PubSubServer(tmp_path)
    assert not again.idle()
    again.stop()


def test_a_port_or_a_folder_that_is_taken_is_an_error_in_a_sentence(ours: PubSub, tmp_path: Path) -> None:
    """Two stacks on one folder would deliver everything twice."""
    other = PubSubServer(tmp_path / "other")

    with pytest.raises(OSError, match="taken"):
        other.start(port=int(ours.host.partition(":")[2]))
    other.stop()
    with pytest.raises(OSError, match="another server"):
        PubSubServer(tmp_path)


# kill -9.

_CHILD = """
import sys
from pathlib import Path
from infra.local.pubsub import PubSubServer
server = PubSubServer(Path(sys.argv[1]), backoff_scale=0.01)
server.start()
print(server.url, flush=True)
sys.stdin.read()
"""


@contextmanager
def killed(data: Path) -> Iterator[PubSub]:
    """A server in its own process, which is killed at the end of the block."""
    command = [sys.executable, "-c", _CHILD, str(data)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        host = child.stdout.readline().strip()
        try:
            with clients("ours", host) as pubsub:
                yield pubsub
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        finally:
            child.kill()


def test_what_was_not_acknowledged_comes_again_after_kill_9(tmp_path: Path) -> None:
    """The stack may be killed at any moment; the same command goes on and loses nothing."""
    large = os.urandom(2 * 1024 * 1024)
    with killed(tmp_path) as pubsub:
        dead, topic = pubsub.topic(), pubsub.topic()
        policy = {"dead_letter_topic": dead, "max_delivery_attempts": 10}
        subscription = pubsub.subscription(topic, dead_letter_policy=policy, ack_deadline_seconds=600)
        published = [pubsub.publish(topic, str(n).encode(), number=str(n)) for n in range(10)]
        received = pubsub.pull(subscription, 10)
        pubsub.ack(subscription, *received[:5])
        published.append(pubsub.publish(topic, large))
        for _ in range(2):
            pubsub.nack(subscription, pubsub.pull(subscription)[0])
        pubsub.pull(subscription)

    with killed(tmp_path) as pubsub:
        again = {one.message.message_id: one for one in pubsub.pull(subscription, 6)}

    assert set(again) == set(published) - {one.message.message_id for one in received[:5]}
    assert again[published[-1]].message.data == large
    # Two refusals count; the delivery that the kill broke off does not.
    assert again[published[-1]].delivery_attempt == 3
    assert {one.delivery_attempt for key, one in again.items() if key != published[-1]} == {1}


def test_every_publish_that_was_answered_survives_kill_9_in_full_flight(tmp_path: Path) -> None:
    """Publish, then move the cursor: the answer is what lets the cursor move."""
    answered: set[str] = set()
    with killed(tmp_path) as pubsub:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        stop = threading.Event()

        def publish() -> None:
            with suppress(exceptions.GoogleAPICallError, exceptions.RetryError):
                while not stop.is_set():
                    request = {"topic": topic, "messages": [{"data": os.urandom(100_000)}]}
                    answered.update(pubsub.raw.publish(request=request, timeout=5, retry=None).message_ids)

        threads = [threading.Thread(target=publish) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) >= 60)
    stop.set()
    for thread in threads:
        thread.join()

    with killed(tmp_path) as pubsub:
        found: set[str] = set()
        while not answered <= found:
            received = pubsub.pull(subscription)
            found.update(one.message.message_id for one in received)
            pubsub.ack(subscription, *received)


def test_a_push_that_the_kill_broke_off_is_repeated_to_the_new_port(tmp_path: Path, door: Door) -> None:
    """At the next start the functions listen elsewhere; their messages must find them."""
    described = json.loads((ROOT / "infra/topology.json").read_text())
    more: dict[str, Any] = {
        "schema_dir": ROOT / "schemas/messages",
        "audience": "",
        "service_account": "push@local.example",
    }
    change = file_changed_pb2.FileChanged(user_id="u", file_id="f", version=1)
    with killed(tmp_path) as pubsub:
        topology.apply(pubsub.host, "local", described, {"file_streamer": "http://127.0.0.1:9/"}, **more)
        pubsub.publish(f"{PROJECT}/topics/file-changes", change.SerializeToString())
        with pytest.raises(exceptions.InvalidArgument):
            pubsub.publish(f"{PROJECT}/topics/file-changes", b"\xff\xff")

    with killed(tmp_path) as pubsub:
        topology.apply(pubsub.host, "local", described, {"file_streamer": f"{door.url}/fresh"}, **more)
        pushed = door.next()

        assert file_changed_pb2.FileChanged.FromString(pushed.data) == change
        assert pushed.json["deliveryAttempt"] == 1
        config = pubsub.subscriber.get_subscription(subscription=f"{PROJECT}/subscriptions/file-streamer-backfill")
        assert config.push_config.push_endpoint == f"{door.url}/fresh"
        assert config.dead_letter_policy.max_delivery_attempts == 5
