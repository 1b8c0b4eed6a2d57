"""The quota governor at the wire: many instances, a real ledger in Firestore, and a Drive that counts what it is asked.

Time stands still until a test moves it, for the functions as for the servers, so that a minute is as long as it takes to
use it up.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.local.firestore.server import FirestoreServer
from infra.local.google import GoogleServer
from shared.adapters import firestore
from shared.adapters.drive import Drive
from shared.adapters.governor import EGRESS, MINUTE, Governor, budgets
from shared.config import Settings
from shared.domain.names import BACKFILL, FRESH
from shared.domain.quota import OverQuota
from tests.contract.fake_http import settings_for

NIGHT = datetime(2026, 11, 23, 9, 30, 10, tzinfo=UTC)  # 01:30 in California
PEOPLE = ("ada@example.com", "grace@example.com", "mary@example.com")
SIZE = 1000  # bytes of a file
FILE = 205  # units of a file: its description and its content


@dataclass
class Clock:
    """One clock for everybody."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        return NIGHT.timestamp() + self.seconds


@dataclass
class World:
    """Drive and Firestore, and the clock that they go by."""

    google: GoogleServer
    firestore: FirestoreServer
    clock: Clock
    config: Settings
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def instance(self, **settings: Any) -> Governor:
        """The quota of a new instance of a function."""
        return Governor(self.settings(**settings), clock=self.clock.monotonic)

    def settings(self, **settings: Any) -> Settings:
        return settings_for(self.google.url, quota_wait_seconds=0.0, **settings)

    def drive(self, governor: Governor, person: str, **settings: Any) -> Drive:
        """A person's Drive as an instance has it."""
        return Drive(
            self.settings(**settings),
            lambda fresh: self.token(person),
            lambda lane: governor.meter(person, lane),
        )

    def token(self, person: str) -> str:
        """One that the server still takes."""
        with self.lock:
            token, ends = self.tokens.get(person, ("", 0.0))
            if ends <= self.clock.seconds:
                token, ends = self.google.grant(person)["access_token"], self.clock.seconds + 1800
                self.tokens[person] = token, ends
            return token

    def ids(self, person: str) -> list[str]:
        """The person's files."""
        folder = person.partition("@")[0]
        return [item.id for item in self.google.index.items() if item.path.startswith(f"{folder}/")]

    def minutes(self) -> dict[int, Counter[str]]:
        """The units that Drive counted, by minute and person."""
        found: dict[int, Counter[str]] = {}
        for (minute, person), units in self.google.faults.units.items():
            found.setdefault(minute, Counter())[person] += units
        return found


def by_day(minutes: dict[int, int]) -> Counter[str]:
    """What was counted by the minute, by the day in California."""
    days: Counter[str] = Counter()
    for minute, count in minutes.items():
        days[datetime.fromtimestamp(minute * 60, ZoneInfo("America/Los_Angeles")).date().isoformat()] += count
    return days


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    """Three people with some files each."""
    folder, clock = tmp_path / "drive", Clock()
    count = getattr(request, "param", 20)
    for person in PEOPLE:
        name = person.partition("@")[0]
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number:05}.txt").write_text(f"{number:0{SIZE}}")
    people = [{"email": one, "name": one, "folder": one.partition("@")[0]} for one in PEOPLE]
    (folder / ".drive.json").write_text(json.dumps({"people": people}))
    google = GoogleServer(folder, tmp_path / "google")
    monkeypatch.setattr(google.faults, "now", clock.time)
    google.start()
    documents = FirestoreServer(tmp_path / "firestore", clock=clock.time)
    documents.start()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", documents.url)
    monkeypatch.setattr(firestore, "_clients", {})
    yield World(google, documents, clock, settings_for(google.url))
    for client in firestore._clients.values():
        client.close()
    documents.stop()
    google.stop()


@dataclass
class Worker:
    """An instance that reads one person's files until the budget, or the person's share of it, is used up."""

    world: World
    person: str
    queue: deque[str]
    drive: Drive
    lane: str = BACKFILL
    told: OverQuota | None = None

    def work(self) -> None:
        drive = self.drive.in_lane(self.lane)
        self.told = None
        while self.queue and self.told is None:
            try:
                file_id = self.queue.popleft()
            except IndexError:
                return
            try:
                with closing(drive.open(drive.file(file_id)).windows()) as windows:
                    assert sum(len(window) for window in windows) == SIZE
            except OverQuota as over:
                self.queue.append(file_id)
                self.told = over


def work_off(world: World, workers: list[Worker]) -> list[Counter[str]]:
    """Let them all work, and whenever nobody can go on let so much time pass as the first of them was told. What each
    person's files took in each round."""
    rounds = []
    while any(worker.queue for worker in workers):
        before = world.minutes()
        threads = [threading.Thread(target=worker.work) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = sum(world.minutes().values(), Counter())
        rounds.append(after - sum(before.values(), Counter()))
        waits = [worker.told.retry_after for worker in workers if worker.told and worker.told.retry_after]
        world.clock.seconds += min(waits, default=0.0) + 1
    return rounds


def test_fifty_instances_keep_within_every_budget_and_share_it(world: World) -> None:
    """The limits of a project are shared by whoever runs, and nobody knows of all. Measured at Drive's door."""
    limits = {
        "drive_units_per_minute": 30 * FILE,
        "drive_units_per_minute_and_person": 20 * FILE,
        "drive_units_per_day": 50 * FILE,
        "drive_bytes_per_day": 45 * SIZE,
    }
    queues = {person: deque(world.ids(person)) for person in PEOPLE}
    hands = [PEOPLE[0]] * 40 + [PEOPLE[1]] * 6 + [PEOPLE[2]] * 4
    workers = []
    for person in hands:
        governor = world.instance(**limits)
        workers.append(Worker(world, person, queues[person], world.drive(governor, person, **limits)))

    rounds = work_off(world, workers)

    print(len(rounds), rounds)
    minutes = world.minutes()
    assert max(sum(people.values()) for people in minutes.values()) <= limits["drive_units_per_minute"]
    assert max(max(people.values()) for people in minutes.values()) <= limits["drive_units_per_minute_and_person"]
    days = by_day({minute: sum(people.values()) for minute, people in minutes.items()})
    assert max(days.values()) <= limits["drive_units_per_day"]
    assert max(by_day(world.google.faults.bytes_sent).values()) <= limits["drive_bytes_per_day"]
    assert world.google.faults.media_bytes == 60 * SIZE
    assert sum(days.values()) >= 60 * FILE
