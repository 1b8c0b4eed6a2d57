"""HTTP for one person: one pool of connections, a bearer token, patience and pace.

A bearer token goes to the addresses it is meant for and nowhere else: redirects are followed by hand. What an error
means is said by the caller's `classify`. The bytes of files are read by `download`.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from copy import copy
from email.utils import parsedate_to_datetime
from functools import cache
from typing import NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from shared.config import Settings
from shared.domain.errors import LongWait, ReconnectNeeded, Skipped, Unavailable
from shared.domain.quota import units_of

TRIES = 5  # breaks in a row without a byte of progress
CUTS = 100  # breaks within one window: a line this bad is not worth staying for
LONGEST_PAUSE = 32.0  # seconds; a longer wait is the broker's
LONGEST_RETRY_AFTER = 600.0  # seconds; what a server may ask for at most
SPAN = 30.0  # seconds
RECEIVE = 256 * 1024
_ERROR_BYTES = 64 * 1024
_ANSWER_BYTES = 64 * 1024 * 1024
_REDIRECTS = 5
BREAKS = (OSError, http.client.HTTPException, HTTPError)

Headers = Mapping[str, str]
Classify = Callable[[int, bytes, Headers], Exception]
Token = Callable[[bool], str]
Origin = tuple[str, str, int | None]


class Changed(Unavailable):
    """The content is no longer the one that was begun: drop what was read and start with the new revision."""

    code = "changed"


class ChecksumMismatch(Unavailable):
    """All bytes came, and they are not those whose checksum Drive states."""

    code = "checksum_mismatch"


class RateLimited(Unavailable):
    """Too many requests by this person: every call of theirs waits."""

    code = "rateLimitExceeded"


class Broken(Unavailable):
    """The line broke or the answer made no sense; going on from the last byte may help."""

    code = "broken"


class AnswerTooLarge(Broken):
    """An answer is larger than its bound: ask for less at a time."""


class Refused(Exception):
    """Drive does not understand our request: a fault of this program, or of the server."""

    def __init__(self, status: int, reason: str, location: str | None = None) -> None:
        super().__init__(f"Drive refuses the request ({status} {reason}).")
        self.status = status
        self.location = location


class ExportTooLarge(Skipped):
    """A native file cannot be had in this way, mostly for its size; another rung of its ladder may hold."""

    code = "exportSizeLimitExceeded"


class Answer(NamedTuple):
    """A whole small answer."""

    status: int
    headers: Headers
    body: bytes


@cache
def pool() -> urllib3.PoolManager:
    """The process's keep-alive connections, made on first use. Thread-safe."""
    return urllib3.PoolManager(num_pools=32, maxsize=64, retries=False)


def timeouts(settings: Settings) -> urllib3.Timeout:
    """At most ten seconds to connect; then at most the setting (and the span of the minimum rate) without a byte."""
    read = settings.http_timeout_seconds
    return urllib3.Timeout(connect=min(10.0, read), read=min(SPAN, read))


