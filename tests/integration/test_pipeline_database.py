"""What the databases do wrongly, late or not at all while a file is understood: D1 to D8 of docs/faults.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from schemas.messages.file_chunk_pb2 import FileChunk
from tests.contract.pdfs import scan_pdf
from tests.integration.database_door import DatabaseDoor, Side
from tests.integration.pipeline import Person, Pipeline, go_on, pipeline, stripes, wait_for, with_chunks
from tests.integration.test_pipeline_faults import blocked
from tests.integration.test_pipeline_spending import spent

__all__ = ["pipeline", "stripes"]
pytestmark = pytest.mark.xdist_group("pipeline")


def written_once(pipeline: Pipeline, person: Person, tokens: int) -> bool:
    """Every file is found, with one vector a passage, and was paid for once."""
    assert set(pipeline.states(person).values()) == {"indexed"}
    assert pipeline.count("memories", person) == pipeline.count("gdrive_chunks", person)
    assert pipeline.count("memories", person, "embedding IS NULL") == 0
    assert spent(pipeline, person)["embedded_tokens"] == pipeline.vertex.tokens - tokens
    return True


def disconnect_functions(pipeline: Pipeline) -> None:
    """End every connection of the functions, as a server does that is started anew."""
    pipeline.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drivestream_app'")


@contextmanager
def changed(pipeline: Pipeline, change: str, undo: str) -> Iterator[None]:
    """The database is different for a while, to whoever connects from now on."""
    pipeline.sql(change)
    disconnect_functions(pipeline)
    try:
        yield
    finally:
        pipeline.sql(undo)
        disconnect_functions(pipeline)


@contextmanager
def through(pipeline: Pipeline) -> Iterator[DatabaseDoor]:
    """The functions reach the database through a door."""
    door = DatabaseDoor(pipeline.postgres.url_for("drivestream_app"))
    try:
        with pipeline.setting(DATABASE_URL=door.url, ENTITIES="off"):
            yield door
    finally:
        door.close()


# Away -----------------------------------------------------------------------------------------------------------------


def test_a_database_that_is_started_anew_is_waited_for_and_nothing_is_billed_meanwhile(pipeline: Pipeline) -> None:
    """D1: whoever finds it away has paid nothing and comes again; whoever has paid waits for it."""
    with pipeline.setting(ENTITIES="off", RETRY_BASE_SECONDS="0.5"):
        person, (early, late) = with_chunks(pipeline, {"a.txt": "Figs.\n", "b.txt": "Dates.\n"})
        tokens, calls = pipeline.vertex.tokens, pipeline.vertex.calls
        pipeline.vertex.faults.slow_next(1, 0.5)

        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(pipeline.push, "ai_processor", early)
            wait_for(lambda: pipeline.vertex.calls > calls)
            with pipeline.database_away():
                away = pipeline.push("ai_processor", late)
            assert waits.result().status_code == 204

        assert away.status_code == 503
        assert pipeline.vertex.calls == calls + 1
        go_on(pipeline)
        assert written_once(pipeline, person, tokens)
        assert pipeline.vertex.calls == calls + 2


def test_connections_that_died_while_idle_cost_no_delivery(pipeline: Pipeline) -> None:
    """D2: ended by the server with a word, or by a network without one."""
    with through(pipeline) as door:
        person, chunks = with_chunks(pipeline, {"a.txt": "Figs.\n", "b.txt": "Dates.\n", "c.txt": "Olives.\n"})
        tokens = pipeline.vertex.tokens
        answers = [pipeline.push("ai_processor", chunks[0]).status_code]
        disconnect_functions(pipeline)
        answers.append(pipeline.push("ai_processor", chunks[1]).status_code)
        door.cut_idle()
        answers.append(pipeline.push("ai_processor", chunks[2]).status_code)

        assert answers == [204] * 3
        assert written_once(pipeline, person, tokens)
        go_on(pipeline)


def test_a_database_without_a_connection_free_is_come_back_to(pipeline: Pipeline) -> None:
    """D3: `not now`, with the time to wait; never an error of ours, and nothing was paid for."""
    with pipeline.setting(ENTITIES="off"):
        person, chunks = with_chunks(pipeline, {f"{number}.txt": f"Fig number {number}.\n" for number in range(6)})
        calls = pipeline.vertex.calls
        limit = "ALTER ROLE drivestream_app CONNECTION LIMIT {}"
        with changed(pipeline, limit.format(0), limit.format(-1)):
            none = pipeline.push("ai_processor", chunks[0])
            billed = pipeline.vertex.calls - calls
            pipeline.sql(limit.format(1))
            with ThreadPoolExecutor(6) as pool:
                some = list(pool.map(lambda chunk: pipeline.push("ai_processor", chunk).status_code, chunks))

        assert (none.status_code, none.headers["Retry-After"], billed) == (503, "5", 0)
        assert {204} <= set(some) <= {204, 503}
        go_on(pipeline)
        assert set(pipeline.states(person).values()) == {"indexed"}


# Busy -----------------------------------------------------------------------------------------------------------------


def test_a_writer_that_is_undone_by_a_deadlock_writes_again_and_pays_once(pipeline: Pipeline) -> None:
    """D4: it holds the person and wants the job, somebody else the other way round."""
    with pipeline.setting(ENTITIES="off"):
        person, (chunk,) = with_chunks(pipeline, {"a.txt": "Figs.\n"})
        tokens = pipeline.vertex.tokens
        with pipeline.connection() as other, ThreadPoolExecutor(1) as pool:
            other.execute_simple("BEGIN; SET LOCAL deadlock_timeout = '30s'")
            other.execute_simple(f"SELECT 1 FROM gdrive_jobs WHERE job_id = '{chunk.job_id}' FOR UPDATE")
            answer = pool.submit(pipeline.push, "ai_processor", chunk)
            wait_for(lambda: blocked(pipeline))
            other.execute_simple(f"SELECT 1 FROM users WHERE user_id = '{person.user_id}' FOR UPDATE")
            assert not answer.done(), "the person was let go by whoever was undone"
            other.execute_simple("COMMIT")
            assert answer.result().status_code == 204

        assert written_once(pipeline, person, tokens)
        go_on(pipeline)


# Full, or read only ---------------------------------------------------------------------------------------------------


def test_a_database_that_takes_no_writes_is_found_out_before_anything_is_paid_for(pipeline: Pipeline) -> None:
    """D5: otherwise each of ten deliveries would be billed, and thrown away."""
    with pipeline.setting(ENTITIES="off"):
        person, (chunk,) = with_chunks(pipeline, {"a.txt": "Figs.\n"})
        tokens, calls = pipeline.vertex.tokens, pipeline.vertex.calls
        database = "ALTER DATABASE drivestream {} default_transaction_read_only"
        with changed(pipeline, database.format("SET") + " = on", database.format("RESET")):
            answers = [pipeline.push("ai_processor", chunk) for _ in range(3)]

        assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "60")] * 3
        assert pipeline.vertex.calls == calls
        go_on(pipeline)
        assert written_once(pipeline, person, tokens)


@pytest.mark.parametrize("state", ["40001", "55P03", "53100", "57014"])
def test_what_was_paid_for_waits_until_the_database_takes_it(pipeline: Pipeline, state: str) -> None:
    """D4, D5: rows that are busy, a full disk, a statement that takes too long, each more often than one transaction is
    run again. One delivery, one bill."""
    with pipeline.setting(ENTITIES="off", RETRY_BASE_SECONDS="0.2"):
        person, (chunk,) = with_chunks(pipeline, {"a.txt": "Figs.\n"})
        tokens, calls = pipeline.vertex.tokens, pipeline.vertex.calls
        with ThreadPoolExecutor(1) as pool, refusing(pipeline, state) as refused:
            answer = pool.submit(pipeline.push, "ai_processor", chunk)
            wait_for(lambda: refused() > 6 or (state == "53100" and refused() > 2))
        assert answer.result().status_code == 204

        assert written_once(pipeline, person, tokens)
        assert pipeline.vertex.calls == calls + 1
        go_on(pipeline)


@contextmanager
def refusing(pipeline: Pipeline, state: str) -> Iterator[Callable[[], int]]:
    """The database answers every passage with this SQLSTATE; how many it has refused. A sequence is what a transaction
    that is rolled back leaves behind."""
    pipeline.sql(
        "CREATE SEQUENCE refused;"
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$"
        f" BEGIN PERFORM nextval('refused'); RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON memories FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield lambda: int(pipeline.sql("SELECT last_value - 1 + is_called::int FROM refused")[0][0])
    finally:
        pipeline.sql("DROP FUNCTION refuse CASCADE; DROP SEQUENCE refused")


# Text it refuses ------------------------------------------------------------------------------------------------------


def test_text_that_postgres_refuses_is_cleaned_on_its_way(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """D7: NUL and half a surrogate pair, in a file and in what was recognised. A file of bytes is none of text."""
    monkeypatch.setattr(pipeline.documents, "_recognise", lambda page: "Recognised\0 figs.")
    texts = pipeline.vertex.texts
    with pipeline.setting(ENTITIES="off"):
        person = pipeline.person(
            {
                "a.txt": b"Text\0 figs.\n",
                "b.json": rb'{"fruit": "Escaped\u0000 figs \ud800."}',
                "c.txt": b"\xff\xfe" + "Wide figs \ud800.\n".encode("utf-16-le", "surrogatepass"),
                "d.pdf": scan_pdf(1),
            }
        )

    binary = pipeline.files(person)["a.txt"]
    assert (binary["state"], bool(binary["reason"])) == ("skipped", True)
    others = {name: state for name, state in pipeline.states(person).items() if name != "a.txt"}
    assert others == {"b.json": "indexed", "c.txt": "indexed", "d.pdf": "indexed"}
    assert {row["name"] for row in pipeline.search(person, "figs")} == set(others)
    assert pipeline.vertex.texts - texts == pipeline.count("memories", person) == 3


# Answers that are lost ------------------------------------------------------------------------------------------------


def exchanges_of(pipeline: Pipeline, door: DatabaseDoor, chunk: FileChunk) -> int:
    """How many exchanges with the database a chunk takes over a connection that knows every statement."""
    for _ in range(2):
        not_understood(pipeline, chunk)
        door.break_at(0, "before")
        assert pipeline.push("ai_processor", chunk).status_code == 204
    return door.exchanges


def not_understood(pipeline: Pipeline, chunk: FileChunk) -> None:
    """The chunk is as it was before anybody looked at it."""
    pipeline.sql(
        f"DELETE FROM gdrive_chunks WHERE job_id = '{chunk.job_id}';"
        f"DELETE FROM costs WHERE user_id = '{chunk.user_id}';"
        f"UPDATE gdrive_jobs SET state = 'streamed', finished_chunks = 0 WHERE job_id = '{chunk.job_id}';"
        "UPDATE gdrive_files SET state = 'processing', current_job = NULL"
        f" WHERE user_id = '{chunk.user_id}' AND file_id = '{chunk.file_id}'"
    )


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_commit_whose_answer_is_lost_writes_once_and_counts_once(pipeline: Pipeline, side: Side) -> None:
    """D6: the row is there although the client got an error, or it is not. One delivery finds out which."""
    with through(pipeline) as door:
        person, (chunk,) = with_chunks(pipeline, {"a.txt": "Figs.\n"})
        last = exchanges_of(pipeline, door, chunk)
        not_understood(pipeline, chunk)
        tokens, calls = pipeline.vertex.tokens, pipeline.vertex.calls
        door.break_at(last, side)

        answer = pipeline.push("ai_processor", chunk)

        assert (answer.status_code, door.broken) == (204, 1)
        assert pipeline.vertex.calls == calls + 1
        assert written_once(pipeline, person, tokens)
        go_on(pipeline)


@pytest.mark.long
def test_a_connection_that_breaks_at_any_message_costs_no_delivery_and_no_second_bill(pipeline: Pipeline) -> None:
    """D2, D6: every message of a chunk's transactions, before it is executed and after."""
    with through(pipeline) as door:
        person, (chunk,) = with_chunks(pipeline, {"a.txt": "Figs.\n"})
        last = exchanges_of(pipeline, door, chunk)
        sides: tuple[Side, ...] = ("before", "after")
        for exchange in range(1, last + 1):
            for side in sides:
                not_understood(pipeline, chunk)
                tokens, calls = pipeline.vertex.tokens, pipeline.vertex.calls
                door.break_at(exchange, side)
                answer = pipeline.push("ai_processor", chunk)
                assert (answer.status_code, door.broken) == (204, 1), (exchange, side)
                assert pipeline.vertex.calls == calls + 1, (exchange, side)
                assert written_once(pipeline, person, tokens)
                exchanges_of(pipeline, door, chunk)  # know every statement again
        assert last > 10
        go_on(pipeline)


# Firestore ------------------------------------------------------------------------------------------------------------


def test_a_firestore_that_is_busy_away_or_loses_its_answers_costs_nothing_but_time(pipeline: Pipeline) -> None:
    """D8: cursors, tokens and quota live there. Where the lost answer was that of a lease, it ends by itself. The file
    is read once, and nobody is left holding the cursor."""
    person = pipeline.person()
    faults, reads = pipeline.firestore.faults, pipeline.reads(person)
    for status in (grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        faults.fail_next("Commit", status)
        faults.fail_next("BatchGetDocuments", status)
    faults.lose_next_answer("Commit", 2)

    def found() -> bool:
        pipeline.tick("reap")
        return pipeline.states(person) == {"a.txt": "indexed"}

    with pipeline.setting(LEASE_SECONDS="1"):
        person.put("a.txt", "Figs.\n")
        pipeline.sync(person)
        wait_for(found)

    assert pipeline.reads(person) == reads + 1
    assert pipeline.documents_of(person)[f"cursors/{person.user_id}~my-drive"]["busy"] is False
