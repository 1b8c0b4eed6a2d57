"""What is spent is counted as the services count it, and a cap stops it before it is passed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from functions.ai_processor.main import Rows
from schemas.messages.file_chunk_pb2 import FileChunk
from shared.adapters.chunks import file_chunk
from shared.domain.chunks import Chunk
from shared.domain.files import File
from shared.domain.names import FILE_CHUNKS
from shared.domain.parts import Locator
from shared.domain.spending import CapReached, Wanted
from tests.contract.pdfs import scan_pdf
from tests.integration.pipeline import Person, Pipeline, long_text, pipeline, stripes
from tests.integration.test_pipeline_scope import ask

__all__ = ["pipeline", "stripes"]
pytestmark = pytest.mark.xdist_group("pipeline")

COUNTERS = (
    "drive_units", "drive_bytes", "ocr_pages", "embedded_tokens", "model_input_tokens", "model_output_tokens",
)  # fmt: skip


def spent(pipeline: Pipeline, person: Person) -> dict[str, int]:
    """A person's counters."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in COUNTERS)
    (row,) = pipeline.sql(f"SELECT {sums} FROM costs WHERE user_id = '{person.user_id}'")
    return {name: int(count) for name, count in zip(COUNTERS, row, strict=True)}


def cap(pipeline: Pipeline, person: Person, **caps: int) -> dict[str, Any]:
    """Say what may be spent."""
    answer = ask(pipeline, person, "PUT", "/api/settings", json={"caps": caps})
    assert answer.status_code == 202, answer.text
    said: dict[str, Any] = answer.json()["caps"]
    return said


def capped(pipeline: Pipeline, **caps: int) -> Person:
    """Somebody connected who has said what may be spent."""
    person = pipeline.person()
    cap(pipeline, person, **caps)
    return person


def waits_for_a_cap(pipeline: Pipeline, person: Person, name: str) -> bool:
    """The file waits, with a reason that names the cap, until the month is over."""
    row = pipeline.files(person)[name]
    ((apart,),) = pipeline.sql(
        "SELECT extract(epoch FROM next_try - (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')"
        f" AT TIME ZONE 'UTC') FROM gdrive_files WHERE user_id = '{person.user_id}' AND name = '{name}'"
    )
    assert row["reason"].startswith("Your cap of ")
    assert abs(apart) < 60
    return (row["state"], row["reason_code"]) == ("waiting", "cap_reached")


# Counting -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stripes")
def test_the_counters_are_what_the_services_counted(pipeline: Pipeline) -> None:
    """An estimate of ours would be believed until the bill comes."""
    pages, tokens = pipeline.documents.pages, pipeline.vertex.tokens

    person = pipeline.person({"a.md": "Ada Lovelace wrote to Grace Hopper in London.\n", "scan.pdf": scan_pdf(2)})

    counted = spent(pipeline, person)
    models = ("embedded_tokens", "model_input_tokens", "model_output_tokens")
    assert counted["ocr_pages"] == pipeline.documents.pages - pages == 2
    assert sum(counted[name] for name in models) == pipeline.vertex.tokens - tokens
    assert all(counted[name] > 0 for name in models)
    assert counted["drive_bytes"] == sum(row["bytes"] for row in pipeline.audit(person)) > 0


def test_what_was_billed_and_thrown_away_is_counted_too(pipeline: Pipeline) -> None:
    """D11: vectors that were good when the model for entities gave out are billed, and billed again the next time."""
    tokens = pipeline.vertex.tokens
    pipeline.vertex.faults.garble_next(1, "")  # the vectors come
    pipeline.vertex.faults.fail_next(1000, "RESOURCE_EXHAUSTED")

    person = pipeline.person({"a.md": "Ada Lovelace was in London.\n"})

    assert pipeline.files(person)["a.md"]["reason_code"] == "quota"
    assert spent(pipeline, person)["embedded_tokens"] == pipeline.vertex.tokens - tokens > 0


