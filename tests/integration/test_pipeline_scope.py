"""Selected folders: what lies outside is not read, and says so; other folders can be selected at any time."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any

import pytest
import requests

from tests.integration.pipeline import Person, Pipeline, pipeline, sha256

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

TREE = {
    "inside/a.md": "Apricots.\n",
    "inside/deep/deeper/b.md": "Bilberries.\n",
    "outside/c.md": "Cherries.\n",
    "d.md": "Damsons.\n",
}


def ask(pipeline: Pipeline, person: Person, method: str, path: str, **more: Any) -> requests.Response:
    """A request of the signed-in person to the dashboard."""
    session = secrets.token_urlsafe(16)
    pipeline.sql(
        f"INSERT INTO sessions VALUES ('\\x{sha256(session).hex()}', '{person.user_id}', now(),"
        " now() + interval '1 hour')"
    )
    return pipeline.post("dashboard", method=method, path=path, cookies={"session": session}, **more)


def select(pipeline: Pipeline, person: Person, *folders: str) -> dict[str, Any]:
    """Select folders by their ids, and wait for the end of everything that follows."""
    answer = ask(pipeline, person, "PUT", "/api/settings", json={"selected_folders": list(folders)})
    assert answer.status_code == 202, answer.text
    pipeline.settle()
    said: dict[str, Any] = ask(pipeline, person, "GET", "/api/settings").json()
    return said


def searchable(pipeline: Pipeline, person: Person) -> set[str]:
    """The files whose text search can find."""
    rows = pipeline.sql(
        "SELECT DISTINCT f.name FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id"
        f" AND f.user_id = m.user_id WHERE f.user_id = '{person.user_id}'"
    )
    return {row[0] for row in rows}


def outside(pipeline: Pipeline, person: Person) -> set[str]:
    """The files that say that they lie outside."""
    rows = pipeline.files(person).values()
    assert all(row["reason"] and row["visible_job"] is None for row in rows if row["reason_code"] == "outside_folders")
    return {
        row["name"] for row in rows if (row["state"], row["reason_code"]) == ("skipped", "outside_folders")
    }  # fmt: skip


def choose_before_connecting(pipeline: Pipeline, person: Person, folders: Iterable[str]) -> None:
    """A selection that stands before anything was listed. Connecting lists at once, so the messages wait meanwhile."""
    pipeline.pubsub.faults.hold("change-lister")
    pipeline.connect(person)
    chosen = ", ".join(f"'{folder}'" for folder in folders)
    pipeline.sql(f"INSERT INTO settings (user_id, selected_folders) VALUES ('{person.user_id}', ARRAY[{chosen}])")
    pipeline.pubsub.faults.release("change-lister")
    pipeline.settle()


def test_a_first_sync_reads_only_what_lies_in_the_selected_folders(pipeline: Pipeline) -> None:
    """A person who shows us one folder has not shown us the others: not one byte of them is read."""
    person = pipeline.person(TREE, connect=False)

    choose_before_connecting(pipeline, person, [person.id_of("inside")])

    assert searchable(pipeline, person) == {"a.md", "b.md"}
    assert outside(pipeline, person) == {"c.md", "d.md"}
    assert pipeline.reads(person) == 2
    assert pipeline.search(person, "cherries") == []


def test_folders_that_nobody_has_listed_yet_are_asked_for_together(pipeline: Pipeline) -> None:
    """A listing has the newest first, so that a folder may come long after what lies in it."""
    person = pipeline.person(TREE)
    select(pipeline, person, person.id_of("inside"))
    pipeline.sql(f"DELETE FROM gdrive_files WHERE user_id = '{person.user_id}' AND state = 'folder'")
    calls, gets = pipeline.google.faults.calls["batch"], pipeline.google.faults.calls["files.get"]

    person.put("inside/deep/deeper/e.md", "Elderberries.\n")
    person.put("outside/f.md", "Figs.\n")
    pipeline.sync(person)

    assert searchable(pipeline, person) == {"a.md", "b.md", "e.md"}
    assert outside(pipeline, person) == {"c.md", "d.md", "f.md"}
    # Two folders, then the one above and the root, then nothing is left to ask; and the new file by the streamer.
    assert pipeline.google.faults.calls["batch"] - calls <= 4
    assert pipeline.google.faults.calls["files.get"] - gets <= 7


def test_content_outside_leaves_and_content_inside_arrives(pipeline: Pipeline) -> None:
    """The selection is the person's at any time, and what is shown follows it."""
    person = pipeline.person(TREE)
    before = searchable(pipeline, person)

    said = select(pipeline, person, person.id_of("inside"))
    narrow, left = searchable(pipeline, person), outside(pipeline, person)
    select(pipeline, person, person.id_of("outside"), person.id_of("inside/deep"))
    other = searchable(pipeline, person)
    everything = select(pipeline, person)

    assert before == {"a.md", "b.md", "c.md", "d.md"}
    assert said == {
        "selected_folders": [{"id": person.id_of("inside"), "name": "inside", "known": True}],
        "applied": True,
        "caps": {"bytes": None, "pages": None, "tokens": None},
    }
    assert (narrow, left) == ({"a.md", "b.md"}, {"c.md", "d.md"})
    assert other == {"b.md", "c.md"}
    assert (everything["selected_folders"], everything["applied"]) == ([], True)
    assert searchable(pipeline, person) == before
    assert pipeline.search(person, "damsons")[0]["name"] == "d.md"


