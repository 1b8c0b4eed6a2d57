"""Bring a database to the newest migration. Nothing to do costs one query; Alembic is imported only for work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pg8000.dbapi import Connection
from pg8000.exceptions import DatabaseError

from shared.adapters.postgres import connect_to_url, sqlstate

# A migration with this word takes away what the release before still reads: it runs after the new one is deployed.
_CONTRACT = "contract_"
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_LOCK = "SELECT pg_advisory_lock(hashtext('drivestream migrations'))"


class MigrationError(Exception):
    """The database cannot be brought to the newest schema; the message names the migration and the reason."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: str
    what: str
    sql: str
    path: Path

    @property
    def contracts(self) -> bool:
        """Does it take something away?"""
        return self.path.name.startswith(f"{self.number}_{_CONTRACT}")


def migrations(folder: Path | None = None) -> list[Migration]:
    """All migrations in order. Raises `MigrationError` if a number is missing, used twice or not a number."""
    folder = folder or Path(str(files("schemas").joinpath("sql", "migrations")))
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        named = _FILE.fullmatch(path.name)
        if named is None:
            raise MigrationError(f"{path.name} is not a migration's name: it must be like 0002_add_labels.sql.")
        if int(named[1]) != len(found) + 1:
            raise MigrationError(f"{path.name} should have the number {len(found) + 1:04}.")
        found.append(Migration(named[1], named[2].replace("_", " "), path.read_text(encoding="utf-8"), path))
    return found


def upgrade(url: str, *, folder: Path | None = None, contract: bool = True) -> list[str]:
    """Run what has not been run, in order, each in a transaction of its own; the names of the files that were run.

    Without `contract` it stops before the first one that takes something away, for as long as the release before runs.
    Two starts at once are fine: the second waits and finds nothing to do. Raises `MigrationError`.
    """
    wanted = migrations(folder)
    connection = connect_to_url(url)
    connection._usock.settimeout(None)  # an index over what there is takes its time
    try:
        connection.execute_simple(f"SET ROLE drivestream_migrator; {_LOCK}")
        current = _current(connection)
        if not contract and current is not None:  # before the first release nobody reads anything
            wanted = _expanding(wanted, current)
        pending = _pending(wanted, current)
        if not pending:
            return []
        # 0.4 s of imports that a database at the newest revision does not pay.
        from infra.migrate.alembic_run import run

        run(connection, wanted)
        return [migration.path.name for migration in pending]
    finally:
        connection.close()


def script(url: str, *, folder: Path | None = None) -> str:
    """The SQL that `upgrade` would run, to be read before it is."""
    wanted = migrations(folder)
    connection = connect_to_url(url)
    try:
        from infra.migrate.alembic_run import script as written

        current = _current(connection)
        return written(wanted, current) if _pending(wanted, current) else ""
    finally:
        connection.close()


def _current(connection: Connection) -> str | None:
    """The number of the last migration that was run here; None for an empty database."""
    try:
        rows = connection.execute_simple("SELECT version_num FROM alembic_version").rows
    except DatabaseError as error:
        if sqlstate(error) != "42P01":  # no such table
            raise
        return None
    return str(rows[0][0]) if rows else None


def _expanding(wanted: list[Migration], current: str | None) -> list[Migration]:
    """All up to the first that is to be run and takes something away. What comes after it only adds or takes away with
    it; a release that adds behind what a release before should have taken away leaves one out."""
    contracting = [migration for migration in _pending(wanted, current) if migration.contracts]
    if not contracting:
        return wanted
    first = wanted.index(contracting[0])
    adding = [migration for migration in wanted[first:] if not migration.contracts]
    if adding:
        raise MigrationError(
            f"{adding[0].path.name} comes after {contracting[0].path.name}, which has not been run yet:"
            " finish the release before this one."
        )
    return wanted[:first]


def _pending(wanted: list[Migration], current: str | None) -> list[Migration]:
    if current is not None and current not in [migration.number for migration in wanted]:
        newest = wanted[-1].number if wanted else "none"
        raise MigrationError(
            f"The database is at migration {current}; the newest one known here is {newest}. Use a newer Drivestream."
        )
    return [migration for migration in wanted if current is None or migration.number > current]
