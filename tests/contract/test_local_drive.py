"""The folder served as Drive v3, spoken to by Google's own client library."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload  # noqa: TID251 - the client that we are compared with

from infra.local.google import GoogleServer
from infra.local.google.drive import METHODS
from infra.local.google.fields import discovery
from infra.local.google.items import Entry
from infra.local.google.layout import LayoutError
from infra.local.google.matching import match

ADA, GRACE = "ada@example.com", "grace@example.com"
PEOPLE = {
    "people": [
        {"email": ADA, "name": "Ada Lovelace", "folder": "ada"},
        {"email": GRACE, "name": "Grace Hopper", "folder": "grace"},
    ],
    "shared_drives": [{"name": "Team", "folder": "team", "members": [ADA]}],
    "files": {
        "ada/plan (copy).md": {"name": "plan.md"},
        "ada/old.txt": {"trashed": True},
        "ada/shown.md": {"shared_with": [GRACE]},
        "ada/locked.txt": {"can_download": False},
    },
}
ALL = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def team_folder(folder: Path) -> None:
    """Two people, a shared drive, and one file of every kind."""
    (folder / "grace").mkdir()
    write(
        folder,
        {
            ".drive.json": json.dumps(PEOPLE),
            "ada/plan.md": "# Plan",
            "ada/plan (copy).md": "# Other plan",
            "ada/old.txt": "old",
            "ada/shown.md": "for Grace",
            "ada/locked.txt": "look, do not take",
            "ada/notes/deep/a.csv": "a,b\n1,2\n",
            "ada/empty.txt": "",
            "ada/LICENSE": "free",
            "ada/data.unknown": b"\0\1\2",
            "ada/Report.gdoc": "# Report\n\nThe **turbine** is *fine*.\n\n- one\n- two\n",
            "ada/Budget.gsheet": json.dumps(
                {
                    "sheets": [
                        {"name": "A", "rows": [["item", "cost"], ["bolt & nut", 2.5]]},
                        {"name": "B", "rows": [[1]]},
                    ]
                }
            ),
            "ada/Talk.gslides": json.dumps({"slides": [{"title": "Hello", "body": "World", "notes": "Smile"}]}),
            "ada/Draw.gdraw": "<svg xmlns='http://www.w3.org/2000/svg'><text>arrow</text></svg>",
            "ada/Form.gform": "{}",
            "ada/To plan.gshortcut": json.dumps({"target": "ada/plan.md"}),
            "ada/Lost.gshortcut": json.dumps({"target": "ada/nowhere.md"}),
            "grace/secret.md": "only Grace",
            "team/minutes.md": "we met",
        },
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "drive"
    path.mkdir()
    return path


@pytest.fixture
def serve(tmp_path: Path, folder: Path) -> Iterator[Callable[..., GoogleServer]]:
    """Start servers over the folder; the same data directory each time, as after a restart."""
    servers = []

    def start(port: int = 0, **options: Any) -> GoogleServer:
        server = GoogleServer(folder, tmp_path / "data", **{"scan_seconds": 0.1, **options})
        servers.append(server)
        server.start(port)
        return server

    yield start
    for server in servers:
        server.stop()


def token_of(text: str) -> Credentials:
    return Credentials(text)  # type: ignore[no-untyped-call]


def client(server: GoogleServer, email: str = "you@example.com", scopes: str | None = None) -> Any:
    """Google's client with a plain access token."""
    token = (server.grant(email, scopes) if scopes else server.grant(email))["access_token"]
    options = {"api_endpoint": server.url + "/drive/v3/"}
    return build("drive", "v3", static_discovery=True, credentials=token_of(token), client_options=options)


def header(server: GoogleServer, email: str = "you@example.com") -> dict[str, str]:
    return {"Authorization": f"Bearer {server.grant(email)['access_token']}"}


def names(api: Any, **query: Any) -> list[str]:
    return sorted(file["name"] for file in api.files().list(pageSize=1000, **query).execute()["files"])


def drain(api: Any, token: str, **query: Any) -> tuple[list[dict[str, Any]], str]:
    """All changes after a token, and the token for next time."""
    changes: list[dict[str, Any]] = []
    while True:
        answer = api.changes().list(pageToken=token, pageSize=2, fields="*", **query).execute()
        changes += answer["changes"]
        if "newStartPageToken" in answer:
            assert "nextPageToken" not in answer
            return changes, answer["newStartPageToken"]
        token = answer["nextPageToken"]


def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def reason(error: pytest.ExceptionInfo[HttpError]) -> tuple[int, str]:
    return error.value.resp.status, error.value.error_details[0]["reason"]


