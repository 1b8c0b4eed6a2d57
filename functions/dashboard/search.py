"""Search in one person's passages and file names: by words, by the exact phrase, by parts of words and by meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import flask

from functions.dashboard import words
from functions.dashboard.api import whole_number
from functions.dashboard.filters import Filters
from functions.dashboard.health import SEARCHES
from functions.dashboard.links import link_to
from functions.dashboard.snippets import Snippet, snippet
from functions.dashboard.visit import Visit, as_json, checked_id
from shared import log
from shared.adapters.postgres import Transaction
from shared.adapters.query_embedding import embed_query
from shared.config import Settings
from shared.domain.errors import BadRequest, Unavailable
from shared.domain.terms import sought_terms

LONGEST = 500
MOST = 50
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Found:
    """Results, best first, and who and what is named in them, most often first. `meaning` is False where the meaning of
    the query could not be had."""

    query: str
    results: list[dict[str, Any]] = field(default_factory=list)
    entities: list[dict[str, Any]] = field(default_factory=list)
    meaning: bool = True


def find(visit: Visit) -> flask.Response:
    """The answer of `/api/search`."""
    found = search(visit, visit.request.args.get("q", ""), most(visit))
    return as_json(
        {"query": found.query, "results": found.results, "entities": found.entities, "meaning": found.meaning}
    )


def find_similar(visit: Visit) -> flask.Response:
    """The answer of `/api/search/similar`."""
    return as_json({"results": similar(visit, most(visit))})


def most(visit: Visit) -> int:
    """How many results are wanted."""
    return whole_number(visit.request.args.get("limit"), default=10, most=MOST)


def search(visit: Visit, asked: str, limit: int) -> Found:
    """Passages and names for a query, of the person who asks, as the address filters them. Raises `BadRequest` for a
    query that is empty or overlong, and for a filter that cannot be."""
    visit.signed_in()  # a query of nobody's must not cost anything
    query = asked.replace("\0", "").strip()
    if not query:
        raise BadRequest("Type something to search for.", code="no_query")
    if len(query) > LONGEST:
        raise BadRequest(f"A query has at most {LONGEST} characters.", code="long_query")
    filters = Filters.of(visit.request.args)
    if filters.folder is not None:
        _refuse_unknown_folder(visit, filters.folder)
    vectors = {model: _vector(replace(visit.config, embedding_model=model), query) for model in _models(visit.config)}
    with visit.mine() as tx:
        found = [tx.rows("search", **question(query, vectors[model], model, limit, filters)) for model in vectors]
        rows = merged(found, limit)
        files, entities = _files(tx, rows), _entities(tx, rows)
    meaning = any(vectors.values())
    SEARCHES.labels("yes" if meaning else "no").inc()
    results = [_result(row, files[row["file_id"]], query) for row in rows if row["file_id"] in files]
    return Found(query, results, entities, meaning=meaning)


def _models(config: Settings) -> list[str]:
    """Whose vectors are looked at: the model's, and while another one is rolled out also those of the one before."""
    return list(dict.fromkeys(filter(None, (config.embedding_model, config.embedding_model_before))))


def merged(found: Sequence[list[dict[str, Any]]], limit: int) -> list[dict[str, Any]]:
    """The best of what was found by one model's vectors each, best first. A passage has one model, so of two rows of
    the same passage the better one knows its meaning, and no distance of one model is compared with another's."""
    if len(found) == 1:
        return found[0]
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for rows in found for row in rows):
        place = (row["file_id"], row["job_id"], row["index"], row["ordinal"])
        if place not in best or row["score"] > best[place]["score"]:
            best[place] = row
    return sorted(best.values(), key=lambda row: (-row["score"], row["file_id"]))[:limit]


def question(query: str, vector: str | None, model: str, most: int, filters: Filters) -> dict[str, Any]:
    """The parameters of the named query `search`; without a vector only words are looked for."""
    sought = sought_terms(query)
    asked = {"query": query, "vector": vector, "model": model, "most": most, "parts": sought.query, "run": sought.run}
    return asked | filters.as_parameters()


def similar(visit: Visit, limit: int) -> list[dict[str, Any]]:
    """The places of other files of this person that are nearest to the passage in the address (`file_id`, `index`,
    `ordinal`), one of each file; no model is asked. Raises `BadRequest`, with 404 for a passage that is not theirs."""
    visit.signed_in()
    given = visit.request.args
    passage = {
        "file_id": checked_id(given.get("file_id", "")),
        "index": _position(given.get("index")),
        "ordinal": _position(given.get("ordinal")),
    }
    with visit.mine() as tx:
        if tx.row("passage", **passage) is None:
            raise BadRequest("There is no such passage.", status=404, code="not_found")
        rows = tx.rows("similar", **passage, most=limit)
        files = _files(tx, rows)
    return [_result({**row, "matched": ["meaning"]}, files[row["file_id"]], "") for row in rows]


def _refuse_unknown_folder(visit: Visit, folder: str) -> None:
    with visit.mine() as tx:
        known = tx.row("folder_known", folder=folder)
    if known is None or not known["known"]:
        raise BadRequest("There is no such folder among your files.", code="bad_folder")


def _files(tx: Transaction, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    ids = list({row["file_id"] for row in rows})
    return {row["file_id"]: row for row in tx.rows("files_by_id", file_ids=ids)}


def _entities(tx: Transaction, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    places = [row for row in rows if row["passage"] is not None]
    return tx.rows(
        "entities_of_passages",
        job_ids=[str(row["job_id"]) for row in places],
        indexes=[row["index"] for row in places],
        ordinals=[row["ordinal"] for row in places],
    )


def _position(text: str | None) -> int:
    """A place in a list, the first one without a word. Raises `BadRequest`."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _LARGEST):
        raise BadRequest("A passage is named by its file, an index and an ordinal.", code="bad_passage")
    return int(text)


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
        "index": row["index"],
        "ordinal": row["ordinal"],
        "passage": row["passage"],
        "snippet": {"text": part.text, "marks": part.marks},
        "locator": row["locator"],
        "place": words.place(row["locator"]),
        "link": link_to(file, row["locator"]),
        "score": round(row["score"], 6),
        "matched": row["matched"],
    }
