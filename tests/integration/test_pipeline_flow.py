"""From a file in Drive to a passage in Postgres, and every change after that."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pypdfium2
import pytest

from tests.contract.pdfs import HAS_OCR, picture_of_text, text_pdf
from tests.integration.pipeline import AT_REST, Pipeline, long_text, pipeline

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

MIXED: dict[str, str | bytes] = {
    "notes/plan.md": "# Harvest\n\nThe orchard is picked in September.\n\n# Cellar\n\nCider rests until March.\n",
    "table.csv": "tree,year\nquince,1974\nmedlar,1981\n",
    "letter.txt": "Dear Ada,\n\nthe gooseberries are ripe.\n",
    "page.html": "<html><body><h1>Pears</h1><p>Conference pears keep until January.</p></body></html>",
    "Meeting.gdoc": "# Meeting\n\nWe agreed on walnuts.\n",
    "Poll.gform": "",
    "empty.txt": b"",
    "blank.md": " \n\n \n",
    "noise.bin": bytes(range(256)) * 16,
    "broken.pdf": b"%PDF-1.7\nthis is no PDF at all",
    "To the plan.gshortcut": json.dumps({"target": "notes/plan.md"}),
}


def test_every_file_of_a_first_sync_ends_in_one_state_with_a_reason(pipeline: Pipeline) -> None:
    """Nothing is silent: what is not searchable says why, and the states add up to what Drive lists."""
    person = pipeline.person(MIXED | {"paper.pdf": text_pdf(["Espaliers", "Grafting wax"])})

    files = {name: row for name, row in pipeline.files(person).items() if row["state"] != "folder"}

    assert len(files) == len(MIXED) + 1
    assert {name for name, row in files.items() if row["state"] == "indexed"} == {
        "plan.md", "table.csv", "letter.txt", "page.html", "Meeting", "paper.pdf"
    }  # fmt: skip
    assert {row["state"] for row in files.values()} <= AT_REST
    assert all(row["reason"] and row["reason_code"] for row in files.values() if row["state"] == "skipped")
    with pipeline.speaking_as("reader").transaction(person.user_id) as tx:
        counts = tx.row("status_counts", since="2000-01-01T00:00:00Z")
    assert counts is not None
    assert counts["listed"] == sum(counts[state] for state in ("indexed", "unchanged", "skipped", "failed"))
    assert counts["queued"] == counts["processing"] == counts["waiting"] == 0


def test_a_passage_says_where_it_stands(pipeline: Pipeline) -> None:
    """A hit that cannot be found again in its file is worth little."""
    person = pipeline.person({name: MIXED[name] for name in ("notes/plan.md", "table.csv")})

    cider, quince = pipeline.search(person, "cider rests"), pipeline.search(person, "quince")

    assert (cider[0]["name"], cider[0]["locator"]["heading"]) == ("plan.md", "Cellar")
    assert cider[0]["locator"]["line_first"] >= 5
    assert quince[0]["name"] == "table.csv"
    assert quince[0]["locator"]["row_first"] <= 2 <= quince[0]["locator"]["row_last"]


@pytest.mark.parametrize("reason", ["TICK", "CENSUS"])
def test_a_second_sync_of_an_unchanged_drive_reads_no_content(pipeline: Pipeline, reason: str) -> None:
    """Reading everything again would cost a day and money."""
    person = pipeline.person({"a.md": "# One\n\nplums\n", "b.txt": "damsons", "Doc.gdoc": "sloes"})
    before, passages = pipeline.reads(person), pipeline.passages(person)
    calls = dict(pipeline.google.faults.calls)

    pipeline.sync(person, reason)

    assert pipeline.reads(person) == before == 3
    assert pipeline.passages(person) == passages
    for route in ("files.media", "files.export", "files.get"):
        assert pipeline.google.faults.calls[route] == calls.get(route, 0), route


def test_an_unchanged_drive_costs_two_requests_for_each_corpus_at_most(pipeline: Pipeline) -> None:
    """The sweep asks a thousand silent people every quarter of an hour: what it asks is what it costs."""
    person = pipeline.person({"a.md": "One.\n"}, connect=False)
    pipeline.team("grange", person, files={"b.md": "Two.\n"})
    pipeline.connect(person)
    pipeline.settle()
    [[drive]] = pipeline.sql(f"SELECT drive_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND name = 'b.md'")
    asked = {}
    for corpus in ("my-drive", drive):
        before = Counter(pipeline.google.faults.calls)
        pipeline.sync(person, corpus=corpus)
        asked[corpus] = {route: count for route, count in (pipeline.google.faults.calls - before).items() if count}

    assert asked == {"my-drive": {"changes.list": 1, "drives.list": 1}, drive: {"changes.list": 1}}


def test_an_edit_replaces_what_search_shows(pipeline: Pipeline) -> None:
    """What the file no longer says must not be found in it."""
    person = pipeline.person({"a.md": "The gate is green.\n"})

    person.put("a.md", "The gate is painted red.\n")
    pipeline.sync(person)

    assert pipeline.text(person, "a.md") == "The gate is painted red."
    assert pipeline.search(person, "green") == []
    assert [row["name"] for row in pipeline.search(person, "painted")] == ["a.md"]


def test_a_reader_sees_the_old_revision_or_the_new_one(pipeline: Pipeline) -> None:
    """A mix of two revisions is a text that nobody wrote."""
    with pipeline.setting(ENTITIES="off"):
        person = pipeline.person({"book.txt": long_text("alpha", 560_000)})
        person.put("book.txt", long_text("omega", 640_000))
        done, seen = threading.Event(), set()

        def look() -> None:
            words = ", ".join(f"count(*) FILTER (WHERE passage LIKE '%{word}%')" for word in ("alpha", "omega"))
            with pipeline.connection() as connection:
                while not done.is_set():
                    rows = connection.execute_simple(
                        f"SELECT {words} FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id"
                        f" WHERE f.user_id = '{person.user_id}'"
                    ).rows
                    seen.add(tuple(rows[0]))

        reading = threading.Thread(target=look)
        reading.start()
        pipeline.sync(person)
        done.set()
        reading.join()

    (_, omega), (alpha, _) = sorted(seen)
    assert seen == {(alpha, 0), (0, omega)}
    assert alpha > 100 < omega


def test_a_rename_or_a_move_reads_nothing_and_is_found_by_its_new_name(pipeline: Pipeline) -> None:
    """A name is not content."""
    person = pipeline.person({"old.md": "Quinces need a warm wall.\n"})
    before, tokens = pipeline.reads(person), pipeline.vertex.calls

    person.rename("old.md", "garden/espalier-notes.md")
    pipeline.sync(person)

    assert pipeline.reads(person) == before
    assert pipeline.vertex.calls == tokens
    assert pipeline.states(person) == {"espalier-notes.md": "indexed"}
    assert pipeline.search(person, "espalier")[0]["name"] == "espalier-notes.md"
    assert pipeline.search(person, "warm wall")[0]["name"] == "espalier-notes.md"


def test_what_is_in_the_bin_is_out_of_search_and_comes_back_at_no_cost(pipeline: Pipeline) -> None:
    """Putting a file into the bin by mistake must not cost a second reading."""
    person = pipeline.person({"a.md": "Rhubarb under the bell.\n"})
    file_id = person.id_of("a.md")
    before, calls = pipeline.reads(person), pipeline.vertex.calls

    pipeline.google.trash(file_id)
    pipeline.sync(person)
    in_bin = (pipeline.states(person), pipeline.search(person, "rhubarb"))
    pipeline.google.untrash(file_id)
    pipeline.sync(person)

    assert in_bin == ({"a.md": "deleted"}, [])
    assert pipeline.states(person) == {"a.md": "indexed"}
    assert pipeline.search(person, "rhubarb")[0]["name"] == "a.md"
    assert (pipeline.reads(person), pipeline.vertex.calls) == (before, calls)


def test_a_deleted_file_is_gone_from_search(pipeline: Pipeline) -> None:
    """Deleting in Drive is a promise that it is gone here too."""
    person = pipeline.person({"a.md": "Sorrel soup.\n", "b.md": "Lovage.\n"})

    person.remove("a.md")
    pipeline.sync(person)

    assert pipeline.states(person) == {"a.md": "deleted", "b.md": "indexed"}
    assert pipeline.search(person, "sorrel") == []


def test_content_that_comes_back_and_leaves_again_ends_right(pipeline: Pipeline) -> None:
    """A to B to A to B: the names of jobs are the same each time, their states must not be in the way."""
    first, second = "The well is deep.\n", "The well has dried up.\n"
    person = pipeline.person({"a.md": first})

    for text in (second, first, second, first):
        person.put("a.md", text)
        pipeline.sync(person)
        assert (pipeline.text(person, "a.md"), pipeline.states(person)) == (text.strip(), {"a.md": "indexed"})

    pipeline.sql(f"UPDATE gdrive_jobs SET updated_at = now() - interval '1 hour' WHERE user_id = '{person.user_id}'")
    pipeline.tick("purge")
    person.put("a.md", second)
    pipeline.sync(person)
    assert pipeline.text(person, "a.md") == second.strip()
    assert pipeline.sql("SELECT count(*) FROM memories WHERE embedding IS NULL") == [[0]]


def test_content_that_is_taken_back_while_it_is_understood_can_come_again(pipeline: Pipeline) -> None:
    """A, then B whose chunks are still on their way, then A again: B's chunks are refused, and B must not be stuck."""
    first, second = "The well is deep.\n", "The well has dried up.\n"
    person = pipeline.person({"a.md": first})
    pipeline.hold_lanes("ai-processor")
    for text in (second, first):
        person.put("a.md", text)
        pipeline.sync(person)
    pipeline.release_lanes("ai-processor")
    pipeline.settle()
    between = pipeline.text(person, "a.md"), pipeline.states(person)

    person.put("a.md", second)
    pipeline.sync(person)

    assert between == (first.strip(), {"a.md": "indexed"})
    assert (pipeline.text(person, "a.md"), pipeline.states(person)) == (second.strip(), {"a.md": "indexed"})


