"""People: told of changes as they happen, kept apart from each other, and forgotten when they ask for it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.file_chunk_pb2 import FileChunk
from schemas.messages.sync_requested_pb2 import SyncRequested
from schemas.messages.tick_pb2 import Tick
from shared.adapters import oauth
from shared.adapters.access import Access
from shared.adapters.firestore import Cursors
from shared.domain.errors import ReconnectNeeded
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES, FILE_CHUNKS, SYNC_REQUESTS, TICKS, receipt_id
from tests.integration.pipeline import PERSONAL, Person, Pipeline, browser, pipeline, sha256, wait_for

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

KINDS: dict[str, Callable[[], Any]] = {
    SYNC_REQUESTS: SyncRequested,
    FILE_CHANGES: FileChanged,
    FILE_BACKFILL: FileChanged,
    FILE_CHUNKS: FileChunk,
    TICKS: Tick,
}
ALICE: dict[str, str | bytes] = {
    "a.md": "# Ada\n\nAda Lovelace lived in London from 1835.\n",
    "b.csv": "tree,year\nquince,1974\n",
    "c.bin": bytes(range(256)),
}


@pytest.fixture
def announced(pipeline: Pipeline) -> Iterator[Pipeline]:
    """Drive pushes its notifications to the webhook."""
    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        yield pipeline


def channels_at_google(pipeline: Pipeline, person: Person) -> list[str]:
    """The channels that Google has open for a person."""
    rows = pipeline.google._store.rows("SELECT id FROM channels WHERE email = ?", person.email)
    return sorted(row["id"] for row in rows)


def sealed_token(pipeline: Pipeline, person: Person) -> str:
    """A person's refresh token as it is kept."""
    rows = pipeline.sql(f"SELECT refresh_token_sealed FROM user_google_credentials WHERE user_id = '{person.user_id}'")
    return str(rows[0][0])


# Notifications --------------------------------------------------------------------------------------------------------


def test_a_change_is_found_because_drive_announced_it(announced: Pipeline) -> None:
    """Nobody asks and no clock ticks: a notification alone brings the edit into search."""
    person = announced.person({"a.md": "The gate is green.\n"})

    person.put("a.md", "The gate is red.\n")

    wait_for(lambda: announced.text(person, "a.md") == "The gate is red.")
    announced.settle()
    assert announced.files(person)["a.md"]["state"] == "indexed"


def test_what_no_notification_announced_the_sweep_finds(announced: Pipeline) -> None:
    """Notifications get lost. One sweep later nothing is missing."""
    person = announced.person({"a.md": "The gate is green.\n", "b.md": "Goes.\n"})
    announced.settle()
    announced.google.faults.lose_notifications(times=None)

    person.put("a.md", "The gate is red.\n")
    person.remove("b.md")
    announced.tick("sweep")

    assert announced.text(person, "a.md") == "The gate is red."
    assert announced.states(person) == {"a.md": "indexed", "b.md": "deleted"}


def test_a_channel_is_renewed_before_it_ends_and_never_missing(announced: Pipeline) -> None:
    """The new one is open before the old one is stopped, and there are never more than two."""
    person = announced.person({"a.md": "One.\n"})
    (old,) = channels_at_google(announced, person)

    announced.tick("renew")
    unchanged = channels_at_google(announced, person)
    with announced.setting(CHANNEL_RENEWAL_SECONDS="700000", WEBHOOK_URL=announced.url("drive_webhook")):
        announced.tick("renew")
    (new,) = channels_at_google(announced, person)

    assert unchanged == [old]
    assert new != old
    assert [path for path in announced.documents_of(person) if path.startswith("channels/")] == [f"channels/{new}"]
    states = announced.sql(f"SELECT channel_id, state FROM gdrive_webhooks WHERE user_id = '{person.user_id}'")
    assert dict(map(tuple, states)) == {old: "stopped", new: "active"}  # type: ignore[arg-type]


