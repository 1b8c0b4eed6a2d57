"""Two lanes and a slow one: what was edited now waits for no first sync, and text waits for no picture."""

from __future__ import annotations

import pytest

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES, MY_DRIVE
from tests.contract.pdfs import text_pdf
from tests.integration.pipeline import Person, Pipeline, pipeline, wait_for
from tests.integration.test_pipeline_flow import HAS_OCR, joined, long_text, picture_of_text

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

BACKFILL_LANES = ("file-streamer-backfill", "file-streamer-ocr", "ai-processor-backfill", "ai-processor-ocr")


def letters(count: int) -> dict[str, str]:
    """Files of a first sync."""
    return {f"{number:03}.md": f"Letter number {number}.\n" for number in range(count)}


def look(pipeline: Pipeline, person: Person, reason: str) -> None:
    """One life of the lister, from its beginning to its end."""
    asked = SyncRequested(user_id=person.user_id, corpus=MY_DRIVE, reason=SyncRequested.Reason.Value(reason))
    assert pipeline.push("change_lister", asked).status_code == 204


def cursor_of(pipeline: Pipeline, person: Person) -> dict[str, object]:
    """How far the person's Drive has been read."""
    cursor: dict[str, object] = pipeline.documents_all()[f"cursors/{person.user_id}~{MY_DRIVE}"]
    return cursor


def is_listing(pipeline: Pipeline, person: Person) -> bool:
    """Whether the first listing is still going on: no place in the change log counts yet."""
    return cursor_of(pipeline, person)["token"] == ""


def test_an_edit_between_two_lives_of_a_first_listing_is_searchable_before_it_ends(pipeline: Pipeline) -> None:
    """Drive's log is read from where it stood before the listing; what a later page shows again is not read again."""
    person = pipeline.person(letters(8), connect=False)
    with pipeline.setting(LISTING_PAGE="1", LIFE_SECONDS="0"):
        pipeline.pubsub.faults.hold("change-lister")
        pipeline.connect(person)
        look(pipeline, person, "CONNECTED")
        person.put("003.md", "A fourth letter, written again.\n")
        person.put("new.md", "A letter that no listing had.\n")

        look(pipeline, person, "PAGE")  # word that was left may have been taken by the life before
        pipeline.settle()

        assert is_listing(pipeline, person)
        assert pipeline.text(person, "003.md") == "A fourth letter, written again."
        assert pipeline.text(person, "new.md") == "A letter that no listing had."
        pipeline.pubsub.faults.release("change-lister")
        pipeline.settle()

    assert not is_listing(pipeline, person)
    assert pipeline.states(person) == dict.fromkeys([*letters(8), "new.md"], "indexed")
    assert pipeline.text(person, "003.md") == "A fourth letter, written again."
    assert pipeline.count("gdrive_audit_log", person, "action = 'read' AND outcome = 'ok'") == 9


def test_word_that_is_left_during_a_listing_is_heard_after_its_page(pipeline: Pipeline) -> None:
    """The lister that lists is the only one that may read; it must not keep everybody waiting until it is done."""
    count = 30
    person = pipeline.person(letters(count), connect=False)
    with pipeline.setting(LISTING_PAGE="1"):
        for name in BACKFILL_LANES:
            pipeline.pubsub.faults.hold(name)
        pipeline.google.faults.slow("files.list", 0.5, times=None)
        listed = pipeline.google.faults.calls["files.list"]
        pipeline.connect(person)
        wait_for(lambda: pipeline.google.faults.calls["files.list"] >= listed + 2)
        person.put("new.md", "Written while everything was listed.\n")

        look(pipeline, person, "NOTIFIED")
        wait_for(lambda: pipeline.states(person).get("new.md") == "indexed")
        listing = is_listing(pipeline, person)
        pipeline.heal()
        pipeline.settle()

    assert listing
    assert pipeline.states(person) == dict.fromkeys([*letters(count), "new.md"], "indexed")


