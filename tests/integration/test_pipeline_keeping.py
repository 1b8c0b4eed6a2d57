"""What is kept of a file that leaves, and for how long: enough to come back at no cost, and nothing of what may not."""

from __future__ import annotations

import pytest

from tests.integration.pipeline import Person, Pipeline, long_text, pipeline

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")


def say(pipeline: Pipeline, person: Person, name: str, **said: object) -> None:
    """What the owner does to a file without touching its content: trash, star, forbid."""
    pipeline.google.edit(person.id_of(name), **said)
    pipeline.google.scan()


def an_hour_later(pipeline: Pipeline, person: Person) -> None:
    pipeline.sql(f"UPDATE gdrive_jobs SET updated_at = now() - interval '1 hour' WHERE user_id = '{person.user_id}'")


def test_out_of_the_bin_within_a_month_costs_nothing(pipeline: Pipeline) -> None:
    """People take things out of the bin again; neither reading nor embedding is paid for twice."""
    person = pipeline.person({"a.md": "Rhubarb fool.\n"})
    before, calls = pipeline.reads(person), pipeline.vertex.calls
    say(pipeline, person, "a.md", trashed=True)
    pipeline.sync(person)
    gone = pipeline.states(person), pipeline.search(person, "rhubarb")
    an_hour_later(pipeline, person)
    pipeline.sql(
        f"UPDATE gdrive_files SET deleted_at = now() - interval '29 days' WHERE user_id = '{person.user_id}'"
        " AND state = 'deleted'"
    )
    pipeline.tick("purge")

    say(pipeline, person, "a.md", trashed=False)
    pipeline.sync(person)

    assert gone == ({"a.md": "deleted"}, [])
    assert pipeline.states(person) == {"a.md": "indexed"}
    assert pipeline.text(person, "a.md") == "Rhubarb fool."
    assert (pipeline.reads(person), pipeline.vertex.calls) == (before, calls)


def test_after_a_month_in_the_bin_nothing_is_left(pipeline: Pipeline) -> None:
    """Deleted means deleted, in the end."""
    person = pipeline.person({"a.md": "Rhubarb fool.\n"})
    say(pipeline, person, "a.md", trashed=True)
    pipeline.sync(person)
    an_hour_later(pipeline, person)
    pipeline.sql(f"UPDATE gdrive_files SET deleted_at = now() - interval '31 days' WHERE user_id = '{person.user_id}'")

    pipeline.tick("purge")

    assert pipeline.count("memories", person) == pipeline.count("gdrive_chunks", person) == 0


def test_what_a_skipped_file_held_before_is_purged(pipeline: Pipeline) -> None:
    """Nobody sees it any more, and it says what the file says no longer."""
    person = pipeline.person({"a.md": "The safe opens with 1-2-3.\n", "b.md": "Chives.\n"})
    person.put("a.md", "The safe opens with 4-5-6.\n")
    say(pipeline, person, "a.md", can_download=False)
    pipeline.sync(person)
    hidden = pipeline.states(person), pipeline.search(person, "safe opens")
    an_hour_later(pipeline, person)

    pipeline.tick("purge")
    left = pipeline.count("memories", person, f"file_id = '{person.id_of('a.md')}'")
    say(pipeline, person, "a.md", can_download=True)
    pipeline.sync(person)

    assert hidden == ({"a.md": "skipped", "b.md": "indexed"}, [])
    assert left == 0
    assert pipeline.text(person, "a.md") == "The safe opens with 4-5-6."


def test_what_was_understood_of_a_file_that_was_skipped_half_way_is_purged(pipeline: Pipeline) -> None:
    """Its job stays, so that it is not read again and again; its first pages do not."""
    person = pipeline.person({"book.txt": long_text("alpha", 300_000)})
    before = pipeline.count("memories", person)
    pipeline.sql(
        f"UPDATE gdrive_jobs SET state = 'skipped' WHERE user_id = '{person.user_id}';"
        f" UPDATE gdrive_files SET state = 'skipped', reason_code = 'too_large', reason = 'Too large.',"
        f" current_job = NULL WHERE user_id = '{person.user_id}' AND state = 'indexed'"
    )
    an_hour_later(pipeline, person)

    pipeline.tick("purge")
    reads = pipeline.reads(person)
    pipeline.sync(person, "CENSUS")

    assert before > 0
    assert pipeline.count("memories", person) == pipeline.count("gdrive_chunks", person) == 0
    assert pipeline.count("gdrive_jobs", person, "state = 'skipped'") == 1
    assert pipeline.reads(person) == reads
