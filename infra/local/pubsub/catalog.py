"""Topics, subscriptions and schemas: in memory for reading, in the store for the next start."""

from __future__ import annotations

import re

import grpc
from google.pubsub_v1 import types

from infra.local.pubsub.store import Store
from infra.local.pubsub.wire import Pb, Refused, bad

TOPICS, SUBSCRIPTIONS, SCHEMAS = "topics", "subscriptions", "schemas"
DELETED_TOPIC = "_deleted-topic_"

_CLASSES = {TOPICS: types.Topic.pb(), SUBSCRIPTIONS: types.Subscription.pb(), SCHEMAS: types.Schema.pb()}
_NAME = re.compile(r"projects/([^/]+)/(topics|subscriptions|schemas)/([A-Za-z][A-Za-z0-9\-_.~+%]{2,254})")
_PAGE = 1000


class Catalog:
    """What exists in one project. The broker's lock is held around every call that changes something."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._project = project
        self._all: dict[str, dict[str, Pb]] = {
            kind: {name: cls.FromString(body) for name, body in store.resources(kind).items()}
            for kind, cls in _CLASSES.items()
        }

    def get(self, kind: str, name: str) -> Pb:
        found = self._all[kind].get(name)
        if found is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")
        return found

    def find(self, kind: str, name: str) -> Pb | None:
        return self._all[kind].get(name)

    def add(self, kind: str, resource: Pb) -> Pb:
        """Keep a new resource under its own name."""
        self._check_name(kind, resource.name)
        if resource.name in self._all[kind]:
            raise Refused(
                grpc.StatusCode.ALREADY_EXISTS, f"Resource already exists in the project (resource={resource.name})."
            )
        return self.put(kind, resource)

    def put(self, kind: str, resource: Pb) -> Pb:
        self._store.keep(kind, resource.name, resource.SerializeToString())
        self._all[kind][resource.name] = resource
        return resource

    def remove(self, kind: str, name: str) -> None:
        self.get(kind, name)
        self._store.forget(kind, name)
        del self._all[kind][name]

    def names(self, kind: str) -> list[str]:
        return sorted(self._all[kind])

    def page(self, kind: str, parent: str, size: int, token: str) -> tuple[list[Pb], str]:
        """Resources of a project by name, and the token of the next page."""
        prefix = f"{parent}/{kind}/"
        names = [name for name in self.names(kind) if name.startswith(prefix) and name > token]
        shown = names[: size or _PAGE]
        return [self._all[kind][name] for name in shown], shown[-1] if len(shown) < len(names) else ""

    def subscriptions_of(self, topic: str) -> list[Pb]:
        return [one for one in list(self._all[SUBSCRIPTIONS].values()) if one.topic == topic]

    def _check_name(self, kind: str, name: str) -> None:
        parts = _NAME.fullmatch(name)
        if parts is None or parts[2] != kind or parts[3].lower().startswith("goog"):
            raise bad(f"Invalid resource name given (name={name}): want projects/PROJECT/{kind}/ID.")
        if parts[1] != self._project:
            raise Refused(
                grpc.StatusCode.NOT_FOUND, f"Requested project not found: {parts[1]} (this is {self._project})."
            )
