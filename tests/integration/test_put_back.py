"""What waited is put back so that nobody's first sync stands before another one's, and not all at once."""

from __future__ import annotations

from uuid import uuid4

from tests.integration.conftest import TestDatabase


def somebody(database: TestDatabase, waiting: int, *, fresh: int = 0) -> str:
    """A person with so many files whose time has come, some of them edits that had no job yet."""
    ((user_id,),) = database.admin(f"INSERT INTO users (google_sub) VALUES ('{uuid4()}') RETURNING user_id")
    database.admin(
        "INSERT INTO gdrive_files (user_id, file_id, state, next_try, waits_in)"
        f" SELECT '{user_id}', 'file-' || n, 'waiting', now() - n * interval '1 second',"
        f" CASE WHEN n <= {fresh} THEN 'fresh' ELSE 'backfill' END FROM generate_series(1, {waiting}) AS n"
    )
    return str(user_id)


def due(database: TestDatabase, most: int) -> list[tuple[str, str]]:
    """Whose files are put back next, and in which lane, in order."""
    with database.speaking_as("caretaker").transaction(None) as tx:
        rows = sorted(tx.rows("due_files", most=most), key=lambda row: row["turn"])
    return [(str(row["user_id"]), row["lane"]) for row in rows]


def test_the_first_of_everybody_comes_before_the_second_of_anybody(database: TestDatabase) -> None:
    """Ten thousand files of one person do not keep ten of another waiting; what is left comes with the next look."""
    many, few = somebody(database, 10_000), somebody(database, 10)

    first, second = due(database, 100), due(database, 100)

    assert [user_id for user_id, _ in first[:20]].count(few) == 10
    assert [user_id for user_id, _ in first].count(many) == 90
    assert [user_id for user_id, _ in second] == [many] * 100


def test_what_was_edited_is_put_back_before_any_first_sync(database: TestDatabase) -> None:
    """Also what had to wait before it had a job, which would know its lane."""
    writer, reader = somebody(database, 500, fresh=3), somebody(database, 500)

    put_back = due(database, 10)

    assert put_back[:3] == [(writer, "fresh")] * 3
    assert {lane for _, lane in put_back[3:]} == {"backfill"}
    assert {user_id for user_id, _ in put_back[3:]} == {writer, reader}
