"""google.pubsub.v1.Publisher: topics, and publishing to them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types
from starlette.routing import Route

from infra.local.ai.faults import Refusal
from infra.local.pubsub.broker import Broker, Draft
from infra.local.pubsub.catalog import DELETED_TOPIC, SCHEMAS, SUBSCRIPTIONS, TOPICS, Catalog
from infra.local.pubsub.schemas import check
from infra.local.pubsub.wire import Pb, Refused, bad, not_here, service, unary
from infra.local.transcoding import posted

# Google's limits. Sizes are in bytes.
REQUEST_SIZE = 10 * 1024 * 1024
_MESSAGES, _ATTRIBUTES, _KEY, _VALUE, _ORDERING_KEY = 1000, 100, 256, 1024, 1024
_PUBLISHING = 4
_NOT_HERE = ("message_retention_duration", "ingestion_data_source_settings", "message_transforms")

_Topic, _Topics = types.Topic.pb(), types.ListTopicsResponse.pb()
_Publish = types.PublishRequest.pb()
_Names, _Ids = types.ListTopicSubscriptionsResponse.pb(), types.PublishResponse.pb()


class Publisher:
    """One method for each call of the service."""

    def __init__(self, broker: Broker, catalog: Catalog) -> None:
        self._broker = broker
        self._catalog = catalog
        # Requests of 10 MB: what is not taken up yet waits in the sender, not in this process's memory.
        self._pool = ThreadPoolExecutor(max_workers=_PUBLISHING, thread_name_prefix="pubsub-publish")

    def stop(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def create(self, request: Pb) -> Pb:
        topic = _Topic()
        topic.CopyFrom(request)
        self._check(topic)
        with self._broker.changed:
            return self._catalog.add(TOPICS, topic)

    def update(self, request: Pb) -> Pb:
        with self._broker.changed:
            topic = _Topic()
            topic.CopyFrom(self._catalog.get(TOPICS, request.topic.name))
            if "name" in request.update_mask.paths or not request.update_mask.IsValidForDescriptor(_Topic.DESCRIPTOR):
                raise bad("The update mask names a field that cannot be changed.")
            request.update_mask.MergeMessage(request.topic, topic, replace_message_field=True)
            self._check(topic)
            return self._catalog.put(TOPICS, topic)

    def _check(self, topic: Pb) -> None:
        for field, _ in topic.ListFields():
            if field.name in _NOT_HERE:
                raise not_here(f"Topic.{field.name} is")
        if topic.HasField("schema_settings"):
            self._catalog.get(SCHEMAS, topic.schema_settings.schema)
            if topic.schema_settings.encoding not in (int(types.Encoding.BINARY), int(types.Encoding.JSON)):
                raise bad("schema_settings.encoding must be BINARY or JSON.")

    def get(self, request: Pb) -> Pb:
        return self._catalog.get(TOPICS, request.topic)

    def list(self, request: Pb) -> Pb:
        topics, token = self._catalog.page(TOPICS, request.project, request.page_size, request.page_token)
        return _Topics(topics=topics, next_page_token=token)

    def subscriptions(self, request: Pb) -> Pb:
        self._catalog.get(TOPICS, request.topic)
        return _Names(subscriptions=sorted(one.name for one in self._catalog.subscriptions_of(request.topic)))

    def delete(self, request: Pb) -> Pb:
        """Its subscriptions stay with their backlog, as Google's do, and get nothing new."""
        with self._broker.changed:
            self._catalog.remove(TOPICS, request.topic)
            for subscription in self._catalog.subscriptions_of(request.topic):
                subscription.topic = DELETED_TOPIC
                self._catalog.put(SUBSCRIPTIONS, subscription)
        return Empty()

    def publish(self, request: Pb) -> Pb:
        """All messages of the request, or none of them."""
        topic = self._catalog.get(TOPICS, request.topic)
        if not 0 < len(request.messages) <= _MESSAGES:
            raise bad(f"A request publishes 1 to {_MESSAGES} messages, not {len(request.messages)}.")
        if request.ByteSize() > REQUEST_SIZE:
            raise bad(f"Request payload size exceeds the limit: {REQUEST_SIZE} bytes.")
        marks = self._marks(topic)
        drafts = []
        for message in request.messages:
            data = message.data  # each look at it is a copy
            _check_message(message, data)
            if marks:
                schema = self._catalog.get(SCHEMAS, topic.schema_settings.schema)
                check(schema, data, topic.schema_settings.encoding)
            drafts.append(Draft(data, {**message.attributes, **marks}, message.ordering_key))
        return _Ids(message_ids=[str(number) for number in self._broker.publish(topic.name, drafts)])

    def _marks(self, topic: Pb) -> Mapping[str, str]:
        """The attributes that say which schema a message obeys."""
        if not topic.HasField("schema_settings"):
            return {}
        schema = self._catalog.find(SCHEMAS, topic.schema_settings.schema)
        if schema is None:
            raise bad(f"The schema of the topic is deleted (schema={topic.schema_settings.schema}).")
        return {
            "googclient_schemaencoding": types.Encoding(topic.schema_settings.encoding).name,
            "googclient_schemaname": schema.name,
            "googclient_schemarevisionid": schema.revision_id,
        }

    def routes(self) -> tuple[Route, ...]:
        """By REST: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish"""
        return (posted("/v1/{topic:path}:publish", _Publish, self._publish_or_refuse),)

    def _publish_or_refuse(self, request: Pb) -> Pb:
        try:
            return self.publish(request)
        except Refused as refused:
            raise Refusal(refused.code.name, refused.text) from refused

    def handler(self) -> Any:
        return service(
            "Publisher",
            {
                "CreateTopic": unary(self.create, types.Topic, types.Topic),
                "UpdateTopic": unary(self.update, types.UpdateTopicRequest, types.Topic),
                "GetTopic": unary(self.get, types.GetTopicRequest, types.Topic),
                "ListTopics": unary(self.list, types.ListTopicsRequest, types.ListTopicsResponse),
                "ListTopicSubscriptions": unary(
                    self.subscriptions, types.ListTopicSubscriptionsRequest, types.ListTopicSubscriptionsResponse
                ),
                "DeleteTopic": unary(self.delete, types.DeleteTopicRequest, Empty),
                "Publish": unary(self.publish, types.PublishRequest, types.PublishResponse, pool=self._pool),
            },
        )


def _check_message(message: Pb, data: bytes) -> None:
    if not data and not message.attributes:
        raise bad("A message must have data or at least one attribute.")
    if len(message.attributes) > _ATTRIBUTES:
        raise bad(f"A message has at most {_ATTRIBUTES} attributes, not {len(message.attributes)}.")
    for key, value in message.attributes.items():
        if not 0 < len(key.encode()) <= _KEY or len(value.encode()) > _VALUE:
            raise bad(f"An attribute's key has 1 to {_KEY} bytes and its value at most {_VALUE}: {key[:40]!r}.")
    if len(message.ordering_key.encode()) > _ORDERING_KEY:
        raise bad(f"An ordering key has at most {_ORDERING_KEY} bytes.")
