"""Files, shared drives and people as Drive v3's JSON says them. 64-bit numbers are strings, as on the wire."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from infra.local.google.export import EXPORTS
from infra.local.google.fields import Mask, selects
from infra.local.google.folder import Drive, FolderDrive
from infra.local.google.items import Item, resource_key
from infra.local.google.layout import Person


class Resources:
    """Renders what one person may see. `url` is the server's address, `secret` signs the links of the open page."""

    def __init__(self, folder: FolderDrive, url: Callable[[], str], secret: bytes) -> None:
        self._folder = folder
        self._url = url
        self._secret = secret

    def file(self, item: Item, email: str, mask: Mask) -> dict[str, Any]:
        """One file; checksums are computed only if the mask asks for them."""
        if item.kind == "blob" and any(selects(mask, f) for f in ("md5Checksum", "sha1Checksum", "sha256Checksum")):
            item = self._folder.with_checksums(item)
        said = self._common(item, email)
        if item.kind == "blob":
            said |= _binary(item) | {"webContentLink": f"{self._url()}/drive/v3/files/{item.id}?alt=media"}
        elif item.kind == "native":
            said |= {"size": str(item.size), "quotaBytesUsed": str(item.size)}
            if item.mime_type in EXPORTS:
                said["exportLinks"] = {
                    kind: f"{self._url()}/drive/v3/files/{item.id}/export?mimeType={quote(kind, safe='')}"
                    for kind in EXPORTS[item.mime_type]
                }
        elif item.kind == "shortcut":
            said["shortcutDetails"] = {"targetId": item.target}
            if item.target_mime_type:
                said["shortcutDetails"]["targetMimeType"] = item.target_mime_type
            target = self._folder.item(item.target)
            if target is not None and target.link_shared:
                said["shortcutDetails"]["targetResourceKey"] = resource_key(target.id)
        return said

    def _common(self, item: Item, email: str) -> dict[str, Any]:
        editable = item.owner == email or bool(item.drive)
        said: dict[str, Any] = {
            "kind": "drive#file",
            "id": item.id,
            "name": item.name,
            "mimeType": item.mime_type,
            "starred": item.starred and item.owner == email,
            "trashed": item.trashed,
            "explicitlyTrashed": item.explicitly_trashed,
            "spaces": ["drive"],
            "version": str(item.version),
            "webViewLink": self.open_link(item, email),
            "hasThumbnail": False,
            "createdTime": moment(item.created),
            "modifiedTime": moment(item.modified),
            "ownedByMe": item.owner == email,
            "shared": bool(item.viewers or item.drive),
            "isAppAuthorized": True,
            "copyRequiresWriterPermission": not item.can_download,
            "downloadRestrictions": {
                "itemDownloadRestriction": _restriction(item),
                "effectiveDownloadRestrictionWithContext": _restriction(item),
            },
            "capabilities": {
                "canDownload": item.can_download,
                "canCopy": item.can_download and not item.is_folder,
                "canEdit": editable,
                "canRename": editable,
                "canTrash": editable,
                "canListChildren": item.is_folder,
                "canReadRevisions": editable and not item.is_folder,
            },
        }
        if item.link_shared:
            said["resourceKey"] = resource_key(item.id)
        if item.description:
            said["description"] = item.description
        parent = self._folder.item(item.parent)
        if parent is not None and self._folder.may_see(email, parent):
            said["parents"] = [parent.id]
        if item.drive:
            said |= {"driveId": item.drive, "hasAugmentedPermissions": email in item.viewers}
        else:
            owner = self._folder.layout.person(item.owner)
            people = [user(owner, email)] if owner else []
            said |= {"owners": people} | ({"lastModifyingUser": people[0]} if people else {})
        if email in item.shared_with:
            said["sharedWithMeTime"] = moment(item.created)
        return said

    def drive(self, drive: Drive) -> dict[str, Any]:
        """One shared drive."""
        return {
            "kind": "drive#drive",
            "id": drive.id,
            "name": drive.name,
            "createdTime": moment(drive.created),
            "hidden": False,
            "capabilities": {"canDownload": True, "canCopy": True, "canListChildren": True, "canReadRevisions": True},
        }

    def open_link(self, item: Item, email: str) -> str:
        """A page that shows the file, for the person to whom the link was given and nobody else."""
        return f"{self._url()}/open/{item.id}?for={quote(email)}&key={self.open_key(item.id, email)}"

    def open_key(self, file_id: str, email: str) -> str:
        """What proves that a link was given to this person."""
        return hmac.new(self._secret, f"{file_id}\0{email}".encode(), hashlib.sha256).hexdigest()[:32]


def user(person: Person, me: str) -> dict[str, Any]:
    """A person as Drive shows them to somebody."""
    return {
        "kind": "drive#user",
        "displayName": person.name,
        "me": person.email == me,
        "permissionId": person.permission_id,
        "emailAddress": person.email,
    }


def moment(milliseconds: int) -> str:
    """RFC 3339 with milliseconds, in UTC. Times that no calendar holds are cut to what it does."""
    seconds, rest = divmod(max(0, min(milliseconds, 253_402_300_799_999)), 1000)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03d}Z"


def revision_id(item: Item) -> str:
    """The id of the content: another one for other content."""
    digest = hashlib.sha256(f"{item.id}/{item.revision}".encode()).hexdigest()
    return "0B" + digest[:49]


def _binary(item: Item) -> dict[str, Any]:
    said = {
        "originalFilename": item.name,
        "size": str(item.size),
        "quotaBytesUsed": str(item.size),
        "headRevisionId": revision_id(item),
    }
    _, dot, full = item.name.partition(".")
    if dot and full:
        said |= {"fullFileExtension": full, "fileExtension": item.name.rpartition(".")[2] or full}
    if item.md5:
        said |= {"md5Checksum": item.md5, "sha1Checksum": item.sha1, "sha256Checksum": item.sha256}
    return said


def _restriction(item: Item) -> dict[str, bool]:
    return {"restrictedForReaders": not item.can_download, "restrictedForWriters": False}