def test_what_left_is_purged_and_read_again_when_it_arrives(pipeline: Pipeline) -> None:
    """Out of the selection means that we no longer have it, not that we hide it."""
    person = pipeline.person(TREE)
    select(pipeline, person, person.id_of("inside"))
    pipeline.sql(f"UPDATE gdrive_jobs SET updated_at = now() - interval '1 hour' WHERE user_id = '{person.user_id}'")
    pipeline.tick("purge")
    left = pipeline.sql(f"SELECT DISTINCT file_id FROM memories WHERE user_id = '{person.user_id}'")
    reads = pipeline.reads(person)

    select(pipeline, person)

    assert {row[0] for row in left} == {person.id_of("inside/a.md"), person.id_of("inside/deep/deeper/b.md")}
    assert pipeline.reads(person) == reads + 2
    assert searchable(pipeline, person) == {"a.md", "b.md", "c.md", "d.md"}


def test_a_file_that_moves_out_and_in_again_leaves_and_arrives(pipeline: Pipeline) -> None:
    """Moving it into a selected folder is how most people will say that they want it read."""
    person = pipeline.person(TREE)
    select(pipeline, person, person.id_of("inside"))

    person.rename("inside/a.md", "outside/a.md")
    person.rename("outside/c.md", "inside/deep/c.md")
    pipeline.sync(person)
    moved = searchable(pipeline, person), outside(pipeline, person)
    person.rename("outside/a.md", "inside/a.md")
    pipeline.sync(person)

    assert moved == ({"b.md", "c.md"}, {"a.md", "d.md"})
    assert searchable(pipeline, person) == {"a.md", "b.md", "c.md"}


def test_a_folder_that_moves_takes_everything_below_with_it(pipeline: Pipeline) -> None:
    """Drive tells of the folder alone."""
    person = pipeline.person(TREE)
    select(pipeline, person, person.id_of("inside"))
    reads = pipeline.reads(person)

    person.rename("inside/deep", "outside/deep")
    pipeline.sync(person)
    out = searchable(pipeline, person), outside(pipeline, person)
    person.rename("outside/deep", "inside/deep")
    person.rename("outside", "inside/outside")
    pipeline.sync(person)

    assert out == ({"a.md"}, {"b.md", "c.md", "d.md"})
    assert searchable(pipeline, person) == {"a.md", "b.md", "c.md"}
    assert pipeline.reads(person) == reads  # each was read before, and comes back at no cost


def test_a_shortcut_inside_keeps_what_it_leads_to(pipeline: Pipeline) -> None:
    """Somebody who puts a shortcut into a selected folder wants the file; when it goes, so does the file."""
    person = pipeline.person(TREE)
    target = {"target": f"{person.folder.name}/outside/c.md"}
    select(pipeline, person, person.id_of("inside"))
    person.put("outside/no.gshortcut", json.dumps(target | {"target": f"{person.folder.name}/d.md"}))
    person.put("inside/to c.gshortcut", json.dumps(target))
    pipeline.sync(person)
    led = searchable(pipeline, person)
    select(pipeline, person, person.id_of("inside"), person.id_of("inside/deep"))  # sorted again
    again = searchable(pipeline, person)

    person.remove("inside/to c.gshortcut")
    pipeline.sync(person)

    assert led == again == {"a.md", "b.md", "c.md"}
    assert searchable(pipeline, person) == {"a.md", "b.md"}
    assert {"c.md", "d.md", "no"} <= outside(pipeline, person)


