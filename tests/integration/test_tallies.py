"""What a person has is counted as it changes, and never differs from what is there."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path
from uuid import UUID, uuid4

from pg8000.exceptions import DatabaseError

from infra.migrate import migrations, upgrade
from shared.adapters.postgres import connect_to_url
from tests.integration.conftest import TestDatabase
from tests.integration.tallied import wrongly_counted

DEADLOCK = "40P01"
STATES = ("queued", "processing", "waiting", "indexed", "skipped", "failed", "deleted", "folder")


def a_person(database: TestDatabase) -> UUID:
    [[user_id]] = database.admin(
        f"INSERT INTO users (google_sub, email) VALUES ('{uuid4()}', 'a@b.c') RETURNING user_id"
    )
    return UUID(str(user_id))


def changes(user_id: UUID, seed: int, many: int) -> list[str]:
    """Statements as the functions make them, and such as they do not make: of one row, of many, of none."""
    chance, jobs = random.Random(seed), [uuid4() for _ in range(5)]

    def state() -> str:
        code = chance.choice(["NULL", "'encrypted'", "'too_large'"])
        return f"'{chance.choice(STATES)}', {code}, {chance.choice(['NULL', '0', '7', '1000000000000'])}"

    def one() -> str:
        file, last = chance.randrange(40), chance.randrange(40)
        rows = ", ".join(f"('{user_id}', 'f{number}', {state()})" for number in range(min(file, last), max(file, last)))
        job, index = chance.choice(jobs), chance.randrange(6)
        noted = (
            f"INSERT INTO gdrive_files (user_id, file_id, state, reason_code, size) VALUES {rows}"
            " ON CONFLICT (user_id, file_id) DO UPDATE SET state = excluded.state, size = excluded.size,"
            " reason_code = excluded.reason_code, seen_at = app_now()"
        )
        moved = (
            f"UPDATE gdrive_files SET (state, reason_code, size) = ROW({state()}), indexed_at = app_now()"
            f" WHERE user_id = '{user_id}' AND file_id = 'f{file}'"
        )
        read = (
            "INSERT INTO gdrive_jobs (job_id, user_id, file_id, content_key, pipeline_version, bytes_read)"
            f" VALUES ('{job}', '{user_id}', 'f1', 'k', '1', {chance.choice([0, 9])})"
            f" ON CONFLICT (job_id) DO UPDATE SET bytes_read = {chance.randrange(99)}, epoch = gdrive_jobs.epoch + 1"
        )
        recorded = (
            "INSERT INTO gdrive_chunks (job_id, index, user_id, kind, passages)"
            f" SELECT job_id, {index}, user_id, 'text', {chance.randrange(9)} FROM gdrive_jobs"
            f" WHERE job_id = '{job}' ON CONFLICT DO NOTHING"
        )
        renamed = f"UPDATE gdrive_files SET name = 'another' WHERE user_id = '{user_id}' AND file_id >= 'f{file}'"
        removed = f"DELETE FROM gdrive_files WHERE user_id = '{user_id}' AND file_id LIKE 'f{file}%'"
        unread, purged = (f"DELETE FROM {table} WHERE job_id = '{job}'" for table in ("gdrive_chunks", "gdrive_jobs"))
        return chance.choice([noted if rows else moved, moved, renamed, removed, read, recorded, unread, purged])

    return [one() for _ in range(many)]


def run(database: TestDatabase, statements: list[str]) -> None:
    connection = connect_to_url(database.admin_url)
    try:
        for number, statement in enumerate(statements):
            try:
                connection.execute_simple(f"BEGIN; {statement}; {'COMMIT' if number % 7 else 'ROLLBACK'}")
            except DatabaseError as error:
                if error.args[0]["C"] != DEADLOCK:  # two of these lock the same files in another order
                    raise
                connection.execute_simple("ROLLBACK")
    finally:
        connection.close()


def test_whatever_changes_is_counted(database: TestDatabase) -> None:
    """Two people and three writers of each at once, with what is rolled back, and folded again and again."""
    people = [a_person(database) for _ in range(2)]
    stories = [changes(person, seed, 250) for seed, person in enumerate(people * 3)]
    writers = [threading.Thread(target=run, args=(database, story)) for story in stories]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert not wrongly_counted(database.admin)


def test_the_rows_of_changes_are_folded(database: TestDatabase) -> None:
    """A row for each of millions of changes would be as much to add up as the files themselves."""
    person = a_person(database)
    run(database, changes(person, 7, 1500))

    [[changed, kept]] = database.admin("SELECT max(tally_id), count(*) FROM tallies")

    assert changed > 1000
    assert kept < 400, "every 256th is folded with all before it"
    assert not wrongly_counted(database.admin)


def test_an_erased_person_leaves_no_count(database: TestDatabase) -> None:
    """What goes with a person is not counted as gone: there is nobody whose it would be."""
    person, other = a_person(database), a_person(database)
    for user_id in (person, other):
        run(database, changes(user_id, 3, 60))

    database.admin(f"DELETE FROM users WHERE user_id = '{person}'")

    assert database.admin("SELECT DISTINCT user_id::text FROM tallies") == [[str(other)]]
    assert not wrongly_counted(database.admin)


def test_the_count_begins_with_what_is_there(empty_database: TestDatabase, tmp_path: Path) -> None:
    """A database that was filled before anything was counted."""
    for migration in migrations():
        if migration.path.name < "0011":
            shutil.copy(migration.path, tmp_path)
    upgrade(empty_database.admin_url, folder=tmp_path)
    run(empty_database, changes(a_person(empty_database), 5, 80))

    upgrade(empty_database.admin_url)

    assert empty_database.admin("SELECT count(*) > 3 FROM tallies") == [[True]]
    assert not wrongly_counted(empty_database.admin)


def test_a_moment_narrows_down_what_is_read(database: TestDatabase) -> None:
    """Under row level security Postgres gives an index only what it believes to be free of leaks."""
    person = a_person(database)
    database.admin(
        "INSERT INTO gdrive_files (user_id, file_id, state, state_at)"
        f" SELECT '{person}', 'f' || n, 'indexed', now() - make_interval(mins => n) FROM generate_series(1, 3000) n;"
        " ANALYZE gdrive_files"
    )

    plan = database.admin(
        f"BEGIN; SET LOCAL ROLE drivestream_reader; SET LOCAL app.user_id = '{person}';"
        " EXPLAIN SELECT FROM gdrive_files WHERE user_id = app_user_id() AND state = 'indexed'"
        " AND state_at >= app_now() - interval '9 minutes'"
    )

    conditions = [str(line) for [line] in plan if "Index Cond" in str(line)]
    assert any("state_at >=" in condition for condition in conditions), plan
