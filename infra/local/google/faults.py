"""What goes wrong at Google, on demand: errors, cut bodies, slow answers, lost notifications, clock jumps.

A route is the method's id in the discovery document (`files.list`, `changes.watch`, ...), `files.media` for content,
`token`, `revoke` or `certs` for OAuth, `*` for all. Rules are tried in the order in which they were added.

What was asked is counted as Drive counts it for its quotas, by the minute of the local clock, and refused nobody.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Literal

# What Drive counts for a call: https://developers.google.com/workspace/drive/api/guides/limits
_LISTS = ("files.list", "changes.list", "drives.list")
_CONTENT = ("files.media", "files.export", "files.download")

Kind = Literal["fail", "cut", "ignore_range", "slow", "drip", "lose", "delay", "repeat"]


@dataclass(slots=True)
class Fault:
    """One rule. `left` counts down to 0; None never ends. `chance` is the share of fitting requests that it hits."""

    kind: Kind
    route: str
    left: int | None
    chance: float = 1.0
    skip: int = 0
    status: int = 0
    reason: str = ""
    retry_after: str | None = None
    lose_answer: bool = False
    bytes: int = 0
    reset: bool = True
    seconds: float = 0.0
    copies: int = 1


class Faults:
    """Inject faults and count what was asked. Without a rule, nothing ever goes wrong."""

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []
        self._random = random.Random(seed)
        self.clock_offset = 0.0
        self.calls: Counter[str] = Counter()
        self.media_bytes = 0
        self.units: Counter[tuple[int, str]] = Counter()  # by minute since 1970, and by person
        self.bytes_sent: Counter[int] = Counter()  # by minute since 1970

    def now(self) -> float:
        """The local Google's clock, in seconds since 1970; set `clock_offset` to make it jump."""
        return time.time() + self.clock_offset

    def fail(
        self,
        route: str,
        status: int,
        reason: str = "",
        *,
        times: int | None = 1,
        chance: float = 1.0,
        skip: int = 0,
        retry_after: str | int | None = None,
        lose_answer: bool = False,
    ) -> None:
        """Answer with an error. `skip` lets some through first; `lose_answer` does the work and then fails."""
        after = None if retry_after is None else str(retry_after)
        rule = Fault("fail", route, times, chance, skip, status=status, reason=reason, retry_after=after)
        rule.lose_answer = lose_answer
        self._add(rule)

    def cut(
        self,
        after_bytes: int,
        *,
        times: int | None = 1,
        chance: float = 1.0,
        reset: bool = True,
        route: str = "files.media",
    ) -> None:
        """End a body after so many bytes: by a reset connection, or as if it were complete (`reset=False`)."""
        self._add(Fault("cut", route, times, chance, bytes=after_bytes, reset=reset))

    def ignore_range(self, *, times: int | None = 1) -> None:
        """Answer a Range request with 200 and the whole file."""
        self._add(Fault("ignore_range", "files.media", times))

    def slow(self, route: str, seconds: float, *, times: int | None = 1, chance: float = 1.0) -> None:
        """Wait before answering."""
        self._add(Fault("slow", route, times, chance, seconds=seconds))

    def drip(self, bytes_per_second: int, *, times: int | None = 1) -> None:
        """Send content no faster than this."""
        self._add(Fault("drip", "files.media", times, bytes=bytes_per_second))

    def lose_notifications(self, *, times: int | None = 1, chance: float = 1.0) -> None:
        """Never send the next notifications."""
        self._add(Fault("lose", "notification", times, chance))

    def delay_notifications(self, seconds: float, *, times: int | None = 1, chance: float = 1.0) -> None:
        """Send the next notifications late."""
        self._add(Fault("delay", "notification", times, chance, seconds=seconds))

    def repeat_notifications(self, copies: int, *, times: int | None = 1, chance: float = 1.0) -> None:
        """Send the next notifications so many times in all."""
        self._add(Fault("repeat", "notification", times, chance, copies=copies))

    def heal(self) -> None:
        """Forget every rule; the clock and the counters stay."""
        with self._lock:
            self._rules.clear()

    def count(self, route: str) -> None:
        """Note that a route was asked."""
        with self._lock:
            self.calls[route] += 1

    def charge(self, route: str, person: str) -> None:
        """Note what Drive counts for a call of a person's."""
        units = 100 if route in _LISTS else 200 if route in _CONTENT else 0 if route.startswith("sheets.") else 5
        with self._lock:
            self.units[int(self.now() // 60), person] += units

    def sent(self, count: int) -> None:
        """Note that so many bytes of content left the server."""
        with self._lock:
            self.media_bytes += count
            self.bytes_sent[int(self.now() // 60)] += count

    def take(self, kind: Kind, route: str) -> Fault | None:
        """The rule that hits this request, used up by one; None for a request that goes well."""
        if not self._rules:
            return None
        with self._lock:
            for rule in self._rules:
                if rule.kind != kind or rule.route not in ("*", route) or rule.left == 0:
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                if rule.chance < 1.0 and self._random.random() >= rule.chance:
                    continue
                if rule.left is not None:
                    rule.left -= 1
                return rule
        return None

    def _add(self, rule: Fault) -> None:
        with self._lock:
            self._rules.append(rule)
