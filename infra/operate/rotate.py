"""`./dev rotate`: another key for the tokens at rest, without a moment in which one of them does not open.

1. `./dev rotate` adds a version of the secret that has a new key before the old ones, and seals every grant anew. What
   a function seals with the old key meanwhile, since it keeps the keys for five minutes, still opens.
2. `./dev rotate --retire`, more than five minutes later, seals what is left and adds a version that has the newest key
   only. From then on the older versions open nothing that is in the database; a backup from before still needs them.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.fernet import Fernet

from infra.local.options import Parser
from infra.operate.command import Refused, Say, run
from infra.operate.keys import KeyRing
from shared.adapters.postgres import Database
from shared.adapters.sealing import Seal, Unsealable
from shared.adapters.secrets import KEPT_SECONDS
from shared.config import Settings

BATCH = 200  # grants between two looks at the database


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every grant is sealed with the newest key."""
    parser = Parser(prog="./dev rotate", description="Change the key that seals tokens.", allow_abbrev=False)
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--reseal", action="store_true", help="no new key: seal what the newest one has not sealed yet")
    step.add_argument("--retire", action="store_true", help="the last step: keep the newest key only")
    return run(parser, arguments, rotate)


def rotate(config: Settings, chosen: Namespace, say: Say) -> dict[str, Any]:
    """One step of a rotation. Stopped at any moment, `--reseal` goes on."""
    ring = KeyRing(config)
    keys = ring.keys()
    if chosen.retire:
        _require_read_everywhere(ring, keys)
    elif not chosen.reseal:
        keys = [Fernet.generate_key(), *keys]
        say(f"{ring.add(keys)} has a new key, and {len(keys) - 1} older that still open what they sealed.")
    sealed, lost = reseal(Database(config, "drivestream_caretaker"), keys)
    say(
        f"{sealed} grants were sealed anew."
        + (f" {lost} open with no key: those people connect again." if lost else "")
    )
    result: dict[str, Any] = {"resealed": sealed, "lost": lost, "keys": len(keys)}
    if chosen.retire:
        version = ring.add(keys[:1])
        say(f"{version} has the newest key only. Keep the older versions until no backup from before now is kept.")
        result |= {"keys": 1, "version": version}
    elif len(keys) > 1:
        say(f"In {KEPT_SECONDS / 60:.0f} minutes, when every function has read the new key: ./dev rotate --retire")
    return result


def reseal(database: Database, keys: Sequence[bytes]) -> tuple[int, int]:
    """Seal every grant with the first key: how many were sealed anew, and how many no key opens. A grant that a new
    consent replaces meanwhile is left alone."""
    seal = Seal(lambda: b"\n".join(keys))
    sealed = lost = 0
    after = None
    while True:
        with database.transaction(None) as tx:
            rows = tx.rows("sealed_grants", after=after, most=BATCH)
        for row in rows:
            was = row["refresh_token_sealed"]
            try:
                if not seal.needs_rotation(was):
                    continue
            except Unsealable:
                lost += 1
                continue
            with database.transaction(None) as tx:
                sealed += bool(tx.row("reseal_grant", user_id=row["user_id"], was=was, sealed=seal.rotate(was)))
        if len(rows) < BATCH:
            return sealed, lost
        after = rows[-1]["user_id"]


def _require_read_everywhere(ring: KeyRing, keys: Sequence[bytes]) -> None:
    if len(keys) == 1:
        raise Refused("There is one key only: nothing to retire.")
    age = (datetime.now(UTC) - ring.made_at()).total_seconds()
    if age < KEPT_SECONDS:
        raise Refused(
            f"The newest key is {age:.0f} s old. A function may seal with the one before it for {KEPT_SECONDS:.0f} s: "
            f"come back in {KEPT_SECONDS - age:.0f} s."
        )


if __name__ == "__main__":
    sys.exit(main())
