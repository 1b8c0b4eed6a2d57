"""What meets a used up quota waits and says until when; nothing fails, fresh edits go first, and all of it is read in
the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.adapters import firestore
from shared.domain.chunks import CHUNK_BYTES
from shared.domain.quota import day_of
from tests.contract.pdfs import scan_pdf
from tests.integration.pipeline import Person, Pipeline, long_text, pipeline, stripes, wait_for
from tests.integration.test_pipeline_faults import make_due
from tests.integration.test_pipeline_lanes import cursor_of, letters, look
from tests.integration.test_pipeline_scope import ask

__all__ = ["pipeline", "stripes"]
pytestmark = pytest.mark.xdist_group("pipeline")


@contextmanager
def quota(pipeline: Pipeline, **settings: object) -> Iterator[None]:
    """Smaller quotas for a while, of which nobody has taken anything."""
    forget_accounts(pipeline)
    with pipeline.setting(QUOTA_WAIT_SECONDS="0", **settings):
        yield
    forget_accounts(pipeline)


def forget_accounts(pipeline: Pipeline) -> None:
    """Another day: what was leased before says nothing about it."""
    for snapshot in firestore.client(pipeline.settings).collection("quota").stream():
        snapshot.reference.delete()


def status(pipeline: Pipeline, person: Person) -> dict[str, Any]:
    """What the person is told."""
    said: dict[str, Any] = ask(pipeline, person, "GET", "/api/status").json()
    return said


def put_back(pipeline: Pipeline, person: Person) -> None:
    """The time of what waits has come."""
    make_due(pipeline, person)
    pipeline.tick("reap")


def test_a_first_sync_that_uses_up_the_day_waits_and_an_edit_passes_it(pipeline: Pipeline) -> None:
    """Nothing fails: the page says until when it waits, and a file that is edited meanwhile is read at once."""
    files = {name: f"Letter number {name[:3]}.\n" for name in letters(12)}
    size = len(files["000.md"])
    person = pipeline.person(files, connect=False)
    sent = pipeline.google.faults.media_bytes
    with quota(pipeline, DRIVE_BYTES_PER_DAY=size * 10, QUOTA_KEPT_FOR_FRESH="0.5"):
        pipeline.connect(person)
        pipeline.settle()
        first = pipeline.states(person)
        waiting = [name for name, state in first.items() if state == "waiting"]
        row = pipeline.files(person)[waiting[0]]
        told = status(pipeline, person)
        checks = ask(pipeline, person, "GET", "/api/health").json()["checks"]
        page = ask(pipeline, person, "GET", "/", headers={"Accept": "text/html"}).text

        person.put(waiting[0], "Letter number 999.\n")
        pipeline.sync(person)
        between = pipeline.states(person)

        assert sorted(first.values()) == ["indexed"] * 5 + ["waiting"] * 7
        assert pipeline.google.faults.media_bytes - sent <= size * 10
        assert between == {**first, waiting[0]: "indexed"}
        assert pipeline.text(person, waiting[0]) == "Letter number 999."

    reset = day_of(datetime.now(UTC)).ends
    assert row["reason_code"] == "quota_day"
    assert row["reason"] == f"Google's limit for today is used up. It goes on at {reset:%H:%M} UTC."
    assert abs(row["next_try"] - reset) < timedelta(seconds=5)
    assert (told["paused"]["code"], told["paused"]["files"]) == ("quota_day", 7)
    assert {"part": "quota", "state": "warning", "told": row["reason"]} in checks
    assert "Google&#39;s limit for today is used up" in page
    put_back(pipeline, person)
    assert pipeline.states(person) == dict.fromkeys(files, "indexed")
    assert status(pipeline, person)["paused"] is None
    assert pipeline.count("file_events", person, "event = 'failed'") == 0


@pytest.mark.long
@pytest.mark.parametrize("count", [10_000])
def test_an_edit_overtakes_a_first_sync_of_ten_thousand_files(
    pipeline: Pipeline, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fails, and after the day begins anew everything is read."""
    monkeypatch.setattr("tests.integration.pipeline.PATIENCE", 7200.0)
    files = letters(count)
    person = pipeline.person(files, connect=False)
    with quota(pipeline, DRIVE_UNITS_PER_DAY=count * 5, ENTITIES="off"):
        pipeline.connect(person)
        wait_for(lambda: pipeline.count("gdrive_files", person, "state <> 'folder'") == count)
        person.put("000.md", "After.\n")
        look(pipeline, person, "NOTIFIED")
        wait_for(lambda: pipeline.text(person, "000.md") == "After.")
        overtaken = count - list(pipeline.states(person).values()).count("indexed")
        pipeline.settle()
        between = Counter(pipeline.states(person).values())

    assert overtaken >= count * 0.95
    assert between["indexed"] <= count * 0.03
    assert between["indexed"] + between["waiting"] == count
    make_due(pipeline, person)
    while pipeline.count("gdrive_files", person, "state = 'waiting'"):
        pipeline.tick("reap")
    assert Counter(pipeline.states(person).values()) == {"indexed": count}
    assert pipeline.count("file_events", person, "event = 'failed'") == 0


