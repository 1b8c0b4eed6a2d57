"""The dashboard: a page and a JSON API through which a person sees what Drivestream knows, and stays in control.

A door with a list of everything behind it; what is not on the list is not there. Who asks is said by the session
cookie and by nothing else. Rows are read as `drivestream_reader` under row level security, one person at a time.
"""

from __future__ import annotations

from functools import cache

import flask
import functions_framework

from functions.dashboard import (
    api,
    checks,
    connections,
    contract,
    control,
    costs,
    entities,
    forecast,
    health,
    history,
    pages,
    scope,
    search,
    session,
    stream,
)
from functions.dashboard.routes import Route, answer
from functions.dashboard.visit import Visit
from shared.adapters.postgres import Database
from shared.config import settings
from shared.doors import door

ROUTES = (
    Route("GET", "/", pages.first),
    Route("GET", "/files/{file_id}", pages.file),
    Route("GET", "/history", pages.history),
    Route("GET", "/costs", pages.spending),
    Route("GET", "/settings", pages.choices),
    Route("POST", "/settings", scope.save),
    Route("GET", "/health", pages.well),
    Route("GET", "/part/folders", pages.branch),
    Route("GET", "/forecast", pages.forecast),
    Route("GET", "/part/progress", pages.progress),
    Route("GET", "/part/files", pages.files),
    Route("GET", "/part/results", pages.results),
    Route("GET", "/assets/{name}", pages.asset),
    Route("GET", "/signin", session.sign_in),
    Route("POST", "/signout", session.sign_out),
    Route("GET", "/api/status", api.status),
    Route("GET", "/api/files", api.files),
    Route("GET", "/api/files/{file_id}", api.file),
    Route("GET", "/api/jobs/{job_id}", api.job),
    Route("GET", "/api/search", search.find),
    Route("GET", "/api/entities", entities.find),
    Route("GET", "/api/costs", costs.find),
    Route("GET", "/api/forecast", forecast.find),
    Route("POST", "/api/start", forecast.start),
    Route("GET", "/api/search/similar", search.find_similar),
    Route("GET", "/api/settings", api.settings),
    Route("PUT", "/api/settings", control.change_settings),
    Route("GET", "/api/files/{file_id}/passages", api.passages),
    Route("GET", "/api/activity", history.activity),
    Route("GET", "/api/audit", history.audit),
    Route("GET", "/api/export/{log}/{form}", history.export),
    Route("GET", "/api/freshness", costs.freshness),
    Route("GET", "/api/folders", scope.folders),
    Route("GET", "/api/health", checks.health),
    Route("GET", "/api/events", stream.events),
    Route("GET", "/api/openapi.json", contract.document),
    Route("POST", "/api/connections", connections.invite),
    Route("GET", "/api/drive/files", connections.files),
    Route("GET", "/api/drive/job", connections.job),
    Route("POST", "/api/connect", control.connect),
    Route("POST", "/api/disconnect", control.disconnect),
    Route("POST", "/api/files/{file_id}/retry", control.retry),
    Route("GET", "/healthz", health.healthz),
    Route("GET", "/metrics", health.metrics),
)


@functions_framework.http
@health.counted
@door
def dashboard(request: flask.Request) -> flask.Response:
    """Every page and every answer."""
    return answer(ROUTES, Visit(request, settings(), database()))


@cache
def database() -> Database:
    """One person's rows, to read."""
    return Database(settings(), "drivestream_reader")
