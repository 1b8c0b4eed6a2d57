"""Search among many passages of twenty people: how much of what is nearest it finds, and how long it takes.

A real Postgres is filled as a Drive would fill it: files of some thirty passages, each file near one of a few hundred
topics and its passages near the file; words by Zipf's law, some of them the topic's own. Everything is drawn from one
seed. The index over vectors is built after the load. Then, for queries that are passages nobody wrote, in one run:

- the ten nearest by the index, filtered by person, against the ten nearest by comparing with every passage,
- the time of the whole hybrid search as the dashboard asks it, beside that of the bare index query for ten rows,
- how often each index was used, from Postgres' own counters.

Times are told twice: as somebody waits, and as the processor's time of the server's own process, which stays the same
when the machine carries other work.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

from pg8000.core import CoreConnection

from functions.dashboard.filters import Filters
from functions.dashboard.search import question
from infra.local.postgres import PostgresServer
from infra.migrate import upgrade
from shared.adapters import pgcopy
from shared.adapters.postgres import Database, connect_to_url
from shared.config import Settings
from shared.domain.terms import extra_terms, sought_terms

DIMENSIONS = 768
MODEL = "bench"
TOPICS = 300
PER_FILE = 30
NEIGHBOURS = 24  # how many a search takes into account
WORDS_EACH = 80
_SOUGHT_RECALL, _SOUGHT_RATIO = 0.97, 5.0
_INDEXES = ("memories_by_words", "memories_by_meaning")  # of the second there are several: see `slot_of`
_OF_ADMIN = "SELECT pg_backend_pid()"
_OF_READER = "SELECT pid FROM pg_stat_activity WHERE usename = 'drivestream_app'"
_COLUMNS = {
    "job_id": "uuid", "index": "int8", "ordinal": "int4", "user_id": "uuid", "file_id": "text", "passage": "text",
    "locator": "jsonb", "hash": "bytea", "model": "text", "embedding": "halfvec", "terms": "text",
}  # fmt: skip


def measure(arguments: list[str]) -> dict[str, object]:
    """Recall, times in milliseconds, and which indexes were used."""
    parser = argparse.ArgumentParser(prog="./dev bench search", description=__doc__.split("\n")[0])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--shared-buffers", type=int, help="MB; else 5 for each thousand passages, at least 1,024")
    parser.add_argument("--data", type=Path, help="fill a database here and keep it; a filled one is used as it is")
    chosen = parser.parse_args(arguments)
    place = chosen.data or Path(tempfile.mkdtemp(prefix="drivestream-bench-"))
    place.mkdir(exist_ok=True)
    place.chmod(0o711)  # as root the server is somebody else
    # Cloud SQL gives a third of the instance to them, and a thousand passages take 13 MB with their indexes.
    buffers = chosen.shared_buffers or max(1024, chosen.passages * 5 // 1000)
    server = PostgresServer(place / "postgres", durable=False, shared_buffers=f"{buffers}MB")
    drawn = Drawn(chosen.people, chosen.passages)
    filled = place / f"filled-{chosen.passages}-{chosen.people}.json"
    try:
        server.start()
        upgrade(server.admin_url)
        if not filled.exists():
            filled.write_text(json.dumps(fill(server, drawn)))
        seconds = json.loads(filled.read_text())
        sizes = {"passages": chosen.passages, "people": chosen.people, "shared_buffers_mb": buffers}
        return {**sizes, **asked(server, drawn, chosen.queries), **seconds}
    finally:
        server.stop()
        if chosen.data is None:
            shutil.rmtree(place, ignore_errors=True)


# What is made -------------------------------------------------------------------------------------------------------


class Drawn:
    """Everything that is drawn by chance, from one seed."""

    def __init__(self, people: int, passages: int) -> None:
        self.passages = passages
        chance = random.Random(20261127)
        self.people = [UUID(int=chance.getrandbits(128), version=4) for _ in range(people)]
        # Noise is a run from anywhere of one long strip: a million different vectors for the price of reading them.
        self._strip = array("d", (chance.gauss(0, 1 / math.sqrt(DIMENSIONS)) for _ in range(1_000_000)))
        self._topics = [self._noise(chance) for _ in range(TOPICS)]
        letters = "etaoinshrdlucmfwypvbgk"
        self._vocabulary = ["".join(chance.choices(letters, k=chance.randint(3, 9))) for _ in range(30_000)]
        self._zipf = list(accumulate(1 / (rank + 3) for rank in range(len(self._vocabulary))))

    def files(self) -> Iterator[DrawnFile]:
        """Files of the people in turn, until there are passages enough."""
        for number, first in enumerate(range(0, self.passages, PER_FILE)):
            yield self._file(number, min(PER_FILE, self.passages - first))

    def query(self, number: int) -> tuple[UUID, str, list[float]]:
        """Who asks, words, and a vector: a passage that could stand near one of their files, and some words of it."""
        chance = random.Random(f"query {number}")
        mine = range(number % len(self.people), self.passages // PER_FILE, len(self.people))
        middle, own = self._middle(chance.choice(mine))
        apart = [a + 0.5 * b for a, b in zip(middle, self._noise(chance), strict=True)]
        text, vector = self._passage(chance, apart, own)
        words = chance.sample(text.split(), chance.randint(1, 3))
        return self.people[number % len(self.people)], " ".join(words), vector

    def _file(self, number: int, count: int) -> DrawnFile:
        middle, own = self._middle(number)
        chance = random.Random(f"passages of {number}")
        passages = [self._passage(chance, middle, own) for _ in range(count)]
        job_id = UUID(int=chance.getrandbits(128), version=4)
        return DrawnFile(self.people[number % len(self.people)], job_id, f"file{number:07}", passages)

    def _middle(self, number: int) -> tuple[list[float], list[str]]:
        """What all passages of a file are near, and the words of its topic."""
        chance = random.Random(f"file {number}")
        topic = chance.randrange(TOPICS)
        middle = [a + 0.7 * b for a, b in zip(self._topics[topic], self._noise(chance), strict=True)]
        return middle, self._vocabulary[500 + 40 * topic : 540 + 40 * topic]

    def _passage(self, chance: random.Random, middle: list[float], own: list[str]) -> tuple[str, list[float]]:
        words = chance.choices(self._vocabulary, cum_weights=self._zipf, k=WORDS_EACH - 12) + chance.choices(own, k=12)
        chance.shuffle(words)
        far = chance.uniform(0.3, 0.9)
        vector = [a + far * b for a, b in zip(middle, self._noise(chance), strict=True)]
        length = math.hypot(*vector)
        return " ".join(words), [a / length for a in vector]

    def _noise(self, chance: random.Random) -> array[float]:
        start = chance.randrange(len(self._strip) - DIMENSIONS)
        return self._strip[start : start + DIMENSIONS]


@dataclass(frozen=True, slots=True)
class DrawnFile:
    """One file of one person, with the text and the vector of each passage."""

    person: UUID
    job_id: UUID
    file_id: str
    passages: list[tuple[str, list[float]]]


def fill(server: PostgresServer, drawn: Drawn) -> dict[str, float]:
    """Load everything, then build the two indexes that search uses; how long each step took."""
    admin = _administrator(server)
    indexes = {kind: dict(admin.execute_simple(_indexes_of(kind)).rows) for kind in _INDEXES}
    admin.execute_simple("; ".join(f"DROP INDEX {name}" for kind in _INDEXES for name in indexes[kind]))
    people = ", ".join(f"('{person}', '{person}')" for person in drawn.people)
    admin.execute_simple(f"INSERT INTO users (user_id, google_sub) VALUES {people}")
    seconds = {}
    began = time.monotonic()
    admin.execute_simple("SET session_replication_role = replica")  # the rows refer to each other rightly by making
    files: list[DrawnFile] = []
    _copy(admin, "memories", _COLUMNS, _passages(drawn, files, began))
    _copy(
        admin,
        "gdrive_files",
        {"user_id": "uuid", "file_id": "text", "name": "text", "mime_type": "text", "state": "text",
         "wanted_job": "uuid", "current_job": "uuid"},
        ((f.person, f.file_id, f"{f.file_id}.txt", "text/plain", "indexed", f.job_id, f.job_id) for f in files),
    )  # fmt: skip
    seconds["load"] = time.monotonic() - began
    rows = 2 * DIMENSIONS + 1024
    admin.execute_simple(f"SET maintenance_work_mem = '{max(256, drawn.passages * rows // 2**20 * 5 // 4)}MB'")
    admin.execute_simple("SET max_parallel_maintenance_workers = 1")
    for kind in _INDEXES:
        began = time.monotonic()
        _tell(f"building {kind}")
        for statement in indexes[kind].values():
            admin.execute_simple(statement)
        seconds[kind] = time.monotonic() - began
    _tell("vacuum")
    admin.execute_simple("VACUUM ANALYZE")
    admin.close()
    return {"seconds_" + step: round(took, 1) for step, took in seconds.items()}


def _passages(drawn: Drawn, files: list[DrawnFile], began: float) -> Iterator[Sequence[Any]]:
    done = 0
    for file in drawn.files():
        files.append(DrawnFile(file.person, file.job_id, file.file_id, []))
        for ordinal, (text, vector) in enumerate(file.passages):
            digest = sha256(text.encode()).digest()
            place = {"line_first": ordinal + 1}
            yield (file.job_id, 0, ordinal, file.person, file.file_id, text, place, digest, MODEL, vector,
                   extra_terms(text))  # fmt: skip
            done += 1
            if done % 50_000 == 0:
                _tell(f"{done:,} passages, {done / (time.monotonic() - began):,.0f}/s")


# What is asked ------------------------------------------------------------------------------------------------------


def asked(server: PostgresServer, drawn: Drawn, count: int) -> dict[str, object]:
    """The figures."""
    admin = _administrator(server)
    admin.execute_simple("SET hnsw.iterative_scan = 'relaxed_order'; SET hnsw.ef_search = 200; SET enable_sort = off")
    reader = Database(
        Settings(google_cloud_project="bench", database_url=server.url_for("drivestream_app")), "drivestream_reader"
    )
    whole, bare, whole_busy, bare_busy = ([] for _ in range(4))
    found, rows = 0, 0
    used = dict.fromkeys(_INDEXES, 0)
    try:
        with reader.transaction(drawn.people[0]):
            backends = [int(_one(admin, backend)) for backend in (_OF_ADMIN, _OF_READER)]
        for number in range(count + 5):
            person, query, numbers = drawn.query(number)
            vector = _literal(numbers)
            busy = [_busy(backend) for backend in backends]
            began = time.perf_counter()
            admin.execute_simple(_bare(person, vector))
            between = time.perf_counter()
            with reader.transaction(person) as tx:
                began_whole = time.perf_counter()
                got = tx.rows("search", **question(query, vector, MODEL, 10, Filters()))
                ended = time.perf_counter()
            took = [_busy(backend) - before for backend, before in zip(backends, busy, strict=True)]
            if number < 5:  # connections, caches and plans warm up
                continue
            bare.append(between - began)
            whole.append(ended - began_whole)
            bare_busy.append(took[0])
            whole_busy.append(took[1])
            rows += len(got)
            found += _found(admin, person, vector)
            _tell(f"{number - 4} of {count} queries") if number % 50 == 4 else None
        for name, times in _used(server, drawn).items():
            used[name] += times
    finally:
        reader.close()
        admin.close()
    recall, ratio = found / (10 * count), at(whole, 0.95) / at(bare, 0.95)
    return {
        "recall_at_10": round(recall, 4),
        "search_ms": _quantiles(whole),
        "bare_index_query_ms": _quantiles(bare),
        "p95_ratio": round(ratio, 2),
        "search_processor_ms": _quantiles(whole_busy),
        "bare_index_query_processor_ms": _quantiles(bare_busy),
        "load": round(os.getloadavg()[0], 1),
        "rows_each": round(rows / count, 1),
        "index_scans_of_one_search": used,
        "complete": recall >= _SOUGHT_RECALL and ratio <= _SOUGHT_RATIO and all(used.values()),
    }


def _indexes_of(kind: str) -> str:
    return f"SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE '{kind}%'"


def _bare(person: UUID, vector: str, by: str = "embedding <=> '{}'") -> str:
    mine = f"slot_of(user_id) = {person.bytes[15] % 16} AND user_id = '{person}'"
    return f"SELECT job_id, ordinal FROM memories WHERE {mine} ORDER BY {by.format(vector)} LIMIT 10"


def _found(admin: CoreConnection, person: UUID, vector: str) -> int:
    """How many of the ten that are nearest are the first ten of what search takes into account."""
    exact = admin.execute_simple("SET enable_sort = on;" + _bare(person, vector, "(embedding <=> '{}') + 0")).rows
    admin.execute_simple("SET enable_sort = off")
    index = admin.execute_simple(
        f"SET app.user_id = '{person}'; SELECT job_id, ordinal "
        f"FROM nearest_passages('{vector}', '{MODEL}', {NEIGHBOURS}) ORDER BY distance LIMIT 10"
    ).rows
    return len({tuple(row) for row in exact} & {tuple(row) for row in index})


def _used(server: PostgresServer, drawn: Drawn) -> dict[str, int]:
    """How often one search reads each index, by the counters of its own transaction."""
    admin = _administrator(server)
    person, query, numbers = drawn.query(0)
    sought = sought_terms(query)
    counters = ", ".join(
        f"(SELECT sum(pg_stat_get_xact_numscans(indexname::regclass)) FROM ({_indexes_of(kind)}))" for kind in _INDEXES
    )
    try:
        admin.execute_simple(f"BEGIN; SET LOCAL ROLE drivestream_reader; SET LOCAL app.user_id = '{person}'")
        admin.execute_simple(
            f"SELECT * FROM search_passages('{query}', '{_literal(numbers)}', '{MODEL}', 10, "
            f"parts => $${sought.query}$$)"
        )
        counted = admin.execute_simple(f"SELECT {counters}").rows
        admin.execute_simple("COMMIT")
    finally:
        admin.close()
    return dict(zip(_INDEXES, map(int, counted[0]), strict=True))


# Small things -------------------------------------------------------------------------------------------------------


def at(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    return {name: round(1000 * at(seconds, share), 2) for name, share in (("p50", 0.5), ("p95", 0.95))}


def _busy(process: int) -> float:
    """Seconds that a process has had of the processor; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except FileNotFoundError:
        return 0.0


def _administrator(server: PostgresServer) -> CoreConnection:
    admin = connect_to_url(server.admin_url)
    admin._usock.settimeout(None)  # an index takes its time
    return admin


def _copy(connection: CoreConnection, table: str, columns: dict[str, str], rows: Iterable[Sequence[Any]]) -> None:
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
    connection.execute_unnamed(statement, stream=pgcopy.encode(list(columns.values()), rows))


def _literal(numbers: Iterable[float]) -> str:
    return "[" + ",".join(f"{number:.6g}" for number in numbers) + "]"


def _one(connection: CoreConnection, statement: str) -> str:
    return str(connection.execute_simple(statement).rows[0][0])


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)
