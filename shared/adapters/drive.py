"""Google Drive v3 for one person: what files there are, what changed, and their bytes.

Requests are built by Google's client from its bundled discovery document and sent over the process's own pool, since
httplib2 is not thread-safe. Every refusal of Drive, of JSON and of bytes alike, becomes ours in `classify`.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from shared.adapters import batch
from shared.adapters.download import Download, RangeFile
from shared.adapters.tabs import Tabs
from shared.adapters.transport import (
    UNMETERED,
    Answer,
    Broken,
    Client,
    ExportTooLarge,
    Headers,
    Meter,
    Patience,
    RateLimited,
    Refused,
    Token,
    pool,
    retry_after,
)
from shared.config import Settings
from shared.domain.errors import FileGone, LongWait, ReconnectNeeded, Rejected, Skipped, Unavailable
from shared.domain.files import FIELDS, TABS, File, moment
from shared.domain.names import FRESH
from shared.domain.names import MY_DRIVE as MY_DRIVE
from shared.domain.quota import READ

T = TypeVar("T")

# Where Drive itself sends a reader for a long-running download.
_TRUSTED = (".googleusercontent.com", ".googleapis.com")
_HOUR = 3600.0
_PAGE = "nextPageToken,incompleteSearch,files({fields})"
_CHANGES = (
    "nextPageToken,newStartPageToken,changes(changeType,removed,fileId,driveId,time,file({fields}),drive(id,name))"
)


class PageTokenRejected(Rejected):
    """Drive no longer knows this page token: take a new start token first, then list everything again."""

    code = "page_token"


class Unsupported(Rejected):
    """This server, or this address, does not do that: no shared drives here, or no push to there."""

    code = "unsupported"


@dataclass(frozen=True, slots=True)
class About:
    """Whose Drive this is."""

    email: str
    name: str
    permission_id: str


@dataclass(frozen=True, slots=True)
class FilePage:
    """One page of a listing. `incomplete` says that Drive did not search everywhere."""

    files: tuple[File, ...]
    next_page_token: str | None
    incomplete: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One changed thing, as it is now. `kind` is "file" or "drive"; `removed` means gone or no longer accessible."""

    file_id: str | None
    removed: bool
    file: File | None
    drive_id: str | None
    kind: str
    time: datetime | None = None  # when it changed last


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One page of the change log. The last page has no next token but the start token of the next reading."""

    changes: tuple[Change, ...]
    next_page_token: str | None
    new_start_page_token: str | None


@dataclass(frozen=True, slots=True)
class Watch:
    """An open notification channel. `expiration` is in milliseconds since 1970, as Drive granted it."""

    resource_id: str
    expiration: int


_ASK_OWNER = "Ask its owner for permission to download it, then try again."
_SKIPPED: Mapping[str, str] = {
    "cannotDownloadFile": f"The owner does not allow downloads of this file. {_ASK_OWNER}",
    "cannotExportFile": f"The owner does not allow exports of this file. {_ASK_OWNER}",
    "download_restricted_for_revision": f"The owner does not allow downloads of this version. {_ASK_OWNER}",
    "fileNotDownloadable": "Drive has no bytes to download for this kind of file.",
    "fileNotExportable": "Drive cannot export this kind of file.",
    "cannotDownloadAbusiveFile": "Google has marked this file as harmful. It is left alone.",
    "invalidAbuseAcknowledgment": "Google has marked this file as harmful. It is left alone.",
    "appNotAuthorizedToFile": "This app may not open this file. Ask its owner or your administrator to allow it.",
    "insufficientFilePermissions": f"You may see this file but not read it. {_ASK_OWNER}",
    "teamDriveMembershipRequired": "Only members of its shared drive may read this file. Ask to become a member.",
}
_WAITING: Mapping[str, tuple[str, float]] = {
    "downloadQuotaExceeded": ("Too many people downloaded this file lately. It is tried again later.", 6 * _HOUR),
    "dailyLimitExceeded": ("Google's limit for today is used up. Work goes on when it is renewed.", 6 * _HOUR),
    "dailyLimitExceededUnreg": ("Google's limit for today is used up. Work goes on when it is renewed.", 6 * _HOUR),
    "quotaExceeded": ("Google's limit for today is used up. Work goes on when it is renewed.", 6 * _HOUR),
    "accessNotConfigured": ("The Drive API is off in this Google Cloud project. An operator must enable it.", _HOUR),
    "SERVICE_DISABLED": ("The Drive API is off in this Google Cloud project. An operator must enable it.", _HOUR),
}
_UNTICKED = "Reading Drive was not allowed when connecting. Please connect again and tick it."
_RECONNECT: Mapping[str, str] = {
    "authError": "Google no longer accepts this connection. Please connect again.",
    "insufficientPermissions": _UNTICKED,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": _UNTICKED,
    "domainPolicy": "Your organisation blocks Drive apps. Ask its administrator to allow this one, then connect again.",
}
_TOO_FAST = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"})
_UNSUPPORTED: Mapping[str, str] = {
    "push.webhookUrlUnauthorized": "Google does not push to this address. Verify its domain, or use one of your own.",
    "push.webhookUrlNotHttps": "Google pushes to https addresses only.",
    "push.channelTypeNotSupported": "This server does not know this kind of notification channel.",
}


def classify(status: int, body: bytes, headers: Headers) -> Exception:
    """What an error of Drive means to us. Drive's own reason counts before the status."""
    reason, message, location = _reason(body)
    wait = retry_after(headers)
    if reason in _TOO_FAST or status == 429:
        return RateLimited("Drive asks to slow down.", retry_after=wait, code=reason or "rateLimitExceeded")
    if reason in _WAITING:
        sentence, seconds = _WAITING[reason]
        return LongWait(sentence, retry_after=max(seconds, wait or 0.0), code=reason)
    if reason in _RECONNECT:
        return ReconnectNeeded(_RECONNECT[reason], code=reason)
    if reason in _UNSUPPORTED:
        return Unsupported(_UNSUPPORTED[reason], code=reason)
    if reason == "exportSizeLimitExceeded":
        return ExportTooLarge("This file is too large to be exported by Drive. Split it if it should be found.")
    if reason in _SKIPPED:
        return Skipped(_SKIPPED[reason], code=reason)
    if reason == "channelIdNotUnique":
        return Unavailable("This notification channel exists already. A new one is opened.", code=reason)
    return _classify_status(status, reason, message, location, wait)


