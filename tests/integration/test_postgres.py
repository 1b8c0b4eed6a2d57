"""The database adapter against a real Postgres: who sees what, what is tried again, and what goes over the wire."""

from __future__ import annotations

import random
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from struct import pack, unpack
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters import google_requests, pgqueries
from shared.adapters import postgres as postgres_adapter
from shared.adapters.pgqueries import QueryFileError, all_queries, parse_queries, query
from shared.adapters.pgtext import clean_text
from shared.adapters.postgres import Database, Interrupted, Transaction, connect, connect_to_url, sqlstate
from shared.domain.errors import Unavailable
from tests.integration.conftest import TestDatabase

ADA, BOB = uuid4(), uuid4()

TABLES = """
CREATE TABLE notes (
    user_id uuid NOT NULL, id int NOT NULL, body text NOT NULL, extra jsonb, tags text[], at timestamptz,
    PRIMARY KEY (user_id, id)
);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
ALTER TABLE notes OWNER TO drivestream_migrator;
CREATE POLICY own ON notes TO drivestream_worker
    USING (user_id = nullif(current_setting('app.user_id', true), '')::uuid);
CREATE POLICY own_read ON notes FOR SELECT TO drivestream_reader
    USING (user_id = nullif(current_setting('app.user_id', true), '')::uuid);
CREATE POLICY everybody ON notes TO drivestream_caretaker USING (true);
GRANT SELECT ON notes TO drivestream_reader;
GRANT ALL ON notes TO drivestream_worker, drivestream_caretaker;
CREATE TABLE vectors (id int PRIMARY KEY, embedding halfvec);
GRANT ALL ON vectors TO drivestream_worker;
"""

QUERIES = """
-- name: write_note
-- A note of the person who speaks.
INSERT INTO notes (user_id, id, body, extra, tags, at)
VALUES (CAST(:user_id AS uuid), :id, :body, CAST(:extra AS jsonb), CAST(:tags AS text[]), CAST(:at AS timestamptz));

-- name: read_notes
-- All that the speaker may see: there is no WHERE on purpose.
SELECT user_id, id, body, extra, tags, at FROM notes ORDER BY user_id, id;

-- name: change_note
-- Locks a row, for deadlocks.
UPDATE notes SET body = body || :more WHERE id = :id;

-- name: who_am_i
-- What a transaction carries.
SELECT current_user::text AS role, session_user::text AS login, current_setting('app.user_id', true) AS person,
       pg_backend_pid() AS backend;

-- name: sleep
-- A statement that takes its time.
SELECT pg_sleep(:seconds);

-- name: break_rule
-- An error that nobody can help.
SELECT 1 / CAST(:zero AS int) AS never;

-- name: stage_notes
-- COPY into a table with row level security is refused.
CREATE TEMP TABLE staged_notes (user_id uuid, id int, body text, extra jsonb, at timestamptz) ON COMMIT DROP;

-- name: save_staged_notes
-- From the temporary table to where they belong.
INSERT INTO notes (user_id, id, body, extra, at) SELECT user_id, id, body, extra, at FROM staged_notes;

-- name: stage
-- A column for each type that can be loaded.
CREATE TEMP TABLE staged (
    a uuid, b int, c bigint, d real, e boolean, f text, g bytea, h jsonb, i timestamptz
) ON COMMIT DROP;

-- name: read_changing
-- A table that a migration changes.
SELECT * FROM changing;

-- name: stage_vectors
-- What the embedding model answered.
CREATE TEMP TABLE staged_vectors (id int, embedding halfvec) ON COMMIT DROP;

-- name: read_staged
-- Everything that was loaded.
SELECT * FROM staged;

-- name: save_vector
-- The slow way, as text.
INSERT INTO vectors VALUES (:id, CAST(:embedding AS halfvec));

-- name: compare_vectors
-- Loaded as binary and written as text, side by side.
SELECT v.id, v.embedding = s.embedding AS equal FROM vectors v JOIN staged_vectors s USING (id);
"""


