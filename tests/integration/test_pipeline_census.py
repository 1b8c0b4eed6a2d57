"""The census: what we have beside what Drive has, every difference told and put right."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from shared.adapters.firestore import Cursors
from tests.integration.pipeline import Person, Pipeline, pipeline
from tests.integration.test_pipeline_scope import ask

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

FILES = {f"{name}.md": f"All about {name}.\n" for name in ("ash", "beech", "cedar", "dogwood", "elm")}


def census(pipeline: Pipeline, person: Person, corpus: str = "my-drive") -> dict[str, Any]:
    """What the person is told of the last comparison of a corpus."""
    [found] = [one for one in ask(pipeline, person, "GET", "/api/status").json()["censuses"] if one["corpus"] == corpus]
    return {name: value for name, value in found.items() if name not in ("corpus", "began_at", "finished_at")}


def clean(compared: int) -> dict[str, Any]:
    return {"compared": compared, "missing": 0, "stale": 0, "surplus": 0, "repaired": 0, "incomplete": False}


def test_a_census_of_an_equal_drive_finds_nothing(pipeline: Pipeline) -> None:
    """Nor does it read anything, or ask about single files."""
    person = pipeline.person(FILES)
    reads, calls = pipeline.reads(person), dict(pipeline.google.faults.calls)

    pipeline.sync(person, "CENSUS")

    assert census(pipeline, person) == clean(5)
    assert pipeline.reads(person) == reads
    assert pipeline.google.faults.calls["files.get"] == calls.get("files.get", 0)


def test_a_change_that_nobody_announced_is_no_finding(pipeline: Pipeline) -> None:
    """The log is read first: a census tells of what was lost, not of what is on its way."""
    person = pipeline.person(FILES)
    person.put("ash.md", "Ash again.\n")
    person.put("fir.md", "Fir.\n")
    person.remove("elm.md")

    pipeline.tick("census")

    assert census(pipeline, person) == clean(5)
    assert pipeline.text(person, "ash.md") == "Ash again."


def test_a_census_tells_what_is_missing_stale_or_surplus_and_puts_it_right(pipeline: Pipeline) -> None:
    """Whatever lost it (a bug of years ago, a restored backup), the difference does not stay, nor in silence."""
    person = pipeline.person(FILES | {"dogwood.md": "An older text.\n"})
    mine = f"user_id = '{person.user_id}'"
    old = pipeline.files(person)["dogwood.md"]["current_job"]
    person.put("dogwood.md", FILES["dogwood.md"])
    pipeline.sync(person)
    ash, beech = person.id_of("ash.md"), person.id_of("beech.md")
    pipeline.sql(f"DELETE FROM gdrive_jobs WHERE {mine} AND file_id = '{ash}'")
    pipeline.sql(f"DELETE FROM gdrive_files WHERE {mine} AND file_id = '{ash}'")
    pipeline.sql(
        f"UPDATE gdrive_files SET sha256_checksum = 'x', content_key = 'x' WHERE {mine} AND file_id = '{beech}'"
    )
    pipeline.sql(f"UPDATE gdrive_files SET name = 'wrong', version = version - 1 WHERE {mine} AND name = 'cedar.md'")
    pipeline.sql(f"UPDATE gdrive_files SET current_job = '{old}' WHERE {mine} AND name = 'dogwood.md'")
    pipeline.sql(
        f"INSERT INTO gdrive_files (user_id, file_id, name, mime_type, state, seen_at)"
        f" VALUES ('{person.user_id}', 'ghost', 'ghost.md', 'text/plain', 'queued', now() - interval '1 day')"
    )

    pipeline.tick("census")
    told = census(pipeline, person)
    kinds = dict(pipeline.sql(f"SELECT file_id, finding FROM gdrive_census_findings WHERE {mine}"))
    metrics = pipeline.post("dashboard", method="GET", path="/metrics").text
    pipeline.tick("census")

    assert told == {"compared": 5, "missing": 1, "stale": 3, "surplus": 1, "repaired": 5, "incomplete": False}
    assert (kinds[ash], kinds[beech], kinds["ghost"]) == ("missing", "stale", "surplus")
    assert pipeline.states(person) == {**dict.fromkeys(FILES, "indexed"), "ghost.md": "deleted"}
    assert {name: pipeline.text(person, name) for name in FILES} == {
        name: text.strip() for name, text in FILES.items()
    }  # fmt: skip
    for finding in ("missing", "stale", "surplus"):
        start = f'drivestream_census_files{{finding="{finding}"}} '
        [value] = [line.removeprefix(start) for line in metrics.splitlines() if line.startswith(start)]
        assert float(value) >= 1
    assert census(pipeline, person) == clean(5)


def test_a_census_in_several_lives_compares_everything_once(pipeline: Pipeline) -> None:
    """The lid of a function's time comes down in the middle of it."""
    person = pipeline.person(FILES)
    pipeline.sql(f"UPDATE gdrive_files SET name = 'wrong' WHERE user_id = '{person.user_id}' AND name = 'cedar.md'")

    with pipeline.setting(LIFE_SECONDS="0"):
        pipeline.tick("census")
    pipeline.sync(person)

    assert census(pipeline, person) == {**clean(5), "stale": 1, "repaired": 1}


