"""What a reader makes of a file: parts in reading order, each with its place and the state to go on from.

A reader is an iterator of parts. It never looks back and never holds more than its bound. Every part carries
`after`: a small JSON-able dict from which the same reader goes on behind that part, so that a file read over
several lives gives the same parts as one read in a single life.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Locator:
    """A place in a file. Only the fields that mean something for its kind are set; pages, lines, rows and slides
    count from 1, bytes from 0 with `byte_end` exclusive. `part` names a mail attachment or a zip entry."""

    byte_start: int | None = None
    byte_end: int | None = None
    line_first: int | None = None
    line_last: int | None = None
    page_first: int | None = None
    page_last: int | None = None
    sheet: str | None = None
    row_first: int | None = None
    row_last: int | None = None
    slide: int | None = None
    heading: str | None = None
    part: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The set fields only, as stored in Postgres and answered by the API."""
        return {name: value for name in _NAMES if (value := getattr(self, name)) is not None}

    def through(self, last: Locator) -> Locator:
        """The place from the beginning of this one to the end of `last`; what the two do not share is left out."""
        return replace(
            self,
            byte_end=last.byte_end,
            line_last=last.line_last,
            page_last=last.page_last,
            row_last=last.row_last if self.sheet == last.sheet else None,
            sheet=self.sheet if self.sheet == last.sheet else None,
            row_first=self.row_first if self.sheet == last.sheet else None,
            slide=self.slide if self.slide == last.slide else None,
            heading=self.heading if self.heading == last.heading else None,
            part=self.part if self.part == last.part else None,
        )


_NAMES = tuple(spec.name for spec in fields(Locator))


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text with one place: a paragraph, a table row, a page. At most 64 KiB of UTF-8 each."""

    text: str
    locator: Locator
    after: State = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pages:
    """Whole PDF pages without a text layer, as a small PDF of their own: at most 15 pages and 2 MiB."""

    pdf: bytes
    locator: Locator
    after: State = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """One picture to be recognised, at most 2 MiB, in `mime_type`."""

    content: bytes
    mime_type: str
    locator: Locator
    after: State = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Truncated:
    """The reader stopped at a bound with a useful beginning: the file is `indexed` with `truncated_at`."""

    reason: str
    after: State = field(default_factory=dict)


Part = Text | Pages | Image | Truncated
