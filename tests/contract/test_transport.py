"""Bytes come whole, once and checked, whatever the network and the server do."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from shared.adapters.download import Download, RangeFile
from shared.adapters.drive import classify
from shared.adapters.transport import Broken, Changed, ChecksumMismatch, Client, Pacer
from shared.domain.errors import LongWait, ReconnectNeeded, Skipped, Unavailable
from tests.contract.fake_http import (
    CONTENT,
    SHA,
    WINDOW,
    Line,
    Request,
    Respond,
    Server,
    content_of,
    cut,
    cut_after,
    scripted,
    serve,
    settings_for,
)


def client_of(server: Server, token: Callable[[bool], str] = lambda fresh: "a-token", **more: Any) -> Client:
    return Client(settings_for(server.url, **more), token, classify)


def download_of(server: Server, **more: Any) -> Download:
    values = {"size": len(CONTENT), "checksum": SHA, "unchanged": lambda: True}
    return Download(client_of(server), f"{server.url}/file", **{**values, **more})


def test_a_file_comes_by_one_get_in_windows_of_one_buffer() -> None:
    """One request a file is what makes streaming fast and cheap in quota."""
    with Server(scripted(CONTENT)) as server:
        download = download_of(server)
        lengths, buffers = [], set()
        for window in download.windows():
            lengths.append(len(window))
            buffers.add(id(window.obj))

        assert lengths == [WINDOW] * 10 + [123]
        assert len(buffers) == 1
        assert (download.bytes_read, download.requests, len(server.requests)) == (len(CONTENT), 1, 1)
        assert download.integrity == download.verify() == "checksum"
        assert "range" not in server.requests[0].headers
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.requests[0].headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "clean close"])
@pytest.mark.parametrize(
    "after", [0, 1, 1000, WINDOW - 1, WINDOW, WINDOW + 1, len(CONTENT) // 2, len(CONTENT) * 99 // 100, len(CONTENT) - 1]
)
def test_a_cut_body_goes_on_where_it_broke(after: int, reset: bool) -> None:
    """A broken line may cost a request, never a byte that is wrong, missing or double, nor a window again."""
    with Server(lambda r, line: first(r, line)) as server:
        first = scripted(CONTENT, lambda r, line: cut(CONTENT, r, line, after, reset=reset))
        download = download_of(server)

        assert content_of(download) == CONTENT
        assert download.integrity == "checksum"
        assert download.requests == 2
        assert server.bytes_sent - len(CONTENT) <= WINDOW or reset


def test_a_line_that_is_cut_at_every_attempt_still_gets_through() -> None:
    """Tries count since the last progress: a long file on a bad line has more breaks than any fixed number."""
    faults: list[Respond] = [partial(cut_after, after=5_000) for _ in range(21)]
    with Server(scripted(CONTENT, *faults)) as server:
        download = download_of(server)

        assert content_of(download) == CONTENT
        assert download.requests == 22


def whole(content: bytes, request: Request, line: Line) -> None:
    line.answer(200, content)


def test_a_dead_server_is_given_up_after_a_few_tries() -> None:
    """An instance must not hang on a server that only hangs up."""
    with Server(lambda r, line: line.hang_up()) as server:
        download = download_of(server)
        with pytest.raises(Unavailable):
            content_of(download)

        assert download.requests == 6


def test_a_server_that_sends_nothing_and_calls_it_an_answer_is_given_up() -> None:
    """A body that ends with the connection says nothing about being cut."""

    def nothing(request: Request, line: Line) -> None:
        line.head(200, Connection="close")
        line.hang_up()

    with Server(nothing) as server, pytest.raises(Unavailable):
        content_of(download_of(server))


def test_nobody_at_the_address_is_unavailable() -> None:
    """A name that does not resolve or a closed port is a passing fault."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client(settings_for(f"http://127.0.0.1:{port}"), lambda fresh: "t", classify)
    with pytest.raises(Unavailable):
        content_of(Download(client, f"http://127.0.0.1:{port}/file"))


def test_a_server_that_ignores_range_is_read_from_the_beginning_again() -> None:
    """The bytes that were delivered are skipped, not delivered twice, and proved to be the same."""
    faults: list[Respond] = [partial(cut_after, after=3 * WINDOW + 5), lambda r, line: line.answer(200, CONTENT)]
    with Server(scripted(CONTENT, *faults)) as server:
        download = download_of(server)

        assert content_of(download) == CONTENT
        assert download.integrity == "checksum"