def test_a_census_that_finds_the_lister_busy_is_not_forgotten(pipeline: Pipeline) -> None:
    """The next life makes it, whatever it was started by."""
    person = pipeline.person(FILES)
    cursor = Cursors(pipeline.settings).acquire(person.user_id, "my-drive")
    assert cursor is not None
    pipeline.tick("census")
    Cursors(pipeline.settings).release(cursor, more=True)

    pipeline.sync(person)

    assert census(pipeline, person) == clean(5)


def test_a_file_that_moves_to_a_shared_drive_and_back_is_there_once(pipeline: Pipeline) -> None:
    """It leaves one log and appears in another: neither a lost file nor a double one, and no content is read again."""
    person = pipeline.person(FILES, connect=False)
    pipeline.team("grove", person, files={"plan.md": "Plant in rows.\n"})
    pipeline.connect(person)
    pipeline.settle()
    [[drive]] = pipeline.sql(
        f"SELECT drive_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND name = 'plan.md'"
    )
    reads, file_id = pipeline.reads(person), person.id_of("ash.md")
    seen = []

    for there, corpora in ((True, ("my-drive", drive)), (False, (drive, "my-drive")), (True, (drive, "my-drive"))):
        ways = [person.folder / "ash.md", pipeline.drive / "grove" / "ash.md"]
        shutil.move(*(ways if there else ways[::-1]))
        for corpus in corpora:
            pipeline.sync(person, corpus=corpus)
        rows = pipeline.sql(
            f"SELECT state, drive_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND file_id = '{file_id}'"
        )
        seen.append(rows)
    pipeline.tick("census")

    assert seen == [[["indexed", drive]], [["indexed", None]], [["indexed", drive]]]
    assert pipeline.text(person, "ash.md") == "All about ash."
    assert pipeline.reads(person) == reads
    assert (census(pipeline, person), census(pipeline, person, drive)) == (clean(4), clean(2))


def test_a_moved_file_that_one_drive_still_claims_is_no_surplus(pipeline: Pipeline) -> None:
    """A listing of one drive does not show what lies in another; Drive is asked before anything is removed."""
    person = pipeline.person(FILES, connect=False)
    pipeline.team("copse", person, files={"plan.md": "Plant in rows.\n"})
    pipeline.connect(person)
    pipeline.settle()
    [[drive]] = pipeline.sql(
        f"SELECT drive_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND name = 'plan.md'"
    )
    pipeline.sql(f"UPDATE gdrive_files SET drive_id = NULL WHERE user_id = '{person.user_id}' AND name = 'plan.md'")

    pipeline.sync(person, "CENSUS")

    assert pipeline.states(person)["plan.md"] == "indexed"
    assert census(pipeline, person)["surplus"] == 0
    assert pipeline.sql(
        f"SELECT drive_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND name = 'plan.md'"
    ) == [[drive]]


def test_one_persons_census_is_not_told_to_another(pipeline: Pipeline) -> None:
    """What differs is as personal as the file."""
    ada, grace = pipeline.person({"a.md": "Ada.\n"}), pipeline.person({"g.md": "Grace.\n"})
    pipeline.sync(ada, "CENSUS")

    assert ask(pipeline, grace, "GET", "/api/status").json()["censuses"] == []
    with pipeline.speaking_as("reader").transaction(grace.user_id) as tx:
        assert tx.rows("censuses") == []
