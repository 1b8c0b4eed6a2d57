"""What arrives twice, late, shuffled or never, and what is away for a while: the rows at the end are the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from typing import Any, cast

import pytest

from functions.file_streamer.main import Files, Job
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.file_chunk_pb2 import FileChunk
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared.adapters.access import Access
from shared.adapters.drive import DriveSource
from shared.adapters.edge import forget_access_token
from shared.domain.errors import LongWait, Skipped, Superseded
from shared.domain.files import File
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES, FILE_CHUNKS, SYNC_REQUESTS
from tests.contract.pdfs import scan_pdf
from tests.integration.pipeline import Person, Pipeline, long_text, pipeline, stripes, wait_for

__all__ = ["pipeline", "stripes"]
pytestmark = pytest.mark.xdist_group("pipeline")

REASON = FileChanged.Reason
WORKERS = ("change-lister", "file-streamer", "file-streamer-backfill", "ai-processor")
SOME: dict[str, str | bytes] = {
    "a.md": "# Trees\n\nThe medlar blossoms late.\n\n# Shrubs\n\nThe elder blossoms early.\n",
    "b.csv": "tree,year\nquince,1974\nmedlar,1981\n",
    "c.txt": "The gooseberries are ripe.\n",
    "d.html": "<h1>Pears</h1><p>Conference pears keep until January.</p>",
    "E.gdoc": "# Meeting\n\nWe agreed on walnuts.\n",
    "f.txt": b"",
    "g.bin": bytes(range(256)) * 16,
}


# Delivery -------------------------------------------------------------------------------------------------------------


def test_messages_that_come_many_times_and_shuffled_leave_the_rows_of_a_quiet_run(pipeline: Pipeline) -> None:
    """Pub/Sub promises at least once, and no order. Every effect must be one effect, and be paid for once."""
    texts = pipeline.vertex.texts
    quiet = pipeline.person(SOME)
    paid = pipeline.vertex.texts - texts
    for name in WORKERS:
        # What is billed comes ten times, all else three times.
        pipeline.pubsub.faults.change(name, duplicate=9 if name == "ai-processor" else 2, shuffle=True)

    texts = pipeline.vertex.texts
    noisy = pipeline.person(SOME)

    assert pipeline.passages(noisy) == pipeline.passages(quiet)
    assert pipeline.states(noisy) == pipeline.states(quiet)
    assert pipeline.vertex.texts - texts == paid
    for table in ("gdrive_chunks", "gdrive_jobs", "memories", "entities", "relations"):
        assert pipeline.count(table, noisy) == pipeline.count(table, quiet), table
    assert pipeline.reads(noisy) == pipeline.reads(quiet)


def test_every_old_message_again_in_any_order_changes_nothing(pipeline: Pipeline) -> None:
    """A backlog that is delivered once more, days later, finds its work done."""
    for topic, kind in KINDS.items():
        pipeline.messages(topic, Person("", pipeline.drive), kind)
    person = pipeline.person(SOME)
    person.put("c.txt", "The gooseberries are eaten.\n")
    pipeline.sync(person)
    said = [(topic, message) for topic, kind in KINDS.items() for message in pipeline.messages(topic, person, kind)]
    passages, reads, texts = pipeline.passages(person), pipeline.reads(person), pipeline.vertex.texts

    random.Random(7).shuffle(said)
    for topic, message in said * 2:
        pipeline.say(topic, message)
    pipeline.settle()

    assert len(said) > 2 * len(SOME)
    assert (pipeline.passages(person), pipeline.reads(person), pipeline.vertex.texts) == (passages, reads, texts)


KINDS: dict[str, Callable[[], Any]] = {
    SYNC_REQUESTS: SyncRequested,
    FILE_CHANGES: FileChanged,
    FILE_BACKFILL: FileChanged,
    FILE_CHUNKS: FileChunk,
}


def test_a_life_with_a_stale_epoch_reads_nothing(pipeline: Pipeline) -> None:
    """A function that timed out keeps running: what it says after that must count for nothing."""
    with pipeline.setting(LIFE_SECONDS="0"):
        pipeline.pubsub.faults.hold("file-streamer")
        person = pipeline.person({"book.txt": long_text("delta", 600_000)})
        job_id, epoch = job_of(pipeline, person)
        next_life = FileChanged(
            user_id=person.user_id,
            file_id=person.id_of("book.txt"),
            reason=REASON.CONTINUED,
            job_id=job_id,
            epoch=epoch,
        )
        assert pipeline.push("file_streamer", next_life).status_code == 204
        before = pipeline.google.faults.calls["files.media"], job_of(pipeline, person)
        stale = [pipeline.push("file_streamer", next_life).status_code for _ in range(3)]
        after = pipeline.google.faults.calls["files.media"], job_of(pipeline, person)
        pipeline.pubsub.faults.release("file-streamer")
        pipeline.settle()

    assert stale == [204, 204, 204]
    assert after == before
    assert pipeline.states(person) == {"book.txt": "indexed"}
    assert pipeline.count("gdrive_chunks", person) == 2


def test_a_chunk_that_comes_again_before_its_file_is_whole_costs_nothing(pipeline: Pipeline) -> None:
    """Its name is its receipt: it is looked up before anything is paid for."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    with pipeline.setting(LIFE_SECONDS="0"):
        pipeline.pubsub.faults.hold("file-streamer")
        person = pipeline.person({"a.md": "Paid for once.\n"})
    (chunk,) = pipeline.messages(FILE_CHUNKS, person, FileChunk)
    calls = pipeline.vertex.calls

    again = [pipeline.push("ai_processor", chunk).status_code for _ in range(3)]

    assert again == [204] * 3
    assert pipeline.vertex.calls == calls > 0
    assert pipeline.count("gdrive_chunks", person) == 1


