"""Search in one person's passages and file names: by words, by the exact phrase, and by meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flask

from functions.dashboard import words
from functions.dashboard.api import whole_number
from functions.dashboard.health import SEARCHES
from functions.dashboard.snippets import Snippet, snippet
from functions.dashboard.visit import Visit, as_json
from shared import log
from shared.adapters.query_embedding import embed_query
from shared.config import Settings
from shared.domain.errors import BadRequest, Unavailable

LONGEST = 500
MOST = 50


@dataclass(frozen=True)
class Found:
    """Results, best first. `meaning` is False where the meaning of the query could not be had."""

    query: str
    results: list[dict[str, Any]] = field(default_factory=list)
    meaning: bool = True


def find(visit: Visit) -> flask.Response:
    """The answer of `/api/search`."""
    found = search(visit, visit.request.args.get("q", ""), most(visit))
    return as_json({"query": found.query, "results": found.results, "meaning": found.meaning})


def most(visit: Visit) -> int:
    """How many results are wanted."""
    return whole_number(visit.request.args.get("limit"), default=10, most=MOST)


def search(visit: Visit, asked: str, limit: int) -> Found:
    """Passages and names for a query, of the person who asks. Raises `BadRequest` for an empty or overlong query."""
    visit.signed_in()  # a query of nobody's must not cost anything
    query = asked.replace("\0", "").strip()
    if not query:
        raise BadRequest("Type something to search for.", code="no_query")
    if len(query) > LONGEST:
        raise BadRequest(f"A query has at most {LONGEST} characters.", code="long_query")
    vector = _vector(visit.config, query)
    with visit.mine() as tx:
        rows = tx.rows("search", query=query, vector=vector, model=visit.config.embedding_model, most=limit)
        ids = list({row["file_id"] for row in rows})
        files = {row["file_id"]: row for row in tx.rows("files_by_id", file_ids=ids)}
    SEARCHES.labels("yes" if vector else "no").inc()
    results = [_result(row, files[row["file_id"]], query) for row in rows if row["file_id"] in files]
    return Found(query, results, meaning=vector is not None)


def _vector(config: Settings, query: str) -> str | None:
    """The query's vector as Postgres reads it; None while there is none, when words must do."""
    try:
        return "[" + ",".join(f"{number:.7g}" for number in embed_query(config, query)) + "]"
    except Unavailable as wait:
        log.event("searched without meaning", "WARNING", code=wait.code, reason=wait.reason)
        return None


def _result(row: dict[str, Any], file: dict[str, Any], query: str) -> dict[str, Any]:
    part = snippet(row["passage"], query) if row["passage"] is not None else Snippet("", [])
    return {
        "file": {
            "id": file["file_id"],
            "name": file["name"],
            "mime_type": file["mime_type"],
            "link": words.safe_link(file["web_view_link"]),
            "state": file["state"],
        },
        "passage": row["passage"],
        "snippet": {"text": part.text, "marks": part.marks},
        "locator": row["locator"],
        "place": words.place(row["locator"]),
        "score": round(row["score"], 6),
        "matched": row["matched"],
    }
