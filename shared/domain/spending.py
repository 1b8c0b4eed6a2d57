"""What one piece of work may take, and what it has cost: time, pages, tokens, and the caps of a person.

Costs are counted when a service has answered, whether or not the answer can be used. A cap is asked before a service
is, with what the next step will take at most, so that it is passed by nothing that was known beforehand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from shared.domain.errors import LongWait

SECONDS = 420.0  # well within the 600 s after which a push is delivered again, the last answer included


class CapReached(LongWait):
    """The person has said what may be spent in a month, and the next step would be more."""

    code = "cap_reached"


@dataclass(frozen=True, slots=True)
class Spent:
    """What services have billed, in their own units."""

    ocr_pages: int = 0
    embedded_tokens: int = 0
    model_input_tokens: int = 0
    model_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step will take at most, in the units of the caps."""

    bytes: int = 0
    pages: int = 0
    tokens: int = 0


CAPS = tuple(one.name for one in fields(Wanted))
_WORDS = {"bytes": "bytes read from Drive", "pages": "recognised pages", "tokens": "tokens of models"}


def refusal(
    caps: Mapping[str, int | None], used: Mapping[str, int], wanted: Wanted, seconds_left: float
) -> CapReached | None:
    """Why a step must wait, for at most the rest of the month (UTC), or None where it fits under every cap."""
    for name in CAPS:
        cap, more = caps[name], getattr(wanted, name)
        if cap is not None and more and used[name] + more > cap:
            return CapReached(
                f"Your cap of {cap:,} {_WORDS[name]} a month leaves no room for this: {used[name]:,} are used or under"
                f" way, and it takes up to {more:,}. It goes on when you raise the cap, or next month.",
                retry_after=seconds_left,
            )
    return None


class Account:
    """The time that is left for a piece of work, and what it costs. Safe to share between threads.

    `allow` is asked before each step that is billed, with all that was wanted so far and the step; it raises
    `CapReached`.
    """

    def __init__(self, seconds: float = SECONDS, allow: Callable[[Wanted], None] | None = None) -> None:
        self._ends = time.monotonic() + seconds
        self._allow = allow
        self._lock = threading.Lock()
        self._wanted = Wanted()
        self.spent = Spent()

    def time_for(self, most: float) -> float:
        """How long the next call may take: `most` seconds, or what is left. Raises `LongWait` when nothing is."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise LongWait("Google's services were too slow for this part of the file.", code="slow")
        return min(most, left)

    def ask(self, *, pages: int = 0, tokens: int = 0) -> None:
        """Before a step that is billed. Raises `CapReached`."""
        if self._allow is not None:
            wanted = self._wanted
            self._wanted = replace(wanted, pages=wanted.pages + pages, tokens=wanted.tokens + tokens)
            self._allow(self._wanted)

    def pay(self, **counted: int) -> None:
        """What an answer cost, by the names of `Spent`."""
        with self._lock:
            self.spent = replace(
                self.spent, **{name: getattr(self.spent, name) + count for name, count in counted.items()}
            )
