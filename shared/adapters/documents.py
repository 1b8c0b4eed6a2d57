"""Firestore, one document at a time, by plain requests; and the names of all collections.

connections/{user_id}         exists while the person is connected; every other write checks it in its transaction
oauth_states/{hash}           one consent in progress: one use, ten minutes, bound to one browser
channels/{channel_id}         a notification channel: token hash, resource, expiry
cursors/{user_id}~{corpus}    how far the changes of a corpus are read: tokens, lease with epoch, `dirty`
access_tokens/{user_id}       a sealed access token until it expires, and who is refreshing it
file_metadata/{user_id}~{id}  what Drive said of a file that is asked about for its name or place only, for 300 s
quota/{purse}~{span}...       what is leased of Drive's quotas: `shared.adapters.ledger`

Times are compared with the server's clock (when a document was read), never with ours. Expiry is checked in code;
Firestore's own TTL only collects garbage. No document is written by everybody.

For transactions and queries there is Google's client (`shared.adapters.firestore`), which costs the start of a door as
much as all else that it loads: docs/decisions/20261128-doors-without-clients.md. Page obeyed:
https://firebase.google.com/docs/firestore/reference/rest/v1/projects.databases.documents
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from shared.adapters.google_calls import BadAnswer, InvalidArgument, NotThere, within
from shared.adapters.google_requests import GoogleRequests
from shared.config import Settings
from shared.domain.errors import Unavailable

SERVICE = "Firestore"
SECONDS = 8.0  # for one call with all its repetitions: a person waits for it, or Drive does


class Collections(StrEnum):
    """Where documents lie."""

    CONNECTIONS = "connections"
    OAUTH_STATES = "oauth_states"
    CHANNELS = "channels"
    CURSORS = "cursors"
    ACCESS_TOKENS = "access_tokens"
    FILE_METADATA = "file_metadata"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was at `now` by the server's clock. `version` is when it was written last, in the server's own
    words."""

    fields: dict[str, Any]
    created_at: datetime
    version: str
    now: datetime


class Documents:
    """Documents of one collection by id. Every call raises `Unavailable` where the service does not answer in time.

    A call whose answer is lost is repeated, so a change may be found to be made already: by itself.
    """

    def __init__(self, settings: Settings, collection: Collections) -> None:
        database = f"projects/{settings.google_cloud_project}/databases/(default)/documents"
        self._url = f"{settings.firestore_endpoint}/v1/{database}"
        self._collection = f"{database}/{collection}"

    def get(self, name: str) -> Document | None:
        """The document, or None."""
        answer = _ask(f"{self._url}:batchGet", {"documents": [self._name(name)]})
        try:
            (told,) = json.loads(answer)
            return _document(told["found"], told["readTime"]) if "found" in told else None
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BadAnswer(f"{SERVICE} sent an answer that cannot be read.") from error

    def create(self, name: str, fields: Mapping[str, Any]) -> None:
        """A new document. Raises `AlreadyThere`."""
        self._commit({"update": self._with(name, fields), "currentDocument": {"exists": False}})

    def put(self, name: str, fields: Mapping[str, Any], *, dated: str) -> None:
        """The document, new or in place of the one there was, with the server's time in the field `dated`."""
        moment = {"fieldPath": dated, "setToServerValue": "REQUEST_TIME"}
        self._commit({"update": self._with(name, fields), "updateTransforms": [moment]})

    def change(self, name: str, fields: Mapping[str, Any], *, unless_changed: Document | None = None) -> bool:
        """Write these fields and leave the others. False where the document is gone, or is not as it was read."""
        expected = {"updateTime": unless_changed.version} if unless_changed else {"exists": True}
        mask = {"fieldPaths": list(fields)}
        return self._holds({"update": self._with(name, fields), "updateMask": mask, "currentDocument": expected})

    def remove(self, name: str, *, unless_changed: Document | None = None) -> bool:
        """No document any more, whether there was one or not. False where it is not as it was read."""
        expected = {"currentDocument": {"updateTime": unless_changed.version}} if unless_changed else {}
        return self._holds({"delete": self._name(name), **expected})

    def _holds(self, write: dict[str, Any]) -> bool:
        """Whether what the write expects is so, and it is done."""
        try:
            self._commit(write)
        except (NotThere, _Changed):
            return False
        return True

    def _commit(self, write: dict[str, Any]) -> None:
        _ask(f"{self._url}:commit", {"writes": [write]})

    def _with(self, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": self._name(name), "fields": {key: _told(value) for key, value in fields.items()}}

    def _name(self, name: str) -> str:
        return f"{self._collection}/{name}"


class _Changed(Unavailable):
    """A document is not as it was read."""


def _ask(url: str, body: dict[str, Any]) -> bytes:
    try:
        return within(SECONDS, lambda left: _requests().ask("POST", url, timeout=left, body=body))
    except InvalidArgument as refused:
        if refused.status == "FAILED_PRECONDITION":
            raise _Changed(f"{SERVICE} holds another version.") from refused
        # A person mends that, and whoever asked may come again then.
        raise Unavailable(f"{SERVICE} does not take a request: {refused.reason}", code="refused") from refused


@cache
def _requests() -> GoogleRequests:
    """The process's connections, made on first use."""
    return GoogleRequests(SERVICE)


_READERS: dict[str, Callable[[Any], Any]] = {
    "booleanValue": bool,
    "integerValue": int,
    "stringValue": str,
    "bytesValue": base64.b64decode,
    "timestampValue": datetime.fromisoformat,
}


def _document(found: dict[str, Any], read_at: str) -> Document:
    fields = {}
    for name, value in found.get("fields", {}).items():
        ((kind, said),) = value.items()
        fields[name] = _READERS[kind](said)
    version = found["updateTime"]
    return Document(fields, datetime.fromisoformat(found["createTime"]), version, datetime.fromisoformat(read_at))


def _told(value: Any) -> dict[str, Any]:
    """A value with its kind, as the service wants it."""
    match value:
        case bool():
            return {"booleanValue": value}
        case int():
            return {"integerValue": str(value)}
        case str():
            return {"stringValue": value}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case datetime():
            return {"timestampValue": value.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    raise TypeError(f"No document of ours holds a {type(value).__name__}.")
