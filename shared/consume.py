"""A push or a CloudEvent becomes a message; what a story does with it becomes the answer to the broker.

204     done, or `Rejected` or `Superseded`: the broker forgets the message
4xx     not a message for us: a wrong method, a wrong sender, a body that does not parse
503     `Unavailable`: deliver it again, after Retry-After where somebody knows
500     anything else is a bug: delivered again until it is a dead letter; the answer names no internals

The framework's own CloudEvent decorator drops `deliveryAttempt`, `orderingKey` and `subscription` and echoes request
headers in its 400 answers, so functions are plain HTTP functions behind this one parser.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

import flask
from google.protobuf.message import DecodeError, Message
from werkzeug.exceptions import RequestEntityTooLarge

from shared import log, tracing
from shared.config import Settings, settings
from shared.domain.errors import BadRequest, Rejected, Superseded, Unavailable
from shared.domain.names import BACKFILL, FRESH, OCR

M = TypeVar("M", bound=Message)
Answer = tuple[str, int] | tuple[str, int, dict[str, str]]
Verify = Callable[[Settings, str], None]

LARGEST_BODY = 14 * 1024 * 1024  # a 10 MB message in base64 and its envelope


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one message. `attempt` counts from 1 where the subscription has a dead letter topic."""

    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    attempt: int
    subscription: str


def consumes(message_type: type[M], *, verify: Verify) -> Callable[[Callable[[M], None]], Callable[..., Answer]]:
    """Make an HTTP function of a story that takes one message. `verify` raises `BadRequest` for a wrong sender."""

    def decorate(story: Callable[[M], None]) -> Callable[..., Answer]:
        @wraps(story)
        def of_delivery(delivery: Delivery) -> None:
            message = parse(message_type, delivery.data)
            log.bind(**subject(message))
            tracing.note(**subject(message))
            story(message)

        return consumes_deliveries(verify=verify)(of_delivery)

    return decorate


def consumes_deliveries(*, verify: Verify) -> Callable[[Callable[[Delivery], None]], Callable[..., Answer]]:
    """The same for a story that wants the whole delivery, such as the burial of dead letters."""

    def decorate(story: Callable[[Delivery], None]) -> Callable[..., Answer]:
        @wraps(story)
        def function(request: flask.Request) -> Answer:
            return _answer(request, story, verify)

        return function

    return decorate


def parse(message_type: type[M], data: bytes) -> M:
    """The message, with its required fields present. Raises `BadRequest`."""
    message = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise BadRequest(f"The data is not a {message_type.__name__}.") from None
    missing = [name for name in REQUIRED.get(message_type.__name__, ()) if not getattr(message, name)]
    if missing:
        raise BadRequest(f"The {message_type.__name__} lacks {', '.join(missing)}.")
    for name, form in _FORMS.items():
        value = getattr(message, name, "")
        if value and not form.fullmatch(value):
            raise BadRequest(f"The {name} of the {message_type.__name__} is not one.")
    return message


def subject(message: Message) -> dict[str, str]:
    """Whom and what a message is about, for the log: its ids."""
    return {name: value for name in _FORMS if (value := getattr(message, name, ""))}


# proto3 accepts an empty message, so what must be there is said here.
REQUIRED = {
    "SyncRequested": ("user_id", "corpus", "reason"),
    "FileChanged": ("user_id", "file_id", "reason"),
    "FileChunk": ("job_id", "user_id", "file_id", "kind"),
    "Tick": ("duty",),
}
# Ids become names of rows and documents, so their form is checked before anything is asked of a database.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORMS = {
    "user_id": _UUID,
    "job_id": _UUID,
    "corpus": re.compile(r"[A-Za-z0-9._-]{1,128}"),
    "file_id": re.compile(r"[^\s\x00-\x1f\x7f]{1,256}"),
}


def lane_of(delivery: Delivery) -> str:
    """The lane in which a message came: its own word for it, else its subscription's."""
    lanes = (BACKFILL, OCR)
    return delivery.attributes.get("lane") or next(
        (lane for lane in lanes if delivery.subscription.endswith(f"-{lane}")), FRESH
    )


