"""`./dev replay`: dead letters and other failed files back to work, all of them or those of one reason.

A dead letter is a message that was refused too often; the caretaker has written its file down as failed, with the
reason. To replay it is to announce the file again: the streamer asks Drive what is true now.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from infra.local.options import Parser
from infra.operate.command import Say, run
from schemas.messages.file_changed_pb2 import FileChanged
from shared.adapters.postgres import Database
from shared.adapters.pubsub import Outbox
from shared.config import Settings
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES, FRESH

BATCH = 500  # files of one transaction, announced before the next


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all that was asked for is back at work."""
    parser = Parser(prog="./dev replay", description="Put failed files back to work.", allow_abbrev=False)
    parser.add_argument(
        "--reason", metavar="R", help="only this reason code; then also what waits or was skipped for it"
    )
    parser.add_argument("--dry-run", action="store_true", help="say how many there are of each reason, and do nothing")
    return run(parser, arguments, replay)


def replay(config: Settings, chosen: Namespace, say: Say) -> dict[str, Any]:
    """Announce every file that failed, in batches: begun again after a stop at any moment, it goes on."""
    database = Database(config, "drivestream_caretaker")
    found = database.run_transaction(None, lambda tx: tx.rows("replayable", code=chosen.reason))
    for row in found:
        say(f"{row['files']:>8} {row['state']:8} {row['reason_code']}, of {row['people']} people: {row['example']}")
    counts = {row["reason_code"]: 0 for row in found}
    for row in found:
        counts[row["reason_code"]] += int(row["files"])
    if chosen.dry_run or not found:
        say("Nothing was put back: this is what would be." if found else "There is nothing to put back.")
        return {"reasons": counts, "replayed": 0}
    replayed = _announce_all(config, database, chosen.reason)
    say(f"{replayed} files are back at work.")
    return {"reasons": counts, "replayed": replayed}


def _announce_all(config: Settings, database: Database, code: str | None) -> int:
    outbox = Outbox(config)
    replayed, user_id, file_id = 0, None, None
    while True:
        with database.transaction(None) as tx:
            rows = tx.rows("replay_files", code=code, after_user=user_id, after_file=file_id, most=BATCH)
        for row in rows:
            changed = FileChanged(user_id=str(row["user_id"]), file_id=row["file_id"], reason=FileChanged.Reason.WAITED)
            outbox.publish(FILE_CHANGES if row["lane"] == FRESH else FILE_BACKFILL, changed)
        outbox.confirm()
        replayed += len(rows)
        if len(rows) < BATCH:
            return replayed
        user_id, file_id = rows[-1]["user_id"], rows[-1]["file_id"]


if __name__ == "__main__":
    sys.exit(main())