def retry_after(headers: Headers) -> float | None:
    """The seconds that a Retry-After header asks for, at most ten minutes; None where it says nothing sensible."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None


def ask(settings: Settings, method: str, url: str, *, headers: Headers, body: bytes | None = None) -> Answer:
    """One request with a small answer; redirects are not followed. Raises `Broken` where nobody answers."""
    try:
        response = pool().request(
            method,
            url,
            body=body,
            headers=dict(headers),
            timeout=urllib3.Timeout(connect=10.0, read=settings.http_timeout_seconds),
            redirect=False,
            retries=False,
            preload_content=False,
        )
        with closing(response):
            content = _read_all(response, _ANSWER_BYTES)
            response.release_conn()
    except BREAKS as error:
        raise Broken(f"{urlsplit(url).hostname} does not answer ({type(error).__name__}).") from error
    return Answer(response.status, response.headers, content)


def _read_all(response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    content = bytearray()
    while piece := response.read(RECEIVE, decode_content=True):
        content += piece
        if len(content) > limit:
            raise AnswerTooLarge(f"An answer of more than {limit} bytes where a small one was expected.")
    return bytes(content)


class Patience:
    """How often to try again since the last progress, and how long to wait before."""

    def __init__(self, base: float, tries: int = TRIES) -> None:
        self._base = base
        self._tries = tries
        self._failures = 0
        self._cuts = 0

    def progress(self) -> None:
        """Some bytes came: failures before it no longer count."""
        self._failures = 0

    def window(self) -> None:
        """A whole window came: the line is good."""
        self._failures = self._cuts = 0

    def wait(self, error: Unavailable) -> None:
        """Sleep before the next try, or raise when that cannot help or has been tried often enough."""
        self._failures += 1
        self._cuts += 1
        if isinstance(error, (LongWait, ReconnectNeeded, Changed)):
            raise error
        spent = self._failures > self._tries or self._cuts > CUTS
        if (error.retry_after or 0.0) > LONGEST_PAUSE or (spent and isinstance(error, RateLimited)):
            raise LongWait(error.reason, retry_after=error.retry_after, code=error.code) from error
        if spent:
            raise error
        # A line that was cut after progress is taken up again at once; a server that refuses is given time.
        doublings = self._failures - 1 if isinstance(error, Broken) else self._failures
        pause = self._base * (2**doublings - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
        time.sleep(max(min(pause, LONGEST_PAUSE), error.retry_after or 0.0))


class Pacer:
    """Slows all threads of one person down together after a rate limit, and lets them speed up again."""

    def __init__(self, base: float) -> None:
        self._base = base
        self._lock = threading.Lock()
        self._next = 0.0
        self._gap = 0.0

    def wait(self) -> None:
        """Wait for this person's turn. Raises `LongWait` when that is further away than a worker should wait."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            if turn - now > LONGEST_PAUSE:
                raise LongWait("Drive asked this person's work to slow down.", retry_after=turn - now)
            self._next = turn + self._gap
        if turn > now:
            time.sleep(turn - now)

    def slow_down(self, seconds: float | None) -> None:
        """Drive said too fast: nobody asks for `seconds`, and then with growing gaps."""
        with self._lock:
            self._gap = min(max(self._gap * 2, self._base / 20), self._base * 2)
            pause = self._base * random.uniform(1.0, 2.0) if seconds is None else seconds  # noqa: S311 - jitter
            self._next = max(self._next, time.monotonic() + pause)

    def speed_up(self) -> None:
        """An answer came: shorten the gaps."""
        if self._gap:
            with self._lock:
                self._gap = self._gap * 0.8 if self._gap > self._base / 1000 else 0.0


class Meter(Protocol):
    """To what requests and bytes are charged before they are asked for. Raises `LongWait` where nothing is left."""

    def units(self, count: int) -> None:
        """A request of so many units is about to be sent."""

    def content(self, count: int) -> None:
        """So many bytes of content are about to be received; less than none: they did not come."""


class Unmetered:
    """For those whom nobody governs, such as a benchmark."""

    def units(self, count: int) -> None:
        """Nothing."""

    def content(self, count: int) -> None:
        """Nothing."""


UNMETERED = Unmetered()


