"""What an operator does by hand: replay, rotate, restore and resync, by the commands themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken

from infra.local.data_folder import DataFolder
from infra.operate import replay, resync, rotate
from schemas.messages.file_changed_pb2 import FileChanged
from shared.adapters import firestore
from shared.config import Settings
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES
from tests.integration.pipeline import PERSONAL, PROJECT, Person, Pipeline, pipeline, wait_for

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

LOCAL = {field.name.upper() for field in fields(Settings)}
Command = Callable[..., dict[str, Any]]


@pytest.fixture
def operate(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """A command as an operator types it, with the settings of this stack in a file; what `--json` says. People of other
    tests rest meanwhile: a census of everybody is long."""
    resting = [
        row[0]
        for row in pipeline.sql(
            "UPDATE users SET status = 'reconnect_needed' WHERE status = 'active' RETURNING user_id"
        )
    ]
    names = sorted(LOCAL & os.environ.keys())
    file = tmp_path / "settings"
    file.write_text("# of this test\n" + "".join(f"{name}={os.environ[name]}\n" for name in names))

    def command(module: Any, *words: str, code: int = 0) -> dict[str, Any]:
        assert module.main([*words, "--settings", str(file), "--json"]) == code
        said = capsys.readouterr()
        if code:
            return {"said": said.err}
        answer: dict[str, Any] = json.loads(said.out.splitlines()[-1])
        return answer

    yield command
    pipeline.settle()
    woken = "', '".join(map(str, resting))
    pipeline.sql(f"UPDATE users SET status = 'active' WHERE user_id::text IN ('{woken}')")


# Replay -------------------------------------------------------------------------------------------------------------


def fail(pipeline: Pipeline, person: Person, name: str, code: str, state: str = "failed") -> None:
    """As the caretaker leaves a file behind whose message died."""
    pipeline.sql(
        f"UPDATE gdrive_files SET state = '{state}', reason_code = '{code}', reason = 'It died.',"
        f" next_try = now() + interval '1 hour',"
        f" current_job = CASE WHEN '{state}' = 'skipped' THEN NULL ELSE current_job END"
        f" WHERE user_id = '{person.user_id}' AND name = '{name}';"
        f" UPDATE gdrive_jobs SET state = 'failed' WHERE file_id = '{person.id_of(name)}'"
    )


def test_replay_puts_back_what_failed_for_the_reason_that_is_named(pipeline: Pipeline, operate: Command) -> None:
    """One cause is mended; what failed for another one would only fail again."""
    person = pipeline.person({"a.md": "Rhubarb.\n", "b.md": "Chives.\n", "c.md": "Sorrel.\n"})
    fail(pipeline, person, "a.md", "test_dead")
    fail(pipeline, person, "b.md", "test_other")

    counted = operate(replay, "--reason", "test_dead", "--dry-run")
    untouched = pipeline.states(person)
    answer = operate(replay, "--reason", "test_dead")
    pipeline.settle()

    assert counted == {"reasons": {"test_dead": 1}, "replayed": 0}
    assert untouched == {"a.md": "failed", "b.md": "failed", "c.md": "indexed"}
    assert answer == {"reasons": {"test_dead": 1}, "replayed": 1}
    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "failed", "c.md": "indexed"}


def test_replay_without_a_reason_puts_back_every_failed_file_in_its_own_lane(
    pipeline: Pipeline, operate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole first sync that failed must not come back as if it were edited now, and no batch is the last."""
    person = pipeline.person({f"{number}.md": f"Number {number}.\n" for number in range(5)})
    for number in range(5):
        fail(pipeline, person, f"{number}.md", "test_dead")
    pipeline.sql(f"UPDATE gdrive_jobs SET lane = 'fresh' WHERE file_id = '{person.id_of('0.md')}'")
    monkeypatch.setattr(replay, "BATCH", 2)
    for topic in (FILE_CHANGES, FILE_BACKFILL):
        pipeline.messages(topic, person, FileChanged)

    answer = operate(replay)
    pipeline.settle()

    assert answer["replayed"] >= 5
    assert set(pipeline.states(person).values()) == {"indexed"}
    assert len(pipeline.messages(FILE_CHANGES, person, FileChanged)) == 1
    assert len(pipeline.messages(FILE_BACKFILL, person, FileChanged)) == 4


