"""What Google's services answer wrongly, late or differently, and what becomes of the file: a state with its reason."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.messages.file_chunk_pb2 import FileChunk
from shared.domain.names import FILE_CHUNKS
from tests.contract.pdfs import scan_pdf
from tests.integration.pipeline import Person, Pipeline, go_on, long_text, pipeline, stripes, with_chunks
from tests.integration.test_pipeline_faults import make_due
from tests.integration.test_pipeline_scope import ask
from tests.integration.test_pipeline_spending import spent

__all__ = ["pipeline", "stripes"]
pytestmark = pytest.mark.xdist_group("pipeline")


def zipped(**contents: bytes) -> bytes:
    """An archive of one file for each kind."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for kind, content in contents.items():
            archive.writestr(f"one.{kind}", content)
    return held.getvalue()


def models(pipeline: Pipeline, person: Person) -> set[str]:
    """The models of what search can find."""
    rows = pipeline.sql(
        "SELECT DISTINCT m.model FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id"
        f" AND f.user_id = m.user_id WHERE f.user_id = '{person.user_id}'"
    )
    return {row[0] for row in rows}


@pytest.mark.usefixtures("stripes")
def test_pages_whose_answer_was_lost_are_asked_for_again_and_written_once(pipeline: Pipeline) -> None:
    """D11: done and billed, and nobody got to know. The second answer is the one that is kept."""
    pages = pipeline.documents.pages
    pipeline.documents.faults.garble_next(1, "truncated_json")

    person = pipeline.person({"scan.pdf": scan_pdf(1)})

    assert pipeline.states(person) == {"scan.pdf": "indexed"}
    assert pipeline.count("memories", person) == 1
    assert pipeline.documents.pages - pages == 2


@pytest.mark.usefixtures("stripes")
@pytest.mark.parametrize("status", ["DEADLINE_EXCEEDED", "UNAVAILABLE", "INTERNAL"])
def test_work_that_was_done_and_never_answered_is_done_once_more_and_written_once(
    pipeline: Pipeline, status: str
) -> None:
    """D11: recognition and vectors, each done and told to be too late. Each is asked for once more, and that is all."""
    pages, texts = pipeline.documents.pages, pipeline.vertex.texts
    pipeline.documents.faults.lose_next(1, status)
    pipeline.vertex.faults.lose_next(1, status)

    with pipeline.setting(ENTITIES="off"):
        person = pipeline.person({"scan.pdf": scan_pdf(2)})

    assert pipeline.states(person) == {"scan.pdf": "indexed"}
    assert pipeline.count("memories", person) == 1
    assert (pipeline.documents.pages - pages, pipeline.vertex.texts - texts) == (4, 2)


@pytest.mark.usefixtures("stripes")
def test_a_service_that_stays_away_has_nothing_billed_again_that_was_had_before(pipeline: Pipeline) -> None:
    """D11: pages and vectors are there, the model for names answers 503 to every delivery. They are kept, and the file
    ends as if nothing had been."""
    with pipeline.setting(RETRY_BASE_SECONDS="0.002"):
        quiet = pipeline.person({"scan.pdf": scan_pdf(2)})
        person, (chunk,) = with_chunks(pipeline, {"scan.pdf": scan_pdf(2)})
        pages, texts, tokens = pipeline.documents.pages, pipeline.vertex.texts, pipeline.vertex.tokens
        pipeline.vertex.faults.garble_next(1, "")  # the vectors come
        pipeline.vertex.faults.fail_next(10_000, "UNAVAILABLE")
        answers = [pipeline.push("ai_processor", chunk).status_code for _ in range(3)]
        billed = pipeline.vertex.tokens - tokens
        pipeline.vertex.faults.clear()
        kept = pipeline.count("paid_pages", person), pipeline.count("paid_vectors", person)
        go_on(pipeline)

    assert answers == [503] * 3
    assert kept == (1, 1)
    assert pipeline.passages(person) == pipeline.passages(quiet)
    assert pipeline.states(person) == {"scan.pdf": "indexed"}
    assert pipeline.documents.pages - pages == 2
    assert pipeline.vertex.texts - texts == 2  # a vector, and one question for names
    assert spent(pipeline, person)["embedded_tokens"] == billed > 0
    assert pipeline.count("paid_pages", person) == pipeline.count("paid_vectors", person) == 0


