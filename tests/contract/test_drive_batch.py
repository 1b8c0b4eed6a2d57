"""Metadata of many files at once: batch requests against the local Google, and servers that know or keep no batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.google import GoogleServer
from shared.adapters import batch
from shared.adapters.drive import Drive
from shared.adapters.transport import Answer
from shared.domain.errors import LongWait, Unavailable
from tests.contract.fake_http import Line, Request, Server, settings_for


@pytest.fixture
def google(tmp_path: Path) -> Iterator[GoogleServer]:
    """A folder of 230 files as somebody's Drive."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(230):
        (folder / f"Ärger {number}.txt").write_text(str(number))
    server = GoogleServer(folder, tmp_path / "data")
    server.start(0)
    yield server
    server.stop()


def drive_of(google: GoogleServer) -> Drive:
    token = google.grant("you@example.com")["access_token"]
    return Drive(settings_for(google.url), lambda fresh: token)


def ids(google: GoogleServer) -> dict[str, None]:
    return {google.id_of(f"Ärger {number}.txt"): None for number in range(230)}


def test_a_hundred_files_are_one_request(google: GoogleServer) -> None:
    """A request for each of them would take minutes where a census looks for a hundred thousand."""
    wanted = ids(google)

    found = drive_of(google).files({**wanted, "nowhere": None})

    assert google.faults.calls["batch"] == 3
    assert {file.id: file.name for file in found.values() if file} == {
        google.id_of(f"Ärger {number}.txt"): f"Ärger {number}.txt" for number in range(230)
    }
    assert found["nowhere"] is None
    assert all(file.sha256 for file in found.values() if file)


def test_only_the_part_that_was_too_fast_is_asked_again(google: GoogleServer) -> None:
    """A whole batch for one slow part would be slowed down itself."""
    wanted = dict(list(ids(google).items())[:50])
    google.faults.fail("files.get", 429, "rateLimitExceeded", times=2, skip=7)
    google.faults.fail("files.get", 503, "backendError", times=1, skip=9)

    found = drive_of(google).files(wanted)

    assert len(found) == 50
    assert all(found.values())
    assert google.faults.calls["files.get"] == 53
    assert google.faults.calls["batch"] == 2


def test_a_part_that_drive_will_not_describe_is_left_out_and_a_long_wait_is_told(google: GoogleServer) -> None:
    """Neither is a file that is gone: nobody may delete it for that."""
    wanted = dict(list(ids(google).items())[:3])
    google.faults.fail("files.get", 403, "appNotAuthorizedToFile", times=1)
    assert len(drive_of(google).files(wanted)) == 2

    google.faults.fail("files.get", 403, "dailyLimitExceeded", times=1)
    with pytest.raises(LongWait):
        drive_of(google).files(wanted)


def test_a_token_that_a_part_refuses_is_renewed_before_it_is_believed(google: GoogleServer) -> None:
    """A token may end between a batch and its parts; nobody is to be disconnected for that."""
    wanted = dict(list(ids(google).items())[:3])
    google.faults.fail("files.get", 401, "authError", times=1)
    fresh = []
    token = google.grant("you@example.com")["access_token"]

    found = Drive(settings_for(google.url), lambda again: fresh.append(again) or token).files(wanted)

    assert len(found) == 3
    assert all(found.values())


def test_a_server_without_batches_is_asked_file_by_file() -> None:
    """Another Drive v3 may know nothing of Google's batch address."""

    def respond(request: Request, line: Line) -> None:
        if request.method == "POST" or "/none" in request.target:
            line.refuse(404, "notFound")
        else:
            line.json({"id": request.target.split("/files/")[1].split("?")[0], "name": "n", "mimeType": "text/plain"})

    with Server(respond) as server:
        drive = Drive(settings_for(server.url), lambda fresh: "t")
        found = drive.files({"one": None, "none": None})
        drive.files({"two": None})

        assert found["one"] is not None
        assert found["none"] is None
        assert [request.method for request in server.requests].count("POST") == 1


def test_an_answer_that_leaves_parts_out_does_not_hang_for_ever() -> None:
    """Whatever a server does, the worker comes to an end."""

    def respond(request: Request, line: Line) -> None:
        line.answer(200, b"--b--\r\n", Content_Type="multipart/mixed; boundary=b")

    with Server(respond) as server, pytest.raises(Unavailable):
        Drive(settings_for(server.url), lambda fresh: "t").files({"one": None})


def test_a_file_shared_by_its_link_is_asked_for_with_its_key() -> None:
    """The key of one part is nobody else's."""
    kind, body = batch.encode([batch.Inner("/drive/v3/files/a", {"X-Goog-Drive-Resource-Keys": "a/key"})])

    assert kind.startswith("multipart/mixed; boundary=")
    assert b"GET /drive/v3/files/a HTTP/1.1\r\nX-Goog-Drive-Resource-Keys: a/key\r\n" in body


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_answers_are_read_however_their_lines_end(end: str) -> None:
    """Servers differ, and a blank line between head and body is all that counts."""
    lines = ["--b", "Content-Type: application/http", "Content-ID: <response-1>", "", "HTTP/1.1 404 Not Found"]
    body = end.join([*lines, "Retry-After: 3", "", '{"error": {}}', "--b--", ""]).encode()

    found = batch.decode(Answer(200, {"content-type": "multipart/mixed; boundary=b"}, body))

    assert (found[1].status, found[1].headers["retry-after"], found[1].body.strip()) == (404, "3", b'{"error": {}}')
