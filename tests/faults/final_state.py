"""What a sync has left in Postgres, without anything that is random: two runs over one folder must agree on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.postgres import PostgresServer
from shared.adapters.postgres import connect_to_url

# Each as text, by the file's path: ids of people, jobs and files are new in every run.
_WHAT = {
    "people": "SELECT email, name, status FROM users",
    "grants": "SELECT ARRAY(SELECT unnest(scopes) ORDER BY 1)::text FROM user_google_credentials",
    "files": """SELECT p.path, f.mime_type, f.size, f.md5_checksum, f.state, f.reason_code, f.reason, f.truncated_at,
        f.current_job IS NOT NULL, f.current_job IS NULL OR f.current_job = f.wanted_job, f.next_try IS NULL
        FROM gdrive_files f JOIN paths p USING (user_id, file_id)""",
    "jobs": """SELECT p.path, j.state, j.expected_chunks, j.finished_chunks, j.truncated_at, j.reason_code
        FROM gdrive_jobs j JOIN paths p USING (user_id, file_id)""",
    "chunks": """SELECT p.path, c.index, c.kind, c.passages, c.locator, c.reason_code, c.reason
        FROM gdrive_chunks c JOIN gdrive_jobs j USING (user_id, job_id) JOIN paths p USING (user_id, file_id)""",
    "passages": """SELECT p.path, m.index, m.ordinal, m.passage, m.locator, encode(m.hash, 'hex'), m.model,
        m.embedding FROM memories m JOIN paths p USING (user_id, file_id)""",
    "entities": """SELECT p.path, e.index, e.ordinal, e.kind, e.name, e.starts, e.ends
        FROM entities e JOIN paths p USING (user_id, file_id)""",
    "relations": """SELECT p.path, r.index, r.ordinal, r.predicate, r.subject_starts, r.subject_ends, r.object_starts,
        r.object_ends FROM relations r JOIN paths p USING (user_id, file_id)""",
}
_PATHS = """WITH RECURSIVE paths AS (
    SELECT f.user_id, f.file_id, f.parents, u.email || ':' || f.name AS path FROM gdrive_files f JOIN users u
        USING (user_id)
        WHERE NOT EXISTS (SELECT FROM gdrive_files g WHERE g.user_id = f.user_id AND g.file_id = ANY (f.parents))
    UNION ALL
    SELECT f.user_id, f.file_id, f.parents, p.path || '/' || f.name FROM gdrive_files f
        JOIN paths p ON p.user_id = f.user_id AND p.file_id = ANY (f.parents)
) """

State = dict[str, Counter[tuple[str, ...]]]


def final_state(data: Path) -> State:
    """Everything that matters, with how often it is there. The stack on `data` must be down."""
    with rows_of(data) as rows:
        state = {name: Counter(rows(f"{_PATHS} {query}")) for name, query in _WHAT.items()}
        for table in ("gdrive_files", "gdrive_jobs", "gdrive_chunks", "memories", "entities", "relations"):
            state[f"rows of {table}"] = Counter(rows(f"SELECT count(*) FROM {table}"))
    return state


def difference(expected: State, found: State) -> list[str]:
    """What is missing and what is too much, a line each, short enough to read."""
    lines = []
    for name in expected:
        lines += [f"missing {name} {many}x {_short(row)}" for row, many in (expected[name] - found[name]).items()]
        lines += [f"too much {name} {many}x {_short(row)}" for row, many in (found[name] - expected[name]).items()]
    return sorted(lines)


@contextmanager
def rows_of(data: Path) -> Iterator[Any]:
    """Ask the Postgres of a stack that is down, as its administrator: rows of text."""
    server = PostgresServer(data / "postgres")
    server.start()
    try:
        connection = connect_to_url(server.admin_url)

        def rows(query: str) -> list[tuple[str, ...]]:
            found = connection.execute_simple(query).rows or []
            return [tuple(_text(value) for value in row) for row in found]

        try:
            yield rows
        finally:
            connection.close()
    finally:
        server.stop()


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _short(row: tuple[str, ...]) -> str:
    return ", ".join(value if len(value) < 70 else value[:60] + "…" for value in row)
