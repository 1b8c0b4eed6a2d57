"""Pull the plug at any moment of a sync, then say the same command again: the end is as if nothing had been."""

from __future__ import annotations

import fcntl
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.faults.final_state import State, difference, final_state
from tests.faults.folder import write_folder
from tests.faults.machine import SHORT_LEASES, Machine, provide_database

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc")

SEED = 20261123
# Small windows, so that a text of three chunks is checkpointed several times and resumed in its middle.
ENVIRONMENT = {"WINDOW_BYTES": str(256 * 1024), **SHORT_LEASES}
LONG_TEXT = 1_300_000


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed: how long its start and its sync took, and what it left."""

    folder: Path
    files: int
    start_seconds: float
    sync_seconds: float
    state: State


@dataclass(frozen=True)
class Moment:
    """When and how to kill. `at` is a share of the start, or of the sync that follows it."""

    phase: Literal["start", "sync"]
    at: float
    processes: bool
    everything: bool

    def __str__(self) -> str:
        functions = "a process for each function" if self.processes else "one process"
        victim = "everything" if self.everything else "the launcher"
        return f"{self.phase} {self.at:.2f}, {functions}, {victim}"


def moments(count: int, seed: int) -> list[Moment]:
    """Moments spread over the whole of a run by chance: one in five in the start, the rest in the sync.

    Both ways to run functions and both ways to die take turns, and four moments have every pair of them.
    """
    chance = random.Random(seed)
    start, sync = max(1, count // 5), count - max(1, count // 5)
    return [
        *(Moment("start", (n + chance.random()) / start, n % 2 == 1, True) for n in range(start)),
        *(Moment("sync", (n + chance.random()) / sync, n % 2 == 1, n % 4 in (0, 3)) for n in range(sync)),
    ]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Undisturbed:
    """Run once for all workers of a test session: the first one runs it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "undisturbed"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = shared / "run"
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_run(shared / "drive")))
        found: Undisturbed = pickle.loads(kept.read_bytes())  # noqa: S301 - our own
    return found


def _run(folder: Path) -> Undisturbed:
    folder.mkdir()
    files = write_folder(folder, LONG_TEXT)
    with _machine(folder) as machine:
        machine.start("--once", "--yes", "--json")
        machine.wait_until_ready()
        ready = time.monotonic()
        assert machine.wait() == 0, machine.said()
        return Undisturbed(folder, files, ready - machine.began, time.monotonic() - ready, final_state(machine.data))


@contextmanager
def _machine(folder: Path, *options: str, new: bool = True) -> Iterator[Machine]:
    # Not below pytest's own folder, which is closed to the user as whom Postgres runs for root.
    place = Path(tempfile.mkdtemp(prefix="drivestream-kill-"))
    place.chmod(0o711)
    if not new:
        provide_database(place / "data")
    machine = Machine(place / "data", folder, *options, environment=ENVIRONMENT)
    try:
        yield machine
    finally:
        machine.pull_the_plug()
        shutil.rmtree(place, ignore_errors=True)


def _survives(moment: Moment, undisturbed: Undisturbed) -> None:
    options = ["--processes"] if moment.processes else []
    with _machine(undisturbed.folder, *options, new=moment.phase == "start") as machine:
        machine.start("--once", "--yes", "--json")
        if moment.phase == "start":
            machine.run_for(moment.at * undisturbed.start_seconds)
        else:
            machine.wait_until_ready()
            machine.run_for(moment.at * undisturbed.sync_seconds)
        if moment.everything:
            machine.pull_the_plug()
        else:
            machine.kill_the_launcher()

        summary = machine.once()

        files = summary["files"]
        assert files["listed"] == undisturbed.files
        assert files["listed"] == sum(files[state] for state in ("indexed", "unchanged", "skipped", "failed"))
        assert machine.processes() == set(), "something outlived the command"
        assert difference(undisturbed.state, final_state(machine.data)) == []


@pytest.mark.xdist_group("kill")  # a second worker would wait for the undisturbed run, too
@pytest.mark.parametrize("moment", moments(3, SEED)[1:2], ids=str)  # --long has twenty others
def test_a_sync_that_was_killed_ends_like_one_that_was_not(moment: Moment, undisturbed: Undisturbed) -> None:
    """Machines lose power and people press Ctrl-C twice: nothing may be missing, double or half afterwards."""
    _survives(moment, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("moment", moments(20, SEED + 1), ids=str)
def test_a_sync_that_was_killed_at_any_of_twenty_moments_ends_like_one_that_was_not(
    moment: Moment, undisturbed: Undisturbed
) -> None:
    """The same with more chances to hit a gap between two steps."""
    _survives(moment, undisturbed)


@pytest.mark.long
def test_a_sync_that_is_killed_again_and_again_still_ends(undisturbed: Undisturbed) -> None:
    """Progress must survive, too: what was read before each kill is not read for ever."""
    chance = random.Random(SEED)
    with _machine(undisturbed.folder, "--processes") as machine:
        for _ in range(6):
            machine.start("--once", "--yes", "--json")
            machine.wait_until_ready()
            machine.run_for(chance.random() * undisturbed.sync_seconds)
            machine.pull_the_plug()

        machine.once()

        assert difference(undisturbed.state, final_state(machine.data)) == []