def test_a_zombie_cannot_write(pipeline: Pipeline) -> None:
    """The old holder of a lease meets the fence in every one of its writes."""
    pipeline.pubsub.faults.hold("file-streamer-backfill")
    person = pipeline.person({"a.md": "Only once.\n"})
    zombie, files = claim(pipeline, person, "a.md")
    pipeline.sql(f"UPDATE gdrive_jobs SET lease_until = now() WHERE job_id = '{zombie.job_id}'")
    pipeline.hold_lanes("ai-processor")
    pipeline.pubsub.faults.release("file-streamer-backfill")
    pipeline.settle()
    before = pipeline.sql(f"SELECT * FROM gdrive_jobs WHERE job_id = '{zombie.job_id}'")

    wrote = [
        files.fenced("keep_streaming", zombie),
        files.fenced("save_checkpoint", zombie, checkpoint="{}", bytes_read=1),
        files.fenced("let_go", zombie),
    ]
    with pytest.raises(Superseded):
        files.finish(zombie, File("x", "a.md", "text/plain"), nothing_read(), 0, 0, None)

    assert wrote == [False, False, False]
    assert pipeline.sql(f"SELECT * FROM gdrive_jobs WHERE job_id = '{zombie.job_id}'") == before
    pipeline.release_lanes("ai-processor")
    pipeline.settle()
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_two_workers_that_race_for_a_file_read_it_once(pipeline: Pipeline) -> None:
    """The same file announced by a listing and by a change is one file."""
    pipeline.pubsub.faults.hold("file-streamer-backfill")
    person = pipeline.person({"a.md": "Only once.\n"})
    pipeline.google.faults.slow("files.media", 0.3, times=None)
    before = pipeline.google.faults.calls["files.media"]
    changed = FileChanged(user_id=person.user_id, file_id=person.id_of("a.md"), reason=REASON.CHANGED)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: pipeline.push("file_streamer", changed).status_code, range(4)))
    pipeline.pubsub.faults.release("file-streamer-backfill")
    pipeline.settle()

    assert answers == [204] * 4
    assert pipeline.google.faults.calls["files.media"] == before + 1
    assert pipeline.reads(person) == 1
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_the_file_of_a_worker_that_died_is_picked_up_when_its_lease_is_over(pipeline: Pipeline) -> None:
    """An instance may vanish at any moment; nobody may have to notice by hand."""
    pipeline.pubsub.faults.hold("file-streamer-backfill")
    person = pipeline.person({"a.md": "The lease ends by itself.\n"})
    with pipeline.setting(LEASE_SECONDS="0.5"):
        job, _ = claim(pipeline, person, "a.md")
    pipeline.pubsub.faults.release("file-streamer-backfill")
    pipeline.settle()
    while_leased = pipeline.states(person)

    wait_for(lambda: pipeline.sql(f"SELECT lease_until <= now() FROM gdrive_jobs WHERE job_id = '{job.job_id}'")[0][0])
    pipeline.tick("reap")

    assert while_leased == {"a.md": "processing"}
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_a_life_that_failed_does_not_keep_its_file_from_the_next_delivery(pipeline: Pipeline) -> None:
    """Drive answers 500 for a minute: the redelivered message must find the job free, not leased to its own ghost."""
    pipeline.google.faults.fail("files.media", 500, "backendError", times=8)

    person = pipeline.person({"a.md": "Backed off, came back.\n"})

    assert pipeline.states(person) == {"a.md": "indexed"}


