"""How one file is read: what the audit log says of it, where shortcuts lead, and what native files keep."""

from __future__ import annotations

import json

import pytest

from schemas.messages.file_changed_pb2 import FileChanged
from shared.domain.names import FILE_CHANGES
from tests.integration.pipeline import Person, Pipeline, pipeline, wait_for

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

REASON = FileChanged.Reason


# The audit log --------------------------------------------------------------------------------------------------------


def test_the_audit_log_says_who_read_what_and_why(pipeline: Pipeline) -> None:
    """File, revision, bytes, what had us look, and how it ended."""
    person = pipeline.person({"a.txt": "First words.\n", "b.bin": bytes(range(256)) * 16})
    person.put("a.txt", "Other words, and more of them.\n")
    pipeline.sync(person)

    first, second = pipeline.audit(person, "a.txt")
    (refused,) = pipeline.audit(person, "b.bin")

    assert (first["why"], first["outcome"], first["bytes"]) == ("listed", "ok", 13)
    assert (second["why"], second["outcome"], second["bytes"]) == ("changed", "ok", 31)
    assert first["file_id"] == second["file_id"] == person.id_of("a.txt")
    assert first["revision"] != second["revision"]
    assert (refused["why"], refused["outcome"], refused["bytes"]) == ("listed", "unsupported", 4096)


def test_a_reading_that_somebody_asked_for_says_so(pipeline: Pipeline) -> None:
    """Who presses "again" is told apart from Drive's own changes."""
    person = pipeline.person({"noise.bin": bytes(range(256)) * 16})

    again(pipeline, person, "noise.bin", REASON.ASKED)

    assert [row["why"] for row in pipeline.audit(person)] == ["listed", "asked"]


def test_a_reading_that_fails_leaves_its_row_at_every_try(pipeline: Pipeline) -> None:
    """Bytes that were fetched in vain were fetched all the same."""
    pipeline.google.faults.fail("files.media", 503, "backendError", times=6)

    person = pipeline.person({"a.txt": "At last.\n"})

    assert [(row["outcome"], row["bytes"]) for row in pipeline.audit(person)] == [("backendError", 0), ("ok", 9)]
    assert pipeline.states(person) == {"a.txt": "indexed"}


def test_a_reading_that_drive_ends_leaves_its_row(pipeline: Pipeline) -> None:
    """Gone for a moment, then read: two readings."""
    pipeline.google.faults.fail("files.media", 404, "notFound")
    pipeline.google.faults.fail("files.media", 403, "downloadQuotaExceeded")

    person = pipeline.person({"a.txt": "Here after all.\n"})

    assert [row["outcome"] for row in pipeline.audit(person)] == ["gone", "downloadQuotaExceeded"]
    assert pipeline.states(person) == {"a.txt": "waiting"}


def test_a_reading_that_somebody_newer_takes_over_leaves_its_row(pipeline: Pipeline) -> None:
    """What a life read that then lost its lease was read, too; its cost counts."""
    with pipeline.setting(LEASE_SECONDS="1", ENTITIES="off"):
        pipeline.google.faults.slow("files.media", 2.0)
        before = pipeline.google.faults.calls["files.media"]
        person = pipeline.person({"a.txt": "The old wording.\n"}, connect=False)
        pipeline.connect(person)
        wait_for(lambda: pipeline.google.faults.calls["files.media"] > before)
        person.put("a.txt", "The new and longer wording.\n")
        pipeline.sync(person)

    outcomes = [row["outcome"] for row in pipeline.audit(person)]
    # How often somebody newer comes is a matter of time: a lease is a second here, and each reading takes two.
    assert "ok" in outcomes
    assert {"superseded", "changed"} & set(outcomes)
    assert set(outcomes) <= {"ok", "superseded", "changed"}
    assert pipeline.text(person, "a.txt") == "The new and longer wording."
    units = pipeline.sql(f"SELECT sum(drive_units) FROM costs WHERE user_id = '{person.user_id}'")[0][0]
    assert units >= 205 * 2


