"""What Google lets one project ask and read of Drive: units a minute and a day, bytes a day, and whose turn it is.

https://developers.google.com/workspace/drive/api/guides/limits (projects since 1 May 2026): 1,000,000 units a minute
for a project and 325,000 of them for one person, 400,000,000 units and 1 TB of content a day. Reading a file's
description takes 5 units, a page of a listing 100, content 200; all else that we ask takes 5.

A budget is divided twice. Most of it is open to everybody; a part is kept for fresh edits, so that no first sync stands
in their way. Of either part people who want more than they get have equal shares, and late in its span what others left
is anybody's. Nothing here knows where the accounts are kept (`shared.adapters.ledger`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import parse_qs, urlsplit

from shared.domain.errors import LongWait

READ, LIST, DOWNLOAD, OTHER = 5, 100, 200, 5

_FILE = r"/drive/v3/files/[^/]+"
_UNITS = (
    ("GET", re.compile(_FILE), READ),
    ("GET", re.compile(r"/drive/v3/(?:files|changes|drives)"), LIST),
    ("GET", re.compile(_FILE + "/export"), DOWNLOAD),
    ("POST", re.compile(_FILE + "/download"), DOWNLOAD),
    ("GET", re.compile(r"/v4/spreadsheets/.*"), 0),  # the Sheets API counts requests, in a quota of its own
    ("GET", re.compile(r"(?!/drive/v3/).*"), DOWNLOAD),  # where a prepared download is fetched
)


def units_of(method: str, url: str) -> int:
    """What Drive counts for one request. A batch counts what is in it."""
    parts = urlsplit(url)
    for verb, path, units in _UNITS:
        if verb == method and path.fullmatch(parts.path):
            content = units == READ and parse_qs(parts.query).get("alt") == ["media"]
            return DOWNLOAD if content else units
    return OTHER


# Spans of time ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A minute or a day, by name."""

    name: str
    begins: datetime
    ends: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether the moment lies in it."""
        return self.begins <= moment < self.ends

    def elapsed(self, moment: datetime) -> float:
        """Which share of it has passed: 0 at its beginning, 1 at its end."""
        return (moment - self.begins) / (self.ends - self.begins)

    def left(self, moment: datetime) -> float:
        """Seconds until its end."""
        return (self.ends - moment).total_seconds()


def minute_of(moment: datetime) -> Span:
    """The minute (UTC) of a moment."""
    begins = moment.astimezone(UTC).replace(second=0, microsecond=0)
    return Span(f"{begins:%Y-%m-%dT%H:%M}", begins, begins + timedelta(minutes=1))


def day_of(moment: datetime) -> Span:
    """Google's day of a moment: from midnight to midnight Pacific time, so 23 or 25 hours twice a year."""
    today = (moment.astimezone(UTC) + _pacific(moment)).date()
    return Span(today.isoformat(), _midnight(today), _midnight(today + timedelta(days=1)))


def _midnight(day: date) -> datetime:
    """The beginning of a Pacific day. Clocks are changed at two in the morning: midnight is still the day before's."""
    standard = datetime.combine(day, time(), UTC) + timedelta(hours=8)
    return standard if _pacific(standard) == timedelta(hours=-8) else standard - timedelta(hours=1)


def _pacific(moment: datetime) -> timedelta:
    """Pacific time's distance from UTC. By the rule of 2007 and not by the system's table of time zones, which an image
    of a function need not have."""
    year = moment.astimezone(UTC).year
    begins = datetime.combine(_sunday(year, 3, 2), time(10), UTC)  # at 2:00 standard time
    ends = datetime.combine(_sunday(year, 11, 1), time(9), UTC)  # at 2:00 daylight saving time
    return timedelta(hours=-7 if begins <= moment < ends else -8)


def _sunday(year: int, month: int, which: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (which - 1))