def _classify_status(status: int, reason: str, message: str, location: str | None, wait: float | None) -> Exception:
    if status == 401:
        return ReconnectNeeded(_RECONNECT["authError"], code="authError")
    if status == 403:
        return Skipped(f"Drive refuses this: {message or 'no reason given'}. {_ASK_OWNER}", code=reason or "forbidden")
    if status == 404:
        return FileGone("Drive no longer shows this file to you: it was deleted, or is no longer shared.")
    if status == 410 or (status == 400 and location == "pageToken"):
        return PageTokenRejected("Drive no longer knows the place where the last listing stopped.")
    if status in (408, 409) or (status >= 500 and status != 501):
        return Unavailable("Drive is not available at the moment.", retry_after=wait, code=reason or "backendError")
    return Refused(status, reason or message or "no reason given", location)


def _reason(body: bytes) -> tuple[str, str, str | None]:
    """(reason, message, location) of Google's JSON error in any of its shapes; nothing for any other body."""
    try:
        answer = json.loads(body)
    except ValueError:
        return "", "", None
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else ""), "", None
    message = str(error.get("message") or "")[:300].rstrip(".")
    for key in ("errors", "details"):
        for entry in error.get(key) or ():
            if isinstance(entry, dict) and entry.get("reason"):
                return str(entry["reason"]), message, entry.get("location")
    return str(error.get("status") or ""), message, None


