"""`python -m infra.release.smoke --outputs FILE`: do the three doors answer as they should?

FILE is what `terraform output -json` says. Nothing is written by asking: each door tells who it is by what it refuses.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

PATIENCE_SECONDS = 180.0  # a new revision takes over, and a first instance starts
EVERY_SECONDS = 5.0
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Try:
    """One request, and the status that is right."""

    output: str  # of Terraform
    method: str
    path: str
    status: int


TRIES = (
    Try("dashboard_url", "GET", "/healthz", 200),  # which asks the database
    Try("dashboard_url", "GET", "/api/status", 401),  # nobody is signed in
    Try("webhook_address", "POST", "/", 403),  # of no channel of ours
    Try("webhook_address", "GET", "/", 405),
    Try("oauth_redirect", "GET", "", 400),  # a way back from Google that nobody began
)


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """A redirect is an answer, not a way."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every door answers as it should within its patience."""
    parser = argparse.ArgumentParser(prog="python -m infra.release.smoke", description=__doc__)
    parser.add_argument("--outputs", type=Path, required=True, help="what `terraform output -json` says")
    outputs = json.loads(parser.parse_args(arguments).outputs.read_text())
    wrong = faults({name: str(output["value"]) for name, output in outputs.items()})
    print("\n".join(wrong) if wrong else "Every door answers as it should.")
    return 1 if wrong else 0


def faults(
    addresses: Mapping[str, str],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """What is still wrong when the patience is over; a sentence each."""
    ends = clock() + patience_seconds
    while True:
        wrong = [said for one in TRIES if (said := _fault(one, addresses[one.output]))]
        if not wrong or clock() >= ends:
            return wrong
        sleep(EVERY_SECONDS)


def _fault(one: Try, address: str) -> str | None:
    request = Request(address + one.path, method=one.method, data=b"" if one.method == "POST" else None)  # noqa: S310
    try:
        with build_opener(_Stay).open(request, timeout=ANSWER_SECONDS) as answer:
            status = answer.status
    except HTTPError as error:
        status = error.code
    except (URLError, TimeoutError, ConnectionError) as error:
        return f"{one.method} {address}{one.path} does not answer: {error}"
    return (
        None if status == one.status else f"{one.method} {address}{one.path} answers {status} instead of {one.status}"
    )


if __name__ == "__main__":
    sys.exit(main())
