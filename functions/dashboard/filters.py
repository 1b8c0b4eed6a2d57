"""What a search is narrowed to: kinds of files, a folder, an owner, a time, a drive, something named. No I/O.

Everything is checked here and goes into the SQL function, which filters before it cuts its lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.dashboard.visit import checked_id
from shared.domain.errors import BadRequest

NAMES = ("type", "folder", "owner", "from", "to", "drive", "entity")  # of the query parameters
ENTITY_KINDS = ("person", "organisation", "place", "date", "amount", "topic")

# A family of files and the MIME types in it, as patterns of SQL's LIKE. No type is in two families.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "document": (
        "application/vnd.google-apps.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.%",
        "application/vnd.ms-word.%",
        "application/msword",
        "application/vnd.oasis.opendocument.text%",
        "application/rtf",
        "text/rtf",
        "text/richtext",
        "application/epub+zip",
    ),
    "sheet": (
        "application/vnd.google-apps.spreadsheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.%",
        "application/vnd.ms-excel%",
        "application/vnd.oasis.opendocument.spreadsheet%",
        "text/csv",
        "text/tab-separated-values",
    ),
    "slides": (
        "application/vnd.google-apps.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.%",
        "application/vnd.ms-powerpoint%",
        "application/vnd.oasis.opendocument.presentation%",
    ),
    "pdf": ("application/pdf",),
    "picture": (
        "image/%",
        "application/vnd.google-apps.drawing",
        "application/vnd.google-apps.photo",
        "application/vnd.oasis.opendocument.graphics%",
    ),
    "mail": (
        "message/%",
        "application/mbox",
        "application/vnd.ms-outlook",
        "multipart/related",
        "application/x-mimearchive",
    ),
    "calendar": ("text/calendar", "text/vcard", "text/x-vcard"),
    "text": (
        "text/plain",
        "text/markdown",
        "text/x-markdown",
        "text/x-log",
        "text/x-rst",
        "text/x-tex",
        "application/x-tex",
        "text/vtt",
        "application/x-subrip",
    ),
    "web": ("text/html", "application/xhtml+xml"),
    "code": (
        "text/javascript",
        "application/javascript",
        "application/x-sh",
        "text/x-python",
        "text/x-script.python",
        "text/x-c%",
        "text/x-java%",
        "text/x-go",
        "text/x-ruby",
        "text/x-rust",
        "text/x-sh",
        "text/css",
        "application/sql",
        "application/json",
        "application/x-ndjson",
        "application/x-ipynb+json",
        "application/vnd.jupyter",
        "application/yaml",
        "text/yaml",
        "application/x-yaml",
        "application/toml",
        "application/xml",
        "text/xml",
        "application/rss+xml",
        "application/atom+xml",
    ),
    "archive": (
        "application/zip",
        "application/x-zip-compressed",
        "application/x-tar",
        "application/tar",
        "application/gzip",
        "application/x-gzip",
        "application/x-bzip%",
        "application/x-xz",
    ),
}

_OWNER = re.compile(r"[^\s@]{1,128}@[^\s@]{1,128}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a search, as the SQL function takes them; None filters nothing. `until` is not included."""

    kinds: list[str] | None = None
    folder: str | None = None
    owner: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    drive: str | None = None
    entity_kind: str | None = None
    entity_name: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Filters:
        """Checked query parameters: `type` (several with commas between), `folder`, `owner`, `from`, `to`, `drive`,
        `entity`. An empty one is none. Raises `BadRequest` with a sentence for a wrong one."""
        since, until = _moment(given.get("from")), _moment(given.get("to"), through=True)
        if since and until and since >= until:
            raise BadRequest("The time to search in ends before it begins.", status=422, code="bad_time")
        kind, name = _entity(given.get("entity"))
        return cls(
            _kinds(given.get("type")),
            _id(given.get("folder"), "folder"),
            _owner(given.get("owner")),
            since,
            until,
            _id(given.get("drive"), "drive"),
            kind,
            name,
        )

    def as_parameters(self) -> dict[str, Any]:
        """By the names of the SQL function's parameters."""
        return asdict(self)


def _kinds(asked: str | None) -> list[str] | None:
    if not asked:
        return None
    families = asked.split(",")
    if not all(family in FAMILIES for family in families):
        raise BadRequest(f"There is no such type; there are {', '.join(FAMILIES)}.", code="bad_type")
    return [pattern for family in FAMILIES if family in families for pattern in FAMILIES[family]]


def _id(asked: str | None, what: str) -> str | None:
    if not asked:
        return None
    try:
        return checked_id(asked)
    except BadRequest as error:
        raise BadRequest(f"A {what} is named by its id in Drive.", code=f"bad_{what}") from error


def _owner(asked: str | None) -> str | None:
    if not asked:
        return None
    if asked != "me" and not _OWNER.fullmatch(asked):
        raise BadRequest("An owner is an e-mail address, or me.", code="bad_owner")
    return asked


def _moment(asked: str | None, *, through: bool = False) -> datetime | None:
    """The beginning of a day, or `through` it; or a moment with its zone."""
    if not asked:
        return None
    try:
        at = datetime.fromisoformat(asked.replace(" ", "+"))
        if _DAY.fullmatch(asked):
            return at.replace(tzinfo=UTC) + timedelta(days=through)
    except (ValueError, OverflowError) as error:
        raise _no_time() from error
    if at.tzinfo is None:
        raise _no_time()
    return at


def _no_time() -> BadRequest:
    return BadRequest("A time to search from or to is a day, like 2026-11-23.", code="bad_time")


def _entity(asked: str | None) -> tuple[str | None, str | None]:
    if not asked:
        return None, None
    kind, _, name = asked.replace("\0", "").partition(":")
    if kind not in ENTITY_KINDS or not name.strip() or len(name) > _LONGEST_NAME:
        raise BadRequest(
            f"An entity is written like person:Ada Lovelace; kinds are {', '.join(ENTITY_KINDS)}.", code="bad_entity"
        )
    return kind, name.strip()
