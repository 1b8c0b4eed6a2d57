"""What can go wrong with an AI service, ordered by a test and served once each."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.responses import JSONResponse, Response

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class Refusal(Exception):
    """An answer that is an error: `google.rpc.Status` as JSON, as Google's REST doors give it."""

    def __init__(self, status: str, message: str, *, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.reason, self.retry_after = status, message, reason, retry_after

    @property
    def http_status(self) -> int:
        return HTTP_STATUS[self.status]

    def response(self) -> JSONResponse:
        """The HTTP answer."""
        return JSONResponse(self.told(), self.http_status)

    def told(self) -> dict[str, Any]:
        """The body of the answer."""
        details: list[dict[str, Any]] = []
        if self.reason:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": self.reason,
                    "domain": "googleapis.com",
                    "metadata": {},
                }
            )
        if self.retry_after is not None:
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{self.retry_after}s"})
        return {
            "error": {
                "code": self.http_status,
                "message": self.message,
                "status": self.status,
                "details": details,
            }
        }


@dataclass
class Faults:
    """The faults still to be served, and what was counted. Safe to use from any thread."""

    _planned: deque[dict[str, Any]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail_next(self, calls: int, status: str, *, retry_after: float | None = None) -> None:
        """The next `calls` calls end with this `google.rpc.Code` by name, before any work is done."""
        self._plan(calls, {"status": status, "retry_after": retry_after})

    def slow_next(self, calls: int, seconds: float) -> None:
        """The next `calls` calls are answered only after `seconds`, with their work done and counted."""
        self._plan(calls, {"slow": seconds})

    def lose_next(self, calls: int, status: str = "DEADLINE_EXCEEDED") -> None:
        """The next `calls` calls do their work, which is counted, and end with this code: done, and nobody gets to
        know."""
        self._plan(calls, {"lost": status})

    def garble_next(self, calls: int, how: str) -> None:
        """The next `calls` calls succeed with a bad answer; each server's class says which kinds it knows."""
        self._plan(calls, {"garble": how})

    def clear(self) -> None:
        """Forget what was planned."""
        with self._lock:
            self._planned.clear()

    def take(self) -> dict[str, Any]:
        """The fault of this call, or an empty one. Raises `Refusal` where the call is to fail."""
        with self._lock:
            fault = self._planned.popleft() if self._planned else {}
        if "status" in fault:
            raise Refusal(fault["status"], "This call was ordered to fail.", retry_after=fault["retry_after"])
        return fault

    def _plan(self, calls: int, fault: dict[str, Any]) -> None:
        with self._lock:
            self._planned.extend([fault] * calls)


async def delayed(fault: dict[str, Any], response: Response) -> Response:
    """The answer, after the delay that was ordered for this call, or what is told instead of it."""
    if "slow" in fault:
        await anyio.sleep(fault["slow"])
    if "lost" in fault:
        return Refusal(fault["lost"], "The answer of this call was ordered to be lost.").response()
    return response


def cut_short(body: bytes) -> Response:
    """A JSON body that ends in the middle."""
    return Response(body[: len(body) // 2], media_type="application/json")
