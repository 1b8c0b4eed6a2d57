"""A Postgres for as long as something is tested or measured, and nothing left of it."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from infra.local.postgres import PostgresServer
from infra.migrate import upgrade


@contextmanager
def scratch_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A running server whose database `drivestream` has the newest schema. `durable`: it waits for the disk, as one
    does that may lose its power; no test of these pulls a plug."""
    folder = Path(tempfile.mkdtemp(prefix="drivestream-postgres-"))
    folder.chmod(0o711)  # as root the server is somebody else
    copy_new_database(folder / "postgres")
    server = PostgresServer(folder / "postgres", durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def copy_new_database(data: Path) -> None:
    """Let a `PostgresServer` on `data` begin with the newest schema and nobody in it. It is made once in a process,
    since that takes longer than all else of a start."""
    subprocess.run(["cp", "-a", _new_database(), data], check=True)


@cache
def _new_database() -> Path:
    place = Path(tempfile.mkdtemp(prefix="drivestream-database-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o711)  # as root the server is somebody else
    server = PostgresServer(place / "postgres", durable=False)
    server.start()
    try:
        upgrade(server.admin_url)
    finally:
        server.stop()
    return place / "postgres"
