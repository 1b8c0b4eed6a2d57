"""What a person can ask for: connect, try a file again, select folders, disconnect. Each is one message; others do the
work."""

from __future__ import annotations

from typing import Any

import flask

from functions.dashboard import api
from functions.dashboard.announce import announce, ask_for_a_look
from functions.dashboard.session import forget_cookie
from functions.dashboard.visit import Visit, as_json, checked_id, etag_of
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.tick_pb2 import Tick
from shared import log
from shared.adapters.pubsub import Outbox
from shared.domain.errors import BadRequest, Unavailable
from shared.domain.names import FILE_CHANGES, TICKS, receipt_id
from shared.domain.spending import CAPS
from shared.doors import redirect

MOST_FOLDERS = 100
MOST_BYTES = 20_000
MOST_CAP = 10**15
HOW = (
    'Say it as JSON: {"selected_folders": ["id of a folder or shared drive"], "caps": {"pages": 500}}, or one of them.'
)


def connect(visit: Visit) -> flask.Response:
    """Send the browser to the consent door; tell a program where that is."""
    if not visit.config.connect_url:
        raise Unavailable("The address of the consent door is not set.", code="no_connect_url")
    url = visit.config.connect_url + "/connect"
    accepted = visit.request.accept_mimetypes
    if accepted.accept_json and not accepted.accept_html:
        return as_json({"url": url})
    return redirect(url)


def disconnect(visit: Visit) -> flask.Response:
    """Stop everything for this person now, and have the caretaker erase it. Answers the receipt's id."""
    with visit.mine() as tx:
        tx.rows("ask_to_be_forgotten")
        if visit.session is not None:
            tx.rows("end_session", session_hash=visit.session)
    user_id = str(visit.user_id)
    receipt = receipt_id(user_id)
    announce(visit, TICKS, Tick(duty=Tick.Duty.ERASE, user_id=user_id), "erasure")
    log.event("disconnected", receipt=receipt)
    answer = redirect(f"/?receipt={receipt}") if visit.wants_page else as_json({"receipt": receipt}, 202)
    forget_cookie(visit, answer)
    return answer


def change_settings(visit: Visit) -> flask.Response:
    """Other settings than before, one or both of them; what is not named stays. Raises `BadRequest`.

    `{"selected_folders": ["..."]}`: folders by their ids, shared drives by theirs, none for everything. What lies
    outside leaves, what lies inside arrives, as soon as the lister has heard of it.
    `{"caps": {"bytes": 10000000000, "pages": 500, "tokens": null}}`: what may be spent in a month; what is not named or
    null has no cap. What waited for a cap goes on within a minute.
    """
    visit.signed_in()  # before anything is said of what was asked
    return as_json(change(visit, _asked(visit.request)), 202)


def change(visit: Visit, asked: dict[str, Any]) -> dict[str, Any]:
    """Change what is asked, and announce it; the settings afterwards. Raises `BadRequest`."""
    folders = _folders(asked["selected_folders"]) if "selected_folders" in asked else None
    caps = _caps(asked["caps"]) if "caps" in asked else None
    with visit.mine() as tx:
        tx.row("stand_still")
        _refuse_unseen(visit.request, api.read_settings(tx))
        if folders is not None:
            tx.run("select_folders", folders=folders)
        if caps is not None:
            tx.run("set_caps", **caps)
        said = api.read_settings(tx)
    if folders is not None:
        ask_for_a_look(visit, "selection")
    return said


def _refuse_unseen(request: flask.Request, current: Any) -> None:
    """Who says which settings they have seen changes no others. Raises `BadRequest` (412)."""
    seen = request.if_match
    if seen and not seen.contains(etag_of(current)):
        raise BadRequest(
            "The settings have been changed since you read them. Read them again.", status=412, code="changed_meanwhile"
        )


def _asked(request: flask.Request) -> dict[str, Any]:
    said = request.get_json(silent=True) if (request.content_length or 0) <= MOST_BYTES else None
    if not isinstance(said, dict) or not said.keys() & {"selected_folders", "caps"}:
        raise BadRequest(HOW, code="bad_settings")
    return said


def _caps(said: Any) -> dict[str, int | None]:
    if not isinstance(said, dict) or not said.keys() <= set(CAPS) or not all(map(_is_cap, said.values())):
        raise BadRequest(
            f"Caps are whole numbers for a month, or null: any of {', '.join(CAPS)}, each at least 0.", code="bad_caps"
        )
    return {name: None if said.get(name) is None else int(said[name]) for name in CAPS}


def _is_cap(said: Any) -> bool:
    """A whole number, which JSON may write as 5.0."""
    whole = (isinstance(said, int) and not isinstance(said, bool)) or (isinstance(said, float) and said.is_integer())
    return said is None or (whole and 0 <= said <= MOST_CAP)


def _folders(folders: Any) -> list[str]:
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise BadRequest(HOW, code="bad_settings")
    if len(folders) > MOST_FOLDERS:
        raise BadRequest(f"At most {MOST_FOLDERS} folders can be selected.", code="too_many_folders")
    return list(dict.fromkeys(checked_id(folder) for folder in folders))


def retry(visit: Visit, file_id: str) -> flask.Response:
    """Have one file looked at again, as if Drive had just announced it."""
    with visit.mine() as tx:
        known = tx.row("file", file_id=checked_id(file_id))
    if known is None:
        raise BadRequest("There is no such file.", status=404, code="not_found")
    if known["state"] == "folder":
        raise BadRequest("A folder has no text of its own to read.", status=409, code="folder")
    outbox = Outbox(visit.config)
    outbox.publish(
        FILE_CHANGES, FileChanged(user_id=str(visit.user_id), file_id=file_id, reason=FileChanged.Reason.ASKED)
    )
    outbox.confirm()
    if visit.wants_page:
        return redirect(f"/files/{file_id}?asked=1")
    return as_json({"id": file_id, "asked": True}, 202)