def one_life(pipeline: Pipeline, person: Person, name: str) -> None:
    """The first life of reading a file, and what comes of it; its next one is held."""
    changed = FileChanged(user_id=person.user_id, file_id=person.id_of(name), reason=FileChanged.Reason.LISTED)
    assert pipeline.push("file_streamer", changed).status_code == 204
    pipeline.settle()


def test_the_last_chunk_and_the_end_of_the_stream_finish_a_file_in_either_order(pipeline: Pipeline) -> None:
    """Whoever is last shows the file. If each took the other for the last one, it would never be shown."""
    pipeline.hold_lanes("ai-processor")
    end_first = pipeline.person({"a.md": "End first.\n"})
    before = pipeline.states(end_first)
    pipeline.release_lanes("ai-processor")
    pipeline.settle()
    with pipeline.setting(LIFE_SECONDS="0"):
        pipeline.hold_lanes("file-streamer")
        chunk_first = pipeline.person({"a.md": "Chunk first.\n"})
        one_life(pipeline, chunk_first, "a.md")
        chunks = pipeline.count("gdrive_chunks", chunk_first)
        between = pipeline.states(chunk_first)
        pipeline.release_lanes("file-streamer")
        pipeline.settle()

    assert (before, between, chunks) == ({"a.md": "processing"}, {"a.md": "processing"}, 1)
    assert pipeline.states(end_first) == pipeline.states(chunk_first) == {"a.md": "indexed"}


@pytest.mark.parametrize("first", ["chunk", "end"])
def test_the_last_chunk_and_the_end_of_the_stream_may_commit_together(pipeline: Pipeline, first: str) -> None:
    """Both wait for the same row at once; the one that comes second must see what the first one wrote."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    with pipeline.setting(LIFE_SECONDS="0"):
        pipeline.hold_lanes("file-streamer")
        pipeline.hold_lanes("ai-processor")
        person = pipeline.person({"a.md": "Together.\n"})
        one_life(pipeline, person, "a.md")
    (chunk,) = pipeline.messages(FILE_CHUNKS, person, FileChunk)
    job_id, epoch = job_of(pipeline, person)
    files = Files(pipeline.speaking_as("worker"), person.user_id, person.id_of("a.md"), pipeline.settings, "listed")
    job = Job(job_id, epoch, 1, None, 0, None)
    steps: dict[str, Callable[[], Any]] = {
        "chunk": lambda: pipeline.push("ai_processor", chunk).status_code,
        "end": lambda: files.finish(job, File("x", "a.md", "text/markdown"), nothing_read(), 1, 0, None),
    }

    with pipeline.connection() as lock, ThreadPoolExecutor(2) as pool:
        lock.execute_simple(f"BEGIN; SELECT 1 FROM gdrive_jobs WHERE job_id = '{job_id}' FOR UPDATE")
        for waiting, name in enumerate(sorted(steps, key=lambda name: name != first), 1):
            pool.submit(steps[name])
            wait_for(lambda waiting=waiting: blocked(pipeline) >= waiting)  # type: ignore[misc]
        lock.execute_simple("COMMIT")

    assert pipeline.states(person) == {"a.md": "indexed"}
    assert pipeline.sql(f"SELECT finished_chunks FROM gdrive_jobs WHERE job_id = '{job_id}'") == [[1]]
    pipeline.pubsub.faults.clear()


# Dead letters ---------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_five_times_is_failed_with_its_next_try(pipeline: Pipeline) -> None:
    """A message that is given up must not leave a state that lies."""
    person = pipeline.person()
    pipeline.google.faults.fail("files.get", 500, "backendError", times=None)

    person.put("a.md", "Sooner or later.\n")
    pipeline.sync(person)
    wait_for(lambda: pipeline.states(person) == {"a.md": "failed"})
    failed = pipeline.files(person)["a.md"]
    pipeline.heal()
    make_due(pipeline, person)
    pipeline.tick("reap")

    assert failed["next_try"] is not None
    assert failed["reason"].endswith(".")
    assert pipeline.states(person) == {"a.md": "indexed"}
    assert pipeline.files(person)["a.md"]["next_try"] is None


def test_a_dead_chunk_fails_its_file_and_a_next_try_pays_for_what_is_missing_only(pipeline: Pipeline) -> None:
    """Of a book in two chunks one was given up; the other one is not embedded again."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    with pipeline.setting(ENTITIES="off"):
        pipeline.hold_lanes("ai-processor")
        person = pipeline.person({"book.txt": long_text("delta", 600_000)})
        first, dead = pipeline.messages(FILE_CHUNKS, person, FileChunk)
        assert pipeline.push("ai_processor", first).status_code == 204
        marks = {"CloudPubSubDeadLetterSourceSubscription": "ai-processor"}
        assert pipeline.push("channel_renewer", dead, attributes=marks).status_code == 204
        buried = pipeline.states(person)
        texts = pipeline.vertex.texts
        pipeline.release_lanes("ai-processor")
        pipeline.settle()
        make_due(pipeline, person)
        pipeline.tick("reap")

    assert buried == {"book.txt": "failed"}
    assert pipeline.states(person) == {"book.txt": "indexed"}
    passages = pipeline.sql(f"SELECT passages FROM gdrive_chunks WHERE job_id = '{dead.job_id}' ORDER BY index")
    assert pipeline.vertex.texts - texts == passages[1][0]


