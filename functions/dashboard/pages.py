"""The pages, made on the server: complete without JavaScript, and brought up to date in parts with it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import flask
import jinja2

from functions.dashboard import words
from functions.dashboard.api import (
    FILTERS,
    FilesAsked,
    read_file,
    read_files,
    read_passages,
    read_settings,
    read_status,
)
from functions.dashboard.charts import by_day
from functions.dashboard.checks import read_checks
from functions.dashboard.costs import priced, prices_of, read_costs, read_freshness
from functions.dashboard.cursors import cursor_at, position_of
from functions.dashboard.filters import FAMILIES, NAMES
from functions.dashboard.forecast import asks_first, read_forecast
from functions.dashboard.history import AUDIT, LOGS, before_of, read_page
from functions.dashboard.scope import read_folders, read_tree
from functions.dashboard.search import LONGEST, Found, most, search, similar
from functions.dashboard.snippets import Snippet
from functions.dashboard.visit import Visit, checked_id, origin_of
from shared.adapters.postgres import Transaction
from shared.domain.errors import BadRequest

HERE = Path(__file__).parent
ASSETS = {"app.css": "text/css", "app.js": "text/javascript", "tree.js": "text/javascript", "icon.svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; "
)


# Stories ------------------------------------------------------------------------------------------------------------


def first(visit: Visit) -> flask.Response:
    """The first page: for a stranger what this is, for a person their Drive."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", receipt=_receipt(visit))
    with visit.mine() as tx:
        asked = read_forecast(tx, visit.config) if asks_first(tx) else None
        shown = {**_progress(tx), **_files(visit, tx), "forecast": asked}
    return _page(visit, "home.html", **shown, **_results(visit))


def file(visit: Visit, file_id: str) -> flask.Response:
    """One file: why it is where it is, what happened to it, what was read in it, and what that cost."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", 401, receipt=None)
    given = visit.request.args
    after = position_of(given["cursor"], int, int) if given.get("cursor") else [-1, -1]
    with visit.mine() as tx:
        known = read_file(tx, checked_id(file_id))
        passages, more = read_passages(tx, file_id, after, 10)
        cost = tx.row("cost_of_file", file_id=file_id)
        entries, _ = read_page(tx, AUDIT, None, 20, file_id=file_id)
        status = read_status(tx)
    assert cost is not None
    return _page(
        visit, "file.html", file=known, status=status, asked="asked" in given, passages=passages, more=more,
        paged=bool(given.get("cursor")), cost=priced(cost, prices_of(visit.config)), entries=entries,
    )  # fmt: skip


def history(visit: Visit) -> flask.Response:
    """What was done, to files or with the account, and the whole of it as a file."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", 401, receipt=None)
    given = visit.request.args
    name = "audit" if given.get("log") == "audit" else "activity"
    with visit.mine() as tx:
        rows, before = read_page(tx, LOGS[name], before_of(given), 50)
        status = read_status(tx)
    older = cursor_at(before) if before is not None else None
    return _page(visit, "history.html", status=status, log=name, rows=rows, older=older, paged="cursor" in given)


def spending(visit: Visit) -> flask.Response:
    """What it costs, and how fresh it is, day by day."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", 401, receipt=None)
    with visit.mine() as tx:
        status, costs, fresh = read_status(tx), read_costs(tx, visit.config), read_freshness(tx)
    today = status["now"].date()
    return _page(
        visit, "costs.html", status=status, costs=costs, fresh=fresh,
        spent=by_day(costs["days"], "dollars", today), took=by_day(fresh, "slowest", today),
    )  # fmt: skip


def choices(visit: Visit) -> flask.Response:
    """What the person has chosen, what we may see, and how to end it."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", 401, receipt=None)
    given = visit.request.args
    with visit.mine() as tx:
        status, chosen = read_status(tx), read_settings(tx)
        tree = read_tree(tx, [checked_id(folder) for folder in given.getlist("open")][:50])
        grant, month = tx.row("grant_in_words"), read_costs(tx, visit.config)["month"]
    return _page(
        visit, "settings.html", status=status, chosen=chosen, tree=tree, grant=grant, month=month,
        saved="saved" in given, opened=given.getlist("open"),
    )  # fmt: skip


def branch(visit: Visit) -> flask.Response:
    """The folders in one, for the tree of the settings page."""
    with visit.mine() as tx:
        parent = checked_id(visit.request.args.get("parent", ""))
        return _page(visit, "part_folders.html", tree=[{**one, "chosen": False, "inside": None} for one in
            read_folders(tx, parent)], opened=[])  # fmt: skip


