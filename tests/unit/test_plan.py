"""The plan: what a Drive of some size takes, by formulas that a person can follow and by rates of a measured run."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from infra.plan import __main__ as command
from infra.plan.forecast import Drive, Machines, amounts_of, forecast, mean_sizes
from infra.plan.kinds import KINDS, USUAL_MIX, MixError, kind_of, mix_of
from infra.plan.limits import LIMITS
from infra.plan.rates import Done, Rates, RatesError, fit, read_rates

MIX = {kind: share / 100 for kind, share in USUAL_MIX.items()}
DRIVE = Drive(15e12, 8e6, MIX)
RATES = read_rates(command.RATES)


def run_of(files: int, seed: int, *, text: float = 0.1, office: float = 0.3, passage: float = 0.02) -> list[Done]:
    """A run in which each file takes exactly so long, one after the other."""
    dice = random.Random(seed)
    done, at = [], 0.0
    for number in range(files):
        kind = dice.choice(("txt", "txt", "docx"))
        size = dice.randrange(1_000, 200_000)
        passages = 2 + size // 1_000
        at += (office if kind == "docx" else text) + passage * passages
        done.append(Done(f"{number}.{kind}", size, passages, at))
    return done


def test_rates_of_one_run_tell_the_time_of_another(tmp_path: Path) -> None:
    """Three times as many other files: what was measured is a rate, not an average of everything."""
    known, other = run_of(600, 1), run_of(2000, 2)
    rates = fit(known, start=9.0, end=4.0, cores=2, processor=1.5)
    rates.save(tmp_path / "rates.json")

    predicted = read_rates(tmp_path / "rates.json").seconds((file.name, file.size) for file in other)

    assert predicted == pytest.approx(9.0 + other[-1].at + 4.0, rel=0.03)


def test_a_measured_run_is_told_exactly_by_its_own_rates() -> None:
    """Whatever the fit makes of it, all parts together are the time that it took."""
    known = run_of(300, 3)

    rates = fit(known, start=9.0, end=4.0, cores=2, processor=1.5)

    told = sum(rates.file[kind_of(file.name)] + rates.passage * file.passages for file in known)
    assert told == pytest.approx(known[-1].at)


def test_a_kind_that_takes_longer_is_told_from_the_others() -> None:
    """A folder of office files takes longer than one of texts, and the plan says so."""
    rates = fit(run_of(2000, 4), start=0.0, end=0.0, cores=2, processor=1.5)

    assert rates.file["office"] > 1.5 * rates.file["text"]


def test_a_run_that_is_too_short_is_refused() -> None:
    """Ten files tell nothing, and a plan made of them would look like any other."""
    with pytest.raises(RatesError, match="too short"):
        fit(run_of(10, 5), start=0.0, end=0.0, cores=2, processor=1.5)


def test_the_files_of_all_kinds_are_the_whole_drive() -> None:
    """What is assumed of single kinds must not change what was asked about."""
    sizes = mean_sizes(DRIVE)

    assert sum(DRIVE.files * MIX[kind] * size for kind, size in sizes.items()) == pytest.approx(DRIVE.bytes)


def test_fifteen_terabytes_take_days_by_the_quotas_of_2026() -> None:
    """The numbers of the formula, by hand: 400 million units a day cannot be raised."""
    plan = forecast(DRIVE, Machines(), RATES)

    downloads = 8e6 * (0.25 + 0.08 + 0.20) + 8e6 * 2 * (0.20 + 0.04 + 0.20)
    units = 8e6 / 1000 * 100 + 8e6 * 5 + downloads * 200
    by_day = next(part for part in plan.days if part.name == LIMITS["drive-day"].what)
    assert by_day.value == pytest.approx(units / 400e6)
    assert plan.bottleneck.value == max(part.value for part in plan.days)


@pytest.mark.parametrize(
    ("drive", "bottleneck"),
    [
        (replace(DRIVE, mix={"scans": 1.0}), "drive-bytes-day"),
        (replace(DRIVE, bytes=3e12, mix={"images": 1.0}), "ocr-requests-minute"),
        (replace(DRIVE, files=1e5, mix={"text": 1.0}), "embedding-tokens-minute"),
    ],
)
def test_the_bottleneck_is_named(drive: Drive, bottleneck: str) -> None:
    """An operator raises the one quota that counts, and not the others."""
    many = replace(drive, people=100)

    assert forecast(many, Machines(), RATES).bottleneck.name == LIMITS[bottleneck].what


def test_a_quota_that_is_raised_is_a_bottleneck_no_longer() -> None:
    """What the operator asks Google for is worth something, and the plan says how much."""
    scans = replace(DRIVE, mix={"images": 1.0}, bytes=3e12)
    raised = {**LIMITS, "ocr-requests-minute": replace(LIMITS["ocr-requests-minute"], amount=6_000)}

    assert forecast(scans, Machines(limits=raised), RATES).bottleneck.name != LIMITS["ocr-requests-minute"].what


def test_few_instances_are_a_bottleneck_of_their_own() -> None:
    """One instance does not read 15 TB in a week, whatever Google allows."""
    assert forecast(DRIVE, Machines(instances=1), RATES).bottleneck.name == "instances of functions"


def test_media_cost_no_byte_and_no_page() -> None:
    """What is never fetched must not be in the bill."""
    amounts = amounts_of(replace(DRIVE, mix={"media": 1.0}), {"media": 5e7}, RATES)

    assert (amounts.fetched, amounts.requests, amounts.pages, amounts.characters) == (0, 0, 0, 0)


def test_prices_are_those_of_the_one_table_and_can_be_replaced() -> None:
    """The bill of the dashboard and the plan's must not be of two minds."""
    usual = forecast(DRIVE, Machines(), RATES)
    dear = forecast(DRIVE, Machines(), RATES, '{"ocr_pages": 3000}')

    pages = [next(part.value for part in plan.once if part.name == "Document AI, pages") for plan in (usual, dear)]
    assert pages[0] == pytest.approx(usual.amounts.pages * 1500 / 1e6)
    assert pages[1] == pytest.approx(2 * pages[0])


