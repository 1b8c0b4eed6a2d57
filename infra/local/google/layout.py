"""Who owns what in the folder: the test people, the shared drives, and what `.drive.json` says about single files.

Without `.drive.json` the folder is the My Drive of the first test person, and a second one has an empty Drive.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAYOUT_FILE = ".drive.json"


class LayoutError(Exception):
    """The folder or its `.drive.json` cannot be served; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Person:
    """A test person. `folder` is relative to the served folder; None means an empty My Drive."""

    email: str
    name: str
    folder: str | None

    @property
    def sub(self) -> str:
        """The stable account id of an id token: 21 digits."""
        return "1" + str(int(_digest("sub", self.email), 16))[:20]

    @property
    def permission_id(self) -> str:
        """The id under which Drive knows the person: 20 digits."""
        return "0" + str(int(_digest("permission", self.email), 16))[:19]


@dataclass(frozen=True, slots=True)
class SharedDrive:
    """A shared drive and the e-mail addresses of its members."""

    name: str
    folder: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The people, the shared drives, and overrides by path relative to the folder."""

    people: tuple[Person, ...]
    shared_drives: tuple[SharedDrive, ...] = ()
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def person(self, email_or_sub: str) -> Person | None:
        """The person with this e-mail address or account id."""
        wanted = email_or_sub.strip().lower()
        return next((p for p in self.people if wanted in (p.email, p.sub)), None)


DEFAULT = Layout((Person("you@example.com", "You", "."), Person("guest@example.com", "Guest", None)))

_OVERRIDES: dict[str, type] = {
    "name": str,
    "mime_type": str,
    "description": str,
    "trashed": bool,
    "starred": bool,
    "can_download": bool,
    "link_shared": bool,
    "shared_with": list,
}


def read_layout(folder: Path) -> Layout:
    """What `.drive.json` says, or the default. Raises `LayoutError` with a sentence for a person."""
    try:
        text = (folder / LAYOUT_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return DEFAULT
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{folder / LAYOUT_FILE} cannot be read: {error}") from error
    try:
        return _layout(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(f"{folder / LAYOUT_FILE} is not as expected: {error}") from error


def _layout(document: Any) -> Layout:
    if not isinstance(document, dict):
        raise TypeError("it must be a JSON object")
    people = tuple(_person(person) for person in document.get("people", ())) or DEFAULT.people
    drives = tuple(_shared_drive(drive) for drive in document.get("shared_drives", ()))
    files = {_path(path): _overrides(path, said) for path, said in document.get("files", {}).items()}
    for what, values in (
        ("e-mail address", [p.email for p in people]),
        ("folder", [p.folder for p in people if p.folder is not None] + [d.folder for d in drives]),
    ):
        twice = {value for value in values if values.count(value) > 1}
        if twice:
            raise ValueError(f"the {what} {min(twice)!r} is used twice")
    return Layout(people, drives, files)


def _person(said: Any) -> Person:
    email = _text(said, "email").strip().lower()
    if "@" not in email:
        raise ValueError(f"{email!r} is not an e-mail address")
    folder = said.get("folder")
    return Person(email, str(said.get("name") or email.split("@")[0]), None if folder is None else _path(folder))


def _shared_drive(said: Any) -> SharedDrive:
    members = tuple(str(member).strip().lower() for member in said.get("members", ()))
    return SharedDrive(_text(said, "name"), _path(_text(said, "folder")), members)


def _overrides(path: str, said: Any) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise TypeError(f"files[{path!r}] must be an object")
    for name, value in said.items():
        if name not in _OVERRIDES:
            raise ValueError(f"files[{path!r}] has {name!r}; known are {', '.join(sorted(_OVERRIDES))}")
        if not isinstance(value, _OVERRIDES[name]):
            raise TypeError(f"files[{path!r}][{name!r}] must be a {_OVERRIDES[name].__name__}")
    return said


def _text(said: Any, name: str) -> str:
    if not isinstance(said, dict) or not isinstance(said.get(name), str) or not said[name].strip():
        raise ValueError(f"{said!r} needs the text {name!r}")
    return str(said[name])


def _path(path: Any) -> str:
    if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not a path below the folder")
    return posixpath.normpath(path)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