def test_where_no_push_can_reach_us_the_caretaker_says_so_and_opens_nothing(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """A laptop has no address that Drive could push to: that is how it is, and no failure."""
    person = pipeline.person({"a.md": "Medlars.\n"})
    pipeline.sync(person)
    watched = pipeline.google.faults.calls["changes.watch"]
    capsys.readouterr()

    pipeline.tick("renew")
    pipeline.sync(person)

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"polling"' in line]
    assert [(one["severity"], one["every_seconds"]) for one in said] == [("INFO", pipeline.settings.sweep_seconds)]
    assert pipeline.google.faults.calls["changes.watch"] == watched
    assert channels_at_google(pipeline, person) == []
    assert not [path for path in pipeline.documents_of(person) if path.startswith("channels/")]


def test_a_sweep_that_finds_nothing_new_asks_for_the_changes_of_each_corpus_once(pipeline: Pipeline) -> None:
    """Where changes are polled every few seconds, what an idle person costs is what everybody costs."""
    person = pipeline.person({"a.md": "Medlars.\n"})
    pipeline.team("nuttery", person, files={"b.md": "Cobnuts.\n"})
    pipeline.sync(person)
    corpora = Cursors(pipeline.settings).corpora(person.user_id)
    pipeline.messages(SYNC_REQUESTS, person, SyncRequested)
    pipeline.tick("sweep")
    asked = pipeline.messages(SYNC_REQUESTS, person, SyncRequested)
    before = pipeline.google.faults.calls.copy()

    for corpus in corpora:
        pipeline.sync(person, corpus=corpus)

    assert len(corpora) == 2
    assert sorted(request.corpus for request in asked) == sorted(corpora)
    # Whether a shared drive was joined is asked once more, for the person and not for each drive.
    assert pipeline.google.faults.calls - before == {"changes.list": 2, "drives.list": 1}


# Shared drives --------------------------------------------------------------------------------------------------------


def test_a_shared_drive_is_read_for_its_members_and_gone_for_who_leaves(pipeline: Pipeline) -> None:
    """What colleagues share belongs to the second brain, as long as one is a colleague."""
    ada, grace = pipeline.person({"own.md": "Alone.\n"}), pipeline.person()
    pipeline.team("orchard", ada, grace, files={"plan.md": "Damsons along the wall.\n"})

    for person in (ada, grace):
        pipeline.sync(person)
    both = [pipeline.states(person) for person in (ada, grace)]
    pipeline.team("orchard", ada)
    for person in (ada, grace):
        pipeline.sync(person)

    assert both == [{"own.md": "indexed", "plan.md": "indexed"}, {"plan.md": "indexed"}]
    assert pipeline.states(ada) == {"own.md": "indexed", "plan.md": "indexed"}
    assert pipeline.states(grace) == {"plan.md": "deleted"}
    assert pipeline.search(grace, "damsons") == []
    assert pipeline.search(ada, "damsons")[0]["name"] == "plan.md"


# Kept apart -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["reader", "worker"])
def test_no_role_sees_rows_of_anybody_else_even_without_a_where(pipeline: Pipeline, role: str) -> None:
    """A query that forgets its WHERE must show one person's rows, and nobody's when nobody was named."""
    ada, grace = pipeline.person(ALICE), pipeline.person()
    tables = [table for table in PERSONAL if (role, table) != ("reader", "user_google_credentials")]

    with pipeline.connection() as connection:
        for who in (grace.user_id, ""):
            speaking = f"set_config('role', 'drivestream_{role}', true), set_config('app.user_id', '{who}', true)"
            connection.execute_simple(f"BEGIN; SELECT {speaking}")
            for table in tables:
                seen = connection.execute_simple(f"SELECT DISTINCT user_id::text FROM {table}").rows
                assert {row[0] for row in seen} <= {who}, table
            connection.execute_simple("ROLLBACK")
    assert pipeline.count("memories", ada) > 0
    assert pipeline.search(grace, "Lovelace London quince") == []


def test_a_message_cannot_move_somebody_elses_file(pipeline: Pipeline) -> None:
    """A message names its person; naming the file or the job of another one must find nothing."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    ada, grace = pipeline.person(ALICE), pipeline.person()
    chunks = pipeline.messages(FILE_CHUNKS, ada, FileChunk)
    before = [(table, pipeline.count(table, ada)) for table in PERSONAL], pipeline.passages(ada)

    for chunk in chunks:
        chunk.user_id = grace.user_id
        assert pipeline.push("ai_processor", chunk).status_code == 204
    changed = FileChanged(user_id=grace.user_id, file_id=ada.id_of("a.md"), reason=FileChanged.Reason.ASKED)
    assert pipeline.push("file_streamer", changed).status_code == 204
    pipeline.settle()

    assert ([(table, pipeline.count(table, ada)) for table in PERSONAL], pipeline.passages(ada)) == before
    assert all(
        pipeline.count(table, grace) == 0 for table in ("gdrive_files", "gdrive_jobs", "gdrive_chunks", "memories")
    )


def test_one_persons_trouble_is_nobody_elses(pipeline: Pipeline) -> None:
    """A grant that was taken back must not stop the sweep of everybody else."""
    ada, grace = pipeline.person({"a.md": "One.\n"}), pipeline.person({"b.md": "Two.\n"})
    pipeline.google.revoke(ada.email)
    ada.put("a.md", "One more.\n")
    grace.put("b.md", "Two more.\n")

    pipeline.tick("sweep")
    pipeline.tick("renew")

    assert pipeline.text(grace, "b.md") == "Two more."
    assert pipeline.states(grace) == {"b.md": "indexed"}


# Forgotten ------------------------------------------------------------------------------------------------------------


def left_of(pipeline: Pipeline, person: Person) -> dict[str, int]:
    """Rows of a person in every table that has a user_id, as the catalogue knows them."""
    tables = pipeline.sql(
        "SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_name)"
        " WHERE c.column_name = 'user_id' AND c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
    )
    assert {table for (table,) in tables} == set(PERSONAL)
    counted = {table: pipeline.count(table, person) for (table,) in tables}
    return {table: rows for table, rows in counted.items() if rows}


def disconnect(pipeline: Pipeline, person: Person) -> str:
    """Press the button on the dashboard; the receipt."""
    with pipeline.speaking_as("worker").transaction(person.user_id) as tx:
        tx.run("offer_signin", code_hash=sha256("x" * 20 + person.user_id), seconds=60.0)
    with browser() as session:
        code = {"code": "x" * 20 + person.user_id}
        session.get(pipeline.url("dashboard") + "/signin", params=code, allow_redirects=False)
        answer = session.post(pipeline.url("dashboard") + "/api/disconnect", headers={"Accept": "application/json"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["receipt"])


def test_who_asks_to_be_forgotten_leaves_nothing_but_an_anonymous_receipt(announced: Pipeline) -> None:
    """Rows, documents, channels and the grant at Google are gone, and no old message brings anything back."""
    for topic, kind in KINDS.items():
        announced.messages(topic, Person("", announced.drive), kind)
    bystander = announced.person({"x.md": "Stays.\n"})
    person = announced.person(ALICE)
    old_id = person.user_id
    access = Access(announced.settings, announced.speaking_as("worker"))
    refresh_token = access.refresh_token(sealed_token(announced, person), old_id)
    before = announced.passages(bystander)
    announced.sql(f"UPDATE gdrive_files SET name = 'wrong' WHERE user_id = '{old_id}' AND name = 'a.md'")
    announced.sql(f"INSERT INTO settings (user_id, selected_folders) VALUES ('{old_id}', '{{}}')")
    announced.sql(
        "INSERT INTO reservations SELECT job_id, 0, user_id, 1, 1, 1, now() FROM gdrive_jobs"
        f" WHERE user_id = '{old_id}'"
    )
    announced.sql(
        f"INSERT INTO paid_pages SELECT job_id, 0, user_id, '{{}}' FROM gdrive_jobs WHERE user_id = '{old_id}'"
    )
    announced.sql(
        "INSERT INTO paid_vectors SELECT job_id, index, hash, user_id, embedding FROM memories"
        f" WHERE user_id = '{old_id}' ON CONFLICT DO NOTHING"
    )
    announced.sql(f"INSERT INTO pauses VALUES ('{old_id}', 'my-drive', now(), 'quota_day', 'It waits.')")
    announced.sql(f"INSERT INTO idempotent_requests (user_id, key, fingerprint) VALUES ('{old_id}', 'k', 'x')")
    announced.sql(f"INSERT INTO vouched_people (caller, person, user_id) VALUES ('a@b', '1', '{old_id}')")
    announced.sync(person, "CENSUS")
    had = left_of(announced, person)
    assert set(PERSONAL) - set(had) <= {"sessions", "signin_codes"}

    receipt = disconnect(announced, person)
    announced.settle()
    said = [(topic, message) for topic, kind in KINDS.items() for message in announced.messages(topic, person, kind)]

    assert left_of(announced, person) == {}
    assert announced.documents_of(person) == {}
    assert channels_at_google(announced, person) == []
    with pytest.raises(ReconnectNeeded):
        oauth.refresh(announced.settings, announced.client_secret, refresh_token)
    assert receipt == receipt_id(old_id)
    rows = announced.sql(f"SELECT files, passages FROM receipts WHERE receipt_id = '{receipt}'")
    assert rows == [[len(ALICE), had["memories"]]]
    random.Random(3).shuffle(said)
    everything = announced.everything()
    for topic, message in said:
        announced.say(topic, message)
    announced.settle()
    assert said
    assert announced.everything()[:2] == everything[:2]
    assert announced.passages(bystander) == before

    announced.connect(person)
    announced.settle()
    assert person.user_id != old_id
    assert announced.states(person) == {"a.md": "indexed", "b.csv": "indexed", "c.bin": "skipped"}


def test_an_erasure_ends_work_that_is_under_way(pipeline: Pipeline) -> None:
    """A worker in the middle of a file must not write after the person is gone."""
    pipeline.google.faults.slow("files.media", 0.5, times=None)
    before = pipeline.google.faults.calls["files.media"]
    person = pipeline.person(ALICE, connect=False)
    pipeline.connect(person)
    wait_for(lambda: pipeline.google.faults.calls["files.media"] > before)

    disconnect(pipeline, person)
    pipeline.settle()

    assert left_of(pipeline, person) == {}
    assert pipeline.documents_of(person) == {}


def test_an_erasure_that_was_never_announced_happens_all_the_same(pipeline: Pipeline) -> None:
    """The tick may be lost; what the person was promised is not."""
    person = pipeline.person(ALICE)
    with pipeline.speaking_as("reader").transaction(person.user_id) as tx:
        tx.rows("ask_to_be_forgotten")

    pipeline.tick("erase")

    assert left_of(pipeline, person) == {}
    assert pipeline.documents_of(person) == {}


def test_while_google_is_away_the_texts_go_first_and_the_grant_as_soon_as_it_is_back(pipeline: Pipeline) -> None:
    """A grant that cannot be revoked now is revoked later; that must not keep the texts here, nor forget the grant."""
    person = pipeline.person(ALICE)
    pipeline.google.faults.fail("revoke", 503, "backendError", times=None)

    disconnect(pipeline, person)
    wait_for(lambda: pipeline.pubsub.backlog()["channel-renewer"] == pipeline.pubsub.backlog()["dead-letters"] == 0)
    meanwhile = left_of(pipeline, person)
    pipeline.heal()
    pipeline.tick("erase")

    assert "users" in meanwhile
    assert not {"memories", "entities", "relations", "gdrive_chunks", "gdrive_jobs"} & set(meanwhile)
    assert left_of(pipeline, person) == {}
    assert pipeline.google._tokens.rows("SELECT 1 FROM grants WHERE email = ?", person.email) == []


# Secrets --------------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_log_a_message_a_row_or_a_document(
    announced: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log reader, a database dump and a copy of the backlog must all be worth nothing."""
    for topic, kind in KINDS.items():
        announced.messages(topic, Person("", announced.drive), kind)
    capsys.readouterr()
    person = announced.person(ALICE)
    announced.google.faults.fail("files.media", 500, "backendError", times=3)
    person.put("a.md", "Something else.\n")
    announced.sync(person)
    access = Access(announced.settings, announced.speaking_as("worker"))
    tokens = announced.google._store.rows("SELECT token FROM channels WHERE email = ?", person.email)
    secrets = {
        "refresh token": access.refresh_token(sealed_token(announced, person), person.user_id),
        "access token": access.token(person.user_id),
        "client secret": announced.client_secret,
        "token key": announced.token_key.decode(),
        "push token": announced.push_token()[:80],
        "database password": announced.settings.database_url.split(":")[2].split("@")[0],
        **{f"channel token {number}": row["token"] for number, row in enumerate(tokens)},
    }

    logged = capsys.readouterr().out
    said = str([message for topic, kind in KINDS.items() for message in announced.messages(topic, person, kind)])
    rows = str([announced.sql(f"SELECT t::text FROM {table} t") for table in (*PERSONAL, "receipts")])
    documents = str(announced.documents_all())

    assert len(tokens) == 1
    assert person.user_id in logged
    for name, secret in secrets.items():
        assert len(secret) > 10, name
        for where, text in {"log": logged, "messages": said, "rows": rows, "documents": documents}.items():
            assert secret not in text, f"{name} in {where}"
    for text in ("Lovelace", "Something else", "a.md"):
        assert text not in logged
