"""From a file in Drive to a passage in Postgres, and every change after that."""

from __future__ import annotations

import pytest

from tests.integration.pipeline import Pipeline, pipeline

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")


def test_a_first_sync_brings_text_into_search(pipeline: Pipeline) -> None:
    """The whole point."""
    person = pipeline.person({"notes/plan.md": "# Harvest\n\nThe orchard is picked in September.\n"})

    found = pipeline.search(person, "orchard picked")

    assert pipeline.states(person) == {"plan.md": "indexed"}
    assert found[0]["name"] == "plan.md"
