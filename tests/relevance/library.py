"""The sample Drive and our own texts: read, cut, embedded and stored as the functions do it, and searched by the SQL of
the dashboard. The embedding is the local one: lexical, the same on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from functions.dashboard.filters import Filters
from functions.dashboard.search import question
from infra.local.ai.lexical import embed
from infra.local.google.export import EXPORTS
from infra.local.google.folder import SCHEMA, FolderDrive
from infra.local.google.items import Item
from infra.local.google.store import Store
from infra.local.stack import SAMPLE
from shared.adapters.postgres import Database, connect_to_url
from shared.config import Settings
from shared.domain.chunks import pack
from shared.domain.errors import Skipped
from shared.domain.files import File, exports_of, why_not_exported
from shared.domain.terms import extra_terms
from shared.passages import Passage, cut
from shared.readers import BytesSource, PathSource, Source, read
from tests.relevance.questions import HERE

ADA = "ada@example.com"
DIMENSIONS = 768
MODEL = "lexical-hashing-001"
TEXTS = HERE / "texts"
FIRST = 10

Result = tuple[str, str | None]  # the file's path, and the passage if there is one


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the library. `path` begins with `texts/` for ours, and is the path in the sample Drive for its."""

    path: str
    name: str
    mime_type: str
    chunks: tuple[tuple[Passage, ...], ...]

    @property
    def passages(self) -> list[Passage]:
        return [passage for chunk in self.chunks for passage in chunk]


def documents() -> list[Document]:
    """Every file that the first person of the sample has, and every text of ours. What needs recognition, or cannot be
    read at all, has no passages: it is found by its name."""
    return [*_served(SAMPLE, ""), *_served(TEXTS, "texts/")]


def _served(folder: Path, prefix: str) -> Iterator[Document]:
    """The files as the local Drive states them: names and types are not the disk's."""
    with TemporaryDirectory(prefix="drivestream-relevance-") as place:
        drive = FolderDrive(folder, Store(Path(place) / "drive.sqlite", SCHEMA), time.time, lambda: None, ())
        drive.scan()
        items = sorted((item for item in drive.items() if not item.is_folder), key=lambda item: item.path)
    for item in items:
        if prefix or (drive.may_see(ADA, item) and not item.trashed):
            yield Document(prefix + item.path, item.name, item.mime_type, tuple(_chunks(folder, item)))


def _chunks(folder: Path, item: Item) -> Iterator[tuple[Passage, ...]]:
    stated = File(item.id, item.name, item.mime_type, exports=tuple(EXPORTS.get(item.mime_type, ())))
    if item.kind == "shortcut" or why_not_exported(stated):
        return
    try:
        for chunk in pack(read(_source(folder, item, stated))):
            if chunk.kind == "text":
                yield tuple(cut(chunk.payload.decode(), chunk.marks))
    except Skipped:
        return


def _source(folder: Path, item: Item, stated: File) -> Source:
    ladder = exports_of(stated)
    if ladder:
        content = EXPORTS[item.mime_type][ladder[0]]((folder / item.path).read_bytes())
        return BytesSource(content, "", ladder[0])
    source = PathSource(folder / item.path, item.mime_type)
    source.name = item.name
    return source


@dataclass(frozen=True)
class Library:
    """A person who has all these files, in a real Postgres."""

    reader: Database
    person: UUID

    def hybrid(self, asked: str) -> list[Result]:
        """As the dashboard searches."""
        return self._find(asked, vector_of(asked))

    def by_words(self, asked: str) -> list[Result]:
        """Full text alone, with names and phrases: as the dashboard searches while no vector can be had."""
        return self._find(asked, None)

    def by_vectors(self, asked: str) -> list[Result]:
        """Nearness of vectors alone: nothing is asked of the words."""
        return self._find("", vector_of(asked))

    def _find(self, query: str, vector: str | None) -> list[Result]:
        with self.reader.transaction(self.person) as tx:
            rows = tx.rows("search", **question(query, vector, MODEL, FIRST, Filters()))
        return [(row["file_id"], row["passage"]) for row in rows]


def vector_of(text: str) -> str:
    """A query's vector as Postgres reads it."""
    return "[" + ",".join(f"{number:.7g}" for number in embed(text, DIMENSIONS)) + "]"


@contextmanager
def library(admin_url: str, app_url: str, held: list[Document]) -> Iterator[Library]:
    """Store the documents in a database that has the newest schema."""
    person = _files(admin_url, held)
    settings = Settings(google_cloud_project="relevance", database_url=app_url)
    worker, reader = Database(settings, "drivestream_worker"), Database(settings, "drivestream_reader")
    try:
        for document in held:
            for index, passages in enumerate(document.chunks):
                _save(worker, person, document, index, passages)
        yield Library(reader, person)
    finally:
        worker.close()
        reader.close()


def _job(document: Document) -> UUID:
    return uuid5(NAMESPACE_URL, document.path)


def _files(admin_url: str, held: list[Document]) -> UUID:
    """The rows that lister and streamer would have written. A file's id is its path, so that results tell it."""
    connection = connect_to_url(admin_url)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT connect_person('relevance', 'ada@example.com', 'Ada')")
        [[person]] = cursor.fetchall()
        for document in held:
            job = _job(document) if document.chunks else None
            cursor.execute(
                "INSERT INTO gdrive_files (user_id, file_id, name, mime_type, state, wanted_job, current_job) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (person, document.path, document.name, document.mime_type, "indexed" if job else "skipped", job, job),
            )
            if job:
                cursor.execute(
                    "INSERT INTO gdrive_jobs (job_id, user_id, file_id, content_key, pipeline_version, state) "
                    "VALUES (%s, %s, %s, %s, '1', 'finished')",
                    (job, person, document.path, document.path),
                )
            for index, passages in enumerate(document.chunks):
                cursor.execute(
                    "INSERT INTO gdrive_chunks (job_id, index, user_id, kind, passages) "
                    "VALUES (%s, %s, %s, 'text', %s)",
                    (job, index, person, len(passages)),
                )
        connection.commit()
    finally:
        connection.close()
    return UUID(str(person))


def _save(worker: Database, person: UUID, document: Document, index: int, passages: tuple[Passage, ...]) -> None:
    columns = {"ordinal": "int4", "passage": "text", "terms": "text", "locator": "jsonb", "hash": "bytea"}
    rows: list[tuple[Any, ...]] = [
        (one.ordinal, one.text, extra_terms(one.text), one.locator.as_json(), one.hash, embed(one.text, DIMENSIONS))
        for one in passages
    ]
    with worker.transaction(person) as tx:
        tx.run("stage_passages")
        tx.copy_binary("staged_passages", {**columns, "embedding": "halfvec"}, rows)
        tx.run("save_passages", job_id=_job(document), index=index, file_id=document.path, model=MODEL)
