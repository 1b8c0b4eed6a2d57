"""docs/formats.md says what the registry says."""

from __future__ import annotations

import json

from infra import formats
from shared.readers import FORMATS


def test_the_page_of_formats_is_the_registry() -> None:
    """A page that is written by hand lags behind; `./dev formats` makes it anew."""
    assert formats.PAGE.read_text(encoding="utf-8") == formats.page()


def test_the_memory_of_every_format_that_is_read_was_measured() -> None:
    """A promise about memory is a figure."""
    figures = json.loads(formats.FIGURES.read_text(encoding="utf-8"))

    assert set(figures) == {row.kind for row in FORMATS if row.read}
