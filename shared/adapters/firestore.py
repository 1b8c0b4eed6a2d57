"""Firestore by Google's client: what takes a transaction or a query.

What each collection holds, and by which clock, is said in `shared.adapters.documents`; what the doors do, a document at
a time and without this client, is in `shared.adapters.edge`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.documents import Collections
from shared.adapters.edge import LONG_AGO, Channel, channel_of
from shared.config import Settings
from shared.domain.errors import Rejected, Superseded, Unavailable

if TYPE_CHECKING:
    from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot, Transaction

T = TypeVar("T")
_clients: dict[str, Client] = {}
_lock = threading.Lock()
# Whose documents bear a user id.
_OF_A_PERSON = (Collections.CURSORS, Collections.CHANNELS, Collections.ACCESS_TOKENS, Collections.FILE_METADATA)
_DOCUMENTS = 400  # of one transaction; Firestore takes 500 writes


class NotConnected(Rejected):
    """The person has disconnected: nothing is written for them any more."""

    code = "not_connected"


def client(settings: Settings) -> Client:
    """The process's client, made on first use: the server forks after import."""
    with _lock:
        if "client" not in _clients:
            from google.cloud import firestore

            _clients["client"] = firestore.Client(project=settings.google_cloud_project)
        return _clients["client"]


def _google() -> Any:
    """Google's own errors, imported when they are needed: they bring gRPC, a tenth of a second."""
    from google.api_core import exceptions

    return exceptions


@contextmanager
def translated() -> Iterator[None]:
    """Google's errors become ours here and nowhere else."""
    try:
        yield
    except _google().NotFound as error:
        raise NotConnected("The connection is gone.") from error
    except (_google().GoogleAPICallError, _google().RetryError) as error:
        raise Unavailable(f"Firestore does not answer: {type(error).__name__}.") from error


def transact(settings: Settings, story: Callable[[Transaction], T]) -> T:
    """Run a story in a transaction, again when another one was faster."""
    from google.cloud import firestore

    with translated():
        try:
            result: T = firestore.transactional(story)(client(settings).transaction(max_attempts=20))
            return result
        except ValueError as error:  # the library's word for "too many attempts"
            raise Unavailable("Firestore is busy with the same document.") from error


