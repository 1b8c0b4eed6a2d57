"""Transactions: everything they read is of one moment, and a commit is refused if any of it has changed since.

Reading takes no lock, until two transactions have met: what one of them lost is contended for some seconds, and while
it is, those who read it stand in line for it. So contended transactions finish in about two attempts each, and what
nobody fights over costs nothing. A line only saves attempts; that no update is lost rests on the check at the end.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.local.firestore.messages import MICROS, TransactionOptions, to_micros
from infra.local.firestore.refusals import aborted, failed_precondition, invalid
from infra.local.firestore.store import PAST_SECONDS, Store

MAX_SECONDS = 270
TURN_SECONDS = 1.0
CONTENDED_SECONDS = 5.0

Fingerprint = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Seen:
    """Something that a transaction read: where it looked, what it saw, and how to look again at another moment."""

    place: str
    saw: Fingerprint
    again: Callable[[int], Fingerprint]


@dataclass
class Transaction:
    """One attempt. Its moment is that of its first read."""

    id: bytes
    read_only: bool
    snapshot: int | None = None
    began: float = field(default_factory=time.monotonic)
    seen: dict[object, Seen] = field(default_factory=dict)

    def is_fresh(self, now: int) -> bool:
        """Whether everything it read is still so."""
        return all(seen.again(now) == seen.saw for seen in self.seen.values())


@dataclass
class _Line:
    """Those who want a contended place, first come first served."""

    contended_until: float
    waiting: list[bytes] = field(default_factory=list)
    turn_ends: float = 0.0

    def is_over(self) -> bool:
        return not self.waiting and self.contended_until < time.monotonic()


class Transactions:
    """The open transactions of one server. They do not survive it, as the client expects."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition(store.lock)
        self._open: dict[bytes, Transaction] = {}
        self._lines: dict[str, _Line] = {}
        self._waiting: dict[bytes, set[str]] = {}

    def begin(self, options: TransactionOptions) -> Transaction:
        """Open a transaction."""
        with self._changed:
            self._expire()
            transaction = Transaction(secrets.token_bytes(16), options.WhichOneof("mode") == "read_only")
            if options.read_only.HasField("read_time"):
                transaction.snapshot = check_read_time(self._store, to_micros(options.read_only.read_time))
            self._open[transaction.id] = transaction
            return transaction

    def find(self, wanted: bytes) -> Transaction:
        """The open transaction of that id."""
        with self._changed:
            self._expire()
            if wanted not in self._open:
                raise invalid("The referenced transaction has expired or is no longer valid.")
            return self._open[wanted]

    def close(self, wanted: bytes) -> None:
        """Forget the transaction and let the next in line go on; unknown ids are nothing to worry about."""
        with self._changed:
            self._open.pop(wanted, None)
            for place in list(self._lines):
                self._leave(place, wanted)
            self._changed.notify_all()

    def moment(self, transaction: Transaction, place: str) -> int:
        """The moment at which the transaction reads the place, after waiting for its turn if it is contended."""
        with self._changed:
            if not transaction.read_only and self._is_contended(place):
                self._stand_in_line(transaction, place)
                now = self._store.now()
                if transaction.is_fresh(now):
                    transaction.snapshot = now
            if transaction.snapshot is None:
                transaction.snapshot = self._store.now()
            return transaction.snapshot

    def remember(self, transaction: Transaction, what: object, seen: Seen) -> None:
        """Note what the transaction saw, so that its commit is refused if it changes."""
        with self._changed:
            transaction.seen[what] = seen

    def check(self, transaction: Transaction, written: set[str]) -> None:
        """Refuse a commit whose transaction read what has changed since."""
        if transaction.read_only:
            if written:
                raise invalid("Cannot modify documents in a read-only transaction.")
            return
        self._give_way(transaction, written | {seen.place for seen in transaction.seen.values()})
        now = self._store.now()
        stale = [seen.place for seen in transaction.seen.values() if seen.again(now) != seen.saw]
        if stale:
            self._mark_contended(stale)
            raise aborted("Too much contention on these documents. Please try again.")

    def oldest_snapshot(self) -> int:
        """The earliest moment that an open transaction may still read."""
        with self._changed:
            self._expire()
            known = [one.snapshot for one in self._open.values() if one.snapshot is not None]
            return min(known, default=self._store.now())

    def _expire(self) -> None:
        now = time.monotonic()
        for old in [one for one in self._open.values() if now - one.began > MAX_SECONDS]:
            self.close(old.id)

    def _is_contended(self, place: str) -> bool:
        line = self._lines.get(place)
        if line is not None and line.is_over():
            del self._lines[place]
        return place in self._lines

    def _mark_contended(self, places: list[str]) -> None:
        until = time.monotonic() + CONTENDED_SECONDS
        for place in places:
            self._lines.setdefault(place, _Line(until)).contended_until = until

    def _stand_in_line(self, transaction: Transaction, place: str) -> None:
        line = self._lines[place]
        if transaction.id not in line.waiting:
            line.waiting.append(transaction.id)
            if line.waiting[0] == transaction.id:
                line.turn_ends = time.monotonic() + TURN_SECONDS
        self._give_way(transaction, {place})

    def _give_way(self, transaction: Transaction, places: set[str]) -> None:
        """Wait until nobody else has the turn at one of the places."""
        self._waiting[transaction.id] = places & self._lines.keys()
        try:
            while self._ahead(transaction.id) and not self._in_circle(transaction.id):
                self._wait_for_a_turn(places)
        finally:
            # One transaction may read two places at once, so it may be gone already.
            self._waiting.pop(transaction.id, None)

    def _ahead(self, own: bytes) -> set[bytes]:
        """Those whose turn it is where the transaction waits."""
        lines = [self._lines[place] for place in self._waiting.get(own, ()) if place in self._lines]
        return {line.waiting[0] for line in lines if line.waiting} - {own}

    def _in_circle(self, own: bytes) -> bool:
        """Whether those ahead wait for this one. Then it goes on; one of them commits and the others try again."""
        seen: set[bytes] = set()
        new = self._ahead(own)
        while new - seen:
            seen |= new
            new = set().union(*(self._ahead(other) for other in seen))
        return own in seen

    def _wait_for_a_turn(self, places: set[str]) -> None:
        ends = min(self._lines[place].turn_ends for place in places & self._lines.keys())
        if not self._changed.wait(timeout=max(0.0, ends - time.monotonic())):
            self._end_turns(places)

    def _end_turns(self, places: set[str]) -> None:
        """Send those away who had their turn and did not come back."""
        now = time.monotonic()
        for place in places & self._lines.keys():
            line = self._lines[place]
            if line.waiting and line.turn_ends <= now:
                self._leave(place, line.waiting[0])
        self._changed.notify_all()

    def _leave(self, place: str, wanted: bytes) -> None:
        line = self._lines[place]
        if wanted in line.waiting:
            line.waiting.remove(wanted)
            line.turn_ends = time.monotonic() + TURN_SECONDS
        if line.is_over():
            del self._lines[place]


def check_read_time(store: Store, read_time: int) -> int:
    """The moment if it can still be read."""
    now = store.now()
    if read_time > now:
        raise invalid("The requested read time is in the future.")
    if read_time < now - PAST_SECONDS * MICROS:
        raise failed_precondition("The requested read time is too old.")
    return read_time
