"""google.pubsub.v1.Subscriber: subscriptions, pulling and acknowledging."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from infra.local.pubsub import filters
from infra.local.pubsub.broker import Broker, Delivery
from infra.local.pubsub.catalog import SUBSCRIPTIONS, TOPICS, Catalog
from infra.local.pubsub.flow import Flow
from infra.local.pubsub.wire import Pb, Refused, bad, not_here, service, streams, unary

# An answer stays under gRPC's default limit of 4 MB for what a client receives: Google's client does not raise it when
# PUBSUB_EMULATOR_HOST is set. One larger message still goes alone, to clients that take it.
_ANSWER_SIZE = 3_500_000
_PULL_SECONDS = 20.0
_NOT_HERE = (
    "bigquery_config",
    "cloud_storage_config",
    "bigtable_config",
    "detached",
    "enable_exactly_once_delivery",
    "message_transforms",
)
_FIXED = ("name", "topic", "filter", "enable_message_ordering")

_Subscription, _List = types.Subscription.pb(), types.ListSubscriptionsResponse.pb()
_Pulled, _Streamed = types.PullResponse.pb(), types.StreamingPullResponse.pb()
_Received = types.ReceivedMessage.pb()


class Subscriber:
    """One method for each call of the service."""

    def __init__(self, broker: Broker, catalog: Catalog) -> None:
        self._broker = broker
        self._catalog = catalog
        self._stopping = False

    def stop(self) -> None:
        """End the calls that wait for messages."""
        with self._broker.changed:
            self._stopping = True
            self._broker.changed.notify_all()

    def create(self, request: Pb) -> Pb:
        subscription = _Subscription()
        subscription.CopyFrom(request)
        _complete(subscription)
        with self._broker.changed:
            self._catalog.get(TOPICS, subscription.topic)
            self._catalog.add(SUBSCRIPTIONS, subscription)
            self._broker.wake([subscription.name])
        return subscription

    def update(self, request: Pb) -> Pb:
        mask = request.update_mask
        if not mask.IsValidForDescriptor(_Subscription.DESCRIPTOR):
            raise bad("The update mask names a field that does not exist.")
        if fixed := [path for path in mask.paths if path.split(".")[0] in _FIXED]:
            raise bad(f"Invalid update_mask provided: {fixed[0]} cannot be changed.")
        with self._broker.changed:
            subscription = _Subscription()
            subscription.CopyFrom(self._catalog.get(SUBSCRIPTIONS, request.subscription.name))
            mask.MergeMessage(request.subscription, subscription, replace_message_field=True)
            _complete(subscription)
            self._catalog.put(SUBSCRIPTIONS, subscription)
            self._broker.wake([subscription.name])
        return subscription

    def modify_push(self, request: Pb) -> Pb:
        with self._broker.changed:
            subscription = _Subscription()
            subscription.CopyFrom(self._catalog.get(SUBSCRIPTIONS, request.subscription))
            subscription.push_config.CopyFrom(request.push_config)
            _complete(subscription)
            self._catalog.put(SUBSCRIPTIONS, subscription)
            self._broker.wake([subscription.name])
        return Empty()

    def get(self, request: Pb) -> Pb:
        return self._catalog.get(SUBSCRIPTIONS, request.subscription)

    def list(self, request: Pb) -> Pb:
        found, token = self._catalog.page(SUBSCRIPTIONS, request.project, request.page_size, request.page_token)
        return _List(subscriptions=found, next_page_token=token)

    def delete(self, request: Pb) -> Pb:
        with self._broker.changed:
            self._catalog.remove(SUBSCRIPTIONS, request.subscription)
            self._broker.forget(request.subscription)
            self._broker.wake([request.subscription])
        return Empty()

    def seek(self, request: Pb) -> Pb:
        """To a time. What was acknowledged comes back only where `retain_acked_messages` kept it."""
        self._catalog.get(SUBSCRIPTIONS, request.subscription)
        if not request.HasField("time"):
            raise not_here("Seeking to a snapshot is")
        self._broker.seek(request.subscription, request.time.ToMicroseconds())
        return types.SeekResponse.pb()()

    def acknowledge(self, request: Pb) -> Pb:
        self._catalog.get(SUBSCRIPTIONS, request.subscription)
        self._broker.acknowledge(request.subscription, request.ack_ids)
        return Empty()

    def modify_deadline(self, request: Pb) -> Pb:
        self._catalog.get(SUBSCRIPTIONS, request.subscription)
        if not 0 <= request.ack_deadline_seconds <= 600:
            raise bad("ack_deadline_seconds must be between 0 and 600.")
        self._set_deadlines(
            request.subscription, request.ack_ids, [request.ack_deadline_seconds] * len(request.ack_ids)
        )
        return Empty()

    def _set_deadlines(self, subscription: str, ack_ids: Any, seconds: Any) -> None:
        pairs = list(zip(ack_ids, seconds, strict=True))
        if refused := [ack_id for ack_id, allowed in pairs if allowed == 0]:
            self._broker.refuse(subscription, refused)
        for ack_id, allowed in pairs:
            if allowed:
                self._broker.extend(subscription, ack_id, allowed)

    def pull(self, request: Pb, context: grpc.ServicerContext) -> Pb:
        """Whatever is there; if nothing is, wait for it a while, and then answer empty."""
        if request.max_messages <= 0:
            raise bad("max_messages must be positive.")
        name = request.subscription
        patience = min(_PULL_SECONDS, (context.time_remaining() or _PULL_SECONDS) - 0.2)
        until = time.monotonic() + (0 if request.return_immediately else patience)
        while True:
            subscription = self._catalog.get(SUBSCRIPTIONS, name)
            with self._broker.changed:
                deadline = subscription.ack_deadline_seconds
                taken = self._broker.take(name, min(request.max_messages, 1000), _ANSWER_SIZE, deadline)
                left = until - time.monotonic()
                if taken or left <= 0 or self._stopping or not context.is_active():
                    return _Pulled(received_messages=_received(taken, subscription))
                self._rest(name, left)

    def _rest(self, subscription: str, longest: float) -> None:
        """Wait until something may have changed. Bounded, since nobody says that a caller has gone."""
        soonest = self._broker.next_event(subscription)
        self._broker.changed.wait(min(longest, 1.0 if soonest is None else soonest))

    def stream(self, requests: Iterator[Pb], context: grpc.ServicerContext) -> Iterator[Pb]:
        """Deliver as messages come; requests on the same stream acknowledge them and move their deadlines."""
        first = next(requests, None)
        if first is None:
            return
        self._catalog.get(SUBSCRIPTIONS, first.subscription)
        if not 10 <= first.stream_ack_deadline_seconds <= 600:
            raise bad("stream_ack_deadline_seconds must be between 10 and 600.")
        flow = Flow(self._broker, first)
        listener = threading.Thread(target=self._hear, args=(first, requests, flow), daemon=True)
        listener.start()
        while context.is_active() and not self._stopping and not flow.closed:
            subscription = self._catalog.get(SUBSCRIPTIONS, first.subscription)
            with self._broker.changed:
                taken = self._broker.take(subscription.name, *flow.room(_ANSWER_SIZE), flow.seconds)
                if not taken:
                    self._rest(subscription.name, 1.0)
                    continue
            flow.sent(taken)
            yield _streamed(taken, subscription)

    def _hear(self, request: Pb, requests: Iterator[Pb], flow: Flow) -> None:
        name = request.subscription
        try:
            while request is not None:
                if request.ack_ids:
                    self._broker.acknowledge(name, request.ack_ids)
                self._set_deadlines(name, request.modify_deadline_ack_ids, request.modify_deadline_seconds)
                if request.stream_ack_deadline_seconds:
                    flow.seconds = request.stream_ack_deadline_seconds
                request = next(requests, None)
        except grpc.RpcError:
            pass  # the client went away without closing its half; the stream ends either way
        flow.close()

    def handler(self) -> Any:
        return service(
            "Subscriber",
            {
                "CreateSubscription": unary(self.create, types.Subscription, types.Subscription),
                "UpdateSubscription": unary(self.update, types.UpdateSubscriptionRequest, types.Subscription),
                "GetSubscription": unary(self.get, types.GetSubscriptionRequest, types.Subscription),
                "ListSubscriptions": unary(self.list, types.ListSubscriptionsRequest, types.ListSubscriptionsResponse),
                "DeleteSubscription": unary(self.delete, types.DeleteSubscriptionRequest, Empty),
                "ModifyPushConfig": unary(self.modify_push, types.ModifyPushConfigRequest, Empty),
                "ModifyAckDeadline": unary(self.modify_deadline, types.ModifyAckDeadlineRequest, Empty),
                "Acknowledge": unary(self.acknowledge, types.AcknowledgeRequest, Empty),
                "Seek": unary(self.seek, types.SeekRequest, types.SeekResponse),
                "Pull": unary(self.pull, types.PullRequest, types.PullResponse, with_context=True),
                "StreamingPull": streams(self.stream, types.StreamingPullRequest, types.StreamingPullResponse),
            },
        )


def _complete(subscription: Pb) -> None:
    """Refuse what is wrong, fill in Google's defaults."""
    for field, _ in subscription.ListFields():
        if field.name in _NOT_HERE:
            raise not_here(f"Subscription.{field.name} is")
    subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or 10
    if not 10 <= subscription.ack_deadline_seconds <= 600:
        raise bad("ack_deadline_seconds must be between 10 and 600.")
    endpoint = subscription.push_config.push_endpoint
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise bad(f"Invalid push endpoint given (endpoint={endpoint}).")
    if len(subscription.filter.encode()) > 256:
        raise bad("A filter has at most 256 bytes.")
    try:
        filters.parse(subscription.filter)
    except filters.BadFilter as error:
        raise bad(f"Invalid filter: {error}") from error
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.FromSeconds(7 * 24 * 3600)
    _complete_policies(subscription)


