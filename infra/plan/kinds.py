"""The kinds of files that a plan tells apart, because each costs something else, and what one of each is like.

What a typical file is like is an assumption, printed with every plan: sizes relative to each other, and what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Kind:
    """A typical file of a kind. `weight`: its size beside a text's; the rest for each megabyte of it."""

    name: str
    what: str
    weight: float
    fetched: float  # the share of its bytes that is read at all
    characters: float  # of text, for each megabyte
    pages: float  # to be recognised, for each megabyte
    least_pages: int = 0  # of a file
    requests: int = 1  # for content, each of which Drive counts as a download


_TABLE = (
    Kind("text", "plain text, Markdown, CSV, code, mail", 1, 1, 950_000, 0),
    Kind("pdf", "PDF with a text layer", 20, 1, 30_000, 0, requests=2),
    Kind("scans", "PDF of scanned pages", 60, 1, 0, 4, 1, requests=2),
    Kind("office", "DOCX, XLSX, PPTX, ODF and their like", 10, 1, 60_000, 0, requests=2),
    Kind("images", "photographs and other pictures, recognised", 50, 1, 0, 0, 1),
    Kind("media", "audio, video, archives, programs: listed, never fetched", 2_000, 0, 0, 0),
    Kind("native", "Google's own documents, exported", 1, 1, 700_000, 0),
)
_EXTENSIONS = {
    "pdf": "pdf epub",
    "office": "docx xlsx pptx odt ods odp doc xls ppt zip",
    "images": "png jpg jpeg gif tiff tif webp bmp heic",
    "media": "mp4 mov mp3 wav exe bin dat iso tmp dat2",
    "native": "gdoc gsheet gslides gdraw",
}
_BY_EXTENSION = {extension: kind for kind, some in _EXTENSIONS.items() for extension in some.split()}
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _TABLE}
# Shares of the files, in percent: what people keep who keep everything.
USUAL_MIX = {"text": 25.0, "pdf": 20.0, "scans": 4.0, "office": 20.0, "images": 20.0, "media": 3.0, "native": 8.0}


class MixError(ValueError):
    """A mix that cannot be meant; the message says why."""


def mix_of(text: str) -> dict[str, float]:
    """Shares that add up to 1, from `text=30,pdf=25,...` (in any unit: 30 and 0.3 are the same among their like)."""
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, said = part.partition("=")
        name = name.strip()
        if name not in KINDS:
            raise MixError(f"There is no kind {name!r}; there are {', '.join(KINDS)}.")
        if name in shares:
            raise MixError(f"The kind {name!r} is given twice.")
        try:
            share = float(said.strip().rstrip("%"))
        except ValueError:
            share = -1.0
        if not 0 <= share < float("inf"):
            raise MixError(f"The share of {name!r} must be a number of at least 0, as in {name}=20, not {said!r}.")
        shares[name] = share
    whole = sum(shares.values())
    if not whole:
        raise MixError("A mix needs at least one share above 0, as in text=60,pdf=40.")
    return {name: share / whole for name, share in shares.items() if share}


def kind_of(name: str) -> str:
    """The kind of a file by its name, as far as a name tells; what has no known ending is text, as most of it is."""
    extension = PurePosixPath(name).suffix.lower().lstrip(".")
    return _BY_EXTENSION.get(extension, "text")
