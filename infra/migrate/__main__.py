"""`python -m infra.migrate --url URL [--sql]`: prepare the database and bring it to the newest migration."""

from __future__ import annotations

import argparse
import sys

from infra.migrate import MigrationError, prepare, script, upgrade


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the database is at the newest migration (or, with --sql, when it has been said how)."""
    parser = argparse.ArgumentParser(prog="python -m infra.migrate", description=__doc__)
    parser.add_argument("--url", required=True, help="an administrator's address: postgresql://user:password@host/db")
    parser.add_argument("--sql", action="store_true", help="print the SQL that would be run, and run nothing")
    asked = parser.parse_args(arguments)
    try:
        if asked.sql:
            print(script(asked.url) or "-- The database is at the newest migration.")
            return 0
        prepare(asked.url)
        done = upgrade(asked.url)
    except MigrationError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Ran {', '.join(done)}." if done else "The database is at the newest migration.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