def test_of_vectors_that_came_one_by_one_only_the_missing_ones_are_asked_for(pipeline: Pipeline) -> None:
    """D11: a model that takes one text a request goes away in the middle of a chunk."""
    with pipeline.setting(
        ENTITIES="off", RETRY_BASE_SECONDS="0.002", EMBEDDING_TEXTS_PER_REQUEST="1", VERTEX_PARALLEL_CALLS="1"
    ):
        person, (chunk,) = with_chunks(pipeline, {"a.txt": long_text("fig", 9000)})
        texts = pipeline.vertex.texts
        pipeline.vertex.faults.garble_next(2, "")  # two come
        pipeline.vertex.faults.fail_next(10_000, "UNAVAILABLE")
        answer = pipeline.push("ai_processor", chunk).status_code
        pipeline.vertex.faults.clear()
        had = pipeline.vertex.texts - texts
        go_on(pipeline)

    assert (answer, had) == (503, 2)
    assert pipeline.states(person) == {"a.txt": "indexed"}
    assert pipeline.count("memories", person) == pipeline.vertex.texts - texts > 4
    assert pipeline.count("memories", person, "embedding IS NULL") == 0


@pytest.mark.usefixtures("stripes")
def test_what_a_waiting_file_had_recognised_is_not_recognised_again(pipeline: Pipeline) -> None:
    """D10, D11: the quota for vectors is used up behind the recognition. What was kept of a file that is closed to us
    meanwhile goes with the next purge."""
    pages = pipeline.documents.pages
    with pipeline.setting(ENTITIES="off"):
        pipeline.vertex.faults.fail_next(1000, "RESOURCE_EXHAUSTED")
        person = pipeline.person({"scan.pdf": scan_pdf(2), "other.pdf": scan_pdf(3)})
        waiting, kept = pipeline.states(person), pipeline.count("paid_pages", person)
        pipeline.heal()
        pipeline.google.edit(person.id_of("other.pdf"), can_download=False)
        pipeline.sync(person)
        make_due(pipeline, person)
        pipeline.tick("reap")
        left = pipeline.count("paid_pages", person)
        pipeline.tick("purge")

    assert waiting == {"scan.pdf": "waiting", "other.pdf": "waiting"}
    assert (kept, left, pipeline.count("paid_pages", person)) == (2, 1, 0)
    assert pipeline.states(person) == {"scan.pdf": "indexed", "other.pdf": "skipped"}
    assert pipeline.documents.pages - pages == 5


def test_more_pages_than_are_taken_at_once_are_never_the_first_pages(pipeline: Pipeline) -> None:
    """D12: a window that was cut for another limit. Its file says so, and shows nothing of it."""
    person, (chunk,) = with_chunks(pipeline, {"scan.pdf": scan_pdf(1)})
    pages = pipeline.documents.pages
    chunk.payload = scan_pdf(16)
    chunk.locator.page_last = 16

    assert pipeline.push("ai_processor", chunk).status_code == 204

    row = pipeline.files(person)["scan.pdf"]
    assert (row["state"], row["reason_code"]) == ("skipped", "page_limit")
    assert pipeline.count("memories", person) == 0
    assert pipeline.documents.pages == pages
    go_on(pipeline)


