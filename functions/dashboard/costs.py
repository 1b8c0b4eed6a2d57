"""What a person's Drive costs: by day, by file, by which prices, and how much of the caps is used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import flask

from functions.dashboard.visit import Visit, as_json
from shared.config import Settings
from shared.domain.prices import COUNTERS, Price, dollars_for, price_table
from shared.domain.spending import CAPS

DAYS = 92
MOST_FILES = 20
NOBODY = UUID(int=0)


def find(visit: Visit) -> flask.Response:
    """The answer of `/api/costs`: of the last three months, what was counted and what that costs in US dollars."""
    prices = prices_of(visit.config)
    with visit.mine() as tx:
        clock, caps = tx.row("clock"), tx.row("caps")
        used = tx.row("used_of_caps", job_id=NOBODY, index=0)
        assert clock is not None
        assert used is not None
        since = (clock["now"] - timedelta(days=DAYS)).date()
        days = tx.rows("costs_by_day", since=since)
        per_million = {counter: str(prices[counter].dollars) for counter in COUNTERS}
        files = tx.rows("costs_by_file", since=since, most=MOST_FILES, **per_million)
    total = {counter: sum(day[counter] for day in days) for counter in COUNTERS}
    return as_json(
        {
            "currency": "USD",
            "since": since,
            "total": _priced(total, prices),
            "days": [{"day": day["day"], **_priced(day, prices)} for day in days],
            "files": [{"id": row["file_id"], "name": row["name"], **_priced(row, prices)} for row in files],
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
    )


def prices_of(config: Settings) -> dict[str, Price]:
    """The prices by which this installation's costs are computed."""
    return price_table(config.embedding_model, config.entity_model, config.prices)


def _priced(counted: Mapping[str, Any], prices: Mapping[str, Price]) -> dict[str, Any]:
    dollars = round(dollars_for(counted, prices.values()), 6)
    return {**{counter: counted[counter] for counter in COUNTERS}, "dollars": float(dollars)}
