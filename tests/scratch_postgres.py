"""A Postgres for as long as something is tested or measured, and nothing left of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.postgres import PostgresServer
from infra.migrate import upgrade


@contextmanager
def scratch_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A running server whose database `drivestream` has the newest schema. `durable`: it waits for the disk, as one
    does that may lose its power; no test of these pulls a plug."""
    folder = Path(tempfile.mkdtemp(prefix="drivestream-postgres-"))
    folder.chmod(0o711)  # as root the server is somebody else
    server = PostgresServer(folder / "postgres", durable=durable)
    try:
        server.start()
        upgrade(server.admin_url)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