class Drive:
    """One person's Drive. `token(False)` gives a bearer token, `token(True)` a fresh one after a 401. Thread-safe.

    `meters` gives the account that work in a lane is charged to. Every method raises what `classify` says, and
    `LongWait` where that account has nothing left; waits and retries within reason are already behind it.
    """

    def __init__(self, settings: Settings, token: Token, meters: Callable[[str], Meter] = lambda _: UNMETERED) -> None:
        self._settings = settings
        self._client = Client(settings, token, classify, meters(FRESH), trusted=_TRUSTED)
        self._http = _Http(self._client)
        self._batches = True  # until the server says that it knows none
        self._meters = meters
        self._lock = threading.Lock()
        self._lanes: dict[bool, Drive] = {True: self}

    def in_lane(self, lane: str) -> Drive:
        """The same Drive for work of a lane: what is fresh, or what must leave room for that."""
        fresh = lane == FRESH
        with self._lock:
            if fresh not in self._lanes:
                made = copy(self)
                made._client = self._client.charged_to(self._meters(lane))
                made._http = _Http(made._client)
                self._lanes[fresh] = made
            return self._lanes[fresh]

    def prepare(self) -> None:
        """Make what the first request needs, without asking anything: for those who measure requests."""
        pool()
        _ = self._api

    def about(self) -> About:
        """Whose Drive this is."""
        user = self._call(self._api.about.get(fields="user(displayName,emailAddress,permissionId)")).get("user") or {}
        return About(user.get("emailAddress", ""), user.get("displayName", ""), user.get("permissionId", ""))

    def file(self, file_id: str, resource_key: str | None = None) -> File:
        """The file as it is now. Raises `FileGone` when Drive does not show it, also at a second look."""
        request = self._api.files.get(fileId=file_id, supportsAllDrives=True, fields=FIELDS)
        request.headers.update(_keys(file_id, resource_key))
        try:
            return _parsed(File.from_drive, self._call(request))
        except FileGone:
            # A file that was made a moment ago may not be everywhere yet.
            time.sleep(self._settings.retry_base_seconds)
        return _parsed(File.from_drive, self._call(request))

    def files(self, wanted: Mapping[str, str | None]) -> dict[str, File | None]:
        """Many files as they are now, by id, with the resource key that opens each: in batches of 100, or one by one
        where the server knows no batches. None: Drive does not show it at a first look. What Drive refuses to
        describe is left out. A part of a batch that was too much, or failed, is asked again, and no other."""
        found: dict[str, File | None] = {}
        names = list(wanted)
        for at in range(0, len(names), batch.MOST):
            some = {name: wanted[name] for name in names[at : at + batch.MOST]}
            found |= self._batch(some) if self._batches else self._one_by_one(some)
        return found

    def _batch(self, wanted: Mapping[str, str | None]) -> dict[str, File | None]:
        found: dict[str, File | None] = {}
        left = list(wanted)
        patience = Patience(self._settings.retry_base_seconds)
        while left:
            answers = self._ask_batch([_described_by(name, wanted[name]) for name in left], patience)
            if answers is None:
                self._batches = False
                return found | self._one_by_one({name: wanted[name] for name in left})
            again: list[str] = []
            trouble: Unavailable = Broken("Drive left out a part of a batch.")
            for place, name in enumerate(left):
                try:
                    found[name] = _part_of(answers.get(place))
                except LongWait:
                    raise
                except ReconnectNeeded:  # asked alone, it is asked with a fresh token before it is believed
                    found |= self._one_by_one({name: wanted[name]})
                except Unavailable as error:
                    again.append(name)
                    trouble = error
                except (Skipped, Refused):
                    continue
            if len(again) < len(left):
                patience.progress()
            if again:
                patience.wait(trouble)
            left = again
        return found

    def _ask_batch(self, calls: Sequence[batch.Inner], patience: Patience) -> dict[int, Answer] | None:
        """What came of each call, None where this server knows no batches. It only reads, so that it may be sent
        again."""
        kind, body = batch.encode(calls)
        url = f"{self._settings.drive_endpoint}/batch/drive/v3"
        while True:
            try:
                sent = self._client.call(
                    "POST", url, headers={"Content-Type": kind}, body=body, units=READ * len(calls)
                )
                return batch.decode(sent)
            except Unavailable as trouble:
                patience.wait(trouble)
            except (FileGone, ValueError):
                return None
            except Refused as error:
                if error.status in (400, 405, 501):
                    return None
                raise

    def _one_by_one(self, wanted: Mapping[str, str | None]) -> dict[str, File | None]:
        found: dict[str, File | None] = {}
        for name, key in wanted.items():
            try:
                found[name] = self.file(name, key)
            except FileGone:
                found[name] = None
            except (Skipped, Refused):
                continue
        return found

    def list_files(
        self,
        page_token: str | None = None,
        *,
        corpus: str = MY_DRIVE,
        page_size: int = 1000,
        order_by: str = "modifiedTime desc",
    ) -> FilePage:
        """One page of the files that are not in the trash. Raises `PageTokenRejected`: begin the listing again."""
        where = {"corpora": "user"} if corpus == MY_DRIVE else _shared(corpus, corpora="drive")
        answer = self._page(
            self._api.files.list(
                q="trashed=false",
                pageToken=page_token,
                pageSize=page_size,
                orderBy=order_by,
                supportsAllDrives=True,
                fields=_PAGE.format(fields=FIELDS),
                **where,
            ),
            page_token,
        )
        return _listing(answer)

    def list_folder(self, folder_id: str, page_token: str | None = None) -> FilePage:
        """One page of what lies in a folder, folders too. What is in the trash is left out here and not by the query,
        which so is one that the plainest server understands. Raises as `list_files` does."""
        quoted = folder_id.replace("\\", "\\\\").replace("'", "\\'")
        page = _listing(
            self._page(
                self._api.files.list(
                    q=f"'{quoted}' in parents",
                    pageToken=page_token,
                    pageSize=1000,
                    supportsAllDrives=True,
                    includeItemsFromAllDrives=True,
                    fields=_PAGE.format(fields=FIELDS),
                ),
                page_token,
            )
        )
        return replace(page, files=tuple(file for file in page.files if not file.trashed))

    def start_page_token(self, corpus: str = MY_DRIVE) -> str:
        """The place in the change log after everything that has happened so far."""
        request = self._api.changes.getStartPageToken(supportsAllDrives=True, **_drive_of(corpus))
        return _parsed(lambda answer: str(answer["startPageToken"]), self._call(request))

    def changes(self, token: str, corpus: str = MY_DRIVE) -> ChangePage:
        """One page of the change log from `token`. The log of my-drive also tells of shared drives that are joined
        or left, and of their files that this person opened. Raises `PageTokenRejected`."""
        request = self._api.changes.list(
            pageToken=token,
            pageSize=1000,
            includeRemoved=True,
            supportsAllDrives=True,
            includeItemsFromAllDrives=True,
            fields=_CHANGES.format(fields=FIELDS),
            **_drive_of(corpus),
        )
        page = _parsed(_change_page, self._page(request, token))
        if page.next_page_token is None and page.new_start_page_token is None:
            raise _nonsense()
        return page

    def watch(
        self, token: str, corpus: str, channel_id: str, channel_token: str, address: str, expiration_ms: int
    ) -> Watch:
        """Open a notification channel for the changes after `token`. Raises `Unsupported` where there is no push."""
        body = {
            "id": channel_id,
            "type": "web_hook",
            "address": address,
            "token": channel_token,
            "expiration": str(expiration_ms),
        }
        request = self._api.changes.watch(
            pageToken=token,
            body=body,
            includeRemoved=True,
            supportsAllDrives=True,
            includeItemsFromAllDrives=True,
            **_drive_of(corpus),
        )
        answer = self._optional(request, "This server does not push notifications.")
        return _parsed(lambda a: Watch(str(a["resourceId"]), int(a.get("expiration") or expiration_ms)), answer)

    def stop_channel(self, channel_id: str, resource_id: str) -> None:
        """Close a channel. One that is closed already, or was never there, is closed."""
        try:
            self._call(self._api.channels.stop(body={"id": channel_id, "resourceId": resource_id}))
        except FileGone:
            return

    def drives(self) -> list[tuple[str, str]]:
        """(id, name) of the shared drives this person is a member of. Raises `Unsupported` where there are none."""
        found: list[tuple[str, str]] = []
        page_token = None
        while True:
            request = self._api.drives.list(pageSize=100, pageToken=page_token, fields="nextPageToken,drives(id,name)")
            answer = self._optional(request, "This server has no shared drives.")
            found += _parsed(lambda a: [(str(d["id"]), str(d.get("name", ""))) for d in a.get("drives", [])], answer)
            page_token = answer.get("nextPageToken")
            if not page_token:
                return found

    def open(self, file: File, *, check: bool = True, tail: str = "") -> DriveSource:
        """The bytes of a file that has some. `check=False` leaves out hashing; `tail` is what the source of an earlier
        life said, to be compared where reading goes on. Raises `Skipped` where the owner forbids downloads; nothing
        is asked of Drive before the first byte is wanted."""
        _may_be_had(file)
        download = Download(
            self._client,
            self._url(file, alt="media", supportsAllDrives="true"),
            size=file.size,
            checksum=file.checksum if check else None,
            unchanged=self._same_as(file),
            headers=_keys(file.id, file.resource_key),
            lanes=True,
        )
        return DriveSource(self._settings, file.name, [(file.mime_type, lambda: download)], tail=tail)

    def export(self, file: File, mime_types: Sequence[str], *, tail: str = "") -> DriveSource:
        """A native file in the first of these formats that can be read. Of each, Drive's plain export comes first;
        above 10 MB Drive prepares it for a while, and `TABS` is a Sheet row by row. An export is never read by Range.
        Raises `ExportTooLarge` where no rung of this ladder holds, `Skipped` where the owner forbids downloads."""
        _may_be_had(file)
        ladder: list[Rung] = []
        for mime_type in mime_types:
            if mime_type == TABS:
                ladder.append((mime_type, partial(Tabs, self._client, file, self._same_as(file))))
                continue
            ladder.append((mime_type, partial(self._plain_export, file, mime_type)))
            ladder.append((mime_type, partial(self._long_export, file, mime_type)))
        # A Doc called notes.txt is Markdown all the same: its name says nothing about an export.
        return DriveSource(self._settings, "", ladder, tail=tail)

    def _plain_export(self, file: File, mime_type: str) -> Download:
        return Download(
            self._client,
            self._url(file, "/export", mimeType=mime_type),
            unchanged=self._same_as(file),
            ranged=False,
            headers=_keys(file.id, file.resource_key),
            limit=self._settings.text_bytes,
        )

    def _long_export(self, file: File, mime_type: str) -> Download:
        keys = _keys(file.id, file.resource_key)
        request = self._api.files.download(fileId=file.id, mimeType=mime_type)
        request.headers.update(keys)
        try:
            operation = self._call(request)
        except (FileGone, Refused) as error:  # a server that knows no long-running download
            raise ExportTooLarge("This file is too large to be exported by Drive.") from error
        deadline = time.monotonic() + self._settings.life_seconds / 2
        pause = self._settings.retry_base_seconds
        while not operation.get("done"):
            if time.monotonic() > deadline:
                raise Unavailable("Drive is still preparing this file for download.", code="export_pending")
            time.sleep(pause)
            pause = min(pause * 2, 10 * self._settings.retry_base_seconds)
            name = str(operation.get("name", "")).removeprefix("operations/")
            request = self._api.operations.get(name=name)
            request.headers.update(keys)
            operation = {"name": name, **self._call(request)}
        answer = _parsed(_finished, operation)
        return Download(
            self._client,
            str(answer["downloadUri"]),
            unchanged=self._same_as(file),
            ranged=answer.get("partialDownloadAllowed") is True,
            headers=keys,
            limit=self._settings.text_bytes,
            anywhere_trusted=True,
        )

    @property
    def _api(self) -> Any:
        return _service(self._settings.drive_endpoint)

    def _url(self, file: File, ending: str = "", **query: str) -> str:
        return f"{self._settings.drive_endpoint}/drive/v3/files/{quote(file.id, safe='')}{ending}?{urlencode(query)}"

    def _same_as(self, file: File) -> Callable[[], bool]:
        def unchanged() -> bool:
            now = self.file(file.id, file.resource_key)
            return (now.content_key, now.size, now.trashed) == (file.content_key, file.size, file.trashed)

        return unchanged

    def _call(self, request: Any) -> dict[str, Any]:
        try:
            answer = request.execute(http=self._http)
        except ValueError as error:
            raise _nonsense() from error
        if not answer:  # a call without an answer, such as channels.stop
            return {}
        if not isinstance(answer, dict):
            raise _nonsense()
        return answer

    def _page(self, request: Any, token: str | None) -> dict[str, Any]:
        try:
            return self._call(request)
        except Refused as error:
            if token is not None and error.status == 400 and error.location is None:
                raise PageTokenRejected("Drive no longer knows the place where the last listing stopped.") from error
            raise

    def _optional(self, request: Any, otherwise: str) -> dict[str, Any]:
        try:
            return self._call(request)
        except FileGone as error:
            raise Unsupported(otherwise) from error
        except Refused as error:
            if error.status in (400, 405, 501):
                raise Unsupported(otherwise) from error
            raise