def test_pages_without_a_word_end_with_a_reason(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """D12: nothing is there to be embedded, and nothing is asked for again."""
    monkeypatch.setattr(pipeline.documents, "_recognise", lambda page: " \n")
    pages, calls = pipeline.documents.pages, pipeline.vertex.calls

    person = pipeline.person({"scan.pdf": scan_pdf(2)})

    row = pipeline.files(person)["scan.pdf"]
    assert (row["state"], row["reason_code"], row["next_try"]) == ("skipped", "no_text", None)
    assert (pipeline.documents.pages - pages, pipeline.vertex.calls) == (2, calls)


def test_pages_that_are_refused_end_with_a_reason_and_are_not_asked_for_again(pipeline: Pipeline) -> None:
    """D12: the same pages would be refused again."""
    calls = pipeline.documents.calls
    pipeline.documents.faults.fail_next(1000, "INVALID_ARGUMENT")

    person = pipeline.person({"scan.pdf": scan_pdf(1)})

    row = pipeline.files(person)["scan.pdf"]
    assert (row["state"], row["reason_code"], row["next_try"]) == ("skipped", "broken", None)
    assert row["reason"]
    assert pipeline.documents.calls - calls == 1


def test_a_file_with_text_and_pages_that_are_refused_says_what_is_missing(pipeline: Pipeline) -> None:
    """D12: the part that was read is found, and nobody takes it for the whole."""
    pipeline.documents.faults.fail_next(1000, "INVALID_ARGUMENT")

    person = pipeline.person({"mixed.zip": zipped(pdf=scan_pdf(1), txt=b"Walnuts keep for a year.\n")})

    row = pipeline.files(person)["mixed.zip"]
    assert row["state"] == "indexed"
    assert "cannot be recognised" in row["truncated_at"]
    assert "Walnuts" in pipeline.text(person, "mixed.zip")


def test_one_passage_that_the_model_refuses_costs_only_itself(pipeline: Pipeline) -> None:
    """D13: of a batch the others have their vectors; this one is found by its words."""
    pipeline.vertex.refuse_texts_with = "hemlock"
    try:
        with pipeline.setting(ENTITIES="off"):
            person = pipeline.person(
                {"a.txt": "\n\n".join(["Walnuts. " * 200, "A word of hemlock. " * 90, "Rain. " * 300])}
            )
    finally:
        pipeline.vertex.refuse_texts_with = ""

    rows = pipeline.sql(f"SELECT passage, embedding IS NULL FROM memories WHERE user_id = '{person.user_id}'")
    assert pipeline.states(person) == {"a.txt": "indexed"}
    assert [bare for _, bare in rows] == ["hemlock" in passage for passage, _ in rows]
    assert {bare for _, bare in rows} == {True, False}


@pytest.mark.parametrize("how", ["nan", "fewer", "short_vector", "truncated_json"])
def test_vectors_that_are_none_write_no_row(pipeline: Pipeline, how: str) -> None:
    """D14: refused, asked for once more, then a reason; and good as new when the service is."""
    calls = pipeline.vertex.calls
    with pipeline.setting(ENTITIES="off"):
        pipeline.vertex.faults.garble_next(1000, how)
        person = pipeline.person({"a.txt": "The quinces are ripe.\n"})
        waiting, billed = pipeline.files(person)["a.txt"], pipeline.vertex.calls - calls
        rows = pipeline.count("memories", person)
        pipeline.heal()
        make_due(pipeline, person)
        pipeline.tick("reap")

    assert (waiting["state"], waiting["reason_code"]) == ("waiting", "bad_answer")
    assert waiting["next_try"] is not None
    assert rows == 0
    assert billed == 2
    assert pipeline.states(person) == {"a.txt": "indexed"}
    assert pipeline.count("memories", person, "embedding IS NOT NULL") == 1


@pytest.mark.parametrize(("how", "times"), [("truncated_json", 2), ("prose", 2), ("SAFETY", 1)])
def test_a_model_that_names_nothing_costs_only_the_names(pipeline: Pipeline, how: str, times: int) -> None:
    """D14: the text is searchable; a refusal of a model is no fault of the file."""
    pipeline.vertex.faults.garble_next(1, "")  # the vectors come
    pipeline.vertex.faults.garble_next(times, how)

    person = pipeline.person({"a.txt": "Ada Lovelace was in London.\n"})

    assert pipeline.states(person) == {"a.txt": "indexed"}
    assert pipeline.count("entities", person) == 0
    assert pipeline.count("memories", person, "embedding IS NOT NULL") == 1


@pytest.mark.usefixtures("stripes")
def test_a_file_that_was_half_embedded_when_the_model_changed_has_one_model(pipeline: Pipeline) -> None:
    """D15: what was embedded by the old one is not shown beside the new: the file is read anew."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    old, new = pipeline.settings.embedding_model, "text-embedding-005"
    with pipeline.setting(ENTITIES="off"):
        pipeline.hold_lanes("ai-processor")
        person = pipeline.person({"book.zip": zipped(txt=b"Walnuts keep for a year.\n", pdf=scan_pdf(1))})
        first, _ = pipeline.messages(FILE_CHUNKS, person, FileChunk)
        assert pipeline.push("ai_processor", first).status_code == 204
        assert models(pipeline, person) == {old}
    with pipeline.setting(ENTITIES="off", EMBEDDING_MODEL=new):
        pipeline.release_lanes("ai-processor")
        pipeline.settle()
        waiting = pipeline.files(person)["book.zip"]
        make_due(pipeline, person)
        pipeline.tick("reap")

        assert (waiting["state"], waiting["reason_code"]) == ("waiting", "model_changed")
        assert pipeline.states(person) == {"book.zip": "indexed"}
        assert models(pipeline, person) == {new}
        assert pipeline.count("memories", person, "embedding IS NULL") == 0


def test_a_file_keeps_its_model_until_it_is_read_again(pipeline: Pipeline) -> None:
    """D15: a new model costs nothing by itself. Until then the file is found by its words, and vectors of two models
    never meet in one search."""
    with pipeline.setting(ENTITIES="off"):
        person = pipeline.person({"a.txt": "The quinces are ripe.\n"})
        old, new = pipeline.settings.embedding_model, "text-embedding-005"
    with pipeline.setting(ENTITIES="off", EMBEDDING_MODEL=new):
        texts = pipeline.vertex.texts
        pipeline.sync(person)
        assert (models(pipeline, person), pipeline.vertex.texts - texts) == ({old}, 0)
        assert [found["matched"] for found in pipeline.search(person, "quinces")] == [["phrase", "words"]]

        person.put("a.txt", "The quinces are ripe and yellow.\n")
        pipeline.sync(person)
        assert models(pipeline, person) == {new}


def test_a_new_model_reaches_finished_files_a_few_at_a_time_and_search_never_goes_blind(pipeline: Pipeline) -> None:
    """D15: rolled out by the caretaker. Each file shows its old passages until it is whole in the new model, both are
    found by their meaning meanwhile, and in the end nothing is left to do."""
    old, new = pipeline.settings.embedding_model, "text-embedding-005"
    with pipeline.setting(ENTITIES="off"):
        person = pipeline.person({"a.txt": "The quinces are ripe.\n", "b.txt": "The quinces are not.\n"})
        before = pipeline.passages(person)
    rollout = {"EMBEDDING_MODEL": new, "EMBEDDING_MODEL_BEFORE": old, "ROLLOUT_FILES": "1"}
    with alone(pipeline, person), pipeline.setting(ENTITIES="off", **rollout):
        pipeline.hold_lanes("ai-processor")
        pipeline.tick("reap")
        pipeline.tick("reap")
        under_way, meanwhile = sorted(pipeline.states(person).values()), pipeline.passages(person)
        go_on(pipeline)
        halfway, found = models_by_file(pipeline, person), by_meaning(pipeline, person, "quinces ripe")
        pipeline.tick("reap")
        texts = pipeline.vertex.texts
        pipeline.tick("reap")

        assert under_way == ["indexed", "processing"], "one at a time"
        assert meanwhile == before
        assert sorted(map(sorted, halfway.values())) == [[old], [new]]
        assert found == {"a.txt", "b.txt"}
        assert models_by_file(pipeline, person) == {"a.txt": {new}, "b.txt": {new}}
        assert pipeline.vertex.texts == texts
        assert by_meaning(pipeline, person, "quinces ripe") == {"a.txt", "b.txt"}


@contextmanager
def alone(pipeline: Pipeline, person: Person) -> Iterator[None]:
    """Nobody else's files are looked after for a while."""
    others = pipeline.sql(f"SELECT user_id FROM users WHERE status = 'active' AND user_id <> '{person.user_id}'")
    ids = ", ".join(f"'{row[0]}'" for row in others) or "NULL"
    pipeline.sql(f"UPDATE users SET status = 'reconnect_needed' WHERE user_id IN ({ids})")
    try:
        yield
    finally:
        pipeline.sql(f"UPDATE users SET status = 'active' WHERE user_id IN ({ids})")


def models_by_file(pipeline: Pipeline, person: Person) -> dict[str, set[str]]:
    """The models of what search can find, file by file."""
    found: dict[str, set[str]] = {}
    for row in pipeline.passages(person):
        found.setdefault(row[0], set()).add(row[-1])
    return found


def by_meaning(pipeline: Pipeline, person: Person, query: str) -> set[str]:
    """The files that the dashboard finds by what a query means."""
    answer = ask(pipeline, person, "GET", "/api/search", params={"q": query})
    assert answer.status_code == 200, answer.text
    return {one["file"]["name"] for one in answer.json()["results"] if "meaning" in one["matched"]}
