"""Who and what is named in a person's files: one entity of a person, in however many files and spellings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flask

from functions.dashboard import words
from functions.dashboard.api import whole_number
from functions.dashboard.cursors import cursor_at, position_of
from functions.dashboard.visit import Visit, as_json
from shared.adapters.postgres import Transaction
from shared.domain.entities import KINDS, NAME_CHARACTERS
from shared.domain.errors import BadRequest

MOST = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which entities somebody wants to see, and after which one."""

    kind: str | None = None
    query: str | None = None
    after: tuple[int | None, str | None, str | None] = (None, None, None)
    most: int = 50

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Asked:
        """Checked query parameters. Raises `BadRequest`."""
        kind, query = given.get("kind") or None, given.get("q", "").replace("\0", "").strip() or None
        if kind is not None and kind not in KINDS:
            raise BadRequest(f"There is no such kind; there are {', '.join(KINDS)}.", code="bad_kind")
        if query is not None and len(query) > NAME_CHARACTERS:
            raise BadRequest(f"A name has at most {NAME_CHARACTERS} characters.", code="long_query")
        files, key_kind, key = (
            position_of(given["cursor"], int, str, str) if given.get("cursor") else (None, None, None)
        )
        return cls(kind, query, (files, key_kind, key), whole_number(given.get("limit"), default=50, most=MOST))


def find(visit: Visit) -> flask.Response:
    """The answer of `/api/entities`: those in the most files first."""
    visit.signed_in()  # before anything is said of what was asked
    asked = Asked.of(visit.request.args)
    with visit.mine() as tx:
        found, cursor = _page(tx, asked)
    return as_json({"entities": found, "next_cursor": cursor})


def _page(tx: Transaction, asked: Asked) -> tuple[list[dict[str, Any]], str | None]:
    files, kind, key = asked.after
    rows = tx.rows(
        "entities_page",
        kind=asked.kind,
        query=asked.query,
        files=files,
        after_kind=kind,
        after_key=key,
        most=asked.most + 1,
    )
    page = rows[: asked.most]
    ids = list({file_id for row in page for file_id in row["file_ids"]})
    known = {row["file_id"]: row for row in tx.rows("files_by_id", file_ids=ids)}
    return [_entity(row, known) for row in page], _cursor(page[-1]) if len(rows) > len(page) else None


def _entity(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    shown = [known[file_id] for file_id in row["file_ids"] if file_id in known]
    return {
        "kind": row["kind"],
        "name": row["name"],
        "times": row["times"],
        "files": row["files"],
        "in": [
            {"id": file["file_id"], "name": file["name"], "link": words.safe_link(file["web_view_link"])}
            for file in shown
        ],
    }


def _cursor(row: Mapping[str, Any]) -> str:
    return cursor_at(row["files"], row["kind"], row["key"])
