"""Another dashboard that speaks for its own people: a service account whose pages the operator has named.

It signs each call with Google's id token for this dashboard (`Authorization: Bearer`), and says in
`Drivestream-Person` whom it means, by its own name for them. `POST /api/connections` makes the link that connects such
a person; afterwards everything that the person could ask here, it can ask for them.
"""

from __future__ import annotations

import re
from uuid import UUID

import flask

from shared.adapters.oauth import verify_service_token
from shared.adapters.postgres import Database
from shared.config import Settings
from shared.domain.errors import BadRequest

PERSON = "Drivestream-Person"
NAME = re.compile(r"[\x21-\x7e]{1,128}")


def calling(request: flask.Request, config: Settings) -> str | None:
    """The service account that signed the request; None where nobody claims to be one. Raises `BadRequest` (403) for
    one that the operator has not named."""
    bearer = request.headers.get("Authorization", "")
    if not bearer:
        return None
    if not config.vouching:
        raise _stranger()
    caller = verify_service_token(config, bearer, config.dashboard_url)
    if caller not in config.vouching:
        raise _stranger()
    return caller


def refuse_no_name(request: flask.Request) -> None:
    """A person is named as their dashboard may name them, or not at all. Raises `BadRequest`."""
    if not NAME.fullmatch(request.headers.get(PERSON, "nobody")):
        raise BadRequest(f"{PERSON} is 1 to 128 visible ASCII characters.", code="bad_person")


def meant(request: flask.Request, database: Database, caller: str) -> UUID | None:
    """The person whom a service means; None where it names nobody, or nobody who has connected through it."""
    name = request.headers.get(PERSON, "")
    if not NAME.fullmatch(name):
        return None
    with database.transaction(None) as tx:
        row = tx.row("person_vouched", caller=caller, person=name)
    return row["user_id"] if row else None


def _stranger() -> BadRequest:
    return BadRequest(
        "No service account that may speak for anybody here has signed this.", status=403, code="forbidden"
    )