class Connections:
    """Who is connected, since `edge.open_connection`. Erasing a person begins with the end of this document."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def close(self, user_id: str) -> None:
        """From here on nothing is written for this person any more."""
        with translated():
            self._of(user_id).delete()

    def everybody(self) -> set[str]:
        """The ids of all who are connected."""
        with translated():
            return {snapshot.id for snapshot in client(self._settings).collection(Collections.CONNECTIONS).stream()}

    def erase(self, user_id: str) -> int:
        """Remove every document that bears the user id; returns how many there were."""
        removed = 0
        with translated():
            for collection in _OF_A_PERSON:
                query = client(self._settings).collection(collection).where(filter=_equal("user_id", user_id))
                for snapshot in query.stream():
                    snapshot.reference.delete()
                    removed += 1
        return removed

    def _of(self, user_id: str) -> DocumentReference:
        return client(self._settings).collection(Collections.CONNECTIONS).document(user_id)


class Channels:
    """Channels, for whoever opens and stops them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of_corpus(self, user_id: str, corpus: str) -> list[Channel]:
        """Every channel of a corpus that is recorded, newest expiry first."""
        query = (
            client(self._settings)
            .collection(Collections.CHANNELS)
            .where(filter=_equal("cursor", _key(user_id, corpus)))
        )
        with translated():
            found = [_channel(snapshot) for snapshot in query.stream()]
        return sorted(found, key=lambda channel: channel.expires_at, reverse=True)

    def of_person(self, user_id: str) -> list[Channel]:
        """Every channel of a person."""
        query = client(self._settings).collection(Collections.CHANNELS).where(filter=_equal("user_id", user_id))
        with translated():
            return [_channel(snapshot) for snapshot in query.stream()]

    def record(
        self,
        channel_id: str,
        user_id: str,
        corpus: str,
        token_hash: bytes,
        expires_at: datetime,
        *,
        recorded_at: datetime,
    ) -> None:
        """Write the channel down before Drive is asked for it: its first message may come before the answer."""
        connection = client(self._settings).collection(Collections.CONNECTIONS).document(user_id)
        reference = self._of(channel_id)

        def story(transaction: Transaction) -> None:
            _require(connection.get(transaction=transaction))
            fields = {
                "user_id": user_id,
                "corpus": corpus,
                "cursor": _key(user_id, corpus),
                "token_hash": token_hash,
                "resource_id": "",
                "expires_at": expires_at,
                "recorded_at": recorded_at,
                "announced_at": LONG_AGO,
            }
            transaction.create(reference, fields)

        transact(self._settings, story)

    def activate(self, channel_id: str, resource_id: str, expires_at: datetime) -> None:
        """What Drive answered is what counts, its expiry above all."""
        with translated():
            self._of(channel_id).update({"resource_id": resource_id, "expires_at": expires_at})

    def forget(self, channel_id: str) -> None:
        """The channel is stopped or never came to be."""
        with translated():
            self._of(channel_id).delete()

    def _of(self, channel_id: str) -> DocumentReference:
        return client(self._settings).collection(Collections.CHANNELS).document(channel_id)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a corpus is read, and our lease on it.

    `token` is the change log's position once a whole listing has been seen; `start_token` is the position taken before
    the listing began, and `list_token` the listing's next page. `incomplete` says that Drive has not looked everywhere
    in this listing, `relists` how often it was begun again for that, `census` that somebody wants everything compared.
    `fresh_token` is how far the change log has been read while the listing goes on.
    """

    user_id: str
    corpus: str
    epoch: int
    token: str
    start_token: str
    list_token: str
    listing_since: datetime | None
    now: datetime
    incomplete: bool = False
    relists: int = 0
    census: bool = False
    fresh_token: str = ""


class Cursors:
    """One cursor per person and corpus. Whoever holds the lease reads; others only leave word in `dirty`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def acquire(self, user_id: str, corpus: str, *, census: bool = False) -> Cursor | None:
        """Take the lease, or leave word for its holder and return None. That a `census` is wanted is remembered until
        one begins. Raises `NotConnected`."""
        reference = self._of(user_id, corpus)
        connection = client(self._settings).collection(Collections.CONNECTIONS).document(user_id)

        def story(transaction: Transaction) -> Cursor | None:
            _require(connection.get(transaction=transaction))
            snapshot = reference.get(transaction=transaction)
            fields = snapshot.to_dict() or {}
            if fields.get("lease_until", LONG_AGO) > snapshot.read_time:
                transaction.update(reference, {"dirty": True, **({"census": True} if census else {})})
                return None
            lease = {
                "user_id": user_id,
                "corpus": corpus,
                "epoch": fields.get("epoch", 0) + 1,
                "lease_until": self._until(snapshot),
                "dirty": False,
                "busy": True,
                "census": census or fields.get("census", False),
            }
            if snapshot.exists:
                transaction.update(reference, lease)
            else:
                transaction.create(reference, {"token": "", "start_token": "", "list_token": "", **lease})
            return Cursor(
                user_id=user_id,
                corpus=corpus,
                epoch=lease["epoch"],
                token=fields.get("token", ""),
                start_token=fields.get("start_token", ""),
                list_token=fields.get("list_token", ""),
                listing_since=fields.get("listing_since"),
                now=snapshot.read_time,
                incomplete=fields.get("incomplete", False),
                relists=fields.get("relists", 0),
                census=lease["census"],
                fresh_token=fields.get("fresh_token", ""),
            )

        return transact(self._settings, story)

    def save(self, cursor: Cursor, *, hear: bool = False, **fields: Any) -> bool:
        """Move the cursor and renew the lease. Returns whether somebody left word; who says that they `hear` it reads
        the change log next. Raises `Superseded` when somebody newer holds it."""
        reference = self._of(cursor.user_id, cursor.corpus)

        def story(transaction: Transaction) -> bool:
            snapshot = self._held(reference, cursor, transaction)
            heard = {"dirty": False} if hear else {}
            transaction.update(reference, {**fields, **heard, "lease_until": self._until(snapshot)})
            return bool(snapshot.get("dirty"))

        return transact(self._settings, story)

    def release(self, cursor: Cursor, *, more: bool = False, resume_after: float = 0.0) -> bool:
        """Give the lease back. False when somebody left word meanwhile: the lease stays, and the holder reads again.

        `more`: the work is handed on by a message, so word that was left needs no other answer. `resume_after` so many
        seconds it is taken up again though nobody asks; who asks sooner is not kept from it.
        """
        reference = self._of(cursor.user_id, cursor.corpus)

        def story(transaction: Transaction) -> bool:
            snapshot = self._held(reference, cursor, transaction)
            if snapshot.get("dirty") and not more:
                transaction.update(reference, {"dirty": False, "lease_until": self._until(snapshot)})
                return False
            resume_at = snapshot.read_time + timedelta(seconds=resume_after)
            transaction.update(reference, {"lease_until": LONG_AGO, "busy": more, "resume_at": resume_at})
            return True

        return transact(self._settings, story)

    def abandoned(self) -> list[tuple[str, str]]:
        """Cursors whose holder died, whose next page was never asked for, or whose wait is over: (user_id, corpus)."""
        query = client(self._settings).collection(Collections.CURSORS).where(filter=_equal("busy", True))
        with translated():
            return [
                (snapshot.get("user_id"), snapshot.get("corpus"))
                for snapshot in query.stream()
                if max(snapshot.get("lease_until"), (snapshot.to_dict() or {}).get("resume_at", LONG_AGO))
                <= snapshot.read_time
            ]

    def corpora(self, user_id: str) -> list[str]:
        """Every corpus of a person that has a cursor."""
        query = client(self._settings).collection(Collections.CURSORS).where(filter=_equal("user_id", user_id))
        with translated():
            return [snapshot.get("corpus") for snapshot in query.stream()]

    def forget(self, user_id: str, corpus: str) -> None:
        """The corpus is gone, such as a shared drive that the person has left."""
        with translated():
            self._of(user_id, corpus).delete()

    def _held(self, reference: DocumentReference, cursor: Cursor, transaction: Transaction) -> DocumentSnapshot[Any]:
        snapshot = reference.get(transaction=transaction)
        if not snapshot.exists:
            raise NotConnected("The connection is gone.")
        if snapshot.get("epoch") != cursor.epoch:
            raise Superseded("Another life reads this corpus now.")
        return snapshot

    def _until(self, snapshot: DocumentSnapshot[Any]) -> datetime:
        until: datetime = snapshot.read_time + timedelta(seconds=self._settings.lease_seconds)
        return until

    def _of(self, user_id: str, corpus: str) -> DocumentReference:
        return client(self._settings).collection(Collections.CURSORS).document(_key(user_id, corpus))


