"""What reading a person's Drive will take, beside what it took; and the word that it may begin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import flask

from functions.dashboard.announce import ask_for_a_look
from functions.dashboard.costs import prices_of
from functions.dashboard.visit import Visit, as_json
from shared.adapters.postgres import Transaction
from shared.config import Settings
from shared.domain.forecast import BY_NAME, COUNTED, kind_of
from shared.domain.prices import COUNTERS, dollars_for
from shared.doors import redirect

_ENDS = ("at_least", "likely", "at_most")


def find(visit: Visit) -> flask.Response:
    """The answer of `/api/forecast`."""
    with visit.mine() as tx:
        return as_json(read_forecast(tx, visit.config))


def start(visit: Visit) -> flask.Response:
    """Begin to read. Said twice it is done once."""
    with visit.mine() as tx:
        began = tx.row("start_reading") is not None
    if began:
        ask_for_a_look(visit, "start")
    return redirect("/") if visit.wants_page else as_json({"reading": "begun"}, 202)


def read_forecast(tx: Transaction, config: Settings) -> dict[str, Any]:
    """What was expected and what is so far, of everything and by kind. As long as nothing is read, the end counts from
    now."""
    said, clock, asked = tx.rows("forecasts"), tx.row("clock"), asks_first(tx)
    spent, times = [] if asked else tx.rows("spent_by_kind"), tx.row("reading_since")
    assert clock is not None
    assert times is not None
    began, last = times["began_at"], times["last_at"]
    expected = _expected_by_kind(said)
    actual = _actual_by_kind(spent)
    named = [name for name in BY_NAME if name in {*expected, *actual}]
    kinds = [_kind(name, expected.get(name), actual.get(name), config) for name in named]
    seconds = (last - began).total_seconds() if began and last else 0.0
    return {
        "reading": "asks" if asked else "begun",
        "made_at": max((one["made_at"] for one in said), default=None),
        "listed": sorted({one["corpus"] for one in said}),
        "done_by": _ends_at(began or clock["now"], expected.values()) if said else None,
        "began_at": began,
        "currency": "USD",
        "total": {
            "expected": _priced(_sum(expected.values()), config) if said else None,
            "actual": {**_spent(_add(actual.values()), config), "seconds": round(max(seconds, 0.0))},
        },
        "kinds": kinds,
    }


def asks_first(tx: Transaction) -> bool:
    """Whether nothing is read before the person says so."""
    row = tx.row("reading")
    return row is not None and row["reading"] == "asks"


def _expected_by_kind(said: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each kind, over all corpora."""
    kinds: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in said:
        kinds[row["kind"]].append({"files": row["files"], "listed_bytes": row["listed_bytes"], **row["expected"]})
    return {name: _sum(rows) for name, rows in kinds.items()}


def _sum(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    return {
        "files": sum(row["files"] for row in rows),
        "listed_bytes": sum(row["listed_bytes"] for row in rows),
        **{name: [sum(row[name][at] for row in rows) for at in range(3)] for name in COUNTED},
    }


def _actual_by_kind(spent: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    kinds: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in spent:
        kinds[kind_of(row["mime_type"], row["ending"]).name].append(row)
    return {name: _add(rows) for name, rows in kinds.items()}


def _add(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    rows = list(rows)
    return {name: sum(row[name] for row in rows) for name in ("done", "indexed", *COUNTERS)}


def _kind(
    name: str, expected: dict[str, Any] | None, actual: dict[str, int] | None, config: Settings
) -> dict[str, Any]:
    return {
        "kind": name,
        "title": BY_NAME[name].title,
        "skipped": BY_NAME[name].skipped or None,
        "expected": _priced(expected, config) if expected else None,
        "actual": _spent(actual, config) if actual else None,
    }


def _priced(expected: Mapping[str, Any], config: Settings) -> dict[str, Any]:
    prices = prices_of(config).values()
    # Whole numbers only here: of many kinds with half a page each, none would be left of the total.
    whole = {name: [round(each) for each in expected[name]] for name in COUNTED}
    dollars = [_rounded(dollars_for({name: whole[name][at] for name in COUNTERS}, prices)) for at in range(3)]
    tokens = [sum(whole[name][at] for name in COUNTERS if name.endswith("_tokens")) for at in range(3)]
    return {
        "files": expected["files"],
        "listed_bytes": expected["listed_bytes"],
        **{name: _between(whole[name]) for name in COUNTED},
        "tokens": _between(tokens),
        "dollars": _between(dollars),
    }


def _spent(actual: Mapping[str, int], config: Settings) -> dict[str, Any]:
    tokens = sum(actual[name] for name in COUNTERS if name.endswith("_tokens"))
    return {**actual, "tokens": tokens, "dollars": _rounded(dollars_for(actual, prices_of(config).values()))}


def _between(three: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(_ENDS, three, strict=True))


def _rounded(dollars: Decimal) -> float:
    return float(round(dollars, 6))


def _ends_at(begins: datetime, expected: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    seconds = _sum(expected)["seconds"]
    return {name: begins + timedelta(seconds=each) for name, each in zip(_ENDS, seconds, strict=True)}
