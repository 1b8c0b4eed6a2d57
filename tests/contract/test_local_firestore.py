"""What our Firestore does and Google's emulator does not: survive, refuse, count, fail on demand."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import Or

from infra.local.firestore import FirestoreServer
from tests.contract.firestore_clients import DOWN, INDEXES, NO_RETRY, call, connect, ids, increment, run_together, where

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
Query = Callable[[Any], Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FirestoreServer]:
    server = FirestoreServer(tmp_path, indexes=INDEXES, ttl={"states": "expires_at"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def db(server: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[firestore.Client]:
    client = connect(server.url, monkeypatch)
    yield client
    client.close()


# What is stored stays

SERVE = """
import os, signal, sys, threading
from pathlib import Path
from infra.local.firestore import FirestoreServer
from infra.local.firestore.store import Store

left, replace = int(sys.argv[2]), Store._replace

def replace_or_die(store, *change):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(store, *change)

Store._replace = replace_or_die
server = FirestoreServer(Path(sys.argv[1]))
server.start()
print(server.url, flush=True)
threading.Event().wait()
"""
PARTS = 10
CHANGES = PARTS + 1


def serve(data: Path, die_at_change: int = 0) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address. It kills itself before it makes that change, if told."""
    command = [sys.executable, "-c", SERVE, str(data), str(die_at_change)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_killing_the_server_loses_nothing_that_was_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kill -9` at any time, then the same command: it goes on, and no commit is there by half."""
    answered = -1
    # From outside at some moment; in the midst of a commit; before the last change of one.
    for die_at_change in (0, 7 * CHANGES + CHANGES // 2, 4 * CHANGES):
        process, host = serve(tmp_path, die_at_change)
        client = connect(host, monkeypatch, survivor)
        assert_whole(client, answered)
        answered = write_until_killed(client, process, by_us=not die_at_change)
        client.close()

    process, host = serve(tmp_path)
    client = connect(host, monkeypatch, survivor)
    assert_whole(client, answered)
    client.close()
    process.kill()
    process.wait()


def survivor(**more: Any) -> firestore.Client:
    """A client whose project stays the same."""
    return firestore.Client(**{**more, "project": "survivor"})


def write_until_killed(client: firestore.Client, process: subprocess.Popen[str], by_us: bool) -> int:
    """Commit number after number to many documents and a log until the server is dead: the last that it answered."""
    answered = [len(ids(client.collection("log"))) - 1]
    enough = threading.Event()

    def write() -> None:
        while True:
            number = answered[-1] + 1
            batch = client.batch()
            for part in range(PARTS):
                batch.set(client.document(f"parts/{part:03}"), {"n": number})
            batch.set(client.document(f"log/{number:06}"), {})
            try:
                batch.commit(**NO_RETRY)
            except exceptions.GoogleAPICallError:
                return
            answered.append(number)
            if len(answered) > 20:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    if by_us:
        assert enough.wait(timeout=60)
        process.send_signal(signal.SIGKILL)
    writer.join()
    process.wait()
    return answered[-1]


def assert_whole(client: firestore.Client, answered: int) -> None:
    """Everything answered is there, at most the one unanswered commit beyond it, and that one whole."""
    last = len(ids(client.collection("log"))) - 1
    parts = [one.get("n") for one in client.collection("parts").stream()]
    assert last in {answered, answered + 1}
    assert parts == ([last] * PARTS if last >= 0 else [])


def test_a_restart_on_the_same_port_is_only_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that are kept for years meet a new server and go on."""
    first = FirestoreServer(tmp_path)
    first.start()
    client = connect(first.url, monkeypatch)
    stored = client.document("things/a").set({"n": 1}).update_time
    first.stop()
    first.stop()

    second = FirestoreServer(tmp_path)
    second.start(first.port)

    assert client.document("things/a").get().update_time == stored
    assert client.document("things/a").set({"n": 2}).update_time > stored
    client.close()
    second.stop()


def test_a_taken_port_is_an_error(server: FirestoreServer, tmp_path: Path) -> None:
    """Two stacks must not share a port in silence."""
    other = FirestoreServer(tmp_path / "other")

    with pytest.raises(OSError, match="taken"):
        other.start(server.port)


# Indexes

DECLARED: dict[str, Query] = {
    "nothing but a name": lambda c: c,
    "one equality": lambda c: c.where(filter=where("x", "==", 1)),
    "equalities are merged": lambda c: c.where(filter=where("x", "==", 1)).where(filter=where("y", "in", [1, 2])),
    "one range": lambda c: c.where(filter=where("x", ">", 1)).where(filter=where("x", "<", 3)),
    "one order downwards": lambda c: c.order_by("x", direction=DOWN),
    "range and order of one field": lambda c: c.where(filter=where("x", ">", 1)).order_by("x"),
    "contains": lambda c: c.where(filter=where("x", "array_contains", 1)),
    "equality and names": lambda c: (
        c.where(filter=where("x", "==", 1)).where(filter=where("__name__", ">", c.document("a")))
    ),
    "order of a field that is equal": lambda c: c.where(filter=where("x", "==", 1)).order_by("x"),
    "declared": lambda c: c.where(filter=where("state", "==", 1)).order_by("people"),
    "declared, read backwards": lambda c: c.where(filter=where("state", "==", 1)).order_by("people", direction=DOWN),
    "two declared, merged": lambda c: (
        c.where(filter=where("state", "==", 1)).where(filter=where("coastal", "==", 1)).order_by("people")
    ),
    "two declared orders, turned": lambda c: c.order_by("area", direction=DOWN).order_by("people"),
    "sum of the sorted field": lambda c: c.where(filter=where("state", "==", 1)).sum("people"),
}  # fmt: skip

UNDECLARED: dict[str, tuple[Query, str]] = {
    "equality and range": (
        lambda c: c.where(filter=where("x", "==", 1)).where(filter=where("y", ">", 1)),
        '"fields": [{"path": "x", "order": "ASCENDING"}, {"path": "y", "order": "ASCENDING"}]',
    ),
    "equality and order": (
        lambda c: c.where(filter=where("x", "==", 1)).order_by("y", direction=DOWN),
        '[{"path": "x", "order": "ASCENDING"}, {"path": "y", "order": "DESCENDING"}]',
    ),
    "contains and order": (
        lambda c: c.where(filter=where("x", "array_contains", 1)).order_by("y"),
        '[{"path": "x", "array_config": "CONTAINS"}, {"path": "y", "order": "ASCENDING"}]',
    ),
    "two orders": (lambda c: c.order_by("x").order_by("y"), '"y"'),
    "two ranges": (lambda c: c.where(filter=where("x", ">", 1)).where(filter=where("y", ">", 1)), '"y"'),
    "declared orders in other directions": (lambda c: c.order_by("area").order_by("people"), '"area"'),
    "declared, and one field more": (
        lambda c: c.where(filter=where("state", "==", 1)).where(filter=where("x", "==", 1)).order_by("people"),
        '{"path": "x", "order": "ASCENDING"}',
    ),
    "one side of an or": (
        lambda c: c.where(filter=Or([where("state", "==", 1), where("x", "==", 1)])).order_by("people"),
        '{"path": "x", "order": "ASCENDING"}',
    ),
    "names the other way": (lambda c: c.order_by("x").order_by("__name__", direction=DOWN), '"__name__"'),
    "sum of another field": (lambda c: c.where(filter=where("x", "==", 1)).sum("y"), '"y"'),
}


@pytest.mark.parametrize("case", DECLARED)
def test_queries_that_an_index_can_answer_run(db: firestore.Client, case: str) -> None:
    """Indexes that the service makes by itself need no declaration."""
    DECLARED[case](db.collection("cities")).get()


@pytest.mark.parametrize("case", UNDECLARED)
def test_queries_without_an_index_are_refused_with_the_remedy(db: firestore.Client, case: str) -> None:
    """Google's emulator runs them, and then the deployed functions fail."""
    query, advice = UNDECLARED[case]

    with pytest.raises(exceptions.FailedPrecondition, match=r"infra/topology\.json") as refused:
        query(db.collection("cities")).get()

    assert advice in refused.value.message


def test_a_collection_group_needs_an_exemption(db: firestore.Client) -> None:
    """Indexes of one field exist for a collection, not for all of that name."""
    assert ids(db.collection_group("seats").where(filter=where("row", ">", 3))) == []

    with pytest.raises(exceptions.FailedPrecondition, match="COLLECTION_GROUP"):
        db.collection_group("seats").where(filter=where("colour", "==", 1)).get()


# Transactions


def test_a_transaction_whose_document_changed_is_aborted(db: firestore.Client) -> None:
    """A lease is never taken twice."""
    document = db.document("leases/one")
    document.set({"n": 1})
    transaction = db.transaction()
    transaction._begin()
    document.get(transaction=transaction)
    transaction.update(document, {"n": 10})

    document.set({"n": 2})

    with pytest.raises(exceptions.Aborted):
        transaction._commit()
    assert document.get().to_dict() == {"n": 2}


def test_a_document_that_appears_aborts_who_saw_none(db: firestore.Client) -> None:
    """Absence is read as well."""
    transaction = db.transaction()
    transaction._begin()
    assert not db.document("leases/new").get(transaction=transaction).exists
    transaction.set(db.document("leases/other"), {})

    db.document("leases/new").set({})

    with pytest.raises(exceptions.Aborted):
        transaction._commit()
    assert not db.document("leases/other").get().exists


@pytest.mark.parametrize("change", ["appears", "changes", "leaves"])
def test_a_query_whose_answer_changed_aborts(db: firestore.Client, change: str) -> None:
    """No phantom: what was decided on a set holds for that set."""
    db.document("jobs/a").set({"state": "open"})
    transaction = db.transaction()
    transaction._begin()
    ids(db.collection("jobs").where(filter=where("state", "==", "open")), transaction)
    transaction.set(db.document("totals/open"), {"n": 1})

    match change:
        case "appears":
            db.document("jobs/b").set({"state": "open"})
        case "changes":
            db.document("jobs/a").update({"other": 1})
        case "leaves":
            db.document("jobs/a").delete()

    with pytest.raises(exceptions.Aborted):
        transaction._commit()


def test_what_a_query_does_not_find_does_not_disturb_it(db: firestore.Client) -> None:
    """Neighbours in a collection do not abort each other."""
    db.document("jobs/a").set({"state": "open"})
    transaction = db.transaction()
    transaction._begin()
    ids(db.collection("jobs").where(filter=where("state", "==", "open")), transaction)
    transaction.set(db.document("totals/open"), {"n": 1})

    db.document("jobs/b").set({"state": "done"})

    transaction._commit()
    assert db.document("totals/open").get().exists


def test_a_read_only_transaction_does_not_write(db: firestore.Client) -> None:
    """The service refuses it, too."""
    begun = call(db, "begin_transaction", options={"read_only": {}}).transaction
    write = {"delete": db.document("things/a")._document_path}

    with pytest.raises(exceptions.InvalidArgument):
        call(db, "commit", transaction=begun, writes=[write])


def test_a_past_moment_can_be_read(db: firestore.Client) -> None:
    """A census reads one moment while work goes on."""
    document = db.document("things/past")
    before: Any = document.set({"n": 1}).update_time
    document.set({"n": 2})
    db.document("things/later").set({})

    assert document.get(read_time=before).to_dict() == {"n": 1}
    assert [one.id for one in db.collection("things").stream(read_time=before)] == ["past"]
    with pytest.raises(exceptions.FailedPrecondition):
        document.get(read_time=before - datetime.timedelta(hours=2))


def test_contended_transactions_all_come_through(db: firestore.Client) -> None:
    """The client gives up after five attempts; nobody who waits in line needs them."""
    counter = db.document("counters/hot")
    counter.set({"n": 0})

    run_together([lambda: [increment(db.transaction(), counter) for _ in range(5)]] * 8)

    assert counter.get().to_dict() == {"n": 40}


def test_transactions_that_want_two_documents_crosswise_come_through(db: firestore.Client) -> None:
    """A circle of waiting is broken, not waited out for ever."""
    left, right = db.document("counters/left"), db.document("counters/right")
    left.set({"n": 0})
    right.set({"n": 0})

    def both(first: Any, second: Any) -> None:
        @firestore.transactional
        def story(transaction: firestore.Transaction) -> None:
            reads = [(one, one.get(transaction=transaction).get("n")) for one in (first, second)]
            for one, n in reads:
                transaction.update(one, {"n": n + 1})

        story(db.transaction(max_attempts=20))

    run_together([lambda: both(left, right), lambda: both(right, left)] * 2)

    assert (left.get().get("n"), right.get().get("n")) == (4, 4)


# Counting, time and rubbish


def test_writes_are_counted_per_document(server: FirestoreServer, db: firestore.Client) -> None:
    """So a test can show that no document is hot."""
    for _ in range(3):
        db.document("cursors/busy").set({"same": 1})
    db.document("cursors/calm").set({})

    assert server.writes() == {"cursors/busy": 3, "cursors/calm": 1}
    assert server.peak_write_rates()["cursors/calm"] == 1
    assert server.max_write_rate() <= 3


def test_only_what_is_expired_is_collected(server: FirestoreServer, db: firestore.Client) -> None:
    """Expired documents stay readable until then, as in the service, so the code must look at the time itself."""
    hour = datetime.timedelta(hours=1)
    db.document("states/old").set({"expires_at": NOON - hour})
    db.document("states/new").set({"expires_at": NOON + hour})
    db.document("states/text").set({"expires_at": "2001-01-01"})
    db.document("others/old").set({"expires_at": NOON - hour})
    assert db.document("states/old").get().exists

    assert server.collect_garbage(NOON.timestamp()) == 1

    assert ids(db.collection("states")) == ["new", "text"]
    assert db.document("others/old").get().exists
    assert server.writes()["states/old"] == 1


def test_commit_times_follow_the_clock_and_never_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests move time; an update time still tells before from after."""
    moment = [NOON.timestamp()]
    server = FirestoreServer(tmp_path, clock=lambda: moment[0])
    server.start()
    client = connect(server.url, monkeypatch)
    document = client.document("things/time")

    times = []
    for jump, n in [(0, 1), (3600, 2), (-7200, 3)]:
        moment[0] += jump
        times.append(document.set({"n": n}).update_time)

    assert times[0] == NOON
    assert times[1] == NOON + datetime.timedelta(hours=1)
    assert times[1] < times[2] < times[1] + datetime.timedelta(seconds=1)
    client.close()
    server.stop()


# Faults


def test_a_failing_call_fails_as_often_as_told(server: FirestoreServer, db: firestore.Client) -> None:
    """What the client does not try again by itself reaches the function."""
    server.faults.fail_next("Commit", grpc.StatusCode.RESOURCE_EXHAUSTED, times=2)

    for _ in range(2):
        with pytest.raises(exceptions.ResourceExhausted):
            db.document("things/a").set({}, **NO_RETRY)

    db.document("things/a").set({}, **NO_RETRY)


def test_the_client_outlives_a_short_outage(server: FirestoreServer, db: firestore.Client) -> None:
    """UNAVAILABLE is retried by the client, streams included."""
    db.document("things/a").set({"n": 1})
    for method in ("Commit", "BatchGetDocuments", "RunQuery"):
        server.faults.fail_next(method, grpc.StatusCode.UNAVAILABLE)

    db.document("things/a").set({"n": 2})

    assert db.document("things/a").get().get("n") == 2
    assert ids(db.collection("things")) == ["a"]


def test_a_lost_answer_leaves_the_work_done(server: FirestoreServer, db: firestore.Client) -> None:
    """The claim that seems to fail has succeeded: the one fault that retries do not heal."""
    server.faults.lose_next_answer("Commit")

    with pytest.raises(exceptions.AlreadyExists):
        db.document("states/once").create({"n": 1})

    assert db.document("states/once").get().to_dict() == {"n": 1}


def test_a_slow_service_runs_into_the_deadline(server: FirestoreServer, db: firestore.Client) -> None:
    """The function's own limit counts, not the service's patience."""
    server.faults.delay("BatchGetDocuments", 0.5)

    with pytest.raises(exceptions.DeadlineExceeded):
        db.document("things/a").get(retry=None, timeout=0.05)

    server.faults.delay("BatchGetDocuments", 0)
    assert not db.document("things/a").get().exists
