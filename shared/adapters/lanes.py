"""Several connections for one file, where each is capped and the file is large.

A line that is held at some rate for each connection gives more through several. Whether it does is measured and not
assumed: the one stream comes first, two lanes are tried and kept only if they pay, then four. Windows are delivered in
order; what is fetched ahead is bounded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from shared.adapters.buffers import buffer as new_buffer

MIB = 1024 * 1024
SEGMENT = 8 * MIB  # one request: long enough that its latency does not count for much
LANES = 4
LARGE = 64 * MIB  # a smaller file is not worth it, nor is a smaller rest
FAST = 64e6  # bytes a second: more than any reader takes
PERIOD = 0.4  # seconds of one measurement
_FLAT = 1.2  # a stream that differs by more from one period to the next is not held at a rate
_IDLE = 0.8  # the share of time that was spent waiting for bytes
_PAYS = 1.25  # times what fewer lanes gave


class Gauge:
    """Finds out whether the one stream is held at some rate while its consumer waits for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = 0.0
        self.capped = False
        self._clock = clock
        self._asked = self._began = clock()
        self._waited, self._bytes = 0.0, -1  # the first window waits for the answer too: it is not counted

    def received(self, count: int) -> None:
        """A window has come."""
        now = self._clock()
        if self._bytes < 0:
            self._began, self._bytes = now, 0
            return
        self._waited += now - self._asked
        self._bytes += count
        if now - self._began >= PERIOD:
            self._judge(now)

    def asked(self) -> None:
        """The consumer wants the next window."""
        self._asked = self._clock()

    def _judge(self, now: float) -> None:
        before, self.rate = self.rate, self._bytes / (now - self._began)
        idle = self._waited >= _IDLE * (now - self._began)
        self.capped = before / _FLAT <= self.rate <= min(before * _FLAT, FAST) and idle
        self._began, self._waited, self._bytes = now, 0.0, 0


class Fetched(NamedTuple):
    """What a lane says of a part. `refused` means that Drive asked to slow down, or does not serve parts after all."""

    filled: int
    requests: int
    bytes_read: int
    refused: bool


Fetch = Callable[[memoryview, int], Fetched]  # fills a buffer from an offset on; raises what a stream would


class Lanes:
    """A file from `position` on, by several connections. `position` then says how far they came: where lanes do not
    pay, or Drive asks to slow down, they end before the file does and the rest is the one stream's."""

    def __init__(self, fetch: Fetch, position: int, size: int, rate: float, segment: int = SEGMENT) -> None:
        self.position = position
        self.requests = self.bytes_read = 0
        self._fetch = fetch
        self._size = size
        self._segment = segment
        self._next = position
        self._lanes, self._best = 2, rate
        self._settled = False
        self._free: list[memoryview] = []
        self._ahead: deque[tuple[memoryview, int, Future[Fetched]]] = deque()

    def windows(self, window_bytes: int) -> Generator[memoryview, None, None]:
        """Windows in order, each valid until the next one is asked for."""
        pool = ThreadPoolExecutor(LANES, thread_name_prefix="lane")
        try:
            self._measure_anew()
            while self._send_ahead(pool):
                buffer, wanted, future = self._ahead.popleft()
                fetched = future.result()
                self.requests += fetched.requests
                self.bytes_read += fetched.bytes_read
                segment = buffer[: fetched.filled]
                for at in range(0, len(segment), window_bytes):
                    window = segment[at : at + window_bytes]
                    self.position += len(window)
                    yield window
                if len(segment) < wanted:
                    return  # the one stream finds out what is the matter
                self._free.append(buffer)
                self._judge(fetched)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _send_ahead(self, pool: ThreadPoolExecutor) -> bool:
        """Ask for as many parts as there are lanes. False when there is nothing left to wait for."""
        while len(self._ahead) < self._lanes and self._next < self._size:
            buffer = self._free.pop() if self._free else new_buffer(min(self._segment, self._size))
            part = buffer[: self._size - self._next]
            self._ahead.append((buffer, len(part), pool.submit(self._fetch, part, self._next)))
            self._next += len(part)
        return bool(self._ahead)

    def _measure_anew(self) -> None:
        self._began, self._since, self._parts = time.monotonic(), self.position, 0

    def _judge(self, fetched: Fetched) -> None:
        """After two rounds of every lane: did these lanes pay?"""
        if fetched.refused:
            self._lanes, self._settled = 0, True
        self._parts += 1
        if self._settled or self._parts < 2 * self._lanes:
            return
        rate = (self.position - self._since) / max(time.monotonic() - self._began, 1e-9)
        if rate >= self._best * _PAYS:
            self._best = rate
            self._settled = self._lanes == LANES
            self._lanes = LANES
        else:
            self._settled = True
            self._lanes = 0 if self._lanes == 2 else 2
        self._measure_anew()
