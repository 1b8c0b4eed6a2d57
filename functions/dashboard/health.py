"""Is it well, and how busy is it? For machines: no sign-in, nothing personal."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps

import flask
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from functions.dashboard.routes import MATCHED
from functions.dashboard.visit import Visit, as_json
from shared.domain.errors import Unavailable

REGISTRY = CollectorRegistry(auto_describe=True)
REQUESTS = Counter(
    "drivestream_dashboard_requests", "Answers by address and status.", ["route", "status"], registry=REGISTRY
)
SECONDS = Histogram(
    "drivestream_dashboard_seconds",
    "Seconds until an answer began.",
    ["route"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    registry=REGISTRY,
)
SEARCHES = Counter("drivestream_dashboard_searches", "Searches, by meaning or not.", ["meaning"], registry=REGISTRY)
CENSUS = Gauge(
    "drivestream_census_files",
    "Files that the last censuses compared, and that they found missing, stale or surplus.",
    ["finding"],
    registry=REGISTRY,
)
CHANNELS = Gauge(
    "drivestream_corpora",
    "Corpora whose changes Drive announces, does not announce, or whose channel was silent within a day.",
    ["channel"],
    registry=REGISTRY,
)
QUOTA = Gauge(
    "drivestream_drive_quota",
    "Drive's quotas as the caretaker found them last: what is leased of each, and what is left.",
    ["budget", "part"],
    registry=REGISTRY,
)
PRESSURE = Gauge(
    "drivestream_service_busy_seconds",
    "For how long a service will be over its quota, as it said itself.",
    ["service"],
    registry=REGISTRY,
)
STREAMS = Gauge("drivestream_dashboard_streams", "Event streams that are open now.", registry=REGISTRY)

Door = Callable[[flask.Request], flask.Response]


def counted(function: Door) -> Door:
    """Count the answers of a door, whatever they are."""

    @wraps(function)
    def counting(request: flask.Request) -> flask.Response:
        started = time.monotonic()
        answer = function(request)
        route = request.environ.get(MATCHED, "none")
        REQUESTS.labels(route, str(answer.status_code)).inc()
        SECONDS.labels(route).observe(time.monotonic() - started)
        return answer

    return counting


def healthz(visit: Visit) -> flask.Response:
    """200 where the database answers, 503 where it does not."""
    try:
        with visit.database.transaction(None) as tx:
            tx.row("clock")
    except Unavailable:
        return as_json({"ok": False, "database": False}, 503)
    return as_json({"ok": True, "database": True})


def metrics(visit: Visit) -> flask.Response:
    """Counters of this process, what the censuses found, and how channels and quotas are, in Prometheus' text form."""
    try:
        with visit.database.transaction(None) as tx:
            for row in tx.rows("census_totals"):
                CENSUS.labels(row["finding"]).set(row["files"])
            for row in tx.rows("channel_totals"):
                CHANNELS.labels(row["kind"]).set(row["corpora"])
            QUOTA.clear()  # a budget whose time is over says nothing about the next one
            for row in tx.rows("standings"):
                QUOTA.labels(row["budget"], "leased").set(row["used"])
                QUOTA.labels(row["budget"], "left").set(row["remaining"])
            for row in tx.rows("pressures"):
                PRESSURE.labels(row["service"]).set(max(0.0, row["seconds"]))
    except Unavailable:
        for gauge in (CENSUS, CHANNELS, QUOTA, PRESSURE):
            gauge.clear()  # what is not known now is not told
    return flask.Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