def test_an_edit_that_waited_keeps_its_lane(pipeline: Pipeline) -> None:
    """When the day begins anew it goes before the first sync that waits, too."""
    person = pipeline.person({"a.md": "Before.\n"})
    with quota(pipeline, DRIVE_UNITS_PER_DAY=200, QUOTA_KEPT_FOR_FRESH="0"):  # for the change log, and no file
        person.put("a.md", "After.\n")
        person.put("new.md", "New.\n")
        pipeline.sync(person)
        before = pipeline.states(person)
        ((lanes,),) = pipeline.sql(
            f"SELECT array_agg(waits_in) FROM gdrive_files WHERE user_id = '{person.user_id}' AND state = 'waiting'"
        )

    assert before == {"a.md": "waiting", "new.md": "waiting"}
    assert lanes == ["fresh", "fresh"]
    assert pipeline.text(person, "a.md") == "Before."
    put_back(pipeline, person)
    assert pipeline.text(person, "a.md") == "After."
    assert pipeline.states(person) == {"a.md": "indexed", "new.md": "indexed"}


@pytest.mark.long
def test_a_long_file_stops_where_the_day_is_used_up_and_goes_on_from_there(pipeline: Pipeline) -> None:
    """Of a file of 100 GB a part is read today and another one tomorrow, and nothing twice but what was in no chunk."""
    window = 64 * 1024
    small: dict[str, object] = {
        "DRIVE_BYTES_PER_DAY": 700_000, "QUOTA_KEPT_FOR_FRESH": "0", "WINDOW_BYTES": window, "ENTITIES": "off"
    }  # fmt: skip
    with quota(pipeline, **small):
        person = pipeline.person({"book.txt": long_text("delta", 1_500_000)})
        first = pipeline.states(person)
        read = sum(row["bytes"] for row in pipeline.audit(person))
    with quota(pipeline, **small):  # the next day
        put_back(pipeline, person)
        second = sum(row["bytes"] for row in pipeline.audit(person))

    assert first == {"book.txt": "waiting"}
    assert 600_000 < read <= 700_000
    assert 1_200_000 < second <= 1_400_000
    with pipeline.setting(WINDOW_BYTES=window, ENTITIES="off"):
        put_back(pipeline, person)
    assert pipeline.states(person) == {"book.txt": "indexed"}
    assert sum(row["bytes"] for row in pipeline.audit(person)) <= 1_500_000 + 2 * (CHUNK_BYTES + window)


def test_a_listing_that_uses_up_the_day_waits_and_the_log_is_read_all_the_same(pipeline: Pipeline) -> None:
    """A Drive of a million files is listed over days; what is edited meanwhile is not."""
    person = pipeline.person(letters(6), connect=False)
    with quota(pipeline, DRIVE_UNITS_PER_DAY=5000, QUOTA_KEPT_FOR_FRESH="0.9", LISTING_PAGE="1"):
        pipeline.hold_lanes("file-streamer-backfill")
        pipeline.connect(person)
        pipeline.settle()
        listed = len(pipeline.states(person))
        told = status(pipeline, person)["paused"]
        cursor = cursor_of(pipeline, person)
        person.put("new.md", "A letter that no listing had.\n")
        look(pipeline, person, "NOTIFIED")
        pipeline.settle()
        passed = pipeline.states(person).get("new.md")
        pipeline.tick("reap")
        again = cursor_of(pipeline, person)
        pipeline.release_lanes("file-streamer-backfill")
        pipeline.settle()

    assert 0 < listed < 6
    assert told["code"] == "quota_day"
    assert passed == "indexed"
    assert again["epoch"] == int(str(cursor["epoch"])) + 1  # nobody looked again but who was asked to
    look(pipeline, person, "PAGE")
    put_back(pipeline, person)
    assert pipeline.states(person) == dict.fromkeys([*letters(6), "new.md"], "indexed")


