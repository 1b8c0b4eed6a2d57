"""The functions, a real Postgres and the stand-ins around a Drive in memory, under one clock that can be moved."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.adapters import pubsub
from shared.config import settings
from tests.integration.pipeline import Person, Pipeline
from tests.simulation.changes import Changes
from tests.simulation.drive_door import DriveDoor
from tests.simulation.drive_model import FOLDER, SHORTCUT, Channel, DriveModel, Log
from tests.simulation.post_office import PostOffice

DAY = 86_400.0


@dataclass(frozen=True)
class Plan:
    """How long, how many, and how badly it goes."""

    seed: int
    days: int
    people: int
    drives: int
    items: int
    changes: int
    rests: tuple[int, int] = (2, 4)  # a day, at random
    renewals_skipped: tuple[int, int] = (0, 0)  # from this day on, until before that one
    workers: int = 4


class World(Pipeline):
    """One run of a plan. Raises AssertionError where Postgres and the Drive differ at a rest."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)
        self.figures: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.without_channel = 0.0
        self._known: set[tuple[str, str]] = (
            set()
        )  # who was a member of what at the last rest, and so must be announced to
        self._paused: dict[str, int] = {}  # e-mail address → the day of the new consent
        super().__init__()

    def _environment(self) -> dict[str, str]:
        self.model = DriveModel(self.google.faults.now)
        self.door = DriveDoor(self.model, self._identify)
        return {
            **super()._environment(),
            "DRIVE_ENDPOINT": self.door.url,
            "WEBHOOK_URL": self.url("drive_webhook"),
            "ENTITIES": "off",
        }

    def _start(self) -> None:
        super()._start()
        self.google.keys._now = time.time  # the library that checks signatures knows the machine's clock only
        self.office = PostOffice(self._deliver, random.Random(self.plan.seed + 1), self.plan.workers)
        os.environ["PUBSUB_EMULATOR_HOST"] = self.office.url
        pubsub._clients.clear()
        settings.cache_clear()
        self._token, self._token_made = "", 0.0
        self.people = [self.person(connect=False) for _ in range(self.plan.people)]
        emails = [person.email for person in self.people]
        for number in range(self.plan.drives):
            members = self.chance.sample(emails, max(1, len(emails) // 4))
            self.model.members[f"team-{number}"] = set(members)
        self.changes = Changes(self.model, self.chance, emails, self.plan.items)
        self.changes.populate()

    def stop(self) -> None:
        """Everything ends."""
        if hasattr(self, "office"):
            self.office.stop()
            self.door.stop()
        super().stop()

    def _identify(self, token: str) -> str | None:
        found = self.google._oauth.identify(token)
        return found.email if found else None

    # The clock --------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The clock of this world, in seconds since 1970."""
        return self.google.faults.now()

    def wait(self, seconds: float) -> None:
        """Let time pass while nothing happens, and see whether every corpus stays announced."""
        with self.model.lock:
            begin, end = self.now(), self.now() + seconds
            for person in self._connected():
                logs: list[Log] = [("user", person.email)]
                logs += [
                    ("drive", drive)
                    for drive in self.model.drives_of(person.email)
                    if (person.email, drive) in self._known
                ]
                for log in logs:
                    until = max((c.expires for c in self.model.live(person.email, log)), default=begin)
                    self.without_channel += max(0.0, end - max(until, begin))
        self.google.faults.clock_offset += seconds
        self.sql(f"ALTER DATABASE drivestream SET app.clock_offset = '{self.google.faults.clock_offset:.3f} seconds'")
        for module in self._modules:
            made = getattr(module, "database", None), getattr(module, "people", None)
            for database in filter(None, made):
                if database.cache_info().currsize:
                    database().close()  # a new connection knows the new time

    # Delivering -------------------------------------------------------------------------------------------------------

    def _deliver(self, function: str, body: dict[str, Any]) -> bool:
        begun = time.thread_time()
        if time.time() - self._token_made > 1800:
            now = int(time.time())
            self._token, self._token_made = self.push_token(iat=now, exp=now + 3600), time.time()
        client = self._doors[function].app.test_client()  # type: ignore[attr-defined]
        answer = client.post("/", json=body, headers={"Authorization": f"Bearer {self._token}"})
        self.spent[function] += int((time.thread_time() - begun) * 1e6)
        self.figures[function] += 1
        return bool(answer.status_code < 300)

    def notify(self, lost: float, repeated: float) -> int:
        """Deliver what Drive announces, shuffled, some of it twice, some of it never; how many were lost."""
        channels = self.model.announcements()
        kept = [channel for channel in channels if self.chance.random() >= lost]
        kept += [channel for channel in kept if self.chance.random() < repeated]
        self.chance.shuffle(kept)
        for channel in kept:
            self._notify(channel)
        self.figures["notifications"] += len(kept)
        missing = len({channel.id for channel in channels} - {channel.id for channel in kept})
        self.figures["notifications lost"] += missing
        return missing

    def _notify(self, channel: Channel) -> None:
        headers = {
            "X-Goog-Channel-ID": channel.id,
            "X-Goog-Channel-Token": channel.token,
            "X-Goog-Resource-ID": channel.resource_id,
            "X-Goog-Resource-State": "change",
        }
        answer = self._doors["drive_webhook"].app.test_client().post("/", headers=headers)  # type: ignore[attr-defined]
        if answer.status_code >= 300:
            self.figures["notifications refused"] += 1

    def settle(self) -> None:
        """Deliver everything."""
        if hasattr(self, "office"):
            self.office.drain()

    # The story --------------------------------------------------------------------------------------------------------

    def run(self, progress: Callable[[int], None] = lambda day: None) -> None:
        """All days; `progress` hears of the end of each."""
        for person in self.people:
            self.connect(person)
            assert person.user_id, f"{person.email} could not connect"
        self.settle()
        self.compare("after connecting")
        rests = [self.chance.randint(*self.plan.rests) for _ in range(self.plan.days)]
        each, spare = divmod(self.plan.changes, sum(rests))
        for day, times in enumerate(rests):
            lost = (0.01, 0.5, 1.0)[day * 3 // self.plan.days] if self.plan.days >= 3 else 0.5
            self._consents(day)
            for rest in range(times):
                self._rest(each + (day == 0 and rest == 0) * spare, lost, f"day {day}, rest {rest}")
                self.wait(DAY / times / 2)
                if not self.plan.renewals_skipped[0] <= day < self.plan.renewals_skipped[1]:
                    self.tick("renew")
                self.wait(DAY / times / 2)
            self.tick("census")
            self.tick("purge")
            self.changes.unsaid = False
            self.compare(f"day {day}, after the census")
            progress(day)

    def _rest(self, changes: int, lost: float, when: str) -> None:
        self.office.repeated, self.office.late = 0.05, 0.02
        self.office.bring_the_late()
        self.changes.make(changes)
        missing = self.notify(lost, 0.1)
        self.settle()
        if missing or self._paused:
            self.wait(900.0)
            self.tick("sweep")
        else:
            self.figures["rests by notifications alone"] += 1
        if self.changes.unsaid:  # no log tells who may see what lies in a folder: the census finds it
            self.figures["rests that needed a census"] += 1
            self.tick("census")
            self.changes.unsaid = False
        self.tick("reap")
        self.compare(when)

    def _consents(self, day: int) -> None:
        for email, back in list(self._paused.items()):
            if back <= day:
                del self._paused[email]
                answer = self.connect(next(person for person in self.people if person.email == email))
                assert answer.status_code < 400, f"{email} cannot connect again: {answer.status_code} {answer.text}"
                self.figures["reconnected"] += 1
                self.settle()
        if day % 3 == 1:
            person = self.chance.choice(self.people)
            if person.email not in self._paused:
                self.google.revoke(person.email)
                self._paused[person.email] = day + self.chance.randint(1, 3)
                self.figures["revoked"] += 1

    def _connected(self) -> list[Person]:
        return [person for person in self.people if person.user_id and person.email not in self._paused]

    # What must be true ------------------------------------------------------------------------------------------------

    def compare(self, when: str) -> None:
        """Postgres equals the Drive: person, file, revision, name and place; and nothing was read twice."""
        begun = time.monotonic()
        rows = self.sql(
            "SELECT u.user_id::text, f.file_id, f.name, coalesce(f.drive_id, ''), f.parents[1], f.state,"
            " coalesce(j.content_key, '')"
            " FROM gdrive_files f JOIN users u USING (user_id) LEFT JOIN gdrive_jobs j ON j.job_id = f.visible_job"
            " WHERE f.state <> 'deleted'"
        )
        found: dict[str, set[tuple[str, ...]]] = {}
        for user_id, *row in rows:
            found.setdefault(user_id, set()).add(tuple(row))
        for person in self._connected():
            expected = {self._expected(item) for item in self.model.seen_by(person.email)}
            there = found.get(person.user_id, set())
            if there != expected:
                self._fail(when, person, expected - there, there - expected)
        again = {what: times for what, times in self.model.downloads.items() if times > 1}
        assert not again, f"seed {self.plan.seed}, {when}: content was read more than once: {again}"
        self._known = {(email, drive) for drive, members in self.model.members.items() for email in members}
        self.figures["rests compared"] += 1
        self.spent["compare"] += int((time.monotonic() - begun) * 1e6)

    def _expected(self, item: Any) -> tuple[str, ...]:
        parent = item.parent or f"root-{item.drive or item.owner}"
        state = {FOLDER: "folder", SHORTCUT: "skipped"}.get(item.mime_type, "indexed")
        return (item.id, item.name, item.drive, parent, state, item.content_key if state == "indexed" else "")

    def _fail(self, when: str, person: Person, missing: set[tuple[str, ...]], surplus: set[tuple[str, ...]]) -> None:
        told = "\n".join(
            f"  {sign} {row}: {', '.join(self.changes.last[row[0]])}"
            for sign, rows in (("lacks", missing), ("has", surplus))
            for row in sorted(rows)[:6]
        )
        raise AssertionError(
            f"seed {self.plan.seed}, {when}, after {sum(self.changes.made.values())} changes: Postgres is not the Drive"
            f" of {person.email} ({len(missing)} lacking, {len(surplus)} surplus)\n{told}"
        )

    def account(self) -> dict[str, float]:
        """What a run came to."""
        return {
            **self.figures,
            **self.office.counts,
            "changes": sum(self.changes.made.values()),
            "downloads": sum(self.model.downloads.values()),
            "contents": len(self.model.downloads),
            "hours without a channel": self.without_channel / 3600,
        }
