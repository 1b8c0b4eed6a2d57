"""What was done: to the person's files (activity), and with their account and files (audit). To read, page by page, and
to take along whole, as CSV or as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import flask

from functions.dashboard.api import whole_number
from functions.dashboard.cursors import cursor_at, position_of
from functions.dashboard.visit import Visit, as_json, checked_id, plain
from shared.adapters.postgres import Transaction
from shared.domain.errors import BadRequest

MOST = 200
EXPORTED = 1000  # rows of one transaction of an export


@dataclass(frozen=True)
class Log:
    """One of the two logs: the query of a page, the key of its order, and what a row tells."""

    query: str
    key: str
    columns: tuple[str, ...]
    extra: Mapping[str, Any]


ACTIVITY = Log("activity_page", "event_id", ("at", "file_id", "name", "event", "detail"), {})
AUDIT = Log(
    "audit_page",
    "entry_id",
    ("at", "action", "file_id", "name", "revision", "bytes", "why", "outcome"),
    {"file_id": None},
)
LOGS = {"activity": ACTIVITY, "audit": AUDIT}


def activity(visit: Visit) -> flask.Response:
    """A page of what happened to files, the newest first."""
    return _answer(visit, ACTIVITY, "events")


def audit(visit: Visit) -> flask.Response:
    """A page of what was done with the account and its files, the newest first."""
    return _answer(visit, AUDIT, "entries")


def export(visit: Visit, log: str, form: str) -> flask.Response:
    """A whole log as a file, made while it is sent: it is as long as the person's history."""
    if log not in LOGS or form not in ("csv", "json"):
        raise BadRequest("There is nothing here.", status=404, code="not_found")
    visit.signed_in()
    rows = _all(visit, LOGS[log])
    body, kind = (_as_csv(LOGS[log], rows), "text/csv") if form == "csv" else (_as_json(rows), "application/json")
    answer = flask.Response(body, mimetype=kind)
    answer.headers["Content-Disposition"] = f'attachment; filename="drivestream-{log}.{form}"'
    return answer


def read_page(
    tx: Transaction, log: Log, before: int | None, most: int, **more: Any
) -> tuple[list[dict[str, Any]], int | None]:
    """A page of a log, and the key before which the next one ends."""
    rows = tx.rows(log.query, **{**log.extra, **more}, before=before, most=most + 1)
    page = rows[:most]
    return [{name: row[name] for name in log.columns} for row in page], page[-1][log.key] if len(rows) > most else None


def before_of(given: Mapping[str, str]) -> int | None:
    """The position in the address. Raises `BadRequest`."""
    return position_of(given["cursor"], int)[0] if given.get("cursor") else None


def _answer(visit: Visit, log: Log, name: str) -> flask.Response:
    visit.signed_in()
    given = visit.request.args
    most, before = whole_number(given.get("limit"), default=50, most=MOST), before_of(given)
    more = {"file_id": checked_id(given["file_id"])} if log is AUDIT and given.get("file_id") else {}
    with visit.mine() as tx:
        rows, next_before = read_page(tx, log, before, most, **more)
    return as_json({name: rows, "next_cursor": cursor_at(next_before) if next_before is not None else None})


def _all(visit: Visit, log: Log) -> Iterator[dict[str, Any]]:
    before: int | None = None
    while True:
        with visit.mine() as tx:
            rows, before = read_page(tx, log, before, EXPORTED)
        yield from rows
        if before is None:
            return


def _as_json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield "["
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + json.dumps(row, ensure_ascii=False, default=plain)
    yield "\n]\n"


def _as_csv(log: Log, rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield _line(log.columns)
    for row in rows:
        yield _line([_cell(row[name]) for name in log.columns])


def _line(cells: Any) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _cell(value: Any) -> str:
    """A value that no spreadsheet takes for a formula: names of files are anybody's."""
    text = "" if value is None else value if isinstance(value, str) else str(plain(value))
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