def test_a_shared_drive_is_selected_by_its_id(pipeline: Pipeline) -> None:
    """Its root is no folder that Drive lists."""
    person = pipeline.person(TREE, connect=False)
    pipeline.team("orchard", person, files={"plan.md": "Elderberries.\n"})
    pipeline.team("meadow", person, files={"hay.md": "Fescue.\n"})
    pipeline.connect(person)
    pipeline.settle()
    [[drive]] = pipeline.sql(
        f"SELECT drive_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND name = 'plan.md'"
    )
    before = searchable(pipeline, person)

    said = select(pipeline, person, str(drive))

    assert before == {"a.md", "b.md", "c.md", "d.md", "plan.md", "hay.md"}
    assert said["selected_folders"] == [{"id": drive, "name": None, "known": True}]
    assert searchable(pipeline, person) == {"plan.md"}


def test_a_file_outside_is_not_read_on_request_nor_by_a_late_message(pipeline: Pipeline) -> None:
    """Every way to the streamer ends at the same check, whatever was asked before the selection."""
    person = pipeline.person(TREE)
    pipeline.pubsub.faults.hold("file-streamer")
    pipeline.pubsub.faults.hold("file-streamer-backfill")
    person.put("outside/c.md", "Cherries, in brandy.\n")
    person.put("outside/new.md", "Cloudberries.\n")
    pipeline.sync(person)
    select(pipeline, person, person.id_of("inside"))
    reads = pipeline.reads(person)

    for name in ("file-streamer", "file-streamer-backfill"):
        pipeline.pubsub.faults.release(name)
    pipeline.settle()
    ask(pipeline, person, "POST", f"/api/files/{person.id_of('d.md')}/retry")
    pipeline.settle()

    assert pipeline.reads(person) == reads
    assert outside(pipeline, person) == {"c.md", "d.md", "new.md"}


def test_a_late_chunk_of_a_file_that_left_is_refused(pipeline: Pipeline) -> None:
    """What was read before the selection may still be on its way to be understood."""
    person = pipeline.person(TREE)
    pipeline.hold_lanes("ai-processor")
    person.put("outside/c.md", "Cherries, in brandy.\n")
    pipeline.sync(person)
    select(pipeline, person, person.id_of("inside"))

    pipeline.release_lanes("ai-processor")
    pipeline.settle()

    assert searchable(pipeline, person) == {"a.md", "b.md"}
    assert pipeline.search(person, "brandy") == []


def test_a_selection_whose_message_was_lost_is_applied_by_the_next_sweep(pipeline: Pipeline) -> None:
    """A promise to a person does not hang on one message."""
    person = pipeline.person(TREE)
    pipeline.sql(
        f"INSERT INTO settings (user_id, selected_folders, folders_due) VALUES ('{person.user_id}',"
        f" ARRAY['{person.id_of('inside')}'], true)"
    )
    due = ask(pipeline, person, "GET", "/api/settings").json()["applied"]

    pipeline.tick("sweep")

    assert due is False
    assert ask(pipeline, person, "GET", "/api/settings").json()["applied"] is True
    assert searchable(pipeline, person) == {"a.md", "b.md"}


def test_one_persons_selection_is_nobody_elses(pipeline: Pipeline) -> None:
    """Two people may see one file, and select otherwise."""
    ada, grace = pipeline.person(TREE), pipeline.person({"g.md": "Greengages.\n"})
    pipeline.share(ada, "outside/c.md", grace)
    pipeline.sync(grace)

    select(pipeline, ada, ada.id_of("inside"))

    assert searchable(pipeline, grace) == {"g.md", "c.md"}
    assert searchable(pipeline, ada) == {"a.md", "b.md"}


@pytest.mark.parametrize(
    "said",
    [None, [], {"selected_folders": "inside"}, {"selected_folders": [1]}, {"selected_folders": ["../x"]},
     {"selected_folders": [f"f{number}" for number in range(101)]}],
)  # fmt: skip
def test_a_selection_that_is_none_is_refused_in_a_sentence(pipeline: Pipeline, said: object) -> None:
    """Nothing of it is kept."""
    person = pipeline.person()

    answer = ask(pipeline, person, "PUT", "/api/settings", json=said)

    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(".")
    assert pipeline.count("settings", person) == 0


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}])
def test_a_page_of_another_site_cannot_select_folders(pipeline: Pipeline, headers: dict[str, str]) -> None:
    """A person's cookie travels with every request of their browser."""
    person = pipeline.person()

    answer = ask(pipeline, person, "PUT", "/api/settings", json={"selected_folders": ["f1"]}, headers=headers)

    assert answer.status_code == 403
    assert pipeline.count("settings", person) == 0
