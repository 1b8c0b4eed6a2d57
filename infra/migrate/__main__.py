"""`python -m infra.migrate --url URL [--sql]`: prepare the database and bring it to the newest migration.

A deployment runs it twice: `--phase expand` before the new functions, `--phase contract` once they serve.
"""

from __future__ import annotations

import argparse
import sys

from infra.migrate import LOGINS, MigrationError, prepare, script, upgrade
from shared.config import SettingsError, settings
from shared.domain.errors import Unavailable


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the database is at the newest migration (or, with --sql, when it has been said how)."""
    parser = argparse.ArgumentParser(prog="python -m infra.migrate", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="an administrator's address: postgresql://user:password@host/db")
    where.add_argument("--url-secret", help="the secret that holds it: projects/P/secrets/S/versions/latest")
    parser.add_argument(
        "--login",
        action="append",
        default=[],
        type=_pair,
        metavar="OURS=THEIRS",
        help="a login that the platform makes, and which of ours it stands for; may be given again",
    )
    parser.add_argument(
        "--phase",
        choices=("expand", "contract"),
        default="contract",
        help="expand: only what adds, while the release before still runs; contract: all that is left (default)",
    )
    parser.add_argument("--sql", action="store_true", help="print the SQL that would be run, and run nothing")
    asked = parser.parse_args(arguments)
    try:
        url = asked.url or _secret(asked.url_secret)
        if asked.sql:
            print(script(url) or "-- The database is at the newest migration.")
            return 0
        prepare(url, identities=dict(asked.login))
        done = upgrade(url, contract=asked.phase == "contract")
    except (MigrationError, SettingsError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Ran {', '.join(done)}." if done else "The database is at the newest migration.")
    return 0


def _secret(name: str) -> str:
    # Asked for here: a job with a secret that has no version yet could not even be made.
    from shared.adapters.secrets import Secrets

    return Secrets(settings()).get(name).decode().strip()


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals or ours not in LOGINS or not theirs:
        raise argparse.ArgumentTypeError(f"{text!r} is not like drivestream_dashboard=dashboard@project.iam")
    return ours, theirs


if __name__ == "__main__":
    sys.exit(main())
