"""HTTP doors for people and for Drive: what every answer carries, and what a refusal looks like.

A refusal is one plain sentence with no internals: for a program as problem details (RFC 9457), for a browser as a small
page. A door that cannot reach what it needs fails closed, with 503.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import math
import time
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

import flask
from werkzeug.exceptions import RequestEntityTooLarge

from shared import log, tracing
from shared.config import settings
from shared.domain.errors import BadRequest, DrivestreamError, Rejected, Unavailable

LARGEST_BODY = 64 * 1024
_STYLE = (
    ":root{color-scheme:light dark;font:100%/1.55 system-ui,sans-serif}"
    "body{max-width:38rem;margin:4rem auto;padding:0 1.25rem;overflow-wrap:anywhere}"
    "h1{font-size:1rem;font-weight:650}p{font-size:1.15rem}"
    "a:focus-visible{outline:3px solid #0b63c5;outline-offset:2px}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'self' 'sha256-{_STYLE_HASH}'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Drivestream</title><link rel="icon" href="data:,"><style>{style}</style>
<h1>Drivestream</h1><p>{sentence}</p>{link}</html>"""


def door(story: Callable[[flask.Request], flask.Response]) -> Callable[[flask.Request], flask.Response]:
    """Make an HTTP function of a story that answers a request or raises one of our errors."""

    @wraps(story)
    def function(request: flask.Request) -> flask.Response:
        log.configure()
        log.unbind()
        log.bind(function=story.__name__)
        with tracing.request(settings(), story.__name__, request.headers) as span:
            return answered(request, span)

    def answered(request: flask.Request, span: tracing.Span) -> flask.Response:
        started = time.monotonic()
        try:
            _read_body(request)
            answer = story(request)
        except BadRequest as refusal:
            tracing.forget()
            log.event("refused", "WARNING", code=refusal.code, reason=refusal.reason, status=refusal.status)
            answer = refuse(request, refusal, refusal.status)
            if refusal.retry_after is not None:
                answer.headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))
        except Unavailable as wait:
            span.error = wait.code
            log.event("not now", "WARNING", code=wait.code, reason=wait.reason)
            answer = refuse(request, Unavailable("This does not work right now. Please try again in a minute."), 503)
            answer.headers["Retry-After"] = str(max(1, round(wait.retry_after or 30)))
        except Rejected as refusal:
            log.event("refused", "WARNING", code=refusal.code, reason=refusal.reason)
            answer = refuse(request, refusal, 400)
        except Exception as bug:  # noqa: BLE001 - the last place: a person gets a sentence, the log gets the stack
            span.error = type(bug).__name__
            log.failure("unexpected", bug)
            answer = refuse(request, DrivestreamError("Something went wrong on our side. Please try again."), 500)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        span.note(status=answer.status_code)
        log.event("answered", status=answer.status_code, seconds=round(time.monotonic() - started, 3))
        return answer

    return function


def _read_body(request: flask.Request) -> None:
    """Read the body into memory, if it is small. One that comes in pieces does not say its length, and is cut there."""
    request.max_content_length = LARGEST_BODY
    try:
        small = len(request.get_data()) < LARGEST_BODY
    except RequestEntityTooLarge:
        small = False
    if not small:
        request.stream = io.BytesIO()  # the framework would read it to its end, however long it is
        raise BadRequest("The request is too large.", status=413)


def refuse(request: flask.Request, error: DrivestreamError, status: int) -> flask.Response:
    """The sentence in the form that the caller reads: `code` and `type` are stable names of what went wrong."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        home = html.escape(settings().dashboard_url, quote=True)
        link = f'<p><a href="{home}/">Back to the dashboard</a></p>' if home else ""
        page = _PAGE.format(style=_STYLE, sentence=html.escape(error.reason), link=link)
        return flask.Response(page, status, mimetype="text/html")
    problem = {
        "type": f"urn:drivestream:problem:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.reason,
        "code": error.code,
    }
    return flask.Response(flask.json.dumps(problem), status, mimetype="application/problem+json")


def redirect(address: str) -> flask.Response:
    """Send the browser elsewhere with a GET."""
    return flask.Response(status=303, headers={"Location": address})


def cookie_name(name: str, address: str) -> str:
    """`__Host-name` where the door is reached by https. Over plain http on one machine not every browser (Safari)
    and no HTTP library sends a Secure cookie, so the name and the attribute follow the address."""
    return f"__Host-{name}" if address.startswith("https://") else name


def set_cookie(answer: flask.Response, name: str, value: str, address: str, *, seconds: float) -> None:
    """A cookie for this door's host only, out of reach of scripts and of other sites' posts."""
    answer.set_cookie(
        cookie_name(name, address),
        value,
        max_age=int(seconds),
        path="/",
        secure=address.startswith("https://"),
        httponly=True,
        samesite="Lax",
    )