class Sink:
    """An HTTP door that notes the notifications that reach it."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: list[int] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sink.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                sink.requests.append(dict(self.headers))
                self.send_response(sink.answers.pop(0) if sink.answers else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def states(self) -> list[str]:
        return [request["X-Goog-Resource-State"] for request in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    door = Sink()
    yield door
    door.close()


# The surface


def schema_faults(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    """Where an answer is not what the discovery document says."""
    if "$ref" in schema:
        schema = discovery()["schemas"][schema["$ref"]]
    if schema.get("type") == "any":
        return []
    if isinstance(value, list):
        return [f for one in value for f in schema_faults(one, schema["items"], where + "[]")]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        faults = []
        for name, inner in value.items():
            if name not in known and "additionalProperties" not in schema:
                faults.append(f"{where}.{name} does not exist")
            else:
                faults += schema_faults(inner, known.get(name, schema.get("additionalProperties")), f"{where}.{name}")
        return faults
    expected = {"string": str, "boolean": bool, "integer": int}[schema["type"]]
    faults = [] if type(value) is expected else [f"{where} is a {type(value).__name__}, not {schema['type']}"]
    if schema.get("format") in ("int64", "uint64") and not re.fullmatch(r"-?\d+", str(value)):
        faults.append(f"{where} is no number")
    if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(value)):
        faults.append(f"{where} is no RFC 3339 time")
    return faults


def test_every_path_and_parameter_we_serve_exists_in_google_s_discovery_document() -> None:
    """A stand-in with a surface of its own would let code pass that Google refuses."""
    for method in METHODS:
        resource, name = method.id.split(".")
        known = discovery()["resources"][resource]["methods"][name]
        assert (known["httpMethod"], known["path"]) == (method.verb, method.path)
        assert method.parameters <= set(known.get("parameters", {}))
        assert known.get("response", {"$ref": ""})["$ref"] in (method.schema, "Operation")


def test_every_field_we_serve_exists_in_google_s_discovery_document(
    serve: Callable[..., GoogleServer], folder: Path, sink: Sink
) -> None:
    """Names and types are Google's, for every kind of file and for every answer."""
    team_folder(folder)
    server = serve()
    answers: list[tuple[str, Any]] = []
    for email in (ADA, GRACE):
        api = client(server, email)
        answers.append(("About", api.about().get(fields="*").execute()))
        answers.append(("FileList", api.files().list(corpora="allDrives", fields="*", **ALL).execute()))
        answers.append(("ChangeList", api.changes().list(pageToken="1", fields="*", **ALL).execute()))
        answers.append(("StartPageToken", api.changes().getStartPageToken().execute()))
        answers.append(("DriveList", api.drives().list(fields="*").execute()))
    api = client(server, ADA)
    answers.append(("File", api.files().get(fileId="root", fields="*").execute()))
    operation = api.files().download(fileId=server.id_of("ada/Report.gdoc")).execute()
    answers += [("Operation", operation), ("Operation", api.operations().get(name=operation["name"]).execute())]
    body = {"id": "c", "type": "web_hook", "address": sink.url, "token": "t"}
    answers.append(("Channel", api.changes().watch(pageToken="1", body=body).execute()))

    faults = [fault for schema, answer in answers for fault in schema_faults(answer, {"$ref": schema}, schema)]

    assert faults == []
    assert {kind for kind, answer in answers if answer} >= {"About", "FileList", "ChangeList", "DriveList", "Channel"}