def delivery_of(request: flask.Request) -> Delivery:
    """The delivery in a wrapped push or a binary CloudEvent. Raises `BadRequest` for anything else."""
    if request.method != "POST":
        raise BadRequest("This address takes Pub/Sub messages by POST only.", status=405)
    if (request.content_length or 0) > LARGEST_BODY:
        raise BadRequest("The message is larger than Pub/Sub sends.", status=413)
    request.max_content_length = LARGEST_BODY  # of a body that comes in pieces and does not say its length
    try:
        body = json.loads(request.get_data(cache=False))
    except RequestEntityTooLarge:
        raise BadRequest("The message is larger than Pub/Sub sends.", status=413) from None
    except (ValueError, RecursionError):
        raise BadRequest("The body is not a Pub/Sub push: it is not JSON.") from None
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict):
        raise BadRequest("The body is not a Pub/Sub push: it has no message.")
    attributes = message.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise BadRequest("The message's attributes are not a map.")
    try:
        data = base64.b64decode(message.get("data") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("The message's data is not base64.") from None
    attempt = body.get("deliveryAttempt") or 1
    if not isinstance(attempt, int):
        raise BadRequest("The delivery attempt is not a number.")
    return Delivery(
        data=data,
        attributes={str(name): str(value) for name, value in attributes.items()},
        message_id=str(message.get("messageId") or message.get("message_id") or request.headers.get("ce-id") or "")[
            :64
        ],
        attempt=attempt,
        subscription=str(body.get("subscription") or "").rsplit("/", 1)[-1],
    )


def _answer(request: flask.Request, story: Callable[[Delivery], None], verify: Verify) -> Answer:
    log.configure()
    log.unbind()
    log.bind(function=story.__name__)
    with tracing.request(settings(), story.__name__, request.headers, "CONSUMER") as span:
        return _outcome(request, story, verify, span)


def _outcome(request: flask.Request, story: Callable[[Delivery], None], verify: Verify, span: tracing.Span) -> Answer:
    """Every delivery ends with one line that says its `outcome`, which is what is counted."""
    started = time.monotonic()
    try:
        verify(settings(), request.headers.get("Authorization", ""))
        delivery = delivery_of(request)
        tracing.go_on(settings(), span, delivery.attributes)
        lane = lane_of(delivery)
        span.note(attempt=delivery.attempt, lane=lane, subscription=delivery.subscription)
        log.bind(message_id=delivery.message_id, attempt=delivery.attempt, lane=lane)
        story(delivery)
    except BadRequest as refusal:
        tracing.forget()
        log.event(
            "refused",
            "WARNING",
            outcome="refused",
            code=refusal.code,
            reason=refusal.reason,
            status=refusal.status,
            seconds=_since(started),
        )
        request.stream = io.BytesIO()  # the framework reads every body to its end; what is refused is not worth it
        return refusal.reason, refusal.status
    except (Rejected, Superseded) as ended:
        span.note(code=ended.code)
        log.event("ended", outcome="ended", code=ended.code, reason=ended.reason, seconds=_since(started))
    except Unavailable as wait:
        span.error = wait.code
        log.event("not now", "WARNING", outcome="not_now", code=wait.code, reason=wait.reason, seconds=_since(started))
        headers = {"Retry-After": str(max(1, round(wait.retry_after)))} if wait.retry_after else {}
        return "Not now.", 503, headers
    except Exception as bug:  # noqa: BLE001 - the last place: answered as 500, so that the broker delivers it again
        # The broker must be told to deliver again whatever went wrong; the error is written whole, and answered bare.
        span.error = type(bug).__name__
        log.failure("unexpected", bug, outcome="failed", seconds=_since(started))
        return "Something went wrong here.", 500
    else:
        log.event("done", outcome="done", seconds=_since(started))
    return "", 204


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