# Shortcuts ------------------------------------------------------------------------------------------------------------


def test_two_shortcuts_to_a_listed_file_have_it_read_once(pipeline: Pipeline) -> None:
    """One file, one row, one reading, whatever leads there."""
    person = pipeline.person()
    for name in ("one.gshortcut", "two.gshortcut"):
        (person.folder / name).write_text(json.dumps({"target": f"{person.folder.name}/real.txt"}))
    person.put("real.txt", "The only words.\n")
    pipeline.sync(person)

    assert pipeline.states(person) == {"real.txt": "indexed", "one": "skipped", "two": "skipped"}
    assert pipeline.reads(person) == 1
    assert {row["reason_code"] for row in pipeline.files(person).values() if row["state"] == "skipped"} == {"shortcut"}


def test_a_shortcut_leads_to_a_file_that_is_shared_by_its_link(pipeline: Pipeline) -> None:
    """Drive lists it for nobody but its owner; with the key that the shortcut holds it can be read, once."""
    owner = pipeline.person({"plan.txt": "Meet at the pontoon.\n", "plan.gdoc": "# Pontoon\n\nBring a rope.\n"})
    for name in ("plan.txt", "plan.gdoc"):
        pipeline.google.edit(owner.id_of(name), link_shared=True)
    person = pipeline.person()
    shortcut(person, "one.gshortcut", f"{owner.folder.name}/plan.txt")
    shortcut(person, "two.gshortcut", f"{owner.folder.name}/plan.txt")
    shortcut(person, "doc.gshortcut", f"{owner.folder.name}/plan.gdoc")
    pipeline.sync(person)

    assert pipeline.states(person) == {
        "plan.txt": "indexed", "plan": "indexed", "one": "skipped", "two": "skipped", "doc": "skipped"
    }  # fmt: skip
    assert pipeline.text(person, "plan.txt") == "Meet at the pontoon."
    assert pipeline.files(person)["plan.txt"]["file_id"] == owner.id_of("plan.txt")
    assert len(pipeline.audit(person, "plan.txt")) == 1


def test_what_only_shortcuts_led_to_goes_with_the_last_of_them(pipeline: Pipeline) -> None:
    """Otherwise a file that the person can see nowhere would be found for ever."""
    owner = pipeline.person({"plan.txt": "Meet at the pontoon.\n"})
    pipeline.google.edit(owner.id_of("plan.txt"), link_shared=True)
    person = pipeline.person()
    shortcut(person, "one.gshortcut", f"{owner.folder.name}/plan.txt")
    shortcut(person, "two.gshortcut", f"{owner.folder.name}/plan.txt")
    pipeline.sync(person)

    person.remove("one.gshortcut")
    pipeline.sync(person)
    kept = pipeline.states(person)["plan.txt"]
    person.remove("two.gshortcut")
    pipeline.sync(person)

    assert (kept, pipeline.states(person)["plan.txt"]) == ("indexed", "deleted")
    assert pipeline.search(person, "pontoon") == []
    assert pipeline.states(owner) == {"plan.txt": "indexed"}


def test_a_census_keeps_what_a_shortcut_leads_to_and_sees_its_changes(pipeline: Pipeline) -> None:
    """No listing and no change log tells of it, so that the census asks for it by name."""
    owner = pipeline.person({"plan.txt": "Meet at the pontoon.\n"})
    pipeline.google.edit(owner.id_of("plan.txt"), link_shared=True)
    person = pipeline.person()
    shortcut(person, "one.gshortcut", f"{owner.folder.name}/plan.txt")
    pipeline.sync(person)

    pipeline.sync(person, "CENSUS")
    before = pipeline.text(person, "plan.txt")
    owner.put("plan.txt", "Meet at the lighthouse.\n")
    pipeline.sync(person, "CENSUS")

    assert (before, pipeline.text(person, "plan.txt")) == ("Meet at the pontoon.", "Meet at the lighthouse.")


