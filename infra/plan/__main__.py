"""`./dev plan`: days to a first sync and cost per month for a Drive of a given size, with every formula.

`--measure FOLDER` measures this machine on a folder (100 files at least) and writes the rates; `--local FOLDER` tells
how long `./dev local --once` takes on another folder with them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from infra.local.options import Parser
from infra.plan import forecast as assumed
from infra.plan.forecast import Drive, Machines, Part, Plan, forecast, units_of
from infra.plan.kinds import KINDS, USUAL_MIX, MixError, mix_of
from infra.plan.limits import LIMITS, Limit
from infra.plan.measure import MeasureError, files_of, run_once
from infra.plan.rates import Rates, RatesError, read_rates
from shared.domain.prices import PricesError

RATES = Path(__file__).with_name("rates.json")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGTP]?)(i?)B?")
_STEPS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the plan was printed."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        if chosen.measure:
            return _measure(chosen)
        rates = read_rates(chosen.rates or RATES)
        if chosen.local:
            return _local(chosen, rates)
        mix = mix_of(chosen.mix) if chosen.mix else {kind: share / 100 for kind, share in USUAL_MIX.items()}
        limits = {**LIMITS, **dict(map(_limit, chosen.quota or []))}
        drive = Drive(chosen.bytes, chosen.files, mix, people=chosen.people, changes=chosen.changes / 100)
        machines = Machines(
            instances=chosen.instances,
            sql_cores=chosen.sql_cores,
            sql_memory_gib=chosen.sql_cores * 4,
            embedding_model=chosen.embedding_model,
            entity_model=chosen.entity_model,
            entities=chosen.entities,
            limits=limits,
        )
        plan = forecast(drive, machines, rates, chosen.prices)
    except (MixError, RatesError, MeasureError, PricesError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    print(_as_text(drive, plan, rates))
    if chosen.json:
        print(json.dumps(_as_json(plan)))
    return 0


def size_of(text: str) -> float:
    """Bytes, or files, of a number such as 15TB, 8M, 2.5 GiB."""
    match = _SIZE.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"give a size above 0 such as 15TB, 8M or 2.5GiB, not {text!r}")
    step = 1024.0 if match[3] else 1000.0
    return float(match[1]) * step ** _STEPS[match[2].lower()]


def _limit(text: str) -> tuple[str, Limit]:
    name, _, said = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"there is no quota {name!r}; there are {', '.join(LIMITS)}")
    return name, replace(LIMITS[name], amount=size_of(said), source="--quota")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"give a share from 0 to 1, not {text!r}")
    return share


def _whole(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"give a whole number of at least 1, not {text!r}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(prog="./dev plan", description="Days and cost for a Drive of a given size.", allow_abbrev=False)
    kinds = ", ".join(f"{kind} {share:g}" for kind, share in USUAL_MIX.items())
    usual = Machines()
    parser.add_argument("--bytes", type=size_of, default=15e12, help="of the Drive (default: 15TB)")
    parser.add_argument("--files", type=size_of, default=8e6, help="in the Drive (default: 8M)")
    parser.add_argument("--mix", metavar="K=N,...", help=f"shares of the files (default: {kinds})")
    parser.add_argument("--people", type=_whole, default=1, help="whose Drives these are together (default: 1)")
    parser.add_argument("--changes", type=float, default=5.0, help="per cent of the files in a month (default: 5)")
    parser.add_argument("--instances", type=_whole, default=usual.instances, help="of the functions, at most")
    parser.add_argument("--sql-cores", type=_whole, default=usual.sql_cores, help="of Postgres, with 4 GiB each")
    parser.add_argument("--embedding-model", default=usual.embedding_model)
    parser.add_argument("--entity-model", default=usual.entity_model)
    parser.add_argument("--entities", type=_share, default=1.0, help="share of the text that is searched for names")
    parser.add_argument("--quota", action="append", metavar="NAME=N", help=f"another limit: {', '.join(LIMITS)}")
    parser.add_argument("--prices", default="", help="other prices, as the setting PRICES has them")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="of a machine, as --measure writes them")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="measure this machine, and write --rates FILE")
    parser.add_argument("--local", type=Path, metavar="FOLDER", help="how long ./dev local --once takes on this folder")
    parser.add_argument("--json", action="store_true", help="a JSON object on the last line")
    return parser


def _measure(chosen: argparse.Namespace) -> int:
    run = run_once(chosen.measure)
    rates = run.rates()
    path = chosen.rates or Path("rates.json")
    rates.save(path)
    print(f"{len(run.done)} files in {run.seconds:.1f} s. The rates are in {path}.")
    return 0


def _local(chosen: argparse.Namespace, rates: Rates) -> int:
    files = list(files_of(chosen.local))
    seconds = rates.seconds(files)
    print(f"{len(files)} files take about {seconds:.0f} s here, by rates of {rates.measured}.")
    if chosen.json:
        print(json.dumps({"files": len(files), "seconds": round(seconds, 1)}))
    return 0


def _as_text(drive: Drive, plan: Plan, rates: Rates) -> str:
    amounts = plan.amounts
    whose = "person" if drive.people == 1 else "people"
    slowest = plan.bottleneck
    work = (
        f"Fetched {amounts.fetched / 1e12:,.2f} TB by {amounts.requests:,.0f} requests, "
        f"{units_of(drive, amounts):,.0f} Drive units; {amounts.pages:,.0f} pages to recognise; "
        f"{amounts.passages:,.0f} passages, {amounts.tokens:,.0f} tokens to embed."
    )
    answer = (
        f"Days to the first sync: {slowest.value:,.1f}. The bottleneck: {slowest.name}. "
        f"{plan.instances:,.1f} instances are busy meanwhile."
    )
    assumptions = (
        f"Assumed: {assumed.CHARACTERS_A_PAGE:,} characters a page; {assumed.CHARACTERS_A_TOKEN} a token, of which "
        f"{assumed.OVERLAP:g} are embedded; {assumed.MODEL_IN:g} tokens in and {assumed.MODEL_OUT:g} out of the "
        f"entities' model for each; {assumed.PASSAGE_BYTES:,} bytes of disk a passage. Work of a core: rates of "
        f"{rates.measured}, in which the stand-ins and Postgres are, too."
    )
    lines = [
        f"A Drive of {drive.bytes / 1e12:,.3g} TB in {drive.files:,.0f} files, of {drive.people} {whose}",
        "",
        *_table(
            "kind | share | a file has, MB | what is assumed",
            (
                f"{part.name} | {part.formula} | {part.value / 1e6:,.3f} | {KINDS[part.name].what}"
                for part in plan.kinds
            ),
        ),
        "",
        work,
        "",
        *_table(
            "the first sync cannot be faster than | formula | days",
            (f"{part.name} | {part.formula} | {part.value:,.2f}" for part in plan.days),
        ),
        "",
        answer,
        "",
        *_costs("the first sync, once", plan.once),
        "",
        *_costs(f"each month, {drive.changes:.1%} of the files new or changed", plan.monthly),
        "",
        *_table(
            "price | dollars for a million | read | source",
            (
                f"{price.counter} | {price.dollars.normalize():f} | {price.read_on} | {price.source}"
                for price in plan.prices
            ),
        ),
        "",
        *_table("limit | source", (f"{limit.name}: {limit.what} | {limit.source}" for limit in LIMITS.values())),
        "",
        assumptions,
    ]
    return "\n".join(lines)


def _table(head: str, rows: Iterable[str]) -> list[str]:
    return [f"| {head} |", "|" + " --- |" * (head.count("|") + 1), *(f"| {row} |" for row in rows)]


def _costs(title: str, parts: Sequence[Part]) -> list[str]:
    rows = [f"{part.name} | {part.formula} | {part.value:,.2f}" for part in parts]
    return _table(f"{title} | formula | dollars", [*rows, f"together | | {sum(part.value for part in parts):,.2f}"])


def _as_json(plan: Plan) -> dict[str, object]:
    return {
        "days": round(plan.bottleneck.value, 3),
        "bottleneck": plan.bottleneck.name,
        "instances": round(plan.instances, 2),
        "once_dollars": round(sum(part.value for part in plan.once), 2),
        "monthly_dollars": round(sum(part.value for part in plan.monthly), 2),
        "amounts": {name: round(value) for name, value in asdict(plan.amounts).items()},
        "parts": {
            name: {part.name: round(part.value, 4) for part in parts}
            for name, parts in (("days", plan.days), ("once", plan.once), ("monthly", plan.monthly))
        },
    }


if __name__ == "__main__":
    sys.exit(main())
