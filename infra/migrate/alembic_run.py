"""Alembic over the numbered `.sql` files: one revision per file, made in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from pg8000.dbapi import Connection
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import DBAPIError

from infra.migrate.upgrade import Migration, MigrationError


class SqlFiles(ScriptDirectory):
    """Migrations as Alembic's script directory, without a Python file for each."""

    def __init__(self, wanted: Sequence[Migration]) -> None:
        self._wanted = wanted
        super().__init__(str(Path(__file__).parent))

    def _load_revisions(self) -> Iterator[Script]:
        before = None
        for migration in self._wanted:
            module = ModuleType(f"migration_{migration.number}", migration.what)
            vars(module).update(revision=migration.number, down_revision=before, upgrade=_runner(migration))
            yield Script(module, migration.number, str(migration.path))
            before = migration.number


def _runner(migration: Migration) -> Any:
    def upgrade() -> None:
        context = op.get_context()
        if context.as_sql:
            context.impl.static_output(migration.sql)
            return
        try:
            # Straight to the driver: `op.execute` would take every colon for a parameter.
            op.get_bind().exec_driver_sql(migration.sql)
        except DBAPIError as error:
            raise MigrationError(f"{migration.path.name} failed: {_said(error)}.") from error

    return upgrade


def run(connection: Connection, wanted: Sequence[Migration]) -> None:
    """Run every migration that the database has not had."""
    engine = create_engine("postgresql+pg8000://", creator=lambda: connection, poolclass=pool.StaticPool)
    with engine.connect() as bind:
        _walk(wanted, connection=bind, transaction_per_migration=True)


def script(wanted: Sequence[Migration], current: str | None) -> str:
    """The migrations after `current`, with the lines that record them."""
    written = io.StringIO()
    written.write("SET ROLE drivestream_migrator;\n\n")
    _walk(wanted, as_sql=True, starting_rev=current, dialect_name="postgresql", output_buffer=written)
    return written.getvalue()


def _walk(wanted: Sequence[Migration], *, as_sql: bool = False, starting_rev: str | None = None, **how: Any) -> None:
    directory = SqlFiles(wanted)
    steps = {"as_sql": as_sql, "starting_rev": starting_rev, "destination_rev": "head"}
    environment = EnvironmentContext(
        Config(), directory, fn=lambda current, _: directory._upgrade_revs("head", current), **steps
    )
    with environment:
        environment.configure(**how)
        with environment.begin_transaction():
            environment.run_migrations()


def _said(error: DBAPIError) -> str:
    known = error.orig.args[0] if error.orig is not None and error.orig.args else str(error)
    return str(known.get("M")) if isinstance(known, dict) else str(known)
