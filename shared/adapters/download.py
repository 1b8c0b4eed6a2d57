"""The bytes of a file: one streamed GET cut into windows, taken up again after every break; random access by Range.

What the server promises is checked, not believed: status, Content-Range, length, entity tag and checksum. A window
costs no allocation: bytes are received into one buffer that is used again and again.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from copy import copy
from typing import TYPE_CHECKING, Any

import urllib3

from shared.adapters.buffers import buffer as new_buffer
from shared.adapters.lanes import LARGE, Fetched, Gauge, Lanes
from shared.adapters.transport import (
    BREAKS,
    RECEIVE,
    SPAN,
    Broken,
    Changed,
    ChecksumMismatch,
    Client,
    Headers,
    Meter,
    Patience,
    RateLimited,
    broken,
    discard,
)
from shared.domain.errors import Skipped, Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

MINIMUM_RATE = 1024  # bytes a second, over SPAN
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")


class _Body:
    """The bytes of one answer, received straight into the caller's buffer, never slower than the minimum rate."""

    def __init__(self, response: urllib3.BaseHTTPResponse, minimum_rate: float, span: float) -> None:
        self._response = response
        self._rate = minimum_rate
        self._span = span
        # Through urllib3 each piece is allocated and copied, which costs half as much again. Where the framing is a
        # plain length, the caller's buffer is received into; where it is more, urllib3 unpacks it.
        raw = getattr(response, "_fp", None)
        plain = isinstance(raw, http.client.HTTPResponse) and not raw.chunked and raw.length is not None
        self._raw: Any = raw if plain and hasattr(getattr(raw, "fp", None), "peek") else None
        # None where the answer ends with its connection: then only http.client's file still knows it.
        self._socket: Any = getattr(response.connection, "sock", None)
        self._direct = False
        self.length: int | None = getattr(raw, "length", None) if plain else None
        self._fault: Broken | None = None
        self.start = 0
        self.framed = plain or "chunked" in response.headers.get("transfer-encoding", "").lower()
        self.resume()

    def resume(self) -> None:
        """Start the clock of the minimum rate again: the time that the consumer took is not the server's."""
        self._since, self._count = time.monotonic(), 0

    def into(self, view: memoryview) -> int:
        """Fill the view, less only at the end of the body or before a break; 0 at the end. Raises `Broken` when the
        body is cut or only drips: at the next call, where some bytes came before it."""
        if self._fault is not None:
            raise self._fault
        filled = 0
        try:
            for count in self._received(view):
                filled += count
                self._count += count
                seconds = time.monotonic() - self._since
                if seconds >= self._span:
                    if self._count < self._rate * seconds:
                        self._fault = Broken("Drive sends almost nothing.", code="too_slow")
                        break
                    self.resume()
        except BREAKS as error:
            self._fault = broken(error)
            self._fault.__cause__ = error
        if self._fault is not None and not filled:
            raise self._fault
        return filled

    def _received(self, view: memoryview) -> Iterator[int]:
        """Receive until the view is full or the body ends: how many bytes each time."""
        raw = self._raw
        if raw is None:
            while len(view) and (piece := self._response.read1(min(len(view), RECEIVE), decode_content=False)):
                view[: len(piece)] = piece
                view = view[len(piece) :]
                yield len(piece)
            return
        view = view[: raw.length]
        while len(view):
            count = self._socket.recv_into(view) if self._direct else self._begin(view)
            if count == 0:
                raise http.client.IncompleteRead(b"", raw.length)
            raw.length -= count
            view = view[count:]
            yield count

    def _begin(self, view: memoryview) -> int:
        """Receive what came along with the headers and lies in http.client's file. All else comes from the socket
        itself: the file takes four calls of Python's for each of the kernel's, a tenth of the time at full speed."""
        file = self._raw.fp
        if self._socket is None:
            return int(file.readinto1(view))
        ahead = len(file.peek())
        count = int(file.readinto1(view[:ahead]))
        self._direct = count == ahead
        return count

    def close(self) -> None:
        """Give back a connection that is at the end of its answer; close any other."""
        if self._raw is not None and self._raw.length == 0:
            self._raw.close()  # marks the answer as read, so that the connection can serve the next request
        else:
            self._response.close()
        self._response.release_conn()