def _complete_policies(subscription: Pb) -> None:
    if subscription.HasField("dead_letter_policy"):
        policy = subscription.dead_letter_policy
        policy.max_delivery_attempts = policy.max_delivery_attempts or 5
        if not 5 <= policy.max_delivery_attempts <= 100:
            text = "max_delivery_attempts must be between 5 and 100."
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, text)
    if subscription.HasField("retry_policy"):
        retry = subscription.retry_policy
        if not retry.HasField("minimum_backoff"):
            retry.minimum_backoff.FromSeconds(10)
        if not retry.HasField("maximum_backoff"):
            retry.maximum_backoff.FromSeconds(600)
        least, most = retry.minimum_backoff.ToTimedelta(), retry.maximum_backoff.ToTimedelta()
        if not 0 <= least.total_seconds() <= most.total_seconds() <= 600:
            raise bad("Backoffs must be between 0 and 600 seconds, the minimum not above the maximum.")


def _received(deliveries: list[Delivery], subscription: Pb) -> list[Pb]:
    return [_one_received(delivery, subscription.HasField("dead_letter_policy")) for delivery in deliveries]


def _one_received(delivery: Delivery, counts: bool) -> Pb:
    message = delivery.message
    received = _Received(ack_id=delivery.ack_id, delivery_attempt=delivery.attempt if counts else 0)
    received.message.data = message.data
    received.message.attributes.update(message.attributes)
    received.message.message_id = str(message.id)
    received.message.ordering_key = message.ordering_key
    received.message.publish_time.FromMicroseconds(message.published)
    return received


def _streamed(deliveries: list[Delivery], subscription: Pb) -> Pb:
    answer = _Streamed(received_messages=_received(deliveries, subscription))
    answer.subscription_properties.message_ordering_enabled = subscription.enable_message_ordering
    return answer