def test_the_dead_chunk_of_an_old_revision_says_nothing_about_the_new_one(pipeline: Pipeline) -> None:
    """Otherwise a file that is fine would be called failed."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person({"a.md": "First.\n"})
    (old,) = pipeline.messages(FILE_CHUNKS, person, FileChunk)
    person.put("a.md", "Second.\n")
    pipeline.sync(person)

    marks = {"CloudPubSubDeadLetterSourceSubscription": "ai-processor"}
    pipeline.push("channel_renewer", old, attributes=marks)

    assert pipeline.states(person) == {"a.md": "processing"}
    pipeline.release_lanes("ai-processor")
    pipeline.settle()
    assert pipeline.text(person, "a.md") == "Second."


def test_a_dead_letter_that_is_no_message_ends_where_it_is(pipeline: Pipeline) -> None:
    """Nobody buries the dead letters' own dead: one that could not be handled would come back for ever."""
    for data in (b"\xff\xff garbage", FileChunk(index=3).SerializeToString()):
        for source in ("ai-processor", "file-streamer", "change-lister", "unknown"):
            marks = {"CloudPubSubDeadLetterSourceSubscription": source}
            assert pipeline.push("channel_renewer", data, attributes=marks).status_code == 204


# Waiting --------------------------------------------------------------------------------------------------------------


def test_a_used_up_download_quota_is_waited_for(pipeline: Pipeline) -> None:
    """Waiting is a state with a time, not a failure, and no message is redelivered for hours."""
    pipeline.google.faults.fail("files.media", 403, "downloadQuotaExceeded", times=None)

    person = pipeline.person({"a.md": "Tomorrow is another day.\n"})

    waiting = pipeline.files(person)["a.md"]
    assert (waiting["state"], waiting["reason_code"]) == ("waiting", "downloadQuotaExceeded")
    assert waiting["next_try"] is not None
    pipeline.heal()
    pipeline.tick("reap")
    assert pipeline.states(person) == {"a.md": "waiting"}, "not before its time"
    make_due(pipeline, person)
    pipeline.tick("reap")
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_a_quota_that_ends_in_the_middle_of_a_file_loses_none_of_its_chunks(pipeline: Pipeline) -> None:
    """What was published before the wait is understood during it; the next life goes on behind it."""
    text = long_text("delta", 900_000)
    with pipeline.setting(ENTITIES="off", WINDOW_BYTES=200_000):
        whole = pipeline.person({"book.txt": text})
        pipeline.hold_lanes("ai-processor")
        pipeline.google.faults.cut(750_000)
        pipeline.google.faults.fail("files.media", 403, "downloadQuotaExceeded", skip=1)
        person = pipeline.person({"book.txt": text})
        waiting, requests = pipeline.states(person), pipeline.google.faults.media_bytes
        pipeline.release_lanes("ai-processor")
        pipeline.settle()
        during = pipeline.count("gdrive_chunks", person)
        make_due(pipeline, person)
        pipeline.tick("reap")

    assert waiting == {"book.txt": "waiting"}
    assert during == 1
    assert pipeline.states(person) == {"book.txt": "indexed"}
    assert pipeline.passages(person) == pipeline.passages(whole)
    assert pipeline.google.faults.media_bytes - requests < len(text), "what was read before the wait is not read again"


def test_a_used_up_model_quota_is_waited_for(pipeline: Pipeline) -> None:
    """429 for minutes must not end in a dead letter."""
    pipeline.vertex.faults.fail_next(1000, "RESOURCE_EXHAUSTED")

    person = pipeline.person({"a.md": "Patience is a herb.\n"})

    waiting = pipeline.files(person)["a.md"]
    assert (waiting["state"], waiting["reason_code"]) == ("waiting", "quota")
    assert waiting["next_try"] is not None
    pipeline.heal()
    make_due(pipeline, person)
    pipeline.tick("reap")
    assert pipeline.states(person) == {"a.md": "indexed"}


