"""Understands one chunk: text to passages, vectors, entities and relations, written in one guarded transaction.

Nothing is paid for before the file is known to still want the chunk, and nothing is written unless it still does when
the job row is locked. The last chunk and the end of the stream may commit together, so both run the finish step. A
reader sees the old revision or the new one, never a mix.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import functions_framework

from schemas.messages.file_chunk_pb2 import FileChunk
from shared import log, tracing
from shared.adapters.caps import reserve, settle
from shared.adapters.chunks import locator_of
from shared.adapters.documentai import Recognizer
from shared.adapters.google_calls import BadAnswer
from shared.adapters.hold import hold
from shared.adapters.oauth import verify_push_token
from shared.adapters.postgres import Database, Transaction
from shared.adapters.vertex import Embedder, EntityFinder
from shared.config import Settings, settings
from shared.consume import consumes
from shared.domain.entities import Entity, Named
from shared.domain.errors import DrivestreamError, LongWait, Skipped, Superseded, Unavailable
from shared.domain.parts import Locator
from shared.domain.quota import ServiceBusy
from shared.domain.spending import Account, CapReached, Spent, Wanted
from shared.domain.terms import extra_terms
from shared.domain.tokens import estimate_tokens
from shared.passages import Passage, cut, passage_hash

Known = Callable[[Sequence[bytes]], set[bytes]]
Row = dict[str, Any]

WAIT_SECONDS = 900.0
_KINDS = {FileChunk.Kind.TEXT: "text", FileChunk.Kind.PAGES: "pages", FileChunk.Kind.IMAGE: "image"}


@functions_framework.http
@consumes(FileChunk, verify=verify_push_token)
def ai_processor(chunk: FileChunk) -> None:
    """Understand one chunk."""
    log.bind(index=chunk.index)
    understand(
        chunk, Understanding(settings(), recognizer(), embedder(), finder()), Rows(database(), chunk, settings())
    )


@dataclass(frozen=True, slots=True)
class Understood:
    """What became of a chunk. A chunk that gave no text says why."""

    passages: Sequence[Passage] = ()
    vectors: Sequence[Sequence[float] | None] = ()  # None: paid for before, or the model refuses these words
    named: Sequence[Named] = ()
    why: Skipped | None = None
    reused: frozenset[bytes] = frozenset()  # hashes whose vectors were paid for before


@dataclass(slots=True)
class Paid:
    """What a chunk has had done to it and has not been written: by the deliveries before this one, and by this one."""

    pages: list[str] | None = None  # the text of each, recognised
    vectors: dict[str, array[float]] = field(default_factory=dict)  # by the passage's text, of this delivery


def understand(chunk: FileChunk, understanding: Understanding, rows: Rows) -> None:
    """Once, at the lowest cost: a chunk that is recorded already, or that nobody wants, costs nothing."""
    if rows.recorded():
        return rows.finish()
    account, paid = Account(understanding.seconds, rows.allow), rows.paid()
    try:
        rows.check_model()
        result = understanding.of(chunk, rows.known, account, paid)
        return rows.write(result, account.spent)
    except CapReached:  # the file waits already
        return rows.pay(account.spent, paid)
    except (LongWait, BadAnswer) as wait:  # of the latter each delivery would be billed twice
        return rows.pause(wait, account.spent, paid)
    except BaseException:
        # What was billed counts, and is kept for the next delivery; what went wrong is what the broker is told.
        with suppress(DrivestreamError):
            rows.pay(account.spent, paid)
        raise


class Understanding:
    """The billed part: recognise, cut, embed, find names."""

    def __init__(self, config: Settings, recognizer: Recognizer, embedder: Embedder, finder: EntityFinder) -> None:
        self._config = config
        self._recognizer = recognizer
        self._embedder = embedder
        self._finder = finder

    @property
    def seconds(self) -> float:
        """How long a chunk may take."""
        return self._config.understanding_seconds

    def of(self, chunk: FileChunk, known: Known, account: Account, paid: Paid) -> Understood:
        """Everything that is to be known of a chunk. `known` tells which passages this person already has, `paid` what
        was done to it before, and is told what is done now."""
        try:
            text, marks = self._text(chunk, account, paid)
        except Skipped as why:
            return Understood(why=why)
        passages = cut(text, marks)
        if not passages:
            return Understood()
        had = known([passage.hash for passage in passages])
        # Equal passages of one chunk, such as the same footer on every page, are paid for once too.
        fresh = {passage.hash: passage.text for passage in passages if passage.hash not in had}
        account.ask(tokens=sum(map(estimate_tokens, fresh.values())))
        embedded = self._embedder.embed(list(fresh.values()), account, paid.vectors)
        if embedded.reasons:  # found by their words alone
            log.event("not_embedded", "WARNING", passages=len(embedded.reasons))
        vector_of = dict(zip(fresh, embedded.vectors, strict=True))
        vectors = [vector_of.get(passage.hash) for passage in passages]
        found: Sequence[Named] = ()
        if self._finder.wants(f"{chunk.job_id}/{chunk.index}"):
            texts = [passage.text for passage in passages]
            account.ask(tokens=self._finder.estimate(texts))
            found = self._finder.find(texts, account)
        return Understood(passages, vectors, found, reused=frozenset(had))

    def _text(self, chunk: FileChunk, account: Account, paid: Paid) -> tuple[str, list[tuple[int, Locator]]]:
        """Text, and the places it stands in. Raises `Skipped` for pages that cannot be recognised."""
        if chunk.kind == FileChunk.Kind.TEXT:
            return chunk.payload.decode(), [(mark.offset, locator_of(mark.locator)) for mark in chunk.marks]
        mime_type = "application/pdf" if chunk.kind == FileChunk.Kind.PAGES else chunk.mime_type
        place = locator_of(chunk.locator)
        if paid.pages is None:
            pages = _pages_of(place)
            account.ask(pages=pages or 1)
            paid.pages = [page.text for page in self._recognizer.recognize(chunk.payload, mime_type, pages, account)]
        pieces: list[str] = []
        marks, length = [], 0
        for number, page in enumerate(paid.pages, place.page_first or 0):
            marks.append((length, replace(place, page_first=number, page_last=number) if place.page_first else place))
            pieces.append(page.rstrip() + "\n\n")
            length += len(pieces[-1])
        return "".join(pieces), marks


def _pages_of(place: Locator) -> int | None:
    """How many pages a place covers, where it is one of pages."""
    return None if place.page_first is None or place.page_last is None else place.page_last - place.page_first + 1


class Rows:
    """Postgres, for one chunk."""

    def __init__(self, database: Database, chunk: FileChunk, config: Settings) -> None:
        self._database = database
        self._chunk = chunk
        self._config = config
        self._capped, self._pipeline = True, config.pipeline  # until somebody has looked
        self._pages: list[str] | None = None

    def recorded(self) -> bool:
        """Is this chunk done already? Raises `Superseded` when nobody wants it."""
        row = self._database.run_transaction(
            self._chunk.user_id,
            lambda tx: tx.row("chunk_standing", job_id=self._chunk.job_id, index=self._chunk.index),
        )
        if row is None or not row["wanted"] or row["person"] == "erasing":
            raise _superseded()
        if row["state"] not in ("streaming", "streamed", "waiting"):
            raise Superseded(f"The job has ended: {row['state']}.")
        self._capped, self._pipeline, self._pages = bool(row["capped"]), str(row["pipeline_version"]), row["paid_pages"]
        return bool(row["recorded"])

    def paid(self) -> Paid:
        """What earlier deliveries of this chunk had done and could not write, vectors aside: `known` names those."""
        return Paid(self._pages)

    def known(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Which of these passages this person has paid for already."""
        rows = self._database.run_transaction(
            self._chunk.user_id,
            lambda tx: tx.rows(
                "known_hashes",
                model=self._config.embedding_model,
                job_id=self._chunk.job_id,
                index=self._chunk.index,
                hashes=list(hashes),
            ),
        )
        return {bytes(row["hash"]) for row in rows}

    def check_model(self) -> None:
        """Raises `LongWait` for a job that was begun by other settings, such as another model: its file is read anew,
        since one file has one model. While streamers are still of the old settings it waits once more."""
        if self._pipeline != self._config.pipeline:
            raise LongWait("The model was changed while this file was read; it is read anew.", code="model_changed")

    def allow(self, wanted: Wanted) -> None:
        """Keep what the next step wants from the person's other steps. Raises `CapReached` where it would be more than
        they let us spend; by then the file waits, as of the same moment at which the caps were looked at."""
        if not self._capped:
            return
        chunk = self._chunk

        def story(tx: Transaction) -> CapReached | None:
            hold(tx)
            refused = reserve(tx, chunk.job_id, chunk.index, wanted, self._config.lease_seconds)
            if refused is not None:
                self._pause(tx, refused)
            return refused

        refused = self._database.run_transaction(chunk.user_id, story)
        if refused is not None:
            log.event("file", state="waiting", code=refused.code)
            raise refused

    def finish(self) -> None:
        """Run the finish step, in case the one who recorded the chunk died before it."""

        def story(tx: Transaction) -> Row | None:
            hold(tx)
            if not self._wanted(tx):
                raise _superseded()
            return self._finish(tx)

        _say(self._database.run_transaction(self._chunk.user_id, story))

    def write(self, result: Understood, spent: Spent) -> None:
        """Passages, vectors, what they name, the chunk's record and the finish step: all or nothing. It is paid for, so
        it waits for a database that is away."""
        chunk = self._chunk
        attempt: str | None = None

        def story(tx: Transaction) -> Row | None:
            nonlocal attempt
            hold(tx)
            wanted = self._wanted(tx)  # once an earlier attempt has ended, one way or the other
            if attempt is not None and tx.rows("committed", attempt=attempt):
                return None  # only the answer was lost
            if not wanted:
                raise _superseded()
            place = json.dumps(locator_of(chunk.locator).as_json())
            recorded = tx.row(
                "record_chunk",
                job_id=chunk.job_id,
                index=chunk.index,
                kind=_KINDS[chunk.kind],
                passages=len(result.passages),
                locator=place,
                code=result.why.code if result.why else None,
                reason=result.why.reason if result.why else None,
            )
            if recorded is not None:
                attempt = recorded["attempt"]
                self._save(tx, result)
            if result.reused or self._pages is not None:
                tx.run("forget_paid", job_id=chunk.job_id, index=chunk.index)
            self._pay(tx, spent)  # twice, where two were billed for the same chunk
            return self._finish(tx)

        with tracing.span("write rows", "CLIENT", index=chunk.index, passages=len(result.passages)):
            finished = self._database.insist(chunk.user_id, story)
        log.event("understood", passages=len(result.passages), pages=spent.ocr_pages or None)
        _say(finished)

    def pause(self, wait: Unavailable, spent: Spent, paid: Paid) -> None:
        """The services are away for long, or answer nonsense: the file waits, and the caretaker puts it back."""

        def story(tx: Transaction) -> None:
            hold(tx)
            self._pause(tx, wait)
            if isinstance(wait, ServiceBusy):  # who reads for it shall know before it spends a byte
                seconds = wait.retry_after or WAIT_SECONDS
                tx.run("note_pressure", service=wait.service, reason=wait.reason, seconds=seconds)
            self._pay(tx, spent)
            self._keep(tx, paid)

        self._database.run_transaction(self._chunk.user_id, story)
        log.event("file", state="waiting", code=wait.code)

    def pay(self, spent: Spent, paid: Paid) -> None:
        """What was billed for a chunk that is not written is in the counters, and kept for its next delivery."""

        def story(tx: Transaction) -> None:
            hold(tx)
            self._pay(tx, spent)
            self._keep(tx, paid)

        if self._capped or spent != Spent():
            self._database.run_transaction(self._chunk.user_id, story)

    def _pause(self, tx: Transaction, wait: Unavailable) -> None:
        tx.row(
            "pause_job",
            job_id=self._chunk.job_id,
            code=wait.code,
            reason=wait.reason,
            retry_after=wait.retry_after or WAIT_SECONDS,
            service=wait.service if isinstance(wait, ServiceBusy) else None,
        )

    def _pay(self, tx: Transaction, spent: Spent) -> None:
        if spent != Spent():
            tx.run("add_cost", file_id=self._chunk.file_id, drive_units=0, drive_bytes=0, **asdict(spent))
        if self._capped:
            settle(tx, self._chunk.job_id, self._chunk.index)

    def _keep(self, tx: Transaction, paid: Paid) -> None:
        place = {"job_id": self._chunk.job_id, "index": self._chunk.index}
        if paid.pages is not None and paid.pages != self._pages:
            tx.run("keep_paid_pages", pages=paid.pages, **place)
        if paid.vectors:
            vectors = ["[" + ",".join(map(str, vector)) + "]" for vector in paid.vectors.values()]
            hashes = [passage_hash(text) for text in paid.vectors]
            tx.run("keep_paid_vectors", hashes=hashes, vectors=vectors, **place)

    def _wanted(self, tx: Transaction) -> bool:
        """Lock the job. Whether its chunks are still wanted."""
        return tx.row("lock_wanted_job", job_id=self._chunk.job_id) is not None

    def _save(self, tx: Transaction, result: Understood) -> None:
        chunk = self._chunk
        named = list(zip(result.passages, result.named, strict=False))
        keys = {"job_id": chunk.job_id, "index": chunk.index, "file_id": chunk.file_id}
        if result.passages:
            tx.run("stage_passages")
            tx.copy_binary(
                "staged_passages",
                {
                    "ordinal": "int4",
                    "passage": "text",
                    "terms": "text",
                    "locator": "jsonb",
                    "hash": "bytea",
                    "embedding": "halfvec",
                },
                (
                    (
                        passage.ordinal,
                        passage.text,
                        extra_terms(passage.text),
                        passage.locator.as_json(),
                        passage.hash,
                        vector,
                    )
                    for passage, vector in zip(result.passages, result.vectors, strict=True)
                ),
            )
            tx.run("save_passages", model=self._config.embedding_model, **keys)
            if result.reused and tx.rows(
                "passages_without_vector", job_id=chunk.job_id, index=chunk.index, hashes=list(result.reused)
            ):
                raise Unavailable("A vector that was to be used again has been purged meanwhile.", code="purged")
        entities = [row for one in named for row in _entity_rows(*one)]
        if entities:
            tx.run("save_entities", entities=json.dumps(entities), **keys)
        relations = [row for one in named for row in _relation_rows(*one)]
        if relations:
            tx.run("save_relations", relations=json.dumps(relations), **keys)

    def _finish(self, tx: Transaction) -> Row | None:
        finished = tx.row("finish_job", job_id=self._chunk.job_id)
        if finished is not None:
            event = "understood" if finished["state"] == "indexed" else finished["state"]
            tx.run("note_event", file_id=self._chunk.file_id, event=event, detail=finished["reason"])
        return finished


