"""What another dashboard needs: a link that connects one of its people, and files and work in the form it knows."""

from __future__ import annotations

import re
import secrets
from typing import Any
from urllib.parse import urlencode

import flask

from functions.dashboard.api import FilesAsked, read_files, read_status
from functions.dashboard.callers import NAME, PERSON
from functions.dashboard.visit import Visit, as_json, digest, origin_of
from shared.domain.errors import BadRequest, Unavailable

VOUCHER_SECONDS = 600.0
_EMAIL = re.compile(r"[^\s@]{1,128}@[^\s@]{1,128}")
HOW = (
    'Say it as JSON: {"user_id": "your own id of the person", "email": "the Google account that will consent",'
    ' "return_url": "where the browser goes afterwards"}.'
)


def invite(visit: Visit) -> flask.Response:
    """Make the link by which a person of another dashboard connects their Drive; it works once, for ten minutes, and
    for the Google account that was named. Raises `BadRequest`."""
    if visit.caller is None:
        raise BadRequest("Only another dashboard's service account can ask for this.", status=401, code="not_signed")
    config = visit.config
    if not config.connect_url:
        raise Unavailable("The address of the consent door is not set.", code="no_connect_url")
    asked = _asked(visit.request, config.vouching[visit.caller])
    voucher = secrets.token_urlsafe(32)
    with visit.database.transaction(None) as tx:
        row = tx.row(
            "offer_voucher", voucher_hash=digest(voucher), caller=visit.caller, seconds=VOUCHER_SECONDS, **asked
        )
    assert row is not None
    url = f"{config.connect_url}/connect?{urlencode({'voucher': voucher, 'login_hint': asked['email']})}"
    return as_json({"url": url, "expires_at": row["expires_at"]}, 201)


def files(visit: Visit) -> flask.Response:
    """A page of the person's files as `DriveFileMetadata`, the newest states first."""
    visit.signed_in()
    asked = FilesAsked.of(visit.request.args)
    with visit.mine() as tx:
        found, cursor = read_files(tx, asked)
    return as_json({"files": [_metadata(file) for file in found], "next_cursor": cursor})


def job(visit: Visit) -> flask.Response:
    """How far the reading of the person's Drive is, as `DriveJobStatus`."""
    with visit.mine() as tx:
        status = read_status(tx)
    counts = status["files"]
    return as_json(
        {
            "user_id": visit.request.headers.get(PERSON) if visit.caller else str(visit.user_id),
            "status": _state(status),
            "total_files": counts["listed"],
            "processed_files": status["done"],
            "skipped_files": counts["skipped"],
            "failed_files": counts["failed"],
            "progress": status["progress"],
            "estimated_completion": status["estimated_completion"],
            "message": status["person"]["reason"],
            "updated_at": status["now"],
        },
        apart_from=("updated_at",),
    )


def _state(status: dict[str, Any]) -> str:
    counts = status["files"]
    if status["person"]["status"] != "active":
        return str(status["person"]["status"])
    if not counts["listed"]:
        return "listing"
    if status["at_rest"]:
        return "completed"
    return "running" if counts["queued"] or counts["processing"] else "waiting"


def _metadata(file: dict[str, Any]) -> dict[str, Any]:
    same = ("name", "mime_type", "size", "drive_id", "parents", "state", "reason", "indexed_at")
    return {
        "file_id": file["id"],
        **{name: file[name] for name in same},
        "modified_time": file["modified_at"],
        "web_view_link": file["link"],
    }


def _asked(request: flask.Request, origin: str) -> dict[str, Any]:
    said = request.get_json(silent=True)
    if not isinstance(said, dict) or not said.keys() <= {"user_id", "email", "return_url"}:
        raise BadRequest(HOW, code="bad_connection")
    person, email, back = said.get("user_id"), said.get("email"), said.get("return_url", origin)
    if not isinstance(person, str) or not NAME.fullmatch(person):
        raise BadRequest("user_id is 1 to 128 visible ASCII characters, yours to choose.", code="bad_connection")
    if not isinstance(email, str) or not _EMAIL.fullmatch(email):
        raise BadRequest("email names the Google account that will consent.", code="bad_connection")
    if not isinstance(back, str) or len(back) > 2000 or not back.isprintable() or origin_of(back) != origin:
        raise BadRequest(f"return_url must be a page of {origin}.", code="bad_connection")
    return {"person": person, "email": email, "return_url": back}
