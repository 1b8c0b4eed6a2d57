"""What a person can read about their Drive, as JSON: the status, files, one file, one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import flask

from functions.dashboard import words
from functions.dashboard.cursors import cursor_at, no_cursor, position_of
from functions.dashboard.estimate import finished_at
from functions.dashboard.visit import SIGNED_OUT, Visit, as_json, checked_id, etag_of
from shared.adapters.postgres import Transaction
from shared.domain.errors import BadRequest
from shared.domain.spending import CAPS

STATES = ("listed", "indexed", "unchanged", "skipped", "failed", "deleted", "queued", "processing", "waiting")
FILTERS = ("queued", "processing", "waiting", "indexed", "skipped", "failed", "deleted")
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MOST_FILES = 200


@dataclass(frozen=True)
class Sort:
    """An order of files: its query, what a row has its place by, and how a cursor says that."""

    query: str
    key: Callable[[Mapping[str, Any]], Any]
    read: Callable[[Any], Any]


def _size(said: Any) -> int:
    """A size in a cursor; one less, so that none is a number too."""
    if not isinstance(said, int):
        raise no_cursor()
    return said - 1


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise no_cursor()
    return said


SORTS: Mapping[str, Sort] = {
    "state": Sort("files_page", lambda row: row["state_at"], lambda said: moment(_text(said))),
    "name": Sort("files_by_name", lambda row: row["sort_name"], _text),
    "size": Sort("files_by_size", lambda row: (-1 if row["size"] is None else row["size"]) + 1, _size),
    "modified": Sort(
        "files_by_modified", lambda row: row["modified_time"] or LONG_AGO, lambda said: moment(_text(said))
    ),
}


# Stories ------------------------------------------------------------------------------------------------------------


def status(visit: Visit) -> flask.Response:
    """How far it is, in numbers."""
    visit.signed_in()  # before anything is said of what was asked
    since = moment(visit.request.args.get("since"))
    with visit.mine() as tx:
        return as_json(read_status(tx, since), apart_from=("now", "last_minute", "estimated_completion"))


def files(visit: Visit) -> flask.Response:
    """A page of files, the newest states first."""
    visit.signed_in()
    asked = FilesAsked.of(visit.request.args)
    with visit.mine() as tx:
        found, cursor = read_files(tx, asked)
    return as_json({"files": found, "next_cursor": cursor})


def file(visit: Visit, file_id: str) -> flask.Response:
    """Everything about one file, and why it is not searchable (yet)."""
    with visit.mine() as tx:
        return as_json(read_file(tx, checked_id(file_id)))


def passages(visit: Visit, file_id: str) -> flask.Response:
    """A page of what was read in one file."""
    visit.signed_in()
    given = visit.request.args
    after = position_of(given["cursor"], int, int) if given.get("cursor") else [-1, -1]
    most = whole_number(given.get("limit"), default=50, most=MOST_FILES)
    with visit.mine() as tx:
        if tx.row("file", file_id=checked_id(file_id)) is None:
            raise BadRequest("There is no such file.", status=404, code="not_found")
        found, cursor = read_passages(tx, file_id, after, most)
    return as_json({"passages": found, "next_cursor": cursor})


def settings(visit: Visit) -> flask.Response:
    """What the person has chosen."""
    with visit.mine() as tx:
        chosen = read_settings(tx)
    answer = as_json(chosen)
    answer.set_etag(etag_of(chosen))  # `If-Match` names it
    return answer


def job(visit: Visit, job_id: str) -> flask.Response:
    """How far the reading of one revision is."""
    with visit.mine() as tx:
        row = tx.row("job", job_id=as_uuid(checked_id(job_id)))
    if row is None:
        raise BadRequest("There is no such job.", status=404, code="not_found")
    return as_json(_job(row))


# Rows ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FilesAsked:
    """Which files somebody wants to see, in which order, and after which one."""

    state: str | None = None
    sort: str = "state"
    after: Any = None
    after_id: str | None = None
    most: int = 50

    @classmethod
    def of(cls, given: Mapping[str, str]) -> FilesAsked:
        """Checked query parameters. Raises `BadRequest`."""
        state, sort = given.get("state") or None, given.get("sort") or "state"
        if state is not None and state not in FILTERS:
            raise BadRequest(f"There is no such state; there are {', '.join(FILTERS)}.", code="bad_state")
        if sort not in SORTS:
            raise BadRequest(f"There is no such order; there are {', '.join(SORTS)}.", code="bad_sort")
        after, after_id = _position(given["cursor"], sort) if given.get("cursor") else (None, None)
        return cls(state, sort, after, after_id, whole_number(given.get("limit"), default=50, most=MOST_FILES))


def read_status(tx: Transaction, since: datetime = LONG_AGO) -> dict[str, Any]:
    """The status as `/api/status` answers it."""
    person, counts = tx.row("person"), _counted(tx, since)
    recent, clock = tx.row("status_recent"), tx.row("clock")
    channels, pace = tx.rows("channels"), tx.row("status_pace")
    if not (person and counts and recent and clock and pace):  # erased between two statements
        raise BadRequest("This account is gone.", status=401, code=SIGNED_OUT)
    done = sum(counts[state] for state in ("indexed", "unchanged", "skipped", "failed"))
    return {
        "person": {
            "email": person["email"],
            "name": person["name"],
            "status": person["status"],
            "reason": person["status_reason"],
        },
        "files": {state: counts[state] for state in STATES},
        **{name: counts[name] for name in ("bytes", "chunks", "passages")},
        "listed_bytes": counts["listed_bytes"],
        "done": done,
        "progress": round(done / counts["listed"], 4) if counts["listed"] else 0.0,
        "estimated_completion": finished_at(counts, pace, clock["now"]),
        "reasons": {row["code"] or "unknown": row["files"] for row in tx.rows("status_totals_of_reasons")},
        "paused": tx.row("paused"),
        "at_rest": not any(counts[state] for state in ("queued", "processing", "waiting")),
        "last_indexed_at": counts["last_indexed_at"],
        "last_minute": recent,
        "channels": channels,
        "changes_by": "notifications" if any(one["state"] == "active" for one in channels) else "polling",
        "censuses": tx.rows("censuses"),
        "now": clock["now"],
    }


def _counted(tx: Transaction, since: datetime) -> dict[str, Any] | None:
    """How many files are in each state, and how much was read and understood, since a moment. Of all time it is counted
    already; only who asks for a moment has the rows counted."""
    if since <= LONG_AGO:
        return tx.row("status_totals")
    counts, work = tx.row("status_counts", since=since), tx.row("status_work", since=since)
    return counts and work and {**counts, **work}


def read_files(tx: Transaction, asked: FilesAsked) -> tuple[list[dict[str, Any]], str | None]:
    """A page of files, and where the next one begins."""
    given = {"state": asked.state, "most": asked.most + 1}
    if asked.sort == "state":
        rows = tx.rows("files_page", **given, before=asked.after, before_id=asked.after_id)
    else:
        rows = tx.rows(SORTS[asked.sort].query, **given, after=asked.after, after_id=asked.after_id)
    page = rows[: asked.most]
    return [_file(row) for row in page], _cursor(page[-1], asked.sort) if len(rows) > asked.most else None


def _why_unknown(tx: Transaction) -> str:
    """Why a file is not even known by name."""
    person = tx.row("person")
    if person is not None and person["status"] == "reconnect_needed":
        return "No such file is known, and Drive cannot be asked: connect it again, and whatever is new is found."
    return (
        "No such file is known. If it is in your Drive, it is not listed yet: that takes seconds, at most"
        " a quarter of an hour, and longer only while your Drive is listed for the first time."
    )


def read_file(tx: Transaction, file_id: str) -> dict[str, Any]:
    """One file with its work, its timeline and what it names. Raises `BadRequest` (404) where the person has no such
    file."""
    row = tx.row("file", file_id=file_id)
    if row is None:
        raise BadRequest(_why_unknown(tx), status=404, code="not_found")
    wanted = row["wanted_job"] and tx.row("job", job_id=row["wanted_job"])
    clock = tx.row("clock")
    assert clock is not None
    return {
        **_file(row),
        "why": words.why(row, wanted, clock["now"]),
        "stage": words.stage(row, wanted),
        "next": words.next_step(row, clock["now"]),
        "freshness": words.freshness(row),
        "path": [folder["name"] for folder in tx.rows("path", file_id=file_id)],
        "created_at": row["created_time"],
        **{name: row[name] for name in ("announced_at", "first_seen_at", "seen_at", "deleted_at")},
        **{name: row[name] for name in ("version", "owners", "passages")},
        "job": wanted and _job(wanted),
        "events": tx.rows("file_events", file_id=file_id),
        "entities": tx.rows("file_entities", file_id=file_id),
        "relations": tx.rows("file_relations", file_id=file_id),
    }


def read_passages(
    tx: Transaction, file_id: str, after: Sequence[int], most: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of what was read in a file, in its order, and where the next one begins."""
    rows = tx.rows("passages_of_file", file_id=file_id, index=after[0], ordinal=after[1], most=most + 1)
    page = [{**row, "place": words.place(row["locator"])} for row in rows[:most]]
    return page, cursor_at(page[-1]["index"], page[-1]["ordinal"]) if len(rows) > most else None


