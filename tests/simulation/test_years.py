"""Days of everybody's changes, in seconds."""

from __future__ import annotations

from tests.simulation.world import Plan, World


def test_a_few_days_leave_postgres_equal_to_the_drive_at_every_rest() -> None:
    """Whatever changes, and whatever is lost, late or repeated on the way, the result is what Drive shows."""
    world = World(Plan(seed=1, days=3, people=4, drives=2, items=60, changes=300))
    try:
        world.run()

        assert world.account()["changes"] == 300
        assert world.account()["hours without a channel"] == 0
    finally:
        world.stop()
