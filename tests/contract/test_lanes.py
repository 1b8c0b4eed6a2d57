"""Several connections for one file: only where they pay, in order, bounded, and checked like one."""

from __future__ import annotations

import hashlib
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from infra.local.outside import drive_at
from shared.adapters import download as download_module
from shared.adapters.download import Download
from shared.adapters.lanes import LANES, PERIOD, Fetched, Gauge, Lanes
from tests.bench.drive_server import id_of, serving
from tests.contract.fake_http import CONTENT, SHA, WINDOW, Line, Request, Server, serve
from tests.contract.test_transport import client_of

SLOW = 1.0  # bytes a second of the one stream: any lane pays


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def gauged(rates: list[float], consumer: float = 0.0) -> bool:
    """What the gauge says after periods of these rates, to a consumer that needs so many seconds a window."""
    clock = Clock()
    gauge = Gauge(clock)
    gauge.received(1)
    for rate in rates:
        for _ in range(10):
            gauge.asked()
            clock.now += PERIOD / 10
            gauge.received(int(rate * PERIOD / 10))
            clock.now += consumer
    return gauge.capped


@pytest.mark.parametrize(
    ("rates", "consumer", "capped"),
    [
        ([40e6, 40e6], 0.0, True),
        ([40e6], 0.0, False),  # one period says nothing about growth
        ([10e6, 20e6], 0.0, False),  # still growing
        ([500e6, 500e6], 0.0, False),  # fast enough
        ([40e6, 40e6], 1.0, False),  # it is the consumer that is slow
    ],
)
def test_only_a_flat_slow_line_with_a_waiting_consumer_is_capped(
    rates: list[float], consumer: float, capped: bool
) -> None:
    """Requests cost quota: nobody opens more of them for a line that is fast, or a reader that is slow."""
    assert gauged(rates, consumer) is capped