@pytest.mark.usefixtures("stripes")
def test_a_used_up_recognition_quota_is_waited_for_while_text_goes_on(pipeline: Pipeline) -> None:
    """D10: 429 for minutes. The scan waits with its reason and comes by itself; what needs no recognition is there."""
    pipeline.documents.faults.fail_next(1000, "RESOURCE_EXHAUSTED")

    person = pipeline.person({"scan.pdf": scan_pdf(2), "a.md": "Patience is a herb.\n"})

    waiting = pipeline.files(person)["scan.pdf"]
    assert (waiting["state"], waiting["reason_code"]) == ("waiting", "quota")
    assert waiting["next_try"] is not None
    assert pipeline.states(person)["a.md"] == "indexed"
    pipeline.heal()
    make_due(pipeline, person)
    pipeline.tick("reap")
    assert pipeline.states(person)["scan.pdf"] == "indexed"
    assert pipeline.count("costs", person, "ocr_pages = 2") == 1


# Order ----------------------------------------------------------------------------------------------------------------


def test_an_answer_of_drive_that_comes_late_is_not_believed(pipeline: Pipeline) -> None:
    """Whoever asked Drive last knows best: an older answer, a 404 among them, must not overwrite what it wrote."""
    person = pipeline.person({"a.md": "The first wording.\n"})
    file_id = person.id_of("a.md")
    database = pipeline.speaking_as("worker")
    files = Files(database, person.user_id, file_id, pipeline.settings, "listed")
    ticket = files.ask()
    old = Access(pipeline.settings, database).drive(person.user_id).file(file_id)
    person.put("a.md", "The second wording.\n")
    pipeline.sync(person)
    before = pipeline.files(person)

    files.bury(ticket, "gone", "A 404 of long ago.")
    files.skip(ticket, Skipped("A refusal of long ago."))
    files.wait(ticket, LongWait("A limit of long ago."))
    with pytest.raises(Superseded):
        files.claim(ticket, old, FileChanged(reason=REASON.CHANGED))
    with database.transaction(person.user_id) as tx:
        noted = tx.rows("note_files", files=json.dumps([old.as_row()]), announced_ms=0, listed=True)

    assert noted == []
    assert pipeline.files(person) == before
    assert pipeline.text(person, "a.md") == "The second wording."


def test_a_chunk_that_comes_after_the_file_went_brings_nothing_back(pipeline: Pipeline) -> None:
    """The file went into the bin while its text was still on its way."""
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person({"a.md": "Gone before it came.\n"})
    pipeline.google.trash(person.id_of("a.md"))
    pipeline.sync(person)

    pipeline.release_lanes("ai-processor")
    pipeline.settle()
    in_bin = pipeline.states(person), pipeline.search(person, "gone before")
    pipeline.google.untrash(person.id_of("a.md"))
    pipeline.sync(person)

    assert in_bin == ({"a.md": "deleted"}, [])
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_a_chunk_that_comes_after_the_file_was_closed_to_us_brings_nothing_back(pipeline: Pipeline) -> None:
    """Who may no longer read a file must not find its text either, once we were told."""
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person({"a.md": "Closed before it came.\n"})
    pipeline.google.faults.fail("files.get", 403, "insufficientFilePermissions")
    changed = FileChanged(user_id=person.user_id, file_id=person.id_of("a.md"), reason=REASON.CHANGED)
    assert pipeline.push("file_streamer", changed).status_code == 204

    pipeline.release_lanes("ai-processor")
    pipeline.settle()

    assert pipeline.states(person) == {"a.md": "skipped"}
    assert pipeline.search(person, "closed before") == []


