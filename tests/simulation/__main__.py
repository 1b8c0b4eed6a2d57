"""python -m tests.simulation '{"days": 9, ...}': a run of any plan, its figures after each day as a line of JSON."""

from __future__ import annotations

import json
import sys
import time

from tests.simulation.world import Plan, World


def main() -> None:
    """Run the plan of the command line."""
    plan = Plan(**json.loads(sys.argv[1]))
    begun = time.monotonic()
    world = World(plan)

    def progress(day: int) -> None:
        figures = {"day": day, "seconds": round(time.monotonic() - begun), "cpu": round(time.process_time())}
        print(
            json.dumps({**figures, **world.account(), "kinds": world.changes.made, "spent": world.spent}),
            file=sys.stderr,
            flush=True,
        )

    try:
        world.run(progress)
    finally:
        world.stop()


main()
