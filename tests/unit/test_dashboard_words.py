"""What the dashboard says, as plain calls: places, reasons, times, links, and what a snippet marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.dashboard.snippets import snippet
from functions.dashboard.words import ago, every, place, safe_link, shown, why

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("locator", "expected"), [
    (None, ""), ({}, ""), ({"byte_start": 0, "byte_end": 9}, ""), ({"page_first": 3, "page_last": 3}, "page 3"),
    ({"page_first": 3, "page_last": 5, "line_first": 1}, "pages 3–5"), ({"line_first": 1, "line_last": 2}, "lines 1–2"),
    ({"sheet": "A", "row_first": 2}, "sheet A, row 2"), ({"slide": 2}, "slide 2"),
    ({"part": "a.txt", "line_first": 4}, "in a.txt, line 4"), ({"heading": "\u202eX\n"}, "under “X”"),
])  # fmt: skip
def test_a_place_is_said_as_people_say_it(locator: dict[str, Any] | None, expected: str) -> None:
    """A number of bytes helps nobody to find the sentence on the page."""
    assert place(locator) == expected


@pytest.mark.parametrize(("seconds", "expected"), [
    (0.2, "every second"), (1, "every second"), (5, "every 5 seconds"), (60, "every minute"), (900, "every 15 minutes"),
])  # fmt: skip
def test_how_often_is_said_as_people_say_it(seconds: float, expected: str) -> None:
    """900 seconds are no time that anybody waits for."""
    assert every(seconds) == expected


@pytest.mark.parametrize(("state", "more", "expected"), [
    ("queued", {}, "waits for its turn"),
    ("processing", {}, "about to be read"),
    ("waiting", {"reason": "Quota", "next_try": NOW + timedelta(minutes=5)}, "Quota. Next try in 5 min."),
    ("failed", {"reason": "It broke.", "next_try": None}, "It broke. You can ask to try it again."),
    ("failed", {"next_try": NOW - timedelta(minutes=5)}, "Next try: now."),
    ("skipped", {"reason": "Encrypted"}, "Encrypted. Its name is searchable all the same."),
    ("indexed", {"indexed_at": NOW, "passages": 1}, "with 1 passage."),
    ("indexed", {"indexed_at": NOW, "passages": 2, "truncated_at": "1 GB"}, "with 2 passages. Not whole: 1 GB."),
    ("deleted", {"deleted_at": NOW}, "since 23 Nov 2026, 12:00 UTC"),
])  # fmt: skip
def test_every_state_answers_why(state: str, more: dict[str, Any], expected: str) -> None:
    """Each says the stage, the reason, and what happens next."""
    blank = dict.fromkeys(("reason", "next_try", "indexed_at", "deleted_at", "truncated_at"))
    file = {**blank, "state": state, "first_seen_at": NOW, "passages": 0, **more}

    assert expected in why(file, None, NOW)


@pytest.mark.parametrize(("job", "expected"), [
    ({"expected_chunks": None, "finished_chunks": 1, "bytes_read": 2_000_000}, "being read: 2.0 MB so far, 1 part"),
    ({"expected_chunks": 9, "finished_chunks": 3, "bytes_read": 5}, "3 of 9 parts are understood"),
])  # fmt: skip
def test_work_in_progress_says_how_far_it_is(job: dict[str, Any], expected: str) -> None:
    """That it is being processed, for an hour, is no answer."""
    assert expected in why({"state": "processing", "reason": None}, job, NOW)


def test_somebody_elses_text_cannot_disturb_the_page_around_it() -> None:
    """Controls, line breaks and marks of direction go; letters of every script stay."""
    assert shown("a\u202eb\r\nc\x00\x1b[31m\u2028d שלום") == "ab c [31m d שלום"
    assert shown(None) == ""


@pytest.mark.parametrize("address", [None, "", "javascript:alert(1)", "data:text/html,x", "//evil", "file:///etc/passwd",
    "JAVASCRIPT:x", " https://x", "http:", "https://[", "https:///x"])  # fmt: skip
def test_only_addresses_of_the_web_become_links(address: str | None) -> None:
    """An address comes from Drive, and through a shared file from anybody."""
    assert safe_link(address) is None


def test_times_are_near_or_exact() -> None:
    """Near ones are told from now, far ones by their day."""
    told = [ago(NOW - timedelta(seconds=seconds), NOW) for seconds in (0, 90, 7200, 3 * 86_400, 90 * 86_400, -600)]

    assert told == ["just now", "2 min ago", "2 h ago", "3 d ago", "25 Aug 2026", "in 10 min"]


@pytest.mark.parametrize(("passage", "query", "marked"), [
    ("the lamp is lit", "lamp", ["lamp"]),
    ("Lamps were lit, lamp by lamp", "lamp", ["Lamps", "lamp", "lamp"]),
    ("the northern lighthouse keeper", "lighthouse keeper", ["lighthouse keeper"]),
    ("keeper of the lighthouse", "the lighthouse keeper", ["keeper", "lighthouse"]),
    ("to be or not to be", "to be", ["to be", "to be"]),
    ("Straße und Café", "café straße", ["Straße", "Café"]),
    ("東京の灯台は静か", "灯台", ["灯台"]),
    ("Zwei Roggenmischbrote", "Brot", ["brot"]),
    ("Brot und Roggenmischbrot", "Brot", ["Brot"]),
    ("the cat in concatenation", "cat", ["cat"]),
    ("concatenation", "cat", []),
    ("a.*b (x)", ".*", []),
    ("", "x", []),
])  # fmt: skip
def test_snippets_mark_what_was_asked_for(passage: str, query: str, marked: list[str]) -> None:
    """The eye must see at once why this was found."""
    part = snippet(passage, query)

    assert [part.text[start:end] for start, end in part.marks] == marked
    assert "".join(text for text, _ in part.pieces()) == part.text


def test_a_snippet_of_a_long_passage_is_cut_around_the_find() -> None:
    """The words in question may stand at the very end."""
    part = snippet("word " * 2_000 + "the needle is here " + "word " * 2_000, "needle")

    assert len(part.text) < 340
    assert part.text[0] == part.text[-1] == "…"
    assert [part.text[start:end] for start, end in part.marks] == ["needle"]