def test_a_shortcut_that_leads_nowhere_says_so(pipeline: Pipeline) -> None:
    """Lost, closed, or in a circle: it ends, with the reason, and leaves no second row."""
    owner = pipeline.person({"closed.txt": "Not for you.\n", "open/a.txt": "In a folder.\n"})
    pipeline.google.edit(owner.id_of("open"), link_shared=True)
    person = pipeline.person()
    shortcut(person, "closed.gshortcut", f"{owner.folder.name}/closed.txt")
    shortcut(person, "lost.gshortcut", "nobody/nothing.txt")
    shortcut(person, "folder.gshortcut", f"{owner.folder.name}/open")
    shortcut(person, "round.gshortcut", f"{person.folder.name}/round.gshortcut")
    pipeline.sync(person)

    files = pipeline.files(person)
    assert {name: row["reason_code"] for name, row in files.items() if row["state"] == "skipped"} == {
        "closed": "shortcut_lost", "lost": "shortcut_lost", "folder": "shortcut_folder", "round": "shortcut_lost"
    }  # fmt: skip
    assert pipeline.reads(person) == 0
    assert len([row for row in files.values() if row["state"] != "folder"]) == 4


def test_a_shortcut_to_another_persons_shortcut_is_not_followed(pipeline: Pipeline) -> None:
    """One step and no more: two that point at each other would lead for ever."""
    owner = pipeline.person({"a.txt": "Words.\n"})
    shortcut(owner, "first.gshortcut", f"{owner.folder.name}/a.txt")
    pipeline.google.edit(owner.id_of("first.gshortcut"), link_shared=True)
    person = pipeline.person()
    shortcut(person, "second.gshortcut", f"{owner.folder.name}/first.gshortcut")
    pipeline.sync(person)

    assert pipeline.files(person)["second"]["reason_code"] == "shortcut_twice"
    assert set(pipeline.states(person)) == {"second"}


# What Drive withholds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["cannotDownloadAbusiveFile", "cannotDownloadFile", "fileNotDownloadable"])
def test_a_file_that_drive_withholds_is_asked_for_once_and_says_why(pipeline: Pipeline, reason: str) -> None:
    """What Google calls harmful is left alone: nobody acknowledges abuse on a person's behalf."""
    pipeline.google.faults.fail("files.media", 403, reason, times=None)
    before = pipeline.google.faults.calls["files.media"]

    person = pipeline.person({"a.txt": "Nobody reads this.\n"})

    assert pipeline.files(person)["a.txt"]["reason_code"] == reason
    assert pipeline.states(person) == {"a.txt": "skipped"}
    assert pipeline.google.faults.calls["files.media"] == before + 1
    assert [(row["outcome"], row["bytes"]) for row in pipeline.audit(person)] == [(reason, 0)]


# Native files ---------------------------------------------------------------------------------------------------------


DECK = json.dumps(
    {"slides": [{"title": "Bread", "body": "Rye keeps"}, {"title": "Salt", "body": "A pinch", "notes": "Tell of Ada"}]}
)
BUDGET = json.dumps(
    {
        "sheets": [
            {"name": "Costs", "rows": [["what", "how much"], ["flour", 12]]},
            {"name": "Plans", "rows": [["yeast"]]},
        ]
    }
)


def test_a_speakers_notes_are_found_at_their_slide(pipeline: Pipeline) -> None:
    """Slides as plain text promise neither; as PPTX they keep both."""
    person = pipeline.person({"Talk.gslides": DECK})

    (found,) = pipeline.search(person, "Tell of Ada")

    assert (found["name"], found["locator"]) == ("Talk", {"slide": 2, "part": "notes"})
    assert pipeline.search(person, "Rye keeps")[0]["locator"] == {"slide": 1}


