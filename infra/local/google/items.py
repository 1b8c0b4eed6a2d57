"""Files, folders, native files and shortcuts of the folder, and how a path on disk becomes one of them."""

from __future__ import annotations

import codecs
import hashlib
import json
import mimetypes
import os
import secrets
import string
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

GOOGLE = "application/vnd.google-apps."
FOLDER = GOOGLE + "folder"
SHORTCUT = GOOGLE + "shortcut"
# What a stub's name ends in, and the native type that it stands for.
STUBS = {
    ".gdoc": GOOGLE + "document",
    ".gsheet": GOOGLE + "spreadsheet",
    ".gslides": GOOGLE + "presentation",
    ".gdraw": GOOGLE + "drawing",
    ".gform": GOOGLE + "form",
    ".gsite": GOOGLE + "site",
    ".gmap": GOOGLE + "map",
    ".gshortcut": SHORTCUT,
}
CHECKSUM_LIMIT = 1024**3
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
# The standard library's table is older than these, and the machine's own would make the answer differ by machine.
_MORE_TYPES = {
    ".md": "text/markdown", ".markdown": "text/markdown", ".docx": _OFFICE + "wordprocessingml.document",
    ".xlsx": _OFFICE + "spreadsheetml.sheet", ".pptx": _OFFICE + "presentationml.presentation",
    ".odt": _OPEN + "text", ".ods": _OPEN + "spreadsheet", ".odp": _OPEN + "presentation",
    ".epub": "application/epub+zip", ".rtf": "application/rtf", ".webp": "image/webp", ".heic": "image/heic",
    ".yaml": "application/x-yaml", ".yml": "application/x-yaml", ".toml": "text/plain", ".ini": "text/plain",
    ".log": "text/plain", ".mbox": "application/mbox", ".eml": "message/rfc822", ".jsonl": "application/x-ndjson",
    ".ts": "text/x-typescript", ".go": "text/x-go", ".rs": "text/x-rust", ".sql": "application/sql",
    ".gz": "application/gzip", ".7z": "application/x-7z-compressed", ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz", ".parquet": "application/vnd.apache.parquet", ".flac": "audio/flac",
    ".m4a": "audio/mp4", ".mkv": "video/x-matroska", ".xml": "text/xml", ".js": "text/javascript",
}  # fmt: skip
_TYPES = mimetypes.MimeTypes(filenames=())
_ALPHABET = string.ascii_letters + string.digits + "-_"

Kind = Literal["folder", "blob", "native", "shortcut"]


class Entry(NamedTuple):
    """What the disk says about one path, relative to the served folder. `space` is whose: an e-mail or a drive id."""

    path: str
    parent: str
    space: str
    is_folder: bool
    inode: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Item:
    """What Drive knows about one file. Paths are relative to the folder, times in milliseconds since 1970.

    `inode`, `size` and `mtime_ns` are the file on disk whose content this is; `mtime_ns` is -1 while a later edit could
    hide behind the same time stamp.
    """

    id: str
    path: str
    space: str
    is_folder: bool
    inode: str
    size: int
    mtime_ns: int
    name: str
    kind: Kind
    mime_type: str
    parent: str
    created: int
    modified: int
    version: int = 1
    revision: int = 1
    owner: str = ""
    drive: str = ""
    trashed: bool = False
    explicitly_trashed: bool = False
    starred: bool = False
    can_download: bool = True
    link_shared: bool = False
    description: str = ""
    shared_with: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    target: str = ""
    target_mime_type: str = ""
    target_path: str = ""
    content_type: str = ""
    md5: str = ""
    sha1: str = ""
    sha256: str = ""
    gone_at: float = 0.0

    def same_content_as(self, entry: Entry) -> bool:
        """Whether the disk still holds the very file whose content this is."""
        return (self.inode, self.size, self.mtime_ns) == (entry.inode, entry.size, entry.mtime_ns)

    def shown(self) -> tuple[Any, ...]:
        """All that a person can see of the file; when it changes, the file's version grows."""
        return (
            self.name, self.kind, self.mime_type, self.parent, self.modified, self.revision, self.owner, self.drive,
            self.trashed, self.explicitly_trashed, self.starred, self.can_download, self.link_shared, self.description,
            self.shared_with, self.viewers, self.target, self.target_mime_type,
        )  # fmt: skip

    def dumps(self) -> str:
        """As JSON text."""
        # Ten times as fast as asdict, which copies every value deeply.
        return json.dumps({name: getattr(self, name) for name in Item.__slots__}, separators=(",", ":"))


def loads(text: str) -> Item:
    """The item of a JSON text."""
    values = json.loads(text)
    return Item(**{**values, "shared_with": tuple(values["shared_with"]), "viewers": tuple(values["viewers"])})


def resource_key(file_id: str) -> str:
    """What opens a file that is shared by its link, beside its id."""
    return "0-" + hashlib.sha256(f"key of {file_id}".encode()).hexdigest()[:22]


def new_id() -> str:
    """A fresh id that looks like Drive's: 33 characters."""
    return "1" + "".join(secrets.choice(_ALPHABET) for _ in range(32))


def new_root_id() -> str:
    """A fresh id of a My Drive or shared drive: 19 characters."""
    return "0A" + "".join(secrets.choice(_ALPHABET) for _ in range(14)) + "PVA"


def invented_id(text: str) -> str:
    """The id of something that is not there, such as a shortcut's lost target; always the same for one text."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return "1" + "".join(_ALPHABET[byte % 64] for byte in digest)


def clean(name: str) -> str:
    """A file name as text: bytes that are no UTF-8 become the replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


def name_and_kind(path: str) -> tuple[str, Kind]:
    """Drive's name and kind of a file at this path."""
    place = PurePosixPath(path)
    if place.suffix in STUBS:
        return clean(place.stem), "shortcut" if STUBS[place.suffix] == SHORTCUT else "native"
    return clean(place.name), "blob"


def mime_type_of(path: Path) -> str:
    """Drive's MIME type of a file on disk: a stub's native type, else by name, else by a look at the first bytes."""
    suffix = path.suffix
    return STUBS[suffix] if suffix in STUBS else _mime_type(path, suffix.lower())


def _mime_type(path: Path, suffix: str) -> str:
    known = _MORE_TYPES.get(suffix) or _TYPES.types_map[True].get(suffix) or _TYPES.types_map[False].get(suffix)
    if known:
        return known
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        start = b""
    return "text/plain" if start and _is_text(start) else "application/octet-stream"


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def shortcut_target(path: Path) -> str:
    """The path that a shortcut's stub names, or an empty text."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    target = said.get("target") if isinstance(said, dict) else None
    return os.path.normpath(target) if isinstance(target, str) and target else ""


def checksums(path: Path) -> tuple[str, str, str]:
    """MD5, SHA-1 and SHA-256 of a file, in hexadecimal, with constant memory. Raises OSError."""
    digests = [hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False), hashlib.sha256()]
    block = bytearray(1024 * 1024)
    view = memoryview(block)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            for digest in digests:
                digest.update(view[:count])
    md5, sha1, sha256 = (digest.hexdigest() for digest in digests)
    return md5, sha1, sha256
