"""What is counted as it changes, beside what is there: the same, at any moment and for everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# One statement, so of one moment. Each row is something that is counted wrongly.
WRONG = """
WITH counted AS (
    SELECT user_id, 'files' AS what, state, reason_code, count(*) AS count, coalesce(sum(size), 0) AS amount
    FROM gdrive_files GROUP BY user_id, state, reason_code
    UNION ALL SELECT user_id, 'bytes', NULL, NULL, 0, sum(bytes_read) FROM gdrive_jobs GROUP BY user_id
    UNION ALL SELECT user_id, 'chunks', NULL, NULL, count(*), sum(passages) FROM gdrive_chunks GROUP BY user_id
), tallied AS (
    SELECT user_id, what, state, reason_code, sum(count) AS count, sum(amount) AS amount
    FROM tallies WHERE what <> 'seen' GROUP BY user_id, what, state, reason_code
), both_sides AS (
    SELECT *, 1 AS side FROM counted UNION ALL SELECT *, -1 FROM tallied
)
SELECT user_id::text, what, state, reason_code, sum(side * count), sum(side * amount)
FROM both_sides GROUP BY user_id, what, state, reason_code HAVING sum(side * count) <> 0 OR sum(side * amount) <> 0
"""


def wrongly_counted(sql: Callable[[str], list[Any]]) -> list[Any]:
    """By person and by what is counted: how many more there are than was counted, and how much more. `sql` runs a
    statement as somebody whom no policy holds."""
    return [list(row) for row in sql(WRONG)]