def test_a_long_file_read_in_many_lives_is_the_file_read_in_one(pipeline: Pipeline) -> None:
    """A function stops after nine minutes; nobody may be able to tell where it did."""
    text = long_text("delta", 900_000)
    with pipeline.setting(ENTITIES="off", TEXT_BYTES=700_000):
        whole = pipeline.person({"book.txt": text})
        with pipeline.setting(LIFE_SECONDS="0"):
            pieces = pipeline.person({"book.txt": text})

    assert pipeline.states(pieces) == {"book.txt": "indexed"}
    assert pipeline.passages(pieces) == pipeline.passages(whole)
    lives = pipeline.sql(f"SELECT attempts, expected_chunks FROM gdrive_jobs WHERE user_id = '{pieces.user_id}'")[0]
    assert lives[1] >= 2
    assert lives[0] > 2
    cuts = [pipeline.files(person)["book.txt"]["truncated_at"] for person in (whole, pieces)]
    assert cuts[0] is not None, "it is longer than the bound, and says so"
    assert cuts[0] == cuts[1]
    assert len(pipeline.audit(pieces)) == lives[0], "each life leaves a row of its own"
    assert [row["outcome"] for row in pipeline.audit(pieces)] == ["continued"] * (lives[0] - 1) + ["ok"]
    assert [row["why"] for row in pipeline.audit(pieces)] == ["listed"] + ["continued"] * (lives[0] - 1)