def test_what_was_skipped_for_a_reason_that_is_mended_can_be_replayed(pipeline: Pipeline, operate: Command) -> None:
    """A reader that was taught a format must not wait until somebody edits each file."""
    person = pipeline.person({"a.md": "Rhubarb.\n", "b.md": "Chives.\n"})
    fail(pipeline, person, "a.md", "test_format", state="skipped")
    fail(pipeline, person, "b.md", "outside_folders", state="skipped")

    pipeline.hold_lanes("file-streamer")
    operate(replay, "--reason", "test_format")
    operate(replay, "--reason", "outside_folders")
    meanwhile = pipeline.text(person, "a.md")
    pipeline.release_lanes("file-streamer")
    pipeline.settle()

    assert meanwhile == ""  # what it held when it was skipped shows no sooner than somebody has looked again
    assert pipeline.states(person) == {"a.md": "indexed", "b.md": "skipped"}


# Rotate -------------------------------------------------------------------------------------------------------------


@contextmanager
def own_keys(pipeline: Pipeline) -> Iterator[None]:
    """The keys before, however many there are afterwards."""
    before = pipeline.vault.get("token-keys")
    assert before is not None
    yield
    with pipeline.setting():  # new instances, which read the keys anew
        pipeline.vault.put("token-keys", b"\n".join(dict.fromkeys((before, *keys_of(pipeline)))))


def keys_of(pipeline: Pipeline) -> list[bytes]:
    value = pipeline.vault.get("token-keys")
    assert value is not None
    return value.splitlines()


def sealed(pipeline: Pipeline, person: Person) -> str:
    found = pipeline.sql(f"SELECT refresh_token_sealed FROM user_google_credentials WHERE user_id = '{person.user_id}'")
    return str(found[0][0])


def opens(key: bytes, text: str) -> bool:
    try:
        return bool(Fernet(key).decrypt(text.encode()))
    except InvalidToken:
        return False


def age_the_keys(pipeline: Pipeline) -> None:
    folder = pipeline.root / "data" / "secrets" / PROJECT / "token-keys"
    for file in folder.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))


def test_a_rotation_seals_every_grant_with_the_new_key_and_nobody_connects_again(
    pipeline: Pipeline, operate: Command
) -> None:
    """A key that may have been seen by somebody must go, and no person should notice."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    before = keys_of(pipeline)
    with own_keys(pipeline):
        begun = operate(rotate)
        newest = keys_of(pipeline)
        too_early = operate(rotate, "--retire", code=1)
        age_the_keys(pipeline)
        ended = operate(rotate, "--retire")
        with pipeline.setting():  # instances that have never seen the old key
            person.put("b.md", "Chives.\n")
            pipeline.sync(person)
        states = pipeline.states(person)

    assert newest[1:] == before
    assert begun["resealed"] >= 1
    assert begun["lost"] == 0
    assert "come back in" in too_early["said"]
    assert ended["keys"] == 1
    assert ended["resealed"] == 0
    assert opens(newest[0], sealed(pipeline, person))
    assert states == {"a.md": "indexed", "b.md": "indexed"}
    assert pipeline.count("users", person, "status = 'active'") == 1


def test_what_was_sealed_with_the_old_key_meanwhile_is_sealed_anew_by_the_last_step(
    pipeline: Pipeline, operate: Command
) -> None:
    """A function keeps its keys for five minutes; whoever connects then must not be lost with the old key."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    early = sealed(pipeline, person)
    with own_keys(pipeline):
        operate(rotate)
        pipeline.sql(
            f"UPDATE user_google_credentials SET refresh_token_sealed = '{early}' WHERE user_id = '{person.user_id}'"
        )
        age_the_keys(pipeline)
        ended = operate(rotate, "--retire")
        newest = keys_of(pipeline)

    assert ended["resealed"] == 1
    assert len(newest) == 1
    assert opens(newest[0], sealed(pipeline, person))