Rung = tuple[str, Callable[[], Download | Tabs]]


class DriveSource:
    """One file to be read, by windows or at any place. What has been received is not asked for twice: a first
    window that was only looked at is given again, and a small file is held once it is read.

    `ladder` is (MIME type, its bytes), best first. Where one proves too large to be had, or to be held where it must
    be, the next one takes its place, and `mime_type` says so.
    """

    def __init__(self, settings: Settings, name: str, ladder: Sequence[Rung], *, tail: str = "") -> None:
        self.name = name
        self._tail = tail
        self._settings = settings
        self._ladder = list(ladder)
        self._left = list[Download | Tabs]()
        self.mime_type, make = self._ladder.pop(0)
        self._download = make()
        self._begun: Iterator[memoryview] | None = None
        self._head: memoryview | None = None
        self._held: bytearray | None = None

    @property
    def size(self) -> int | None:
        """Bytes, None as long as nobody knows."""
        return self._download.size

    @property
    def bytes_read(self) -> int:
        """Bytes received so far."""
        return sum(download.bytes_read for download in (*self._left, self._download))

    @property
    def requests(self) -> int:
        """GETs sent so far."""
        return sum(download.requests for download in (*self._left, self._download))

    @property
    def integrity(self) -> str:
        """What is proved so far: "none", "length", "length+revision" or "checksum"."""
        return self._download.integrity

    def verify(self) -> str:
        """What is proved about what was read; asks Drive where no checksum could tell. Raises `Changed`."""
        return self._download.verify()

    def tail(self) -> str:
        """A short name for the place and content of the window that was delivered last, for a later life."""
        return self._download.tail()

    def windows(self, start: int = 0) -> Generator[memoryview, None, None]:
        """The bytes from `start`, a window at a time, each valid until the next one is asked for."""
        if self._held is not None:
            step = self._settings.window_bytes
            yield from (memoryview(self._held)[at : at + step] for at in range(start, len(self._held), step))
            return
        if start == 0 and self._begun is not None:
            stream, window = self._begun, self._head
        else:
            stream, window = self._begin(start)
        if start == 0:
            self._begun, self._head = stream, window
        if window is None:
            return
        yield window  # a consumer that stops here has only looked: `_begun` waits for the next one
        if start == 0 and self._begun is not stream:
            raise RuntimeError("Somebody else went on reading this source.")
        self._begun = self._head = None
        yield from stream

    def _begin(self, start: int) -> tuple[Iterator[memoryview], memoryview | None]:
        self._begun = self._head = None
        while True:
            stream = self._download.windows(start, self._tail)
            try:
                return stream, next(stream, None)
            except ExportTooLarge as error:
                self._step_down(error)

    def _step_down(self, why: Skipped) -> None:
        """Take the next rung that can be had. Raises why the last one cannot."""
        self._begun = self._head = None
        while self._ladder:
            mime_type, make = self._ladder.pop(0)
            try:
                download = make()
            except ExportTooLarge as error:
                why = error
                continue
            self._left.append(self._download)
            self.mime_type, self._download = mime_type, download
            return
        raise why

    def seekable(self) -> io.RawIOBase:
        """Random access: held in memory up to `hold_bytes`, above that by Range. Raises `Skipped` where a larger
        file cannot be read by Range."""
        bound = self._settings.hold_bytes
        while self._held is None and not self._by_range(bound) and not self._hold(bound):
            if self._by_range(bound):  # its size is known by now
                break
            # However it is fetched, it is as large; another format may be smaller, or need no holding.
            self._ladder = [rung for rung in self._ladder if rung[0] != self.mime_type]
            self._step_down(
                Skipped(f"This export is larger than the {bound} bytes that are read at once.", code="too_large")
            )
        if self._held is not None:
            return RangeFile(None, len(self._held), block=max(1, len(self._held)), head=self._held)
        download = self._download
        assert isinstance(download, Download)
        assert download.size is not None
        head = b"" if self._head is None else bytes(self._head)
        self._begun = self._head = None
        return RangeFile(download, download.size, block=self._settings.window_bytes, head=head)

    def _by_range(self, bound: int) -> bool:
        return self._download.ranged and self.size is not None and self.size > bound

    def _hold(self, bound: int) -> bool:
        """Read all of it into memory. False where it is larger than that."""
        held = bytearray()
        with closing(self.windows()) as windows:
            for window in windows:
                held += window
                if len(held) > bound:
                    return False
        self._held = held
        return True