def test_a_deck_that_is_too_large_keeps_its_words(pipeline: Pipeline) -> None:
    """Its pictures make it large; plain text has none."""
    pipeline.google.faults.fail("files.export", 403, "exportSizeLimitExceeded")
    pipeline.google.faults.fail("files.download", 403, "exportSizeLimitExceeded")

    person = pipeline.person({"Talk.gslides": DECK})

    assert "Rye keeps" in pipeline.text(person, "Talk")
    assert len(pipeline.audit(person)) == 1


def test_a_sheet_that_no_export_holds_is_read_row_by_row(pipeline: Pipeline) -> None:
    """Every tab, with its rows, in as many lives as it takes."""
    rows = [["nail", f"{number:050}"] for number in range(12_000)]  # two windows, and more than a chunk
    sheet = json.dumps({"sheets": [{"name": "Nails", "rows": rows}, {"name": "Plans", "rows": [["yeast"]]}]})
    pipeline.google.faults.fail("files.export", 403, "exportSizeLimitExceeded", times=None)
    pipeline.google.faults.fail("files.download", 403, "exportSizeLimitExceeded", times=None)
    with pipeline.setting(ENTITIES="off"):
        whole = pipeline.person({"Stock.gsheet": sheet})
        with pipeline.setting(LIFE_SECONDS="0"):
            pieces = pipeline.person({"Stock.gsheet": sheet})

    (yeast,) = [row for row in pipeline.search(whole, "yeast") if "yeast" in row["passage"]]
    assert yeast["locator"]["sheet"] == "Plans"
    assert pipeline.passages(pieces) == pipeline.passages(whole)
    assert f"nail\t{11_999:050}" in pipeline.text(whole, "Stock")
    assert len(pipeline.audit(pieces)) > 1


def test_a_later_life_stands_on_the_rung_of_the_one_before(pipeline: Pipeline) -> None:
    """What was too large a moment ago may not be now; two formats in one text would be neither."""
    rows = [["nail", f"{number:0500}"] for number in range(1_300)]  # two chunks of few words
    sheet = json.dumps({"sheets": [{"name": "Nails", "rows": rows}]})
    with pipeline.setting(ENTITIES="off"):
        whole = pipeline.person({"Stock.gsheet": sheet})
        pipeline.google.faults.fail("files.export", 403, "exportSizeLimitExceeded")
        pipeline.google.faults.fail("files.download", 403, "exportSizeLimitExceeded")
        with pipeline.setting(LIFE_SECONDS="0"):
            pieces = pipeline.person({"Stock.gsheet": sheet})

    assert len(pipeline.audit(pieces)) > 2
    assert pipeline.text(pieces, "Stock") == pipeline.text(whole, "Stock")


def test_a_sheet_that_cannot_be_had_at_all_says_what_would_help(pipeline: Pipeline) -> None:
    """No rung of the ladder holds."""
    pipeline.google.faults.fail("files.export", 403, "exportSizeLimitExceeded", times=None)
    pipeline.google.faults.fail("files.download", 403, "exportSizeLimitExceeded", times=None)
    pipeline.google.faults.fail("spreadsheets.get", 403, "accessNotConfigured", times=None)

    person = pipeline.person({"Stock.gsheet": BUDGET})

    file = pipeline.files(person)["Stock"]
    assert (file["state"], file["reason_code"]) == ("skipped", "exportSizeLimitExceeded")
    assert "Sheets API" in file["reason"]


# Helpers --------------------------------------------------------------------------------------------------------------


def shortcut(person: Person, name: str, target: str) -> None:
    person.put(name, json.dumps({"target": target}))


def again(pipeline: Pipeline, person: Person, name: str, reason: FileChanged.Reason.ValueType) -> None:
    message = FileChanged(user_id=person.user_id, file_id=person.id_of(name), reason=reason)
    pipeline.say(FILE_CHANGES, message)
    pipeline.settle()
