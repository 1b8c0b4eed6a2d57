"""The list of doors: a method and a path pattern lead to a story, and anything else to a plain refusal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import flask

from functions.dashboard.callers import refuse_no_name
from functions.dashboard.once import once
from functions.dashboard.pace import Pace, address
from functions.dashboard.visit import Visit
from shared.domain.errors import BadRequest
from shared.doors import refuse

Story = Callable[..., flask.Response]
_PARAMETER = re.compile(r"\{(\w+)\}")
MATCHED = "drivestream.route"  # in the request's environ, for counting
_UNBOUND = frozenset({"/assets/{name}", "/healthz", "/metrics", "/api/openapi.json"})
ONCE = frozenset({"/api/disconnect", "/api/files/{file_id}/retry"})  # what may bear an Idempotency-Key
_SEARCHES = frozenset({"/api/search", "/part/results"})
_requests, _searches = Pace("requests"), Pace("searches")


@dataclass(frozen=True)
class Route:
    """One door. `{name}` in its path is one segment, given to the story by name."""

    method: str
    path: str
    story: Story

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression."""
        return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", self.path))


def answer(routes: Iterable[Route], visit: Visit) -> flask.Response:
    """Find the story and let it answer. A story that changes something is closed to the pages of other sites."""
    request = visit.request
    found = [(route, match) for route in routes if (match := route.pattern.fullmatch(request.path))]
    if not found:
        raise BadRequest("There is nothing here.", status=404, code="not_found")
    request.environ[MATCHED] = found[0][0].path
    # Who asks for the head of a page gets one; but a one-time code is not used up by looking.
    method = "GET" if request.method == "HEAD" and request.path != "/signin" else request.method
    for route, match in found:
        if route.method == method:
            refuse_no_name(request)
            told = _paced(visit, route)
            answer = _told(visit, route, match.groupdict())
            answer.headers.update(told)
            return answer
    allowed = [route.method for route, _ in found]
    refusal = refuse(request, BadRequest(f"This address takes {' or '.join(allowed)} only.", code="wrong_method"), 405)
    refusal.headers["Allow"] = ", ".join(allowed)
    return refusal


def _told(visit: Visit, route: Route, blanks: dict[str, str]) -> flask.Response:
    """The story's answer. One that changes something is told once for each key; one that only reads may find that the
    caller has it already."""
    if route.method != "GET":
        visit.refuse_other_sites()
        if route.path in ONCE:
            return once(visit, lambda: route.story(visit, **blanks))
        return route.story(visit, **blanks)
    answer = route.story(visit, **blanks)
    if answer.status_code == 200 and answer.mimetype == "application/json" and not answer.is_streamed:
        answer.add_etag()
        answer.make_conditional(visit.request)
    return answer


def _paced(visit: Visit, route: Route) -> dict[str, str]:
    """What to tell the caller of how much more they may ask. Raises `BadRequest` (429)."""
    if route.path in _UNBOUND:
        return {}
    caller = str(visit.user_id) if visit.user_id is not None else address(visit.request)
    told = _requests.take(caller, visit.config.requests_per_minute)
    if route.path in _SEARCHES:
        told = _searches.take(caller, visit.config.searches_per_minute) or told
    return told