def read_settings(tx: Transaction) -> dict[str, Any]:
    """The settings as `/api/settings` answers them. No selected folder means that everything is read, and no cap that
    nothing is waited for."""
    rows, caps = tx.rows("selected_folders"), tx.row("caps")
    return {
        "selected_folders": [{name: row[name] for name in ("id", "name", "known")} for row in rows if row["id"]],
        "applied": not any(row["folders_due"] for row in rows),
        "caps": {name: caps[name] if caps else None for name in CAPS},
    }


def _file(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("name", "mime_type", "size", "state", "reason_code", "reason", "next_try", "truncated_at", "state_at")
    return {
        "id": row["file_id"],
        **{name: row[name] for name in same},
        "modified_at": row["modified_time"],
        "indexed_at": row["indexed_at"],
        "link": words.safe_link(row["web_view_link"]),
        "drive_id": row["drive_id"],
        "parents": row["parents"],
    }


def _job(row: Mapping[str, Any]) -> dict[str, Any]:
    same = (
        "state",
        "revision",
        "expected_chunks",
        "finished_chunks",
        "bytes_read",
        "attempts",
        "integrity",
        "truncated_at",
        "reason_code",
        "reason",
        "next_try",
        "created_at",
        "updated_at",
        "finished_at",
    )
    return {"id": row["job_id"], "file_id": row["file_id"], **{name: row[name] for name in same}}


# What a caller may say ----------------------------------------------------------------------------------------------


def moment(text: str | None) -> datetime:
    """A moment in RFC 3339, long ago without one. Raises `BadRequest`."""
    if not text:
        return LONG_AGO
    try:
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise _no_moment() from error
    if found.tzinfo is None:
        raise _no_moment()
    return found


def whole_number(text: str | None, *, default: int, most: int) -> int:
    """A number from 1 to `most`. Raises `BadRequest`."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        raise BadRequest(f"A limit is a number from 1 to {most}.", code="bad_limit")
    return int(text)


def as_uuid(text: str) -> UUID:
    """The id of a job. Raises `BadRequest` (404): no job has another kind of name."""
    try:
        return UUID(text)
    except ValueError as error:
        raise BadRequest("There is no such job.", status=404, code="not_found") from error


def _cursor(row: Mapping[str, Any], sort: str) -> str:
    key = SORTS[sort].key(row)
    return cursor_at(sort, key.isoformat() if isinstance(key, datetime) else key, row["file_id"])


def _position(cursor: str, sort: str) -> tuple[Any, str]:
    """Where a page of this order ended."""
    said, after, after_id = position_of(cursor, str, (int, str), str)
    if said in SORTS and said != sort:
        raise BadRequest(
            f"This cursor belongs to sort={said}: ask so, or begin at the first page.", status=422, code="other_order"
        )
    try:
        if said != sort:
            raise no_cursor()
        return SORTS[sort].read(after), checked_id(after_id)
    except (ValueError, TypeError, AttributeError, BadRequest) as error:
        raise no_cursor() from error


def _no_moment() -> BadRequest:
    return BadRequest("A moment is written like 2026-11-23T12:00:00Z.", code="bad_moment")