def test_two_people_who_share_a_file_have_rows_of_their_own(pipeline: Pipeline) -> None:
    """One file, two people: neither may see what the other one knows."""
    ada, grace = pipeline.person({"shared.md": "Figs for both.\n", "own.md": "Ada's secret.\n"}), pipeline.person()

    file_id = pipeline.share(ada, "shared.md", grace)
    pipeline.sync(ada)
    pipeline.sync(grace)

    assert pipeline.states(grace) == {"shared.md": "indexed"}
    assert pipeline.search(grace, "figs")[0]["file_id"] == file_id
    assert pipeline.search(grace, "secret") == []
    for role in ("reader", "worker"):
        with pipeline.speaking_as(role).transaction(grace.user_id) as tx:
            assert [row["file_id"] for row in tx.rows("live_files_of", file_ids=[file_id, ada.id_of("own.md")])] == [
                file_id
            ]
            assert tx.row("file", file_id=ada.id_of("own.md")) is None
    jobs = pipeline.sql(f"SELECT DISTINCT user_id, job_id FROM gdrive_jobs WHERE file_id = '{file_id}'")
    assert len(jobs) == 2

    pipeline.share(ada, "shared.md")
    pipeline.sync(grace)
    assert pipeline.states(grace) == {"shared.md": "deleted"}
    assert pipeline.search(ada, "figs")[0]["name"] == "shared.md"