@pytest.mark.parametrize("what", ["trashed", "edited", "erased"])
def test_a_chunk_is_not_written_for_what_went_while_the_model_was_thinking(pipeline: Pipeline, what: str) -> None:
    """Asking before the billed call is cheap, but only what is asked in the writing transaction counts."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person({"a.md": "A long thought.\n"})
    (chunk,) = pipeline.messages(FILE_CHUNKS, person, FileChunk)
    pipeline.vertex.faults.slow_next(1, 1.5)
    before = pipeline.vertex.calls

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(pipeline.push, "ai_processor", chunk)
        wait_for(lambda: pipeline.vertex.calls > before)
        if what == "erased":
            with pipeline.speaking_as("reader").transaction(person.user_id) as tx:
                tx.rows("ask_to_be_forgotten")
        elif what == "trashed":
            pipeline.google.trash(person.id_of("a.md"))
            pipeline.sync(person)
        else:
            person.put("a.md", "Another thought.\n")
            pipeline.sync(person)
        assert not answer.done(), "the model was too fast for this test"

    assert answer.result().status_code == 204
    assert pipeline.count("memories", person) == pipeline.count("gdrive_chunks", person) == 0
    if what == "erased":
        pipeline.tick("erase")


def test_nothing_is_written_for_somebody_who_is_leaving(pipeline: Pipeline) -> None:
    """From the moment a person asks to be forgotten, no function writes a row of theirs, whatever comes."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person({"a.md": "Leaving.\n"})
    (chunk,) = pipeline.messages(FILE_CHUNKS, person, FileChunk)
    pipeline.pubsub.faults.hold("file-streamer")
    person.put("b.md", "Too late.\n")
    with pipeline.speaking_as("reader").transaction(person.user_id) as tx:
        tx.rows("ask_to_be_forgotten")
    rows = pipeline.everything()[0]

    changed = FileChanged(user_id=person.user_id, file_id=person.id_of("b.md"), reason=REASON.CHANGED)
    answers = [
        pipeline.push("change_lister", look(person)),
        pipeline.push("file_streamer", changed),
        pipeline.push("ai_processor", chunk),
    ]

    assert [answer.status_code for answer in answers] == [204] * 3
    assert pipeline.everything()[0] == rows
    pipeline.heal()
    pipeline.tick("erase")


# Drive changes its mind -----------------------------------------------------------------------------------------------


def test_a_file_that_vanishes_while_it_is_read_is_deleted(pipeline: Pipeline) -> None:
    """404 in the middle: gone is gone."""
    person = pipeline.person()
    pipeline.google.faults.slow("files.media", 0.5)
    before = pipeline.google.faults.calls["files.media"]
    person.put("a.md", "Here today.\n")
    pipeline.say(SYNC_REQUESTS, look(person))
    wait_for(lambda: pipeline.google.faults.calls["files.media"] > before)

    person.remove("a.md")
    pipeline.sync(person)

    assert pipeline.states(person) == {"a.md": "deleted"}
    assert pipeline.search(person, "today") == []


def test_a_404_that_passes_deletes_nothing(pipeline: Pipeline) -> None:
    """Drive's servers do not all know a new file at the same moment."""
    pipeline.google.faults.fail("files.media", 404, "notFound")

    person = pipeline.person({"a.md": "Only hidden for a moment.\n"})

    assert pipeline.states(person) == {"a.md": "indexed"}


def test_a_file_that_is_edited_while_it_is_read_ends_with_its_new_text(pipeline: Pipeline) -> None:
    """Bytes of two revisions must never become one text."""
    person = pipeline.person()
    pipeline.google.faults.slow("files.media", 0.5)
    before = pipeline.google.faults.calls["files.media"]
    person.put("a.md", "The first wording.\n")
    pipeline.say(SYNC_REQUESTS, look(person))
    wait_for(lambda: pipeline.google.faults.calls["files.media"] > before)

    person.put("a.md", "The second and longer wording.\n")
    pipeline.settle()

    assert pipeline.text(person, "a.md") == "The second and longer wording."
    assert pipeline.states(person) == {"a.md": "indexed"}
    assert pipeline.search(person, "first") == []


def test_a_file_that_never_holds_still_waits_for_a_quieter_time(pipeline: Pipeline) -> None:
    """Otherwise it would be read again and again for ever, at the cost of everything else."""
    pipeline.google.faults.fail("files.media", 404, "notFound", times=None)

    person = pipeline.person({"a.md": "Here, no, there.\n"})

    assert pipeline.files(person)["a.md"]["reason_code"] == "changing"
    assert pipeline.states(person) == {"a.md": "waiting"}
    pipeline.heal()
    make_due(pipeline, person)
    pipeline.tick("reap")
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_a_forgotten_page_token_lists_everything_and_reads_nothing(pipeline: Pipeline) -> None:
    """Drive forgets tokens. What changed meanwhile is found by comparing, what did not is not paid for again."""
    person = pipeline.person({"a.md": "Stays.\n", "b.md": "Goes.\n"})
    before = pipeline.reads(person)
    person.remove("b.md")
    person.put("c.md", "Comes.\n")
    pipeline.google.faults.fail("changes.list", 410, "gone")

    pipeline.sync(person)

    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "deleted", "c.md": "indexed"}
    assert pipeline.reads(person) == before + 1