class _Http:
    """What googleapiclient asks of httplib2, over our own client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def request(
        self, uri: str, method: str = "GET", body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, bytes]:
        wanted = {name: value for name, value in (headers or {}).items() if name.lower() != "content-length"}
        if wanted.pop("x-http-method-override", None) == "GET":
            # Above 2 KB googleapiclient turns a GET into a form; page tokens get there, and every server takes them.
            uri, method, body = f"{uri}?{body}", "GET", None
            wanted.pop("content-type", None)
        content = body.encode() if isinstance(body, str) else body
        answer = self._client.call(method, uri, headers=wanted, body=content)
        return answer, answer.body  # of httplib2's response only the status is looked at


@cache
def _service(endpoint: str) -> Any:
    """Google's request builder, made from the bundled document without network."""
    from googleapiclient.discovery import build

    service = build(
        "drive",
        "v3",
        http=object(),
        static_discovery=True,
        cache_discovery=False,
        # It only builds requests and holds no credentials, so no other universe is compared with theirs.
        client_options={"api_endpoint": f"{endpoint}/drive/v3/", "universe_domain": "googleapis.com"},
    )
    # Each of these takes milliseconds to make and can be shared between threads: it only builds requests.
    names = ("about", "changes", "channels", "drives", "files", "operations")
    return SimpleNamespace(**{name: getattr(service, name)() for name in names})


