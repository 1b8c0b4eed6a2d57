"""Names of documents and collections, and paths of fields: taken apart, checked and put in order.

`projects/P/databases/D/documents/rooms/1/seats/a`: the root is everything up to `documents`, then collection and
document ids take turns.
"""

from __future__ import annotations

import re

from infra.local.firestore.refusals import invalid

MAX_ID_BYTES = 1500
ROOT_SEGMENTS = 5

Segment = tuple[int, int, str]
NameKey = tuple[Segment, ...]
FieldPath = tuple[str, ...]

NAME: FieldPath = ("__name__",)

_RESERVED = re.compile(r"__.*__", re.DOTALL)
_NUMERIC = re.compile(r"__id(-?\d+)__")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_QUOTED = re.compile(r"`((?:[^`\\]|\\.)+)`", re.DOTALL)


def check_id(part: str) -> None:
    """Refuse a collection or document id that the service refuses."""
    if not part or part in {".", ".."} or "/" in part:
        raise invalid(f"{part!r} is not a valid id: it must not be empty, '.', '..' or contain '/'.")
    if _RESERVED.fullmatch(part) and not _NUMERIC.fullmatch(part):
        raise invalid(f"{part!r} is not a valid id: ids matching __.*__ are reserved.")
    if len(part.encode()) > MAX_ID_BYTES:
        raise invalid(f"An id is longer than {MAX_ID_BYTES} bytes.")


def check_document(name: str) -> None:
    """Refuse what is not the full name of a document."""
    segments = _segments(name)
    if not segments or len(segments) % 2:
        raise invalid(f"{name!r} is not the name of a document.")
    for part in segments:
        check_id(part)


def check_parent(name: str) -> None:
    """Refuse what is neither a database's root nor the full name of a document."""
    if _segments(name):
        check_document(name)


def _segments(name: str) -> list[str]:
    parts = name.split("/")
    if len(parts) < ROOT_SEGMENTS or (parts[0], parts[2], parts[4]) != ("projects", "databases", "documents"):
        raise invalid(f"{name!r} does not begin with projects/PROJECT/databases/DATABASE/documents.")
    return parts[ROOT_SEGMENTS:]


def relative(name: str) -> str:
    """The name without project and database: `rooms/1`."""
    return "/".join(name.split("/")[ROOT_SEGMENTS:])


def collection_of(name: str) -> str:
    """The full path of the collection that a document is in."""
    return name.rpartition("/")[0]


def name_key(name: str) -> NameKey:
    """The order of names: by segment, numeric ids first, text by its UTF-8 bytes."""
    return tuple(_segment_key(part) for part in name.split("/"))


def _segment_key(part: str) -> Segment:
    # Python orders text by code point, which is the order of its UTF-8 bytes.
    number = _NUMERIC.fullmatch(part) if part.startswith("__id") else None
    return (0, int(number[1]), "") if number else (1, 0, part)


def parse_field(path: str) -> FieldPath:
    """Split `a.b` or `` a.`strange name` `` into its field names."""
    names: list[str] = []
    at = 0
    while True:
        match = _SIMPLE.match(path, at) or _QUOTED.match(path, at)
        if match is None:
            raise invalid(f"Invalid property path {path!r}.")
        names.append(re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL) if match.re is _QUOTED else match[0])
        at = match.end()
        if at == len(path):
            return tuple(names)
        if path[at] != ".":
            raise invalid(f"Invalid property path {path!r}: quote unusual names with backticks.")
        at += 1


def format_field(path: FieldPath) -> str:
    """The inverse of `parse_field`."""
    return ".".join(part if _SIMPLE.fullmatch(part) else _quote(part) for part in path)


def _quote(part: str) -> str:
    return "`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`"