def test_an_organisation_that_forbids_notifications_and_shared_drives_forbids_nothing_else(
    pipeline: Pipeline,
) -> None:
    """What only helps must not stop what it helps."""
    pipeline.google.faults.fail("changes.watch", 403, "forbidden", times=None)
    pipeline.google.faults.fail("drives.list", 403, "forbidden", times=None)

    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        person = pipeline.person({"a.md": "Read all the same.\n"})
        pipeline.sync(person)

    assert pipeline.states(person) == {"a.md": "indexed"}
    assert not [path for path in pipeline.documents_of(person) if path.startswith("channels/")]


def test_a_file_that_may_be_downloaded_again_is_read(pipeline: Pipeline) -> None:
    """Its owner forbade it and thought better of it; its content is the same, and still it is news."""
    person = pipeline.person()
    file_id = person.put("a.md", "Closed and opened.\n")
    pipeline.google.edit(file_id, can_download=False)
    pipeline.sync(person)
    closed = pipeline.files(person)["a.md"]

    pipeline.google.edit(file_id, can_download=None)
    pipeline.sync(person)

    assert (closed["state"], closed["reason_code"]) == ("skipped", "cannotDownloadFile")
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_the_next_page_of_a_lister_finds_its_cursor_free(pipeline: Pipeline) -> None:
    """A lister that announced its successor before it let go would be taken for the one who goes on."""
    person = pipeline.person({"a.md": "Stays.\n"})
    person.put("b.md", "Comes.\n")
    pipeline.google.faults.fail("changes.list", 410, "gone")
    pipeline.firestore.faults.delay("Commit", 0.2)

    pipeline.sync(person)
    pipeline.firestore.faults.delay("Commit", 0.0)

    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "indexed"}
    assert pipeline.documents_of(person)[f"cursors/{person.user_id}~my-drive"]["busy"] is False


def test_a_lister_that_fails_half_way_is_repeated_and_loses_nothing(pipeline: Pipeline) -> None:
    """The cursor moves only behind what is announced."""
    pipeline.google.faults.fail("changes.list", 500, "backendError", times=9)
    pipeline.google.faults.fail("files.list", 500, "backendError", times=9)

    person = pipeline.person({"a.md": "One.\n", "b.md": "Two.\n"})

    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "indexed"}


def test_a_sync_that_is_asked_for_while_one_is_running_is_not_forgotten(pipeline: Pipeline) -> None:
    """A change that comes just behind the reader's back must be read by the same reader."""
    person = pipeline.person({"a.md": "One.\n"})
    pipeline.google.faults.slow("changes.list", 0.4)
    before = pipeline.google.faults.calls["changes.list"]
    pipeline.say(SYNC_REQUESTS, look(person))
    wait_for(lambda: pipeline.google.faults.calls["changes.list"] > before)

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: pipeline.push("change_lister", look(person)).status_code, range(5)))
    person.put("b.md", "Two.\n")
    pipeline.settle()

    assert answers == [204] * 5
    assert pipeline.google.faults.calls["changes.list"] - before >= 2, "word was left: it reads again"
    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "indexed"}
    assert [
        fields["busy"] for path, fields in pipeline.documents_of(person).items() if path.startswith("cursors/")
    ] == [False]


# Grants ---------------------------------------------------------------------------------------------------------------


def test_a_revoked_grant_pauses_everything_until_the_person_connects_again(pipeline: Pipeline) -> None:
    """Files do not fail one by one because somebody took their permission back; they go on when it is given again."""
    pipeline.pubsub.faults.hold("file-streamer-backfill")
    person = pipeline.person({"a.md": "One.\n", "b.md": "Two.\n"})
    pipeline.google.revoke(person.email)
    calls = pipeline.google.faults.calls["token"]
    pipeline.pubsub.faults.release("file-streamer-backfill")
    pipeline.settle()
    pipeline.sync(person)
    paused = pipeline.files(person)
    status = pipeline.sql(f"SELECT status, status_reason FROM users WHERE user_id = '{person.user_id}'")[0]
    tokens = pipeline.google.faults.calls["token"] - calls
    make_due(pipeline, person)
    pipeline.tick("reap")
    still = pipeline.states(person)

    old = person.user_id
    pipeline.connect(person)
    pipeline.settle()
    pipeline.tick("reap")

    assert {(row["state"], row["reason_code"]) for row in paused.values() if row["state"] != "folder"} == {
        ("waiting", "reconnect_needed")
    }
    assert status[0] == "reconnect_needed"
    assert "onnect" in status[1]
    assert tokens <= 2
    assert still == {"a.md": "waiting", "b.md": "waiting"}
    assert person.user_id == old
    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "indexed"}


