"""How much one person, or one address of strangers, may ask of one instance: a bucket of tokens each.

The bound is an instance's own: it keeps one caller from taking the place of the others, at no cost for anybody. How
many instances there are is the platform's bound. What is left is told as in
https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import flask

from shared.domain.errors import BadRequest

MOST_CALLERS = 10_000  # whoever was not heard of for the longest begins anew


class Pace:
    """Buckets that are full for a minute's requests and fill evenly. Safe to share between threads."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, when

    def take(self, caller: str, per_minute: int) -> dict[str, str]:
        """Take a token; what to tell about those that are left. Raises `BadRequest` (429) where none is."""
        if per_minute <= 0:
            return {}
        with self._lock:
            now = self._clock()
            left, then = self._buckets.pop(caller, (float(per_minute), now))
            left = min(float(per_minute), left + (now - then) * per_minute / 60)
            enough = left >= 1
            left -= enough
            self._buckets[caller] = (left, now)
            if len(self._buckets) > MOST_CALLERS:
                self._buckets.popitem(last=False)
        if not enough:
            wait = (1 - left) * 60 / per_minute
            raise BadRequest(
                f"More than {per_minute} in a minute is too fast. Go on in {math.ceil(wait)} s.",
                status=429,
                code="too_fast",
                retry_after=wait,
            )
        full = math.ceil((per_minute - left) * 60 / per_minute)
        return {
            "RateLimit-Policy": f'"{self._name}";q={per_minute};w=60',
            "RateLimit": f'"{self._name}";r={int(left)};t={full}',
        }


def address(request: flask.Request) -> str:
    """Where a stranger asks from: what Google's front end wrote last, before which anybody can write anything."""
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or request.remote_addr or ""
