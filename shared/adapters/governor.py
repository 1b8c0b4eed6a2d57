"""What may be asked and read of Drive now: blocks of quota in an instance's memory, leased for a person and a lane.

Every request is charged here before it is sent, and every byte before it is asked for, so that no budget is passed by
what was known beforehand. Most requests find their units in the block and go nowhere for them. Where a budget has
nothing left, a moment is waited for on the spot; whatever takes longer is `OverQuota`, which says when it goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cached_property

from shared.adapters.ledger import Block, Ledger, Refusal
from shared.config import Settings
from shared.domain.names import FRESH
from shared.domain.quota import Budget, Purse, Standing, budget, over

_LASTS = 60.0  # seconds that a block is to last, at the pace of its holder
_BELIEVED = 2.0  # seconds for which a refusal is believed without asking again
MINUTE, DAY, EGRESS = "drive-units-minute", "drive-units-day", "drive-bytes-day"


def budgets(settings: Settings) -> dict[str, Budget]:
    """Google's limits, as the settings have them."""
    kept, minute = settings.quota_kept_for_fresh, settings.drive_units_per_minute
    day, egress = settings.drive_units_per_day, settings.drive_bytes_per_day
    today = "Google's limit for today is used up."
    found = (
        budget(
            MINUTE, "Drive is asked as often as Google allows.", minute, settings.drive_units_per_minute_and_person,
            kept, daily=False,
        ),
        budget(DAY, today, day, day, kept, daily=True),
        budget(EGRESS, today, egress, egress, kept, daily=True),
    )  # fmt: skip
    return {one.name: one for one in found}


class Governor:
    """The quota of one process. Thread-safe."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._budgets = budgets(settings)

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self._settings, self._clock)

    def meter(self, user_id: str, lane: str) -> Meter:
        """What a person's requests in one lane are charged to. To be kept: its blocks are in it."""

        def holding(name: str) -> Holding:
            return Holding(self, self._budgets[name], user_id, fresh=lane == FRESH)

        return Meter(holding(MINUTE), holding(DAY), holding(EGRESS))

    def standings(self, user_id: str | None = None) -> list[Standing]:
        """How each budget stands: of the project, or of what one person has taken of it."""
        return self._ledger.standings(self._budgets, user_id)

    def lease(self, purse: Purse, user_id: str, wanted: int, least: int) -> Block | Refusal:
        """A block of a purse. Raises `Unavailable`."""
        return self._ledger.lease(purse, user_id, wanted, least)

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._clock()

    @property
    def patience(self) -> float:
        """How long somebody may be kept waiting on the spot."""
        return self._settings.quota_wait_seconds


class Meter:
    """One person's account in one lane. Thread-safe. Raises `OverQuota`."""

    def __init__(self, minute: Holding, day: Holding, egress: Holding) -> None:
        self._minute, self._day, self._egress = minute, day, egress

    def units(self, count: int) -> None:
        """A request is about to be sent."""
        self._minute.take(count)  # first: what is left of a minute is lost anyhow
        self._day.take(count)

    def content(self, count: int) -> None:
        """So many bytes are about to be received; less than none: they did not come."""
        if count >= 0:
            self._egress.take(count)
        else:
            self._egress.give_back(-count)


class Holding:
    """What this process holds of a budget for one person and lane. Thread-safe."""

    def __init__(self, governor: Governor, budget: Budget, user_id: str, *, fresh: bool) -> None:
        self._governor = governor
        self._budget = budget
        self._lock = threading.Lock()
        self._pieces = [Piece(governor, purse, user_id) for purse in budget.purses(fresh=fresh)]
        self._last = self._pieces[0]  # from which was taken

    def take(self, count: int) -> None:
        """Use some of it up. Whoever finds nothing here leases for all who wait behind. Raises `OverQuota`."""
        if not count or not self._budget.open.total:
            return
        patience = self._governor.patience
        while True:
            with self._lock:
                refusals = list[Refusal]()
                for piece in self._pieces:
                    refusal = piece.take(count)
                    if refusal is None:
                        self._last = piece
                        return
                    refusals.append(refusal)
            first = min(refusals, key=lambda refusal: refusal.seconds)
            if first.seconds > patience:
                raise over(self._budget, first.seconds, first.goes_on, by_share=first.by_share)
            patience -= first.seconds
            time.sleep(first.seconds)

    def give_back(self, count: int) -> None:
        """What was taken and not used, to whoever comes next in this process."""
        with self._lock:
            self._last.give_back(count)


class Piece:
    """A block of one purse, leased again when it is used up."""

    def __init__(self, governor: Governor, purse: Purse, user_id: str) -> None:
        self._governor = governor
        self._purse = purse
        self._user_id = user_id
        self._left, self._span = 0, ""
        self._ends = self._began = governor.now()
        self._spent = 0  # since the last lease
        self._refused: tuple[float, Refusal] | None = None

    def take(self, count: int) -> Refusal | None:
        """Why not, or None where it is taken."""
        now = self._governor.now()
        if now >= self._ends:
            self._left = 0  # void
        while self._left < count:
            refusal = self._lease(count - self._left, now)
            if refusal is not None:
                return refusal
        self._left -= count
        self._spent += count
        return None

    def give_back(self, count: int) -> None:
        """It was not used."""
        self._left += count

    def _lease(self, least: int, now: float) -> Refusal | None:
        if self._refused is not None and now < self._refused[0]:
            return self._refused[1]
        pace = self._spent / max(now - self._began, 1.0)
        # No more than will be used before the block is void.
        lasts = min(_LASTS, self._ends - now) if now < self._ends else _LASTS
        size = min(max(int(pace * lasts), self._purse.least), self._purse.most)
        got = self._governor.lease(self._purse, self._user_id, max(size, least), least)
        if isinstance(got, Refusal):
            self._refused = (now + min(_BELIEVED, got.seconds), got)
            return got
        # Where a span ended while we asked, what was left of it is void, too.
        self._left = got.amount + (self._left if got.span == self._span else 0)
        self._span = got.span
        self._ends = now + got.seconds  # from before we asked, so that it ends rather too early
        self._began, self._spent, self._refused = now, 0, None
        return None
