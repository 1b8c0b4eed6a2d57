"""What Google's REST doors refuse, and how long somebody is kept waiting for them."""

from __future__ import annotations

import json

import pytest
import requests

from shared.adapters.google_calls import AlreadyThere, InvalidArgument, NotThere, OverQuota, refusal, within
from shared.domain.errors import LongWait, Unavailable

SECONDS = 0.2


def answer(status: int, body: object) -> requests.Response:
    """A response as it came over the wire."""
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps(body).encode()
    return response


def error(code: int, status: str) -> dict[str, object]:
    """An error in Google's words."""
    return {"error": {"code": code, "message": "No.", "status": status}}


def test_a_refusal_is_read_alike_from_an_answer_and_from_a_stream_of_answers() -> None:
    """Firestore answers a batch with an array, also where it refuses."""
    for body in (error(400, "FAILED_PRECONDITION"), [error(400, "FAILED_PRECONDITION")]):
        refused = refusal("Firestore", answer(400, body))

        assert isinstance(refused, InvalidArgument)
        assert (refused.status, refused.reason) == ("FAILED_PRECONDITION", "No.")


def test_what_is_there_or_not_there_is_told_from_what_may_pass() -> None:
    """The one is an answer to whoever asked; the other is worth another try. A wrong address has no status at all."""
    told = [
        refusal("Firestore", answer(status, body))
        for status, body in (
            (409, error(409, "ALREADY_EXISTS")),
            (404, error(404, "NOT_FOUND")),
            (409, error(409, "ABORTED")),
            (404, "<html>"),
        )
    ]

    assert [type(one) for one in told] == [AlreadyThere, NotThere, Unavailable, Unavailable]
    assert [one.code for one in told] == ["refused", "refused", "unavailable", "refused"]


def test_a_connection_that_says_nothing_leaves_time_for_another() -> None:
    """One that died while the instance slept takes all the time that it is given."""
    given: list[float] = []

    def call(left: float) -> str:
        given.append(left)
        if len(given) == 1:
            raise Unavailable("Nothing came.")
        return "answer"

    assert within(SECONDS, call) == "answer"
    assert given[0] <= SECONDS / 2
    assert given[1] <= given[0]


def test_nobody_is_kept_waiting_for_what_does_not_come() -> None:
    """The attempts end with the time that there is, whatever is wrong; a quota that stays used up is no longer wait."""
    for failure in (Unavailable("Away."), OverQuota("Firestore", retry_after=None)):
        given: list[float] = []

        def call(left: float, failure: Unavailable = failure, given: list[float] = given) -> None:
            given.append(left)
            raise failure

        with pytest.raises(Unavailable) as raised:
            within(SECONDS, call)

        assert not isinstance(raised.value, LongWait)
        assert len(given) > 1
        assert all(0 < left <= SECONDS / 2 for left in given)


def test_what_will_not_pass_is_asked_once() -> None:
    """A door without its rights says so at once."""
    given: list[float] = []

    def call(left: float) -> None:
        given.append(left)
        raise Unavailable("No rights.", code="refused")

    with pytest.raises(Unavailable):
        within(SECONDS, call)
    assert len(given) == 1