def test_another_file_behind_a_restart_is_noticed() -> None:
    """Half of one revision and half of another is worse than nothing."""
    other = bytes(len(CONTENT))
    faults: list[Respond] = [partial(cut_after, after=3 * WINDOW), lambda r, line: line.answer(200, other)]
    with Server(scripted(CONTENT, *faults)) as server, pytest.raises(Changed):
        content_of(download_of(server))


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-9/{size}",
        "bytes {next}-{last}/{size}",
        "bytes {first}-{last}/7",
        "bytes 0-{rest}/{size}",
        "bytes */{size}",
        "nonsense",
        "",
    ],
)
def test_a_wrong_content_range_is_not_believed(content_range: str) -> None:
    """The server says which bytes it sends; others than those asked for would corrupt the file."""

    def wrong(request: Request, line: Line) -> None:
        assert request.range is not None
        first = request.range[0]
        size, left = len(CONTENT), len(CONTENT) - first
        said = content_range.format(first=first, next=first + 1, last=size - 1, rest=left - 1, size=size)
        line.answer(206, CONTENT[first:], Content_Range=said)

    with Server(scripted(CONTENT, partial(cut_after, after=100), wrong)) as server:
        download = download_of(server)

        assert content_of(download) == CONTENT
        assert download.requests == 3


def test_a_file_that_changes_its_length_is_begun_anew() -> None:
    """Metadata and bytes must be of one revision."""
    for answer in (CONTENT + b"!", CONTENT[:-1]):
        with Server(partial(whole, answer)) as server, pytest.raises(Changed):
            content_of(download_of(server, unchanged=lambda: False))


def test_a_server_that_keeps_sending_another_length_is_not_believed() -> None:
    """Too long or too short with everything else equal is a fault, never a file."""
    for answer in (CONTENT + b"!", CONTENT[:-1]):
        with Server(partial(whole, answer)) as server, pytest.raises(Unavailable):
            content_of(download_of(server))


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until close"])
def test_bodies_without_a_length_are_checked_against_the_file(chunked: bool) -> None:
    """A server may frame its answers differently; the file is as long as Drive says."""

    def framed(content: bytes) -> Respond:
        def respond(request: Request, line: Line) -> None:
            body = content[request.range[0] if request.range else 0 :]
            headers: dict[str, object] = {"Transfer_Encoding": "chunked"} if chunked else {"Connection": "close"}
            if request.range:
                headers["Content_Range"] = f"bytes {request.range[0]}-{len(content) - 1}/{len(content)}"
            line.head(206 if request.range else 200, **headers)
            if chunked:
                for at in range(0, len(body), 50_000):
                    piece = body[at : at + 50_000]
                    line.raw(b"%x\r\n%b\r\n" % (len(piece), piece))
                line.raw(b"0\r\n\r\n")
            else:
                line.raw(body)
                line.hang_up()

        return respond

    with Server(framed(CONTENT)) as server:
        assert content_of(download_of(server)) == CONTENT
    with Server(framed(CONTENT + b"more")) as server, pytest.raises(Changed):
        content_of(download_of(server))
    with Server(framed(CONTENT)) as server:
        unknown = download_of(server, size=None, checksum=None, unchanged=None)
        assert content_of(unknown) == CONTENT
        assert unknown.integrity == ("length" if chunked else "none")
        assert unknown.size == len(CONTENT)


def test_a_chunked_body_that_is_cut_goes_on() -> None:
    """The end of a chunked body is said; a missing end is a break."""

    def broken(request: Request, line: Line) -> None:
        line.head(200, Transfer_Encoding="chunked")
        line.raw(b"%x\r\n%b\r\n" % (1000, CONTENT[:1000]))
        line.hang_up()

    with Server(scripted(CONTENT, broken)) as server:
        assert content_of(download_of(server, size=None)) == CONTENT


def test_an_empty_file_needs_no_request_and_416_is_its_end() -> None:
    """Zero bytes cannot be asked for by Range."""
    with Server(scripted(b"")) as server:
        empty = download_of(server, size=0, checksum=("md5", hashlib.md5(b"").hexdigest()))
        assert content_of(empty) == b""
        assert (empty.integrity, empty.requests) == ("checksum", 0)
        assert bytes(download_of(server, size=None, checksum=None).part(0, 10)) == b""


