"""One run of `./dev local --once` over a folder, with the moments at which its files were done."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.local.hosting import ROOT, free_port
from infra.local.postgres import PostgresServer
from infra.plan.rates import Done, Rates, fit
from shared.adapters.postgres import Database
from shared.config import Settings


class MeasureError(Exception):
    """The run did not end as it should; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: seconds from the command to its end, those of processors that it took, and each file."""

    seconds: float
    processor: float
    start: float
    done: tuple[Done, ...]

    def rates(self, measured: str = "") -> Rates:
        """What it was made of. Raises `RatesError`."""
        end = self.seconds - self.start - max((file.at for file in self.done), default=0.0)
        when = datetime.now(UTC).strftime("%Y-%m-%d")
        said = measured or f"{when}, {len(self.done)} files, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        used = self.processor / self.seconds
        return fit(self.done, start=self.start, end=end, cores=os.cpu_count() or 1, processor=used, measured=said)


def run_once(folder: Path) -> Run:
    """Read a folder with everything on this machine, from nothing to quiet. Raises `MeasureError`."""
    with tempfile.TemporaryDirectory(prefix="drivestream-plan-") as place:
        Path(place).chmod(0o711)  # as root, Postgres is somebody else who must pass through
        data = Path(place) / "data"
        command = [sys.executable, "-P", "-m", "infra.local", "--once", "--yes", "--json", "--folder", str(folder)]
        command += ["--data", str(data), "--port", str(free_port())]
        search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        began, spent = time.time(), _processor()
        ended = subprocess.run(
            command, cwd=place, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True, check=False
        )
        seconds, processor = time.time() - began, _processor() - spent
        if ended.returncode:
            raise MeasureError(f"The run over {folder} failed: {ended.stderr.strip()[-500:] or ended.stdout[-500:]}")
        json.loads(ended.stdout.splitlines()[-1])
        return _as_run(data, began, seconds, processor)


def files_of(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and size of every file of a folder, as the local Drive serves them: no symbolic links."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if not path.is_symlink() and path.name != ".drive.json":
                yield name, path.stat().st_size


def _processor() -> float:
    """Seconds of processors of all programs that this one has waited for, and of those that they have."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _as_run(data: Path, began: float, seconds: float, processor: float) -> Run:
    server = PostgresServer(data / "postgres")
    server.start()
    try:
        config = Settings(google_cloud_project="local", database_url=server.url_for("drivestream_app"))
        with Database(config, "drivestream_caretaker").transaction(None) as tx:
            first = tx.row("first_connection")
            rows = tx.rows("files_done")
    finally:
        server.stop()
    assert first is not None  # an aggregate has one row
    connected = float(first["at"])
    done = (Done(row["name"], int(row["size"]), int(row["passages"]), float(row["at"]) - connected) for row in rows)
    return Run(seconds=seconds, processor=processor, start=connected - began, done=tuple(done))
