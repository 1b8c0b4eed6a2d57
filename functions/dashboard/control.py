"""What a person can ask for: connect, try a file again, disconnect. Each is one message; others do the work."""

from __future__ import annotations

import flask

from functions.dashboard.session import forget_cookie
from functions.dashboard.visit import Visit, as_json, checked_id
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.tick_pb2 import Tick
from shared import log
from shared.adapters.pubsub import Outbox
from shared.domain.errors import BadRequest, Unavailable
from shared.domain.names import FILE_CHANGES, TICKS, receipt_id
from shared.doors import redirect


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
    outbox = Outbox(visit.config)
    outbox.publish(TICKS, Tick(duty=Tick.Duty.ERASE, user_id=user_id))
    try:
        outbox.confirm()
    except Unavailable as wait:
        # The person is `erasing` and cannot ask a second time; the scheduled erasure finds them.
        log.event("erasure not announced", "ERROR", code=wait.code, reason=wait.reason)
    log.event("disconnected", receipt=receipt)
    answer = redirect(f"/?receipt={receipt}") if visit.wants_page else as_json({"receipt": receipt}, 202)
    forget_cookie(visit, answer)
    return answer


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