def test_going_on_at_and_behind_the_end() -> None:
    """A life may have stopped exactly at the end; a file that shrank since has changed."""
    with Server(scripted(CONTENT)) as server:
        assert content_of(download_of(server), len(CONTENT)) == b""
        with pytest.raises(Changed):
            content_of(download_of(server), len(CONTENT) + 1)
        assert content_of(download_of(server, size=None, checksum=None), len(CONTENT)) == b""
        with pytest.raises(Changed):
            content_of(download_of(server, size=None, checksum=None), len(CONTENT) + 1)


def test_a_file_that_shrinks_while_it_is_read_has_changed() -> None:
    """After the cut the server says 416: those bytes no longer exist."""
    faults: list[Respond] = [
        partial(cut_after, after=1000),
        lambda r, line: line.answer(416, Content_Range="bytes */500"),
    ]
    with Server(scripted(CONTENT, *faults)) as server, pytest.raises(Changed):
        content_of(download_of(server))


def test_a_new_entity_tag_or_a_failed_precondition_means_another_revision() -> None:
    """A resumed GET must not continue one revision with another."""

    def tagged(request: Request, line: Line) -> None:
        line.head(200, Content_Length=len(CONTENT), ETag='"one"')
        line.raw(CONTENT[:5000])
        line.hang_up()

    for second in (
        lambda r, line: serve(CONTENT, r, line, ETag='"two"'),
        lambda r, line: line.answer(412 if r.headers.get("if-match") == '"one"' else 200, CONTENT),
    ):
        with Server(scripted(CONTENT, tagged, second)) as server, pytest.raises(Changed):
            content_of(download_of(server))


def test_a_checksum_that_differs_is_never_silent() -> None:
    """Bytes that were damaged on the way look like a file."""
    damaged = b"x" + CONTENT[1:]
    with Server(scripted(damaged)) as server:
        with pytest.raises(ChecksumMismatch):
            content_of(download_of(server))
        with pytest.raises(Changed):
            content_of(download_of(server, unchanged=lambda: False))


def test_a_later_life_proves_length_tail_and_revision() -> None:
    """A checksum cannot go on over two lives; what can be proved is proved, and said."""
    with Server(scripted(CONTENT)) as server:
        first = download_of(server)
        with closing(first.windows()) as windows:
            parts = [bytes(next(windows)), bytes(next(windows))]
            tail = first.tail()

        second = download_of(server)
        parts += [bytes(window) for window in second.windows(2 * WINDOW, tail)]

        assert b"".join(parts) == CONTENT
        assert second.integrity == "length"
        assert second.verify() == "length+revision"
    with Server(scripted(bytes(len(CONTENT)))) as server, pytest.raises(Changed):
        list(download_of(server).windows(2 * WINDOW, tail))
    with Server(scripted(CONTENT)) as server, pytest.raises(Changed):
        late = download_of(server, unchanged=lambda: False)
        content_of(late, WINDOW)
        late.verify()