def test_what_was_billed_before_a_service_went_away_is_counted_too(pipeline: Pipeline) -> None:
    """D11: the delivery fails and comes again; the vectors of this one are on the bill."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person({"a.md": "Ada Lovelace was in London.\n"})
    (chunk,) = pipeline.messages(FILE_CHUNKS, person, FileChunk)
    tokens = pipeline.vertex.tokens
    pipeline.vertex.faults.garble_next(1, "")  # the vectors come
    pipeline.vertex.faults.fail_next(1, "PERMISSION_DENIED")

    answer = pipeline.push("ai_processor", chunk)

    assert answer.status_code >= 500
    assert pipeline.count("gdrive_chunks", person) == 0
    assert spent(pipeline, person)["embedded_tokens"] == pipeline.vertex.tokens - tokens > 0
    pipeline.release_lanes("ai-processor")
    pipeline.settle()
    assert pipeline.states(person) == {"a.md": "indexed"}


# Caps -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stripes")
def test_a_scan_waits_at_the_cap_of_pages_and_goes_on_when_it_is_lifted(pipeline: Pipeline) -> None:
    """T28: nothing is recognised that the cap has no room for; what costs no page is read."""
    pages = pipeline.documents.pages
    person = capped(pipeline, pages=3)
    person.put("a.md", "Text costs no page.\n")
    person.put("scan.pdf", scan_pdf(10))
    pipeline.sync(person)

    assert waits_for_a_cap(pipeline, person, "scan.pdf")
    assert pipeline.states(person)["a.md"] == "indexed"
    assert pipeline.documents.pages == pages
    pipeline.tick("reap")
    assert waits_for_a_cap(pipeline, person, "scan.pdf")

    cap(pipeline, person, pages=10)
    pipeline.tick("reap")

    assert pipeline.states(person)["scan.pdf"] == "indexed"
    assert spent(pipeline, person)["ocr_pages"] == pipeline.documents.pages - pages == 10
    assert pipeline.count("reservations", person) == 0


def test_text_waits_at_the_cap_of_tokens_and_goes_on_when_it_is_lifted(pipeline: Pipeline) -> None:
    """The first file fits, the second does not; neither is read again for nothing once the cap is used up."""
    with pipeline.setting(ENTITIES="off"):
        person = capped(pipeline, tokens=2000)
        person.put("a.txt", long_text("quince", 2000))
        pipeline.sync(person)
        person.put("b.txt", long_text("medlar", 9000))
        pipeline.sync(person)

        assert pipeline.states(person)["a.txt"] == "indexed"
        assert waits_for_a_cap(pipeline, person, "b.txt")
        assert 0 < spent(pipeline, person)["embedded_tokens"] <= 2000

        cap(pipeline, person)
        pipeline.tick("reap")

    assert set(pipeline.states(person).values()) == {"indexed"}
    assert pipeline.count("reservations", person) == 0


def test_a_file_waits_at_the_cap_of_bytes_before_it_is_read(pipeline: Pipeline) -> None:
    """Its size is known beforehand: not one byte of it is fetched."""
    person = capped(pipeline, bytes=5000)
    person.put("a.txt", "The quinces are ripe.\n")
    person.put("b.txt", long_text("medlar", 9000))
    pipeline.sync(person)

    assert pipeline.states(person)["a.txt"] == "indexed"
    assert waits_for_a_cap(pipeline, person, "b.txt")
    assert pipeline.audit(person, "b.txt") == []
    assert spent(pipeline, person)["drive_bytes"] == 22

    cap(pipeline, person, bytes=20_000)
    pipeline.tick("reap")

    assert pipeline.states(person)["b.txt"] == "indexed"
    assert pipeline.count("reservations", person) == 0


def test_what_waits_for_a_cap_goes_on_in_the_next_month(pipeline: Pipeline) -> None:
    """By itself: last month's spending is over."""
    person = capped(pipeline, bytes=30)
    person.put("a.txt", "The quinces are ripe.\n")
    pipeline.sync(person)
    person.put("b.txt", "The medlars are not.\n")
    pipeline.sync(person)
    assert waits_for_a_cap(pipeline, person, "b.txt")

    pipeline.sql(f"UPDATE costs SET day = day - 31 WHERE user_id = '{person.user_id}'")
    pipeline.sql(f"UPDATE gdrive_files SET next_try = now() WHERE user_id = '{person.user_id}' AND state = 'waiting'")
    pipeline.tick("reap")

    assert set(pipeline.states(person).values()) == {"indexed"}


