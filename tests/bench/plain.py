"""The usual way to read a Drive, to be compared with: googleapiclient's MediaIoBaseDownload with chunks of 2 MB.

python -m tests.bench.plain stream --drive URL --file ID --consumer sha|noop
python -m tests.bench.plain load --drive URL --folder ID      (pypdf, docx2txt, a plain splitter of 1000/200)
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import google.oauth2.credentials
import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build
from googleapiclient.http import MediaIoBaseDownload  # noqa: TID251 - what is measured against

CHUNK = 2 * 1024 * 1024
_FOLDER = "application/vnd.google-apps.folder"


def service(url: str) -> Any:
    """The client that its documentation tells to make."""
    credentials = google.oauth2.credentials.Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="t", token_uri=f"{url}/token", client_id="c", client_secret="s"
    )
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http())
    return build("drive", "v3", http=http, static_discovery=True, client_options={"api_endpoint": f"{url}/drive/v3/"})


def download(drive: Any, file_id: str) -> Iterator[bytes]:
    """The loop of the documentation, its buffer emptied after each chunk so that memory stays bounded."""
    buffer = io.BytesIO()
    downloader = MediaIoBaseDownload(buffer, drive.files().get_media(fileId=file_id), chunksize=CHUNK)
    done = False
    while not done:
        _, done = downloader.next_chunk()
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def stream(chosen: argparse.Namespace) -> dict[str, Any]:
    """One file, to a consumer."""
    drive = service(chosen.drive)
    digest = hashlib.sha256()
    count = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for chunk in download(drive, chosen.file):
        count += len(chunk)
        if chosen.consumer == "sha":
            digest.update(chunk)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {"bytes": count, "wall": wall, "cpu": cpu}
    return {**result, "sha256": digest.hexdigest()} if chosen.consumer == "sha" else result


def load(chosen: argparse.Namespace) -> dict[str, Any]:
    """A folder with all that is in it, file by file."""
    import docx2txt
    import pypdf

    def text_of(file: dict[str, Any], content: bytes) -> str:
        if file["name"].lower().endswith(".pdf"):
            return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
        if file["name"].lower().endswith(".docx"):
            return str(docx2txt.process(io.BytesIO(content)))
        return content.decode(errors="ignore")

    drive = service(chosen.drive)
    files, errors, chars, chunks = [], [], 0, 0
    wall, cpu = time.perf_counter(), time.process_time()
    for file in listed(drive, chosen.folder):
        try:
            described = drive.files().get(fileId=file["id"], fields="id,name,mimeType,size").execute()
            pieces = split(text_of(described, b"".join(download(drive, file["id"]))))
        except Exception as error:  # noqa: BLE001 - whatever its parsers raise for a damaged file
            errors.append(f"{file['id']}: {type(error).__name__}")
            continue
        files.append(file["id"])
        chars += sum(map(len, pieces))
        chunks += len(pieces)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {"files": files, "chars": chars, "chunks": chunks, "wall_load": wall, "cpu": cpu}
    return {**result, "nerr": len(errors), "errs": errors}


def listed(drive: Any, folder: str) -> Iterator[dict[str, Any]]:
    """Everything below a folder."""
    token = None
    while True:
        answer = drive.files().list(q=f"'{folder}' in parents", pageToken=token, pageSize=1000).execute()
        for file in answer["files"]:
            if file["mimeType"] == _FOLDER:
                yield from listed(drive, file["id"])
            else:
                yield file
        token = answer.get("nextPageToken")
        if not token:
            return


def split(text: str, size: int = 1000, overlap: int = 200) -> list[str]:
    """Pieces of so many characters."""
    return [text[at : at + size] for at in range(0, max(1, len(text) - overlap), size - overlap)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.plain")
    parser.add_argument("what", choices=["stream", "load"])
    parser.add_argument("--drive", required=True)
    parser.add_argument("--file")
    parser.add_argument("--folder")
    parser.add_argument("--consumer", choices=["sha", "noop"])
    chosen = parser.parse_args()
    print(json.dumps((stream if chosen.what == "stream" else load)(chosen)))


if __name__ == "__main__":
    main()
