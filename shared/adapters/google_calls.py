"""One reading of what Google's REST doors answer when they refuse, and one way to be patient with them.

`refusal` and `reached` turn every refusal and every broken connection into our errors; `patiently` repeats what may
pass, inside a budget, and `within` while somebody waits. Nothing here knows a service; what an invalid argument means
is for the service's own adapter to say. What Google's clients raise is read in `google_clients`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any, TypeVar

import requests
import tenacity
from google.auth.exceptions import GoogleAuthError

from shared.domain.errors import LongWait, Rejected, Unavailable
from shared.domain.quota import ServiceBusy

T = TypeVar("T")

CLOUD_PLATFORM = ["https://www.googleapis.com/auth/cloud-platform"]
# In units of the base delay: a call is repeated for about a minute, then the work is put down as waiting.
BUDGET_DELAYS = 60
LONGEST_DELAYS = 16
WAITING_DELAYS = 120
LEAST_SECONDS = 0.05  # for an attempt that begins in time


class InvalidArgument(Rejected):
    """Google understood the request and will never accept it. `status` is google.rpc's (INVALID_ARGUMENT or
    FAILED_PRECONDITION), `detail` its own reason such as PAGE_LIMIT_EXCEEDED, where it gives one."""

    code = "invalid_argument"

    def __init__(self, reason: str, *, status: str = "INVALID_ARGUMENT", detail: str = "") -> None:
        super().__init__(reason)
        self.status, self.detail = status, detail


class OverQuota(Unavailable):
    """The service has had as much as its quota allows."""

    code = "quota"

    def __init__(self, service: str, *, retry_after: float | None) -> None:
        super().__init__(f"{service} is over its quota for now.", retry_after=retry_after)
        self.service = service


class BadAnswer(Unavailable):
    """The service said yes and sent something that cannot be used."""

    code = "bad_answer"


class NotThere(Unavailable):
    """The service knows nothing of that name; perhaps somebody mends that."""

    code = "refused"


class AlreadyThere(Unavailable):
    """There is something of that name already."""

    code = "refused"


@contextmanager
def reached(service: str) -> Iterator[None]:
    """Raise our errors where there is no answer: the body is one plain request to `service`, a name for people."""
    try:
        yield
    except JSONDecodeError as error:
        raise unreadable(service) from error
    except requests.RequestException as error:
        raise Unavailable(f"{service} could not be reached in time; it will be tried again.") from error
    except GoogleAuthError as error:
        raise Unavailable(f"Google gave no access token for {service}; it will be tried again.") from error


def unreadable(service: str) -> BadAnswer:
    """For an answer that is not what was asked for."""
    return BadAnswer(f"{service} sent an answer that cannot be read.")


def refusal(service: str, response: requests.Response) -> Rejected | Unavailable:
    """The error that a response other than 2xx stands for."""
    error = _error_of(response)
    status, message = str(error.get("status", "")), str(error.get("message", ""))[:500]
    details = [detail for detail in error.get("details") or [] if isinstance(detail, dict)]
    if response.status_code == 400:
        detail = next((str(one["reason"]) for one in details if one.get("reason")), "")
        return InvalidArgument(message or f"{service} refused the request.", status=status, detail=detail)
    retry_after = _retry_after(response, details)
    if response.status_code == 429:
        return OverQuota(service, retry_after=retry_after)
    if status == "ALREADY_EXISTS":
        return AlreadyThere(f"{service} has that already: {message}")
    if status == "NOT_FOUND":
        return NotThere(f"{service} refuses this installation: {message}")
    if response.status_code in {401, 403, 404}:
        return Unavailable(f"{service} refuses this installation: {message}", code="refused")
    return Unavailable(f"{service} is not available for now.", retry_after=retry_after)


def patiently(call: Callable[[], T], *, base_seconds: float) -> T:
    """`call`, repeated with growing pauses while it is `Unavailable`, for at most sixty times `base_seconds`.

    A bad answer is asked for once more only. Raises `ServiceBusy` where the quota is still used up at the end, or where
    the service names a pause beyond the budget, and the last `Unavailable` otherwise.
    """
    budget = BUDGET_DELAYS * base_seconds
    growing = tenacity.wait_exponential_jitter(
        initial=base_seconds, max=LONGEST_DELAYS * base_seconds, jitter=base_seconds
    )

    def pause(state: tenacity.RetryCallState) -> float:
        asked = getattr(_failure(state), "retry_after", None)
        return max(asked or 0.0, growing(state))

    def worth_repeating(state: tenacity.RetryCallState) -> bool:
        failure = _failure(state)
        if not isinstance(failure, Unavailable) or isinstance(failure, LongWait) or failure.code == "refused":
            return False
        return not isinstance(failure, BadAnswer) or state.attempt_number < 2

    try:
        return tenacity.Retrying(
            retry=worth_repeating, wait=pause, stop=tenacity.stop_before_delay(budget), reraise=True
        )(call)
    except OverQuota as failure:
        wait = max(failure.retry_after or 0.0, WAITING_DELAYS * base_seconds)
        raise ServiceBusy(failure.service, retry_after=wait) from failure


def within(seconds: float, call: Callable[[float], T]) -> T:
    """`call`, given how many seconds it may take, repeated while it is `Unavailable`, all within `seconds`: somebody
    waits for the answer, so a used-up quota is only `Unavailable`, too.

    No attempt gets more than half of them: a connection that died while the instance slept says nothing, and there must
    be time for another.
    """
    ends = time.monotonic() + seconds

    def attempt() -> T:
        return call(min(max(ends - time.monotonic(), LEAST_SECONDS), seconds / 2))

    try:
        return patiently(attempt, base_seconds=seconds / BUDGET_DELAYS)
    except LongWait as wait:
        raise Unavailable(wait.reason, retry_after=wait.retry_after, code=wait.code) from wait


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _error_of(response: requests.Response) -> dict[str, Any]:
    try:
        payload = response.json()
    except ValueError:
        return {}
    if isinstance(payload, list) and len(payload) == 1:  # of a method whose answer is a stream
        (payload,) = payload
    error = payload.get("error") if isinstance(payload, dict) else None
    return error if isinstance(error, dict) else {}


def _retry_after(response: requests.Response, details: list[dict[str, Any]]) -> float | None:
    """Seconds, from the header or from google.rpc.RetryInfo."""
    said = [response.headers.get("Retry-After", "")]
    said += [str(detail.get("retryDelay", "")).removesuffix("s") for detail in details]
    for seconds in said:
        try:
            return max(0.0, float(seconds))
        except ValueError:
            continue
    return None
