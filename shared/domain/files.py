"""A file as Drive describes it: what it is, what names its content, and how its text can be had.

`File.from_drive` is tolerant: a server that speaks Drive v3 may know only id, name, type, size, MD5 and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
DOCUMENT = "application/vnd.google-apps.document"
SPREADSHEET = "application/vnd.google-apps.spreadsheet"
PRESENTATION = "application/vnd.google-apps.presentation"
DRAWING = "application/vnd.google-apps.drawing"
_NATIVE = "application/vnd.google-apps."
_OFFICE = "application/vnd.openxmlformats-officedocument."
_XLSX = f"{_OFFICE}spreadsheetml.sheet"
_PPTX = f"{_OFFICE}presentationml.presentation"
# No format of Drive's: a Sheet's tabs asked for row by row, where no export of the whole can be read.
TABS = "application/vnd.drivestream.tabs"

# The fields mask for one file: nothing outside it is answered, and each field here is read by somebody.
FIELDS = (
    "id,name,mimeType,size,md5Checksum,sha1Checksum,sha256Checksum,headRevisionId,version,createdTime,modifiedTime,"
    "trashed,explicitlyTrashed,parents,driveId,ownedByMe,owners(emailAddress,permissionId),"
    "lastModifyingUser(emailAddress),webViewLink,resourceKey,fileExtension,"
    "shortcutDetails(targetId,targetMimeType,targetResourceKey),capabilities(canDownload,canCopy),"
    "copyRequiresWriterPermission,downloadRestrictions,exportLinks,contentRestrictions(readOnly,type)"
)

# What to read a native file as, rung by rung: the next one where the one before is too large. A Doc's pictures are in
# its Markdown and not in its plain text. Slides have numbers and speaker notes in PPTX only. A Sheet's CSV is its first
# tab alone, so it stands for the whole only where nothing else is offered. A drawing's PDF keeps its words as text; its
# SVG may keep only curves.
_EXPORTS: Mapping[str, tuple[str, ...]] = {
    DOCUMENT: ("text/markdown", "text/plain"),
    SPREADSHEET: (_XLSX,),
    PRESENTATION: (_PPTX, "text/plain", "application/pdf"),
    DRAWING: ("application/pdf", "image/svg+xml", "image/png"),
}
_LAST_RESORT: Mapping[str, str] = {SPREADSHEET: "text/csv"}
# What is asked for when the server does not say what it can export.
_USUAL: Mapping[str, tuple[str, ...]] = {
    DOCUMENT: ("text/markdown", "text/plain"),
    SPREADSHEET: (_XLSX,),
    PRESENTATION: (_PPTX, "text/plain"),
    DRAWING: ("image/svg+xml",),
}
_BY_PARTS: Mapping[str, str] = {SPREADSHEET: TABS}
_WITHOUT_TEXT: Mapping[str, str] = {
    "form": "A Google Form has no text that Drive can export. Link its answers to a Sheet; that is read.",
    "site": "A Google Site has no text that Drive can export. Save its pages as a document if they should be found.",
    "map": "A Google My Map has no text that Drive can export.",
    "jam": "A Jamboard has no text that Drive can export. Save it as a PDF if it should be found.",
    "vid": "A Google Vids video has no text that Drive can export.",
    "script": "An Apps Script project is not exported with permission to read only. Keep a copy of its code as files.",
    "fusiontable": "A Fusion Table can no longer be exported. Save it as a Google Sheet if it should be found.",
    "drive-sdk": "This file belongs to another app and is kept outside Drive. Save it as a PDF or document in Drive.",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file of Drive as it was when Drive was asked. Times are aware; `size` is in bytes.

    `version` grows with every change at the server, visible or not; 0 means that the server does not say.
    """

    id: str
    name: str
    mime_type: str
    size: int | None = None
    md5: str | None = None
    sha1: str | None = None
    sha256: str | None = None
    head_revision_id: str | None = None
    version: int = 0
    created_time: datetime | None = None
    modified_time: datetime | None = None
    trashed: bool = False
    explicitly_trashed: bool = False
    parents: tuple[str, ...] = ()
    drive_id: str | None = None
    owned_by_me: bool | None = None
    owners: tuple[str, ...] = ()  # e-mail addresses
    last_modifying_user: str | None = None
    web_view_link: str | None = None
    resource_key: str | None = None
    extension: str | None = None
    target_id: str | None = None
    target_mime_type: str | None = None
    target_resource_key: str | None = None
    can_download: bool = True
    can_copy: bool = True
    copy_requires_writer: bool = False
    download_restricted: bool = False
    read_only: bool = False
    exports: tuple[str, ...] = ()  # MIME types that Drive offers to export this file as

    @classmethod
    def from_drive(cls, answer: Mapping[str, Any]) -> File:
        """Read Drive's JSON. Raises ValueError where even the id is missing."""
        if not answer.get("id"):
            raise ValueError("A file without an id")
        target = _mapping(answer.get("shortcutDetails"))
        capabilities = _mapping(answer.get("capabilities"))
        return cls(
            id=str(answer["id"]),
            name=str(answer.get("name") or ""),
            mime_type=str(answer.get("mimeType") or "application/octet-stream"),
            size=_number(answer.get("size")),
            md5=_digest(answer.get("md5Checksum")),
            sha1=_digest(answer.get("sha1Checksum")),
            sha256=_digest(answer.get("sha256Checksum")),
            head_revision_id=answer.get("headRevisionId"),
            version=_number(answer.get("version")) or 0,
            created_time=moment(answer.get("createdTime")),
            modified_time=moment(answer.get("modifiedTime")),
            trashed=answer.get("trashed") is True,
            explicitly_trashed=answer.get("explicitlyTrashed") is True,
            parents=tuple(answer.get("parents") or ()),
            drive_id=answer.get("driveId"),
            owned_by_me=answer.get("ownedByMe"),
            owners=tuple(o["emailAddress"] for o in answer.get("owners") or () if o.get("emailAddress")),
            last_modifying_user=_mapping(answer.get("lastModifyingUser")).get("emailAddress"),
            web_view_link=answer.get("webViewLink"),
            resource_key=answer.get("resourceKey"),
            extension=answer.get("fileExtension"),
            target_id=target.get("targetId"),
            target_mime_type=target.get("targetMimeType"),
            target_resource_key=target.get("targetResourceKey"),
            can_download=capabilities.get("canDownload") is not False,
            can_copy=capabilities.get("canCopy") is not False,
            copy_requires_writer=answer.get("copyRequiresWriterPermission") is True,
            download_restricted=_restricted(_mapping(answer.get("downloadRestrictions"))),
            read_only=any(_mapping(r).get("readOnly") is True for r in answer.get("contentRestrictions") or ()),
            exports=tuple(_mapping(answer.get("exportLinks"))),
        )

    @property
    def is_folder(self) -> bool:
        """A folder holds files and has no content of its own."""
        return self.mime_type == FOLDER

    @property
    def is_shortcut(self) -> bool:
        """A shortcut points to another file and has no content of its own."""
        return self.mime_type == SHORTCUT

    @property
    def is_native(self) -> bool:
        """Made by Google's editors: without bytes of its own, to be exported."""
        return self.mime_type.startswith(_NATIVE) and not self.is_folder and not self.is_shortcut

    @property
    def content_key(self) -> str:
        """The name of the content: equal keys mean equal bytes. A native file has no bytes, so its time stands in."""
        if not self.is_native:
            if self.sha256:
                return f"sha256:{self.sha256}"
            if self.md5:
                return f"md5:{self.md5}"
            if self.head_revision_id:
                return f"revision:{self.head_revision_id}"
        return f"modified:{self.modified_time.isoformat() if self.modified_time else self.version}"

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The strongest checksum that Drive states, as (algorithm, hexadecimal digest)."""
        for algorithm, digest in (("sha256", self.sha256), ("sha1", self.sha1), ("md5", self.md5)):
            if digest:
                return algorithm, digest
        return None

    def as_row(self) -> dict[str, Any]:
        """The file as Postgres keeps it: JSON-able, with the names of the columns."""
        return {
            "file_id": self.id,
            "drive_id": self.drive_id,
            "name": self.name,
            "mime_type": self.mime_type,
            "size": self.size,
            "md5_checksum": self.md5,
            "sha256_checksum": self.sha256,
            "head_revision_id": self.head_revision_id,
            "version": self.version,
            "content_key": self.content_key,
            "created_time": self.created_time.isoformat() if self.created_time else None,
            "modified_time": self.modified_time.isoformat() if self.modified_time else None,
            "parents": list(self.parents),
            "owned_by_me": self.owned_by_me,
            "owners": list(self.owners),
            "web_view_link": self.web_view_link,
            "resource_key": self.resource_key,
            "shortcut_target_id": self.target_id,
            "capabilities": {"canDownload": self.can_download, "canCopy": self.can_copy},
            "is_folder": self.is_folder,
        }


def exports_of(file: File) -> tuple[str, ...]:
    """The ladder of a native file: the MIME types to read it as, best first, each for want of the one before. Empty
    when Drive has no text for it (`why_not_exported`)."""
    if file.mime_type not in _EXPORTS:
        return ()
    wanted = _EXPORTS[file.mime_type]
    offered = tuple(mime_type for mime_type in wanted if mime_type in file.exports)
    if not offered and _LAST_RESORT.get(file.mime_type) in file.exports:
        return (_LAST_RESORT[file.mime_type],)
    parts = _BY_PARTS.get(file.mime_type)
    return (offered or _USUAL[file.mime_type]) + ((parts,) if parts else ())


def why_not_exported(file: File) -> str | None:
    """The sentence for a person when a native file has no text to export, else None."""
    if not file.is_native or exports_of(file):
        return None
    kind = file.mime_type.removeprefix(_NATIVE).split(".")[0]
    return _WITHOUT_TEXT.get(kind, f"Drive has no text to export for this kind of file ({kind}).")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> int | None:
    """Drive writes 64-bit numbers as strings."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _digest(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and value else None


def moment(value: Any) -> datetime | None:
    """A time as Drive writes it, None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _restricted(restrictions: Mapping[str, Any]) -> bool:
    effective = _mapping(restrictions.get("effectiveDownloadRestrictionWithContext"))
    return effective.get("restrictedForReaders") is True