@pytest.mark.parametrize("start", [1, WINDOW // 2, WINDOW, WINDOW + 1, 2 * WINDOW - 1, 2 * WINDOW])
def test_a_later_life_finds_the_last_window_again_wherever_it_goes_on(start: int) -> None:
    """A reader goes on from the end of a part, which lies somewhere in or before the window that came last."""
    other = bytearray(CONTENT)
    other[2 * WINDOW - 1] ^= 1
    with Server(scripted(CONTENT)) as server:
        first = download_of(server)
        with closing(first.windows()) as windows:
            next(windows), next(windows)
            tail = first.tail()
        second = download_of(server)

        assert b"".join(bytes(window) for window in second.windows(start, tail)) == CONTENT[start:]
        assert second.bytes_read <= len(CONTENT) - start + WINDOW
    with Server(scripted(bytes(other))) as server, pytest.raises(Changed):
        list(download_of(server).windows(start, tail))


def test_a_window_that_lies_elsewhere_is_not_looked_for() -> None:
    """What an earlier life saw last is compared only where going on passes by; nothing is fetched for it alone."""
    with Server(scripted(CONTENT)) as server:
        late = download_of(server)
        tail = f"0:{WINDOW}:{'0' * 64}"

        assert b"".join(bytes(window) for window in late.windows(3 * WINDOW, tail)) == CONTENT[3 * WINDOW :]
        assert late.bytes_read == len(CONTENT) - 3 * WINDOW


def test_packed_answers_are_refused() -> None:
    """A gzip body has another length, another checksum and no places: it was not asked for."""
    packed = gzip.compress(CONTENT)
    with Server(lambda r, line: line.answer(200, packed, Content_Encoding="gzip")) as server, pytest.raises(Broken):
        content_of(download_of(server, size=None, checksum=None))


def test_a_drip_frees_the_instance() -> None:
    """A byte now and then keeps every timeout quiet; a minimum rate does not."""
    release = threading.Event()

    def drip(request: Request, line: Line) -> None:
        first = request.range[0] if request.range else 0
        line.head(206, Content_Length=len(CONTENT) - first, Content_Range=f"bytes {first}-{len(CONTENT) - 1}/*")
        while not release.wait(0.01):
            line.raw(b"x")

    with Server(drip) as server:
        download = download_of(server, span=0.2)
        with pytest.raises(Unavailable) as raised:
            content_of(download)
        release.set()

        assert raised.value.code == "too_slow"
        assert download.requests == 2


def test_a_stall_frees_the_instance() -> None:
    """Silence is the slowest drip."""
    release = threading.Event()

    def stall(request: Request, line: Line) -> None:
        line.head(200, Content_Length=len(CONTENT))
        release.wait()

    with Server(stall) as server:
        client = client_of(server, http_timeout_seconds=0.2)
        with pytest.raises(Unavailable):
            content_of(Download(client, f"{server.url}/file", size=len(CONTENT)))
        release.set()

        assert len(server.requests) == 2


def test_a_slow_consumer_is_not_a_slow_server() -> None:
    """The reader may think as long as it likes between two windows."""
    with Server(scripted(CONTENT)) as server:
        download = download_of(server, span=0.05, minimum_rate=1_000_000)
        seen = 0
        for window in download.windows():
            seen += len(window)
            threading.Event().wait(0.2)

        assert seen == len(CONTENT)
        assert download.requests <= 2


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_passing_refusals_are_waited_out(status: int) -> None:
    """One file in fifty meets a 503; none may be lost for it."""
    refuse: Respond = lambda r, line: line.refuse(status, "backendError", Retry_After="0")  # noqa: E731
    with Server(scripted(CONTENT, refuse, refuse, partial(cut_after, after=1000), refuse)) as server:
        assert content_of(download_of(server)) == CONTENT


def test_a_rate_limit_holds_up_this_person_and_nobody_else() -> None:
    """After a 429 no thread of this person asks again before the time; other people's do."""

    def limited(request: Request, line: Line) -> None:
        line.refuse(429, "rateLimitExceeded", Retry_After="60")

    with Server(scripted(CONTENT, limited)) as server:
        client, other = client_of(server), client_of(server)
        ask = partial(client.call, "GET", f"{server.url}/mine", headers={})
        with pytest.raises(LongWait):
            ask()
        with ThreadPoolExecutor(4) as threads:
            waiting = [threads.submit(ask) for _ in range(8)]

        assert all(isinstance(call.exception(), LongWait) for call in waiting)
        assert other.call("GET", f"{server.url}/theirs", headers={}).body == CONTENT
        assert [request.target for request in server.requests] == ["/mine", "/theirs"]


def test_a_short_rate_limit_is_waited_out() -> None:
    """Most limits are over in a moment; the work goes on where it is."""
    limited: Respond = lambda r, line: line.refuse(403, "userRateLimitExceeded")  # noqa: E731
    with Server(scripted(CONTENT, limited, limited, limited)) as server:
        assert client_of(server).call("GET", f"{server.url}/x", headers={}).body == CONTENT
    with Server(limited) as server:
        with pytest.raises(LongWait):
            client_of(server).call("GET", f"{server.url}/x", headers={})
        assert len(server.requests) == 6


def test_requests_come_further_apart_after_a_rate_limit() -> None:
    """Going on at the same pace would only meet the next limit."""
    pacer = Pacer(1.0)
    pacer.slow_down(0.0)
    begun = time.monotonic()
    for _ in range(3):
        pacer.wait()
    assert time.monotonic() - begun >= 0.1


def test_a_long_retry_after_is_the_brokers_business() -> None:
    """Minutes are written down as waiting; a worker does not sleep them away."""
    with Server(lambda r, line: line.refuse(429, "rateLimitExceeded", Retry_After="86400")) as server:
        client = client_of(server)
        with pytest.raises(LongWait) as raised:
            client.call("GET", f"{server.url}/x", headers={})
        with pytest.raises(LongWait):
            client.call("GET", f"{server.url}/x", headers={})

        assert raised.value.retry_after == 600
        assert len(server.requests) == 1


def test_401_is_answered_by_one_fresh_token() -> None:
    """Tokens end in the middle of long work; a second 401 means that the person must connect again."""
    asked: list[bool] = []

    def token(fresh: bool) -> str:
        asked.append(fresh)
        return "new" if fresh else "old"

    def respond(request: Request, line: Line) -> None:
        if request.headers["authorization"] == "Bearer new":
            serve(CONTENT, request, line)
        else:
            line.refuse(401, "authError")

    with Server(respond) as server:
        download = Download(client_of(server, token), f"{server.url}/file", size=len(CONTENT), checksum=SHA)
        assert content_of(download) == CONTENT
        assert asked == [False, True]
    with Server(lambda r, line: line.refuse(401, "authError")) as server, pytest.raises(ReconnectNeeded):
        content_of(download_of(server))


def redirect(target: str, request: Request, line: Line) -> None:
    line.answer(302, Location=f"{target}/file")


def test_the_token_never_leaves_for_a_foreign_host() -> None:
    """A redirect is an instruction by somebody else; the token is the person's whole Drive."""
    with Server(lambda r, line: line.answer(200, b"thanks")) as canary:
        for target in (canary.url, canary.url.replace("127.0.0.1", "localhost"), "https://evil.googleapis.com.example"):
            with Server(partial(redirect, target)) as server:
                with pytest.raises(Unavailable) as raised:
                    content_of(download_of(server))
                with pytest.raises(Unavailable):
                    client_of(server).call("GET", f"{server.url}/x", headers={})
            assert raised.value.code == "foreign_redirect"
        assert canary.connections == 0


def test_a_redirect_on_the_same_host_is_followed() -> None:
    """A server may move a file about its own house."""

    def respond(request: Request, line: Line) -> None:
        if request.target == "/file":
            line.answer(307, Location="/elsewhere")
        else:
            serve(CONTENT, request, line)

    with Server(respond) as server:
        assert content_of(download_of(server)) == CONTENT
    with Server(lambda r, line: line.answer(302, Location="/again")) as server, pytest.raises(Unavailable):
        content_of(download_of(server))


def test_connections_are_kept_and_broken_ones_closed() -> None:
    """A thousand small files must not be a thousand connections, nor an abandoned stream a leak."""
    small = b"small file"
    with Server(scripted(small)) as server:
        for _ in range(20):
            assert content_of(Download(client_of(server), f"{server.url}/f", size=len(small))) == small
        assert server.connections == 1
    ended = threading.Event()

    def endless(request: Request, line: Line) -> None:
        line.head(200, Content_Length=1 << 40)
        try:
            while True:
                line.raw(bytes(WINDOW))
        finally:
            ended.set()

    with Server(endless) as server:
        windows = Download(client_of(server), f"{server.url}/f", size=1 << 40).windows()
        next(windows)
        windows.close()
        assert ended.wait(10)


def test_a_bound_ends_a_body_without_an_end() -> None:
    """An export may say nothing about its length; the bound is ours."""

    def endless(request: Request, line: Line) -> None:
        line.head(200, Connection="close")
        while True:
            line.raw(bytes(WINDOW))

    with Server(endless) as server, pytest.raises(Skipped):
        content_of(Download(client_of(server), f"{server.url}/f", limit=3 * WINDOW))


@pytest.mark.parametrize("flavour", ["", "md5", "sha256"])
def test_memory_does_not_grow_with_the_file(flavour: str) -> None:
    """A stream of 200 MB needs what a stream of 2 MB needs."""
    size = 200 * 1024 * 1024

    def respond(request: Request, line: Line) -> None:
        line.head(200, Content_Length=size)
        block = bytes(1024 * 1024)
        for _ in range(200):
            line.raw(block)

    program = f"""
import resource, sys
sys.path.insert(0, {str(Path.cwd())!r})
from shared.adapters.download import Download
from shared.adapters.drive import classify
from shared.adapters.transport import Client, pool
from shared.config import Settings
pool()
url = sys.argv[1]
client = Client(Settings(google_cloud_project="t", drive_endpoint=url), lambda fresh: "t", classify)
import hashlib
zero = hashlib.new({flavour or "md5"!r})
for _ in range(200): zero.update(bytes(1 << 20))
checksum = ({flavour!r}, zero.hexdigest()) if {flavour!r} else None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(len(window) for window in Download(client, url + "/f", size={size}, checksum=checksum).windows())
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    with Server(respond) as server:
        done = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, text=True, check=True)
    total, grown_kib = map(int, done.stdout.split())

    assert total == size
    assert grown_kib < 8 * 1024


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["read", "readinto", "start", "here", "end"]), st.integers(-4000, 4000)), max_size=12
)


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[Server, bytes]]:
    content = CONTENT[:3001]
    with Server(scripted(content)) as server:
        yield server, content


@given(actions=ACTIONS, block=st.integers(100, 4000), blocks=st.integers(1, 4))
@examples(max_examples=60, deadline=None)
def test_a_file_by_range_behaves_as_one_in_memory(
    small: tuple[Server, bytes], actions: list[tuple[str, int]], block: int, blocks: int
) -> None:
    """Zip and PDF readers seek in every direction; the model is BytesIO."""
    server, content = small
    ours = RangeFile(Download(client_of(server), f"{server.url}/f", size=3001), 3001, block=block, blocks=blocks)
    model = io.BytesIO(content)
    for action, number in actions:
        if action == "read":
            assert ours.read(number) == model.read(number)
        elif action == "readinto":
            mine, theirs = bytearray(abs(number)), bytearray(abs(number))
            assert ours.readinto(mine) == model.readinto(theirs)
            assert mine == theirs
        else:
            whence = {"start": 0, "here": 1, "end": 2}[action]
            if whence == 0 and number < 0:
                continue
            target = number + (0, model.tell(), len(content))[whence]
            if target < 0:
                with pytest.raises(ValueError):
                    ours.seek(number, whence)
            else:
                assert ours.seek(number, whence) == model.seek(number, whence)
        assert ours.tell() == model.tell()


def test_a_file_by_range_keeps_few_blocks_and_asks_once_for_each() -> None:
    """Memory is bounded by the blocks; reading to and fro within them is free."""
    with Server(scripted(CONTENT)) as server:
        file = RangeFile(download_of(server), len(CONTENT), block=WINDOW, blocks=4)
        for at in (0, 3, 1, 2, 0, 3, 1, 2, 0):
            file.seek(at * WINDOW)
            file.read(10)
        assert len(server.requests) == 4
        file.seek(4 * WINDOW)
        file.read(1)
        file.seek(0)
        file.read(1)
        assert len(server.requests) == 5
        file.seek(3 * WINDOW)
        file.read(1)
        assert len(server.requests) == 6
        assert file._download.integrity == "none"
        assert file._download.verify() == "length+revision"


def test_a_block_that_is_cut_goes_on_and_an_ignored_range_is_said() -> None:
    """Random access on a server that only sends whole files would read it again and again."""

    def partly(request: Request, line: Line) -> None:
        assert request.range is not None
        line.head(206, Content_Length=WINDOW, Content_Range=f"bytes 0-{WINDOW - 1}/{len(CONTENT)}")
        line.raw(CONTENT[:99])
        line.hang_up()

    with Server(scripted(CONTENT, partly)) as server:
        file = RangeFile(download_of(server), len(CONTENT), block=WINDOW)
        assert file.read(WINDOW) == CONTENT[:WINDOW]
        assert server.requests[1].range == (99, WINDOW - 1)
    with Server(lambda r, line: line.answer(200, CONTENT)) as server:
        with pytest.raises(Broken) as raised:
            RangeFile(download_of(server), len(CONTENT), block=WINDOW).read(1)
        assert raised.value.code == "range_ignored"