@pytest.fixture
def notes(empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> TestDatabase:
    """A small database of notes, with queries of its own."""
    empty_database.admin(TABLES)
    known = parse_queries([("notes.sql", QUERIES)])
    monkeypatch.setattr(pgqueries, "all_queries", lambda: known)
    return empty_database


@pytest.fixture
def worker(notes: TestDatabase) -> Iterator[Database]:
    """The database as the functions see it."""
    database = notes.speaking_as("worker", retry_base_seconds=0.1)
    yield database
    database.close()


def write(transaction: Transaction, person: UUID, number: int, body: str = "", **more: Any) -> None:
    values = {"extra": None, "tags": None, "at": None} | more
    transaction.run("write_note", user_id=person, id=number, body=body, **values)


def bodies(database: Database, person: UUID | None) -> list[str]:
    with database.transaction(person) as transaction:
        return [row["body"] for row in transaction.rows("read_notes")]


def two_people(database: Database) -> None:
    for person, body in ((ADA, "Ada's"), (BOB, "Bob's")):
        with database.transaction(person) as transaction:
            write(transaction, person, 1, body)


# Who sees what


def test_a_person_sees_their_own_rows_even_without_a_where(worker: Database) -> None:
    """A forgotten WHERE must never show another person's Drive."""
    two_people(worker)

    assert bodies(worker, ADA) == ["Ada's"]
    assert bodies(worker, BOB) == ["Bob's"]


def test_nobody_sees_nothing_and_the_caretaker_everything(notes: TestDatabase, worker: Database) -> None:
    """Without a person there are no rows, not all rows; only the caretaker works across people."""
    two_people(worker)
    reader, caretaker = notes.speaking_as("reader"), notes.speaking_as("caretaker")

    assert bodies(worker, None) == []
    assert bodies(reader, None) == []
    assert sorted(bodies(caretaker, None)) == ["Ada's", "Bob's"]


def test_nobody_writes_a_row_of_another_person(worker: Database) -> None:
    """Row level security refuses what a mixed-up message would write."""
    with pytest.raises(Exception, match="row-level security") as refused, worker.transaction(ADA) as transaction:
        write(transaction, BOB, 1)

    assert sqlstate(refused.value) == "42501"
    assert bodies(worker, BOB) == []


def test_a_reader_cannot_write(notes: TestDatabase) -> None:
    """The dashboard holds a role that changes nothing."""
    reader = notes.speaking_as("reader")

    with pytest.raises(Exception, match="permission denied"), reader.transaction(ADA) as transaction:
        write(transaction, ADA, 1)


def test_a_pooled_connection_carries_nothing_over(notes: TestDatabase) -> None:
    """The next use of a connection must not speak for the person before: the classic leak of a pool."""
    worker = notes.speaking_as("worker", database_connections=1)
    with pytest.raises(ZeroDivisionError), worker.transaction(BOB):
        raise ZeroDivisionError
    with worker.transaction(ADA) as transaction:
        speaks = transaction.row("who_am_i")
    assert speaks
    assert (speaks["role"], speaks["person"]) == ("drivestream_worker", str(ADA))
    [link] = worker._pool._idle

    carried = link.connection.execute_simple(
        "SELECT current_user::text, current_setting('app.user_id', true), pg_backend_pid()"
    ).rows

    assert carried == [["drivestream_app", "", speaks["backend"]]]


def test_the_login_alone_sees_nothing(notes: TestDatabase, worker: Database) -> None:
    """A stolen connection that does not say which role it plays has no rights at all."""
    two_people(worker)
    connection = connect(notes.settings())

    with pytest.raises(Exception, match="permission denied") as refused:
        connection.execute_simple("SELECT * FROM notes")

    assert sqlstate(refused.value) == "42501"
    connection.close()


@pytest.mark.parametrize(
    ("login", "may", "may_not"),
    [
        ("dashboard", {"reader"}, {"worker", "caretaker"}),
        ("file_streamer", {"worker"}, {"reader", "caretaker"}),
        ("channel_renewer", {"worker", "caretaker"}, {"reader"}),
    ],
)
def test_a_function_speaks_only_as_what_it_is(
    notes: TestDatabase, login: str, may: set[str], may_not: set[str]
) -> None:
    """A broken function can do no more than its own role, whatever it asks for."""
    for role in sorted(may | may_not):
        database = Database(notes.settings(f"drivestream_{login}"), f"drivestream_{role}")
        if role in may:
            with database.transaction(None) as transaction:
                found = transaction.row("who_am_i")
            assert found
            assert found["role"] == f"drivestream_{role}"
        else:
            with pytest.raises(Exception, match="permission denied to set role"), database.transaction(None):
                pass
        database.close()


def test_no_role_is_above_the_policies(notes: TestDatabase) -> None:
    """One BYPASSRLS would make every policy a decoration."""
    found = notes.admin(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'drivestream%' AND (rolsuper OR rolbypassrls OR rolcreaterole)"
    )

    assert found == []


@pytest.mark.parametrize(
    "person", ["", "not-a-uuid", "'; DROP TABLE notes; --", "00000000-0000-4000-8000-000000000000', false)--"]
)
def test_a_person_is_a_uuid_or_nobody(worker: Database, person: str) -> None:
    """The first message quotes the person: nothing but a UUID may get there."""
    with pytest.raises(ValueError, match="badly formed"), worker.transaction(person):
        pass


def test_a_role_is_one_of_three(notes: TestDatabase) -> None:
    """The role is quoted as well."""
    with pytest.raises(ValueError, match="drivestream_worker"):
        Database(notes.settings(), "postgres")


# Transactions


def test_an_error_leaves_nothing(worker: Database) -> None:
    """Half a story is none."""
    with pytest.raises(ZeroDivisionError), worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1)
        raise ZeroDivisionError

    assert bodies(worker, ADA) == []


