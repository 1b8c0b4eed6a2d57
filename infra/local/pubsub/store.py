"""The backlog and the resources, in one SQLite file, with large payloads in files beside it.

A message's bytes are stored once, however many subscriptions wait for it, and go when the last one has acknowledged
it. Nothing here takes a lock: the broker holds its own around every call.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.pubsub.payloads import LARGE, Payloads

_TABLES = """
CREATE TABLE IF NOT EXISTS resources (kind TEXT, name TEXT, body BLOB, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, published INTEGER, ordering_key TEXT, attributes TEXT, size INTEGER,
    data BLOB -- null when it is a file
);
-- due: seconds since 1970; null while an earlier message of the same ordering key is unacknowledged.
CREATE TABLE IF NOT EXISTS deliveries (
    message INTEGER, subscription TEXT, ordering_key TEXT, attempts INTEGER, due REAL, acked INTEGER,
    PRIMARY KEY (message, subscription)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting ON deliveries (subscription, due, message) WHERE acked = 0;
CREATE INDEX IF NOT EXISTS in_order ON deliveries (subscription, ordering_key, message)
    WHERE acked = 0 AND ordering_key <> '';
"""

_FIRST_OF_KEY = """SELECT min(message) FROM deliveries
    WHERE subscription = :subscription AND ordering_key = :key AND acked = 0 AND ordering_key <> ''"""


@dataclass(frozen=True, slots=True)
class Message:
    """One published message. `published` is in microseconds since 1970."""

    id: int
    published: int
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str


class Store:
    """SQLite in `data`. The file is made on first use; an existing one is taken up where it was left."""

    def __init__(self, data: Path) -> None:
        self._payloads = Payloads(data / "payloads")
        self._written: list[int] = []  # files of the current transaction
        self._dropped: list[int] = []
        self._db = sqlite3.connect(data / "pubsub.sqlite3", isolation_level=None, check_same_thread=False, timeout=2)
        # One server a file: a second one would deliver everything a second time. The lock ends with this process.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            self._db.close()
            raise OSError(f"{data} cannot be used, or another server uses it: {error}") from error
        # A commit is in the operating system's hands before it returns, so it survives kill -9 of this process. It is
        # not synced to the disk each time: a power loss may cost the last commits, but leaves the file consistent.
        self._db.execute("PRAGMA synchronous = NORMAL")
        # Checkpoints do sync, so there are fewer than the default would make.
        self._db.execute("PRAGMA wal_autocheckpoint = 4096")
        self._db.execute("PRAGMA journal_size_limit = 16777216")
        self._tidy()

    def _tidy(self) -> None:
        """What was left is due at once: a clock that was set back, or a long backoff, must not strand it."""
        self._db.execute("UPDATE deliveries SET due = 0 WHERE acked = 0 AND due IS NOT NULL")
        large = dict(self._db.execute("SELECT id, size FROM messages WHERE data IS NULL"))
        for number in self._payloads.sweep(large):
            self._db.execute("DELETE FROM deliveries WHERE message = ?", (number,))
            self._db.execute("DELETE FROM messages WHERE id = ?", (number,))
        pages, free = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        if free > 4096 and free > pages // 2:
            self._db.execute("VACUUM")  # what a large backlog left behind; what remains is the smaller half

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, also when the process dies in between."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            self._payloads.drop(self._written)
            raise
        else:
            self._db.execute("COMMIT")
            self._payloads.drop(self._dropped)
        finally:
            self._written, self._dropped = [], []

    # Topics, subscriptions and schemas, as serialised messages.

    def resources(self, kind: str) -> dict[str, bytes]:
        return dict(self._db.execute("SELECT name, body FROM resources WHERE kind = ?", (kind,)))

    def keep(self, kind: str, name: str, body: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO resources VALUES (?, ?, ?)", (kind, name, body))

    def forget(self, kind: str, name: str) -> None:
        self._db.execute("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))

    # Messages and who still waits for them.

    def last_id(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0])

    def add(self, message: Message, due: Mapping[str, float], ordered: Sequence[str]) -> None:
        """Store a message for the subscriptions in `due`; for those in `ordered`, behind its key's predecessor."""
        size = len(message.data)
        if size >= LARGE:
            self._written.append(message.id)
            self._payloads.put(message.id, message.data)
        data = None if size >= LARGE else message.data
        attributes = json.dumps(dict(message.attributes))
        self._db.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)",
            (message.id, message.published, message.ordering_key, attributes, size, data),
        )
        self._db.executemany(
            f"""INSERT INTO deliveries VALUES (:message, :subscription, :key, 0,
            CASE WHEN :key <> '' AND ({_FIRST_OF_KEY}) IS NOT NULL THEN NULL ELSE :due END, 0)""",
            [
                {
                    "message": message.id,
                    "subscription": name,
                    "key": message.ordering_key if name in ordered else "",
                    "due": when,
                }
                for name, when in due.items()
            ],
        )

    def message(self, number: int) -> Message | None:
        row = self._db.execute(
            "SELECT id, published, data, attributes, ordering_key FROM messages WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        data = self._payloads.get(number) if row[2] is None else row[2]
        return Message(row[0], row[1], data, json.loads(row[3]), row[4])

    def due(self, subscription: str, now: float, limit: int) -> list[tuple[int, int]]:
        """(message, failed attempts) of what may be delivered now, oldest first."""
        return self._db.execute(
            "SELECT message, attempts FROM deliveries WHERE subscription = ? AND acked = 0 AND due <= ?"
            " ORDER BY due, message LIMIT ?",
            (subscription, now, limit),
        ).fetchall()

    def next_due(self, subscription: str, after: float) -> float | None:
        row = self._db.execute(
            "SELECT min(due) FROM deliveries WHERE subscription = ? AND acked = 0 AND due > ?", (subscription, after)
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def attempts(self, subscription: str, message: int) -> int | None:
        """How many deliveries have failed; None when the subscription no longer waits for the message."""
        row = self._db.execute(
            "SELECT attempts FROM deliveries WHERE message = ? AND subscription = ? AND acked = 0",
            (message, subscription),
        ).fetchone()
        return None if row is None else int(row[0])

    def postpone(self, subscription: str, message: int, attempts: int, due: float) -> None:
        self._db.execute(
            "UPDATE deliveries SET attempts = ?, due = ? WHERE message = ? AND subscription = ? AND acked = 0",
            (attempts, due, message, subscription),
        )

    def settle(self, subscription: str, message: int, now: float, *, keep: bool) -> None:
        """The subscription is done with the message. With `keep` it may ask for it again by seeking back."""
        row = self._db.execute(
            "SELECT ordering_key FROM deliveries WHERE message = ? AND subscription = ? AND acked = 0",
            (message, subscription),
        ).fetchone()
        if row is None:
            return
        if keep:
            self._db.execute(
                "UPDATE deliveries SET acked = 1, attempts = 0 WHERE message = ? AND subscription = ?",
                (message, subscription),
            )
        else:
            self._db.execute("DELETE FROM deliveries WHERE message = ? AND subscription = ?", (message, subscription))
            self._drop_if_unwanted(message)
        if row[0]:
            self._unblock(subscription, row[0], now)

    def _unblock(self, subscription: str, key: str, now: float) -> None:
        """The oldest unacknowledged message of a key is the one that may go."""
        self._db.execute(
            f"""UPDATE deliveries SET due = :now WHERE subscription = :subscription AND acked = 0 AND due IS NULL
            AND message = ({_FIRST_OF_KEY})""",
            {"now": now, "subscription": subscription, "key": key},
        )

    def _drop_if_unwanted(self, message: int) -> None:
        row = self._db.execute(
            "SELECT data IS NULL FROM messages WHERE id = ?"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)",
            (message,),
        ).fetchone()
        if row is not None:
            self._db.execute("DELETE FROM messages WHERE id = ?", (message,))
            if row[0]:
                self._dropped.append(message)

    def seek(self, subscription: str, published: int, now: float) -> None:
        """Everything published before `published` counts as acknowledged; what is kept from then on, as not."""
        self._db.execute(
            "UPDATE deliveries SET acked = (SELECT m.published < ? FROM messages m WHERE m.id = message),"
            " attempts = 0, due = CASE WHEN ordering_key = '' THEN ? END WHERE subscription = ?",
            (published, now, subscription),
        )
        for (key,) in self._db.execute(
            "SELECT DISTINCT ordering_key FROM deliveries WHERE subscription = ? AND acked = 0 AND ordering_key <> ''",
            (subscription,),
        ).fetchall():
            self._unblock(subscription, key, now)

    def forget_acked(self, subscription: str, before: int) -> None:
        """Remove what was acknowledged, kept for a replay, and published before that microsecond."""
        rows = self._db.execute(
            "SELECT message FROM deliveries JOIN messages ON id = message"
            " WHERE subscription = ? AND acked = 1 AND published < ?",
            (subscription, before),
        ).fetchall()
        self._remove(subscription, [number for (number,) in rows])

    def forget_subscription(self, subscription: str) -> None:
        rows = self._db.execute("SELECT message FROM deliveries WHERE subscription = ?", (subscription,)).fetchall()
        self._remove(subscription, [number for (number,) in rows])

    def _remove(self, subscription: str, messages: list[int]) -> None:
        for number in messages:
            self._db.execute("DELETE FROM deliveries WHERE message = ? AND subscription = ?", (number, subscription))
            self._drop_if_unwanted(number)

    def unacked(self) -> dict[str, int]:
        return dict(
            self._db.execute("SELECT subscription, count(*) FROM deliveries WHERE acked = 0 GROUP BY subscription")
        )

    def empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM deliveries WHERE acked = 0 LIMIT 1").fetchone() is None
