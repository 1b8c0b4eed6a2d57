"""One person's Drive over real sockets: listings, changes, channels, bytes and exports."""

from __future__ import annotations

import gzip
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest

from shared.adapters import tabs
from shared.adapters.drive import Drive, DriveSource, PageTokenRejected, Unsupported, classify
from shared.adapters.transport import Changed, Client, ExportTooLarge
from shared.domain.errors import FileGone, Skipped, Unavailable
from shared.domain.files import DOCUMENT, SPREADSHEET, TABS, File
from shared.domain.parts import Text
from shared.readers import Limits, read
from shared.readers.source import Opened
from tests.contract.fake_http import (
    CONTENT,
    WINDOW,
    Line,
    Request,
    Respond,
    Server,
    content_of,
    cut_after,
    scripted,
    serve,
    settings_for,
)


def file_of(content: bytes = CONTENT, **more: Any) -> File:
    values = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "mime_type": "text/plain"}
    return File(id="f1", name="f.txt", **{**values, **more})


def drive_json(content: bytes = CONTENT, **more: Any) -> dict[str, Any]:
    return {
        "id": "f1",
        "name": "f.txt",
        "mimeType": "text/plain",
        "size": str(len(content)),
        "sha256Checksum": hashlib.sha256(content).hexdigest(),
        **more,
    }


def drive_of(server: Server, **more: Any) -> Drive:
    return Drive(settings_for(server.url, **more), lambda fresh: "a-token")