def test_a_swallowed_database_error_is_not_a_success(worker: Database) -> None:
    """Postgres answers COMMIT with ROLLBACK after an error; who swallowed it must not believe it was saved."""
    with pytest.raises(Exception, match="division by zero"), worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1)
        with pytest.raises(Exception, match="division by zero"):
            transaction.row("break_rule", zero=0)

    assert bodies(worker, ADA) == []


def test_an_idle_connection_that_died_is_replaced_unnoticed(notes: TestDatabase, worker: Database) -> None:
    """A frozen instance wakes with dead connections: no delivery may fail for that."""
    backend = _backend(worker)
    notes.admin(f"SELECT pg_terminate_backend({backend}, 5000)")

    with worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1, "still here")

    assert bodies(worker, ADA) == ["still here"]


def test_a_connection_that_dies_in_a_transaction_runs_it_again(notes: TestDatabase, worker: Database) -> None:
    """A failover in the middle costs a repetition, not a delivery."""
    runs: list[int] = []

    def story(transaction: Transaction) -> None:
        write(transaction, ADA, 1, f"run {len(runs)}")
        runs.append(1)
        if len(runs) == 1:
            found = transaction.row("who_am_i")
            assert found
            notes.admin(f"SELECT pg_terminate_backend({found['backend']}, 5000)")

    worker.run_transaction(ADA, story)

    assert bodies(worker, ADA) == ["run 1"]


def test_a_deadlock_is_run_again_until_both_are_done(worker: Database) -> None:
    """Two deliveries that touch the same files in opposite order both end well."""
    with worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1)
        write(transaction, ADA, 2)
    both_hold_one = threading.Barrier(2)
    runs: list[int] = []

    def in_order(first: int, second: int) -> None:
        def story(transaction: Transaction) -> None:
            transaction.run("change_note", id=first, more="x")
            runs.append(first)
            if runs.count(first) == 1:
                both_hold_one.wait(10)
            transaction.run("change_note", id=second, more="x")

        worker.run_transaction(ADA, story)

    _at_once(lambda: in_order(1, 2), lambda: in_order(2, 1))

    assert bodies(worker, ADA) == ["xx", "xx"]
    assert len(runs) >= 3  # more often where the second try meets the other one again


