"""Faults on demand: a call that fails, an answer that is lost, a service that is slow."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque

import grpc

from infra.local.firestore.refusals import Refused


class Faults:
    """What will go wrong, per method (`Commit`, `RunQuery`, ...)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: defaultdict[str, deque[Refused]] = defaultdict(deque)
        self._lost: defaultdict[str, int] = defaultdict(int)
        self._delays: dict[str, float] = {}

    def fail_next(self, method: str, status: grpc.StatusCode, times: int = 1) -> None:
        """Answer the next calls with the status, and do nothing else."""
        with self._lock:
            self._failures[method] += [Refused(status, f"Injected: {method} fails.")] * times

    def lose_next_answer(self, method: str, times: int = 1) -> None:
        """Do what the next calls ask, then answer UNAVAILABLE, as a connection that breaks too late does."""
        with self._lock:
            self._lost[method] += times

    def delay(self, method: str, seconds: float) -> None:
        """Hold every call back for so long, until told otherwise (0)."""
        with self._lock:
            self._delays[method] = seconds

    def before(self, method: str) -> None:
        """Suffer what is due before the call's work."""
        with self._lock:
            seconds = self._delays.get(method, 0.0)
            failure = self._failures[method].popleft() if self._failures[method] else None
        if seconds:
            time.sleep(seconds)
        if failure is not None:
            raise failure

    def after(self, method: str) -> None:
        """Suffer what is due once the work is done and stored."""
        with self._lock:
            lost = self._lost[method] > 0
            self._lost[method] -= lost
        if lost:
            raise Refused(grpc.StatusCode.UNAVAILABLE, f"Injected: the answer of {method} is lost.")
