"""A person is told what reading their Drive will take before anything of it is read, and says when it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.messages.file_changed_pb2 import FileChanged
from shared.adapters.firestore import Cursors
from shared.domain.names import FILE_BACKFILL, MY_DRIVE
from tests.integration.pipeline import ROOT, Person, Pipeline, pipeline
from tests.integration.test_pipeline_scope import ask

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

FILES: dict[str, str | bytes] = {
    "a.md": "Apricots of Ada Lovelace.\n",
    "deep/b.txt": "Bilberries.\n" * 200,
    "c.csv": "a,b\n1,2\n",
    "d.mp4": b"\0",
}
WITHIN = 0.2


@pytest.fixture
def asking(pipeline: Pipeline) -> Iterator[Pipeline]:
    """An installation that asks people first."""
    with pipeline.setting(FIRST_SYNC="ask"):
        yield pipeline


def said(pipeline: Pipeline, person: Person) -> dict[str, Any]:
    """The forecast, as the page and programs have it."""
    answer = ask(pipeline, person, "GET", "/api/forecast")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def start(pipeline: Pipeline, person: Person) -> None:
    """Press the button, and wait for the end of everything that follows."""
    answer = ask(pipeline, person, "POST", "/api/start")
    assert (answer.status_code, answer.json()) == (202, {"reading": "begun"})
    pipeline.settle()


def sample() -> dict[str, str | bytes]:
    """The sample Drive, as one person's."""
    folder = ROOT / "infra" / "local" / "sample_drive"
    paths = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def forget_what_was_read(pipeline: Pipeline) -> None:
    """As if all that the tests before have read had been read long ago: nobody learns from it."""
    pipeline.sql("UPDATE gdrive_files SET first_seen_at = 'epoch' WHERE state IN ('indexed', 'skipped')")


def test_nothing_is_read_before_the_person_says_so(asking: Pipeline) -> None:
    """Whatever comes by meanwhile: an edit, a removal, a census, the caretaker, an impatient click."""
    person = asking.person(FILES)
    person.put("a.md", "Apricots, later.\n")
    person.remove("c.csv")
    asking.sync(person)
    asking.sync(person, "CENSUS")
    asking.sql(f"UPDATE gdrive_files SET state_at = now() - interval '1 day' WHERE user_id = '{person.user_id}'")
    asking.tick("reap")
    ask(asking, person, "POST", f"/api/files/{person.id_of('deep/b.txt')}/retry")
    asking.settle()

    assert asking.states(person) == {"a.md": "queued", "b.txt": "queued", "c.csv": "deleted", "d.mp4": "queued"}
    assert asking.messages(FILE_BACKFILL, person, FileChanged) == []
    assert asking.reads(person) == 0
    assert asking.count("costs", person) == 0
    assert said(asking, person)["reading"] == "asks"


def test_the_forecast_names_files_bytes_pages_tokens_cost_and_the_day(asking: Pipeline) -> None:
    """And what will not be read, and why."""
    person = asking.person(FILES)

    found = said(asking, person)

    expected = found["total"]["expected"]
    assert (expected["files"], expected["listed_bytes"]) == (4, sum(len(content) for content in FILES.values()))
    assert expected["drive_units"]["likely"] == 4 * 205
    assert 0 < expected["tokens"]["at_least"] < expected["tokens"]["likely"] < expected["tokens"]["at_most"]
    assert found["done_by"]["likely"] < found["done_by"]["at_most"]
    assert found["listed"] == ["my-drive"]
    (video,) = [kind for kind in found["kinds"] if kind["skipped"]]
    assert video["expected"]["files"] == 1
    page = ask(asking, person, "GET", "/").text
    assert "What reading your Drive will take" in page
    assert "Start reading" in page


def test_one_word_starts_everything_that_waits_and_a_second_one_changes_nothing(asking: Pipeline) -> None:
    """A button is pressed twice, and a click is repeated by a browser."""
    person = asking.person(FILES)

    start(asking, person)
    start(asking, person)

    assert asking.states(person) == {"a.md": "indexed", "b.txt": "indexed", "c.csv": "indexed", "d.mp4": "skipped"}
    assert asking.reads(person) == 4
    assert said(asking, person)["reading"] == "begun"
    assert "Start reading" not in ask(asking, person, "GET", "/").text
    assert "So far" in ask(asking, person, "GET", "/forecast").text


def test_a_start_that_dies_half_way_goes_on_where_it_was(asking: Pipeline) -> None:
    """How far it went is written down after files were announced: a crash repeats some of them, and loses none."""
    person = asking.person(FILES)
    middle = asking.sql(
        f"SELECT modified_time, file_id FROM gdrive_files WHERE user_id = '{person.user_id}' AND state = 'queued'"
        " ORDER BY modified_time DESC, file_id DESC OFFSET 1 LIMIT 1"
    )[0]
    asking.sql(
        f"UPDATE settings SET reading = 'due', reading_from = '{middle[0]}', reading_from_id = '{middle[1]}'"
        f" WHERE user_id = '{person.user_id}'"
    )

    asking.sync(person)

    assert sorted(asking.states(person).values()).count("queued") == 2
    asking.sql(
        "UPDATE settings SET reading = 'due', reading_from = NULL, reading_from_id = NULL"
        f" WHERE user_id = '{person.user_id}'"
    )
    asking.sync(person)
    assert "queued" not in asking.states(person).values()
    assert asking.reads(person) == 4


