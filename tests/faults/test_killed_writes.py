"""A writer that is killed at any step of its transaction leaves the old revision or the new one, never a mix."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.faults.killed_writes import PASSAGES
from tests.integration.conftest import TestDatabase, database, postgres

__all__ = ["database", "postgres"]
pytestmark = pytest.mark.xdist_group("killed_writes")


def test_a_writer_that_is_killed_at_any_step_leaves_the_old_revision_or_the_new_one(database: TestDatabase) -> None:
    """Two revisions side by side, or half of one, would answer questions wrongly. The next delivery finishes it."""
    program = [sys.executable, "-m", "tests.faults.killed_writes", database.admin_url, database.url()]
    run = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    steps = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"step"')]

    after = [step["after"] for step in steps]
    assert len(steps) > 10
    assert after == sorted(after, reverse=True), after  # the old one up to some step, and from there the new one
    assert set(after) == {"old", "new"}
    for step in steps:
        assert step["again"] == "new"
        assert step["rows"] == {"memories": PASSAGES, "entities": PASSAGES, "gdrive_chunks": 1}
        assert step["paid"] == 2  # the old revision and the new one, each once
