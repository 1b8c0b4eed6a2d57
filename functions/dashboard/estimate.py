"""When a Drive will be read, as far as the last minutes can say. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

FEWEST_FILES, FEWEST_SECONDS = 5, 10.0  # less says nothing about what is still to come
MOST = timedelta(days=3650)


def finished_at(counts: Mapping[str, Any], pace: Mapping[str, Any], now: datetime) -> datetime | None:
    """When what is to go will be done at the pace of the last minutes, by files or by bytes, whichever takes longer.
    None where nothing moves, or too little has been seen to say."""
    to_go = counts["queued"] + counts["processing"]
    if not to_go or pace["files"] < FEWEST_FILES or pace["seconds"] < FEWEST_SECONDS:
        return None
    seconds = to_go * pace["seconds"] / pace["files"]
    if pace["bytes"]:
        seconds = max(seconds, counts["bytes_to_go"] * pace["seconds"] / pace["bytes"])
    return now + min(timedelta(seconds=seconds), MOST)
