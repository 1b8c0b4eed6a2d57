"""Reading and writing documents: the store, the transactions and the rules of a write, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.firestore import queries
from infra.local.firestore.messages import MICROS, Document, Value, Write, WriteResult, to_micros, to_timestamp
from infra.local.firestore.paths import collection_of, parse_field, relative
from infra.local.firestore.queries import Answer, Query
from infra.local.firestore.rates import WriteRates
from infra.local.firestore.store import Store
from infra.local.firestore.transactions import Fingerprint, Seen, Transaction, Transactions
from infra.local.firestore.values import TIMESTAMP, key, lookup
from infra.local.firestore.writes import Outcome, apply, check_sequence, name_of


@dataclass(frozen=True)
class Reader:
    """Who reads: a transaction, or somebody who asked for a moment of the past, or for now."""

    transaction: Transaction | None = None
    read_time: int | None = None


@dataclass(frozen=True)
class Read:
    """A document, or that there is none, and the moment (microseconds) of which that is true."""

    document: Document | None
    at: int


@dataclass(frozen=True)
class Committed:
    """The answer to a commit."""

    at: int
    results: list[WriteResult]


class Database:
    """All documents of the server."""

    def __init__(self, data: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.store = Store(data, clock)
        self.transactions = Transactions(self.store)
        self.rates = WriteRates()

    def get(self, name: str, reader: Reader) -> Read:
        """One document; a transaction that saw it is only good as long as it stays so."""
        at = self._moment(reader, name)
        document = self.store.get(name, at)
        if reader.transaction is not None:
            seen = Seen(name, _fingerprint([document]), lambda at: _fingerprint([self.store.get(name, at)]))
            self.transactions.remember(reader.transaction, name, seen)
        return Read(document, at)

    def query(self, query: Query, reader: Reader) -> Answer:
        """The answer of a query; a transaction that saw it is only good as long as it stays so."""
        place = f"{query.parent}/{query.collection}"
        answer = self._answer(query, self._moment(reader, place))
        if reader.transaction is not None:
            what = (query.parent, query.message.SerializeToString())
            seen = Seen(
                place, _fingerprint(answer.documents), lambda at: _fingerprint(self._answer(query, at).documents)
            )
            self.transactions.remember(reader.transaction, what, seen)
        return answer

    def _moment(self, reader: Reader, place: str) -> int:
        if reader.transaction is not None:
            return self.transactions.moment(reader.transaction, place)
        return self.store.now() if reader.read_time is None else reader.read_time

    def _answer(self, query: Query, at: int) -> Answer:
        return queries.run(query, queries.candidates(self.store, query, at), at)

    def commit(self, writes: Sequence[Write], transaction: Transaction | None = None) -> Committed:
        """Make all the writes at one moment, or none of them. Returns once they are stored."""
        check_sequence(writes)
        with self.store.lock:
            if transaction is not None:
                self._check(transaction, writes)
            at = self.store.next()
            changes, outcomes = self._outcomes(writes, at)
            if changes:
                self.store.commit(changes, at, self.transactions.oldest_snapshot())
        self.rates.record(relative(name_of(write)) for write in writes)
        return Committed(at, [_result(outcome, at) for outcome in outcomes])

    def _check(self, transaction: Transaction, writes: Sequence[Write]) -> None:
        names = {name_of(write) for write in writes}
        self.transactions.check(transaction, names | {collection_of(name) for name in names})

    def _outcomes(self, writes: Sequence[Write], at: int) -> tuple[dict[str, Document | None], list[Outcome]]:
        before: dict[str, Document | None] = {}
        after: dict[str, Document | None] = {}
        outcomes = []
        for write in writes:
            name = name_of(write)
            if name not in after:
                before[name] = after[name] = self.store.get(name, at)
            outcome = apply(write, after[name], at)
            after[name] = outcome.document
            outcomes.append(outcome)
        return {name: document for name, document in after.items() if document is not before[name]}, outcomes

    def collect_garbage(self, ttl: dict[str, str], now: float) -> int:
        """Delete every document whose time to live is over at `now` (seconds since 1970). Returns how many."""
        with self.store.lock:
            at = self.store.next()
            gone = [name for collection, path in ttl.items() for name in self._expired(collection, path, at, now)]
            if gone:
                self.store.commit(dict.fromkeys(gone), at, self.transactions.oldest_snapshot())
        return len(gone)

    def _expired(self, collection: str, path: str, at: int, now: float) -> list[str]:
        documents = self.store.in_group(collection, "projects", at)
        return [item.name for item in documents if _is_past(lookup(item.fields, parse_field(path)), now)]


def _is_past(value: Value | None, now: float) -> bool:
    # Only a timestamp ever expires, as in the service.
    return value is not None and key(value)[0] == TIMESTAMP and to_micros(value.timestamp_value) <= int(now * MICROS)


def _fingerprint(documents: Sequence[Document | None]) -> Fingerprint:
    return tuple((one.name, to_micros(one.update_time)) for one in documents if one is not None)


def _result(outcome: Outcome, at: int) -> WriteResult:
    updated = outcome.document.update_time if outcome.document is not None else to_timestamp(at)
    return WriteResult(update_time=updated, transform_results=outcome.results)