def test_a_story_is_run_five_times_at_most(worker: Database) -> None:
    """What never gets better goes back to the broker, with a class that says so."""
    runs: list[int] = []

    def story(_: Transaction) -> None:
        runs.append(1)
        raise Interrupted("again")

    with pytest.raises(Unavailable):
        worker.run_transaction(ADA, story)

    assert len(runs) == 5


def test_a_statement_that_takes_too_long_is_ended_once(notes: TestDatabase) -> None:
    """The statement timeout holds, and a statement that used it up is not tried again in this delivery."""
    worker = notes.speaking_as("worker", statement_timeout_seconds=0.1)
    runs: list[int] = []

    def story(transaction: Transaction) -> None:
        runs.append(1)
        transaction.rows("sleep", seconds=60)

    with pytest.raises(Unavailable) as ended:
        worker.run_transaction(ADA, story)

    assert ended.value.code == "database_busy"
    assert len(runs) == 1


def _comes_in(database: Database) -> bool:
    """Is there a connection free? One that was closed a moment ago may still count."""
    try:
        return bodies(database, ADA) == []
    except Unavailable:
        return False


def test_a_full_database_means_later(notes: TestDatabase) -> None:
    """Too many connections is a reason to come back, not a crash."""
    notes.admin(f"ALTER DATABASE {notes.name} CONNECTION LIMIT 1")
    one, other = notes.speaking_as("worker"), notes.speaking_as("worker")
    _until(lambda: _comes_in(one))

    with one.transaction(ADA), pytest.raises(Unavailable) as refused, other.transaction(ADA):
        pass

    assert refused.value.code == "database_full"
    assert refused.value.retry_after
    one.close()
    _until(lambda: _comes_in(other))
    assert bodies(other, ADA) == []


def test_a_database_that_takes_no_writes_means_later(notes: TestDatabase, worker: Database) -> None:
    """During a failover or with a full disk a write is put off, and somebody is told."""
    notes.admin(f"ALTER DATABASE {notes.name} SET default_transaction_read_only = on")

    with pytest.raises(Unavailable) as refused, worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1)

    assert refused.value.code == "database_read_only"


def test_an_absent_database_means_later(notes: TestDatabase) -> None:
    """A restart of the database is waited out by the broker."""
    nowhere = notes.settings(database_connections=1)
    object.__setattr__(nowhere, "database_url", "postgresql://a:b@127.0.0.1:9/c")
    database = Database(nowhere, "drivestream_worker")

    for _ in range(3):  # a place in the pool must not be lost by a failure
        with pytest.raises(Unavailable), database.transaction(ADA):
            pass