def well(visit: Visit) -> flask.Response:
    """Whether everything is well, part by part."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", 401, receipt=None)
    with visit.mine() as tx:
        status, checks = read_status(tx), read_checks(tx)
    return _page(visit, "health.html", status=status, checks=checks)


def forecast(visit: Visit) -> flask.Response:
    """What reading takes: expected, and so far."""
    if visit.user_id is None:
        return _page(visit, "welcome.html", 401, receipt=None)
    with visit.mine() as tx:
        expected = read_forecast(tx, visit.config)
        status = read_status(tx)
    return _page(visit, "forecast.html", forecast=expected, status=status)


def progress(visit: Visit) -> flask.Response:
    """The part of the first page that says how far it is."""
    with visit.mine() as tx:
        return _page(visit, "part_progress.html", **_progress(tx))


def files(visit: Visit) -> flask.Response:
    """The part of the first page that lists files."""
    with visit.mine() as tx:
        return _page(visit, "part_files.html", **_progress(tx), **_files(visit, tx))


def results(visit: Visit) -> flask.Response:
    """The part of the first page that answers a search."""
    visit.signed_in()
    return _page(visit, "part_results.html", **_results(visit))


def asset(visit: Visit, name: str) -> flask.Response:
    """A file that the pages need. Its address changes with its content, so that it may be kept for ever.

    Not below /static, where the server's own Flask would answer before us.
    """
    if name not in ASSETS:
        raise BadRequest("There is nothing here.", status=404, code="not_found")
    kept = _asset_file(name)
    answer = flask.Response(kept.content, mimetype=ASSETS[name])
    current = visit.request.args.get("v") == kept.version
    answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if current else "no-cache"
    return answer


# What they show -----------------------------------------------------------------------------------------------------


def _progress(tx: Transaction) -> dict[str, Any]:
    status = read_status(tx)
    done = status["done"]
    return {"status": status, "done": done, "moving": status["files"]["listed"] - done}


def _files(visit: Visit, tx: Transaction) -> dict[str, Any]:
    asked = FilesAsked.of(visit.request.args)
    found, cursor = read_files(tx, asked)
    older = _asking({"state": asked.state or "", "sort": asked.sort, "cursor": cursor}) if cursor else None
    return {"files": found, "state": asked.state, "sort": asked.sort, "older": older, "paged": asked.after is not None}


def _results(visit: Visit) -> dict[str, Any]:
    """The answer to the query in the address, if there is one. A query that cannot be is answered in its place."""
    given = visit.request.args
    asked = given.get("q", "").strip()
    like = not asked and "file_id" in given
    found, trouble = None, None
    try:
        if asked:
            found = search(visit, asked, most(visit))
        elif like:
            found = Found("", similar(visit, most(visit)))
    except BadRequest as refusal:
        trouble = refusal.reason
    lexical = visit.config.embedding_model.startswith("lexical")
    shown = {"query": asked[:LONGEST], "found": found, "trouble": trouble, "lexical": lexical, "like": like}
    return {**shown, "narrowed": {name: given.get(name, "") for name in NAMES}}


def _receipt(visit: Visit) -> dict[str, Any] | None:
    try:
        receipt_id = UUID(visit.request.args.get("receipt", ""))
    except ValueError:
        return None
    with visit.database.transaction(None) as tx:
        return {"id": receipt_id, **(tx.row("receipt", receipt_id=receipt_id) or {"erased_at": None})}


# How they are made --------------------------------------------------------------------------------------------------


def _page(visit: Visit, template: str, code: int = 200, **shown: Any) -> flask.Response:
    html = templates().get_template(template).render(config=visit.config, **shown)
    answer = flask.Response(html, code, mimetype="text/html")
    # Browsers hold the form that begins a consent to form-action through all its redirects: ours, Google's, and back.
    doors = {origin_of(address) for address in (visit.config.connect_url, visit.config.oauth_authorize_url) if address}
    answer.headers["Content-Security-Policy"] = _POLICY + " ".join(["form-action 'self'", *sorted(doors)])
    # With no-referrer a browser would hide where our own forms come from, too.
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


@cache
def templates() -> jinja2.Environment:
    """The templates, which escape whatever they are given."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": words.shown,
        "size": words.size,
        "number": words.number,
        "time": words.time,
        "dollars": words.dollars,
        "seconds": words.seconds,
        "sentence": words.sentence,
    }
    made.globals |= {
        "ago": words.ago,
        "counted": words.counted,
        "every": words.every,
        "asset": _address,
        "kind": _kind,
        "place": words.place,
        "pieces": _pieces,
        "asking": _asking,
        "STATES": words.STATES,
        "FILTERS": FILTERS,
        "FAMILIES": FAMILIES,
    }
    return made


def _address(name: str) -> str:
    return f"/assets/{name}?v={_asset_file(name).version}"


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    version: str


@cache
def _asset_file(name: str) -> _Asset:
    content = (HERE / "assets" / name).read_bytes()
    return _Asset(content, hashlib.sha256(content).hexdigest()[:12])


def _asking(given: dict[str, Any]) -> str:
    """A search as a query string, without what is left open."""
    return urlencode({name: value for name, value in given.items() if value != ""})


def _pieces(snippet: dict[str, Any]) -> list[tuple[str, bool]]:
    return Snippet(snippet["text"], snippet["marks"]).pieces()


_KINDS = (
    (r"application/vnd\.google-apps\.document", "Google Doc"),
    (r"application/vnd\.google-apps\.spreadsheet", "Google Sheet"),
    (r"application/vnd\.google-apps\.presentation", "Google Slides"),
    (r"application/vnd\.google-apps\.shortcut", "shortcut"),
    (r"application/vnd\.google-apps\.(\w+)", None),
    (r"application/pdf", "PDF"),
    (r".*wordprocessingml.*|application/msword", "Word"),
    (r".*spreadsheetml.*|application/vnd\.ms-excel", "Excel"),
    (r".*presentationml.*|application/vnd\.ms-powerpoint", "PowerPoint"),
    (r"text/markdown", "Markdown"),
    (r"text/plain", "text"),
    (r"(?:text|image|audio|video|application)/(?:x-|vnd\.)?([\w+-]{1,24}).*", None),
)


def _kind(mime_type: str) -> str:
    """A short name of a kind of file."""
    for pattern, name in _KINDS:
        if found := re.fullmatch(pattern, mime_type):
            return name or found[1]
    return "file"