def test_a_rotation_says_how_many_grants_no_key_opens(pipeline: Pipeline, operate: Command) -> None:
    """After a restore from before a rotation, the operator must hear it from the command and not from people."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    kept = sealed(pipeline, person)
    foreign = Fernet(Fernet.generate_key()).encrypt(b"[]").decode()
    pipeline.sql(
        f"UPDATE user_google_credentials SET refresh_token_sealed = '{foreign}' WHERE user_id = '{person.user_id}'"
    )

    answer = operate(rotate, "--reseal")

    pipeline.sql(
        f"UPDATE user_google_credentials SET refresh_token_sealed = '{kept}' WHERE user_id = '{person.user_id}'"
    )
    assert answer["lost"] == 1


# Restore and resync ---------------------------------------------------------------------------------------------------


@contextmanager
def restored_afterwards(pipeline: Pipeline, *people: Person) -> Iterator[None]:
    """All rows of these people are kept now, and after the block the database has them, as a restore leaves it."""
    own = ", ".join(f"'{person.user_id}'" for person in people)
    columns = {
        table: ", ".join(
            row[0]
            for row in pipeline.sql(
                "SELECT quote_ident(column_name) FROM information_schema.columns"
                f" WHERE table_name = '{table}' AND table_schema = 'public' AND is_generated = 'NEVER'"
            )
        )
        for table in PERSONAL
    }
    pipeline.sql("CREATE SCHEMA kept")
    for table in PERSONAL:
        pipeline.sql(f"CREATE TABLE kept.{table} AS SELECT * FROM {table} WHERE user_id IN ({own})")
    try:
        yield
        pipeline.settle()
        pipeline.sql("SET session_replication_role = replica")  # no cascades: the rows are whole already
        for table in PERSONAL:
            pipeline.sql(
                f"DELETE FROM {table} WHERE user_id IN ({own});"
                f" INSERT INTO {table} ({columns[table]}) OVERRIDING SYSTEM VALUE"
                f" SELECT {columns[table]} FROM kept.{table}"
            )
    finally:
        pipeline.sql("SET session_replication_role = origin")
        pipeline.sql("DROP SCHEMA kept CASCADE")


def test_after_a_restore_a_resync_finds_what_the_cursors_have_passed(pipeline: Pipeline, operate: Command) -> None:
    """The change log does not tell twice: without a census, edits of the lost hours would never be found again."""
    person = pipeline.person({"edited.md": "Old words.\n", "gone.md": "Chives.\n", "same.md": "Sorrel.\n"})
    with restored_afterwards(pipeline, person):
        person.put("edited.md", "New words.\n")
        person.put("new.md", "Rhubarb.\n")
        person.remove("gone.md")
        pipeline.sync(person)
        wanted = pipeline.states(person)
    restored = pipeline.states(person)
    pipeline.sync(person)  # as the sweep does; it finds nothing
    swept = pipeline.states(person)
    reads = pipeline.reads(person)

    operate(resync, "--restored")
    pipeline.settle()

    assert wanted == {"edited.md": "indexed", "new.md": "indexed", "gone.md": "deleted", "same.md": "indexed"}
    assert restored == swept == {"edited.md": "indexed", "gone.md": "indexed", "same.md": "indexed"}
    assert pipeline.states(person) == wanted
    assert pipeline.text(person, "edited.md") == "New words."
    assert pipeline.reads(person) - reads == 2


def test_whoever_left_since_the_backup_is_forgotten_again_when_the_operator_says_so(
    pipeline: Pipeline, operate: Command
) -> None:
    """A restore must not bring back what somebody has asked to have erased; and no command may guess that."""
    left, stays = pipeline.person({"a.md": "Rhubarb.\n"}), pipeline.person({"b.md": "Chives.\n"})
    with restored_afterwards(pipeline, left):
        pipeline.sql(f"UPDATE users SET status = 'erasing' WHERE user_id = '{left.user_id}'")
        pipeline.tick("erase", left.user_id)
        erased = pipeline.count("users", left)
    back = pipeline.count("users", left), pipeline.count("memories", left)

    undecided = operate(resync, "--restored", code=1)
    unchanged = pipeline.count("users", left)
    answer = operate(resync, "--restored", "--gone", "forget")
    pipeline.settle()

    assert (erased, back) == (0, (1, 1))
    assert "--gone forget" in undecided["said"]
    assert unchanged == 1
    assert answer["gone"] == 1
    assert [pipeline.count(table, left) for table in PERSONAL] == [0] * len(PERSONAL)
    assert pipeline.states(stays) == {"b.md": "indexed"}


def test_whoever_came_since_the_backup_leaves_nothing_behind_and_can_come_again(
    pipeline: Pipeline, operate: Command
) -> None:
    """Their rows are gone with the restore; documents of nobody must not stay in Firestore."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    came = person.user_id
    pipeline.sql(f"DELETE FROM users WHERE user_id = '{came}'")

    answer = operate(resync, "--restored")
    pipeline.settle()
    left = pipeline.documents_of(person)
    pipeline.connect(person)
    pipeline.settle()

    assert answer["unknown"] == 1
    assert left == {}
    assert person.user_id != came
    assert pipeline.states(person) == {"a.md": "indexed"}