@dataclass(frozen=True, slots=True)
class SealedToken:
    """A sealed access token and until when Google accepts it."""

    sealed: str
    expires_at: datetime
    now: datetime


class AccessTokens:
    """Sealed access tokens, and one refresher at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, user_id: str) -> SealedToken | None:
        """The token last stored, whatever its age."""
        with translated():
            snapshot = self._of(user_id).get()
        fields = (snapshot.to_dict() or {}) if snapshot.exists else {}
        if not fields.get("sealed"):
            return None
        return SealedToken(fields["sealed"], fields["expires_at"], snapshot.read_time)

    def may_refresh(self, user_id: str, holder: str, seconds: float, *, after: str) -> bool:
        """Am I the one who asks Google for the successor of the sealed token `after`? True for one holder until it
        stores a token or its time is over."""
        reference = self._of(user_id)
        connection = client(self._settings).collection(Collections.CONNECTIONS).document(user_id)

        def story(transaction: Transaction) -> bool:
            _require(connection.get(transaction=transaction))
            snapshot = reference.get(transaction=transaction)
            fields = snapshot.to_dict() or {}
            if fields.get("sealed", "") != after:
                return False
            if fields.get("refreshing_until", LONG_AGO) > snapshot.read_time and fields.get("refresher") != holder:
                return False
            until = snapshot.read_time + timedelta(seconds=seconds)
            transaction.set(reference, {"user_id": user_id, "refresher": holder, "refreshing_until": until}, merge=True)
            return True

        return transact(self._settings, story)

    def store(self, user_id: str, holder: str, sealed: str, seconds: float) -> None:
        """Keep a new token, if we are still its refresher."""
        self._as_refresher(
            user_id,
            holder,
            lambda now: {"sealed": sealed, "expires_at": now + timedelta(seconds=seconds), "refresher": ""},
        )

    def give_up(self, user_id: str, holder: str) -> None:
        """The refresh failed: let the next one try."""
        self._as_refresher(user_id, holder, lambda now: {"refresher": ""})

    def _as_refresher(self, user_id: str, holder: str, fields: Callable[[datetime], dict[str, Any]]) -> None:
        reference = self._of(user_id)

        def story(transaction: Transaction) -> None:
            snapshot = reference.get(transaction=transaction)
            if snapshot.exists and snapshot.get("refresher") == holder:
                transaction.update(reference, {**fields(snapshot.read_time), "refreshing_until": LONG_AGO})

        transact(self._settings, story)

    def _of(self, user_id: str) -> DocumentReference:
        return client(self._settings).collection(Collections.ACCESS_TOKENS).document(user_id)


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What Drive said of a file a moment ago. `there` is False for one that it does not show."""

    file_id: str
    there: bool
    name: str = ""
    mime_type: str = ""
    parents: tuple[str, ...] = ()
    drive_id: str | None = None
    content_key: str = ""
    version: int = 0