class _Paid:
    """Bytes that are paid for and have not come yet. They are paid for before they are asked for, a window at a time,
    so that a file of any size takes no more of a budget than is read of it."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._ahead = 0

    def ahead(self, count: int) -> None:
        """Pay for as many to come. Raises `LongWait` where the budget is used up."""
        if count > self._ahead:
            self._meter.content(count - self._ahead)
            self._ahead = count

    def into(self, body: _Body, view: memoryview) -> int:
        """Fill the view with what is paid for."""
        self.ahead(len(view))
        count = body.into(view)
        self._ahead -= count
        return count

    def close(self) -> None:
        """What did not come costs nothing."""
        if self._ahead:
            self._meter.content(-self._ahead)
            self._ahead = 0


class _Seen:
    """A window of an earlier life, to be found again as it was: `tail` says which, for a reading from `start`."""

    def __init__(self, tail: str, start: int, most: int) -> None:
        first, length, self._digest = tail.split(":") if tail else ("0", "0", "")
        self._first, self._stop = int(first), int(first) + int(length)
        self._hash = hashlib.sha256()
        # From the beginning there is a better proof, and what lies before the place to go on from is not read again
        # beyond one window.
        if not start or self._stop < start or start - self._first > most:
            self._first = self._stop = start
        self.begin = min(start, self._first)

    def compare(self, window: memoryview, position: int) -> None:
        """Look at the next window. Raises `Changed` where the bytes are others."""
        end = position + len(window)
        if end <= self._first or position >= self._stop:
            return
        self._hash.update(window[max(0, self._first - position) : self._stop - position])
        if end >= self._stop and self._hash.hexdigest() != self._digest:
            raise Changed("The file is not the one that was begun.")


class Download:
    """One file's bytes, checked on the way. `size` None means that the length is only known at the end.

    `checksum` is (algorithm, digest) as Drive states it, None to skip hashing; `unchanged` asks whether the revision
    is still the one that was begun; `ranged=False` says that the server cannot serve parts, so that after a break it
    is read from the beginning and what was delivered is skipped; `lanes` allows several connections where one proves
    to be capped. `integrity` says what was proved: "checksum",
    "length+revision" (by `verify`), "length", or "none" where the server gave neither a length nor an end.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        *,
        size: int | None = None,
        checksum: tuple[str, str] | None = None,
        unchanged: Callable[[], bool] | None = None,
        ranged: bool = True,
        headers: Headers | None = None,
        limit: int | None = None,
        anywhere_trusted: bool = False,
        lanes: bool = False,
        minimum_rate: float = MINIMUM_RATE,
        span: float = SPAN,
    ) -> None:
        self.size = size
        self.bytes_read = 0
        self.requests = 0
        self.integrity = "none"
        self._client = client
        self._url = url
        self._checksum = checksum
        self._unchanged = unchanged
        self.ranged = ranged
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._limit = client.settings.file_bytes if limit is None else limit
        self._anywhere_trusted = anywhere_trusted
        self._minimum_rate = minimum_rate
        self._span = span
        self._etag: str | None = None
        self._framed = True
        self._lanes = lanes and ranged
        self._refused = False
        self._window: memoryview | None = None
        self._window_start = 0

    def windows(self, start: int = 0, tail: str = "") -> Generator[memoryview, None, None]:
        """The bytes from `start` in windows of `settings.window_bytes`, all of them in one buffer.

        A window is valid until the next one is asked for. `tail` is what `tail()` said when an earlier life stopped:
        at most one window is read again, and compared. Raises `Changed`, `ChecksumMismatch`, `Unavailable`,
        `Skipped` above the limit.
        """
        window_bytes = self._client.settings.window_bytes
        buffer = new_buffer(window_bytes if self.size is None else min(window_bytes, self.size))
        seen = _Seen(tail, start, window_bytes)
        position = seen.begin
        whole = self._hash() if position == 0 else None
        with closing(self._stream(position, buffer, whole)) as windows:
            for window in windows:
                seen.compare(window, position)
                self._window, self._window_start = window, position
                fresh = window[max(0, start - position) :]
                position += len(window)
                if len(fresh):
                    yield fresh
        self._window = None
        self.integrity = "length" if self._framed else "none"
        self._prove(whole)

    def tail(self) -> str:
        """A short name for the place and content of the window that was delivered last, for `windows` in a later
        life. To be asked for before the next window is."""
        if self._window is None:
            return ""
        return f"{self._window_start}:{len(self._window)}:{hashlib.sha256(self._window).hexdigest()}"

    def part(self, start: int, stop: int) -> bytearray:
        """The bytes from `start` up to `stop` or the end of the file. Raises `Broken` where Range is ignored."""
        buffer = bytearray(stop - start)
        count = self._fill(memoryview(buffer), start)
        return buffer if count == len(buffer) else buffer[:count]

    def _fill(self, buffer: memoryview, start: int) -> int:
        with closing(self._pull(start, start + len(buffer), buffer, None)) as windows:
            return sum(len(window) for window in windows)

    def verify(self) -> str:
        """What is proved about the bytes read. Where no checksum could, Drive is asked again: raises `Changed`."""
        if self.integrity != "checksum" and self._unchanged is not None:
            if not self._unchanged():
                raise Changed("The file changed while it was read.")
            self.integrity = "length+revision"
        return self.integrity

    def _hash(self) -> hashlib._Hash | None:
        if self._checksum is not None:
            return hashlib.new(self._checksum[0], usedforsecurity=False)
        # Without Range a second reading must be proved to begin like the first.
        return None if self.ranged else hashlib.sha256()

    def _prove(self, whole: hashlib._Hash | None) -> None:
        if whole is None or self._checksum is None:
            return
        if whole.hexdigest() != self._checksum[1]:
            if self._unchanged is not None and not self._unchanged():
                raise Changed("The file changed while it was read.")
            raise ChecksumMismatch("The bytes that came do not have the checksum that Drive states.")
        self.integrity = "checksum"

    def _stream(
        self, position: int, buffer: memoryview, whole: hashlib._Hash | None
    ) -> Generator[memoryview, None, None]:
        """Windows to the end of the file: by one stream, and by lanes where that proves to be capped."""
        gauge = Gauge()
        with closing(self._pull(position, None, buffer, whole)) as windows:
            for window in windows:
                position += len(window)
                gauge.received(len(window))
                yield window
                gauge.asked()
                if gauge.capped and self._has_lanes(position):
                    break
            else:
                return
        assert self.size is not None
        lanes = Lanes(self._fetch, position, self.size, gauge.rate)
        with closing(lanes.windows(len(buffer))) as windows:
            for window in windows:
                if whole is not None:
                    whole.update(window)
                yield window
        self.requests += lanes.requests
        self.bytes_read += lanes.bytes_read
        yield from self._pull(lanes.position, None, buffer, whole)

    def _has_lanes(self, position: int) -> bool:
        return self._lanes and self.size is not None and self.size - position >= LARGE

    def _fetch(self, buffer: memoryview, start: int) -> Fetched:
        """A part, for a lane of its own: checked and taken up again as every part is, with its own account."""
        part = copy(self)
        part.requests = part.bytes_read = filled = 0
        try:
            filled = part._fill(buffer, start)
        except Broken as error:
            if error.code != "range_ignored":
                raise
            part._refused = True
        return Fetched(filled, part.requests, part.bytes_read, part._refused)

    def _pull(
        self, start: int, stop: int | None, buffer: memoryview, whole: hashlib._Hash | None
    ) -> Generator[memoryview, None, None]:
        """Windows of `buffer` from `start` on, across breaks: each goes on from the last byte received."""
        with closing(_Paid(self._client.meter)) as paid:
            yield from self._pull_paid(start, stop, buffer, whole, paid)

    def _pull_paid(
        self, start: int, stop: int | None, buffer: memoryview, whole: hashlib._Hash | None, paid: _Paid
    ) -> Generator[memoryview, None, None]:
        patience = Patience(self._client.settings.retry_base_seconds)
        reached, filled, drips = start, 0, 0
        self._check_start(start)
        while not self._complete(reached, stop):
            try:
                paid.ahead(min(len(buffer) - filled, self._room(reached, stop)))
                body = self._open(reached, stop)
                if body is None:
                    break
                with closing(body):
                    if body.start != reached:
                        # The whole file again. What was delivered is skipped, the begun window is read anew.
                        reached, filled = reached - filled, 0
                        self._skip(body, reached, buffer, whole, paid)
                    while count := paid.into(body, buffer[filled : filled + self._room(reached, stop)]):
                        reached, filled = reached + count, filled + count
                        self.bytes_read += count
                        patience.progress()
                        if filled == len(buffer):
                            if whole is not None:
                                whole.update(buffer)
                            filled = drips = 0
                            patience.window()
                            yield buffer[:]
                            body.resume()
                        if self._complete(reached, stop):
                            break
                    self._end(body, reached, stop)
            except Unavailable as error:
                if error.code == "range_ignored":
                    raise  # who ignores it once ignores it again
                self._refused = self._refused or isinstance(error, RateLimited)
                # A drip makes progress too; it is not worth a third connection.
                drips += error.code == "too_slow"
                if drips > 1:
                    raise
                patience.wait(error)
        if filled:
            if whole is not None:
                whole.update(buffer[:filled])
            yield buffer[:filled]

    def _check_start(self, start: int) -> None:
        if self.size is not None and start > self.size:
            raise Changed("The file is shorter than the place to go on from.")
        if self.size is not None and self.size > self._limit:
            raise self._too_large()

    def _too_large(self) -> Skipped:
        return Skipped(f"The file is larger than the bound of {self._limit} bytes.", code="too_large")

    def _target(self, stop: int | None) -> int | None:
        """Where this reading ends, as far as that is known."""
        if stop is None or self.size is None:
            return self.size if stop is None else stop
        return min(stop, self.size)

    def _complete(self, reached: int, stop: int | None) -> bool:
        target = self._target(stop)
        return target is not None and reached >= target

    def _room(self, reached: int, stop: int | None) -> int:
        """How many more bytes are wanted, so that a body that is too long is noticed and not delivered."""
        if reached > self._limit:
            raise self._too_large()
        target = self._target(stop)
        return sys.maxsize if target is None else target - reached

    def _open(self, reached: int, stop: int | None) -> _Body | None:
        """One attempt from `reached`; None when the server says that nothing lies there."""
        headers = dict(self._headers)
        if self.ranged and (reached or stop is not None):
            headers["Range"] = f"bytes={reached}-{'' if stop is None else stop - 1}"
            if self._etag is not None and not self._etag.startswith("W/"):
                headers["If-Match"] = self._etag
        self.requests += 1
        response = self._client.open("GET", self._url, headers=headers, anywhere_trusted=self._anywhere_trusted)
        try:
            return self._place(response, reached, stop)
        except BaseException:
            response.close()
            raise

    def _place(self, response: urllib3.BaseHTTPResponse, reached: int, stop: int | None) -> _Body | None:
        """Check what the answer says about itself before its first byte is believed."""
        if response.status == 412:
            raise Changed("The file changed while it was read.")
        first, last, total = _content_range(response.headers)
        if response.status == 416:
            self._nothing_there(response, reached, total)
            return None
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise Broken("Drive packed bytes that were asked for as they are.", code="bad_answer")
        etag = response.headers.get("etag")
        if self._etag is not None and etag is not None and etag != self._etag:
            raise Changed("The file changed while it was read.")
        self._etag = etag or self._etag
        body = _Body(response, self._minimum_rate, self._span)
        if response.headers.get("accept-ranges") == "none" or (response.status == 200 and reached):
            self._lanes = False
        if response.status == 206:
            length = None if first is None or last is None else last - first + 1
            if first != reached or length is None or (stop is not None and length > stop - reached):
                raise Broken("Drive sent other bytes than were asked for.", code="bad_answer")
            if body.length not in (None, length):
                raise Broken("Drive sent two different lengths.", code="bad_answer")
            body.start = reached
            self._learn(total)
        elif response.status == 200:
            if stop is not None and (reached or body.length is None or body.length > stop):
                raise Broken("This server sends whole files only, where a part is needed.", code="range_ignored")
            self._learn(body.length)
        else:
            raise Broken(f"Drive answered {response.status} instead of the file.", code="bad_answer")
        return body

    def _nothing_there(self, response: urllib3.BaseHTTPResponse, reached: int, total: int | None) -> None:
        discard(response)
        if self.size is not None or total not in (None, reached):
            raise Changed("The file became shorter while it was read.")
        self.size = reached

    def _learn(self, total: int | None) -> None:
        """Compare a length with the one that is known; the first one that is said counts."""
        if total is None or total == self.size:
            return
        if self.size is None:
            self.size = total
            self._check_start(0)
        elif self._unchanged is not None and not self._unchanged():
            raise Changed("The file changed while it was read.")
        else:
            raise Broken(f"Drive sends {total} bytes of a file of {self.size}.", code="bad_answer")

    def _skip(self, body: _Body, count: int, scratch: memoryview, whole: hashlib._Hash | None, paid: _Paid) -> None:
        """Read over what was delivered before, and prove that it is the same where a proof is at hand."""
        again = None if whole is None else hashlib.new(whole.name, usedforsecurity=False)
        while count:
            received = paid.into(body, scratch[:count])
            if received == 0:
                raise Broken("The answer ended before the place to go on from.")
            if again is not None:
                again.update(scratch[:received])
            count -= received
        if again is not None and whole is not None and again.digest() != whole.digest():
            raise Changed("The file changed while it was read.")

    def _end(self, body: _Body, reached: int, stop: int | None) -> None:
        """The end of a body: is it the end of the file?"""
        target = self._target(stop)
        if target is None:
            self.size = reached
            self._framed = body.framed
        elif reached < target:
            raise Broken("The answer ended early.")
        elif body.length is None and body.into(memoryview(bytearray(1))):
            # Not tried again here: what came so far may be of another revision than what Drive described.
            raise Changed(f"Drive sends more than the {target} bytes of the file.")


