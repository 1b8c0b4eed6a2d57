"""`./dev preflight`: is a project ready, and is what is deployed as it must be? One line per check; 1 on any error.

Nothing is changed. The questions are plain authorised requests, with application-default credentials.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import google.auth
import requests
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request

from infra.local.errors import StackError
from infra.local.options import Parser
from infra.operate.place import lines_of
from infra.preflight.asking import BASES, Google
from infra.preflight.checks import check_all
from infra.preflight.deployment import Deployment
from infra.preflight.lines import ERROR, OK, WARNING

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
NOBODY = "There are no credentials to ask Google with: run 'gcloud auth application-default login', then again."


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when no check is an error."""
    parser = Parser(prog="./dev preflight", description="Check a Google Cloud project.", allow_abbrev=False)
    parser.add_argument("--project", help="its id (default: that of the credentials)")
    parser.add_argument("--region", default="us-central1", help="where the functions are (default: us-central1)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="NAME=value lines that count before a deployment")
    parser.add_argument("--endpoints", metavar="URL", help="a server that stands for all of Google's, each by its name")
    parser.add_argument("--json", action="store_true", help="a JSON object on the last line")
    chosen = parser.parse_args(arguments)
    try:
        given = lines_of(chosen.settings) if chosen.settings else {}
        credentials, project = google.auth.default(scopes=[SCOPE])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except DefaultCredentialsError:
        return _sorry(NOBODY)
    except (GoogleAuthError, requests.RequestException) as error:
        return _sorry(f"Google does not take these credentials ({error}). Run 'gcloud auth application-default login'.")
    except StackError as error:
        return _sorry(str(error))
    named = chosen.project or project
    if not named:
        parser.error("name the project with --project")
    bases = {name: f"{chosen.endpoints}/{name}" for name in BASES} if chosen.endpoints else BASES
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return report(Deployment(Google(session, bases), named, chosen.region, given), as_json=chosen.json)


def report(of: Deployment, *, as_json: bool) -> int:
    """Print each line as soon as it is known."""
    lines = []
    for one in check_all(of):
        lines.append(one)
        print(f"{one.level:8} {one.check}: {one.said}" + (f". To do: {one.do}" if one.do else ""), flush=True)
    counts = {level: sum(one.level == level for one in lines) for level in (OK, WARNING, ERROR)}
    print(", ".join(f"{count} {level}" for level, count in counts.items()))
    if as_json:
        print(json.dumps({**counts, "lines": [asdict(one) for one in lines]}))
    return 1 if counts[ERROR] else 0


def _sorry(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
