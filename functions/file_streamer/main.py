"""Streams one changed file: asks Drive what is true now, reads it once, and publishes it chunk by chunk.

Safe to repeat at every step: the job's name is computed from the content, a chunk's from the job, and every write is
fenced by the epoch of the lease, because a function that timed out keeps running. Memory does not grow with the file,
and nothing touches a disk.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any, TypeVar

import functions_framework

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.file_chunk_pb2 import FileChunk
from shared import log, tracing
from shared.adapters import heap
from shared.adapters.access import Access
from shared.adapters.caps import READING, reserve, settle
from shared.adapters.chunks import file_chunk
from shared.adapters.drive import Drive, DriveSource
from shared.adapters.hold import hold
from shared.adapters.oauth import verify_push_token
from shared.adapters.postgres import Database, Transaction
from shared.adapters.pubsub import Outbox
from shared.adapters.transport import Changed, ChecksumMismatch
from shared.config import Settings, settings
from shared.consume import consumes
from shared.domain.chunks import pack
from shared.domain.errors import (
    DrivestreamError,
    FileGone,
    LongWait,
    ReconnectNeeded,
    Skipped,
    Superseded,
    Unavailable,
)
from shared.domain.files import File, exports_of, why_not_exported
from shared.domain.names import BACKFILL, FILE_BACKFILL, FILE_CHANGES, FILE_CHUNKS, FRESH, OCR, job_id
from shared.domain.quota import DOCUMENT_AI, DOWNLOAD, READ, VERTEX_AI, ServiceBusy, busy_for
from shared.domain.spending import Spent, Wanted
from shared.readers import Limits, read

T = TypeVar("T")

LONG_WAIT_SECONDS = 900.0
RECONNECT_SECONDS = 3600.0  # for a person who seems connected; a new consent does not wait for it
OUTSIDE = Skipped("It lies outside the folders that you selected.", code="outside_folders")
LOOKS = 3  # at a file that changes while it is read, before it waits for a quieter time
_REASON = FileChanged.Reason
# A next life, and work that waited, keep the lane that they had.
_LANES = {_REASON.LISTED: BACKFILL, _REASON.CENSUS: BACKFILL, _REASON.CHANGED: FRESH, _REASON.ASKED: FRESH}


@functions_framework.http
@consumes(FileChanged, verify=verify_push_token)
def file_streamer(changed: FileChanged) -> None:
    """Stream one announced change."""
    heap.bound()
    stream(changed, settings(), database(), access().drive(changed.user_id))


def stream(changed: FileChanged, config: Settings, database: Database, drive: Drive) -> None:
    """Converge one file to what Drive says now."""
    files = Files(database, changed.user_id, changed.file_id, config, _REASON.Name(changed.reason).lower())
    ticket = files.ask(_LANES.get(changed.reason))
    drive = drive.in_lane(ticket.lane)
    try:
        with tracing.span("drive metadata", "CLIENT"):
            file = drive.file(changed.file_id, ticket.key)
        refusal = follow(file, files, drive) if file.is_shortcut and not file.trashed else without_text(file)
    except FileGone as gone:
        return files.bury(ticket, "gone", gone.reason)
    except (LongWait, ReconnectNeeded) as wait:
        return files.wait(ticket, wait)
    except Skipped as unreadable:
        return files.skip(ticket, unreadable)
    if file.trashed:
        return files.bury(ticket, "trashed", "The file is in the bin of Drive.")
    if refusal is not None:
        return files.skip(ticket, OUTSIDE if not file.is_folder and files.lies_outside(file) else refusal, file)
    job = files.claim(ticket, file, changed)
    if job is None:
        return None
    log.bind(job_id=job.job_id, lane=job.lane)
    with files.lease(job) as lease, tracing.span("drive read", "CLIENT", job_id=job.job_id, epoch=job.epoch) as span:
        life = Life(config, files, drive, file, job, lease, ticket.busy)
        try:
            life.read()
        finally:
            span.note(bytes=life.bytes_read, chunks=life.chunks)
    return None


def without_text(file: File) -> Skipped | None:
    """Why a file has no text of its own to read, or None when it may have."""
    if file.is_folder:
        return Skipped("A folder has no text of its own.", code="folder")
    sentence = why_not_exported(file)
    return None if sentence is None else Skipped(sentence, code="no_export")


def follow(shortcut: File, files: Files, drive: Drive) -> Skipped:
    """A shortcut has no text of its own. What it leads to is read under its own name, once, however many shortcuts
    lead there; one step only, so that none leads in a circle. Raises what Drive says of its target but `FileGone`."""
    by_itself = Skipped("A shortcut: the file it points to is read by itself.", code="shortcut")
    lost = Skipped("The file that this shortcut points to is gone, or is not shared with you.", code="shortcut_lost")
    if files.lies_outside(shortcut):
        return OUTSIDE
    if not shortcut.target_id or shortcut.target_id == shortcut.id:
        return lost
    if files.knows(shortcut.target_id):
        files.readmit(shortcut.target_id)
        return by_itself
    try:
        target = drive.file(shortcut.target_id, shortcut.target_resource_key)
    except FileGone:
        return lost
    if target.trashed:
        return lost
    if target.is_shortcut:
        return Skipped("A shortcut to another shortcut is not followed.", code="shortcut_twice")
    if target.is_folder:
        return Skipped(
            "A shortcut to a folder that is not among your files. Add it to your Drive if it should be found.",
            code="shortcut_folder",
        )
    files.found(target, shortcut.target_resource_key)
    return by_itself


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who asks Drive, by number: the newest one may write the answer. With what was known of the file before."""

    number: int
    key: str | None  # that a file shared by link is opened with
    lane: str
    busy: Mapping[str, float]  # services that are over their quota, for how many seconds
    waits_for: str | None  # the service for which the file waited last

    def wait(self, file: File) -> ServiceBusy | None:
        """Why the content need not be read now: nobody could understand it."""
        picture = file.mime_type.startswith("image/")
        return busy_for(self.busy, {VERTEX_AI, self.waits_for or VERTEX_AI, DOCUMENT_AI if picture else VERTEX_AI})


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job: from here on only the holder of `epoch` may write."""

    job_id: str
    epoch: int
    next_index: int
    after: dict[str, Any] | None
    bytes_before: int
    cut: str | None  # the bound at which an earlier life ended the text
    tail: str = ""  # the bytes that an earlier life saw last, by name: the next one compares them
    read_as: str = ""  # the rung of a native file's ladder on which an earlier life stood
    lane: str = FRESH


class Lease:
    """Renewed by its own thread while the work goes on; `check` raises `Superseded` once it is lost."""

    def __init__(self, files: Files, job: Job, config: Settings) -> None:
        self._files = files
        self._job = job
        self._every = config.lease_seconds / 3
        self._ends = time.monotonic() + config.life_seconds * 1.1  # a life lasts no longer, and so does its lease
        self._lost, self._over = threading.Event(), threading.Event()
        renew = partial(copy_context().run, self._renew)  # its lines are this file's, too
        self._thread = threading.Thread(target=renew, name=f"lease-{job.job_id[:8]}", daemon=True)

    def take(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def check(self) -> None:
        """Raises `Superseded` when the lease is lost."""
        if self._lost.is_set():
            raise Superseded("Another life reads this file now, or a newer revision is wanted.")

    def end(self) -> None:
        """Renew no more. Safe to repeat."""
        self._over.set()
        self._thread.join(timeout=30)

    def let_go(self) -> None:
        """Whoever comes next need not wait until the lease ends by itself."""
        self.end()
        self._files.fenced("let_go", self._job)

    def _renew(self) -> None:
        try:
            while not self._over.wait(self._every) and time.monotonic() < self._ends:
                if not self._files.fenced("keep_streaming", self._job):
                    return self._lost.set()
        except DrivestreamError as error:
            # The next fenced write finds out by itself whether the lease still stands.
            log.event("lease not renewed", "WARNING", code=error.code)
        return None


class Files:
    """What Postgres knows about one file of one person. `why` is what had us look at it, for the audit log."""

    def __init__(self, database: Database, user_id: str, file_id: str, config: Settings, why: str) -> None:
        self._database = database
        self._config = config
        self.user_id = user_id
        self.file_id = file_id
        self._why = why
        self._target: str | None = None  # where the file led, as a shortcut, before Drive was asked
        self._settled: dict[str, Any] | None = None  # what became of the file in the transaction that is going on

    def _write(self, story: Callable[[Transaction], T]) -> T:
        """One transaction; what became of the file in it is said once, when it is so."""

        def anew(tx: Transaction) -> T:
            self._settled = None
            return story(tx)

        result = self._database.run_transaction(self.user_id, anew)
        if self._settled is not None:
            log.event("file", **self._settled)
        return result

    def ask(self, lane: str | None = None) -> Ticket:
        """Take a ticket before Drive is asked. Work without a `lane` keeps its own. Raises `Rejected` when the person
        is leaving."""

        def story(tx: Transaction) -> Ticket:
            hold(tx)
            row = tx.row("take_ticket", file_id=self.file_id)
            assert row is not None
            self._target = row["shortcut_target_id"]
            busy = {service: float(seconds) for service, seconds in (row["busy"] or {}).items()}
            return Ticket(int(row["ask"]), row["resource_key"], lane or row["lane"] or BACKFILL, busy, row["waits_for"])

        return self._database.run_transaction(self.user_id, story)

    def knows(self, file_id: str) -> bool:
        """Whether another file is one of this person's that is read by itself."""
        return bool(
            self._database.run_transaction(self.user_id, lambda tx: tx.rows("live_files_of", file_ids=[file_id]))
        )

    def lies_outside(self, file: File) -> bool:
        """Whether the person selected folders, and none in which this file lies."""
        row = self._database.run_transaction(
            self.user_id,
            lambda tx: tx.row("lies_outside", file_id=file.id, drive_id=file.drive_id, parents=list(file.parents)),
        )
        return bool(row and row["outside"])

    def readmit(self, file_id: str) -> None:
        """A shortcut inside the selected folders leads to this file: read it although it lies outside of them."""

        def story(tx: Transaction) -> bool:
            hold(tx)
            return tx.row("readmit", file_id=file_id) is not None

        if self._database.run_transaction(self.user_id, story):
            self._say_found(file_id)

    def found(self, target: File, resource_key: str | None) -> None:
        """A shortcut led to a file that is not among the person's: have it read as one of them."""

        def story(tx: Transaction) -> None:
            hold(tx)
            tx.row(
                "note_target",
                file_id=target.id,
                title=target.name,
                mime_type=target.mime_type,
                resource_key=resource_key or target.resource_key,
            )

        self._database.run_transaction(self.user_id, story)
        self._say_found(target.id)

    def _say_found(self, file_id: str) -> None:
        outbox = Outbox(self._config)
        listed = self._why == "listed"
        reason = _REASON.LISTED if listed else _REASON.CHANGED
        found = FileChanged(user_id=self.user_id, file_id=file_id, reason=reason)
        outbox.publish(FILE_BACKFILL if listed else FILE_CHANGES, found)
        outbox.confirm()

    def bury(self, ticket: Ticket, code: str, reason: str) -> None:
        """Drive no longer shows the file: out of search in this transaction."""

        def story(tx: Transaction) -> None:
            hold(tx)
            tx.run("forget_unseen", file_id=self.file_id, ticket=ticket.number)
            if tx.row("tombstone", file_id=self.file_id, ticket=ticket.number, code=code, reason=reason):
                tx.run("note_event", file_id=self.file_id, event="deleted", detail=code)
                self._let_targets_go(tx)
                self._settled = {"state": "deleted", "code": code}

        self._write(story)

    def wait(self, ticket: Ticket, why: Unavailable) -> None:
        """Write the work down as waiting; the caretaker, or a new consent, puts it back."""
        self._mark(ticket, "waiting", why, _wait_seconds(why))

    def skip(self, ticket: Ticket, why: Skipped, file: File | None = None) -> None:
        """The file has no text for us, and says why."""
        self._mark(ticket, "folder" if file is not None and file.is_folder else "skipped", why, None, file)

    def _mark(
        self, ticket: Ticket, state: str, why: DrivestreamError, seconds: float | None, file: File | None = None
    ) -> None:
        def story(tx: Transaction) -> None:
            hold(tx)
            if file is not None:
                tx.row("record_answer", file=json.dumps(file.as_row()), file_id=self.file_id, ticket=ticket.number)
                self._let_targets_go(tx)  # a shortcut may lead elsewhere than before
            self._mark_in(tx, ticket, state, why, seconds)

        self._write(story)

    def _mark_in(
        self, tx: Transaction, ticket: Ticket, state: str, why: DrivestreamError, seconds: float | None
    ) -> None:
        marked = tx.row(
            "mark_file",
            file_id=self.file_id,
            ticket=ticket.number,
            state=state,
            code=_code(why),
            reason=why.reason,
            retry_after=seconds,
            lane=ticket.lane,
            service=_service(why),
        )
        if marked and state != "folder":
            tx.run("note_event", file_id=self.file_id, event=state, detail=why.reason)
            self._settled = {"state": state, "code": _code(why)}

    def _let_targets_go(self, tx: Transaction) -> None:
        """What only a shortcut kept goes with the shortcut: out of the person's files, or out of the selection."""
        tx.rows("forget_strays")
        if self._target is not None:
            tx.row("leave_selection", file_id=self._target)

    def claim(self, ticket: Ticket, file: File, changed: FileChanged) -> Job | None:
        """Record what Drive said and take the job, or None when there is nothing (more) to do."""
        name = job_id(self.user_id, self.file_id, file.content_key, self._config.pipeline)
        asked = changed.reason in (_REASON.ASKED, _REASON.WAITED)

        def story(tx: Transaction) -> Job | None:
            hold(tx)
            tx.row("lock_caps")  # before any file: whoever lifts caps goes the same way, and nobody waits in a circle
            answer = tx.row("record_answer", file=json.dumps(file.as_row()), file_id=self.file_id, ticket=ticket.number)
            if answer is None:
                raise Superseded("Somebody asked Drive about this file after us.")
            if answer["outside"]:
                if answer["reason_code"] != OUTSIDE.code:
                    tx.run("note_event", file_id=self.file_id, event="skipped", detail=OUTSIDE.reason)
                    self._settled = {"state": "skipped", "code": OUTSIDE.code}
                tx.row(
                    "mark_file",
                    file_id=self.file_id,
                    ticket=ticket.number,
                    state="skipped",
                    code=OUTSIDE.code,
                    reason=OUTSIDE.reason,
                    retry_after=None,
                    lane=None,
                    service=None,
                )
                return None
            if answer["held"]:
                self._hold_back(tx, ticket, answer["state"])
                return None
            if tx.row("restore_job", job_id=name, file_id=self.file_id, ticket=ticket.number):
                if answer["state"] == "deleted":
                    tx.run("note_event", file_id=self.file_id, event="restored", detail=None)
                self._settled = {"state": "unchanged"}
                return None
            if answer["state"] == "skipped" and str(answer["wanted_job"]) == name and not asked:
                return None
            wait = ticket.wait(file)
            if wait is not None:
                self._mark_in(tx, ticket, "waiting", wait, _wait_seconds(wait))
                return None
            if changed.job_id and changed.job_id != name:
                log.event("the file changed between two lives", job_id=changed.job_id)
            tx.row("want_job", job_id=name, file_id=self.file_id, ticket=ticket.number)
            claimed = tx.row(
                "claim_job",
                job_id=name,
                file_id=self.file_id,
                content_key=file.content_key,
                revision=file.head_revision_id or "",
                pipeline_version=self._config.pipeline,
                lane=_LANES.get(changed.reason),
                lease_seconds=self._config.lease_seconds,
                epoch=changed.epoch if changed.job_id == name else 0,
            )
            if claimed is None:
                return None
            point = claimed["checkpoint"] or {}
            left = max(1, (file.size or 0) - point.get("bytes", 0))
            # Without tokens nothing of it would be understood.
            refused = reserve(tx, name, READING, Wanted(bytes=left, tokens=1), self._config.lease_seconds)
            if refused is not None:
                self._end(tx, name, int(claimed["epoch"]), refused)
                return None
            if claimed["attempts"] == 1:
                tx.run("note_event", file_id=self.file_id, event="reading", detail=None)
            return Job(
                name,
                int(claimed["epoch"]),
                point.get("next_index", 0),
                point.get("after"),
                point.get("bytes", 0),
                point.get("cut"),
                point.get("tail", ""),
                point.get("read_as", ""),
                claimed["lane"],
            )

        return self._write(story)

    def _hold_back(self, tx: Transaction, ticket: Ticket, state: str) -> None:
        """The person has not said yet that reading may begin. When they do, what is queued is put to work."""
        if state in ("deleted", "waiting", "failed"):
            fields = {"file_id": self.file_id, "ticket": ticket.number, "code": None, "reason": None}
            tx.row("mark_file", state="queued", retry_after=None, lane=ticket.lane, service=None, **fields)

    @contextmanager
    def lease(self, job: Job) -> Iterator[Lease]:
        """Hold the job while the block runs, and no longer than a life may last. A block that fails lets go of it, so
        that the message finds the job free when it is delivered again."""
        lease = Lease(self, job, self._config)
        lease.take()
        try:
            yield lease
        except Superseded:
            raise
        except BaseException:
            with suppress(DrivestreamError):  # what went wrong first is what the broker is told
                lease.let_go()
            raise
        finally:
            lease.end()

    def fenced(self, statement: str, job: Job, **fields: Any) -> bool:
        """One write of the holder's. False when the epoch is stale or the job is not wanted any more."""
        if statement in ("keep_streaming", "save_checkpoint"):
            fields["lease_seconds"] = self._config.lease_seconds

        def story(tx: Transaction) -> bool:
            hold(tx)
            return tx.row(statement, job_id=job.job_id, epoch=job.epoch, **fields) is not None

        return self._database.run_transaction(self.user_id, story)

    def finish(self, job: Job, file: File, source: DriveSource, chunks: int, bytes_read: int, cut: str | None) -> None:
        """The file is read to its end. Whoever is last, we or the last chunk, shows it."""

        def story(tx: Transaction) -> None:
            hold(tx)
            finished = tx.row(
                "finish_streaming",
                job_id=job.job_id,
                epoch=job.epoch,
                expected_chunks=chunks,
                bytes_read=bytes_read,
                integrity=source.integrity,
                truncated_at=cut,
            )
            if finished is None:
                raise Superseded("Another life reads this file now.")
            tx.run("note_event", file_id=self.file_id, event="read", detail=f"{bytes_read} bytes, {chunks} chunks")
            self._settled = tx.row("finish_job", job_id=job.job_id)
            self._account(tx, job, file, source, "ok")

        with tracing.span("write end", "CLIENT", chunks=chunks):
            self._write(story)

    def end(self, job: Job, file: File, source: DriveSource | None, why: DrivestreamError) -> None:
        """The file ends, or waits, without its text."""

        def story(tx: Transaction) -> None:
            hold(tx)
            self._end(tx, job.job_id, job.epoch, why, source.bytes_read if source else 0)
            if source is not None:
                self._account(tx, job, file, source, why.code)

        self._write(story)

    def _end(self, tx: Transaction, job_id: str, epoch: int, why: DrivestreamError, bytes_read: int = 0) -> None:
        seconds = _wait_seconds(why) if isinstance(why, Unavailable) else None
        state = "skipped" if seconds is None else "waiting"
        ended = tx.row(
            "end_job",
            job_id=job_id,
            epoch=epoch,
            state=state,
            code=_code(why),
            reason=why.reason,
            retry_after=seconds,
            bytes_read=bytes_read,
            service=_service(why),
        )
        if ended:
            tx.run("note_event", file_id=self.file_id, event=state, detail=why.reason)
            self._settled = {"state": state, "code": _code(why), "bytes": bytes_read}

    def happened(self, event: str) -> int:
        """Note that something happened to the file; how often it did lately."""

        def story(tx: Transaction) -> int:
            hold(tx)
            tx.run("note_event", file_id=self.file_id, event=event, detail=None)
            row = tx.row("recent_events", file_id=self.file_id, event=event)
            return int(row["times"]) if row else 0

        return self._database.run_transaction(self.user_id, story)

    def account(self, job: Job, file: File, source: DriveSource, outcome: str) -> None:
        """What a life read that ends without an end of the file."""

        def story(tx: Transaction) -> None:
            hold(tx)
            self._account(tx, job, file, source, outcome)

        self._database.run_transaction(self.user_id, story)

    def _account(self, tx: Transaction, job: Job, file: File, source: DriveSource, outcome: str) -> None:
        tx.run(
            "note_audit",
            action="read",
            file_id=self.file_id,
            revision=file.head_revision_id or file.content_key,
            bytes=source.bytes_read,
            why=self._why,
            outcome=outcome,
        )
        tx.run(
            "add_cost",
            file_id=self.file_id,
            drive_units=READ + DOWNLOAD * source.requests,
            drive_bytes=source.bytes_read,
            **asdict(Spent()),
        )
        settle(tx, job.job_id, READING)


