"""Faults on purpose, so that tests can show that late, lost, repeated and shuffled messages do no harm."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to the deliveries of one subscription."""

    duplicate: int = 0  # after its acknowledgement each message is delivered so many times more
    delay: float = 0.0  # seconds between publishing and the first delivery
    drop: int = 0  # so many next deliveries are lost on their way: a failed attempt, tried again after the backoff
    shuffle: bool = False  # in random order, as far as the ordering key allows
    hold: bool = False  # nothing is delivered


class Faults:
    """Which subscription (short name, or "*" for all others) suffers which fault."""

    def __init__(self, wake: Callable[[], None], seed: int = 0) -> None:
        self._wake = wake
        self._faults: dict[str, Fault] = {}
        self.random = random.Random(seed)

    def of(self, subscription: str) -> Fault:
        """The fault of a subscription, by its full or short name."""
        return self._faults.get(subscription.rpartition("/")[2]) or self._faults.get("*") or _NONE

    def change(self, subscription: str = "*", **fault: Any) -> None:
        """Set the named fields of a subscription's fault; the others stay."""
        self._faults[subscription] = replace(self.of(subscription), **fault)
        self._wake()

    def hold(self, subscription: str = "*") -> None:
        """Deliver nothing until `release`. What is on its way already goes on."""
        self.change(subscription, hold=True)

    def release(self, subscription: str = "*") -> None:
        """Deliver again."""
        self.change(subscription, hold=False)

    def clear(self) -> None:
        """No faults any more."""
        self._faults.clear()
        self._wake()

    def loses_one(self, subscription: str) -> bool:
        """Whether the next delivery is to be lost; counts it."""
        fault = self.of(subscription)
        if fault.drop:
            self._faults[subscription.rpartition("/")[2]] = replace(fault, drop=fault.drop - 1)
        return fault.drop > 0


_NONE = Fault()
