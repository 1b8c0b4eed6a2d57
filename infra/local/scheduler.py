"""Cloud Scheduler on this machine: says each duty's tick when its time has come.

Intervals are shorter than deployed ones, because a person who watches should not wait for a caretaker. Changes are
still announced by Drive's push notifications; the sweep only catches what they miss.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from schemas.messages.tick_pb2 import Tick
from shared.adapters.pubsub import Outbox
from shared.config import settings
from shared.domain.errors import Unavailable
from shared.domain.names import TICKS

EVERY_SECONDS: Mapping[str, float] = {"renew": 300.0, "reap": 2.0, "purge": 20.0, "erase": 60.0, "census": 3600.0}


class Scheduler:
    """A thread that publishes ticks until it is stopped. A sweep every 0 seconds is none."""

    def __init__(self, sweep_seconds: float) -> None:
        self._every = {**EVERY_SECONDS, **({"sweep": sweep_seconds} if sweep_seconds else {})}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """The sweep and the renewal are due at once: nobody knows how long the stack was down."""
        for duty in ("renew", "sweep"):
            tick(duty)
        self._thread.start()

    def stop(self) -> None:
        """Publish nothing more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        due = {duty: time.monotonic() + seconds for duty, seconds in self._every.items()}
        while not self._stopped.wait(max(0.0, min(due.values()) - time.monotonic())):
            for duty, when in due.items():
                if time.monotonic() >= when:
                    due[duty] = time.monotonic() + self._every[duty]
                    try:
                        tick(duty)
                    except Unavailable:
                        continue  # the stack is going down, or the next tick finds it well again


def tick(duty: str, user_id: str = "") -> None:
    """Publish one tick and know that it is kept."""
    outbox = Outbox(settings())
    outbox.publish(
        TICKS, Tick(duty=Tick.Duty.Value(duty.upper()), user_id=user_id, scheduled_ms=int(time.time() * 1000))
    )
    outbox.confirm()