def _may_be_had(file: File) -> None:
    # What restricts downloads by a policy of the organisation is in `canDownload` already, for this very person;
    # `downloadRestrictions` says it of all readers.
    if not file.can_download:
        raise Skipped(_SKIPPED["cannotDownloadFile"], code="cannotDownloadFile")


def _keys(file_id: str, resource_key: str | None) -> dict[str, str]:
    return {"X-Goog-Drive-Resource-Keys": f"{file_id}/{resource_key}"} if resource_key else {}


def _described_by(file_id: str, resource_key: str | None) -> batch.Inner:
    asked = urlencode({"supportsAllDrives": "true", "fields": FIELDS})
    return batch.Inner(f"/drive/v3/files/{quote(file_id, safe='')}?{asked}", _keys(file_id, resource_key))


def _part_of(answer: Answer | None) -> File | None:
    """What one part of a batch says of its file, None where Drive does not show it. Raises what `classify` says."""
    if answer is None:
        raise Broken("Drive left out a part of a batch.")
    if answer.status >= 300:
        error = classify(answer.status, answer.body, answer.headers)
        if isinstance(error, FileGone):
            return None
        raise error
    return _parsed(lambda body: File.from_drive(json.loads(body)), answer.body)


def _drive_of(corpus: str) -> dict[str, str]:
    return {} if corpus == MY_DRIVE else {"driveId": corpus}


