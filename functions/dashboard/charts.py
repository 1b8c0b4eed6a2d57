"""Bars, one for each day, as places in a drawing of 100 in height. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

STEP, WIDTH = 10, 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: where its bar stands, how high it is, and what a person is told of it."""

    x: int
    height: float
    told: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of consecutive days."""

    bars: list[Bar]
    width: int
    highest: float
    first: date
    last: date


def by_day(rows: Iterable[Mapping[str, Any]], value: str, today: date, days: int = 30) -> Chart:
    """The last days, each with its value or none; the highest fills the drawing."""
    values = {row["day"]: float(row[value]) for row in rows}
    first = today - timedelta(days=days - 1)
    span = [first + timedelta(days=number) for number in range(days)]
    highest = max((values.get(day, 0.0) for day in span), default=0.0)
    bars = [
        Bar(number * STEP, round(100 * values[day] / highest, 2), f"{day.isoformat()}: {values[day]:g}")
        for number, day in enumerate(span)
        if highest and values.get(day)
    ]
    return Chart(bars, days * STEP, highest, first, today)
