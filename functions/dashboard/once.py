"""Requests that are safe to repeat: one answer for an `Idempotency-Key`, however often it is sent.

As in https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/. A key belongs to one person and one
request; its answer is kept for a day. Only what has worked is kept: what was refused, or failed, may be tried again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import flask

from functions.dashboard.visit import Visit
from shared.domain.errors import BadRequest

HEADER = "Idempotency-Key"
ABANDONED_SECONDS = 60.0  # no answer takes as long: whoever began it is gone
KEPT_SECONDS = 86_400.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def once(visit: Visit, story: Callable[[], flask.Response]) -> flask.Response:
    """Answer a request, or say again what it was answered before. Raises `BadRequest`: 400 for what is no key, 422 for
    the key of another request, 409 while the first is being answered."""
    key = visit.request.headers.get(HEADER)
    if key is None or visit.user_id is None:
        return story()
    if not _KEY.fullmatch(key):
        raise BadRequest(f"An {HEADER} is 1 to 255 visible ASCII characters.", code="bad_key")
    fingerprint = _fingerprint(visit.request)
    again = _begin(visit, key, fingerprint)
    if again is not None:
        return again
    try:
        answer = story()
    except BaseException:
        _free(visit, key)
        raise
    with visit.database.transaction(visit.user_id) as tx:
        tx.run("end_request", key=key, status=answer.status_code, answer=answer.get_data(as_text=True))
    return answer


def _begin(visit: Visit, key: str, fingerprint: bytes) -> flask.Response | None:
    with visit.mine() as tx:
        if tx.row("begin_request", key=key, fingerprint=fingerprint, abandoned=ABANDONED_SECONDS, kept=KEPT_SECONDS):
            return None
        before = tx.row("request_before", key=key)
    if before is None or before["status"] is None:
        raise BadRequest(
            "The first request with this key is still being answered.", status=409, code="in_progress", retry_after=2
        )
    if bytes(before["fingerprint"]) != fingerprint:
        raise BadRequest(f"This {HEADER} was used for another request.", status=422, code="key_reused")
    answer = flask.Response(before["answer"], before["status"], mimetype="application/json")
    answer.headers["Idempotency-Replayed"] = "true"
    return answer


def _free(visit: Visit, key: str) -> None:
    with visit.database.transaction(visit.user_id) as tx:
        tx.run("forget_request", key=key)


def _fingerprint(request: flask.Request) -> bytes:
    asked = b"\0".join([request.method.encode(), request.full_path.encode(), request.get_data()])
    return hashlib.sha256(asked).digest()