def test_a_source_that_was_looked_at_is_not_fetched_twice() -> None:
    """The reader is chosen by the first bytes; a small file must still be one request."""
    for content in (CONTENT, CONTENT[: WINDOW // 2], CONTENT[: 3 * WINDOW]):
        with Server(scripted(content)) as server:
            source = drive_of(server).open(file_of(content))
            with closing(source.windows()) as look:
                assert bytes(next(look)) == content[:WINDOW]
            assert content_of(source) == content
            assert (source.requests, source.integrity, source.verify()) == (1, "checksum", "checksum")


def test_a_container_is_held_when_small_and_read_by_range_when_large() -> None:
    """Random access within the memory bound: one GET below it, Range above."""
    small = CONTENT[: 3 * WINDOW]
    with Server(scripted(small)) as server:
        source = drive_of(server).open(file_of(small))
        with closing(source.windows()) as look:
            next(look)
        held = source.seekable()
        assert held.read() == small
        assert source.seekable().read(5) == small[:5]
        assert content_of(source, 7) == small[7:]
        assert (source.requests, source.integrity) == (1, "checksum")
    with Server(scripted(CONTENT)) as server:
        source = drive_of(server).open(file_of())
        with closing(source.windows()) as look:
            next(look)
        file = source.seekable()
        assert file.read(100) == CONTENT[:100]
        assert source.requests == 1
        file.seek(-50, io.SEEK_END)
        assert file.read() == CONTENT[-50:]
        assert source.requests == 2


def test_a_file_of_unknown_size_can_be_read_at_any_place() -> None:
    """A plain server may not say how large a file is."""
    with Server(scripted(CONTENT[: 2 * WINDOW])) as server:
        assert drive_of(server).open(file_of(size=None, sha256=None)).seekable().read() == CONTENT[: 2 * WINDOW]
    with Server(scripted(CONTENT)) as server:
        assert drive_of(server).open(file_of(size=None, sha256=None)).seekable().read(10) == CONTENT[:10]


def test_a_forbidden_download_is_not_even_asked_for() -> None:
    """Drive said so already; a request would only cost quota."""
    with Server(scripted(CONTENT)) as server:
        for ask in (
            lambda drive: drive.open(file_of(can_download=False)),
            lambda drive: drive.export(replace(NATIVE, can_download=False), ["text/markdown"]),
        ):
            with pytest.raises(Skipped) as raised:
                ask(drive_of(server))
            assert raised.value.code == "cannotDownloadFile"
        assert server.requests == []


def test_harm_is_never_acknowledged() -> None:
    """`acknowledgeAbuse` is for a person who has seen a warning."""
    with Server(lambda request, line: line.refuse(403, "cannotDownloadAbusiveFile")) as server:
        with pytest.raises(Skipped) as raised:
            content_of(drive_of(server).open(file_of()))
        assert raised.value.code == "cannotDownloadAbusiveFile"
        (request,) = server.requests
        assert "acknowledgeAbuse" not in request.target


def test_resource_keys_travel_with_every_request() -> None:
    """A file that was shared by a link opens with its key only."""
    with Server(
        lambda r, line: line.json(drive_json()) if "alt=media" not in r.target else serve(CONTENT, r, line)
    ) as server:
        drive = drive_of(server)
        file = drive.file("f1", "key9")
        content_of(drive.open(file_of(resource_key="key9")))

        assert file.size == len(CONTENT)
        assert {r.headers["x-goog-drive-resource-keys"] for r in server.requests} == {"f1/key9"}


def test_a_missing_file_is_looked_for_twice() -> None:
    """A file that was made a moment ago may be missing for a moment."""
    with Server(
        scripted(b"", lambda r, line: line.refuse(404, "notFound"), lambda r, line: line.json(drive_json()))
    ) as s:
        assert drive_of(s).file("f1").id == "f1"
    with Server(lambda r, line: line.refuse(404, "notFound")) as server:
        with pytest.raises(FileGone):
            drive_of(server).file("f1")
        assert len(server.requests) == 2


def test_listing_goes_page_by_page_with_what_drive_needs_to_hear() -> None:
    """A listing that forgets trashed=false or the page size brings the trash, or a hundred files."""
    pages = [{"files": [drive_json(), drive_json(id="f2")], "nextPageToken": "n" * 3000}, {"files": []}]
    with Server(lambda r, line: line.json(pages["pageToken" in r.target])) as server:
        drive = drive_of(server)
        first = drive.list_files(None)
        second = drive.list_files(first.next_page_token, corpus="0Ateam")

        assert [file.id for file in first.files] == ["f1", "f2"]
        assert (second.files, second.next_page_token, second.incomplete) == ((), None, False)
        one, two = server.requests
        assert all(part in one.target for part in ("q=trashed%3Dfalse", "pageSize=1000", "corpora=user"))
        assert all(part in two.target for part in ("corpora=drive", "driveId=0Ateam", "includeItemsFromAllDrives=true"))
        assert (one.method, two.method, two.body) == ("GET", "GET", b"")


@pytest.mark.parametrize("answer", [b"", b"{", b"{}", b"[]", b"<html>sign in</html>", b'{"files": [{"name": "x"}]}'])
def test_a_broken_page_is_never_an_empty_listing(answer: bytes) -> None:
    """An empty success would delete a person's files from the index."""
    with Server(lambda r, line: line.answer(200, answer)) as server, pytest.raises(Unavailable):
        drive_of(server).list_files(None)


@pytest.mark.parametrize("answer", [b"{}", b'{"changes": []}', b'{"changes": [{}], "newStartPageToken": "9"}'])
def test_a_broken_page_of_changes_is_never_the_end_of_the_log(answer: bytes) -> None:
    """Without a next token the cursor would have nowhere to go."""
    with Server(lambda r, line: line.answer(200, answer)) as server, pytest.raises(Unavailable):
        drive_of(server).changes("1")


def test_a_page_cut_in_the_middle_is_asked_again() -> None:
    """Half a JSON page is a break of the line."""
    body = b'{"files": [], "incompleteSearch": false}'

    def halved(request: Request, line: Line) -> None:
        line.head(200, Content_Length=len(body))
        line.raw(body[:10])
        line.hang_up()

    with Server(scripted(body, halved)) as server:
        assert drive_of(server).list_files(None).files == ()


def test_packed_json_is_unpacked() -> None:
    """Google packs its JSON when asked, and listings are ten times smaller for it."""
    packed = gzip.compress(b'{"files": [], "kind": "drive#fileList"}')
    with Server(lambda r, line: line.answer(200, packed, Content_Encoding="gzip")) as server:
        assert drive_of(server).list_files(None).files == ()


def test_changes_say_what_is_gone_and_which_drive_was_joined() -> None:
    """The change log is the only place that tells of deletions."""
    answer = {
        "newStartPageToken": "43",
        "changes": [
            {"changeType": "file", "removed": True, "fileId": "gone"},
            {"changeType": "file", "fileId": "f1", "file": drive_json(driveId="0Ateam")},
            {"changeType": "drive", "driveId": "0Anew", "drive": {"id": "0Anew", "name": "New"}},
        ],
    }
    with Server(lambda r, line: line.json(answer)) as server:
        page = drive_of(server).changes("42")

    gone, edited, joined = page.changes
    assert (gone.file_id, gone.removed, gone.file) == ("gone", True, None)
    assert (edited.file_id, edited.drive_id, edited.kind) == ("f1", "0Ateam", "file")
    assert (joined.kind, joined.drive_id, joined.file_id) == ("drive", "0Anew", None)
    assert (page.next_page_token, page.new_start_page_token) == (None, "43")


def test_a_rejected_page_token_is_told_from_other_faults() -> None:
    """It means a full listing, which must not happen for anything else."""
    error = {"code": 400, "errors": [{"reason": "invalid", "location": "pageToken", "locationType": "parameter"}]}
    refusals: list[Respond] = [
        lambda r, line: line.json({"error": error}, 400),
        lambda r, line: line.refuse(410, "gone"),
        lambda r, line: line.answer(400, b"bad token"),
    ]
    for refusal in refusals:
        with Server(refusal) as server:
            with pytest.raises(PageTokenRejected):
                drive_of(server).changes("stale")
            with pytest.raises(PageTokenRejected):
                drive_of(server).list_files("stale")


def test_a_channel_is_opened_once_and_closed_gently() -> None:
    """A POST that may have arrived is not sent again: its id would be taken."""
    with Server(lambda r, line: line.json({"resourceId": "res", "expiration": "1767000000000"})) as server:
        watch = drive_of(server).watch("42", "my-drive", "chan", "secret", "https://hook.example/", 1_700_000_000_000)
        assert (watch.resource_id, watch.expiration) == ("res", 1_767_000_000_000)
        assert b'"web_hook"' in server.requests[0].body
        assert "pageToken=42" in server.requests[0].target
    with Server(lambda r, line: line.hang_up()) as server:
        with pytest.raises(Unavailable):
            drive_of(server).watch("42", "my-drive", "chan", "secret", "https://hook.example/", 1)
        assert len(server.requests) == 1
    for answer in (lambda r, line: line.answer(204), lambda r, line: line.refuse(404, "notFound")):
        with Server(answer) as server:
            drive_of(server).stop_channel("chan", "res")


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_plain_server_without_shared_drives_or_push_is_told_so(status: int) -> None:
    """Other servers speak Drive v3 too; what they lack must not stop the sync."""
    with Server(lambda r, line: line.answer(status, b"no such thing")) as server:
        with pytest.raises(Unsupported):
            drive_of(server).drives()
        with pytest.raises(Unsupported):
            drive_of(server).watch("1", "my-drive", "c", "t", "https://hook.example/", 1)


def test_shared_drives_are_listed_to_the_last_page() -> None:
    """The second page of drives is as much the person's as the first."""
    pages = [{"drives": [{"id": "a", "name": "A"}], "nextPageToken": "2"}, {"drives": [{"id": "b", "name": "B"}]}]
    with Server(lambda r, line: line.json(pages["pageToken" in r.target])) as server:
        assert drive_of(server).drives() == [("a", "A"), ("b", "B")]


def test_who_it_is_and_where_the_log_stands() -> None:
    """The two smallest questions."""
    answers = {
        "about": {"user": {"emailAddress": "you@example.com", "displayName": "You"}},
        "changes": {"startPageToken": 7},
    }
    with Server(lambda r, line: line.json(answers["changes" if "startPageToken" in r.target else "about"])) as server:
        assert drive_of(server).about().email == "you@example.com"
        assert drive_of(server).start_page_token() == "7"


NATIVE = File(id="doc", name="Plan", mime_type=DOCUMENT, size=1)


def native_server(content: bytes, *faults: Respond | None) -> Respond:
    body = scripted(content, *faults)

    def respond(request: Request, line: Line) -> None:
        if "/export" in request.target:
            body(request._replace(headers={k: v for k, v in request.headers.items() if k != "range"}), line)
        else:
            line.json({"id": "doc", "name": "Plan", "mimeType": DOCUMENT, "size": "1"})

    return respond


def test_an_export_is_read_from_the_beginning_after_a_break() -> None:
    """Native files know neither Range nor length nor checksum."""
    with Server(native_server(CONTENT, None, partial(cut_after, after=2 * WINDOW + 9))) as server:
        drive = drive_of(server)
        source = drive.export(NATIVE, ["text/markdown"])
        assert content_of(source) == CONTENT
        second = drive.export(NATIVE, ["text/markdown"])
        assert content_of(second) == CONTENT

        assert (source.mime_type, second.requests, source.verify()) == ("text/markdown", 2, "length+revision")
        assert all("range" not in request.headers for request in server.requests)
    with Server(native_server(CONTENT)) as server:
        assert drive_of(server, hold_bytes=len(CONTENT)).export(NATIVE, ["x/y"]).seekable().read() == CONTENT
        with pytest.raises(Skipped):
            drive_of(server).export(NATIVE, ["x/y"]).seekable()


def test_an_export_above_ten_megabytes_is_prepared_and_streamed() -> None:
    """Drive refuses the plain export; the long-running download goes beyond."""
    polls: list[str] = []

    def respond(request: Request, line: Line) -> None:
        if "/export" in request.target:
            line.refuse(403, "exportSizeLimitExceeded")
        elif "/doc/download" in request.target:
            line.json({"name": "op/1"})
        elif "/operations/" in request.target:
            polls.append(request.target)
            done = {"done": True, "response": {"downloadUri": f"{server.url}/bytes", "partialDownloadAllowed": False}}
            line.json(done if len(polls) > 2 else {"name": "op/1"})
        else:
            line.answer(200, CONTENT)

    with Server(respond) as server:
        source = drive_of(server).export(NATIVE, ["text/markdown"])
        assert content_of(source) == CONTENT
        assert len(polls) == 3


@pytest.mark.parametrize(
    "uri", ["http://evil.example/x", "https://googleapis.com.evil.example/x", "http://a.googleapis.com/x"]
)
def test_a_prepared_download_elsewhere_is_not_followed(uri: str) -> None:
    """The address comes in an answer; the token goes to Google's own hosts only, and over https."""

    def respond(request: Request, line: Line) -> None:
        if "/export" in request.target:
            line.refuse(403, "exportSizeLimitExceeded")
        else:
            line.json({"name": "op1", "done": True, "response": {"downloadUri": uri}})

    with Server(respond) as server, pytest.raises(Unavailable) as raised:
        content_of(drive_of(server).export(NATIVE, ["text/markdown"]))
    assert raised.value.code == "foreign_redirect"


@pytest.mark.parametrize("status", [404, 400, 501])
def test_a_server_without_prepared_downloads_skips_with_the_reason(status: int) -> None:
    """The bound is named; the file is not tried for ever."""

    def respond(request: Request, line: Line) -> None:
        if "/export" in request.target:
            line.refuse(403, "exportSizeLimitExceeded")
        else:
            line.answer(status)

    with Server(respond) as server, pytest.raises(Skipped) as raised:
        content_of(drive_of(server).export(NATIVE, ["text/markdown"]))
    assert raised.value.code == "exportSizeLimitExceeded"


def test_a_doc_whose_pictures_make_it_too_large_comes_without_them() -> None:
    """Markdown carries a Doc's pictures; the same words as plain text are a thousandth of it."""

    def respond(request: Request, line: Line) -> None:
        if "mimeType=text%2Fplain" in request.target:
            line.answer(200, b"only words")
        elif "/export" in request.target:
            line.refuse(403, "exportSizeLimitExceeded")
        else:
            line.answer(501)

    with Server(respond) as server:
        source = drive_of(server).export(NATIVE, ["text/markdown", "text/plain"])
        assert content_of(source) == b"only words"
        assert (source.mime_type, source.requests) == ("text/plain", 2)


def test_an_export_that_is_too_large_to_hold_comes_in_a_format_that_streams() -> None:
    """A deck full of pictures cannot be held, and an export knows no Range: its words can be had all the same."""

    def respond(request: Request, line: Line) -> None:
        line.answer(200, b"its words" if "text%2Fplain" in request.target else CONTENT)

    with Server(respond) as server:
        source = drive_of(server).export(NATIVE, ["x/deck", "text/plain"])
        opened = Opened(source, seek_first=True)
        assert (opened.mime_type, opened.head) == ("text/plain", b"its words")
        assert [request.target.split("=")[-1] for request in server.requests] == ["x%2Fdeck", "text%2Fplain"]
        assert source.bytes_read < 5 * WINDOW + len(b"its words") + WINDOW, "no more than the bound is read in vain"
        with pytest.raises(Skipped) as raised:
            drive_of(server).export(NATIVE, ["x/deck"]).seekable()
        assert raised.value.code == "too_large"


SHEET = File(id="s1", name="Budget", mime_type=SPREADSHEET, resource_key="0-k")
ROWS = [["item", "cost"], *([f"bolt {number}", str(number)] for number in range(2, 2001)), [], ["last"]]


def sheets_server(sheet: dict[str, list[list[str]]], *, largest: int = 10**9, columns: int = 26) -> Respond:
    """A Drive that exports nothing, and the Sheets API beside it; an answer of more than `largest` rows is huge."""

    def respond(request: Request, line: Line) -> None:
        path = unquote(request.target.split("?")[0])
        if path == "/v4/spreadsheets/s1":
            line.json(
                {
                    "sheets": [
                        *(
                            {
                                "properties": {
                                    "title": name,
                                    "gridProperties": {"rowCount": len(rows) + 500, "columnCount": columns},
                                }
                            }
                            for name, rows in sheet.items()
                        ),
                        {"properties": {"title": "A chart", "sheetType": "OBJECT"}},
                    ]
                }
            )
        elif path.startswith("/v4/spreadsheets/s1/values/"):
            name, _, area = path.removeprefix("/v4/spreadsheets/s1/values/").rpartition("!")
            first, last = map(int, area.split(":"))
            rows = sheet[name[1:-1].replace("''", "'")][first - 1 : last]
            if last - first + 1 > largest:
                line.answer(200, b" " * (4 * 1024 * 1024 + 1))
            else:
                line.json({"values": rows} if rows else {})
        elif "/export" in path:
            line.refuse(403, "exportSizeLimitExceeded")
        elif "/download" in path:
            line.answer(501)
        else:
            line.json({"id": "s1", "name": "Budget", "mimeType": SPREADSHEET})

    return respond


def texts_of(source: DriveSource) -> list[Text]:
    """What the readers make of a source."""
    return [part for part in read(source, Limits()) if isinstance(part, Text)]


@pytest.mark.parametrize("largest", [10**9, 3])
def test_a_sheet_that_no_export_holds_is_read_tab_by_tab(largest: int) -> None:
    """Every tab with its rows at their numbers, however little fits into one answer."""
    rows = ROWS if largest > 3 else [*ROWS[:8], [], ["last"]]
    with Server(sheets_server({"Jan's": rows, "Empty": [], "Other": [["a\tb", "", "ü"]]}, largest=largest)) as server:
        source = drive_of(server).export(SHEET, ["x/xlsx", TABS])
        *first, other = texts_of(source)

        assert "".join(part.text for part in first) == "".join("\t".join(row) + "\n" for row in rows if row)
        assert {part.locator.sheet for part in first} == {"Jan's"}
        starts = [part.locator.row_first for part in first]
        assert starts == [1, *(int(part.text.split("\n")[0].split("\t")[1]) for part in first[1:])]
        assert first[-1].locator.row_last == len(rows)
        assert (other.text, other.locator.sheet, other.locator.row_first) == ("a\tb\t\tü\n", "Other", 1)
        assert (source.mime_type, source.verify()) == (TABS, "length+revision")
        asked = [request for request in server.requests if request.target.startswith("/v4/")]
        assert all(request.headers["x-goog-drive-resource-keys"] == "s1/0-k" for request in asked)
        assert len(asked) <= (12 if largest > 3 else 800)


def test_a_large_sheet_takes_few_requests() -> None:
    """The Sheets API counts them by the minute: answers that prove small are asked for in larger pieces."""
    rows = [[str(number)] for number in range(300_000)]
    with Server(sheets_server({"A": rows}, columns=5)) as server:
        content = content_of(drive_of(server).export(SHEET, [TABS]))
        assert content.endswith(b'[300000,"299999"]\n')
        assert len(server.requests) < 15


def test_a_later_life_of_a_sheet_goes_on_behind_what_it_had() -> None:
    """The rows before are asked for again; what is delivered begins where the earlier life ended."""
    with Server(sheets_server({"A": ROWS})) as server:
        whole = content_of(drive_of(server).export(SHEET, [TABS]))
        assert content_of(drive_of(server).export(SHEET, [TABS]), 777) == whole[777:]


def test_a_sheet_that_changes_while_its_rows_are_asked_for_is_begun_anew() -> None:
    """Rows of two revisions never become one text."""
    with Server(sheets_server({"A": ROWS})) as server:
        source = drive_of(server).export(replace(SHEET, modified_time=datetime(2026, 1, 1, tzinfo=UTC)), [TABS])
        content_of(source)
        with pytest.raises(Changed):
            source.verify()


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [(404, "notFound", "Split it"), (501, "", "Split it"), (403, "SERVICE_DISABLED", "operator"), (403, "x", "Split")],
)
def test_a_sheet_that_cannot_be_asked_for_its_rows_is_skipped_with_the_reason(
    status: int, reason: str, sentence: str
) -> None:
    """A server without the Sheets API, or a project in which it is off."""
    served = sheets_server({})

    def respond(request: Request, line: Line) -> None:
        line.refuse(status, reason) if request.target.startswith("/v4/") else served(request, line)

    with Server(respond) as server, pytest.raises(ExportTooLarge) as raised:
        content_of(drive_of(server).export(SHEET, ["x/xlsx", TABS]))
    assert sentence in raised.value.reason


def test_the_rows_of_an_outside_drive_are_not_asked_for_at_google() -> None:
    """The token of another server is nobody else's business."""
    here = Client(settings_for("http://127.0.0.1:9"), lambda fresh: "t", classify)
    google = Client(settings_for("https://www.googleapis.com"), lambda fresh: "t", classify)
    assert (tabs._origin(here), tabs._origin(google)) == ("http://127.0.0.1:9", "https://sheets.googleapis.com")


def test_threads_share_one_drive() -> None:
    """The framework serves several messages at once, and Google's own transport is not made for that."""
    with Server(lambda r, line: line.json(drive_json(id=r.target.split("/files/")[1].split("?")[0]))) as server:
        drive = drive_of(server)
        ids = [f"id{number}" for number in range(200)]
        with ThreadPoolExecutor(16) as threads:
            assert [file.id for file in threads.map(drive.file, ids)] == ids
        assert server.connections <= 16
