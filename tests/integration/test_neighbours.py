"""Two neighbouring versions on one database: migrations run first, so the release's code meets the newest schema.

That is so while a version is rolled out and after it was rolled back. Nothing runs new code on an old schema: a
deployment that could not migrate ends there. What the release reads and writes is kept in `schemas/released`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pg8000.exceptions import DatabaseError

from infra.migrate import migrations, upgrade
from infra.released import RELEASED, last_migration
from shared.adapters.pgqueries import Query, parse_queries
from shared.adapters.postgres import connect_to_url
from tests.integration.conftest import TestDatabase

# What old code may rely on: each column of a table, its type, and whether a row may be written without it.
COLUMNS = """
SELECT format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)),
    a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    AND c.relname NOT LIKE 'alembic_version%'
"""


def released_queries() -> list[Query]:
    files = sorted((RELEASED / "sql" / "queries").glob("*.sql"))
    return list(parse_queries((path.name, path.read_text(encoding="utf-8")) for path in files).values())


def refused(database: TestDatabase, queries: list[Query]) -> list[str]:
    """The statements that this schema does not understand, with Postgres' reason: each is parsed and analysed."""
    connection = connect_to_url(database.admin_url)
    wrong = []
    try:
        for staging in [one for one in queries if "CREATE TEMP TABLE" in one.sql]:
            connection.execute_simple(staging.sql.replace("ON COMMIT DROP", ""))
        for one in queries:
            try:
                connection.prepare_statement(one.sql, ())
            except DatabaseError as error:
                wrong.append(f"{one.name}: {error.args[0].get('M')}")
    finally:
        connection.close()
    return wrong


def broken_columns(before: TestDatabase, after: TestDatabase) -> list[str]:
    """What a release that knows only the schema `before` would miss in, or not know to write to, the one `after`."""
    old, new = (dict(map(tuple, database.admin(COLUMNS))) for database in (before, after))
    tables = {name.partition(".")[0] for name in old}
    gone = [f"{name} is gone" for name in old.keys() - new.keys()]
    needed = [
        f"{name} must be written, and old code does not know it"
        for name in new.keys() - old.keys()
        if new[name] and name.partition(".")[0] in tables
    ]
    return sorted(gone + needed + [f"{name} must be written now" for name in old if new.get(name, 0) > old[name]])


@pytest.fixture
def released_database(empty_database: TestDatabase, tmp_path: Path) -> TestDatabase:
    """A database as the release made it."""
    for migration in migrations():
        if migration.number <= last_migration():
            shutil.copy(migration.path, tmp_path)
    upgrade(empty_database.admin_url, folder=tmp_path)
    return empty_database


def test_the_release_s_statements_run_on_the_newest_schema(shared_database: TestDatabase) -> None:
    """Between the migration and the last new instance, old code goes on; after a roll back, for good."""
    queries = released_queries()

    assert refused(shared_database, queries) == []
    assert len(queries) > 100


def test_no_migration_takes_away_what_the_release_relies_on(
    released_database: TestDatabase, shared_database: TestDatabase
) -> None:
    """Expand before, contract after: a column goes only when no version that knows it can still run."""
    assert broken_columns(released_database, shared_database) == []


def test_what_a_migration_adds_is_fine_and_what_it_breaks_is_found(
    database: TestDatabase, shared_database: TestDatabase
) -> None:
    """A comparison that sees too little would approve anything, and one that sees too much forbids every migration."""
    database.admin("ALTER TABLE receipts ADD why text; ALTER TABLE receipts ADD n integer NOT NULL DEFAULT 0")
    database.admin("CREATE TABLE quite_new (i integer NOT NULL)")
    assert broken_columns(shared_database, database) == []
    assert refused(database, released_queries()) == []

    database.admin("ALTER TABLE receipts ADD because text NOT NULL; ALTER TABLE gdrive_files ALTER reason SET NOT NULL")
    assert broken_columns(shared_database, database) == [
        "gdrive_files.reason text must be written now",
        "receipts.because text must be written, and old code does not know it",
    ]
    assert refused(database, released_queries()) == []

    database.admin("ALTER TABLE memories RENAME COLUMN passage TO told")
    assert "memories.passage text is gone" in broken_columns(shared_database, database)
    assert any(line.startswith("save_passages: ") for line in refused(database, released_queries()))
