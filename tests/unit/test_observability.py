"""infra/observability.json: what is counted, promised and called out agrees with itself and with the runbooks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEFINED: dict[str, Any] = json.loads((ROOT / "infra" / "observability.json").read_text())
RUNBOOKS = ROOT / "docs" / "runbooks"
LOOKS = [*DEFINED["alerts"].items(), *((tile["title"], tile) for tile in DEFINED["tiles"])]
ALERTS = [*DEFINED["alerts"], *DEFINED["burns"]]
BURNS = sorted(DEFINED["burns"])


def threshold(burn: dict[str, str]) -> float:
    """As observability.tf computes it."""
    rate, slo = DEFINED["burn_rates"][burn["rate"]], DEFINED["slos"][burn["slo"]]
    return float(rate["budget"] * slo["days"] * 24 / rate["hours"])


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """Whoever is woken reads what to do; a page about an alert that nobody sends is a lie."""
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_says_what_it_means_how_to_look_what_to_do_and_when_it_is_over(alert: str) -> None:
    """At three in the morning nobody finds out what a page has left out."""
    text = (RUNBOOKS / f"{alert}.md").read_text()

    assert text.startswith(f"# {alert}: ")
    assert re.findall(r"^## (.*)$|^\*\*(For people):\*\*", text, re.MULTILINE) == [
        ("", "For people"), ("Look", ""), ("Do", ""), ("Over when", ""),
    ]  # fmt: skip
    assert "```\n" in text or ".md)" in text
    for link in re.findall(r"\]\(([a-z-]+)\.md\)", text):
        assert link in ALERTS, link


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_names_metrics_tiles_and_settings_that_exist(alert: str) -> None:
    """A name that is not there costs the time that nobody has then."""
    text = (RUNBOOKS / f"{alert}.md").read_text()

    assert set(re.findall(r"`drivestream/(\w+)`", text)) <= set(DEFINED["metrics"])
    assert set(re.findall(r"\*([A-Z][^*]+)\*", text)) - {"For people:"} <= {
        tile["title"].partition(",")[0] for tile in DEFINED["tiles"]
    }


@pytest.mark.parametrize(("name", "one"), LOOKS)
def test_what_is_looked_at_is_a_metric_of_ours_with_that_label_or_is_googles(name: str, one: dict[str, Any]) -> None:
    """Monitoring takes any name, and shows nothing for a wrong one."""
    assert ("metric" in one) != ("type" in one)
    if "metric" in one:
        metric = DEFINED["metrics"][one["metric"]]
        only = [label.removeprefix("metric.labels.") for label in one.get("only", {})]
        assert {*one.get("by", []), *only} <= set(metric["labels"])
        of_numbers = one["aligner"] in {"ALIGN_RATE", "ALIGN_DELTA", "ALIGN_COUNT"}
        assert of_numbers or "value" in metric
    else:
        assert one["resource"]


def test_every_metric_is_looked_at_by_somebody() -> None:
    """What nobody looks at is paid for all the same."""
    seen = {one["metric"] for _, one in LOOKS if "metric" in one}
    seen |= {slo["metric"] for slo in DEFINED["slos"].values() if "metric" in slo}

    # What is asked for when something else has gone wrong: the runbooks name it, or the tables of an export.
    on_demand = {"file_bytes", "channels_not_renewed", "traces_lost", "people", "spent_today"}

    assert set(DEFINED["metrics"]) - seen == on_demand


@pytest.mark.parametrize("name", sorted(name for name, slo in DEFINED["slos"].items() if "metric" in slo))
def test_the_line_between_good_and_bad_is_a_bound_of_the_metric(name: str) -> None:
    """Between two bounds Monitoring guesses, and a promise is no guess."""
    slo = DEFINED["slos"][name]
    bounds = DEFINED["metrics"][slo["metric"]]["bounds"]

    assert set(slo["range"].values()) <= set(bounds)
    assert bounds == sorted(bounds)


@pytest.mark.parametrize("name", BURNS)
def test_an_alert_comes_when_its_share_of_the_budget_goes_within_its_window(name: str) -> None:
    """Who fails all the time at exactly the threshold has spent exactly that share when the long window is over."""
    burn = DEFINED["burns"][name]
    rate, slo = DEFINED["burn_rates"][burn["rate"]], DEFINED["slos"][burn["slo"]]
    asked_an_hour = 1000.0
    allowed = (1 - slo["goal"]) * asked_an_hour * 24 * slo["days"]

    bad = threshold(burn) * (1 - slo["goal"]) * asked_an_hour * rate["hours"]

    assert bad / allowed == pytest.approx(rate["budget"])
    assert rate["short_minutes"] * 12 == rate["hours"] * 60
    assert threshold(burn) * (1 - slo["goal"]) < 1  # else not even a total failure would be told


def test_burn_rates_are_those_of_the_book() -> None:
    """Google's SRE workbook, chapter 5, has 14.4 and 6 for 30 days; for 28 days they are a little lower."""
    rates = {name: round(threshold(DEFINED["burns"][name]), 3) for name in BURNS}

    assert rates == {
        "availability-fast": 13.44,
        "availability-slow": 5.6,
        "completeness-creeping": 0.933,
        "freshness-fast": 13.44,
        "freshness-slow": 5.6,
    }


def test_the_doors_that_are_promised_and_the_lanes_that_are_watched_exist() -> None:
    """A filter on a service that was renamed is a promise that is always kept."""
    topology = json.loads((ROOT / "infra" / "topology.json").read_text())
    doors = {
        path.parent.name.replace("_", "-") for path in ROOT.glob("functions/*/main.py") if "@door" in path.read_text()
    }
    named = re.findall(r'"([a-z-]+)"', json.dumps([one.get("only") for _, one in LOOKS]).replace('\\"', '"'))
    watched = {name for name in named if name in topology["subscriptions"] or "-" in name}

    assert set(DEFINED["slos"]["availability"]["services"]) == doors
    assert watched == set(topology["subscriptions"]) - {"channel-renewer"}
