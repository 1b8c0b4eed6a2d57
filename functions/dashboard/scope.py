"""Which folders are read: the tree to choose from, and the form that a page sends."""

from __future__ import annotations

from typing import Any

import flask

from functions.dashboard import api, control
from functions.dashboard.visit import Visit, as_json, checked_id
from shared.adapters.postgres import Transaction
from shared.domain.errors import BadRequest
from shared.domain.spending import CAPS
from shared.doors import redirect

MOST = 500  # folders of one level that are shown


def folders(visit: Visit) -> flask.Response:
    """The folders in a folder of the person, or the outermost ones."""
    visit.signed_in()
    parent = visit.request.args.get("parent") or None
    with visit.mine() as tx:
        return as_json({"folders": read_folders(tx, checked_id(parent) if parent else None)})


def read_folders(tx: Transaction, parent: str | None) -> list[dict[str, Any]]:
    """At most `MOST` folders of one level, by name."""
    return tx.rows("folders_in", parent=parent, most=MOST)


def save(visit: Visit) -> flask.Response:
    """The form of the settings page: ticked folders and shared drives, and the caps that are filled in."""
    form = visit.request.form
    chosen: dict[str, Any] = {}
    if "choosing" in form:
        chosen["selected_folders"] = form.getlist("folder") if form.get("everything") != "on" else []
    if "capping" in form:
        chosen["caps"] = {name: _cap(form.get(name, ""), name) for name in CAPS}
    control.change(visit, chosen)
    return redirect("/settings?saved=1")


def _cap(said: str, name: str) -> int | None:
    """A cap as somebody types it: gigabytes for bytes, plain for the others; nothing is none. Raises `BadRequest`."""
    typed = said.strip().replace(",", "").replace("\u202f", "").replace(" ", "")
    if not typed:
        return None
    try:
        number = float(typed)
    except ValueError as error:
        raise _no_cap() from error
    if not 0 <= number <= 10**12:
        raise _no_cap()
    return round(number * 10**9) if name == "bytes" else round(number)


def _no_cap() -> BadRequest:
    return BadRequest("A cap is a number, or empty for none.", code="bad_caps")


def read_tree(tx: Transaction, opened: list[str]) -> list[dict[str, Any]]:
    """The outermost folders, each chosen or not, and what is in those that are opened or lead to a chosen one."""
    chosen = {folder["id"] for folder in api.read_settings(tx)["selected_folders"]}
    shown = set(opened)
    for folder in chosen:
        shown |= {above["file_id"] for above in tx.rows("path", file_id=folder)}
    return _level(tx, None, chosen, shown, 0)


def _level(tx: Transaction, parent: str | None, chosen: set[str], shown: set[str], depth: int) -> list[dict[str, Any]]:
    found = read_folders(tx, parent)
    return [
        {
            **folder,
            "chosen": folder["id"] in chosen,
            "inside": _level(tx, folder["id"], chosen, shown, depth + 1)
            if folder["id"] in shown and folder["has_folders"] and depth < 20
            else None,
        }
        for folder in found
    ]