def test_cloud_sql_is_reached_by_its_address_and_believed_by_its_authority_alone(
    notes: TestDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The connector costs a start more than everything else that a door loads; a certificate of somebody else's opens
    nothing, however well it is signed."""
    login = urlsplit(notes.url("drivestream_app"))
    monkeypatch.setattr(google_requests, "access_token", lambda: login.password)
    monkeypatch.setitem(sys.modules, "google.cloud.sql.connector", None)  # nobody can import it
    config = replace(
        notes.settings(), cloud_sql_instance="p:r:i", cloud_sql_address="127.0.0.1", cloud_sql_user="drivestream_app",
        cloud_sql_database=notes.name,
    )  # fmt: skip
    authority, certificate = certified(tmp_path)
    other, _ = certified(tmp_path)
    with behind_tls(login.port, certificate) as port:
        reach = partial(postgres_adapter._connect_by_address, port=port)
        monkeypatch.setattr(postgres_adapter, "_connect_by_address", reach)
        connection = connect(replace(config, cloud_sql_ca=authority))
        [[who]] = connection.execute_simple("SELECT current_user").rows
        connection.close()
        with pytest.raises(Unavailable):
            connect(replace(config, cloud_sql_ca=other))

    assert who == "drivestream_app"


def certified(folder: Path) -> tuple[str, Path]:
    """An authority in PEM, and a file with a certificate that it signed and its key. It names an instance, as Cloud
    SQL's do."""
    now = datetime.now(UTC)

    def signed(name: str, key: Any, by: Any, by_key: Any, *, authority: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(by or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(by_key, hashes.SHA256())
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = signed("Cloud SQL Server CA", ca_key, None, ca_key, authority=True)
    leaf = signed("p:i", key, ca.subject, ca_key, authority=False)
    pem = Encoding.PEM
    path = folder / f"{uuid4().hex}.pem"
    path.write_bytes(leaf.public_bytes(pem) + key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()))
    return ca.public_bytes(pem).decode(), path


@contextmanager
def behind_tls(port: int | None, certificate: Path) -> Iterator[int]:
    """A Postgres that speaks TLS only, before the one at the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def relay(caller: socket.socket) -> None:
        asked = caller.recv(8)
        assert unpack("!ii", asked) == (8, 80877103)  # SSLRequest
        caller.sendall(b"S")
        try:
            here = context.wrap_socket(caller, server_side=True)
        except OSError:  # whoever does not believe the certificate hangs up
            caller.close()
            return
        with here, socket.create_connection(("127.0.0.1", port or 5432)) as there:
            back = threading.Thread(target=copy, args=(there, here), daemon=True)
            back.start()
            copy(here, there)
            back.join(10)

    def serve(door: socket.socket) -> None:
        with suppress(OSError):  # the door is closed: that is the end
            while True:
                relay(door.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=serve, args=(door,), daemon=True).start()
        yield door.getsockname()[1]


def test_many_threads_share_few_connections(notes: TestDatabase) -> None:
    """Requests at once wait for a connection; none of them sees another's person."""
    worker = notes.speaking_as("worker", database_connections=2)
    people = [uuid4() for _ in range(8)]
    seen: list[tuple[UUID, set[UUID]]] = []

    def work(person: UUID) -> None:
        for number in range(10):
            with worker.transaction(person) as transaction:
                write(transaction, person, number)
            with worker.transaction(person) as transaction:
                seen.append((person, {row["user_id"] for row in transaction.rows("read_notes")}))

    _at_once(*[lambda person=person: work(person) for person in people])

    assert len(seen) == 80
    assert all(others == {person} for person, others in seen)
    assert len(worker._pool._idle) <= 2


def test_an_old_connection_is_replaced(worker: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates end and failovers move: no connection is kept for ever."""
    before = _backend(worker)
    monkeypatch.setattr("shared.adapters.postgres.RECYCLE_SECONDS", -1.0)
    assert _backend(worker) == before

    assert _backend(worker) != before


def test_a_changed_table_is_run_again_on_a_new_connection(notes: TestDatabase, worker: Database) -> None:
    """A migration under a running function makes its prepared statements stale, which must heal by itself."""
    notes.admin("CREATE TABLE changing AS SELECT 1 AS a; GRANT ALL ON changing TO drivestream_worker")
    assert worker.run_transaction(None, lambda transaction: transaction.rows("read_changing")) == [{"a": 1}]
    notes.admin("ALTER TABLE changing ADD b text DEFAULT 'new'")

    found = worker.run_transaction(None, lambda transaction: transaction.rows("read_changing"))

    assert found == [{"a": 1, "b": "new"}]


# What goes over the wire


def test_values_come_back_as_they_were(worker: Database) -> None:
    """Rows are plain Python: no caller parses what Postgres prints."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    extra = {"page": 3, "list": [1, None, "ü"], "nested": {"a": True}}

    with worker.transaction(ADA) as transaction:
        write(transaction, ADA, 7, "it's :not a % parameter", extra=extra, tags=["a b", 'c"d', ""], at=at)
        row = transaction.row("read_notes")

    assert row == {
        "user_id": ADA,
        "id": 7,
        "body": "it's :not a % parameter",
        "extra": extra,
        "tags": ["a b", 'c"d', ""],
        "at": at,
    }


def test_text_that_postgres_refuses_is_cleaned(worker: Database) -> None:
    """A NUL or half an emoji in a document must not make its message fail for ever."""
    with worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1, "a\0b\ud800c\ud83d\ude00", extra={"k\0": ["\udfff"]}, tags=["\0x"])
        row = transaction.row("read_notes")

    assert row
    assert row["body"] == "ab\ufffdc😀"
    assert row["extra"] == {"k": ["\ufffd"]}
    assert row["tags"] == ["x"]


@settings(deadline=None)
@given(st.text(alphabet=st.characters()))
def test_clean_text_can_always_be_said_in_utf8(text: str) -> None:
    """Whatever a parser produced, the database accepts it, and good text is not touched."""
    cleaned = clean_text(text)

    cleaned.encode()
    assert "\0" not in cleaned
    if "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert cleaned == text


def test_missing_and_unknown_parameters_are_named(worker: Database) -> None:
    """A typing error in a call is found in the first test, not as a NULL in production."""
    with pytest.raises(TypeError, match=r"change_note takes \(more, id\), not \(id, text\)"):  # noqa: SIM117
        with worker.transaction(ADA) as transaction:
            transaction.run("change_note", id=1, text="x")


def test_rows_are_counted(worker: Database) -> None:
    """`run` says how many rows it touched: the guard in a WHERE speaks through it."""
    with worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1)

        assert transaction.run("change_note", id=1, more="x") == 1
        assert transaction.run("change_note", id=2, more="x") == 0


# Bulk loads


def test_a_bulk_load_reaches_a_table_with_policies(worker: Database) -> None:
    """COPY into such a table is refused; through a temporary one it obeys the same policies as everything else."""
    at = datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC)
    rows = [(ADA, n, f"note {n}\0", {"n": n}, at if n % 2 else None) for n in range(1000)]
    columns = {"user_id": "uuid", "id": "int4", "body": "text", "extra": "jsonb", "at": "timestamptz"}

    with worker.transaction(ADA) as transaction:
        transaction.run("stage_notes")
        loaded = transaction.copy_binary("staged_notes", columns, rows)
        saved = transaction.run("save_staged_notes")

    assert loaded == saved == 1000
    with worker.transaction(ADA) as transaction:
        found = transaction.rows("read_notes")
    assert [(r["user_id"], r["id"], r["body"], r["extra"], r["at"]) for r in found] == [
        (person, n, body.rstrip("\0"), extra, when) for person, n, body, extra, when in rows
    ]
    with pytest.raises(Exception, match="row-level security"), worker.transaction(ADA) as transaction:
        transaction.run("stage_notes")
        transaction.copy_binary("staged_notes", columns, [(BOB, 1, "", None, None)])
        transaction.run("save_staged_notes")


