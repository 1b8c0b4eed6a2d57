"""`./dev resync`: everything compared with Drive, for everybody; and what to do after a restored backup.

After a restore the rows are older than what Firestore knows. The cursors stand behind changes whose rows are gone, so
the change log will not tell of them again: a census lists everything and puts right what is not as in Drive. People who
left since the backup are back, people who came since are not, and sessions that were ended are open.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from infra.local.options import Parser
from infra.operate.command import Refused, Say, run
from schemas.messages.tick_pb2 import Tick
from shared.adapters.edge import open_connection
from shared.adapters.firestore import Connections
from shared.adapters.postgres import Database
from shared.adapters.pubsub import Outbox
from shared.config import Settings
from shared.domain.names import TICKS


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the census has been asked for; it goes on by itself."""
    parser = Parser(prog="./dev resync", description="Compare everybody's files with Drive.", allow_abbrev=False)
    parser.add_argument(
        "--restored", action="store_true", help="the database was restored to an older moment: settle who is who first"
    )
    parser.add_argument(
        "--gone",
        choices=("forget", "reopen"),
        help="with --restored, people who are in the database and not in Firestore: they left since the backup and are "
        "forgotten again, or Firestore was lost and they are connected again",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    return run(parser, arguments, resync)


def resync(config: Settings, chosen: Namespace, say: Say) -> dict[str, Any]:
    """Settle who is who where that is asked for, and have the caretaker do the rest. Safe to repeat."""
    if chosen.gone and not chosen.restored:
        raise Refused("--gone says what to do after a restore: give --restored with it.")
    database = Database(config, "drivestream_caretaker")
    with database.transaction(None) as tx:
        staying = {str(row["user_id"]) for row in tx.rows("people_who_stay")}
        everybody = {str(row["user_id"]) for row in tx.rows("everybody")}
    connected = Connections(config).everybody()
    gone, unknown = staying - connected, connected - everybody
    result: dict[str, Any] = {"people": len(staying), "gone": len(gone), "unknown": len(unknown)}
    if chosen.restored:
        _require_decision(chosen.gone, staying, gone)
        say(f"{len(gone)} of {len(staying)} people are not connected by Firestore: they left since the backup.")
        say(f"{len(unknown)} people are known to Firestore only: they came since the backup, and connect again.")
    if chosen.dry_run:
        say("Nothing was done: this is what would be.")
        return result
    if chosen.restored:
        _settle(config, database, gone, unknown, forget=chosen.gone == "forget")
        say("Everybody signs in again.")
    outbox = Outbox(config)
    duties = [Tick.Duty.REAP, Tick.Duty.CENSUS, *([Tick.Duty.ERASE] if chosen.gone == "forget" else [])]
    for duty in duties:
        outbox.publish(TICKS, Tick(duty=duty))
    outbox.confirm()
    say("The caretaker has a census of everybody's files to do; /api/status says what it finds.")
    return result


def _require_decision(decision: str | None, staying: set[str], gone: set[str]) -> None:
    """What cannot be taken back is asked for by name."""
    if gone and decision is None:
        raise Refused(
            f"{len(gone)} of {len(staying)} people are in the database and not connected by Firestore. They left since "
            "the backup (--gone forget erases them again), or Firestore was lost (--gone reopen connects them again)."
        )
    if gone == staying and gone and decision == "forget":
        raise Refused("Nobody at all is connected by Firestore: it was lost, and nobody left. Use --gone reopen.")


def _settle(config: Settings, database: Database, gone: set[str], unknown: set[str], *, forget: bool) -> None:
    connections = Connections(config)
    with database.transaction(None) as tx:
        tx.run("end_sessions")
        if forget:
            tx.rows("forget_again", user_ids=sorted(gone))
    for user_id in unknown:
        connections.close(user_id)
        connections.erase(user_id)
    if not forget:
        for user_id in gone:
            open_connection(config, user_id)


if __name__ == "__main__":
    sys.exit(main())
