"""Drive v3: what each method answers. Plain calls in, answers out; HTTP is `wire.py`'s business."""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.google import export as exports
from infra.local.google import sheets
from infra.local.google.answers import (
    Answer,
    ApiError,
    Empty,
    FileContent,
    Json,
    Made,
    bad_parameter,
    file_not_found,
    known_error,
)
from infra.local.google.faults import Faults
from infra.local.google.fields import BadMask, Mask, apply_mask, below, parse_mask
from infra.local.google.folder import Change, Drive, FolderDrive
from infra.local.google.items import Item
from infra.local.google.layout import Person
from infra.local.google.push import Push
from infra.local.google.query import BadQuery, Viewer, parse_order, parse_query, sort_key, sort_values
from infra.local.google.resources import Resources, moment, user
from infra.local.google.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
  name TEXT PRIMARY KEY, email TEXT NOT NULL, file TEXT NOT NULL, mime_type TEXT NOT NULL, expires REAL NOT NULL);
"""
_OPERATION_SECONDS = 86_400
_KEPT_LISTINGS = 16
_ALL = "supportsAllDrives", "includeItemsFromAllDrives"


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the API, under the names of the discovery document."""

    id: str
    verb: str
    path: str
    parameters: frozenset[str]
    schema: str
    default: str
    run: Callable[[DriveApi, Call], Answer]

    def match(self, verb: str, path: str) -> dict[str, str] | None:
        """The path's variables if this method is meant."""
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        found = re.fullmatch(pattern, path) if verb == self.verb else None
        return found.groupdict() if found else None


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    method: Method
    person: Person
    client: str
    mask: Mask
    values: Mapping[str, str]
    variables: Mapping[str, str]
    body: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """A parameter that the method declares."""
        assert name in self.method.parameters, f"{self.method.id} does not declare {name}"
        return self.values.get(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter."""
        value = self.text(name).lower()
        if value not in ("", "true", "false", "1", "0"):
            raise bad_parameter(name, f"Invalid value '{value}'. Value must be one of: [true, false]")
        return value in ("true", "1") if value else default

    def size(self, default: int, highest: int) -> int:
        """`pageSize`; more than the highest counts as the highest."""
        value = self.text("pageSize")
        if not value:
            return default
        if not value.isascii() or not value.isdigit() or not int(value):
            message = f"Invalid value '{value}'. Values must be within the range: [1, {highest}]"
            raise bad_parameter("pageSize", message, "invalidParameter")
        return min(int(value), highest)


METHODS: list[Method] = []


def _method(
    method_id: str, verb: str, path: str, *parameters: str, schema: str = "", default: str = ""
) -> Callable[[Callable[[DriveApi, Call], Answer]], Callable[[DriveApi, Call], Answer]]:
    """Declare a method with what it reads; the contract test compares this with the discovery document."""

    def declare(run: Callable[[DriveApi, Call], Answer]) -> Callable[[DriveApi, Call], Answer]:
        METHODS.append(Method(method_id, verb, path, frozenset(parameters), schema, default, run))
        return run

    return declare


def find_method(verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method that a request means, `path` being relative to `/drive/v3/`."""
    for method in METHODS:
        variables = method.match(verb, path)
        if variables is not None:
            return method, variables
    return None


class DriveApi:
    """The methods, over a folder."""

    def __init__(
        self,
        folder: FolderDrive,
        push: Push,
        resources: Resources,
        store: Store,
        faults: Faults,
        url: Callable[[], str],
    ) -> None:
        self._folder = folder
        self._push = push
        self._resources = resources
        self._store = store
        self._faults = faults
        self._url = url
        self._listings: OrderedDict[tuple[Any, ...], list[tuple[Any, str]]] = OrderedDict()

    def answer(
        self,
        method: Method,
        variables: Mapping[str, str],
        person: Person,
        client: str,
        values: Mapping[str, str],
        body: Mapping[str, Any],
        keys: Mapping[str, str],
    ) -> Answer:
        """Answer one call of one person, who knows these resource keys. Raises `ApiError`."""
        wanted = values.get("fields", "")
        if method.id == "about.get" and not wanted:
            message = "The 'fields' parameter is required for this method."
            raise bad_parameter("fields", message, "required")
        try:
            mask = parse_mask(wanted or method.default, method.schema) if method.schema else {}
        except BadMask as error:
            raise bad_parameter("fields", str(error), "invalidParameter") from error
        said = method.run(self, Call(method, person, client, mask, values, variables, body, keys))
        return Json(apply_mask(said.body, mask)) if isinstance(said, Json) else said

    # About

    @_method("about.get", "GET", "about", schema="About")
    def _about(self, call: Call) -> Answer:
        used = sum(item.size for item in self._folder.items() if item.owner == call.person.email)
        return Json(
            {
                "kind": "drive#about",
                "user": user(call.person, call.person.email),
                "storageQuota": {
                    "limit": str(15 * 1024**4), "usage": str(used), "usageInDrive": str(used), "usageInDriveTrash": "0",
                },
                "importFormats": {},
                "exportFormats": {kind: list(formats) for kind, formats in exports.EXPORTS.items()},
                "maxUploadSize": str(5 * 1024**4),
                "appInstalled": True,
                "canCreateDrives": False,
            }
        )  # fmt: skip

    # Files

    @_method(
        "files.list", "GET", "files",
        "q", "orderBy", "pageSize", "pageToken", "corpora", "driveId", "spaces", *_ALL,
        schema="FileList", default="kind,incompleteSearch,nextPageToken,files(kind,id,name,mimeType)",
    )  # fmt: skip
    def _list(self, call: Call) -> Answer:
        corpora, drive_id = self._scope(call)
        order_text = call.text("orderBy")
        everything = not call.text("pageSize") and not drive_id
        page = call.size(100, 1000)
        asked = [call.text("q"), order_text, corpora, drive_id, call.flag(_ALL[1])]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        try:
            order = parse_order(order_text)
        except BadQuery as error:
            raise bad_parameter("orderBy", f"Invalid Value: {error}") from error
        found = self._found(call, asked, order)
        start = 0
        if call.text("pageToken"):
            after = _listing_token(call.text("pageToken"), digest)
            start = bisect.bisect_right(found, sort_key(after, order), key=lambda one: one[0])
        chosen = found[start:] if everything else found[start : start + page]
        items = [item for _, file_id in chosen if (item := self._folder.item(file_id)) is not None]
        inner = below(call.mask, "files")
        said: dict[str, Any] = {
            "kind": "drive#fileList",
            "incompleteSearch": False,
            "files": [self._resources.file(item, call.person.email, inner) for item in items],
        }
        if start + len(chosen) < len(found):
            said["nextPageToken"] = _token([digest, [key.value for key in chosen[-1][0]]])
        return Json(said)

    def _scope(self, call: Call) -> tuple[str, str]:
        """Which corpus is meant: (corpora, drive id)."""
        drive_id = call.text("driveId")
        corpora = call.text("corpora") or "user"
        everywhere = call.flag(_ALL[0]) and call.flag(_ALL[1])
        if corpora not in ("user", "domain", "drive", "allDrives"):
            raise bad_parameter("corpora", f"Invalid value '{corpora}'.")
        if (corpora == "drive") != bool(drive_id):
            raise bad_parameter(
                "driveId", "The driveId parameter must be specified if and only if corpora is set to drive."
            )
        if corpora in ("drive", "allDrives") and not everywhere:
            name = (
                "The includeItemsFromAllDrives and supportsAllDrives parameters must be set to true for this corpora."
            )
            raise bad_parameter("includeItemsFromAllDrives", name)
        if drive_id:
            self._drive_of(call, drive_id)
        if call.text("spaces", "drive") not in ("drive", "appDataFolder"):
            raise bad_parameter("spaces", f"Invalid value '{call.text('spaces')}'.")
        return corpora, drive_id

    def _found(self, call: Call, asked: list[Any], order: list[tuple[str, bool]]) -> list[tuple[Any, str]]:
        """The id of every file that the query means, in order; kept for the pages that follow."""
        key = (self._folder.generation, call.person.email, *asked)
        kept = self._listings.get(key)
        if kept is not None:
            return kept
        email = call.person.email
        viewer = Viewer(email, self._folder.root_of(email).id)
        try:
            test = parse_query(call.text("q"), viewer)
        except BadQuery as error:
            raise bad_parameter("q", f"Invalid Value: {error}") from error
        in_corpus = self._in_corpus(call)
        chosen = [item for item in self._folder.items() if in_corpus(item) and test(item)]
        found = sorted(
            ((sort_key(sort_values(item, order), order), item.id) for item in chosen), key=lambda one: one[0]
        )
        self._listings[key] = found
        while len(self._listings) > _KEPT_LISTINGS:
            self._listings.popitem(last=False)
        return found

    def _in_corpus(self, call: Call) -> Callable[[Item], bool]:
        email, corpora, drive_id = call.person.email, call.text("corpora") or "user", call.text("driveId")
        if call.text("spaces", "drive") != "drive":
            return lambda _: False
        if drive_id:
            return lambda item: item.drive == drive_id
        if corpora == "allDrives":
            return lambda item: self._folder.may_see(email, item)
        drives = call.flag(_ALL[0]) and call.flag(_ALL[1])
        return lambda item: item.owner == email or (email in item.viewers and (drives or not item.drive))

    @_method(
        "files.get", "GET", "files/{fileId}", "fileId", "supportsAllDrives", "acknowledgeAbuse",
        schema="File", default="kind,id,name,mimeType",
    )  # fmt: skip
    def _get(self, call: Call) -> Answer:
        item = self._seen(call, call.flag("supportsAllDrives"))
        if call.values.get("alt") == "media":
            return self._content(item)
        return Json(self._resources.file(item, call.person.email, call.mask))

    def _content(self, item: Item) -> Answer:
        if item.kind != "blob":
            raise known_error(403, "fileNotDownloadable")
        if not item.can_download:
            raise known_error(403, "cannotDownloadFile")
        return FileContent(item)

    @_method("files.export", "GET", "files/{fileId}/export", "fileId", "mimeType")
    def _export(self, call: Call) -> Answer:
        item = self._seen(call, True)
        wanted = call.text("mimeType")
        if not wanted:
            raise bad_parameter("mimeType", "Required parameter: mimeType", "required")
        body = self._made(item, wanted, exports.EXPORT_LIMIT)
        if len(body) > exports.EXPORT_LIMIT:
            raise known_error(403, "exportSizeLimitExceeded")
        return Made(body, wanted)

    def _made(self, item: Item, wanted: str, limit: int | None) -> bytes:
        if item.kind != "native" or item.mime_type not in exports.EXPORTS:
            raise known_error(403, "fileNotExportable")
        if not item.can_download:
            raise known_error(403, "cannotDownloadFile")
        make = exports.EXPORTS[item.mime_type].get(wanted)
        if make is None:
            raise bad_parameter("convertTo", "The requested conversion is not supported.", "badRequest")
        # No format makes text shorter than a twentieth of its stub, so a huge one need not even be read.
        if limit is not None and item.size > 20 * limit:
            raise known_error(403, "exportSizeLimitExceeded")
        try:
            return make(self._folder.path_of(item).read_bytes())
        except FileNotFoundError as error:
            raise file_not_found(item.id) from error
        except PermissionError as error:  # of a file that this user of the machine may not read
            raise known_error(403, "cannotDownloadFile") from error

    @_method(
        "files.download",
        "POST",
        "files/{fileId}/download",
        "fileId",
        "mimeType",
        "revisionId",
        schema="Operation",
        default="*",
    )
    def _download(self, call: Call) -> Answer:
        item = self._seen(call, True)
        wanted = call.text("mimeType") or exports.DOWNLOADS.get(item.mime_type, "")
        if item.kind == "blob":
            wanted = item.mime_type
            self._content(item)
        elif item.mime_type not in exports.EXPORTS:
            raise known_error(403, "fileNotDownloadable")
        elif wanted not in exports.EXPORTS[item.mime_type]:
            raise bad_parameter("mimeType", "The requested conversion is not supported.", "badRequest")
        name = "AU" + secrets.token_urlsafe(24)
        now = self._faults.now()
        self._store.run("DELETE FROM operations WHERE expires < ?", now)
        self._store.run(
            "INSERT INTO operations (name, email, file, mime_type, expires) VALUES (?, ?, ?, ?, ?)",
            name, call.person.email, item.id, wanted, now + _OPERATION_SECONDS,
        )  # fmt: skip
        return Json({"name": name, "done": False, "metadata": {}})

    @_method("operations.get", "GET", "operations/{name}", "name", schema="Operation", default="*")
    def _operation(self, call: Call) -> Answer:
        name = call.variables["name"]
        item, _ = self._operated(name, call.person, call.keys)
        kind = "type.googleapis.com/google.apps.drive.v3.DownloadFileResponse"
        response = {
            "@type": kind,
            "downloadUri": f"{self._url()}/download/{name}",
            "partialDownloadAllowed": item.kind == "blob",
        }
        return Json({"name": name, "done": True, "metadata": {}, "response": response})

    def downloaded(self, name: str, person: Person, keys: Mapping[str, str]) -> Answer:
        """What a finished download operation holds."""
        item, wanted = self._operated(name, person, keys)
        return self._content(item) if item.kind == "blob" else Made(self._made(item, wanted, None), wanted)

    def spreadsheet(self, path: str, query: Mapping[str, str], person: Person, keys: Mapping[str, str]) -> Answer:
        """What the Sheets API says of a Sheet. Raises `ApiError`."""
        _, file_id, area = sheets.asked_for(path)
        item = self._folder.current(file_id)
        if item is None or not self._folder.may_open(person.email, item, keys):
            raise ApiError(404, "notFound", "Requested entity was not found.")
        if item.mime_type != exports.SPREADSHEET:
            raise ApiError(400, "badRequest", "This operation is not supported for this document")
        if not item.can_download:
            raise known_error(403, "cannotDownloadFile")
        tabs = exports.tabs_of(self._folder.path_of(item).read_bytes())
        return sheets.described(file_id, tabs) if area is None else sheets.values(tabs, area, query)

    def _operated(self, name: str, person: Person, keys: Mapping[str, str]) -> tuple[Item, str]:
        row = self._store.row(
            "SELECT file, mime_type FROM operations WHERE name = ? AND email = ? AND expires > ?",
            name, person.email, self._faults.now(),
        )  # fmt: skip
        if row is None:
            raise ApiError(404, "notFound", f"Operation not found: {name}.", location="name")
        item = self._folder.current(row["file"])
        if item is None or not self._folder.may_open(person.email, item, keys):
            raise file_not_found(row["file"])
        return item, row["mime_type"]

    def _seen(self, call: Call, all_drives: bool) -> Item:
        """The file that the path names, as it is now, if this person may see it."""
        file_id = call.variables["fileId"]
        email = call.person.email
        item = self._folder.root_of(email) if file_id == "root" else self._folder.current(file_id)
        if item is None or not self._folder.may_open(email, item, call.keys) or (item.drive and not all_drives):
            raise file_not_found(file_id)
        return item

    # Changes

    @_method(
        "changes.getStartPageToken", "GET", "changes/startPageToken", "driveId", "supportsAllDrives",
        schema="StartPageToken", default="*",
    )  # fmt: skip
    def _start_token(self, call: Call) -> Answer:
        if call.text("driveId"):
            self._drive_of(call, call.text("driveId"))
        return Json({"kind": "drive#startPageToken", "startPageToken": str(self._folder.last_seq() + 1)})

    @_method(
        "changes.list", "GET", "changes",
        "pageToken", "pageSize", "includeRemoved", "restrictToMyDrive", "driveId", "spaces", "includeCorpusRemovals",
        *_ALL,
        schema="ChangeList",
        default="kind,nextPageToken,newStartPageToken,changes(kind,changeType,time,removed,fileId,driveId,"
        "file(kind,id,name,mimeType),drive(kind,id,name))",
    )  # fmt: skip
    def _changes(self, call: Call) -> Answer:
        corpus = self._corpus(call)
        # A token names the first entry that has not been seen.
        after = self._change_token(call) - 1
        rows, last, more = self._folder.changes(corpus, after, call.size(100, 1000))
        inner = below(call.mask, "changes")
        said: dict[str, Any] = {"kind": "drive#changeList"}
        said["changes"] = [one for row in rows if (one := self._change(call, row, inner)) is not None]
        if more:
            said["nextPageToken"] = str(rows[-1].seq + 1)
        else:
            said["newStartPageToken"] = str(last + 1)
        return Json(said)

    def _change(self, call: Call, row: Change, mask: Mask) -> dict[str, Any] | None:
        """One entry as the person sees it, or None if they did not ask for its kind."""
        said: dict[str, Any] = {
            "kind": "drive#change",
            "changeType": row.kind,
            "time": moment(int(row.time * 1000)),
            "removed": row.removed,
        }
        if row.kind == "drive":
            drive = self._folder.drive(row.subject)
            if not call.flag("supportsAllDrives"):
                return None
            said["driveId"] = row.subject
            said["removed"] = row.removed or drive is None
            if drive is not None and not row.removed:
                said["drive"] = self._resources.drive(drive)
        else:
            item = self._folder.item(row.subject)
            said["fileId"] = row.subject
            said["removed"] = row.removed or item is None
            if item is not None and not row.removed:
                mine = item.owner == call.person.email
                if call.flag("restrictToMyDrive") and not mine:
                    return None
                if item.drive and not call.flag(_ALL[1]):
                    return None
                said["file"] = self._resources.file(item, call.person.email, below(mask, "file"))
        return None if said["removed"] and not call.flag("includeRemoved", True) else said

    @_method(
        "changes.watch", "POST", "changes/watch",
        "pageToken", "pageSize", "includeRemoved", "restrictToMyDrive", "driveId", "spaces", "includeCorpusRemovals",
        *_ALL,
        schema="Channel", default="*",
    )  # fmt: skip
    def _watch(self, call: Call) -> Answer:
        corpus = self._corpus(call)
        self._change_token(call)
        drive = f"&driveId={call.text('driveId')}" if call.text("driveId") else ""
        uri = f"{self._url()}/drive/v3/changes?alt=json{drive}&pageToken={call.text('pageToken')}"
        after = self._folder.last_seq()
        return Json(self._push.watch(call.person.email, call.client, corpus, uri, after, call.body))

    @_method("channels.stop", "POST", "channels/stop")
    def _stop(self, call: Call) -> Answer:
        self._push.stop(call.person.email, call.client, call.body.get("id"), call.body.get("resourceId"))
        return Empty()

    def _corpus(self, call: Call) -> str:
        """The change log that is meant."""
        drive_id = call.text("driveId")
        if not drive_id:
            return f"user:{call.person.email}"
        if not (call.flag(_ALL[0]) and call.flag(_ALL[1])):
            message = "The includeItemsFromAllDrives and supportsAllDrives parameters must be true with a driveId."
            raise bad_parameter("includeItemsFromAllDrives", message)
        self._drive_of(call, drive_id)
        return f"drive:{drive_id}"

    def _change_token(self, call: Call) -> int:
        token = call.text("pageToken")
        if not token:
            raise bad_parameter("pageToken", "Required parameter: pageToken", "required")
        # A number from the future is one of another Drive: its data directory was thrown away.
        if not token.isascii() or not token.isdigit() or not 0 < int(token) <= self._folder.last_seq() + 1:
            raise bad_parameter("pageToken", "Invalid Value")
        return int(token)

    # Shared drives

    @_method("drives.list", "GET", "drives", "pageSize", "pageToken", schema="DriveList",
             default="kind,nextPageToken,drives(kind,id,name)")  # fmt: skip
    def _drives(self, call: Call) -> Answer:
        drives = self._folder.drives_of(call.person.email)
        start = 0
        if call.text("pageToken"):
            start = int(_listing_token(call.text("pageToken"), "drives")[0])
        end = start + call.size(10, 100)
        said: dict[str, Any] = {
            "kind": "drive#driveList", "drives": [self._resources.drive(drive) for drive in drives[start:end]],
        }  # fmt: skip
        if end < len(drives):
            said["nextPageToken"] = _token(["drives", [end]])
        return Json(said)

    @_method("drives.get", "GET", "drives/{driveId}", "driveId", schema="Drive", default="kind,id,name")
    def _drive(self, call: Call) -> Answer:
        return Json(self._resources.drive(self._drive_of(call, call.variables["driveId"])))

    def _drive_of(self, call: Call, drive_id: str) -> Drive:
        drive = self._folder.drive(drive_id)
        if drive is None or call.person.email not in drive.members:
            raise ApiError(
                404, "notFound", f"Shared drive not found: {drive_id}", location="driveId", place="parameter"
            )
        return drive


def _token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _listing_token(token: str, digest: str) -> list[Any]:
    """Where the last page ended. A token of another query is refused, as Drive refuses it."""
    try:
        said = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if isinstance(said, list) and len(said) == 2 and said[0] == digest and isinstance(said[1], list):
            return said[1]
    except ValueError:
        pass
    raise bad_parameter("pageToken", "Invalid Value")