def test_other_folders_make_another_forecast(asking: Pipeline) -> None:
    """Who finds it too much selects less, and is told what that takes."""
    person = asking.person(FILES)
    before = said(asking, person)

    ask(asking, person, "PUT", "/api/settings", json={"selected_folders": [person.id_of("deep")]})
    asking.settle()

    after = said(asking, person)
    assert after["reading"] == "asks"
    assert after["total"]["expected"]["drive_units"]["likely"] == 205
    assert after["total"]["expected"]["files"] == before["total"]["expected"]["files"]
    assert {kind["kind"] for kind in after["kinds"]} == {"text", "outside"}


def test_an_operator_who_asks_no_longer_lets_everybody_be_read(pipeline: Pipeline) -> None:
    """Or whoever was asked when that changed would wait for ever."""
    with pipeline.setting(FIRST_SYNC="ask"):
        person = pipeline.person(FILES)

    pipeline.sync(person)

    assert "queued" not in pipeline.states(person).values()


def test_who_is_read_already_is_never_asked(pipeline: Pipeline) -> None:
    """A listing that begins anew, years later, must not stop the reading."""
    person = pipeline.person({"a.md": "Apricots.\n"})
    with pipeline.setting(FIRST_SYNC="ask"):
        cursors = Cursors(pipeline.settings)
        cursor = cursors.acquire(person.user_id, MY_DRIVE)
        assert cursor is not None
        cursors.save(cursor, token="")
        cursors.release(cursor, more=True)
        person.put("new.md", "Nectarines.\n")
        pipeline.sync(person)

    assert pipeline.states(person) == {"a.md": "indexed", "new.md": "indexed"}


def test_a_forecast_learns_from_what_everybody_s_files_took_when_they_were_read_once(asking: Pipeline) -> None:
    """A model that names ten times as much as it was taken to do is paid ten times as much. An edited file is received
    twice and embedded in parts: it says nothing of a first reading."""
    letters = {"letter.txt": "Dear Ada, the apricots are ripe.\n" * 300}
    forget_what_was_read(asking)
    other = asking.person({})
    first = _names_expected(asking, asking.person(letters))
    asking.sql(
        "INSERT INTO gdrive_files (user_id, file_id, name, mime_type, size, state)"
        f" SELECT '{other.user_id}', 'old-' || n, 'old.txt', 'text/plain', 10000, 'indexed'"
        " FROM generate_series(1, 900) AS n"
    )
    asking.sql(
        "INSERT INTO costs (user_id, file_id, drive_bytes, embedded_tokens, model_input_tokens, model_output_tokens)"
        f" SELECT '{other.user_id}', 'old-' || n, 20000, 2500, 2846, 2250 FROM generate_series(1, 900) AS n"
    )

    of_edited = _names_expected(asking, asking.person(letters))
    asking.sql(f"UPDATE costs SET drive_bytes = 10000 WHERE user_id = '{other.user_id}'")
    of_read_once = _names_expected(asking, asking.person(letters))

    forget_what_was_read(asking)
    assert of_edited == first
    assert of_read_once == pytest.approx(first * 10**0.75, rel=0.1)  # of 900 files and as good as 300


def test_nobody_but_who_makes_forecasts_is_told_what_others_files_took(pipeline: Pipeline) -> None:
    """Numbers of everybody together are still numbers of others."""
    allowed = pipeline.sql(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'drivestream%'"
        " AND rolname NOT IN ('drivestream_definer', 'drivestream_migrator')"  # whose it is
        " AND NOT rolsuper AND has_function_privilege(oid, 'instance_tokens()', 'execute') ORDER BY 1"
    )

    assert allowed == [["drivestream_worker"]]


def _names_expected(pipeline: Pipeline, person: Person) -> int:
    likely: int = said(pipeline, person)["total"]["expected"]["model_output_tokens"]["likely"]
    return likely


def test_the_forecast_of_the_sample_drive_is_within_a_fifth_of_what_it_takes(pipeline: Pipeline) -> None:
    """Made of the listing alone, and kept as it was made."""
    forget_what_was_read(pipeline)
    person = pipeline.person(sample())

    found = said(pipeline, person)

    expected, actual = found["total"]["expected"], found["total"]["actual"]
    apart = {
        name: round(expected[name]["likely"] / actual[name] - 1, 3)
        for name in ("drive_units", "drive_bytes", "ocr_pages", "tokens")
    }
    assert all(abs(share) <= WITHIN for share in apart.values()), apart
    assert expected["files"] == len(sample())
    assert found["made_at"] is not None
