"""A push becomes a message, and what a story does with it becomes the answer to the broker."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.sync_requested_pb2 import SyncRequested
from schemas.messages.tick_pb2 import Tick
from shared import config, log
from shared.config import Settings
from shared.consume import Delivery, consumes, consumes_deliveries, delivery_of, parse
from shared.domain.errors import (
    BadRequest,
    FileGone,
    LongWait,
    ReconnectNeeded,
    Rejected,
    Skipped,
    Superseded,
    Unavailable,
)

SOMEBODY = "6c0f4f0e-54a5-4b43-9d43-3a0d5f3c1d11"
SYNC = SyncRequested(user_id=SOMEBODY, corpus="my-drive", reason=SyncRequested.Reason.TICK)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    config.settings.cache_clear()
    monkeypatch.setattr(log, "configure", lambda: None)
    yield
    config.settings.cache_clear()


def anybody(settings: Settings, bearer: str) -> None:
    """Let everybody in."""


def pushed(data: bytes, **outer: Any) -> dict[str, Any]:
    """The JSON of a push."""
    message = {"data": base64.b64encode(data).decode(), "messageId": "42", "attributes": {"a": "1"}}
    return {"message": message, "subscription": "projects/p/subscriptions/change-lister", **outer}


def answer(story: Callable[[Any], None], body: Any = None, verify: Any = anybody, **request: Any) -> flask.Response:
    """What the broker is told."""
    app = flask.Flask("test")
    function = consumes(SyncRequested, verify=verify)(story)
    sent = {"json": pushed(SYNC.SerializeToString()) if body is None else body, "method": "POST"} | request
    with app.test_request_context("/", **sent):
        return app.make_response(function(flask.request))


def raising(error: Exception) -> Callable[[Any], None]:
    """A story that ends like this."""

    def story(message: Any) -> None:
        raise error

    return story


def test_a_story_is_given_its_message() -> None:
    """Whatever was published arrives as it was."""
    given: list[SyncRequested] = []

    told = answer(given.append)

    assert told.status_code == 204
    assert given == [SYNC]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Rejected("No."), 204, None),
        (FileGone("Gone."), 204, None),
        (Skipped("No text."), 204, None),
        (Superseded("Somebody else."), 204, None),
        (Unavailable("Later."), 503, None),
        (Unavailable("Later.", retry_after=7.4), 503, "7"),
        (Unavailable("Later.", retry_after=0.01), 503, "1"),
        (LongWait("Much later.", retry_after=60), 503, "60"),
        (ReconnectNeeded("Connect again."), 503, None),
        (BadRequest("Not like this.", status=403), 403, None),
        (ValueError("canary"), 500, None),
        (RecursionError("canary"), 500, None),
        (KeyError("canary"), 500, None),
    ],
    ids=repr,
)
def test_the_class_of_an_error_is_what_the_broker_is_told(
    error: Exception, status: int, retry_after: str | None
) -> None:
    """Acknowledged, delivered again or a dead letter: nobody decides that twice."""
    told = answer(raising(error))

    assert told.status_code == status
    assert told.headers.get("Retry-After") == retry_after
    assert "canary" not in told.get_data(as_text=True)


def test_an_unexpected_error_is_logged_whole_and_answered_bare(capsys: pytest.CaptureFixture[str]) -> None:
    """The operator needs the stack; the caller must not have it."""
    told = answer(raising(ValueError("the canary")))

    line = json.loads(capsys.readouterr().out)
    assert "the canary" in line["stack"]
    assert (line["severity"], line["message_id"], line["attempt"]) == ("ERROR", "42", 1)
    assert told.get_data(as_text=True) == "Something went wrong here."


def test_who_is_not_let_in_is_not_read() -> None:
    """The sender is checked before a byte of the body is looked at."""

    def nobody(settings: Settings, bearer: str) -> None:
        assert bearer == "Bearer x"
        raise BadRequest("This caller is not allowed here.", status=403)

    told = answer(raising(AssertionError()), verify=nobody, json=None, data=b"{", headers={"Authorization": "Bearer x"})

    assert (told.status_code, told.get_data(as_text=True)) == (403, "This caller is not allowed here.")


def delivered(body: Any, **request: Any) -> Delivery:
    """The delivery in a request."""
    app = flask.Flask("test")
    with app.test_request_context("/", **({"json": body, "method": "POST"} | request)):
        return delivery_of(flask.request)


def test_a_push_tells_its_attempt_and_where_it_comes_from() -> None:
    """The framework's own parser drops both; dead letters are chosen by them."""
    delivery = delivered(pushed(b"\x08\x01", deliveryAttempt=3))

    assert delivery == Delivery(b"\x08\x01", {"a": "1"}, "42", 3, "change-lister")
    assert delivered(pushed(b"")).attempt == 1


def test_a_cloud_event_is_a_push_with_its_id_in_a_header() -> None:
    """The same function can be started by either."""
    body = pushed(b"x")
    del body["message"]["messageId"]

    delivery = delivered(body, headers={"ce-id": "77", "ce-type": "google.cloud.pubsub.topic.v1.messagePublished"})

    assert (delivery.data, delivery.message_id) == (b"x", "77")


def test_a_story_may_ask_for_the_whole_delivery() -> None:
    """The burial of dead letters lives on their attributes."""
    given: list[Delivery] = []
    app = flask.Flask("test")

    with app.test_request_context("/", method="POST", json=pushed(b"x")):
        told = consumes_deliveries(verify=anybody)(given.append)(flask.request)

    assert told == ("", 204)
    assert given[0].attributes == {"a": "1"}


@pytest.mark.parametrize(
    "good",
    [
        SYNC,
        SyncRequested(user_id=SOMEBODY, corpus="0AAbc_-DEF123", reason=SyncRequested.Reason.PAGE),
        FileChanged(user_id=SOMEBODY, file_id="1HGmOJiQ8VsG7p05K9PZfWuq891-mMBxv", reason=FileChanged.Reason.ASKED),
        FileChanged(user_id=SOMEBODY, file_id="ünïcode~id.1", reason=FileChanged.Reason.LISTED, job_id=SOMEBODY),
        Tick(duty=Tick.Duty.REAP),
        Tick(duty=Tick.Duty.ERASE, user_id=SOMEBODY),
    ],
    ids=repr,
)
def test_a_good_message_is_read_back_as_it_was(good: Any) -> None:
    """Checks that are too strict would stop everything."""
    assert parse(type(good), good.SerializeToString()) == good


def test_a_field_that_is_newer_than_this_version_is_no_fault() -> None:
    """While a deploy rolls, old and new functions read each other's messages."""
    newer = SYNC.SerializeToString() + b"\xa2\x06\x03new"  # field 100

    assert parse(SyncRequested, newer).user_id == SOMEBODY
