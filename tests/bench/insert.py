"""Passages with vectors into `memories`: as `ai_processor` writes them, beside psycopg's plain binary COPY.

Both fill one and the same table of one database, which is emptied in between. Ours does all that a chunk's writing
does: it holds the person, locks the job, records the chunk, stages, moves what is not there yet, counts the cost, runs
the finish step and commits, once for each chunk; and every tenth chunk comes twice.
psycopg copies the same rows at once, in one transaction, past every policy, from values it need not make into anything.
Without the two large indexes first, since building those is the same work for both, and then with them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg

from functions.ai_processor.main import Rows, Understood
from infra.local.postgres import PostgresServer
from schemas.messages.file_chunk_pb2 import FileChunk
from shared.adapters.postgres import Database
from shared.config import Settings
from shared.domain.parts import Locator
from shared.domain.spending import Spent
from shared.domain.terms import extra_terms
from shared.passages import Passage
from tests.scratch_postgres import scratch_postgres

CHUNK = 500  # passages: what half a megabyte of prose gives
DIMENSIONS = 768
WORDS = 4_000
LARGE = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname ~ '^memories_by_(words|meaning)'"
_SOUGHT = 0.7

Vector = Sequence[float]


class Language(NamedTuple):
    """How made text looks. English is known by its commonest words; others have terms beside the words, for a search
    that knows compounds, scripts without spaces and what Arabic writes together."""

    commonest: str
    letters: str
    longest: int = 11
    between: str = " "


LANGUAGES = {
    "english": Language("the of and to", "abcdefghiklmnoprstuvw"),
    "german": Language("der die und in", "abcdefghiklmnoprstuvwäöüß"),
    "arabic": Language("في من على أن", "ابتثجحخدذرزسشصضطظعغفقكلمنهوي", longest=8),
    "chinese": Language("的 是 了 在", "".join(map(chr, range(0x4E00, 0x4E00 + 3000))), longest=3, between=""),
}


def measure(arguments: list[str]) -> dict[str, object]:
    """Rows a second of both, without and with the large indexes, and the median of the ratios turn by turn."""
    parser = argparse.ArgumentParser(prog="./dev bench insert", description=__doc__.split("\n")[0])
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--indexed", type=int, default=2_000, help="passages of the one comparison with both indexes")
    parser.add_argument("--language", choices=LANGUAGES, default="english", help="all but English have terms")
    chosen = parser.parse_args(arguments)
    passages, vectors = made(chosen.passages, LANGUAGES[chosen.language])
    with table() as contest:
        large = dict(contest.sql(LARGE))
        for name in large:
            contest.sql(f"DROP INDEX {name}")
        ours, theirs = contest.compared(passages, vectors, chosen.repetitions)
        for statement in large.values():
            contest.sql(statement)
        few = min(chosen.indexed, chosen.passages)
        indexed = contest.compared(passages[:few], vectors[:few], 1)
    # Of neighbours: what else the machine does meanwhile comes and goes in longer times than a turn takes.
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return {
        "language": chosen.language,
        "passages": chosen.passages,
        "ours_rows_a_second": round(statistics.median(ours)),
        "psycopg_rows_a_second": round(statistics.median(theirs)),
        "ratio": round(ratio, 2),
        "ratios": [round(one / other, 2) for one, other in zip(ours, theirs, strict=True)],
        "with_indexes": {
            "passages": few,
            "ours_rows_a_second": round(indexed[0][0]),
            "psycopg_rows_a_second": round(indexed[1][0]),
            "ratio": round(indexed[0][0] / indexed[1][0], 2),
        },
        "complete": ratio >= _SOUGHT,
    }


def made(number: int, language: Language) -> tuple[list[Passage], list[Vector]]:
    """Passages of 170 words (a thousand characters of English), each with a unit vector; the same every time."""
    chance = random.Random(3)
    words = language.commonest.split()
    words += [
        "".join(chance.choices(language.letters, k=chance.randint(2, language.longest)))
        for _ in range(WORDS - len(words))
    ]
    often = [1 / place for place in range(1, WORDS + 1)]  # Zipf
    passages, vectors = [], []
    for ordinal in range(number):
        text = language.between.join(chance.choices(words, often, k=170))
        at = Locator(byte_start=ordinal * 1000, byte_end=ordinal * 1000 + len(text), line_first=ordinal)
        passages.append(Passage(ordinal % CHUNK, text, at, sha256(text.encode()).digest(), 0))
        numbers = [chance.gauss(0, 1) for _ in range(DIMENSIONS)]
        length = sum(number * number for number in numbers) ** 0.5
        vectors.append(array("f", (number / length for number in numbers)))
    return passages, vectors


class Contest:
    """One database in which both write for one person."""

    def __init__(self, server: PostgresServer) -> None:
        self._admin = psycopg.connect(server.url_for("postgres"), autocommit=True)
        self._settings = Settings(google_cloud_project="bench", database_url=server.url_for("drivestream_app"))
        self._database = Database(self._settings, "drivestream_worker")
        self.user_id = uuid4()
        self.sql("INSERT INTO users (user_id, google_sub) VALUES (%s, 'bench')", self.user_id)

    def close(self) -> None:
        self._database.close()
        self._admin.close()

    def sql(self, statement: str, *values: object) -> list[Any]:
        """As the administrator."""
        found = self._admin.execute(statement, values)  # type: ignore[arg-type]
        return found.fetchall() if found.description else []

    def compared(
        self, passages: Sequence[Passage], vectors: Sequence[Vector], repetitions: int
    ) -> tuple[list[float], list[float]]:
        """Rows a second of each, in turns."""
        ours, theirs = [], []
        self._ours(passages[:CHUNK], vectors[:CHUNK])  # connections, statements, catalogues
        for number in range(repetitions):
            ours.append(len(passages) / self._ours(passages, vectors))
            theirs.append(len(passages) / self._theirs(passages, vectors))
            print(f"{number + 1} of {repetitions}: {ours[-1]:,.0f} and {theirs[-1]:,.0f} rows/s", file=sys.stderr)
        return ours, theirs

    def _ours(self, passages: Sequence[Passage], vectors: Sequence[Vector]) -> float:
        job_id = self._job(streamed=len(passages) // CHUNK)
        chunks = [
            (
                FileChunk(job_id=str(job_id), user_id=str(self.user_id), file_id="f", index=index),
                Understood(passages[at : at + CHUNK], vectors[at : at + CHUNK]),
            )
            for index, at in enumerate(range(0, len(passages), CHUNK))
        ]
        for chunk, _ in chunks:
            chunk.kind = FileChunk.Kind.TEXT
        start = time.perf_counter()
        for chunk, understood in chunks:
            rows = Rows(self._database, chunk, self._settings)
            rows.write(understood, Spent(embedded_tokens=CHUNK * 300))
            if chunk.index % 10 == 4:
                rows.write(understood, Spent())
        seconds = time.perf_counter() - start
        self._check(len(passages))
        return seconds

    def _theirs(self, passages: Sequence[Passage], vectors: Sequence[Vector]) -> float:
        job_id = self._job(streamed=0)
        for index in range(0, len(passages), CHUNK):
            self.sql(
                "INSERT INTO gdrive_chunks (job_id, index, user_id, kind, passages) VALUES (%s, %s, %s, 'text', %s)",
                *(job_id, index // CHUNK, self.user_id, CHUNK),
            )
        model = self._settings.embedding_model
        half_floats = Struct(f">HH{DIMENSIONS}e").pack
        start = time.perf_counter()
        with self._admin.transaction(), self._admin.cursor() as cursor:
            # The vector goes as bytes, which is what binary COPY sends for a halfvec; psycopg knows no such type.
            command = (
                "COPY memories (job_id, index, ordinal, user_id, file_id, passage, terms, locator, hash, model,"
                " embedding) FROM STDIN (FORMAT binary)"
            )
            types = ["uuid", "int8", "int4", "uuid", "text", "text", "text", "jsonb", "bytea", "text", "bytea"]
            with cursor.copy(command) as copy:
                copy.set_types(types)
                for number, (passage, vector) in enumerate(zip(passages, vectors, strict=True)):
                    copy.write_row(
                        (
                            job_id,
                            number // CHUNK,
                            passage.ordinal,
                            self.user_id,
                            "f",
                            passage.text,
                            extra_terms(passage.text),
                            psycopg.types.json.Jsonb(passage.locator.as_json()),
                            passage.hash,
                            model,
                            half_floats(DIMENSIONS, 0, *vector),
                        )
                    )
        seconds = time.perf_counter() - start
        self._check(len(passages))
        return seconds

    def _job(self, streamed: int) -> UUID:
        """An empty table, and a file that wants a new job."""
        job_id = uuid4()
        self.sql("TRUNCATE gdrive_files, gdrive_jobs, gdrive_chunks, memories, entities, costs, file_events CASCADE")
        self.sql(
            "INSERT INTO gdrive_files (user_id, file_id, content_key, wanted_job, state)"
            " VALUES (%s, 'f', 'k', %s, 'processing')",
            *(self.user_id, job_id),
        )
        self.sql(
            "INSERT INTO gdrive_jobs (job_id, user_id, file_id, content_key, pipeline_version, state, expected_chunks)"
            " VALUES (%s, %s, 'f', 'k', '1', 'streamed', %s)",
            *(job_id, self.user_id, streamed),
        )
        self.sql("CHECKPOINT")
        return job_id

    def _check(self, number: int) -> None:
        (found,) = self._admin.execute("SELECT count(*) FROM memories WHERE embedding IS NOT NULL").fetchone() or (0,)
        if found != number:
            raise AssertionError(f"{number} passages were written and {found} are there")


@contextmanager
def table() -> Iterator[Contest]:
    """A database of its own, on a server as `./dev local` starts it."""
    with scratch_postgres(durable=True) as server:
        contest = Contest(server)
        try:
            yield contest
        finally:
            contest.close()
