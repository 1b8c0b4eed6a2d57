"""The arithmetic of Drive's quotas: what a request counts, when a day begins, and what is whose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.domain.errors import LongWait
from shared.domain.quota import (
    DOCUMENT_AI,
    VERTEX_AI,
    Pool,
    Shard,
    budget,
    busy_for,
    day_of,
    minute_of,
    over,
    refused_for,
    units_of,
)

CALIFORNIA = ZoneInfo("America/Los_Angeles")
FILES = "https://www.googleapis.com/drive/v3/files"
MINUTE = budget("units", "Used up.", 1000, 400, 0.1, daily=False)
DAY = budget("bytes", "Google's limit for today is used up.", 1000, 1000, 0.1, daily=True)


@pytest.mark.parametrize(
    ("method", "url", "units"),
    [
        ("GET", FILES + "/one?fields=id", 5),
        ("GET", FILES + "/one?alt=media&supportsAllDrives=true", 200),
        ("GET", FILES + "/one/export?mimeType=text/plain", 200),
        ("POST", FILES + "/one/download?mimeType=text/plain", 200),
        ("GET", FILES + "?q=trashed=false", 100),
        ("GET", "https://www.googleapis.com/drive/v3/changes?pageToken=1", 100),
        ("GET", "https://www.googleapis.com/drive/v3/drives?pageSize=100", 100),
        ("GET", "https://www.googleapis.com/drive/v3/changes/startPageToken", 5),
        ("POST", "https://www.googleapis.com/drive/v3/changes/watch?pageToken=1", 5),
        ("POST", "https://www.googleapis.com/drive/v3/channels/stop", 5),
        ("GET", "https://www.googleapis.com/drive/v3/about?fields=user", 5),
        ("GET", "https://doc-00-00-docs.googleusercontent.com/download/abc", 200),
        ("GET", "https://sheets.googleapis.com/v4/spreadsheets/one/values/a", 0),
    ],
)
def test_a_request_counts_what_drive_counts(method: str, url: str, units: int) -> None:
    """developers.google.com/workspace/drive/api/guides/limits: read 5, list 100, download 200, other 5."""
    assert units_of(method, url) == units


def test_a_day_is_one_of_california_also_when_clocks_are_changed() -> None:
    """Google's day begins at midnight Pacific: an hour off, and what waits for it comes back to find nothing."""
    moment = datetime(2007, 1, 1, tzinfo=UTC)
    wrong = []
    while moment < datetime(2040, 1, 1, tzinfo=UTC):
        local = moment.astimezone(CALIFORNIA).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        tomorrow = (local + timedelta(days=1)).replace(fold=0)
        found = day_of(moment)
        if (found.name, found.begins, found.ends) != (f"{local:%Y-%m-%d}", local, tomorrow):
            wrong.append((moment, found))
        moment += timedelta(hours=37, minutes=31)

    assert wrong == []
    lengths = {(day_of(datetime(2026, *day, 20, tzinfo=UTC))) for day in ((3, 8), (11, 1), (11, 2))}
    assert sorted((day.ends - day.begins) // timedelta(hours=1) for day in lengths) == [23, 24, 25]


def test_a_part_is_kept_that_only_fresh_edits_may_take() -> None:
    """However much is to be read for the first time, what is edited now is read today."""
    assert [purse.total for purse in MINUTE.purses(fresh=True)] == [900, 100]
    assert [purse.total for purse in MINUTE.purses(fresh=False)] == [900]
    assert [purse.each for purse in MINUTE.purses(fresh=True)] == [360, 40]


def test_people_who_want_more_have_equal_shares_and_late_in_a_minute_what_is_left() -> None:
    """Nobody's share lies idle until the minute is over."""
    purse = budget("units", "", 900, 900, 0.0, daily=False).open

    assert [purse.share(3, elapsed) for elapsed in (0.0, 0.5, 0.75, 1.0)] == [300, 300, 600, 900]
    assert purse.share(1, 0.0) == 900
    assert purse.opens(3, 600) == pytest.approx(0.75)
    assert purse.opens(3, 901) is None


def test_who_wants_little_takes_no_share_from_who_wants_much() -> None:
    """A hundred people whose Drives are only looked at must not make a hundredth of a first sync."""
    purse, shard = MINUTE.open, Shard(given=900)
    for number in range(100):
        shard.take(f"person {number}", 1)
        shard.press(purse, f"person {number}", 0.0, refused=False)

    assert shard.allowed(purse, "busy", 0.0) == purse.each


def test_who_was_refused_has_a_share_from_then_on() -> None:
    """Also in the minute after: the first to come must not take it whole again."""
    purse, shard = budget("units", "", 900, 900, 0.0, daily=False).open, Shard(given=900)
    shard.take("first", 900)
    shard.press(purse, "first", 0.0, refused=False)
    assert shard.press(purse, "late", 0.0, refused=True)
    pool = Pool()
    pool.note("a", shard)

    following, elsewhere = Shard.after(shard), Pool.after(pool)

    assert following.allowed(purse, "first", 0.0) == 450
    assert elsewhere.elsewhere("another shard") == 2


def test_what_shards_draw_is_never_more_than_there_is() -> None:
    """The last to come gets the rest, or nothing where that is too little."""
    pool = Pool()

    drawn = [pool.draw(MINUTE.open, 400, 100) for _ in range(4)]

    assert drawn == [400, 400, 100, 0]
    assert pool.given == MINUTE.open.total


def test_a_day_that_is_used_up_says_when_it_goes_on() -> None:
    """A person who sees nothing move must know why, and until when."""
    now = datetime(2026, 11, 27, 20, tzinfo=UTC)
    seconds, by_share = refused_for(DAY.open, day_of(now), now, 1, 500)

    wait = over(DAY, seconds, now + timedelta(seconds=seconds), by_share=by_share)

    assert wait.reason == "Google's limit for today is used up. It goes on at 08:00 UTC."
    assert (wait.code, wait.retry_after, by_share) == ("quota_day", 12 * 3600, False)
    assert isinstance(wait, LongWait)


def test_a_share_of_a_day_that_is_used_up_says_when_more_is_released() -> None:
    """What others leave of their day is released hour by hour."""
    now = datetime(2026, 11, 27, 9, tzinfo=UTC)  # one hour of 24 is over

    seconds, by_share = refused_for(DAY.open, day_of(now), now, 2, 675)

    assert by_share
    assert seconds == pytest.approx(11 * 3600)  # at noon: a half, and half of what is not theirs


def test_a_minute_is_over_at_the_next_one() -> None:
    """Whoever waits for it does not wait longer."""
    now = datetime(2026, 11, 27, 9, 0, 48, tzinfo=UTC)

    assert refused_for(MINUTE.open, minute_of(now), now, 1, 100) == (12.0, False)


def test_work_waits_for_the_service_that_it_needs_and_for_no_other() -> None:
    """A text needs no recognition."""
    busy = {DOCUMENT_AI: 30.0}

    assert busy_for(busy, [VERTEX_AI]) is None
    wait = busy_for(busy, [VERTEX_AI, DOCUMENT_AI])
    assert wait is not None
    assert (wait.service, wait.retry_after, wait.code) == (DOCUMENT_AI, 30.0, "quota")