def test_a_deletion_during_a_listing_stays_a_deletion(pipeline: Pipeline) -> None:
    """The log tells of it before the listing is through, and the listing's other pages bring nothing back."""
    person = pipeline.person(letters(6), connect=False)
    with pipeline.setting(LISTING_PAGE="2", LIFE_SECONDS="0"):
        pipeline.pubsub.faults.hold("change-lister")
        pipeline.connect(person)
        look(pipeline, person, "CONNECTED")
        for name in letters(6):
            person.remove(name)

        look(pipeline, person, "NOTIFIED")
        pipeline.pubsub.faults.release("change-lister")
        pipeline.settle()

    assert set(pipeline.states(person).values()) <= {"deleted"}
    assert not is_listing(pipeline, person)


def test_an_edit_passes_a_first_sync_that_stands_still(pipeline: Pipeline) -> None:
    """However much is queued: neither the streamer's lane nor the processor's is shared."""
    person = pipeline.person(letters(3) | {"now.md": "Before.\n"}, connect=False)
    pipeline.pubsub.faults.hold("ai-processor-backfill")
    pipeline.connect(person)
    pipeline.settle()
    person.put("now.md", "After.\n")
    pipeline.sync(person)
    between = pipeline.text(person, "now.md"), pipeline.states(person)["000.md"]
    pipeline.pubsub.faults.release("ai-processor-backfill")
    pipeline.settle()

    assert between == ("After.", "processing")
    assert pipeline.states(person) == dict.fromkeys([*letters(3), "now.md"], "indexed")
    assert pipeline.text(person, "now.md") == "After."


@pytest.mark.skipif(not HAS_OCR, reason="tesseract is not installed")
def test_text_of_a_first_sync_waits_for_no_recognition(pipeline: Pipeline) -> None:
    """A hundred thousand photographs must not stand between a person and their letters."""
    scan, picture = picture_of_text("MULBERRY")
    files = {"a.md": "A letter.\n", "b.pdf": text_pdf(["A printed letter"]), "scan.pdf": scan, "photo.png": picture}
    person = pipeline.person(files | {"half.pdf": joined(text_pdf(["Grafting wax"]), scan)}, connect=False)
    for name in ("file-streamer-ocr", "ai-processor-ocr"):
        pipeline.pubsub.faults.hold(name)
    pipeline.connect(person)
    pipeline.settle()
    between = pipeline.states(person)
    pipeline.heal()
    pipeline.settle()

    assert between == {
        "a.md": "indexed", "b.pdf": "indexed", "scan.pdf": "processing", "photo.png": "queued", "half.pdf": "processing"
    }  # fmt: skip
    assert set(pipeline.states(person).values()) == {"indexed"}


def test_a_long_file_of_a_first_sync_stays_in_its_lane(pipeline: Pipeline) -> None:
    """Its next lives, and what the caretaker puts back, come behind what is edited now as the first one did."""
    old, new = Person("", pipeline.drive), FileChanged
    for topic in (FILE_CHANGES, FILE_BACKFILL):
        pipeline.messages(topic, old, new)
    with pipeline.setting(ENTITIES="off", LIFE_SECONDS="0"):
        person = pipeline.person({"book.txt": long_text("delta", 300_000)})
    pipeline.sql(
        "UPDATE gdrive_files SET state = 'waiting', next_try = now() - interval '1 second'"
        f" WHERE user_id = '{person.user_id}'"
    )
    pipeline.tick("reap")
    fresh, backfill = (pipeline.messages(topic, person, new) for topic in (FILE_CHANGES, FILE_BACKFILL))

    reasons = [FileChanged.Reason.Name(message.reason) for message in backfill]
    assert fresh == []
    assert reasons[0] == "LISTED"
    assert reasons[-1] == "WAITED"
    assert "CONTINUED" in reasons


def test_a_long_file_that_was_edited_stays_before_the_first_sync(pipeline: Pipeline) -> None:
    """An edit of a large file keeps its lane through all its lives."""
    person = pipeline.person({"book.txt": "Short.\n"})
    for topic in (FILE_CHANGES, FILE_BACKFILL):
        pipeline.messages(topic, person, FileChanged)
    with pipeline.setting(ENTITIES="off", LIFE_SECONDS="0"):
        person.put("book.txt", long_text("delta", 300_000))
        pipeline.sync(person)
    fresh, backfill = (pipeline.messages(topic, person, FileChanged) for topic in (FILE_CHANGES, FILE_BACKFILL))

    assert [FileChanged.Reason.Name(message.reason) for message in fresh][:2] == ["CHANGED", "CONTINUED"]
    assert backfill == []