class Life:
    """One life of reading one file: until its end, or until the clock says to hand over."""

    def __init__(
        self,
        config: Settings,
        files: Files,
        drive: Drive,
        file: File,
        job: Job,
        lease: Lease,
        busy: Mapping[str, float],
    ) -> None:
        self._config = config
        self._files = files
        self._drive = drive
        self._file = file
        self._job = job
        self._lease = lease
        self._busy = busy
        self._outbox = Outbox(config)
        self._ends = time.monotonic() + config.life_seconds
        self._next_index = job.next_index
        self._cut = job.cut
        self._unsaved = 0
        self._source: DriveSource | None = None
        self._accounted = False  # what was read stands in the audit log

    def read(self) -> None:
        """Publish what is left of the file. Every ending is a state with a reason, or another life; whatever was read
        leaves one row in the audit log."""
        try:
            self._read()
        except BaseException as fault:
            # What went wrong is what the broker is told, whether or not it could be written down.
            with suppress(DrivestreamError):
                self._account(fault.code if isinstance(fault, DrivestreamError) else "failed")
            raise

    @property
    def bytes_read(self) -> int:
        """How much this life has read from Drive."""
        return self._source.bytes_read if self._source else 0

    @property
    def chunks(self) -> int:
        """How many chunks this life has published."""
        return self._next_index - self._job.next_index

    def _read(self) -> None:
        try:
            self._source = self._open()
            self._publish(self._source)
        except (FileGone, Changed) as other:
            # Gone or changed while it was being read: another look at Drive settles it.
            self._look_again(other)
        except ChecksumMismatch as mismatch:
            self._read_anew(mismatch)
        except (Skipped, LongWait, ReconnectNeeded) as why:
            self._end(why)

    def _open(self) -> DriveSource:
        ladder, tail = exports_of(self._file), self._job.tail
        if not ladder:
            return self._drive.open(self._file, tail=tail)
        if self._job.read_as in ladder:
            ladder = ladder[ladder.index(self._job.read_as) :]
        return self._drive.export(self._file, ladder, tail=tail)

    def _end(self, why: DrivestreamError) -> None:
        self._files.end(self._job, self._file, self._source, why)
        self._accounted = True

    def _account(self, outcome: str) -> None:
        if self._source is not None and not self._accounted:
            self._files.account(self._job, self._file, self._source, outcome)
            self._accounted = True

    def _publish(self, source: DriveSource) -> None:
        limits = Limits.of(self._config)
        parts = read(source, limits, self._job.after)
        after = self._job.after
        for chunk in pack(parts, first_index=self._job.next_index):
            self._lease.check()
            message = file_chunk(chunk, self._job.job_id, self._files.user_id, self._file)
            self._check_service(message)
            self._unsaved += self._outbox.publish(FILE_CHUNKS, message, lane=self._lane_of(message))
            self._next_index, after, self._cut = chunk.index + 1, dict(chunk.after), chunk.truncated or self._cut
            if self._unsaved >= self._config.window_bytes or time.monotonic() > self._ends:
                self._save(source, after)
            if time.monotonic() > self._ends:
                return self._hand_over()
        self._outbox.confirm()
        self._lease.check()
        source.verify()
        self._files.finish(self._job, self._file, source, self._next_index, self._bytes(source), self._cut)
        self._accounted = True
        return None

    def _check_service(self, chunk: FileChunk) -> None:
        """A PDF whose pages turn out to be pictures waits, too, while nobody can recognise them."""
        wait = busy_for(self._busy, () if chunk.kind == FileChunk.Kind.TEXT else (DOCUMENT_AI,))
        if wait is not None:
            raise wait

    def _save(self, source: DriveSource, after: dict[str, Any] | None) -> None:
        self._outbox.confirm()
        point = {
            "next_index": self._next_index,
            "after": after,
            "bytes": self._bytes(source),
            "cut": self._cut,
            "tail": source.tail(),
            "read_as": source.mime_type,
        }
        if not self._files.fenced(
            "save_checkpoint", self._job, checkpoint=json.dumps(point), bytes_read=self._bytes(source)
        ):
            raise Superseded("Another life reads this file now, or a newer revision is wanted.")
        self._unsaved = 0

    def _bytes(self, source: DriveSource) -> int:
        return self._job.bytes_before + source.bytes_read

    def _hand_over(self) -> None:
        """Publish the next life: job and epoch only. Whoever claims it goes on from the checkpoint."""
        self._lease.let_go()
        self._account("continued")
        self._say(
            FileChanged(
                user_id=self._files.user_id,
                file_id=self._file.id,
                reason=_REASON.CONTINUED,
                job_id=self._job.job_id,
                epoch=self._job.epoch,
            )
        )
        log.event("handed over", next_index=self._next_index)

    def _look_again(self, other: FileGone | Changed) -> None:
        """The file changed under us: the new revision is begun, or, where that happens again and again, waited for."""
        log.event("changed while being read")
        if self._files.happened("changed") > LOOKS:
            wait = LongWait("This file changes faster than it can be read. It is tried again later.", code="changing")
            return self._end(wait)
        self._lease.let_go()
        self._account(other.code)
        return self._say(FileChanged(user_id=self._files.user_id, file_id=self._file.id, reason=_REASON.CHANGED))

    def _read_anew(self, mismatch: ChecksumMismatch) -> None:
        """Wrong bytes came: nothing of them stays. They are asked for once more, and then later."""
        self._files.fenced("unread_job", self._job)
        if self._files.happened("mismatch") == 1:
            raise mismatch
        self._end(LongWait("What Drive sends does not have the checksum that it states.", code=mismatch.code))

    def _say(self, changed: FileChanged) -> None:
        fresh = self._job.lane == FRESH or changed.reason == _REASON.CHANGED
        self._outbox.publish(FILE_CHANGES if fresh else FILE_BACKFILL, changed)
        self._outbox.confirm()

    def _lane_of(self, chunk: FileChunk) -> str:
        """Of a first sync, what must be recognised waits for what has its text already."""
        if self._job.lane == FRESH:
            return FRESH
        return BACKFILL if chunk.kind == FileChunk.Kind.TEXT else OCR


def _wait_seconds(why: Unavailable) -> float:
    return RECONNECT_SECONDS if isinstance(why, ReconnectNeeded) else why.retry_after or LONG_WAIT_SECONDS


def _service(why: DrivestreamError) -> str | None:
    return why.service if isinstance(why, ServiceBusy) else None


def _code(why: DrivestreamError) -> str:
    # However Google worded it: a new consent looks for what waited for one.
    return ReconnectNeeded.code if isinstance(why, ReconnectNeeded) else why.code


@cache
def database() -> Database:
    """Files, jobs and the audit log."""
    return Database(settings(), "drivestream_worker")


@cache
def access() -> Access:
    """Drives of people."""
    return Access(settings(), database())