def test_twenty_threads_without_a_token_ask_google_once(pipeline: Pipeline) -> None:
    """Google limits refreshes, and a provider that rotates tokens would lock everybody out."""
    person = pipeline.person()
    forget_access_token(pipeline.settings, person.user_id)
    pipeline.google.faults.slow("token", 0.2, times=None)
    before = pipeline.google.faults.calls["token"]
    fleet = [Access(pipeline.settings, pipeline.speaking_as("worker")) for _ in range(4)]

    tokens = together(20, lambda number: fleet[number % 4].token(person.user_id))

    assert pipeline.google.faults.calls["token"] == before + 1
    assert len(set(tokens)) == 1


def test_twenty_threads_whose_token_google_refuses_ask_for_one_new_one(pipeline: Pipeline) -> None:
    """The second to be refused must take the token that the first one got, not throw it away."""
    person = pipeline.person()
    access = Access(pipeline.settings, pipeline.speaking_as("worker"))
    access.token(person.user_id)
    drive = access.drive(person.user_id)
    pipeline.google.expire_access_tokens()
    pipeline.google.faults.slow("token", 0.2, times=None)
    before = pipeline.google.faults.calls["token"]

    answers = together(20, lambda _: drive.about().email)

    assert set(answers) == {person.email}
    assert pipeline.google.faults.calls["token"] == before + 1


def test_who_was_refused_an_old_token_takes_the_new_one_that_is_there(pipeline: Pipeline) -> None:
    """Somebody else in this process has renewed it meanwhile; the newest token is not the refused one."""
    person = pipeline.person()
    access = Access(pipeline.settings, pipeline.speaking_as("worker"))

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        old = {worker.submit(access.token, person.user_id).result() for worker in (one, other)}
        before = pipeline.google.faults.calls["token"]
        new = [worker.submit(access.token, person.user_id, fresh=True).result() for worker in (one, other)]

    assert len(old) == 1
    assert new[0] == new[1]
    assert old != set(new)
    assert pipeline.google.faults.calls["token"] == before + 1


def test_a_grant_whose_key_is_lost_asks_for_a_new_consent(pipeline: Pipeline) -> None:
    """A key that was removed too early is the operator's fault; the person is told what helps."""
    person = pipeline.person({"a.md": "One.\n"})
    forget_access_token(pipeline.settings, person.user_id)
    pipeline.sql(
        "UPDATE user_google_credentials SET refresh_token_sealed = 'gAAAAABnonsense'"
        f" WHERE user_id = '{person.user_id}'"
    )
    with pytest.raises(Exception, match=r"[Cc]onnect again"):
        Access(pipeline.settings, pipeline.speaking_as("worker")).token(person.user_id)
    assert pipeline.sql(f"SELECT status FROM users WHERE user_id = '{person.user_id}'") == [["reconnect_needed"]]


# Steps ----------------------------------------------------------------------------------------------------------------


def look(person: Person) -> SyncRequested:
    """Somebody says "look"."""
    return SyncRequested(user_id=person.user_id, corpus="my-drive", reason=SyncRequested.Reason.NOTIFIED)


def make_due(pipeline: Pipeline, person: Person) -> None:
    """The time of every next try has come."""
    pipeline.sql(
        f"UPDATE gdrive_files SET next_try = now() WHERE user_id = '{person.user_id}' AND next_try IS NOT NULL"
    )
    pipeline.sql("UPDATE pressure SET until = now()")


def job_of(pipeline: Pipeline, person: Person) -> tuple[str, int]:
    """The one job of a person: its name and epoch."""
    ((job_id, epoch),) = pipeline.sql(f"SELECT job_id, epoch FROM gdrive_jobs WHERE user_id = '{person.user_id}'")
    return str(job_id), int(epoch)


def claim(pipeline: Pipeline, person: Person, name: str) -> tuple[Job, Files]:
    """Take a file's lease as a worker does that then is never heard of again."""
    database = pipeline.speaking_as("worker")
    files = Files(database, person.user_id, person.id_of(name), pipeline.settings, "listed")
    ticket = files.ask()
    drive = Access(pipeline.settings, database).drive(person.user_id)
    job = files.claim(ticket, drive.file(person.id_of(name)), FileChanged(reason=REASON.LISTED))
    assert job is not None
    return job, files


def nothing_read() -> DriveSource:
    """What a source says at the end of an empty reading."""
    return cast(DriveSource, SimpleNamespace(bytes_read=0, requests=0, integrity="length"))


def blocked(pipeline: Pipeline) -> int:
    """How many transactions wait for somebody else's lock."""
    return int(pipeline.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0])


def together(count: int, step: Callable[[int], Any]) -> list[Any]:
    """Run a step in so many threads at the same moment; what each of them returned."""
    barrier = Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        return step(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
