"""The caps of a person in Postgres: reserved before a step is billed, settled when it is."""

from __future__ import annotations

from dataclasses import asdict

from shared.adapters.postgres import Transaction
from shared.domain.spending import CAPS, CapReached, Wanted, refusal

READING = -1  # the step's index where it is the reading of the file itself, not one of its chunks


def reserve(tx: Transaction, job_id: str, index: int, wanted: Wanted, seconds: float) -> CapReached | None:
    """Keep what a step wants from everybody else until it is settled, or for `seconds`; why not, where a cap is in the
    way. One person's steps are reserved one after the other, so that two do not take what is left for one."""
    caps = tx.row("lock_caps")
    if caps is None:
        return None
    used = tx.row("used_of_caps", job_id=job_id, index=index)
    assert used is not None
    refused = refusal({name: caps[name] for name in CAPS}, used, wanted, float(used["seconds_left"]))
    if refused is None:
        tx.run("reserve", job_id=job_id, index=index, seconds=seconds, **asdict(wanted))
    return refused


def settle(tx: Transaction, job_id: str, index: int) -> None:
    """The step is over, and what it cost is in the counters."""
    tx.run("settle", job_id=job_id, index=index)
