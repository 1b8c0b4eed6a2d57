"""Filters of a search and links to places: what is taken, what is refused in a sentence, and where a link leads."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.dashboard.filters import FAMILIES, Filters
from functions.dashboard.links import link_to
from shared.domain.errors import BadRequest
from shared.readers.formats import FORMATS

PDF = "application/pdf"
VIEW = "https://drive.google.com/file/d/1x/view"


def families_of(mime_type: str) -> list[str]:
    """The families that a type is in, by the patterns as SQL reads them."""
    return [
        family
        for family, patterns in FAMILIES.items()
        if any(re.fullmatch(re.escape(pattern).replace("%", ".*"), mime_type) for pattern in patterns)
    ]


@pytest.mark.parametrize("mime_type", sorted({
    mime_type for known in FORMATS if known.read is not None for mime_type in known.mime_types.split()
    if mime_type != "application/vnd.drivestream.tabs"  # no file of a Drive has it
}))  # fmt: skip
def test_every_type_that_is_read_is_in_one_family(mime_type: str) -> None:
    """A file that no filter finds, or two, makes filters worthless."""
    assert len(families_of(mime_type)) == 1


@pytest.mark.parametrize(("kind", "family"), [
    ("document", "document"), ("spreadsheet", "sheet"), ("presentation", "slides"), ("drawing", "picture"),
])  # fmt: skip
def test_googles_own_files_are_in_the_family_of_their_like(kind: str, family: str) -> None:
    """Nobody asks for a MIME type."""
    assert families_of(f"application/vnd.google-apps.{kind}") == [family]


def test_nothing_asked_filters_nothing() -> None:
    """An empty field of a form is no filter."""
    assert Filters.of({"type": "", "folder": "", "owner": "", "from": "", "to": "", "drive": "", "entity": ""}) == (
        Filters()
    )


def test_filters_are_what_was_asked_for() -> None:
    """A day is meant as a whole: to the end of the last one."""
    asked = Filters.of({
        "type": "pdf,mail", "folder": "f1", "owner": "ada@example.com", "from": "2026-01-02", "to": "2026-01-31",
        "drive": "my-drive", "entity": "person:Ada: Countess",
    })  # fmt: skip

    assert asked.kinds == [*FAMILIES["pdf"], *FAMILIES["mail"]]
    assert (asked.since, asked.until) == (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert (asked.entity_kind, asked.entity_name) == ("person", "Ada: Countess")


@pytest.mark.parametrize("given", [
    {"type": "spreadsheet"}, {"type": "pdf,"}, {"type": "%"}, {"folder": "a b"}, {"folder": "' OR 1=1"},
    {"owner": "ada"}, {"owner": "a@b c"}, {"from": "yesterday"}, {"to": "2026-13-01"}, {"from": "2026-01-01T12:00"},
    {"to": "9999-12-31"}, {"from": "2026-02-01", "to": "2026-01-01"}, {"drive": "../x"}, {"entity": "Ada"},
    {"entity": "robot:R2"}, {"entity": "person: "}, {"entity": "person:" + "x" * 300},
])  # fmt: skip
def test_a_wrong_filter_is_refused_in_one_sentence(given: dict[str, str]) -> None:
    """A filter that is quietly ignored shows what nobody asked for."""
    with pytest.raises(BadRequest) as refused:
        Filters.of(given)

    assert re.fullmatch(r"[A-Z].*[^.]\.", refused.value.reason)


@pytest.mark.parametrize(("mime_type", "locator", "link", "leads_to"), [
    (PDF, {"page_first": 3, "page_last": 4}, VIEW, VIEW + "#page=3"),
    (PDF, {"page_first": 3}, VIEW + "?resourcekey=0-k#old", VIEW + "?resourcekey=0-k#page=3"),
    (PDF, {"page_first": 3, "part": "inner.pdf"}, VIEW, VIEW),
    (PDF, {"page_first": "3&x"}, VIEW, VIEW),
    (PDF, {"page_first": 3}, "https://elsewhere.example/view", "https://elsewhere.example/view"),
    (PDF, {"page_first": 3}, "http://drive.google.com/view", "http://drive.google.com/view"),
    (PDF, {"page_first": 3}, "javascript:alert(1)", None),
    (PDF, {"page_first": 3}, None, None),
    (PDF, None, VIEW, VIEW),
    ("application/vnd.google-apps.presentation", {"slide": 4}, VIEW, VIEW),
])  # fmt: skip
def test_a_link_leads_to_the_page_where_that_is_safe(
    mime_type: str, locator: dict[str, Any] | None, link: str | None, leads_to: str | None
) -> None:
    """A place in a PDF of 500 pages is worth its page; a wrong place is worth less than none."""
    assert link_to({"mime_type": mime_type, "web_view_link": link}, locator) == leads_to
