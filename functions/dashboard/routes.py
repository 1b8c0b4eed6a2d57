"""The list of doors: a method and a path pattern lead to a story, and anything else to a plain refusal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import flask

from functions.dashboard.visit import Visit
from shared.domain.errors import BadRequest
from shared.doors import refuse

Story = Callable[..., flask.Response]
_PARAMETER = re.compile(r"\{(\w+)\}")
MATCHED = "drivestream.route"  # in the request's environ, for counting


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
            if method != "GET":
                visit.refuse_other_sites()
            return route.story(visit, **match.groupdict())
    allowed = [route.method for route, _ in found]
    refusal = refuse(request, BadRequest(f"This address takes {' or '.join(allowed)} only.", code="wrong_method"), 405)
    refusal.headers["Allow"] = ", ".join(allowed)
    return refusal
