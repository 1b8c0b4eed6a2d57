"""The Sheets API v4 as far as it gives a Sheet's values: which tabs there are, and rows of one of them.

https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from infra.local.google.answers import ApiError, Json, bad_parameter

PREFIX = "/v4/spreadsheets/"
Tab = tuple[str, list[list[Any]]]
_PATH = re.compile(r"(?P<id>[^/:]+)(?:/values/(?P<range>[^/]+))?")
_RANGE = re.compile(r"'(?P<tab>(?:[^']|'')*)'!(?P<first>[1-9]\d*):(?P<last>[1-9]\d*)")


def asked_for(path: str) -> tuple[str, str, str | None]:
    """(route, file id, range) of a request, under the names of Google's discovery document. Raises `ApiError`."""
    found = _PATH.fullmatch(path.removeprefix(PREFIX))
    if found is None:
        raise ApiError(404, "notFound", "Not Found")
    area = found["range"]
    return "spreadsheets.values.get" if area else "spreadsheets.get", unquote(found["id"]), area and unquote(area)


def described(file_id: str, tabs: list[Tab]) -> Json:
    """The tabs with their sizes, as far as a reader of values asks. As at Google, there is room around the values."""
    sheets = [
        {
            "properties": {
                "sheetId": number,
                "title": name,
                "index": number,
                "sheetType": "GRID",
                "gridProperties": {
                    "rowCount": max(1000, len(rows)),
                    "columnCount": max([26, *map(len, rows)]),
                },
            }
        }
        for number, (name, rows) in enumerate(tabs)
    ]
    return Json({"spreadsheetId": file_id, "sheets": sheets})


def values(tabs: list[Tab], area: str, query: Mapping[str, str]) -> Json:
    """Whole rows of a tab, `'Name'!first:last`; empty rows at the end and empty cells at a row's end are left out."""
    if query.get("majorDimension", "ROWS") != "ROWS":
        raise bad_parameter("majorDimension", "Only ROWS is served here.")
    asked = _RANGE.fullmatch(area)
    rows = next((rows for name, rows in tabs if asked and name == asked["tab"].replace("''", "'")), None)
    if asked is None or rows is None:
        raise ApiError(400, "badRequest", f"Unable to parse range: {area}")
    chosen = [_trimmed(row) for row in rows[int(asked["first"]) - 1 : int(asked["last"])]]
    while chosen and not chosen[-1]:
        chosen.pop()
    said: dict[str, Any] = {"range": area, "majorDimension": "ROWS"}
    return Json(said | {"values": chosen} if chosen else said)


def _trimmed(row: list[Any]) -> list[str]:
    cells = ["" if cell is None else str(cell).upper() if isinstance(cell, bool) else str(cell) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells
