"""Rows in words for a person: places, sizes, times, and why a file is where it is. No I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

# Characters that reorder what stands around them: a name could pretend to be another one.
_DIRECTIONS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_CONTROLS = {code: " " for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc"}
_WEB = re.compile(r"https?://[^\s/\\]\S*", re.IGNORECASE)
_INVISIBLE = {**_DIRECTIONS, **_CONTROLS, 0x2028: " ", 0x2029: " ", 0xFEFF: None}


def shown(text: str | None) -> str:
    """Somebody else's text on one line, without what could disturb the page around it."""
    return re.sub(r"\s+", " ", (text or "").translate(_INVISIBLE)).strip()


def safe_link(address: str | None) -> str | None:
    """The address if a browser may be sent there: http and https only."""
    try:
        parts = urlsplit(address or "")
    except ValueError:
        return None
    return address if _WEB.fullmatch(address or "") and parts.hostname else None


def place(locator: Mapping[str, Any] | None) -> str:
    """Where in its file a passage stands: "page 3", "sheet Q1, rows 2–40", "Results, lines 10–24"."""
    at = locator or {}
    found = []
    if at.get("part"):
        found.append(f"in {shown(str(at['part']))}")
    if at.get("sheet"):
        found.append(f"sheet {shown(str(at['sheet']))}")
    if at.get("slide"):
        found.append(f"slide {at['slide']}")
    found.append(_span("page", at.get("page_first"), at.get("page_last")))
    found.append(_span("row", at.get("row_first"), at.get("row_last")))
    if at.get("heading"):
        found.append(f"under “{shown(str(at['heading']))}”")
    if not at.get("page_first") and not at.get("row_first"):
        found.append(_span("line", at.get("line_first"), at.get("line_last")))
    return ", ".join(filter(None, found))


def _span(unit: str, first: Any, last: Any) -> str:
    if first is None:
        return ""
    return f"{unit} {first}" if last is None or last == first else f"{unit}s {first}–{last}"


def size(count: float | None) -> str:
    """Bytes as a person reads them; nothing for a native file, which has no size."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(count: int) -> str:
    """A count with thin spaces between its thousands."""
    return f"{count:,}".replace(",", "\u202f")


def dollars(amount: float) -> str:
    """US dollars as a person reads them: cents where they are whole, and never nothing for something."""
    return "$0" if amount == 0 else "under 1 ct" if amount < 0.01 else f"${amount:,.2f}"


def seconds(length: float | None) -> str:
    """How long something took."""
    if length is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if length >= 2 * size:
            return f"{length / size:.0f} {unit}"
    return f"{length:.1f} s" if length < 10 else f"{length:.0f} s"


def counted(count: int, thing: str) -> str:
    """A number of things: "1 file", "2 files"."""
    return f"{number(count)} {thing if count == 1 else thing + 's'}"


def every(seconds: float) -> str:
    """How often something happens: "every 5 seconds", "every minute", "every 15 minutes"."""
    count, unit = (round(seconds / 60), "minute") if seconds >= 60 else (max(1, round(seconds)), "second")
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def time(at: datetime | None) -> str:
    """A moment, exactly enough: 23 Nov 2026, 14:05 UTC."""
    if at is None:
        return ""
    moment = at.astimezone(UTC)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def ago(at: datetime | None, now: datetime) -> str:
    """How long before or after `now` a moment is: "just now", "5 min ago", "in 2 h"."""
    if at is None:
        return ""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 45:
        return "just now" if seconds >= 0 else "in a moment"
    far = abs(seconds)
    for limit, length, unit in ((3600, 60, "min"), (86_400, 3600, "h"), (86_400 * 30, 86_400, "d")):
        if far < limit * 0.98:
            many = max(1, round(far / length))
            return f"{many} {unit} ago" if seconds > 0 else f"in {many} {unit}"
    return f"{at.astimezone(UTC).day} {at.astimezone(UTC):%b %Y}"


STATES = {
    "queued": "queued",
    "processing": "being read",
    "waiting": "waiting",
    "indexed": "searchable",
    "skipped": "skipped",
    "failed": "failed",
    "deleted": "deleted",
    "folder": "folder",
}


def why(file: Mapping[str, Any], job: Mapping[str, Any] | None, now: datetime) -> str:
    """A sentence or two that answer "why is this file not here (yet)?": the stage, the reason, the next try."""
    reason = sentence(file["reason"])
    match file["state"]:
        case "queued":
            told = f"It is known since {time(file['first_seen_at'])}, has not been read yet, and waits for its turn."
        case "processing":
            told = _reading(job)
        case "waiting":
            told = reason or "It waits for something that is not available now."
        case "indexed":
            told = f"It is searchable since {time(file['indexed_at'])}, with {counted(file['passages'], 'passage')}."
            if file["truncated_at"]:
                told += f" Not whole: {sentence(file['truncated_at'])}"
        case "skipped":
            told = reason or "Its text cannot be had."
            told += " Its name is searchable all the same."
        case "failed":
            told = reason or "It could not be processed."
        case "deleted":
            told = f"Drive has not shown it to you since {time(file['deleted_at'])}, so it is not searchable any more."
        case _:
            told = "A folder has no text of its own; the files in it are listed on their own."
    if file["state"] in {"waiting", "failed"}:
        told += f" {_next_try(file['next_try'], now)}"
    return told


STAGES = {
    "queued": "listed",
    "waiting": "waiting",
    "indexed": "searchable",
    "skipped": "skipped",
    "failed": "failed",
    "deleted": "gone",
    "folder": "folder",
}


def stage(file: Mapping[str, Any], job: Mapping[str, Any] | None) -> str:
    """How far a file has come on its way from Drive to a search result, in one word."""
    if file["state"] != "processing":
        return STAGES[file["state"]]
    return "understanding" if job is not None and job["expected_chunks"] else "reading"


def next_step(file: Mapping[str, Any], now: datetime) -> str:
    """What happens next with the file, and when."""
    match file["state"]:
        case "waiting" | "failed":
            return _next_try(file["next_try"], now)
        case "queued":
            return "It is read when its turn comes; should its message be lost, it is put back within the hour."
        case "processing":
            return "It goes on by itself; should its reader stop, another one takes it up."
        case "skipped" if file["reason_code"] == "outside_folders":
            return "It is read when you select a folder in which it lies, or move it into one."
        case "skipped":
            return "It is looked at again when it changes in Drive, or when you ask."
        case "deleted":
            return "It is searchable again when Drive shows it to you again."
        case "indexed":
            return "It is read again when its content changes."
    return "Nothing: a folder has no text of its own."


def freshness(file: Mapping[str, Any]) -> dict[str, Any]:
    """The way of this content from a change in Drive into search, and how many seconds each step took: None for a
    step that has not been taken, or that took no notice (a sweep finds what nobody announced)."""
    changed, announced, seen = file["changed_at"], file["announced_at"], file["found_at"]
    # What came back with content that we still had was not understood again, only shown.
    shown = file["state_at"] if file["state"] == "indexed" else None
    indexed = next((at for at in (file["indexed_at"], shown) if seen and at and at >= seen), None)
    return {
        "changed_at": changed,
        "announced_at": announced,
        "seen_at": seen,
        "indexed_at": indexed,
        "announced_after": _seconds(changed, announced),
        "seen_after": _seconds(changed, seen),
        "indexed_after": _seconds(changed, indexed),
    }


def _seconds(since: datetime | None, at: datetime | None) -> float | None:
    if since is None or at is None:
        return None
    return round(max(0.0, (at - since).total_seconds()), 3)  # Drive's clock and ours may differ a little


def _reading(job: Mapping[str, Any] | None) -> str:
    if job is None:
        return "It is about to be read."
    if job["expected_chunks"]:
        return (
            f"It has been read ({size(job['bytes_read'])}); "
            f"{number(job['finished_chunks'])} of {counted(job['expected_chunks'], 'part')} are understood."
        )
    return f"It is being read: {size(job['bytes_read'])} so far, {counted(job['finished_chunks'], 'part')} understood."


def _next_try(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "You can ask to try it again."
    return "Next try: now." if at <= now else f"Next try {ago(at, now)}."


def sentence(text: str | None) -> str:
    """Text that ends like a sentence."""
    told = shown(text)
    return told if not told or told[-1] in ".!?…" else told + "."
