"""Days of everybody's changes, in seconds; and, with `--long`, a quarter of a year."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulation.world import Plan, World

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "simulation.json"

QUARTER = Plan(
    seed=12,
    days=90,
    people=20,
    drives=5,
    items=120,
    changes=200_000,
    rests=(1, 1),
    caretaker_away=(10, 18),
    census_every=3,
    workers=5,
)


def test_a_few_days_leave_postgres_equal_to_the_drive_at_every_rest() -> None:
    """Whatever changes, and whatever is lost, late or repeated on the way, the result is what Drive shows."""
    came_to = run(Plan(seed=1, days=3, people=4, drives=2, items=40, changes=300, rests=(1, 2), choosers=2, workers=2))

    assert came_to["changes"] == 300
    assert came_to["hours without a channel"] == 0


@pytest.mark.long
def test_a_quarter_of_a_year_leaves_postgres_equal_to_the_drive_at_every_rest() -> None:
    """Channels that end while nobody renews them, bins that are emptied after 30 days, people who come back: what
    three days do not show."""
    came_to = run(QUARTER)
    FIGURES.write_text(json.dumps(came_to, indent=2, sort_keys=True) + "\n")

    assert came_to["changes"] == 200_000
    assert came_to["hours without a channel"] == 0
    assert came_to["hours without a channel while the caretaker was away"] > 0
    assert came_to["deleted with the bin"] > 0
    assert came_to["reconnected"] > 0


def run(plan: Plan) -> dict[str, float]:
    """What a plan came to."""
    world = World(plan)
    try:
        world.run()
        return world.account()
    finally:
        world.stop()
