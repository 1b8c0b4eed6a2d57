"""Make what `infra/topology.json` describes: topics with their schemas, and push subscriptions to the functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import PublisherClient, SchemaServiceClient, SubscriberClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

_CHANGEABLE = ("push_config", "ack_deadline_seconds", "retry_policy", "dead_letter_policy")


def apply(
    host: str,
    project: str,
    topology: Mapping[str, Any],
    push_endpoints: Mapping[str, str],
    *,
    schema_dir: Path,
    audience: str,
    service_account: str,
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Make or correct everything; safe to repeat, as at every start, when the functions listen on other ports.

    `host` is HOST:PORT. `push_endpoints` maps a function to its address; a subscription whose function is missing
    there keeps its messages until someone pulls them. `audience` may be empty: then it is each push's own address.
    `overrides` replaces fields of every subscription's description, such as `ack_deadline_seconds`.
    """
    with grpc.insecure_channel(host) as channel:
        schemas = SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=channel))
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        parent = f"projects/{project}"
        for file in sorted({topic["schema"] for topic in topology["topics"].values() if topic["schema"]}):
            _apply_schema(schemas, parent, schema_dir / file)
        for name, topic in topology["topics"].items():
            _apply_topic(publisher, parent, name, topic["schema"])
        for name, described in topology["subscriptions"].items():
            described = {**described, **(overrides or {})}
            endpoint = push_endpoints.get(described["function"], "")
            wanted = _subscription(parent, name, described)
            wanted.push_config = _push_config(endpoint, audience, service_account)
            _apply_subscription(subscriber, wanted)


def _apply_schema(client: SchemaServiceClient, parent: str, file: Path) -> None:
    wanted = types.Schema(type_=types.Schema.Type.PROTOCOL_BUFFER, definition=file.read_text(encoding="utf-8"))
    name = f"{parent}/schemas/{file.stem}"
    create = {"parent": parent, "schema": wanted, "schema_id": file.stem}
    if _made(lambda: client.create_schema(request=create)):
        return
    if client.get_schema(name=name).definition != wanted.definition:
        client.commit_schema(name=name, schema=types.Schema(wanted, name=name))


def _apply_topic(client: PublisherClient, parent: str, name: str, schema: str | None) -> None:
    topic = types.Topic(name=f"{parent}/topics/{name}")
    if schema:
        topic.schema_settings = types.SchemaSettings(
            schema=f"{parent}/schemas/{Path(schema).stem}", encoding=types.Encoding.BINARY
        )
    if not _made(lambda: client.create_topic(request=topic)) and schema:
        client.update_topic(topic=topic, update_mask=FieldMask(paths=["schema_settings"]))


def _apply_subscription(client: SubscriberClient, wanted: types.Subscription) -> None:
    if _made(lambda: client.create_subscription(request=wanted)):
        return
    if client.get_subscription(subscription=wanted.name).filter != wanted.filter:
        # A filter cannot be changed. What the old one held is lost with it; the caretaker says it again.
        client.delete_subscription(subscription=wanted.name)
        client.create_subscription(request=wanted)
    client.update_subscription(subscription=wanted, update_mask=FieldMask(paths=_CHANGEABLE))


def _subscription(parent: str, name: str, described: Mapping[str, Any]) -> types.Subscription:
    wanted = types.Subscription(
        name=f"{parent}/subscriptions/{name}",
        topic=f"{parent}/topics/{described['topic']}",
        filter=described.get("filter", ""),
        ack_deadline_seconds=described["ack_deadline_seconds"],
        retry_policy=types.RetryPolicy(
            minimum_backoff={"seconds": described["minimum_backoff_seconds"]},
            maximum_backoff={"seconds": described["maximum_backoff_seconds"]},
        ),
        expiration_policy=types.ExpirationPolicy(),
    )
    if described["max_delivery_attempts"]:
        wanted.dead_letter_policy = types.DeadLetterPolicy(
            dead_letter_topic=f"{parent}/topics/dead-letters", max_delivery_attempts=described["max_delivery_attempts"]
        )
    return wanted


def _push_config(endpoint: str, audience: str, service_account: str) -> types.PushConfig:
    if not endpoint:
        return types.PushConfig()
    token = types.PushConfig.OidcToken(service_account_email=service_account, audience=audience)
    return types.PushConfig(push_endpoint=endpoint, oidc_token=token)


def _made(create: Callable[[], object]) -> bool:
    try:
        create()
    except AlreadyExists:
        return False
    return True