def test_a_month_costs_the_machines_and_what_has_changed() -> None:
    """Nothing changes: only the database is paid for."""
    still = forecast(replace(DRIVE, changes=0.0), Machines(), RATES)
    moving = forecast(replace(DRIVE, changes=0.1), Machines(), RATES)

    database = sum(part.value for part in still.monthly if part.name.startswith("Cloud SQL"))
    assert sum(part.value for part in still.monthly) == pytest.approx(database)
    assert sum(part.value for part in moving.monthly) == pytest.approx(
        database + sum(part.value for part in moving.once) / 10
    )


def test_the_mix_may_be_in_any_unit() -> None:
    """Percent, shares or counts: what counts is how they compare."""
    assert mix_of("text=60, pdf=40") == mix_of("text=0.6,pdf=0.4") == mix_of("text=3,pdf=2,media=0")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("scns=3", "no kind 'scns'; there are text, pdf"),
        ("text", "must be a number"),
        ("text=-1", "must be a number"),
        ("text=nan", "must be a number"),
        ("text=1,text=2", "given twice"),
        ("text=0", "at least one share above 0"),
        ("", "at least one share"),
    ],
)
def test_a_mix_that_cannot_be_meant_is_refused_by_name(said: str, why: str) -> None:
    """A kind with a slip in it would be left out, and the plan would be of another Drive."""
    with pytest.raises(MixError, match=why):
        mix_of(said)


def test_every_kind_has_a_rate_and_a_usual_share() -> None:
    """A new kind must be thought of everywhere."""
    assert set(USUAL_MIX) == set(KINDS) == set(RATES.file)
    assert sum(USUAL_MIX.values()) == 100


def test_the_command_prints_every_formula_and_a_program_gets_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A figure without its formula cannot be argued with."""
    code = command.main(["--bytes", "15TB", "--files", "8M", "--mix", "text=50,scans=50", "--json"])

    *said, last = capsys.readouterr().out.splitlines()
    answer = json.loads(last)
    page = "\n".join(said)
    assert code == 0
    assert {"days", "bottleneck", "instances", "once_dollars", "monthly_dollars"} <= set(answer)
    assert f"The bottleneck: {answer['bottleneck']}." in page
    for name in ("Document AI, pages", "embedding, tokens", "Pub/Sub, bytes", "Cloud SQL, vCPU hours", "unconfirmed"):
        assert name in page


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--bytes", "much"], "15TB"),
        (["--bytes", "0"], "above 0"),
        (["--mix", "films=1"], "no kind 'films'"),
        (["--quota", "speed=1"], "no quota 'speed'"),
        (["--rates", "/nowhere"], "holds no rates"),
        (["--prices", "{"], "not JSON"),
        (["--people", "0"], "at least 1"),
    ],
)
def test_a_wrong_word_is_said_in_one_sentence(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, and no plan of something else."""
    with pytest.raises(SystemExit) as ended:
        command.main(words)

    said = capsys.readouterr()
    assert ended.value.code == 2
    assert why in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_local_folder_is_told_by_the_same_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The forecast can be held against a run on one's own machine."""
    (tmp_path / "a.txt").write_text("Rhubarb.\n")
    (tmp_path / "link.txt").symlink_to("a.txt")

    command.main(["--local", str(tmp_path), "--json"])

    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer == {"files": 1, "seconds": round(RATES.seconds([("a.txt", 9)]), 1)}


def test_rates_of_another_machine_need_every_kind(tmp_path: Path) -> None:
    """A file that lacks one would fail in the middle of a plan."""
    RATES.save(tmp_path / "rates.json")
    said = json.loads((tmp_path / "rates.json").read_text())
    del said["file"]["pdf"]
    (tmp_path / "rates.json").write_text(json.dumps(said))

    with pytest.raises(RatesError, match="no rate for some kind"):
        read_rates(tmp_path / "rates.json")
    assert isinstance(RATES, Rates)
