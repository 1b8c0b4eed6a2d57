"""Where the next page begins: a position that is given back as it is, and means nothing to anybody else."""

from __future__ import annotations

import base64
import json
from typing import Any

from shared.domain.errors import BadRequest

LONGEST = 2_000


def cursor_at(*position: Any) -> str:
    """The position as one word."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def position_of(cursor: str, *kinds: type | tuple[type, ...]) -> list[Any]:
    """The position with these kinds of parts. Raises `BadRequest` for anything that is no position of ours."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor[:LONGEST] + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError) as error:
        raise no_cursor() from error
    if not isinstance(position, list) or len(position) != len(kinds) or not all(map(isinstance, position, kinds)):
        raise no_cursor()
    if any(isinstance(part, int) and not 0 <= part < 2**62 for part in position if not isinstance(part, bool)):
        raise no_cursor()
    return [part.replace("\0", "") if isinstance(part, str) else part for part in position]


def no_cursor() -> BadRequest:
    """What is said of a word that is no position."""
    return BadRequest("This cursor is not one of ours. Begin at the first page.", code="bad_cursor")
