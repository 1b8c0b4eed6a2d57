"""What the tests of Firestore share: clients of a fresh project, and small stories told with them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

UP, DOWN = "ASCENDING", "DESCENDING"
ANONYMOUS: Any = AnonymousCredentials()  # type: ignore[no-untyped-call]
NO_RETRY: dict[str, Any] = {"retry": None, "timeout": 10.0}

INDEXES: list[dict[str, Any]] = [
    {"collection": "cities", "fields": [{"path": "state", "order": UP}, {"path": "people", "order": UP}]},
    {"collection": "cities", "fields": [{"path": "coastal", "order": UP}, {"path": "people", "order": UP}]},
    {"collection": "cities", "fields": [{"path": "area", "order": UP}, {"path": "people", "order": DOWN}]},
    {"collection": "cities", "fields": [{"path": "tags", "array_config": "CONTAINS"}, {"path": "people", "order": UP}]},
    {"collection": "seats", "query_scope": "COLLECTION_GROUP", "fields": [{"path": "row", "order": UP}]},
]


def connect(host: str, patch: pytest.MonkeyPatch, make: Callable[..., Any] = firestore.Client) -> Any:
    """A client of its own project, so that every test begins with nothing."""
    patch.setenv("FIRESTORE_EMULATOR_HOST", host)
    return make(project=f"test-{uuid.uuid4().hex[:12]}", credentials=ANONYMOUS)


def where(field: str, op: str, value: Any) -> FieldFilter:
    """One condition of a query."""
    return FieldFilter(field, op, value)


def ids(query: Any, transaction: Any = None) -> list[str]:
    """The ids of what a query finds."""
    return [snapshot.id for snapshot in query.stream(transaction=transaction)]


def content(document: Any) -> dict[str, Any]:
    """The fields of a document that is there."""
    fields: dict[str, Any] | None = document.get().to_dict()
    assert fields is not None
    return fields


def call(client: firestore.Client, method: str, **request: Any) -> Any:
    """One raw call of the API, without the client's retries."""
    api = getattr(client._firestore_api, method)
    return api(request={"database": client._database_string, **request}, metadata=client._rpc_metadata, **NO_RETRY)


@firestore.transactional
def increment(transaction: firestore.Transaction, counter: firestore.DocumentReference) -> int:
    """Add one by reading and writing."""
    n: int = counter.get(transaction=transaction).get("n") + 1
    transaction.update(counter, {"n": n})
    return n


def run_together(stories: list[Callable[[], Any]]) -> None:
    """Run each in a thread; the first error of any is raised."""
    errors: list[BaseException] = []

    def guarded(story: Callable[[], Any]) -> None:
        try:
            story()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(story,)) for story in stories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
