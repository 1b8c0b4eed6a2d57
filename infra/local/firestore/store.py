"""Versions of documents in SQLite. A document's past stays readable for a while, so that transactions see one moment.

Write-ahead log with `synchronous=NORMAL`: what is committed survives the death of the process at any moment (a power
cut may cost the last commits, never the consistency). The file is locked, so two servers cannot share it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.local.firestore.messages import MICROS, Document
from infra.local.firestore.paths import collection_of

NEVER = 2**62
PAST_SECONDS = 60
PRUNE_EVERY = 256

_TABLES = """
CREATE TABLE IF NOT EXISTS versions (
    name TEXT NOT NULL,        -- full name of the document
    path TEXT NOT NULL,        -- full path of its collection
    collection TEXT NOT NULL,  -- id of its collection
    since INTEGER NOT NULL,    -- microseconds; the version is the document's state from here ...
    until INTEGER NOT NULL,    -- ... to before here
    body BLOB NOT NULL         -- google.firestore.v1.Document
);
CREATE UNIQUE INDEX IF NOT EXISTS by_name ON versions (name, until);
CREATE INDEX IF NOT EXISTS by_path ON versions (path, until);
CREATE INDEX IF NOT EXISTS by_collection ON versions (collection, until);
CREATE INDEX IF NOT EXISTS past ON versions (until) WHERE until < 4611686018427387904;
CREATE TABLE IF NOT EXISTS latest (commit_time INTEGER NOT NULL);
"""


class Store:
    """The documents of every project and database in one file. Times are microseconds since 1970."""

    def __init__(self, data: Path, clock: Callable[[], float]) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self.lock = threading.RLock()
        self._db = sqlite3.connect(
            data / "firestore.sqlite3", check_same_thread=False, isolation_level=None, timeout=10
        )
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_TABLES)
        self._latest = self._read_latest()
        self._commits = 0

    def _read_latest(self) -> int:
        row = self._db.execute("SELECT commit_time FROM latest").fetchone()
        if row is None:
            self._db.execute("INSERT INTO latest VALUES (0)")
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Fold the log into the file and let it go."""
        with self.lock:
            self._db.close()

    def now(self) -> int:
        """A moment that shows every commit so far and that no later commit will be part of."""
        with self.lock:
            self._latest = max(self._latest, int(self._clock() * MICROS))
            return self._latest

    def next(self) -> int:
        """The time of a commit that is about to be made: after everything written or read before."""
        with self.lock:
            return max(self._latest + 1, int(self._clock() * MICROS))

    def get(self, name: str, at: int) -> Document | None:
        """The document as it was at `at`."""
        with self.lock:
            row = self._db.execute(
                "SELECT body FROM versions WHERE name = ? AND until > ? AND since <= ?", (name, at, at)
            ).fetchone()
        return Document.FromString(row[0]) if row else None

    def in_collection(self, path: str, at: int) -> list[Document]:
        """The documents of one collection."""
        return self._documents("path = ?", path, at=at)

    def in_group(self, collection: str, below: str, at: int) -> list[Document]:
        """The documents of every collection of that id below a parent."""
        return self._documents("collection = ? AND name >= ? AND name < ?", collection, *_range(below), at=at)

    def below(self, parent: str, at: int) -> list[Document]:
        """Every document at any depth below a parent."""
        return self._documents("name >= ? AND name < ?", *_range(parent), at=at)

    def names_below(self, parent: str, at: int) -> list[str]:
        """The names of every document at any depth below a parent."""
        with self.lock:
            rows = self._db.execute(
                "SELECT name FROM versions WHERE name >= ? AND name < ? AND until > ? AND since <= ?",
                (*_range(parent), at, at),
            ).fetchall()
        return [row[0] for row in rows]

    def _documents(self, where: str, *values: str, at: int) -> list[Document]:
        statement = f"SELECT body FROM versions WHERE {where} AND until > ? AND since <= ?"
        with self.lock:
            rows = self._db.execute(statement, (*values, at, at)).fetchall()
        return [Document.FromString(row[0]) for row in rows]

    def commit(self, changes: Mapping[str, Document | None], at: int, oldest_reader: int) -> None:
        """Store all the changes at `at`, or none. The past that no reader since `oldest_reader` needs may go."""
        with self.lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for name, document in changes.items():
                    self._replace(name, document, at)
                self._db.execute("UPDATE latest SET commit_time = ?", (at,))
                self._prune(min(oldest_reader, at - PAST_SECONDS * MICROS))
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._latest = at

    def _replace(self, name: str, document: Document | None, at: int) -> None:
        self._db.execute("UPDATE versions SET until = ? WHERE name = ? AND until = ?", (at, name, NEVER))
        if document is None:
            return
        path = collection_of(name)
        row = (name, path, path.rpartition("/")[2], at, NEVER, document.SerializeToString())
        self._db.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", row)

    def _prune(self, before: int) -> None:
        self._commits += 1
        if self._commits % PRUNE_EVERY == 0:
            # The second condition, with the number written out, is what lets SQLite use the index of the past.
            self._db.execute("DELETE FROM versions WHERE until <= ? AND until < 4611686018427387904", (before,))


def _range(parent: str) -> tuple[str, str]:
    # "0" is the character after "/", so this is every name that begins with the parent and a slash.
    return f"{parent}/", f"{parent}0"
