"""Prices: one table, each with its source, and none that is silently missing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.config import SettingsError, read_settings
from shared.domain.prices import COUNTERS, PricesError, dollars_for, price_table


def test_every_counter_has_a_price_with_a_source() -> None:
    """A counter without one would be free in the sum."""
    table = price_table("gemini-embedding-001", "gemini-3.5-flash-lite")

    assert set(table) == set(COUNTERS)
    assert all(price.source and price.read_on for price in table.values())
    counted = {
        **dict.fromkeys(COUNTERS, 0),
        "ocr_pages": 1000,
        "embedded_tokens": 2_000_000,
        "model_output_tokens": 100,
    }
    assert dollars_for(counted, table.values()) == Decimal("1.50") + Decimal("0.30") + Decimal("0.00025")


def test_a_model_without_a_price_says_so() -> None:
    """Zero dollars must not look like a price."""
    table = price_table("new-model", "other-model")

    assert "no price is known" in table["embedded_tokens"].source
    assert "no price is known" in table["model_input_tokens"].source


@pytest.mark.parametrize(
    "said", ["{", "[]", '{"pages": 1}', '{"ocr_pages": -1}', '{"ocr_pages": "1"}', '{"ocr_pages": NaN}']
)
def test_prices_that_are_none_are_refused_at_the_start(said: str) -> None:
    """With the names that can be said."""
    with pytest.raises(PricesError):
        price_table("", "", said)
    with pytest.raises(SettingsError, match="PRICES is"):
        read_settings({"GOOGLE_CLOUD_PROJECT": "p", "PRICES": said})