class FileMetadata:
    """What Drive said of files lately, to show a name or to follow folders upwards. Nobody decides by it what to read:
    the streamer asks Drive."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, user_id: str, file_ids: Iterable[str]) -> dict[str, KnownFile]:
        """Those that are known and not too old, by id."""
        found: dict[str, KnownFile] = {}
        references = [self._of(user_id, file_id) for file_id in file_ids]
        with translated():
            for snapshot in client(self._settings).get_all(references) if references else ():
                fields = (snapshot.to_dict() or {}) if snapshot.exists else {}
                if fields and fields["expires_at"] > snapshot.read_time:
                    known = _known(fields)
                    found[known.file_id] = known
        return found

    def store(self, user_id: str, files: Iterable[KnownFile]) -> None:
        """Remember what Drive said. Raises `NotConnected`."""
        kept = list(files)
        connection = client(self._settings).collection(Collections.CONNECTIONS).document(user_id)
        for at in range(0, len(kept), _DOCUMENTS):
            some = kept[at : at + _DOCUMENTS]

            def story(transaction: Transaction, some: list[KnownFile] = some) -> None:
                snapshot = connection.get(transaction=transaction)
                _require(snapshot)
                expires = snapshot.read_time + timedelta(seconds=self._settings.metadata_seconds)
                for file in some:
                    fields = {**asdict(file), "parents": list(file.parents), "user_id": user_id, "expires_at": expires}
                    transaction.set(self._of(user_id, file.file_id), fields)

            transact(self._settings, story)

    def _of(self, user_id: str, file_id: str) -> DocumentReference:
        return client(self._settings).collection(Collections.FILE_METADATA).document(_key(user_id, file_id))


def _known(fields: Mapping[str, Any]) -> KnownFile:
    kept = {name: fields[name] for name in KnownFile.__slots__}
    return KnownFile(**{**kept, "parents": tuple(kept["parents"])})


def _require(connection: DocumentSnapshot[Any]) -> None:
    if not connection.exists:
        raise NotConnected("The person is not connected any more.")


def _channel(snapshot: DocumentSnapshot[Any]) -> Channel:
    return channel_of(snapshot.id, snapshot.to_dict() or {}, snapshot.read_time)


def _equal(field: str, value: Any) -> Any:
    from google.cloud.firestore_v1.base_query import FieldFilter

    return FieldFilter(field, "==", value)


def _key(user_id: str, corpus: str) -> str:
    return f"{user_id}~{corpus}"