class Parts:
    """Serves parts of CONTENT from memory, and knows how many were under way at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds, self._lock, self._now = seconds, threading.Lock(), 0
        self.most = 0

    def fetch(self, buffer: memoryview, start: int) -> Fetched:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._seconds)
        part = CONTENT[start : start + len(buffer)]
        buffer[: len(part)] = part
        with self._lock:
            self._now -= 1
        return Fetched(len(part), 1, len(part), refused=False)


def test_parts_are_delivered_in_order_to_the_last_byte() -> None:
    """Whichever lane is first."""
    parts = Parts(0.001)
    lanes = Lanes(parts.fetch, 1000, len(CONTENT), SLOW, segment=WINDOW // 4)

    content = b"".join(bytes(window) for window in lanes.windows(1000))

    assert content == CONTENT[1000:]
    assert lanes.position == lanes.bytes_read + 1000 == len(CONTENT)
    assert lanes.requests == -(-(len(CONTENT) - 1000) // (WINDOW // 4))
    assert 2 <= parts.most <= LANES  # as many buffers as lanes, and no more


def test_lanes_that_do_not_pay_give_the_rest_back() -> None:
    """Two rounds are tried; what was fetched ahead is used, nothing is fetched twice."""
    lanes = Lanes(Parts().fetch, 0, len(CONTENT), 1e15, segment=WINDOW // 4)

    content = b"".join(bytes(window) for window in lanes.windows(WINDOW))

    assert 4 * (WINDOW // 4) <= lanes.position < len(CONTENT)
    assert content == CONTENT[: lanes.position]
    assert lanes.bytes_read == lanes.position


@pytest.mark.parametrize("fault", ["refused", "short"])
def test_a_refusal_or_a_short_part_ends_the_lanes(fault: str) -> None:
    """More connections are the wrong answer to "slow down"; and what a short part means, one stream finds out."""
    parts = Parts()

    def fetch(buffer: memoryview, start: int) -> Fetched:
        fetched = parts.fetch(buffer, start)
        if start < WINDOW:
            return fetched
        return fetched._replace(refused=True) if fault == "refused" else fetched._replace(filled=1)

    lanes = Lanes(fetch, 0, len(CONTENT), SLOW, segment=WINDOW // 4)
    content = b"".join(bytes(window) for window in lanes.windows(WINDOW))

    assert WINDOW < lanes.position < len(CONTENT)
    assert content == CONTENT[: lanes.position]


@pytest.mark.parametrize("fault", ["none", "cut", "no range", "other file"])
def test_a_part_of_a_lane_is_checked_like_any_other(fault: str) -> None:
    """Content-Range, entity tag and length count; a cut is taken up again; without Range there are no lanes."""
    cuts = ["cut"]

    def respond(request: Request, line: Line) -> None:
        if fault == "cut" and cuts and request.range == (WINDOW, 2 * WINDOW - 1):
            cuts.clear()
            line.head(206, Content_Length=WINDOW, Content_Range=f"bytes {WINDOW}-{2 * WINDOW - 1}/{len(CONTENT)}")
            line.raw(CONTENT[WINDOW : WINDOW + 100])
            line.hang_up()
        elif fault == "no range":
            line.answer(200, CONTENT)
        else:
            serve(CONTENT, request, line, ETag='"2"' if fault == "other file" else '"1"')

    with Server(respond) as server:
        download = Download(client_of(server), f"{server.url}/f", size=len(CONTENT), lanes=True)
        download._etag = '"1"'
        buffer = memoryview(bytearray(WINDOW))
        if fault == "other file":
            with pytest.raises(Exception, match="changed"):
                download._fetch(buffer, WINDOW)
            return
        fetched = download._fetch(buffer, WINDOW)

    if fault == "no range":
        assert fetched.refused
        assert fetched.filled == 0
        return
    assert bytes(buffer) == CONTENT[WINDOW : 2 * WINDOW]
    assert fetched == Fetched(WINDOW, 1 if fault == "none" else 2, WINDOW, refused=False)


@pytest.mark.parametrize("fault", ["cut", "reset", "503", "429", "200"])
def test_order_and_checksum_hold_whatever_happens_in_the_lanes(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Every range meets the fault once. The bytes are right and in order, in four buffers at most, and none comes
    twice but what was cut."""
    monkeypatch.setattr(download_module, "Gauge", Capped)
    monkeypatch.setattr(download_module, "LARGE", WINDOW)
    monkeypatch.setattr(download_module, "Lanes", partial(Lanes, segment=WINDOW))
    met: set[int] = set()
    ranged: list[int] = []

    def respond(request: Request, line: Line) -> None:
        first = request.range[0] if request.range else 0
        if not request.range or request.range[1] is None:
            serve(CONTENT, request, line)
            return
        ranged.append(first)
        if first in met:
            serve(CONTENT, request, line)
            return
        met.add(first)
        if fault in ("503", "429"):
            line.refuse(int(fault), "backendError" if fault == "503" else "rateLimitExceeded")
        elif fault == "200":
            line.answer(200, CONTENT)
        else:
            last = request.range[1] or 0
            line.head(206, Content_Length=last - first + 1, Content_Range=f"bytes {first}-{last}/{len(CONTENT)}")
            line.raw(CONTENT[first : first + WINDOW // 3])
            line.drain()
            line.reset() if fault == "reset" else line.hang_up()

    buffers = set[int]()
    fill = Download._fill

    def filled(self: Download, buffer: memoryview, start: int) -> int:
        buffers.add(id(buffer.obj))
        return fill(self, buffer, start)

    monkeypatch.setattr(Download, "_fill", filled)
    with Server(respond) as server:
        download = Download(client_of(server), f"{server.url}/f", size=len(CONTENT), checksum=SHA, lanes=True)
        content = b"".join(bytes(window) for window in download.windows())

    assert content == CONTENT
    assert (download.integrity, bool(ranged)) == ("checksum", True)
    assert len(buffers) <= LANES
    if fault in ("cut", "reset"):
        assert download.bytes_read == len(CONTENT)


class Capped:
    """A gauge that finds every line capped."""

    rate, capped = SLOW, True

    def received(self, count: int) -> None:
        """Nothing to measure."""

    def asked(self) -> None:
        """Nothing to measure."""


def test_a_large_file_behind_capped_connections_comes_by_several(tmp_path: Path) -> None:
    """From a real server: the hash is right, every byte is asked for once, and there was more than one request."""
    size = 120_000_000
    block = hashlib.sha256(b"noise").digest() * 31_250
    (tmp_path / "large.bin").write_bytes(b"".join(bytes([number]) + block[1:] for number in range(size // len(block))))
    with serving(tmp_path, "--rate", "40e6") as server:
        drive = drive_at(server.url, "t")
        source = drive.open(drive.file(id_of("large.bin")))

        count = sum(len(window) for window in source.windows())

    assert (count, source.bytes_read, source.integrity) == (size, size, "checksum")
    assert source.requests > 2
