"""A Google Sheet that came row by row: every tab, every row at its number, from any place on."""

from __future__ import annotations

import json

import pytest

from shared.domain.errors import Skipped
from shared.domain.files import TABS
from shared.domain.parts import Text
from shared.readers import Limits, read
from shared.readers.source import BytesSource

LINES = [
    {"tab": "Prices"},
    *([number, f"flour {number}", "1,20"] for number in range(1, 400)),
    {"tab": "Nothing"},
    {"tab": "Rota"},
    [3, "", "Ada"],
    [4, "x" * 70_000],
    [9, "Ben\0"],
]


def tabs(lines: list[object], window_bytes: int = 1000) -> BytesSource:
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return BytesSource(content, "", TABS, window_bytes)


def test_rows_are_found_at_their_tab_and_number() -> None:
    """A hit must lead to the cell, however the windows fell."""
    parts = [part for part in read(tabs(LINES), Limits()) if isinstance(part, Text)]
    text = "".join(part.text for part in parts)
    at = {part.locator.sheet: part.locator for part in parts}

    assert text.startswith("flour 1\t1,20\nflour 2\t1,20\n")
    assert text.endswith("\tAda\n" + "x" * 70_000 + "\nBen\ufffd\n")
    assert all(len(part.text) <= 4096 for part in parts)
    assert parts[1].text.startswith(f"flour {parts[1].locator.row_first}\t")
    assert (at["Prices"].row_last, at["Rota"].row_last, "Nothing" in at) == (399, 9, False)
    for window_bytes in (7, 100_000):
        assert [*read(tabs(LINES, window_bytes), Limits())] == parts


def test_reading_goes_on_behind_any_part() -> None:
    """A Sheet of ten million cells takes more than one life."""
    parts = list(read(tabs(LINES), Limits()))

    for number, part in enumerate(parts):
        assert list(read(tabs(LINES), Limits(), part.after)) == parts[number + 1 :]


@pytest.mark.parametrize("line", [5, "x", [], ["a", "b"], {"x": 1}, [None, "a"]])
def test_a_line_that_is_no_row_ends_the_file_with_a_reason(line: object) -> None:
    """Whoever made it: it is not a crash."""
    with pytest.raises(Skipped) as raised:
        list(read(tabs([line]), Limits()))
    assert raised.value.code == "damaged"


def test_a_row_without_an_end_is_not_held() -> None:
    """Memory has a bound."""
    with pytest.raises(Skipped) as raised:
        list(read(tabs([[1, "y" * 500_000]]), Limits(row_bytes=20_000)))
    assert raised.value.code == "row_too_long"
