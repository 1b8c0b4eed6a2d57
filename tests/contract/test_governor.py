"""The quota governor at the wire: many instances, a ledger in Firestore, and a Drive that counts what it is asked.

Time stands still until a test moves it, for the functions as for the servers, so that a minute is as long as it takes
to use it up.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.local.firestore.server import FirestoreServer
from infra.local.google import GoogleServer
from shared.adapters import firestore
from shared.adapters.drive import Drive
from shared.adapters.governor import DAY, MINUTE, Governor
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


def crew(world: World, hands: list[str], **limits: Any) -> tuple[list[Worker], dict[str, deque[str]]]:
    """An instance for each pair of hands, and what each person has to be read."""
    queues = {person: deque(world.ids(person)) for person in PEOPLE}
    made = [
        Worker(world, person, queues[person], world.drive(world.instance(**limits), person, **limits))
        for person in hands
    ]
    return made, queues


def check_budgets(world: World, **limits: int) -> None:
    """What Drive counted, and what left it, is within every budget."""
    minutes = world.minutes()
    assert max(sum(people.values()) for people in minutes.values()) <= limits["drive_units_per_minute"]
    assert max(max(people.values()) for people in minutes.values()) <= limits["drive_units_per_minute_and_person"]
    days = by_day({minute: sum(people.values()) for minute, people in minutes.items()})
    assert max(days.values()) <= limits["drive_units_per_day"]
    assert max(by_day(world.google.faults.bytes_sent).values()) <= limits["drive_bytes_per_day"]


def check_shares(rounds: list[Counter[str]], queued: int) -> None:
    """As long as everybody has something to be read, the least served gets a third of the most served."""
    served: Counter[str] = Counter()
    for taken in rounds:
        served += taken
        if max(served.values()) >= queued * FILE:
            break
        shares = [served[person] for person in PEOPLE]
    assert min(shares) >= max(shares) / 3, rounds


def check_read_once(world: World, files: int) -> None:
    """Each of so many files was read, and once. Who has a body to its end may be ahead of the server's counting."""
    ends = time.monotonic() + 10
    while world.google.faults.media_bytes < files * SIZE and time.monotonic() < ends:
        time.sleep(0.01)
    assert world.google.faults.media_bytes == files * SIZE


HANDS = [PEOPLE[0]] * 40 + [PEOPLE[1]] * 6 + [PEOPLE[2]] * 4


def test_fifty_instances_keep_within_every_budget_and_share_it(world: World) -> None:
    """The limits of a project are shared by whoever runs, and nobody knows of all. Measured at Drive's door."""
    limits = {
        "drive_units_per_minute": 30 * FILE,
        "drive_units_per_minute_and_person": 20 * FILE,
        "drive_units_per_day": 50 * FILE,
        "drive_bytes_per_day": 45 * SIZE,
    }
    workers, queues = crew(world, HANDS, **limits)

    rounds = work_off(world, workers)

    check_budgets(world, **limits)
    check_shares(rounds, 20)
    assert not any(queues.values())
    check_read_once(world, 60)


@pytest.mark.long
@pytest.mark.parametrize("world", [100], indirect=True)
def test_fifty_instances_keep_within_every_budget_for_days(world: World) -> None:
    """The same for longer, so that shares are judged by many minutes."""
    limits = {
        "drive_units_per_minute": 60 * FILE,
        "drive_units_per_minute_and_person": 40 * FILE,
        "drive_units_per_day": 150 * FILE,
        "drive_bytes_per_day": 140 * SIZE,
    }
    workers, queues = crew(world, HANDS, **limits)

    rounds = work_off(world, workers)

    check_budgets(world, **limits)
    check_shares(rounds, 100)
    assert not any(queues.values())
    check_read_once(world, 300)


def test_whoever_comes_first_does_not_take_every_minute(world: World) -> None:
    """Nor does it matter who has more hands: after one minute everybody who wants more has an equal share."""
    limits = {"drive_units_per_minute": 30 * FILE, "drive_units_per_minute_and_person": 30 * FILE}
    meters = {person: world.instance(**limits).meter(person, BACKFILL) for person in PEOPLE}
    served: Counter[str] = Counter()

    for _ in range(4):
        for person, meter in meters.items():  # always in this order, each until nothing is left
            with suppress(OverQuota):
                while True:
                    meter.units(FILE)
                    served[person] += 1
        world.clock.seconds += 60

    assert served[PEOPLE[0]] == 27 + 3 * 9
    assert served[PEOPLE[1]] == served[PEOPLE[2]] == 3 * 9