@pytest.mark.skipif(not HAS_OCR, reason="tesseract is not installed")
def test_a_scanned_page_is_found_by_its_words_and_its_number(pipeline: Pipeline) -> None:
    """Paper that went through a scanner is half of most people's archive."""
    person = pipeline.person({"paper.pdf": joined(text_pdf(["Grafting wax"]), picture_of_text("MULBERRY")[0])})

    found = pipeline.search(person, "mulberry")

    assert pipeline.states(person) == {"paper.pdf": "indexed"}
    assert (found[0]["name"], found[0]["locator"]["page_first"]) == ("paper.pdf", 2)
    assert pipeline.files(person)["paper.pdf"]["truncated_at"] is None


def test_without_ocr_a_scan_says_what_it_needs_and_a_half_scanned_paper_what_is_missing(pipeline: Pipeline) -> None:
    """Half a document that looks whole is worse than none."""
    scan = picture_of_text("MULBERRY")[0]
    with without_ocr(pipeline):
        person = pipeline.person({"scan.pdf": scan, "half.pdf": joined(text_pdf(["Grafting wax"]), scan)})

    files = pipeline.files(person)
    assert (files["scan.pdf"]["state"], files["scan.pdf"]["reason_code"]) == ("skipped", "ocr_missing")
    assert "OCR" in files["scan.pdf"]["reason"]
    assert files["half.pdf"]["state"] == "indexed"
    assert "OCR" in files["half.pdf"]["truncated_at"]
    assert pipeline.search(person, "grafting")[0]["name"] == "half.pdf"


@contextmanager
def without_ocr(pipeline: Pipeline) -> Iterator[None]:
    """A machine on which nobody installed tesseract."""
    found, pipeline.documents._tesseract = pipeline.documents._tesseract, ""
    try:
        yield
    finally:
        pipeline.documents._tesseract = found


def joined(*documents: bytes) -> bytes:
    """One PDF with the pages of all."""
    with pypdfium2.PdfDocument.new() as whole, io.BytesIO() as out:
        for document in documents:
            with pypdfium2.PdfDocument(document) as part:
                whole.import_pages(part)
        whole.save(out)
        return out.getvalue()


def test_a_look_that_finds_nothing_writes_no_place_down(pipeline: Pipeline) -> None:
    """Most looks find nothing: they take the lease and give it back, and what stands in the cursor stands."""
    person = pipeline.person({"a.md": "Apricots.\n"})
    pipeline.sync(person, "NOTIFIED")
    cursor = f"cursors/{person.user_id}~my-drive"
    before = pipeline.firestore.writes()[cursor]

    pipeline.sync(person, "NOTIFIED")

    assert pipeline.firestore.writes()[cursor] - before == 2