def test_when_firestore_was_lost_everybody_is_connected_again_and_nobody_is_forgotten(
    pipeline: Pipeline, operate: Command
) -> None:
    """The same sign, nobody there, must not be read as everybody having left."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    kept = pipeline.documents_all()
    for path in kept:
        document(pipeline, path).delete()
    person.put("b.md", "Chives.\n")

    refused = operate(resync, "--restored", "--gone", "forget", code=1)
    answer = operate(resync, "--restored", "--gone", "reopen")
    pipeline.settle()
    wait_for(lambda: pipeline.states(person) == {"a.md": "indexed", "b.md": "indexed"})

    for path in kept.keys() - pipeline.documents_of(person).keys():
        document(pipeline, path).set(kept[path])  # what is other people's
    assert "Firestore" in refused["said"]
    assert answer["gone"] >= 1


def document(pipeline: Pipeline, path: str) -> Any:
    collection, _, name = path.partition("/")
    return firestore.client(pipeline.settings).collection(collection).document(name)


def test_a_resync_without_a_restore_ends_no_session_and_asks_for_a_census(pipeline: Pipeline, operate: Command) -> None:
    """To compare with Drive is harmless at any time."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    pipeline.sql(
        f"INSERT INTO sessions (token_hash, user_id, expires_at) VALUES ('\\x01', '{person.user_id}', now() + '1 day')"
    )

    operate(resync)
    pipeline.settle()
    sessions = pipeline.count("sessions", person)
    operate(resync, "--restored")
    pipeline.settle()

    assert sessions == 1
    assert pipeline.count("sessions", person) == 0
    assert pipeline.count("gdrive_censuses", person, "finished_at IS NOT NULL") == 1


def test_a_resync_that_is_only_looked_at_changes_nothing(pipeline: Pipeline, operate: Command) -> None:
    """Before anything is settled the operator sees how many people it is about."""
    person = pipeline.person({"a.md": "Rhubarb.\n"})
    before = pipeline.everything()

    answer = operate(resync, "--restored", "--dry-run")

    assert answer["people"] >= 1
    assert pipeline.everything() == before
    assert pipeline.states(person) == {"a.md": "indexed"}


@pytest.mark.parametrize("words", [["--gone", "forget"], ["--gone", "reopen"]])
def test_people_are_settled_after_a_restore_only(operate: Command, words: list[str]) -> None:
    """Nobody is erased or connected by a slip of the hand."""
    assert "give --restored" in operate(resync, *words, code=1)["said"]


def test_a_command_finds_the_local_stack_by_its_folder_and_the_job_by_its_environment(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one machine nobody writes settings down; far away the platform has them."""
    folder = DataFolder(tmp_path / "data")
    folder.open()
    folder.write_private(
        "environment", "".join(f"{name}={value}\n" for name, value in os.environ.items() if name in LOCAL)
    )

    codes = [replay.main([*place, "--reason", "none such"]) for place in (["--data", str(folder.path)], ["--deployed"])]

    folder.close()
    assert codes == [0, 0]
    assert capsys.readouterr().out == "There is nothing to put back.\n" * 2


def test_a_command_without_a_place_says_so_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No stack is running there, and no settings were given."""
    code = replay.main(["--data", str(tmp_path / "none")])

    assert code == 1
    assert capsys.readouterr().err.count("\n") == 1