def _say(finished: Row | None) -> None:
    """What became of the file, now that it is so."""
    if finished is not None:
        log.event("file", **finished)


def _superseded() -> Superseded:
    return Superseded("Nobody wants this revision of the file any more.")


def _entity_rows(passage: Passage, named: Named) -> Iterator[dict[str, Any]]:
    for one in named.entities:
        yield {"ordinal": passage.ordinal, "kind": one.kind, "name": one.name, "starts": one.start, "ends": one.end}


def _relation_rows(passage: Passage, named: Named) -> Iterator[dict[str, Any]]:
    for one in named.relations:
        yield {
            "ordinal": passage.ordinal,
            "predicate": one.predicate,
            **{f"subject_{key}": value for key, value in _key(one.subject).items()},
            **{f"object_{key}": value for key, value in _key(one.object).items()},
        }


def _key(entity: Entity) -> dict[str, Any]:
    return {"kind": entity.kind, "starts": entity.start, "ends": entity.end}


@cache
def database() -> Database:
    """Jobs, chunks and passages."""
    return Database(settings(), "drivestream_worker")


@cache
def recognizer() -> Recognizer:
    """Document AI."""
    return Recognizer(settings())


@cache
def embedder() -> Embedder:
    """Vertex AI's embedding model."""
    return Embedder(settings())


@cache
def finder() -> EntityFinder:
    """Vertex AI's model for entities."""
    return EntityFinder(settings())
