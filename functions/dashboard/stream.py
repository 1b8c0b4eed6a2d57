"""The status as it changes, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

An open stream holds one of the server's few threads. So there are few, and each ends after a while (the browser comes
back by itself). Who gets none is told the status once and comes back a little later.
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
_free = threading.BoundedSemaphore(MOST_STREAMS)


def events(visit: Visit) -> flask.Response:
    """A stream of one person's status."""
    visit.signed_in()
    if _free.acquire(blocking=False):
        answer = flask.Response(tell(lambda: look(visit)), mimetype="text/event-stream")
        answer.call_on_close(_closed)
        STREAMS.inc()
    else:
        answer = flask.Response(tell(lambda: look(visit), seconds=0), mimetype="text/event-stream")
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
    """The stream: the status at once and whenever it has changed, and in between a word now and then.

    Only a word that nobody takes tells that the browser has gone on to another page.
    """
    yield "retry: 2000\n\n"
    end, last = clock() + seconds, ""
    while True:
        now = status()
        if now is None:
            return
        news = json.dumps(
            {name: now[name] for name in now if name not in {"now", "last_minute", "estimated_completion"}}, default=str
        )
        if news != last:
            yield f"event: status\ndata: {as_json(now).get_data(as_text=True)}\n\n"
            last = news
        else:
            yield ": ping\n\n"
        if clock() >= end:
            return
        wait(every)