# Purses -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Purse:
    """A part of a budget: `total` of it in each span, of which one person gets `each` at most. From `late` on (a share
    of the span) what others have not taken is released little by little.

    What is taken from it at once is bounded from both sides. A block that many take must be small, or what each of
    them does not use is lost to the others; and it must be large, or the document that gives it away is written too
    often. So a taker asks for what lasts it a minute, and `draws` is in how many of the largest blocks the whole is
    given away: a minute in forty, and in as many smaller ones as there are takers, is about one a second.
    """

    name: str
    span_of: Callable[[datetime], Span]
    total: int
    each: int
    late: float
    draws: int

    @property
    def most(self) -> int:
        """The largest block."""
        return max(1, self.each // self.draws)

    @property
    def least(self) -> int:
        """The smallest block, for whoever has used little so far."""
        return max(1, self.most // 16)

    def draw(self, first: bool) -> int:
        """What a shard takes from the pool at a time; little to begin with, since it may need no more."""
        return max(1, self.total // self.draws // (4 if first else 1))

    def share(self, pressing: int, elapsed: float) -> int:
        """What one of so many who want more may have taken by now."""
        fair = self.total / max(1, pressing)
        released = max(0.0, elapsed - self.late) / (1 - self.late)
        return min(self.each, int(fair + (self.total - fair) * released))

    def opens(self, pressing: int, wanted: int) -> float | None:
        """Which part of the span must have passed before one of so many may have taken that much; None: none does."""
        fair = self.total / max(1, pressing)
        if wanted <= fair or wanted > min(self.each, self.total):
            return 0.0 if wanted <= min(fair, self.each) else None
        return self.late + (1 - self.late) * (wanted - fair) / (self.total - fair)


@dataclass(frozen=True, slots=True)
class Budget:
    """One of Google's limits, less our margin: what is open to all work, and what is kept for fresh edits."""

    name: str
    open: Purse
    kept: Purse
    sentence: str  # for a person, when it is used up

    @property
    def daily(self) -> bool:
        """Whether it is of a day."""
        return self.open.span_of is day_of

    def purses(self, *, fresh: bool) -> tuple[Purse, ...]:
        """From which purses a lane may take, in this order."""
        return (self.open, self.kept) if fresh else (self.open,)


def budget(name: str, sentence: str, total: int, each: int, kept: float, *, daily: bool) -> Budget:
    """A limit divided by the share `kept` for fresh edits."""
    # A day is given away in more pieces: what a shard has drawn and does not use is lost until the day is over.
    late, draws, span_of = (0.0, 2000, day_of) if daily else (0.5, 40, minute_of)

    def purse(ending: str, share: float) -> Purse:
        return Purse(name + ending, span_of, int(total * share), int(min(each, total) * share), late, draws)

    return Budget(name, purse("", 1 - kept), purse("-fresh", kept), sentence)


# Accounts -----------------------------------------------------------------------------------------------------------


def alias(user_id: str) -> str:
    """A person's name in accounts that are everybody's: it names nobody, so that it need not be erased."""
    return hashlib.sha256(f"quota\x1f{user_id}".encode()).hexdigest()[:16]


@dataclass(slots=True)
class Pool:
    """What of a purse is given to shards in one span. `pressing` counts each shard's people who wanted more than they
    got; `known` the same, with those of the span before: whoever begins a span must not take what others will want in
    a moment."""

    given: int = 0
    pressing: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)

    @classmethod
    def after(cls, before: Pool) -> Pool:
        """A new span."""
        return cls(known=dict(before.pressing))

    def elsewhere(self, shard: str) -> int:
        """How many in other shards want more."""
        return sum(count for name, count in self.known.items() if name != shard)

    def draw(self, purse: Purse, wanted: int, least: int) -> int:
        """Give a shard what it wants, or what is left; nothing where that is less than `least`."""
        drawn = min(max(wanted, least), purse.total - self.given)
        if drawn < least:
            return 0
        self.given += drawn
        return drawn

    def note(self, name: str, shard: Shard) -> None:
        """What a shard says of its people."""
        self.pressing[name] = len(shard.pressing)
        self.known[name] = len({*shard.pressing, *shard.were})


@dataclass(slots=True)
class Shard:
    """The people of one shard in one span: what each has taken, and who wants more. `were` wanted more in the span
    before, `elsewhere` counts those of other shards as they were last looked at."""

    given: int = 0
    used: int = 0
    people: dict[str, int] = field(default_factory=dict)
    pressing: list[str] = field(default_factory=list)
    were: list[str] = field(default_factory=list)
    elsewhere: int = 0

    @classmethod
    def after(cls, before: Shard) -> Shard:
        """A new span."""
        return cls(were=list(before.pressing))

    @property
    def left(self) -> int:
        """What this shard has to give."""
        return self.given - self.used

    def rivals(self, who: str) -> int:
        """How many want more than they get, this person included."""
        return self.elsewhere + len({*self.pressing, *self.were} - {who}) + 1

    def allowed(self, purse: Purse, who: str, elapsed: float) -> int:
        """What this person may take now, if it is there."""
        return purse.share(self.rivals(who), elapsed) - self.people.get(who, 0)

    def take(self, who: str, amount: int) -> None:
        """It is this person's."""
        self.used += amount
        self.people[who] = self.people.get(who, 0) + amount

    def press(self, purse: Purse, who: str, elapsed: float, *, refused: bool) -> bool:
        """Note that a person wants more than they get, or soon will: whoever has taken half of what they may. Whether
        that is news."""
        if who in self.pressing:
            return False
        if not refused and 2 * self.people.get(who, 0) < purse.share(self.rivals(who), elapsed):
            return False
        self.pressing.append(who)
        return True


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands: `used` is what is leased of it, `resets_at` when it begins anew. Of the project, or of one
    person."""

    budget: str
    used: int
    left: int
    resets_at: datetime


# Services that understand ---------------------------------------------------------------------------------------------

DOCUMENT_AI, VERTEX_AI = "Document AI", "Vertex AI"


class ServiceBusy(LongWait):
    """A service of Google's is over its quota: what needs it waits, and is not read meanwhile."""

    code = "quota"

    def __init__(self, service: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{service} is over its quota for now.", retry_after=retry_after)
        self.service = service


def busy_for(busy: Mapping[str, float], needed: Iterable[str]) -> ServiceBusy | None:
    """Why work that needs these services waits, where one of them is over its quota for so many seconds."""
    waits = [(busy[service], service) for service in needed if service in busy]
    if not waits:
        return None
    seconds, service = max(waits)
    return ServiceBusy(service, retry_after=max(1.0, seconds))


# When it goes on ------------------------------------------------------------------------------------------------------

SHARE_SECONDS = 900.0  # a day's share grows slowly: to look more often would give crumbs


class OverQuota(LongWait):
    """A budget has nothing left for this person and lane, for so long."""

    code = "quota_minute"


def over(budget: Budget, seconds: float, goes_on: datetime, *, by_share: bool) -> OverQuota:
    """The wait, with a sentence for a person."""
    if not budget.daily:
        return OverQuota(f"{budget.sentence} It goes on in a moment.", retry_after=seconds)
    why = "Other people's files have their turn now." if by_share else budget.sentence
    at = (goes_on + timedelta(seconds=59)).astimezone(UTC)  # never promised too early
    return OverQuota(f"{why} It goes on at {at:%H:%M} UTC.", retry_after=seconds, code="quota_day")


def refused_for(purse: Purse, span: Span, moment: datetime, rivals: int, wanted: int) -> tuple[float, bool]:
    """How long a person must wait who may not take more now, in seconds, and whether that is for their share alone."""
    left = span.left(moment)
    opens = purse.opens(rivals, wanted)
    if opens is None or opens <= span.elapsed(moment):
        return left, False
    seconds = (opens - span.elapsed(moment)) * (span.ends - span.begins).total_seconds()
    return (min(left, max(seconds, SHARE_SECONDS)), True) if purse.span_of is day_of else (left, True)