class Client:
    """HTTP for one person: their token, their pace, retries and one classification. Thread-safe.

    `token(False)` gives a bearer token, `token(True)` a fresh one. The token is sent to the origin of `home` and, for
    calls that allow it, over https to hosts whose name ends in one of `trusted`.
    """

    def __init__(
        self,
        settings: Settings,
        token: Token,
        classify: Classify,
        meter: Meter = UNMETERED,
        *,
        trusted: tuple[str, ...] = (),
    ) -> None:
        self.settings = settings
        self.meter = meter
        self._token = token
        self._classify = classify
        self._home = _origin(settings.drive_endpoint)
        self._trusted = trusted
        self._pacer = Pacer(settings.retry_base_seconds)

    def charged_to(self, meter: Meter) -> Client:
        """The same client, at the same pace, on another account."""
        made = copy(self)
        made.meter = meter
        return made

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Headers,
        body: bytes | None = None,
        most: int = _ANSWER_BYTES,
        units: int | None = None,
        anywhere_trusted: bool = False,
    ) -> Answer:
        """One call with a small answer, tried again where that is safe. `units` is what Drive counts for it, where its
        address does not tell. Raises what `classify` says for an error, and `AnswerTooLarge` for one of more than
        `most` bytes."""
        patience = Patience(self.settings.retry_base_seconds)
        while True:
            try:
                response = self.open(
                    method, url, headers=headers, body=body, units=units, anywhere_trusted=anywhere_trusted
                )
                with closing(response):
                    content = _read_all(response, most)
                    response.release_conn()
                return Answer(response.status, response.headers, content)
            except BREAKS as error:
                trouble: Unavailable = broken(error)
            except AnswerTooLarge:
                raise  # the next one would be as large
            except Unavailable as error:
                trouble = error
            # A POST that may have arrived is not sent twice; one that was refused for its pace did nothing.
            if method != "GET" and not isinstance(trouble, RateLimited):
                raise trouble
            patience.wait(trouble)

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Headers,
        body: bytes | None = None,
        units: int | None = None,
        anywhere_trusted: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """One attempt, with one fresh token after a 401; the body is not read yet. 416 and 412 are answers too."""
        self._pacer.wait()
        cost = units_of(method, url) if units is None else units
        response = self._follow(method, url, headers, body, self._token(False), cost, anywhere_trusted)
        if response.status == 401:
            discard(response)
            response = self._follow(method, url, headers, body, self._token(True), cost, anywhere_trusted)
        if response.status < 300 or response.status in (412, 416):
            self._pacer.speed_up()
            return response
        raise self._refusal(response)

    def _follow(
        self, method: str, url: str, headers: Headers, body: bytes | None, token: str, cost: int, anywhere_trusted: bool
    ) -> urllib3.BaseHTTPResponse:
        for _ in range(_REDIRECTS):
            scheme, host, port = origin = _origin(url)
            if not self._may_have_token(origin, anywhere_trusted):
                raise Unavailable(f"Drive pointed to {host}, which is not its own.", code="foreign_redirect")
            # Here alone, and at the last moment: whatever is sent twice, or sent on, counts twice.
            self.meter.units(cost)
            try:
                # The manager's own `request` would take the address apart three times more.
                response = (
                    pool()
                    .connection_from_host(host, port, scheme)
                    .urlopen(
                        method,
                        _target(url),
                        body=body,
                        headers={**headers, "Authorization": f"Bearer {token}"},
                        timeout=timeouts(self.settings),
                        redirect=False,
                        retries=False,
                        preload_content=False,
                    )
                )
            except BREAKS as error:
                raise broken(error) from error
            location = response.headers.get("location")
            if response.status not in (301, 302, 303, 307, 308) or location is None or method != "GET":
                return response
            discard(response)
            url = urljoin(url, location)
        raise Unavailable("Drive answered with redirects that do not end.", code="redirects")

    def _may_have_token(self, origin: Origin, anywhere_trusted: bool) -> bool:
        scheme, host, port = origin
        trusted = anywhere_trusted and host.endswith(self._trusted) and (scheme, port) == ("https", 443)
        return trusted or origin == self._home

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> Exception:
        error = self._classify(response.status, discard(response), response.headers)
        if isinstance(error, RateLimited):
            self._pacer.slow_down(error.retry_after)
        return error


def _origin(url: str) -> Origin:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _target(url: str) -> str:
    """What is asked for at an origin."""
    return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/"


def broken(error: BaseException) -> Broken:
    """What a fault of the line means: go on from the last byte, but not for ever where nothing comes at all."""
    if isinstance(error, (TimeoutError, ReadTimeoutError)):
        return Broken("Drive stopped sending.", code="too_slow")
    return Broken(f"The line to Drive broke ({type(error).__name__}).")


def discard(response: urllib3.BaseHTTPResponse) -> bytes:
    """The beginning of an answer that nobody wants, its connection given back where the answer ends there."""
    with closing(response), suppress(*BREAKS):
        content = response.read(_ERROR_BYTES, decode_content=True)
        if len(content) < _ERROR_BYTES:
            response.read(1)  # sees the end
            response.release_conn()
        return content
    return b""
