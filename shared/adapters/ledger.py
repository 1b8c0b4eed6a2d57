"""The accounts of Drive's quota, in Firestore's collection `quota`: who has leased how much of which purse.

{purse}~{span}            the pool: what is given to shards, and how many people of each want more
{purse}~{span}~{shard}    a shard: what its people have taken. A person is in one shard, under a name that names nobody

Firestore takes about one write a second of one document, for long. A minute's purse is given away in forty large
pieces, by the pool to shards as by a shard to one person, and in small ones to whoever uses little: fifty instances
that use up a minute for three people write no document more than 75 times in it, as a test counts. People of one shard
share its document (of sixteen, by setting). A day's pieces are a two-thousandth, and last an instance about a minute.

Which minute or day it is, the server's clock says (a snapshot's read time). Nothing is spent twice and nothing given
back: who dies with a block in memory leaves it unused. Every document is garbage a day after its span.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.adapters.documents import Collections
from shared.adapters.firestore import client, transact, translated
from shared.config import Settings
from shared.domain.errors import Unavailable
from shared.domain.quota import Budget, Pool, Purse, Shard, Span, Standing, alias, refused_for

if TYPE_CHECKING:
    from google.cloud.firestore import DocumentReference, Transaction

_LOOKS = 3  # at a clock that turned out to show another minute
_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a purse. Void when its span is over, `seconds` after it was asked for."""

    amount: int
    seconds: float
    span: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing for this person now; perhaps in so many seconds. `by_share`: others still have their share."""

    seconds: float
    by_share: bool
    goes_on: datetime


class _Elsewhen:
    """The server's clock shows another span than ours did."""


class Ledger:
    """The accounts, for one process. Thread-safe. `clock` is monotonic."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        # The server's clock when ours showed 0: a guess of ours until it has answered once.
        self._zero = datetime.now(UTC) - timedelta(seconds=clock())

    def now(self) -> datetime:
        """The server's clock, as far as we know."""
        with self._lock:
            return self._zero + timedelta(seconds=self._clock())

    def lease(self, purse: Purse, user_id: str, wanted: int, least: int) -> Block | Refusal:
        """A block of at most `wanted` and at least `least`, or why there is none. Raises `Unavailable`."""
        for _ in range(_LOOKS):
            answer = self._ask(purse, purse.span_of(self.now()), alias(user_id), wanted, least)
            if not isinstance(answer, _Elsewhen):
                return answer
        raise Unavailable("The server's clock cannot be followed.", retry_after=1.0, code="clock")

    def standings(self, budgets: Mapping[str, Budget], user_id: str | None = None) -> list[Standing]:
        """How every budget stands now: the project's, or what of it one person has taken. Two reads each."""
        return [self._standing(one, user_id) for one in budgets.values() if one.open.total]

    def _ask(self, purse: Purse, span: Span, who: str, wanted: int, least: int) -> Block | Refusal | _Elsewhen:
        name = self._shard(who)
        shard_at, pool_at = self._at(purse, span, name), self._at(purse, span)
        before = purse.span_of(span.begins - timedelta(seconds=1))
        asked = self._clock()

        def story(transaction: Transaction) -> Block | Refusal | _Elsewhen:
            def pool_of(span: Span) -> Pool | None:
                snapshot = self._at(purse, span).get(transaction=transaction)
                return Pool(**_stated(snapshot.to_dict() or {}, Pool)) if snapshot.exists else None

            def the_pool() -> Pool:
                return pool_of(span) or Pool.after(pool_of(before) or Pool())

            snapshot = shard_at.get(transaction=transaction)
            now: datetime = snapshot.read_time
            self._believe(now, asked)
            if not span.holds(now):
                return _Elsewhen()
            pool = None
            if snapshot.exists:
                shard = Shard(**_stated(snapshot.to_dict() or {}, Shard))
            else:
                last = self._at(purse, before, name).get(transaction=transaction)
                shard = Shard.after(Shard(**_stated(last.to_dict() or {}, Shard)) if last.exists else Shard())
                pool = the_pool()
                shard.elsewhere = pool.elsewhere(name)
            elapsed = span.elapsed(now)
            if shard.allowed(purse, who, elapsed) >= least > shard.left:
                pool = pool or the_pool()
                shard.elsewhere = pool.elsewhere(name)
                shard.given += pool.draw(
                    purse, max(wanted, purse.draw(first=not shard.given)) - shard.left, least - shard.left
                )
            amount = min(wanted, shard.allowed(purse, who, elapsed), shard.left)
            refused = amount < least
            if not refused:
                shard.take(who, amount)
            if shard.press(purse, who, elapsed, refused=refused):
                pool = pool or the_pool()
            if pool is not None:
                pool.note(name, shard)
                transaction.set(pool_at, {**asdict(pool), "expires_at": span.ends + _KEPT})
            if pool is not None or not refused:
                transaction.set(shard_at, {**asdict(shard), "expires_at": span.ends + _KEPT})
            if not refused:
                return Block(amount, span.left(now), span.name)
            taken = shard.people.get(who, 0) + least
            seconds, by_share = refused_for(purse, span, now, shard.rivals(who), taken)
            return Refusal(seconds, by_share, now + timedelta(seconds=seconds))

        return transact(self._settings, story)

    def _standing(self, budget: Budget, user_id: str | None) -> Standing:
        who = alias(user_id) if user_id else ""
        while True:
            used = total = 0
            span = budget.open.span_of(self.now())
            for purse in (budget.open, budget.kept):
                asked = self._clock()
                with translated():
                    snapshot = self._at(purse, span, self._shard(who) if who else None).get()
                self._believe(snapshot.read_time, asked)
                fields = (snapshot.to_dict() or {}) if snapshot.exists else {}
                used += int(fields.get("people", {}).get(who, 0) if who else fields.get("given", 0))
                total += purse.each if who else purse.total
            if span.holds(self.now()):
                return Standing(budget.name, used, max(0, total - used), span.ends)

    def _believe(self, server: datetime, asked: float) -> None:
        # From when we asked and not from when it answered: rather too late a clock for us than blocks that live on.
        with self._lock:
            self._zero = server - timedelta(seconds=asked)

    def _shard(self, who: str) -> str:
        return f"{int(who, 16) % self._settings.quota_shards:x}"

    def _at(self, purse: Purse, span: Span, shard: str | None = None) -> DocumentReference:
        name = f"{purse.name}~{span.name}" if shard is None else f"{purse.name}~{span.name}~{shard}"
        return client(self._settings).collection(Collections.QUOTA).document(name)


def _stated(fields: Mapping[str, Any], of: type[Pool | Shard]) -> dict[str, Any]:
    return {name: fields[name] for name in of.__slots__ if name in fields}
