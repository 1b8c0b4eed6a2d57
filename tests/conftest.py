"""What every test may rely on: long tests run when asked for, and say so when they are left out."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long schedules, fuzzing and scale runs")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = pytest.mark.skip(reason="takes minutes: ./dev test --long runs it")
    for item in items:
        if "long" in item.keywords and not config.getoption("--long"):
            item.add_marker(left_out)
        if config.getoption("loadgroup", False):  # in a worker of `-n 2 --dist loadgroup`
            _name_its_group(item)


def _name_its_group(item: pytest.Item) -> None:
    """Let the tests of a group, which share one running stack, go to the same worker.

    pytest-xdist 3.8 writes the group into a field that pytest 9.2 no longer reads, and scatters the tests in silence
    (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    groups = "_".join(sorted({mark.args[0] for mark in item.iter_markers("xdist_group")}))
    if groups and not item.nodeid.endswith(f"@{groups}"):
        item._id = type(item.id).parse(f"{item.nodeid}@{groups}")
