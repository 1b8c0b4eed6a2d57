"""What a person is told who asks why a file is not there (yet): its stage, the reason, and what happens when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.integration.pipeline import Person, Pipeline, pipeline, wait_for
from tests.integration.test_pipeline_scope import ask

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")


def told(pipeline: Pipeline, person: Person, name: str) -> dict[str, Any]:
    """What the API says of a file of this name."""
    answer = ask(pipeline, person, "GET", f"/api/files/{pipeline.files(person)[name]['file_id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_file_that_is_not_searchable_says_where_it_stands_and_what_comes_next(pipeline: Pipeline) -> None:
    """Each stage in a sentence: a person who sees only "not found" stops trusting the whole."""
    pipeline.pubsub.faults.hold("file-streamer-backfill")
    person = pipeline.person({"a.md": "Some words.\n", "b.bin": b"\x00\x01\x02" * 50})
    queued = told(pipeline, person, "a.md")
    pipeline.hold_lanes("ai-processor")
    pipeline.pubsub.faults.release("file-streamer-backfill")
    pipeline.settle()
    read = told(pipeline, person, "a.md")
    pipeline.heal()
    pipeline.settle()
    done, skipped = told(pipeline, person, "a.md"), told(pipeline, person, "b.bin")
    pipeline.google.faults.fail("files.media", 403, "downloadQuotaExceeded", times=None)
    person.put("a.md", "Other words.\n")
    pipeline.sync(person)
    waiting = told(pipeline, person, "a.md")
    pipeline.heal()
    person.remove("a.md")
    pipeline.sync(person)
    gone = told(pipeline, person, "a.md")

    stages = [one["stage"] for one in (queued, read, done, skipped, waiting, gone)]
    assert stages == ["listed", "understanding", "searchable", "skipped", "waiting", "gone"]
    assert "waits for its turn" in queued["why"]
    assert "when its turn comes" in queued["next"]
    assert skipped["reason"] in skipped["why"]
    assert skipped["next"].startswith("It is looked at again when it changes")
    assert waiting["reason"] in waiting["why"]
    assert waiting["next"] in waiting["why"]
    assert datetime.fromisoformat(waiting["next_try"]) > datetime.fromisoformat(waiting["state_at"])
    assert gone["next"].startswith("It is searchable again when")


def test_a_file_that_nobody_listed_yet_says_how_long_that_may_take(pipeline: Pipeline) -> None:
    """What was made a moment ago is not known by its id; neither is what nobody may look for any more."""
    person = pipeline.person({"a.md": "Some words.\n"})
    new = person.put("new.md", "Just now.\n")
    early = ask(pipeline, person, "GET", f"/api/files/{new}")
    pipeline.google.revoke(person.email)
    pipeline.sync(person)
    closed = ask(pipeline, person, "GET", f"/api/files/{new}")

    assert (early.status_code, closed.status_code) == (404, 404)
    assert "it is not listed yet" in early.json()["detail"]
    assert "connect it again" in closed.json()["detail"]


def test_each_step_from_a_change_to_search_has_its_moment(pipeline: Pipeline) -> None:
    """Changed, announced, seen, indexed: where the time went is to be seen for each file."""
    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        person = pipeline.person({"a.md": "Some words.\n"})
        person.put("a.md", "Other words.\n")
        pipeline.google.scan()
        wait_for(lambda: pipeline.text(person, "a.md") == "Other words.")
        pipeline.settle()
    fresh = told(pipeline, person, "a.md")["freshness"]

    steps = [fresh[name] for name in ("changed_at", "announced_at", "seen_at", "indexed_at")]
    assert all(steps)
    assert steps[1:] == sorted(steps[1:])
    assert 0 <= fresh["seen_after"] <= fresh["indexed_after"]
