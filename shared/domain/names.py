"""Names that make work repeatable, and the topics the functions meet at.

A name is computed from what it names, so that the same work, however often it is announced, has one row.
"""

from __future__ import annotations

from uuid import UUID, uuid5

SYNC_REQUESTS = "sync-requests"
FILE_CHANGES = "file-changes"
FILE_BACKFILL = "file-backfill"
FILE_CHUNKS = "file-chunks"
TICKS = "ticks"
DEAD_LETTERS = "dead-letters"

# Lanes, as the attribute `lane` of a message says: each has subscriptions of its own, so that nothing waits behind what
# may take longer. What was edited now goes before a first sync, and of that, what has text before what must be
# recognised. A message without the attribute is fresh.
FRESH = "fresh"
BACKFILL = "backfill"
OCR = "ocr"

MY_DRIVE = "my-drive"

_NAMESPACE = UUID("8f0c9c5e-3f0e-5d0b-9d59-6f6b1c2f7a11")


def job_id(user_id: str, file_id: str, content_key: str, pipeline_version: str) -> str:
    """The one job that reads this content of this file for this person with this version of the pipeline."""
    return str(uuid5(_NAMESPACE, f"{user_id}\x1f{file_id}\x1f{content_key}\x1f{pipeline_version}"))


def receipt_id(user_id: str) -> str:
    """The anonymous receipt of an erasure: the same however often the erasure is started again."""
    return str(uuid5(_NAMESPACE, f"receipt\x1f{user_id}"))
