"""The status as it changes, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

An open stream holds one of the server's few threads. So there are few, each ends after a while (the browser comes
back by itself), and who gets none asks for the status now and then instead.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import flask

from functions.dashboard.api import read_status
from functions.dashboard.health import STREAMS
from functions.dashboard.visit import Visit, as_json, person_of
from shared.domain.errors import BadRequest, Unavailable

MOST_STREAMS = 4
SECONDS = 25.0
EVERY_SECONDS = 1.0
PING_SECONDS = 10.0
_free = threading.BoundedSemaphore(MOST_STREAMS)


def events(visit: Visit) -> flask.Response:
    """A stream of one person's status. Raises `Unavailable` when too many are open."""
    visit.signed_in()
    if not _free.acquire(blocking=False):
        raise Unavailable("Too many event streams are open.", retry_after=10, code="too_many_streams")
    answer = flask.Response(tell(lambda: look(visit)), mimetype="text/event-stream")
    answer.call_on_close(_closed)
    STREAMS.inc()
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def _closed() -> None:
    STREAMS.dec()
    _free.release()


def look(visit: Visit) -> dict[str, Any] | None:
    """The status now; None when the session has ended meanwhile, or the database is away."""
    try:
        if person_of(visit.database, visit.session) != visit.signed_in():
            return None
        with visit.mine() as tx:
            return read_status(tx)
    except (Unavailable, BadRequest):
        return None


def tell(
    status: Callable[[], dict[str, Any] | None],
    *,
    seconds: float = SECONDS,
    every: float = EVERY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """The stream: the status at once and whenever it has changed, a ping when it has not for long."""
    yield "retry: 2000\n\n"
    end, spoke, last = clock() + seconds, clock(), ""
    while clock() < end:
        now = status()
        if now is None:
            return
        news = json.dumps({name: now[name] for name in now if name not in {"now", "last_minute"}}, default=str)
        if news != last:
            yield f"event: status\ndata: {as_json(now).get_data(as_text=True)}\n\n"
            spoke, last = clock(), news
        elif clock() - spoke >= PING_SECONDS:
            yield ": ping\n\n"
            spoke = clock()
        wait(every)