def test_only_the_fields_that_were_asked_for_are_answered(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """A client that forgets a field must notice here, not in production."""
    write(folder, {"a/x.md": "hello"})
    server = serve()
    api = client(server)
    file_id = server.id_of("a/x.md")

    assert set(api.files().get(fileId=file_id).execute()) == {"kind", "id", "name", "mimeType"}
    listed = (
        api.files().list(q="name = 'x.md'", fields="files(id,owners/emailAddress,capabilities(canDownload))").execute()
    )
    assert listed == {
        "files": [
            {"id": file_id, "owners": [{"emailAddress": "you@example.com"}], "capabilities": {"canDownload": True}}
        ]
    }
    assert set(api.files().list().execute()["files"][0]) == {"kind", "id", "name", "mimeType"}
    with pytest.raises(HttpError) as error:
        api.files().get(fileId=file_id, fields="id,checksum").execute()
    assert reason(error) == (400, "invalidParameter")
    with pytest.raises(HttpError) as error:
        api.about().get().execute()
    assert reason(error) == (400, "required")


def test_binary_files_have_checksums_and_native_ones_have_not(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """What identifies content differs by kind, and a reader must cope with both."""
    team_folder(folder)
    server = serve()
    api = client(server, ADA)

    def get(path: str) -> dict[str, Any]:
        return dict(api.files().get(fileId=server.id_of(path), fields="*").execute())

    plan, report, shortcut, lost = (
        get(f"ada/{name}") for name in ("plan.md", "Report.gdoc", "To plan.gshortcut", "Lost.gshortcut")
    )
    assert (plan["size"], plan["md5Checksum"]) == ("6", hashlib.md5(b"# Plan").hexdigest())
    assert plan["sha256Checksum"] == hashlib.sha256(b"# Plan").hexdigest()
    assert plan["headRevisionId"]
    assert plan["mimeType"] == "text/markdown"
    assert report["name"] == "Report"
    assert report["mimeType"] == "application/vnd.google-apps.document"
    assert not {"md5Checksum", "headRevisionId", "webContentLink", "fileExtension"} & set(report)
    assert "size" in report
    assert shortcut["shortcutDetails"] == {"targetId": plan["id"], "targetMimeType": "text/markdown"}
    assert "size" not in shortcut
    assert api.files().get(fileId=server.id_of("ada/LICENSE")).execute()["mimeType"] == "text/plain"
    assert re.fullmatch(r"[A-Za-z0-9_-]{33}", plan["id"])
    with pytest.raises(HttpError) as error:
        api.files().get(fileId=lost["shortcutDetails"]["targetId"]).execute()
    assert reason(error) == (404, "notFound")


def test_queries_of_real_clients_are_understood(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """files.list is how a first sync finds everything, and how it leaves the trash out."""
    team_folder(folder)
    write(folder, {"ada/it's.txt": "x"})
    server = serve()
    api = client(server, ADA)
    notes = server.id_of("ada/notes")

    assert names(api, q="name = 'plan.md'") == ["plan.md", "plan.md"]
    assert names(api, q="trashed = true") == ["old.txt"]
    assert "old.txt" not in names(api, q="trashed=false")
    assert "old.txt" in names(api)
    assert names(api, q=f"'{notes}' in parents and trashed = false") == ["deep"]
    assert "plan.md" in names(api, q="'root' in parents")
    assert names(api, q=r"name contains 'it\'s'") == ["it's.txt"]
    either = "mimeType = 'text/csv' or (mimeType contains 'application/vnd.google-apps.f' and not starred=true)"
    assert names(api, q=either) == ["Form", "a.csv", "deep", "notes"]
    assert names(api, q="modifiedTime > '2100-01-01T00:00:00'") == []
    assert names(api, q=f"'{GRACE}' in readers and 'me' in owners") == ["shown.md"]
    assert names(client(server, GRACE), q="sharedWithMe = true") == ["shown.md"]
    for wrong in ("name ~ 'x'", "(name = 'x'", "nonsense", "name = 'x' and", "trashed > true"):
        with pytest.raises(HttpError) as error:
            names(api, q=wrong)
        assert reason(error) == (400, "invalid")


def test_a_listing_goes_on_where_it_was_when_files_come_and_go(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """A first sync takes hours; what happens meanwhile must not make it skip or repeat a file."""
    write(folder, {f"f{number:03d}.txt": "x" for number in range(25)})
    server = serve()
    api = client(server)
    order = {"orderBy": "folder,name desc", "q": "trashed=false"}

    page = api.files().list(pageSize=10, **order).execute()
    seen = [file["name"] for file in page["files"]]
    (folder / "f020.txt").unlink()
    write(folder, {"zz.txt": "new"})
    server.scan()
    while "nextPageToken" in page:
        page = api.files().list(pageSize=10, pageToken=page["nextPageToken"], **order).execute()
        seen += [file["name"] for file in page["files"]]

    assert seen == [f"f{number:03d}.txt" for number in range(24, -1, -1)]
    for wrong in ("nonsense", "W10", "WyJ4IiwgW11d"):
        with pytest.raises(HttpError) as error:
            api.files().list(pageToken=wrong, **order).execute()
        assert reason(error) == (400, "invalid")


# Content


def test_content_comes_whole_or_by_range(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Resuming a broken download is only right if the server's ranges are."""
    content = os.urandom(300_000)
    write(folder, {"a.bin": content, "empty.bin": b""})
    server = serve()
    url = f"{server.url}/drive/v3/files/{server.id_of('a.bin')}?alt=media"
    auth = header(server)
    empty = f"{server.url}/drive/v3/files/{server.id_of('empty.bin')}?alt=media"

    def get(address: str, **more: str) -> requests.Response:
        return requests.get(address, headers={**auth, **more}, timeout=10)

    assert get(url).content == content
    part = get(url, Range="bytes=100-299")
    assert (part.status_code, part.content) == (206, content[100:300])
    assert part.headers["Content-Range"] == "bytes 100-299/300000"
    assert get(url, Range="bytes=299990-").content == content[299_990:]
    assert get(url, Range="bytes=-10").content == content[-10:]
    assert get(url, Range="bytes=299999-400000").content == content[-1:]
    beyond = get(url, Range="bytes=300000-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */300000")
    assert get(url, Range="bytes=0-1,5-6").status_code == 200
    assert get(url, Range="lines=1-2").content == content
    assert (get(empty).status_code, get(empty).content) == (200, b"")
    assert get(empty, Range="bytes=0-").status_code == 416


def test_google_s_own_downloader_reads_a_file_in_pieces(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """The seed's way of reading works here as it does at Google."""
    content = os.urandom(700_000)
    write(folder, {"a.bin": content})
    server = serve()
    out = io.BytesIO()

    download = MediaIoBaseDownload(out, client(server).files().get_media(fileId=server.id_of("a.bin")), 256 * 1024)
    done = False
    while not done:
        _, done = download.next_chunk()

    assert out.getvalue() == content
    assert server.faults.calls["files.media"] == 3


def test_a_file_that_is_edited_while_it_is_sent_never_arrives_mixed(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """Drive serves one revision; half of each would be indexed as if somebody had written it."""
    write(folder, {"a.bin": b"a" * 200_000})
    server = serve()
    server.faults.drip(20_000)
    url = f"{server.url}/drive/v3/files/{server.id_of('a.bin')}?alt=media"
    answer = requests.get(url, headers=header(server), stream=True, timeout=10)
    begin = next(answer.iter_content(1000))

    with (folder / "a.bin").open("r+b") as file:
        file.write(b"b" * 200_000)

    assert begin == b"a" * 1000
    with pytest.raises(requests.exceptions.RequestException):
        answer.content  # noqa: B018 - reading the rest is what fails


def test_native_files_are_exported_in_the_formats_that_are_offered(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """The text of Docs, Sheets and Slides comes by export only."""
    team_folder(folder)
    server = serve()
    api = client(server, ADA)
    offered = api.about().get(fields="exportFormats").execute()["exportFormats"]

    def export(name: str, kind: str) -> bytes:
        return bytes(api.files().export(fileId=server.id_of(f"ada/{name}"), mimeType=kind).execute())

    assert export("Report.gdoc", "text/markdown").decode().startswith("# Report")
    assert (
        export("Report.gdoc", "text/plain")
        == b"\xef\xbb\xbf" + b"Report\r\n\r\nThe turbine is *fine*.\r\n\r\n- one\r\n- two\r\n"
    )
    assert b"<h1>Report</h1>" in export("Report.gdoc", "text/html")
    assert export("Budget.gsheet", "text/csv") == b"item,cost\r\nbolt & nut,2.5\r\n"
    assert b"World" in export("Talk.gslides", "text/plain")
    assert b"Smile" not in export("Talk.gslides", "text/plain"), "Google promises no speaker notes there"
    deck = next(kind for kind in offered["application/vnd.google-apps.presentation"] if "openxml" in kind)
    with zipfile.ZipFile(io.BytesIO(export("Talk.gslides", deck))) as slides:
        assert "World" in slides.read("ppt/slides/slide1.xml").decode()
        assert "Smile" in slides.read("ppt/notesSlides/notesSlide1.xml").decode()
    assert b"arrow" in export("Draw.gdraw", "image/svg+xml")
    sheet = next(kind for kind in offered["application/vnd.google-apps.spreadsheet"] if "openxml" in kind)
    with zipfile.ZipFile(io.BytesIO(export("Budget.gsheet", sheet))) as book:
        assert "bolt &amp; nut" in book.read("xl/worksheets/sheet1.xml").decode()
        assert "xl/worksheets/sheet2.xml" in book.namelist()
    word = next(kind for kind in offered["application/vnd.google-apps.document"] if "openxml" in kind)
    with zipfile.ZipFile(io.BytesIO(export("Report.gdoc", word))) as document:
        assert "turbine" in document.read("word/document.xml").decode()


def test_what_cannot_be_downloaded_says_why(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Each reason of the error table leads to another sentence for the person."""
    team_folder(folder)
    write(folder, {"ada/Huge.gdoc": "word " * 2_200_000})
    server = serve()
    files = client(server, ADA).files()

    def refused(call: Any) -> tuple[int, str]:
        with pytest.raises(HttpError) as error:
            call.execute()
        return reason(error)

    report, plan, form = (server.id_of(f"ada/{name}") for name in ("Report.gdoc", "plan.md", "Form.gform"))
    huge, locked = server.id_of("ada/Huge.gdoc"), server.id_of("ada/locked.txt")
    assert refused(files.get_media(fileId=report)) == (403, "fileNotDownloadable")
    assert refused(files.get_media(fileId=server.id_of("ada/notes"))) == (403, "fileNotDownloadable")
    assert refused(files.export(fileId=plan, mimeType="text/plain")) == (403, "fileNotExportable")
    assert refused(files.export(fileId=form, mimeType="text/plain")) == (403, "fileNotExportable")
    assert refused(files.export(fileId=report, mimeType="video/mp4")) == (400, "badRequest")
    assert refused(files.export(fileId=huge, mimeType="text/markdown")) == (403, "exportSizeLimitExceeded")
    assert refused(files.get_media(fileId=locked)) == (403, "cannotDownloadFile")
    assert refused(files.get(fileId="nothing")) == (404, "notFound")
    assert files.get(fileId=locked, fields="capabilities").execute()["capabilities"]["canDownload"] is False


def test_a_native_file_above_the_export_limit_comes_by_a_long_running_download(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """10 MB is no end: files.download gives the rest."""
    text = "word " * 2_200_000
    write(folder, {"Huge.gdoc": text, "b.bin": b"12345"})
    server = serve()
    api = client(server)

    begun = api.files().download(fileId=server.id_of("Huge.gdoc"), mimeType="text/markdown").execute()
    done = api.operations().get(name=begun["name"]).execute()
    blob = api.operations().get(name=api.files().download(fileId=server.id_of("b.bin")).execute()["name"]).execute()

    assert begun["done"] is False
    assert done["done"] is True
    assert done["response"]["partialDownloadAllowed"] is False
    auth = header(server)
    answer = requests.get(done["response"]["downloadUri"], headers=auth, timeout=30)
    assert answer.text == text
    assert "Content-Length" not in answer.headers
    part = requests.get(blob["response"]["downloadUri"], headers={**auth, "Range": "bytes=1-2"}, timeout=10)
    assert (part.status_code, part.content) == (206, b"23")
    assert requests.get(done["response"]["downloadUri"], timeout=10).status_code == 401
    stranger = header(server, "guest@example.com")
    assert requests.get(done["response"]["downloadUri"], headers=stranger, timeout=10).status_code == 404


def test_a_sheets_rows_are_given_by_tab(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """What no export holds can still be asked for, as at Google's Sheets API."""
    team_folder(folder)
    server = serve()
    options = {"api_endpoint": server.url + "/"}
    token = token_of(server.grant(ADA)["access_token"])
    api = build("sheets", "v4", static_discovery=True, credentials=token, client_options=options).spreadsheets()
    budget = server.id_of("ada/Budget.gsheet")

    tabs = [one["properties"] for one in api.get(spreadsheetId=budget).execute()["sheets"]]
    rows = api.values().get(spreadsheetId=budget, range="'A'!2:1000").execute()

    assert [(tab["title"], tab["gridProperties"]["rowCount"]) for tab in tabs] == [("A", 1000), ("B", 1000)]
    assert rows["values"] == [["bolt & nut", "2.5"]]
    assert "values" not in api.values().get(spreadsheetId=budget, range="'B'!2:3").execute()
    for call, status in (
        (api.values().get(spreadsheetId=budget, range="'C'!1:2"), 400),
        (api.get(spreadsheetId=server.id_of("ada/plan.md")), 400),
        (api.get(spreadsheetId="nothing"), 404),
    ):
        with pytest.raises(HttpError) as error:
            call.execute()
        assert error.value.resp.status == status


# Who sees what


def test_two_people_never_see_each_other_s_files(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """A stand-in that leaks would hide a leak of ours."""
    team_folder(folder)
    server = serve()
    ada, grace = client(server, ADA), client(server, GRACE)
    hers, his, team = server.id_of("ada/plan.md"), server.id_of("grace/secret.md"), server.id_of("team/minutes.md")

    everything = {"corpora": "allDrives", **ALL}
    assert names(grace, **everything) == ["secret.md", "shown.md"]
    assert "secret.md" not in names(ada, **everything)
    assert "minutes.md" in names(ada, **everything)
    assert "minutes.md" not in names(ada)
    for api, file_id in ((grace, hers), (ada, his), (grace, team)):
        for call in (
            api.files().get(fileId=file_id, supportsAllDrives=True),
            api.files().get_media(fileId=file_id, supportsAllDrives=True),
            api.files().download(fileId=file_id),
            api.files().export(fileId=file_id, mimeType="text/plain"),
        ):
            with pytest.raises(HttpError) as error:
                call.execute()
            assert reason(error) == (404, "notFound")
    logged = {change["fileId"] for change in drain(grace, "1", **ALL)[0]}
    assert logged == {his, server.id_of("ada/shown.md")}
    shown = grace.files().get(fileId=server.id_of("ada/shown.md"), fields="*").execute()
    assert shown["ownedByMe"] is False
    assert "parents" not in shown


def test_a_file_shared_by_its_link_is_listed_for_nobody_and_opened_with_its_key(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """A shortcut tells the key; without it Drive does not say that the file is there."""
    team_folder(folder)
    write(folder, {"grace/To locked.gshortcut": json.dumps({"target": "ada/old.txt"})})
    server = serve()
    old = server.id_of("ada/old.txt")
    server.edit(old, link_shared=True)
    files = client(server, GRACE).files()
    shortcut = files.get(fileId=server.id_of("grace/To locked.gshortcut"), fields="shortcutDetails").execute()
    key = shortcut["shortcutDetails"]["targetResourceKey"]

    def with_key(call: Any) -> Any:
        call.headers["X-Goog-Drive-Resource-Keys"] = f"{old}/{key}"
        return call.execute()

    assert old not in {file["id"] for file in files.list(pageSize=100).execute()["files"]}
    with pytest.raises(HttpError) as error:
        files.get(fileId=old).execute()
    assert reason(error) == (404, "notFound")
    assert with_key(files.get(fileId=old, fields="name,resourceKey")) == {"name": "old.txt", "resourceKey": key}
    assert with_key(files.get_media(fileId=old)) == b"old"


def test_a_shared_drive_has_its_own_list_and_its_own_change_log(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """The person's own log does not keep a shared drive right; joining one is a single entry."""
    team_folder(folder)
    server = serve()
    ada, grace = client(server, ADA), client(server, GRACE)
    team = ada.drives().list().execute()["drives"][0]
    minutes = server.id_of("team/minutes.md")
    in_team = {"driveId": team["id"], **ALL}
    _, token = drain(ada, "1", **in_team)
    _, own = drain(ada, "1", **ALL)
    _, hers = drain(grace, "1", **ALL)

    write(folder, {"team/minutes.md": "we met again"})
    server.scan()
    joined = {**PEOPLE, "shared_drives": [{"name": "Team", "folder": "team", "members": [ADA, GRACE]}]}
    write(folder, {".drive.json": json.dumps(joined)})
    server.scan()

    assert names(ada, corpora="drive", **in_team) == ["minutes.md"]
    assert [change["fileId"] for change in drain(ada, token, **in_team)[0]] == [minutes]
    assert drain(ada, own, **ALL)[0] == []
    changes = drain(grace, hers, **ALL)[0]
    assert [(change["changeType"], change["driveId"]) for change in changes] == [("drive", team["id"])]
    file = grace.files().get(fileId=minutes, fields="*", supportsAllDrives=True).execute()
    assert (file["driveId"], file["parents"]) == (team["id"], [team["id"]])
    assert "owners" not in file
    with pytest.raises(HttpError) as error:
        ada.files().get(fileId=minutes).execute()
    assert reason(error) == (404, "notFound")
    with pytest.raises(HttpError) as error:
        ada.files().list(corpora="drive", driveId=team["id"]).execute()
    assert error.value.resp.status == 400


def test_opening_a_source_shows_a_page_to_the_person_who_was_given_the_link(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """A search result leads to its file, in the browser, safely."""
    write(folder, {"a/<b>.md": "<script>alert(1)</script> tur\u00adbine", "evil.html": "<script>x</script>"})
    server = serve()
    files = client(server).files()
    link = files.get(fileId=server.id_of("a/<b>.md"), fields="webViewLink").execute()["webViewLink"]
    evil = files.get(fileId=server.id_of("evil.html"), fields="webViewLink").execute()["webViewLink"]

    page = requests.get(link, timeout=10)
    assert page.status_code == 200
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script" not in page.text
    assert "&lt;b&gt;.md" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert requests.get(link.replace("you%40", "guest%40"), timeout=10).status_code == 404
    assert requests.get(link.split("?")[0], timeout=10).status_code == 404
    raw = requests.get(evil.replace("?", "/raw?"), timeout=10)
    assert raw.headers["Content-Type"].startswith("text/html")
    assert "sandbox" in raw.headers["Content-Security-Policy"]


def test_a_bad_token_or_a_missing_permission_is_refused(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """401 means refresh, 403 with insufficientPermissions means connect again."""
    write(folder, {"a.txt": "x"})
    server = serve()
    file_id = server.id_of("a.txt")
    url = f"{server.url}/drive/v3/files/{file_id}"

    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}):
        answer = requests.get(url, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (401, "authError")
    metadata = client(server, scopes="https://www.googleapis.com/auth/drive.metadata.readonly")
    assert metadata.files().get(fileId=file_id).execute()["name"] == "a.txt"
    with pytest.raises(HttpError) as error:
        metadata.files().get_media(fileId=file_id).execute()
    assert reason(error) == (403, "insufficientPermissions")
    with pytest.raises(HttpError) as error:
        client(server, scopes="openid").files().list().execute()
    assert reason(error) == (403, "insufficientPermissions")
    assert requests.delete(url, headers=header(server), timeout=10).status_code == 404
    assert (folder / "a.txt").exists()


def test_a_batch_answers_each_call_by_itself(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Google's client may ask for a hundred files at once."""
    write(folder, {"a.txt": "x", "b.txt": "y"})
    server = serve()
    api = client(server)
    got: dict[str, Any] = {}
    batch = api.new_batch_http_request(callback=lambda name, answer, error: got.update({name: error or answer}))
    batch._batch_uri = server.url + "/batch/drive/v3"

    batch.add(api.files().get(fileId=server.id_of("a.txt")), request_id="a")
    batch.add(api.files().get(fileId="nothing"), request_id="none")
    batch.add(api.files().list(q="name = 'b.txt'"), request_id="list")
    batch.execute()

    assert got["a"]["name"] == "a.txt"
    assert got["none"].resp.status == 404
    assert [file["name"] for file in got["list"]["files"]] == ["b.txt"]


# Ids and changes


def test_a_file_keeps_its_id_through_edits_renames_moves_and_its_return(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """An id that changes would read and pay for a file again, and leave its old passages behind."""
    write(
        folder,
        {"a/x.md": "first version", "b/keep.md": "other", "c/copied.md": "copied content", "d/e/deep.md": "deep"},
    )
    server = serve(scan_seconds=60)
    api = client(server)
    file_id, copied, deep = server.id_of("a/x.md"), server.id_of("c/copied.md"), server.id_of("d/e/deep.md")
    revisions = []

    def look() -> dict[str, Any]:
        server.scan()
        file = dict(api.files().get(fileId=file_id, fields="name,version,headRevisionId,parents").execute())
        revisions.append((int(file["version"]), file["headRevisionId"]))
        return file

    look()
    write(folder, {"a/x.md": "second version"})
    look()
    write(folder, {"a/x.tmp": "third version!"})
    server.scan()
    (folder / "a/x.tmp").replace(folder / "a/x.md")
    look()
    (folder / "a/x.md").rename(folder / "a/y.md")
    assert look()["name"] == "y.md"
    (folder / "a/y.md").rename(folder / "b/y.md")
    assert look()["parents"] == [server.id_of("b")]
    (folder / "d").rename(folder / "renamed")
    shutil.copy(folder / "c/copied.md", folder / "b/elsewhere.md")
    (folder / "c/copied.md").unlink()
    server.index.hash_some(5)
    server.scan()
    assert server.id_of("renamed/e/deep.md") == deep
    (folder / "b/y.md").rename(folder.parent / "outside.md")
    server.scan()
    with pytest.raises(HttpError) as error:
        api.files().get(fileId=file_id).execute()
    assert reason(error) == (404, "notFound")
    (folder.parent / "outside.md").rename(folder / "b/y.md")
    look()

    versions = [version for version, _ in revisions]
    assert versions == sorted(set(versions))
    assert len({revision for _, revision in revisions}) == 3
    assert revisions[-1][1] == revisions[2][1]
    assert copied


def test_a_copied_and_deleted_file_is_a_moved_one(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Moving between file systems is copying and deleting; the content tells that it is the same file."""
    write(folder, {"a.md": "the very same content"})
    server = serve(scan_seconds=60)
    file_id = server.id_of("a.md")
    client(server).files().get(fileId=file_id, fields="md5Checksum").execute()

    write(folder, {"b.md": "the very same content"})
    (folder / "a.md").unlink()
    server.scan()

    assert server.id_of("b.md") == file_id


def test_files_that_change_places_keep_their_ids(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Two renames within one look are two renames, not two edits; an editor's backup is an edit."""
    write(folder, {"a.md": "I am A", "b.md": "I am B", "doc.md": "draft"})
    server = serve(scan_seconds=60)
    time.sleep(0.05)  # lets the time stamps age, so that a look trusts them
    server.scan()
    a, b, doc = server.id_of("a.md"), server.id_of("b.md"), server.id_of("doc.md")

    (folder / "a.md").rename(folder / "t")
    (folder / "b.md").rename(folder / "a.md")
    (folder / "t").rename(folder / "b.md")
    (folder / "doc.md").rename(folder / "doc.md~")
    write(folder, {"doc.md": "final"})
    server.scan()

    assert (server.id_of("a.md"), server.id_of("b.md")) == (b, a)
    assert server.id_of("doc.md") == doc
    assert server.id_of("doc.md~") != doc


def test_a_used_up_inode_is_not_taken_for_a_move(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """A file system gives a deleted file's inode to the next new file: another file, not a renamed one."""
    write(folder, {"a.md": "gone"})
    server = serve(scan_seconds=60)
    item = next(iter(server.index.items()))
    moved = Entry("b.md", ".", item.space, False, item.inode, item.size, item.mtime_ns)

    assert match({"b.md": moved}, [item], [], folder) == {"b.md": item}
    assert match({"b.md": moved._replace(mtime_ns=item.mtime_ns + 1)}, [item], [], folder) == {}


def test_an_edit_that_leaves_size_and_time_stamp_alike_is_seen(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """Two edits within one tick of the clock must not look like one."""
    write(folder, {"a.md": "0000"})
    server = serve(scan_seconds=60)
    file_id = server.id_of("a.md")

    def edit(text: str, stamp: int) -> int:
        (folder / "a.md").write_text(text)
        os.utime(folder / "a.md", ns=(stamp, stamp))
        server.scan()
        item = server.index.item(file_id)
        assert item is not None
        return item.revision

    while True:
        now = time.time_ns()
        first = edit("1111", now)
        if time.time_ns() - now < 20_000_000:  # else the machine was too slow to look within the tick
            break
    assert edit("2222", now) == first + 1


def test_the_change_log_says_what_is_true_now(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Older entries of a file are replaced; removal shows an id only; the trash is not removal."""
    write(folder, {"a.md": "a", "b.md": "b", "box/c.md": "c"})
    server = serve(scan_seconds=60)
    api = client(server)
    ids = {name: server.id_of(name) for name in ("a.md", "b.md", "box", "box/c.md")}
    start = api.changes().getStartPageToken().execute()["startPageToken"]
    assert drain(api, start)[0] == []

    write(folder, {"a.md": "a2"})
    server.scan()
    write(folder, {"a.md": "a3", "new.md": "n"})
    server.scan()
    (folder / "b.md").unlink()
    server.trash(ids["box"])
    changes, token = drain(api, start)

    by_id = {change["fileId"]: change for change in changes}
    assert len(by_id) == len(changes) == 5
    assert by_id[ids["a.md"]]["file"]["size"] == "2"
    assert by_id[ids["b.md"]]["removed"] is True
    assert "file" not in by_id[ids["b.md"]]
    assert by_id[ids["box"]]["file"]["explicitlyTrashed"] is True
    inner = by_id[ids["box/c.md"]]
    assert (inner["removed"], inner["file"]["trashed"], inner["file"]["explicitlyTrashed"]) == (False, True, False)
    assert drain(api, start, includeRemoved=False)[0] == [c for c in changes if not c["removed"]]
    server.untrash(ids["box"])
    assert {change["fileId"] for change in drain(api, token)[0]} == {ids["box"], ids["box/c.md"]}
    assert drain(api, start)[1] == drain(api, token)[1]
    for wrong in ("", "x", "-1", "0", "999999"):
        with pytest.raises(HttpError) as error:
            api.changes().list(pageToken=wrong).execute()
        assert error.value.resp.status == 400


def test_sharing_and_taking_back_are_changes_of_the_other_person(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """Lost access must reach the person who lost it as a removal, and only them."""
    team_folder(folder)
    server = serve()
    grace = client(server, GRACE)
    file_id = server.id_of("ada/plan.md")
    token = grace.changes().getStartPageToken().execute()["startPageToken"]

    server.share(file_id, GRACE)
    shared, token = drain(grace, token)
    assert grace.files().get(fileId=file_id).execute()["name"] == "plan.md"
    assert drain(grace, str(int(token) - 1), restrictToMyDrive=True)[0] == []
    server.share(file_id)
    taken, _ = drain(grace, token)

    assert [(change["fileId"], change["removed"]) for change in shared] == [(file_id, False)]
    assert [(change["fileId"], change["removed"]) for change in taken] == [(file_id, True)]
    assert client(server, ADA).files().get(fileId=file_id).execute()["name"] == "plan.md"


def test_a_new_time_stamp_alone_is_no_new_content(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """`touch` must not cost a read; two quick edits of one length must not look like one."""
    write(folder, {"a.md": "same"})
    server = serve(scan_seconds=60)
    api = client(server)
    file_id = server.id_of("a.md")
    fields = "headRevisionId,md5Checksum,version,modifiedTime"
    before = api.files().get(fileId=file_id, fields=fields).execute()

    os.utime(folder / "a.md", (1_000_000_000, 1_000_000_000))
    touched = api.files().get(fileId=file_id, fields=fields).execute()
    stamps = []
    for letter in "abcdefgh":
        write(folder, {"a.md": letter * 4})
        stamps.append(api.files().get(fileId=file_id, fields=fields).execute()["headRevisionId"])

    assert touched["headRevisionId"] == before["headRevisionId"]
    assert touched["modifiedTime"] == "2001-09-09T01:46:40.000Z"
    assert int(touched["version"]) > int(before["version"])
    assert len(set(stamps)) == 8


def test_what_happened_while_the_server_was_down_is_in_the_log_afterwards(
    serve: Callable[..., GoogleServer], folder: Path
) -> None:
    """Tokens do not expire, and no edit is lost between two runs."""
    write(folder, {"a.md": "a", "b.md": "b", "c.md": "c"})
    server = serve()
    a, b, c = (server.id_of(name) for name in ("a.md", "b.md", "c.md"))
    token = client(server).changes().getStartPageToken().execute()["startPageToken"]
    server.stop()

    write(folder, {"a.md": "changed"})
    (folder / "b.md").unlink()
    (folder / "c.md").rename(folder / "d.md")
    api = client(serve())

    changes = {change["fileId"]: change for change in drain(api, token)[0]}
    assert set(changes) == {a, b, c}
    assert changes[b]["removed"] is True
    assert changes[c]["file"]["name"] == "d.md"


def test_symlinks_are_not_followed_and_the_layout_file_is_not_listed(
    serve: Callable[..., GoogleServer], folder: Path, tmp_path: Path
) -> None:
    """A link out of the folder would serve files that nobody put into this Drive."""
    write(folder, {".drive.json": "{}", ".hidden": "dot", "a.md": "a"})
    write(tmp_path, {"outside/secret.md": "s"})
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "link.md").symlink_to(tmp_path / "outside/secret.md")
    (folder / "loop").symlink_to(folder)
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("latin")

    assert names(client(serve())) == [".hidden", "a.md", "caf\ufffd.txt"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"people": [{"name": "x"}]}', '{"files": {"../x": {}}}', '{"files": {"a": {"trash": true}}}'],
)  # fmt: skip
def test_a_layout_that_cannot_be_served_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    """The person who wrote it needs to know which file to mend."""
    write(tmp_path, {"drive/.drive.json": text})

    with pytest.raises(LayoutError) as error:
        GoogleServer(tmp_path / "drive", tmp_path / "data").start()

    assert ".drive.json" in str(error.value)


# Push


def test_an_edit_is_announced_by_a_push_with_google_s_headers(
    serve: Callable[..., GoogleServer], folder: Path, sink: Sink
) -> None:
    """The webhook sees what Google would send: sync first, then change, and never a body."""
    write(folder, {"a.md": "a"})
    server = serve()
    api = client(server)
    token = api.changes().getStartPageToken().execute()["startPageToken"]
    body = {"id": "channel-1", "type": "web_hook", "address": sink.url, "token": "secret"}

    channel = api.changes().watch(pageToken=token, body=body).execute()
    eventually(lambda: sink.states() == ["sync"])
    write(folder, {"a.md": "changed"})
    eventually(lambda: sink.states() == ["sync", "change"])

    sync, change = sink.requests
    assert int(sync["X-Goog-Message-Number"]) == 1 < int(change["X-Goog-Message-Number"])
    assert change["X-Goog-Channel-ID"] == "channel-1"
    assert change["X-Goog-Channel-Token"] == "secret"
    assert change["X-Goog-Resource-ID"] == channel["resourceId"]
    assert change["X-Goog-Resource-URI"] == channel["resourceUri"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", change["X-Goog-Channel-Expiration"])
    assert change["Content-Length"] == "0"
    assert sink.bodies == [b"", b""]
    assert 3_500_000 < int(channel["expiration"]) - time.time() * 1000 <= 3_600_000
    assert [entry["file"]["name"] for entry in drain(api, token)[0]] == ["a.md"]

    with pytest.raises(HttpError):
        client(server, "guest@example.com").channels().stop(body=channel).execute()
    api.channels().stop(body=channel).execute()
    write(folder, {"a.md": "changed again"})
    eventually(lambda: drain(api, token)[0][0]["file"]["version"] == "3")
    assert server._push.channels() == []
    assert sink.states() == ["sync", "change"]


def test_a_channel_obeys_google_s_rules(serve: Callable[..., GoogleServer], folder: Path, sink: Sink) -> None:
    """One hour unless asked, seven days at most, an id only once, an address that is HTTPS or stays on the machine."""
    write(folder, {"a.md": "a"})
    server = serve()
    api = client(server)

    def watch(channel_id: str, **more: Any) -> Any:
        body = {"id": channel_id, "type": "web_hook", "address": sink.url, **more}
        return api.changes().watch(pageToken="1", body=body).execute()

    far = watch("far", expiration=str(int((time.time() + 30 * 86_400) * 1000)))
    assert 604_700 < int(far["expiration"]) / 1000 - time.time() <= 604_800
    for arguments, expected in (
        ({"channel_id": "far"}, "channelIdNotUnique"),
        ({"channel_id": "x", "address": "http://example.com/hook"}, "push.webhookUrlNotHttps"),
        ({"channel_id": "x", "type": "carrier_pigeon"}, "push.channelTypeNotSupported"),
        ({"channel_id": "x", "token": "t" * 257}, "invalid"),
        ({"channel_id": "x", "expiration": "1000"}, "channelExpirationInPast"),
    ):
        with pytest.raises(HttpError) as error:
            watch(**arguments)
        assert reason(error) == (400, expected)
    watch("short")
    server.faults.clock_offset = 3_601
    assert [channel["id"] for channel in server._push.channels()] == ["far"]


def test_a_notification_is_tried_again_after_5xx_only(
    serve: Callable[..., GoogleServer], folder: Path, sink: Sink
) -> None:
    """A function that answers 5xx hears again; one that answers 4xx has refused."""
    write(folder, {"a.md": "a"})
    server = serve()
    server._push._retry_seconds = 0.02
    api = client(server)
    sink.answers = [503, 500, 204, 404]

    api.changes().watch(pageToken="1", body={"id": "c", "type": "web_hook", "address": sink.url}).execute()
    eventually(lambda: len(sink.requests) == 3)
    write(folder, {"a.md": "b"})
    eventually(lambda: len(sink.requests) == 4)
    write(folder, {"a.md": "c"})
    eventually(lambda: len(sink.requests) == 5)

    assert sink.states() == ["sync", "sync", "sync", "change", "change"]
    assert len({request["X-Goog-Message-Number"] for request in sink.requests}) == 3


def test_notifications_can_be_lost_late_or_repeated(
    serve: Callable[..., GoogleServer], folder: Path, sink: Sink
) -> None:
    """The faults that later tests rely on do happen."""
    write(folder, {"a.md": "a"})
    server = serve(scan_seconds=60)
    api = client(server)
    api.changes().watch(pageToken="1", body={"id": "c", "type": "web_hook", "address": sink.url}).execute()
    eventually(lambda: sink.states() == ["sync"])

    server.faults.lose_notifications()
    write(folder, {"a.md": "lost"})
    server.scan()
    eventually(lambda: server._push.channels()[0]["told"] == server.index.last_seq())
    server.faults.repeat_notifications(3)
    server.faults.delay_notifications(0.2)
    write(folder, {"a.md": "told"})
    began = time.monotonic()
    server.scan()
    eventually(lambda: len(sink.requests) == 4)

    assert time.monotonic() - began >= 0.2
    assert sink.states() == ["sync", "change", "change", "change"]


# Faults and kills


def test_errors_are_injected_with_their_reasons(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """Every row of Google's error table can be had on demand, counted and undone."""
    write(folder, {"a.md": "a"})
    server = serve()
    api = client(server)
    file_id = server.id_of("a.md")

    server.faults.fail("files.get", 403, "userRateLimitExceeded", times=2, retry_after=7)
    for _ in range(2):
        with pytest.raises(HttpError) as error:
            api.files().get(fileId=file_id).execute()
        assert reason(error) == (403, "userRateLimitExceeded")
        assert error.value.resp["retry-after"] == "7"
    assert api.files().get(fileId=file_id).execute()["id"] == file_id
    server.faults.fail("*", 503, times=None, chance=0.5)
    outcomes = set()
    for _ in range(30):
        try:
            api.files().get(fileId=file_id).execute()
            outcomes.add(200)
        except HttpError as refused:
            outcomes.add(refused.resp.status)
    server.faults.heal()

    assert outcomes == {200, 503}
    assert api.files().list().execute()["files"]
    assert server.faults.calls["files.get"] == 33


def test_bodies_are_cut_and_ranges_ignored(serve: Callable[..., GoogleServer], folder: Path) -> None:
    """A reset, a clean close in the middle, and a 200 where 206 was asked for: what a resuming reader must survive."""
    content = os.urandom(3_000_000)
    write(folder, {"a.bin": content})
    server = serve()
    path = f"/drive/v3/files/{server.id_of('a.bin')}?alt=media"
    auth = header(server)

    def read(**more: str) -> tuple[int, bytes, bool]:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=10)
        connection.request("GET", path, headers={**auth, **more})
        answer = connection.getresponse()
        got = bytearray()
        buffer = bytearray(65_536)
        try:
            while count := answer.readinto(buffer):
                got += buffer[:count]
        except ConnectionError:
            return answer.status, bytes(got), True
        finally:
            connection.close()
        return answer.status, bytes(got), False

    server.faults.cut(1_000_000)
    status, got, reset = read()
    # What the last, failed read had in hand is lost to http.client; what came before is right.
    assert (status, reset) == (200, True)
    assert content[:1_000_000].startswith(got)
    assert len(got) >= 1_000_000 - 2 * 65_536
    server.faults.cut(2_000_001, reset=False)
    assert read() == (200, content[:2_000_001], False)
    server.faults.ignore_range()
    assert read(Range="bytes=10-19") == (200, content, False)
    assert read(Range="bytes=10-19") == (206, content[10:20], False)
    server.faults.slow("files.media", 0.2)
    began = time.monotonic()
    assert read() == (200, content, False)
    assert time.monotonic() - began >= 0.2


SERVE = """
import sys, threading
from pathlib import Path
from infra.local.google import GoogleServer
server = GoogleServer(Path(sys.argv[1]), Path(sys.argv[2]), scan_seconds=0.1)
server.start()
print(server.port, flush=True)
threading.Event().wait()
"""


def test_a_kill_loses_no_id_no_token_and_no_channel(folder: Path, tmp_path: Path, sink: Sink) -> None:
    """`kill -9` at any moment, then the same again: it goes on as if nothing had been."""
    write(folder, {"a.md": "a", "b.md": "b"})
    data = tmp_path / "data"

    def run() -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", SERVE, str(folder), str(data)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    prepared = GoogleServer(folder, data)
    prepared.start()
    token = prepared.grant("you@example.com")["access_token"]
    prepared.stop()

    def api() -> Any:
        options = {"api_endpoint": f"http://127.0.0.1:{port}/drive/v3/"}
        return build("drive", "v3", static_discovery=True, credentials=token_of(token), client_options=options)

    process, port = run()
    try:
        before = api().files().list().execute()["files"]
        start = api().changes().getStartPageToken().execute()["startPageToken"]
        body = {"id": "c", "type": "web_hook", "address": sink.url}
        api().changes().watch(pageToken=start, body=body).execute()
        eventually(lambda: sink.states() == ["sync"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        write(folder, {"a.md": "edited while it was dead"})
        process, port = run()
        # Killed before it had noted that the first message was sent, it sends that one again.
        eventually(lambda: sink.states()[-1] == "change")
        after = api().files().list().execute()["files"]
        changes, _ = drain(api(), start)
    finally:
        process.kill()
        process.wait()

    assert after == before
    assert sink.states() in (["sync", "change"], ["sync", "sync", "change"])
    assert [change["file"]["name"] for change in changes] == ["a.md"]
    assert {path.stat().st_mode & 0o077 for path in data.iterdir()} == {0}