def test_of_many_steps_at_once_only_those_that_fit_are_taken(pipeline: Pipeline) -> None:
    """T28: workers that look at the same moment must not all see the same room."""
    person = capped(pipeline, pages=40)
    person.put("a.txt", "The quinces are ripe.\n")
    pipeline.sync(person)
    ((job_id,),) = pipeline.sql(f"SELECT job_id FROM gdrive_jobs WHERE user_id = '{person.user_id}'")
    taken, refused = [], []

    def take(index: int) -> None:
        part = Chunk(index, "text", b"x", "text/plain", Locator(), (), {})
        message: FileChunk = file_chunk(
            part, str(job_id), person.user_id, File(id="a", name="a", mime_type="text/plain")
        )
        try:
            Rows(pipeline.speaking_as("worker"), message, pipeline.settings).allow(Wanted(pages=15))
            taken.append(index)
        except CapReached:
            refused.append(index)

    threads = [threading.Thread(target=take, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(taken), len(refused)) == (2, 6)


@pytest.mark.parametrize(
    "said",
    [{"caps": {"pages": -1}}, {"caps": {"pages": True}}, {"caps": {"money": 5}}, {"caps": 5}, {"caps": {"pages": "5"}}],
)
def test_a_cap_that_is_none_is_refused_in_a_sentence(pipeline: Pipeline, said: dict[str, Any]) -> None:
    """And nothing is changed."""
    person = pipeline.person()

    answer = ask(pipeline, person, "PUT", "/api/settings", json=said)

    assert answer.status_code == 400
    assert "Caps are whole numbers for a month" in answer.text
    assert pipeline.count("settings", person) == 0


def test_caps_and_folders_are_changed_each_by_itself(pipeline: Pipeline) -> None:
    """Whoever says one does not lose the other."""
    person = pipeline.person()
    ask(pipeline, person, "PUT", "/api/settings", json={"selected_folders": ["f1"]})

    assert cap(pipeline, person, pages=5) == {"bytes": None, "pages": 5, "tokens": None}
    ask(pipeline, person, "PUT", "/api/settings", json={"selected_folders": ["f2"]})

    said = ask(pipeline, person, "GET", "/api/settings").json()
    assert [folder["id"] for folder in said["selected_folders"]] == ["f2"]
    assert said["caps"] == {"bytes": None, "pages": 5, "tokens": None}


# Money ----------------------------------------------------------------------------------------------------------------


def test_money_is_computed_from_the_counters_by_prices_that_say_where_they_are_from(pipeline: Pipeline) -> None:
    """By day, by file, and in sum; another price is a setting away."""
    person = pipeline.person({"a.md": "Ada Lovelace was in London.\n", "b.md": "Rain.\n"})
    cap(pipeline, person, tokens=1_000_000)

    with pipeline.setting(PRICES='{"embedded_tokens": 2000000, "model_input_tokens": 0, "model_output_tokens": 0}'):
        costs = ask(pipeline, person, "GET", "/api/costs").json()

    counted = spent(pipeline, person)
    assert {name: costs["total"][name] for name in COUNTERS} == counted
    assert costs["total"]["dollars"] == 2 * counted["embedded_tokens"]
    assert [day["dollars"] for day in costs["days"]] == [costs["total"]["dollars"]]
    assert [file["name"] for file in costs["files"][:2]] == ["a.md", "b.md"]
    assert sum(file["dollars"] for file in costs["files"]) == costs["total"]["dollars"]
    tokens = sum(counted[name] for name in COUNTERS if name.endswith("tokens"))
    assert costs["month"]["tokens"] == {"used": tokens, "cap": 1_000_000}
    assert costs["month"]["pages"] == {"used": 0, "cap": None}
    prices = {price["of"]: price for price in costs["prices"]}
    assert set(prices) == set(COUNTERS)
    assert prices["embedded_tokens"]["source"] == "the setting PRICES"
    assert prices["ocr_pages"]["read_on"] == "2026-11-23"