def test_every_type_survives_a_bulk_load(worker: Database) -> None:
    """Each type's edges, side by side with NULL."""
    columns = {
        "a": "uuid", "b": "int4", "c": "int8", "d": "float4", "e": "bool",
        "f": "text", "g": "bytea", "h": "jsonb", "i": "timestamptz",
    }  # fmt: skip
    far, json_value = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), {"ü": [None, 1.5, "\\u0000"]}
    rows = [
        (ADA, -(2**31), 2**63 - 1, -0.5, True, "", b"\0\xff", json_value, far),
        (BOB, 2**31 - 1, -(2**63), 3.0, False, "日本\n\t\\N", b"", [], datetime(1, 1, 1, tzinfo=UTC)),
        (None,) * 9,
    ]

    with worker.transaction(None) as transaction:
        transaction.run("stage")
        transaction.copy_binary("staged", columns, rows)
        found = transaction.rows("read_staged")

    assert [tuple(row.values()) for row in found] == rows


def test_half_vectors_loaded_as_binary_equal_those_written_as_text(worker: Database) -> None:
    """The fast way and the slow way must mean the same vector, to the last bit."""
    random.seed(1)
    edges = [0.0, -0.0, 1.0, -1.0, 65504.0, 6.1e-5, 5.96e-8, 2.98e-8, 0.1, 1 / 3]
    vectors = {1: _as_floats(edges)} | {
        n: _as_floats([random.gauss(0, 0.05) for _ in range(768)]) for n in range(2, 40)
    }

    with worker.transaction(None) as transaction:
        for number, vector in vectors.items():
            transaction.run("save_vector", id=number, embedding="[" + ",".join(map(repr, vector)) + "]")
        transaction.run("stage_vectors")
        transaction.copy_binary("staged_vectors", {"id": "int4", "embedding": "halfvec"}, vectors.items())
        compared = transaction.rows("compare_vectors")

    assert len(compared) == len(vectors)
    assert all(row["equal"] for row in compared)


