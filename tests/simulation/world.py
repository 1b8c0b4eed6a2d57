"""The functions, a real Postgres and the stand-ins around a Drive in memory, under one clock that can be moved."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.adapters import pubsub
from shared.config import settings
from tests.integration.pipeline import Person, Pipeline, sha256
from tests.simulation.changes import Changes
from tests.simulation.drive_door import DriveDoor
from tests.simulation.drive_model import FOLDER, SHORTCUT, Channel, DriveModel, Item, Log
from tests.simulation.hands import Hands, forget_connections
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
    caretaker_away: tuple[int, int] = (0, 0)  # no tick comes from this day on, until before that one
    census_every: int = 1  # days; the longer, the more hangs on the logs alone
    choosers: int = 0  # people who select other folders now and then
    workers: int = 4


class World(Pipeline):
    """One run of a plan. Raises AssertionError where Postgres and the Drive differ at a rest."""

    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)
        self.figures: Counter[str] = Counter()
        self.spent: dict[str, float] = defaultdict(float)  # seconds of processor time, by function
        self.without_channel = 0.0  # seconds, for each corpus of each person
        self.unwatched = 0.0  # the same while the caretaker was away, until it has made up for it
        self._away = False
        self._chosen: dict[str, list[str]] = {}  # e-mail address → selected folders and shared drives
        self._seen: dict[tuple[str, str], float] = {}  # (e-mail address, file) → when it was last to be indexed
        self._may_be_read_again: Counter[tuple[str, str, str]] = Counter()
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
        self.google._scan_seconds = 86_400.0  # the folder is empty
        self.office = PostOffice(self._deliver, random.Random(self.plan.seed + 1), self.plan.workers)
        os.environ["PUBSUB_EMULATOR_HOST"] = self.office.url
        os.environ["PUBSUB_ENDPOINT"] = self.office.rest_url
        self.hands = Hands(self.plan.workers)
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
        if hasattr(self, "hands"):
            self.office.stop()
            self.hands.stop()
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
                for log in self._corpora(person):
                    until = max((c.expires for c in self.model.live(person.email, log)), default=begin)
                    missing = max(0.0, end - max(until, begin))
                    if self._away:
                        self.unwatched += missing
                    else:
                        self.without_channel += missing
        self.google.faults.clock_offset += seconds
        self.sql(f"ALTER DATABASE drivestream SET app.clock_offset = '{self.google.faults.clock_offset:.3f} seconds'")
        for module in self._modules:
            forget_connections(module)
        self.hands.learn_the_time()

    # Delivering -------------------------------------------------------------------------------------------------------

    def _deliver(self, function: str, body: dict[str, Any]) -> bool:
        if time.time() - self._token_made > 1800:
            now = int(time.time())
            self._token, self._token_made = self.push_token(iat=now, exp=now + 3600), time.time()
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._ask(function, headers, json.dumps(body).encode()) < 300

    def _ask(self, function: str, headers: dict[str, str], body: bytes = b"") -> int:
        status, seconds = self.hands.post(function, headers, body)
        self.spent[function] += seconds
        self.figures[function] += 1
        return status

    def notify(self, lost: float, repeated: float) -> int:
        """Deliver what Drive announces, shuffled, some of it twice, some of it never; how many were lost."""
        channels = self.model.announcements()
        kept = [channel for channel in channels if self.chance.random() >= lost]
        kept += [channel for channel in kept if self.chance.random() < repeated]
        self.chance.shuffle(kept)
        list(self.office.workers.map(self._notify, kept))
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
        if self._ask("drive_webhook", headers) >= 300:
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
        progress(-1)
        rests = [self.chance.randint(*self.plan.rests) for _ in range(self.plan.days)]
        each, spare = divmod(self.plan.changes, sum(rests))
        for day, times in enumerate(rests):
            away = self.plan.caretaker_away[0] <= day < self.plan.caretaker_away[1]
            if self._away and not away:
                self._return()
            self._away = away
            compared = self.figures["rests that needed a census"]
            census = not away and day % self.plan.census_every == 0
            lost = (0.01, 0.5, 1.0)[day * 3 // self.plan.days] if self.plan.days >= 3 else 0.5
            if not away:
                self._consents(day)
                self._choose(day)
            for rest in range(times):
                # Of a folder that is shared no log says what lies in it: only then is a census needed at a rest.
                self.changes.folders_shared = census and rest == times - 1
                self._rest(each + (day == 0 and rest == 0) * spare, 0.0 if away else lost, f"day {day}, rest {rest}")
                self.wait(DAY / times / 2)
                if not away:
                    self.tick("renew")
                self.wait(DAY / times / 2)
            gone = self.model.empty_bins()
            self.figures["deleted with the bin"] += len(gone)
            for name in gone:
                self.changes.last[name].append("the bin was emptied")
            if not away:
                self.tick("purge")
            if census and self.figures["rests that needed a census"] == compared:
                self.tick("census")
                self.compare(f"day {day}, after the census")
            progress(day)

    def _return(self) -> None:
        """The caretaker is back: what ended is opened again, and what nobody announced is found."""
        self.tick("renew")
        self.tick("sweep")
        self.tick("reap")
        self.compare("when the caretaker was back")

    def _rest(self, changes: int, lost: float, when: str) -> None:
        self.office.repeated, self.office.late = 0.05, 0.02
        self.office.bring_the_late()
        self.changes.make(changes)
        missing = self.notify(lost, 0.1)
        self.settle()
        if self._away:
            if not self._all_announced():
                self.figures["bursts that nobody announced"] += 1
                return
        elif missing or self._paused:
            self.wait(900.0)
            self.tick("sweep")
        else:
            self.figures["rests by notifications alone"] += 1
        if self.changes.unsaid:
            self.figures["rests that needed a census"] += 1
            self.tick("census")
            self.changes.unsaid = False
        if not self._away:
            self.tick("reap")
        self.compare(when)

    def _corpora(self, person: Person) -> list[Log]:
        logs: list[Log] = [("user", person.email)]
        return logs + [
            ("drive", drive) for drive in self.model.drives_of(person.email) if (person.email, drive) in self._known
        ]

    def _all_announced(self) -> bool:
        return all(self.model.live(person.email, log) for person in self._connected() for log in self._corpora(person))

    def _choose(self, day: int) -> None:
        """Somebody selects other folders, or everything."""
        person = self.people[day % max(1, self.plan.choosers)]
        if not self.plan.choosers or person.email in self._paused:
            return
        own = [
            item.id
            for item in self.model.items.values()
            if item.mime_type == FOLDER
            and item.owner == person.email
            and not item.drive
            and not self.model.in_bin(item)
        ]
        among = sorted([*own, *self.model.drives_of(person.email)])
        chosen = self.chance.sample(among, min(len(among), self.chance.choice((0, 1, 2, 3))))
        session = f"session-{day}"
        self.sql(
            f"INSERT INTO sessions VALUES ('\\x{sha256(session).hex()}', '{person.user_id}',"
            f" to_timestamp({self.now()}), to_timestamp({self.now() + 3600}))"
        )
        answer = self.post(
            "dashboard",
            method="PUT",
            path="/api/settings",
            cookies={"session": session},
            json={"selected_folders": chosen},
        )
        assert answer.status_code == 202, answer.text
        self.settle()
        self._chosen[person.email] = chosen
        self._note_seen(person, self._expected(person))
        self.figures["selections"] += 1

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
            expected = self._expected(person)
            there = found.get(person.user_id, set())
            if there != expected:
                self._fail(when, person, expected - there, there - expected)
            self._note_seen(person, expected)
        again = {
            what: times for what, times in self.model.downloads.items() if times > 1 + self._may_be_read_again[what]
        }
        told = {what: list(self.changes.last[what[1]]) for what in again}
        assert not again, f"seed {self.plan.seed}, {when}: content was read more than once: {again}, {told}"
        self._known = {(email, drive) for drive, members in self.model.members.items() for email in members}
        self.figures["rests compared"] += 1
        self.spent["compare"] += time.monotonic() - begun

    def _note_seen(self, person: Person, expected: set[tuple[str, ...]]) -> None:
        """Content that was out of the selection, or of reach for 30 days, may have been purged: it is read again."""
        now = self.now()
        for file_id, _, _, _, state, key in expected:
            if state == "indexed":
                last = self._seen.get((person.email, file_id), now)
                if now - last > 29 * DAY and self.model.downloads[person.email, file_id, key] > 1:
                    self._may_be_read_again[person.email, file_id, key] += 1
                    self.figures["read again after 30 days"] += 1
                self._seen[person.email, file_id] = now
            elif file_id in self._outside:
                self._seen[person.email, file_id] = now - 30 * DAY

    def _expected(self, person: Person) -> set[tuple[str, ...]]:
        """Every row that the person must have: file, name, drive, folder, state, revision."""
        seen = self.model.seen_by(person.email)
        chosen = set(self._chosen.get(person.email, ()))
        self._outside: set[str] = set()
        if chosen:
            inside = {
                item.id
                for item in seen
                if item.drive in chosen or any(above in chosen for above in self.model.places(person.email, item))
            }
            led_to = {item.target for item in seen if item.mime_type == SHORTCUT and item.id in inside}
            self._outside = {item.id for item in seen} - inside - led_to
        return {self._row(item) for item in seen}

    def _row(self, item: Item) -> tuple[str, ...]:
        parent = item.parent or f"root-{item.drive or item.owner}"
        state = {FOLDER: "folder", SHORTCUT: "skipped"}.get(item.mime_type, "indexed")
        if state == "indexed" and item.id in self._outside:
            state = "skipped"
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
            "hours without a channel while the caretaker was away": self.unwatched / 3600,
        }
