"""What every test may rely on: long tests run when asked for, and say so when they are left out."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long schedules, fuzzing and scale runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    left_out = pytest.mark.skip(reason="takes minutes: ./dev test --long runs it")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(left_out)
