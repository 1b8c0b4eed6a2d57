"""Signing in with the consent door's one-time code, and out again."""

from __future__ import annotations

import secrets

import flask

from functions.dashboard.visit import SESSION, Visit, digest
from shared.domain.errors import BadRequest
from shared.doors import cookie_name, redirect, set_cookie


def sign_in(visit: Visit) -> flask.Response:
    """Exchange the code for a session of this browser. The session's name is always new: none can be planted."""
    code = visit.request.args.get("code", "")
    if not 20 <= len(code) <= 128:
        raise _no_use()
    token = secrets.token_urlsafe(32)
    with visit.database.transaction(None) as tx:
        row = tx.row(
            "redeem_signin",
            code_hash=digest(code),
            session_hash=digest(token),
            seconds=visit.config.session_seconds,
        )
        if row is None or row["user_id"] is None:
            raise _no_use()
        if visit.session is not None:  # whoever was signed in here before
            tx.rows("end_session", session_hash=visit.session)
    answer = redirect("/")
    set_cookie(answer, SESSION, token, visit.config.dashboard_url, seconds=visit.config.session_seconds)
    return answer


def sign_out(visit: Visit) -> flask.Response:
    """End the session, here and in the database."""
    if visit.session is not None:
        with visit.database.transaction(None) as tx:
            tx.rows("end_session", session_hash=visit.session)
    answer = redirect("/") if visit.wants_page else flask.Response(status=204)
    forget_cookie(visit, answer)
    return answer


def forget_cookie(visit: Visit, answer: flask.Response) -> None:
    """Take the session's cookie out of the browser."""
    address = visit.config.dashboard_url
    answer.delete_cookie(
        cookie_name(SESSION, address), path="/", secure=address.startswith("https://"), httponly=True, samesite="Lax"
    )


def _no_use() -> BadRequest:
    return BadRequest(
        "This sign-in link is too old or was used already. Go to the first page and connect again.", code="bad_code"
    )