def test_a_bulk_load_that_breaks_off_saves_nothing(worker: Database) -> None:
    """A row that cannot be encoded in mid-stream leaves no half table and no confused connection."""

    def rows() -> Iterator[tuple[int, str]]:
        yield from ((n, "x" * 1000) for n in range(1000))
        raise RuntimeError("the passages ended in an error")

    with pytest.raises(RuntimeError, match="ended in an error"), worker.transaction(ADA) as transaction:
        write(transaction, ADA, 1)
        transaction.run("stage")
        transaction.copy_binary("staged", {"b": "int4", "f": "text"}, rows())

    assert bodies(worker, ADA) == []


def test_a_bulk_load_refuses_what_is_not_a_name_or_a_type(worker: Database) -> None:
    """Names are quoted and types come from a list, so that no data becomes SQL."""
    with worker.transaction(None) as transaction, pytest.raises(ValueError, match="does not know int4; DROP"):
        transaction.copy_binary("staged", {"a": "int4; DROP TABLE notes"}, [])

    with pytest.raises(Exception, match="does not exist"), worker.transaction(None) as transaction:
        transaction.copy_binary('x"; DROP TABLE notes; --', {"a": "int4"}, [(1,)])

    assert bodies(worker, ADA) == []


def test_a_bulk_load_never_reaches_a_real_table(worker: Database) -> None:
    """Only a temporary table is loaded, even where a real one has the name: policies cannot be gone round."""
    with pytest.raises(Exception, match="does not exist"), worker.transaction(None) as transaction:
        transaction.copy_binary("vectors", {"id": "int4"}, [(1,)])


# Named queries


def test_an_unknown_query_suggests_the_nearest(notes: TestDatabase) -> None:
    """A typing error in a name says what was meant."""
    with pytest.raises(KeyError, match="Did you mean read_notes"):
        query("read_note")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT 1;", "before its first"),
        ("-- name: a\n-- Why.\nSELECT 1;\n-- name: a\n-- Why.\nSELECT 2;", "a second time"),
        ("-- name: a\nSELECT 1;", "needs a sentence"),
        ("-- name: a\n-- Why.\n", "needs a sentence"),
    ],
)
def test_a_badly_written_query_file_is_refused(text: str, says: str) -> None:
    """SQL is code: a statement without a name or a reason does not get in."""
    with pytest.raises(QueryFileError, match=says):
        parse_queries([("file.sql", text)])


def test_every_query_of_the_project_prepares_against_the_schema(database: TestDatabase) -> None:
    """A misspelt column is found here, not by the first message that needs it."""
    queries = sorted(all_queries().values(), key=lambda found: "CREATE TEMP" not in found.sql.upper())
    connection = connect_to_url(database.admin_url)
    faults = []
    for number, found in enumerate(queries):
        try:
            connection.prepare_statement(found.sql, ())
            if "CREATE TEMP" in found.sql.upper():  # those that read it come later
                connection.execute_simple(found.sql.replace("ON COMMIT DROP", ""))
        except Exception as error:  # noqa: BLE001 - all faults in one list
            faults.append(f"{number} {found.name}: {error}")
    connection.close()

    assert faults == []


# Helpers


def _backend(database: Database) -> int:
    with database.transaction(None) as transaction:
        row = transaction.row("who_am_i")
    assert row
    return int(row["backend"])


def _at_once(*stories: Callable[[], None]) -> None:
    faults: list[BaseException] = []

    def run(story: Callable[[], None]) -> None:
        try:
            story()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            faults.append(error)

    threads = [threading.Thread(target=run, args=[story]) for story in stories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def _as_floats(values: list[float]) -> list[float]:
    """The values as single floats, which is what models answer with."""
    form = f"{len(values)}f"
    return list(unpack(form, pack(form, *values)))