def test_a_fresh_edit_is_read_when_first_syncs_have_used_up_their_part(world: World) -> None:
    """However much stands in front of it."""
    limits = {"drive_units_per_day": 10 * FILE}
    (worker, fresh), queues = crew(world, [PEOPLE[0]] * 2, **limits)
    worker.work()
    left = len(queues[PEOPLE[0]])
    fresh.lane = FRESH

    fresh.work()

    assert worker.told is not None
    assert worker.told.reason == "Google's limit for today is used up. It goes on at 08:00 UTC."
    assert left == 11
    assert len(queues[PEOPLE[0]]) == 10
    assert fresh.told is not None


def test_what_is_left_of_a_block_is_void_after_its_minute(world: World) -> None:
    """It was a part of that minute's budget, and in the next one somebody else has all of that."""
    limits = {"drive_units_per_minute": 1000, "drive_units_per_minute_and_person": 1000, "quota_kept_for_fresh": 0.0}
    first, second = world.instance(**limits), world.instance(**limits)
    held, other = first.meter("a", BACKFILL), second.meter("b", BACKFILL)
    held.units(1)
    world.clock.seconds += 60
    other.units(1000)

    with pytest.raises(OverQuota):
        held.units(1)


def test_which_minute_it_is_the_server_says(world: World) -> None:
    """These servers' clocks are days behind this machine's: by its own, nobody would share a minute with anybody."""
    world.instance().meter("a", BACKFILL).units(5)

    minute, day, _ = world.instance().standings()

    assert minute.resets_at == datetime(2026, 11, 23, 9, 31, tzinfo=UTC)
    assert day.resets_at == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert minute.used >= 5


def test_a_budget_can_be_read_for_all_and_for_one_person(world: World) -> None:
    """Whoever watches, or forecasts, need not know how the accounts are kept."""
    governor = world.instance(drive_units_per_day=100_000)
    governor.meter("a", BACKFILL).units(500)
    governor.meter("b", FRESH).units(300)

    all_, mine, nobody = ({one.budget: one for one in governor.standings(who)} for who in (None, "a", "somebody else"))

    assert 500 <= mine[DAY].used < all_[DAY].used <= 100_000
    assert mine[DAY].used + mine[DAY].left == all_[DAY].used + all_[DAY].left == 100_000
    assert nobody[DAY].used == 0
    assert all_[MINUTE].used + all_[MINUTE].left == 900_000


def test_a_large_file_takes_of_a_day_what_is_read_of_it(world: World) -> None:
    """Not what it has: it stops where the day is used up, and what was asked for and did not come costs nothing."""
    folder = world.google.folder / "ada"
    (folder / "large.bin").write_bytes(bytes(3_000_000))
    world.google.scan()
    more: dict[str, Any] = {"drive_bytes_per_day": 1_000_000, "quota_kept_for_fresh": 0.0, "window_bytes": 100_000}
    drive = world.drive(world.instance(**more), PEOPLE[0], **more)
    file = drive.file(world.google.id_of("ada/large.bin"))
    small = drive.file(world.ids(PEOPLE[0])[0])
    for _ in range(5):  # of unknown size: a window is paid for, and what did not come is given back
        with closing(drive.open(replace(small, size=None), check=False).windows()) as windows:
            assert sum(map(len, windows)) == SIZE
    source = drive.open(file)

    with pytest.raises(OverQuota) as over, closing(source.windows()) as windows:
        for _ in windows:
            continue

    assert source.bytes_read == 900_000
    assert over.value.code == "quota_day"


def test_most_files_find_their_quota_in_memory(world: World) -> None:
    """A round trip for each request would cost more than the request."""
    (worker,), queues = crew(world, PEOPLE[:1])
    begun = sum(world.firestore.writes().values())

    worker.work()

    assert not queues[PEOPLE[0]]
    leases = sum(count for name, count in world.firestore.writes().items() if name.count("~") == 2)
    assert begun == 0
    assert leases <= 5  # for 60 charges: two of the minute, two of the day, one of content


def test_no_document_is_written_much_more_than_once_a_second(world: World) -> None:
    """Firestore takes no more for long. Fifty instances use up a minute of Google's for three people."""
    config = world.settings()
    meters = [world.instance().meter(f"person {number % 3}", BACKFILL) for number in range(50)]
    begun, spent = world.clock.seconds, 0

    for second in range(50):  # of the minute that began ten seconds ago
        world.clock.seconds = begun + second
        for meter in meters:
            for _ in range(2):
                with suppress(OverQuota):
                    meter.units(FILE)
                    spent += FILE

    writes = {name: count for name, count in world.firestore.writes().items() if name.startswith("quota/")}
    assert spent > config.drive_units_per_minute * 0.8
    assert max(writes.values()) <= 75
