"""What a person's Drive costs: by day, by file, by which prices, and how much of the caps is used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import flask

from functions.dashboard.visit import Visit, as_json
from shared.adapters.postgres import Transaction
from shared.config import Settings
from shared.domain.prices import COUNTERS, Price, dollars_for, price_table
from shared.domain.spending import CAPS

DAYS = 92
MOST_FILES = 20
NOBODY = UUID(int=0)


def find(visit: Visit) -> flask.Response:
    """The answer of `/api/costs`."""
    with visit.mine() as tx:
        return as_json(read_costs(tx, visit.config))


def freshness(visit: Visit) -> flask.Response:
    """The answer of `/api/freshness`: how long changes took into search, day by day of the last month."""
    with visit.mine() as tx:
        return as_json({"days": read_freshness(tx)})


def read_freshness(tx: Transaction) -> list[dict[str, Any]]:
    """For each day how many changes were understood, and the seconds that half of them and 95 in 100 took at most."""
    return [
        {
            "day": row["day"],
            "changes": row["changes"],
            **{name: round(float(row[name]), 3) for name in ("half", "slowest")},
        }
        for row in tx.rows("freshness_by_day")
    ]


def read_costs(tx: Transaction, config: Settings) -> dict[str, Any]:
    """Of the last three months, what was counted and what that costs in US dollars."""
    prices = prices_of(config)
    clock, caps = tx.row("clock"), tx.row("caps")
    used = tx.row("used_of_caps", job_id=NOBODY, index=0)
    assert clock is not None
    assert used is not None
    since = (clock["now"] - timedelta(days=DAYS)).date()
    days = tx.rows("costs_by_day", since=since)
    per_million = {counter: str(prices[counter].dollars) for counter in COUNTERS}
    files = tx.rows("costs_by_file", since=since, most=MOST_FILES, **per_million)
    total = {counter: sum(day[counter] for day in days) for counter in COUNTERS}
    return {
        "currency": "USD",
        "since": since,
        "total": priced(total, prices),
        "days": [{"day": day["day"], **priced(day, prices)} for day in days],
        "files": [{"id": row["file_id"], "name": row["name"], **priced(row, prices)} for row in files],
        "month": {name: {"used": used[name], "cap": caps[name] if caps else None} for name in CAPS},
        "prices": [
            {
                "of": price.counter,
                "dollars_per_million": float(price.dollars),
                "source": price.source,
                "read_on": price.read_on or None,
            }
            for price in prices.values()
        ],
    }


def prices_of(config: Settings) -> dict[str, Price]:
    """The prices by which this installation's costs are computed."""
    return price_table(config.embedding_model, config.entity_model, config.prices)


def priced(counted: Mapping[str, Any], prices: Mapping[str, Price]) -> dict[str, Any]:
    """What was counted, with what it costs in US dollars."""
    dollars = round(dollars_for(counted, prices.values()), 6)
    return {**{counter: counted[counter] for counter in COUNTERS}, "dollars": float(dollars)}