def _shared(drive_id: str, **more: str) -> dict[str, Any]:
    return {"driveId": drive_id, "includeItemsFromAllDrives": True, **more}


def _nonsense() -> Unavailable:
    return Unavailable("Drive's answer makes no sense.", code="bad_answer")


def _parsed(read: Callable[[Any], T], answer: Any) -> T:
    try:
        return read(answer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _nonsense() from error


def _listing(answer: Mapping[str, Any]) -> FilePage:
    # An empty listing says so; an answer without any of a listing's fields is none.
    if not {"files", "nextPageToken", "incompleteSearch", "kind"} & answer.keys():
        raise _nonsense()
    return _parsed(_file_page, answer)


def _file_page(answer: Mapping[str, Any]) -> FilePage:
    files = tuple(File.from_drive(file) for file in answer.get("files") or ())
    return FilePage(files, answer.get("nextPageToken") or None, answer.get("incompleteSearch") is True)


def _change_page(answer: Mapping[str, Any]) -> ChangePage:
    changes = tuple(_change(change) for change in answer.get("changes") or ())
    return ChangePage(changes, answer.get("nextPageToken") or None, answer.get("newStartPageToken") or None)


def _change(answer: Mapping[str, Any]) -> Change:
    described = answer.get("file")
    file = File.from_drive(described) if described else None
    file_id = answer.get("fileId") or (file.id if file else None)
    drive_id = answer.get("driveId") or (answer.get("drive") or {}).get("id") or (file.drive_id if file else None)
    kind = answer.get("changeType") or ("file" if file_id else "drive")
    if (file_id if kind == "file" else drive_id) is None:
        raise ValueError("A change of nothing")
    return Change(file_id, answer.get("removed") is True, file, drive_id, kind, moment(answer.get("time")))


def _finished(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result of a finished long-running operation, its error in our words (google.rpc.Code)."""
    error = operation.get("error")
    if not error:
        answer: Mapping[str, Any] = operation["response"]
        return answer
    code = int(error.get("code") or 0)
    status = {3: 400, 5: 404, 7: 403, 8: 429, 16: 401}.get(code, 503)
    if status == 400:
        raise ExportTooLarge("Drive cannot export this file in a form that can be read.")
    raise classify(status, json.dumps({"error": {"message": str(error.get("message", ""))}}).encode(), {})