class RangeFile(io.RawIOBase):
    """A file of Drive that can be read at any place, by Range, with a few blocks in memory.

    `head` is the beginning of the file where it has been read already; `download` is None where that is all of it. Not
    thread-safe.
    """

    def __init__(
        self,
        download: Download | None,
        size: int,
        *,
        block: int = 2 * 1024 * 1024,
        blocks: int = 4,
        head: bytes | bytearray = b"",
    ) -> None:
        self._download = download
        self._size = size
        self._block = block
        self._blocks = blocks
        self._held: OrderedDict[int, bytes | bytearray] = OrderedDict()
        self._position = 0
        if len(head) >= min(block, size):
            self._held[0] = head if len(head) <= block else head[:block]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer up to the end of the file; less only there."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        done = 0
        while done < wanted:
            number, offset = divmod(self._position, self._block)
            piece = memoryview(self._fetch(number))[offset : offset + wanted - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _fetch(self, number: int) -> bytes | bytearray:
        if number in self._held:
            self._held.move_to_end(number)
            return self._held[number]
        while len(self._held) >= self._blocks:
            self._held.popitem(last=False)
        start = number * self._block
        assert self._download is not None
        content = self._download.part(start, min(start + self._block, self._size))
        self._held[number] = content
        return content


def _content_range(headers: Headers) -> tuple[int | None, int | None, int | None]:
    """(first, last, total) of a Content-Range header, None for what it does not say."""
    match = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if match is None:
        return None, None, None
    first, last, total = (int(group) if group and group != "*" else None for group in match.groups())
    return first, last, total
