"""Whether a person's files are read yet, and what reading them will take.

Where the person is asked first (`FIRST_SYNC`), a first listing writes files down and puts none of them to work. What
their listing says of the cost is kept (`shared/domain/forecast.py`), and once the person says so, every file that waits
is put to work: announced, confirmed, and only then is it written down how far that went.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from shared import log
from shared.adapters.hold import hold
from shared.adapters.postgres import Database, Transaction
from shared.config import Settings
from shared.domain.forecast import Pace, Read, Some, forecast, learnt, share
from shared.domain.names import MY_DRIVE

Row = dict[str, Any]

STARTED = 10_000  # files that are put to work between two looks at the clock


class Reading:
    """What one person said, as one corpus is listed."""

    def __init__(self, config: Settings, database: Database, user_id: str, corpus: str) -> None:
        self._config = config
        self._database = database
        self._user_id = user_id
        self._corpus = corpus
        self._waits = True  # until somebody has looked; who once said that it may begin cannot take it back

    def waits(self) -> bool:
        """Whether nothing may be put to work yet."""
        if self._waits:
            row = self._look()
            self._waits = row is not None and row["reading"] == "asks"
        return self._waits

    def ask_first(self) -> None:
        """A first listing begins. Where people are asked, nothing is read before they say so."""
        if self._corpus == MY_DRIVE and self._config.first_sync == "ask":
            self._write("ask_before_reading")

    def start_if_due(self, ends: float, announce: Callable[[list[Row]], None]) -> bool:
        """Put to work what waits, where the person has said so, or where nobody is asked any longer. False where there
        is more to do and no time left."""
        row = self._look() if self._corpus == MY_DRIVE else None
        if row is None or row["reading"] not in ("asks", "due"):
            return True
        if row["reading"] == "asks":
            if self._config.first_sync == "ask":
                return True
            self._write("start_reading")
        behind, behind_id = row["reading_from"], row["reading_from_id"]
        while True:
            rows = self._to_start(behind, behind_id)
            announce(rows)
            if len(rows) < STARTED:
                self._write("started")
                log.event("reading begun")
                return True
            behind, behind_id = rows[-1]["modified_time"], rows[-1]["file_id"]
            self._write("started_so_far", behind=behind, behind_id=behind_id)
            if time.monotonic() > ends:
                return False

    def forecast(self) -> None:
        """Keep what reading this corpus will take. What was said before reading began stays as it was said."""
        drive_id = None if self._corpus == MY_DRIVE else self._corpus

        def story(tx: Transaction) -> int:
            hold(tx)
            listed = [_some(row) for row in tx.rows("listed_by_kind", drive_id=drive_id)]
            pace = tx.row("instance_pace")
            assert pace is not None
            kinds_here = learnt(Read(**row) for row in tx.rows("instance_tokens"))
            expected = forecast(listed, Pace(**pace), entities=share(self._config.entities), kinds=kinds_here)
            kinds = json.dumps([one.as_row(kind) for kind, one in expected.items()])
            tx.run("forget_forecast", corpus=self._corpus)
            tx.run("save_forecast", corpus=self._corpus, kinds=kinds)
            return sum(one.files for one in expected.values())

        files = self._database.run_transaction(self._user_id, story)
        log.event("forecast", files=files)

    def _look(self) -> Row | None:
        return self._database.run_transaction(self._user_id, lambda tx: tx.row("reading"))

    def _to_start(self, behind: object, behind_id: object) -> list[Row]:
        return self._database.run_transaction(
            self._user_id,
            lambda tx: tx.rows("files_to_start", behind=behind, behind_id=behind_id, most=STARTED),
        )

    def _write(self, statement: str, **fields: object) -> None:
        def story(tx: Transaction) -> None:
            hold(tx)
            tx.run(statement, **fields)

        self._database.run_transaction(self._user_id, story)


def _some(row: Row) -> Some:
    return Some(
        row["mime_type"],
        row["ending"],
        row["files"],
        row["bytes"],
        row["fresh"],
        unsized=row["unsized"],
        empty=row["empty"],
        outside=row["outside"],
        closed=row["closed"],
    )
