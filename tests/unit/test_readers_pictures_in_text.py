"""A Google Doc's Markdown holds its pictures as base64: megabytes that are no words."""

from __future__ import annotations

import base64
import random

import pytest

from shared.domain.parts import Text
from shared.readers import Limits, read
from shared.readers.source import BytesSource

PIXELS = base64.b64encode(random.Random(3).randbytes(900_000)).decode()
DOC = (
    "# Harbour\n\nThe crane in March: ![][image1]\n\n"
    "Between them ![small](data:image/gif;base64,R0lGODlhAQABAAAAACw=) words.\n\n"
    f"[image1]: <data:image/png;base64,{PIXELS}>\n\n"
    f"[image2]: <data:image/svg+xml;base64,{PIXELS[:5000]}>\n\n"
    "# Cellar\n\nApples.\n"
)


@pytest.mark.parametrize("window_bytes", [1000, 2 * 1024 * 1024])
def test_pictures_are_left_out_and_places_stay(window_bytes: int) -> None:
    """Nobody searches for them, and each passage of one costs an embedding."""
    parts = list(read(BytesSource(DOC.encode(), "a.md", "text/markdown", window_bytes), Limits()))
    text = "".join(part.text for part in parts if isinstance(part, Text))
    last = parts[-1].locator if isinstance(parts[-1], Text) else None

    assert text == (
        "# Harbour\n\nThe crane in March: ![][image1]\n\nBetween them ![small]() words.\n\n"
        "[image1]: <>\n\n[image2]: <>\n\n# Cellar\n\nApples.\n"
    )
    assert last is not None
    assert (last.heading, last.byte_end) == ("Cellar", len(DOC.encode()))


def test_reading_goes_on_behind_any_part() -> None:
    """Also behind one that ends within a picture."""
    source = BytesSource(DOC.encode(), "a.md", "text/markdown")
    parts = list(read(source, Limits()))

    for number, part in enumerate(parts):
        assert list(read(source, Limits(), part.after)) == parts[number + 1 :]


def test_words_that_only_look_like_it_stay() -> None:
    """A sentence about data: addresses is a sentence."""
    text = "Write data:image/png for a picture, or data:text/plain;base64,QUJD for three letters.\n"
    (part,) = read(BytesSource(text.encode(), "a.md", "text/markdown"), Limits())
    assert isinstance(part, Text)
    assert part.text == text
