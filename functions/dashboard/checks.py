"""Is everything well for this person: Drive, notifications, each step of the work, the queue, models, the database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import flask

from functions.dashboard import words
from functions.dashboard.api import read_status
from functions.dashboard.visit import Visit, as_json
from shared.adapters.postgres import Transaction

LATE = timedelta(hours=1)  # longer than anything takes that is on its way
SERVICES = ("recognition_away", "quota", "slow", "unavailable")


def health(visit: Visit) -> flask.Response:
    """The answer of `/api/health`."""
    with visit.mine() as tx:
        return as_json({"checks": read_checks(tx)})


def read_checks(tx: Transaction) -> list[dict[str, Any]]:
    """Each part with whether it is `ok`, a `warning` or an `error`, and a sentence."""
    status, last = read_status(tx), tx.row("last_work")
    assert last is not None
    return [
        {"part": "database", "state": "ok", "told": "It answers."},
        _drive(status, last),
        _notifications(status),
        _queue(status, last),
        *_steps(status, last),
        _services(status),
        _quota(status, tx.rows("standings")),
        _compared(status, last),
    ]


def _drive(status: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    person = status["person"]
    if person["status"] != "active":
        told = person["reason"] or "Google no longer accepts the permission to read your Drive."
        return {"part": "drive", "state": "error", "told": words.sentence(told) + " Connect again."}
    if person["reason"]:
        return {"part": "drive", "state": "warning", "told": words.sentence(person["reason"])}
    heard = _ago(last["listed_at"], status["now"])
    return {"part": "drive", "state": "ok", "told": f"It was last heard of {heard}." if heard else "It is connected."}


def _notifications(status: dict[str, Any]) -> dict[str, Any]:
    open_now = [one for one in status["channels"] if one["state"] == "active"]
    if not open_now:
        return {
            "part": "notifications",
            "state": "warning",
            "told": "Drive announces nothing: changes are found when they are looked for.",
        }
    ends = min(one["expires_at"] for one in open_now if one["expires_at"]) if open_now else None
    silent = [one for one in open_now if one["silent_at"] and one["silent_at"] > status["now"] - timedelta(days=1)]
    if silent:
        return {
            "part": "notifications",
            "state": "warning",
            "told": "Drive did not announce a change within the last day; the channel was replaced.",
        }
    return {
        "part": "notifications",
        "state": "ok",
        "told": f"Open for {words.counted(len(open_now), 'corpus').replace('corpuss', 'corpora')}, the next renewal"
        f" before {words.time(ends)}.",
    }


def _queue(status: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    if not last["queued"]:
        return {"part": "queue", "state": "ok", "told": "No file waits for its turn."}
    old = float(last["queued_for"] or 0)
    moving = status["last_minute"]["files"] > 0
    state = "ok" if moving or old < LATE.total_seconds() else "warning"
    return {
        "part": "queue",
        "state": state,
        "told": f"{words.counted(last['queued'], 'file')} in it, the first for {words.seconds(old)}.",
    }


def _steps(status: dict[str, Any], last: dict[str, Any]) -> list[dict[str, Any]]:
    steps = (("change_lister", "listed_at"), ("file_streamer", "read_at"), ("ai_processor", "understood_at"))
    idle = status["at_rest"]
    return [
        {
            "part": part,
            "state": "ok" if idle or (last[at] and status["now"] - last[at] < LATE) else "warning",
            "told": f"Its last success was {_ago(last[at], status['now'])}."
            if last[at]
            else "It has had nothing to do.",
        }
        for part, at in steps
    ]


def _services(status: dict[str, Any]) -> dict[str, Any]:
    stuck = {code: count for code, count in status["reasons"].items() if code in SERVICES}
    if not stuck:
        return {"part": "models", "state": "ok", "told": "No file waits for Document AI or Vertex AI."}
    return {
        "part": "models",
        "state": "warning",
        "told": f"{words.counted(sum(stuck.values()), 'file')} wait for Document AI, Vertex AI or a quota; they go on"
        " by themselves.",
    }


def _quota(status: dict[str, Any], standings: list[dict[str, Any]]) -> dict[str, Any]:
    if status["paused"]:
        return {"part": "quota", "state": "warning", "told": words.sentence(status["paused"]["reason"])}
    used = [one["used"] / (one["used"] + one["remaining"]) for one in standings if one["used"]]
    told = f"{max(used):.0%} of what Google allows is given away." if used else "Nothing of it is given away yet."
    return {"part": "quota", "state": "ok", "told": told}


def _compared(status: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    if last["compared_at"] is None:
        return {"part": "comparison", "state": "ok", "told": "The first comparison with Drive is made within a day."}
    wrong = sum(one["missing"] + one["stale"] + one["surplus"] - one["repaired"] for one in status["censuses"])
    told = f"Compared with Drive {_ago(last['compared_at'], status['now'])}: "
    told += "no difference is left." if wrong <= 0 else f"{words.counted(wrong, 'difference')} being put right."
    return {"part": "comparison", "state": "ok" if wrong <= 0 else "warning", "told": told}


def _ago(at: datetime | None, now: datetime) -> str:
    return words.ago(at, now)