# Services that are over their own quota -------------------------------------------------------------------------------


def busy(pipeline: Pipeline, service: str) -> bool:
    """Whether it is written down that the service is over its quota."""
    return bool(pipeline.sql(f"SELECT FROM pressure WHERE service = '{service}' AND until > now()"))


def test_nothing_is_read_while_vertex_is_over_its_quota(pipeline: Pipeline) -> None:
    """Every byte counts against the day: for what nobody can understand now, none is spent."""
    with pipeline.setting(RETRY_BASE_SECONDS="0.5", ENTITIES="off"):
        pipeline.vertex.faults.fail_next(1, "RESOURCE_EXHAUSTED", retry_after=3600)
        person = pipeline.person({"a.md": "A letter.\n"})
        known, sent = busy(pipeline, "Vertex AI"), pipeline.google.faults.media_bytes

        person.put("b.md", "Another letter.\n")
        pipeline.sync(person)

        assert known
        assert pipeline.google.faults.media_bytes == sent
        row = pipeline.files(person)["b.md"]
        assert (row["state"], row["reason_code"]) == ("waiting", "quota")
        assert row["reason"] == "Vertex AI is over its quota for now."
        person.remove("a.md")  # what needs no understanding does not wait
        pipeline.sync(person)
        assert pipeline.states(person)["a.md"] == "deleted"
        put_back(pipeline, person)
        assert pipeline.states(person)["b.md"] == "indexed"


@pytest.mark.usefixtures("stripes")
def test_only_what_must_be_recognised_waits_for_document_ai(pipeline: Pipeline) -> None:
    """A picture is not fetched; a scan that was told from its pages is not fetched again; a text is read."""
    pipeline.documents.faults.fail_next(1, "RESOURCE_EXHAUSTED", retry_after=3600)
    person = pipeline.person({"scan.pdf": scan_pdf(1)})
    known, sent = busy(pipeline, "Document AI"), pipeline.google.faults.media_bytes
    pipeline.sql(f"UPDATE gdrive_files SET next_try = now() WHERE user_id = '{person.user_id}'")
    pipeline.tick("reap")
    spent = pipeline.google.faults.media_bytes - sent
    person.put("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(100))
    person.put("a.md", "A letter.\n")
    pipeline.sync(person)

    assert known
    assert spent == 0
    assert pipeline.states(person) == {"scan.pdf": "waiting", "photo.png": "waiting", "a.md": "indexed"}
    assert pipeline.google.faults.media_bytes - sent == len("A letter.\n")
    person.remove("photo.png")
    pipeline.sync(person)
    put_back(pipeline, person)
    assert pipeline.states(person)["scan.pdf"] == "indexed"


# For those who watch --------------------------------------------------------------------------------------------------


def test_the_gauges_tell_what_is_leased(pipeline: Pipeline) -> None:
    """An operator sees a quota run out before people do."""
    pipeline.person({"a.md": "A letter.\n"})
    pipeline.sql(
        "INSERT INTO pressure VALUES ('Vertex AI', now() + interval '100 seconds', 'Busy.')"
        " ON CONFLICT (service) DO UPDATE SET until = excluded.until"
    )

    pipeline.tick("reap")
    told = pipeline.post("dashboard", method="GET", path="/metrics").text

    assert 'drivestream_drive_quota{budget="drive-units-day",part="leased"}' in told
    assert 'drivestream_drive_quota{budget="drive-bytes-day",part="left"}' in told
    assert 'drivestream_service_busy_seconds{service="Vertex AI"} 9' in told
