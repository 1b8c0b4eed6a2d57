"""Who and what files name, from Drive to the rows: grounded in its passage, and gone with it."""

from __future__ import annotations

from itertools import islice

import pytest

from shared.domain.entities import ENTITIES_PER_PASSAGE
from tests.injections import INJECTIONS
from tests.integration.pipeline import Person, Pipeline, pipeline

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

LETTER = "Ada Lovelace wrote to Analytical Engines Ltd in London.\n"


def related(pipeline: Pipeline, person: Person) -> list[list[str]]:
    """Subject, predicate and object as their passages have them."""
    return pipeline.sql(
        "SELECT substr(m.passage, r.subject_starts + 1, r.subject_ends - r.subject_starts), r.predicate,"
        " substr(m.passage, r.object_starts + 1, r.object_ends - r.object_starts)"
        " FROM relations r JOIN memories m USING (job_id, index, ordinal)"
        f" WHERE r.user_id = '{person.user_id}' ORDER BY r.subject_starts"
    )


def test_relations_are_written_with_their_passage_and_go_with_it(pipeline: Pipeline) -> None:
    """They are content like the passage itself: what is purged or erased takes them along."""
    person = pipeline.person({"a.md": LETTER})
    assert related(pipeline, person) == [
        ["Ada Lovelace", "contacted", "Analytical Engines Ltd"],
        ["Analytical Engines Ltd", "located_in", "London"],
    ]

    person.put("a.md", "Nobody wrote anything.\n")
    pipeline.sync(person)
    pipeline.sql(f"UPDATE gdrive_jobs SET updated_at = '2020-01-01' WHERE user_id = '{person.user_id}'")
    pipeline.tick("purge")

    assert pipeline.count("relations", person) == pipeline.count("entities", person) == 0


def test_the_database_refuses_a_relation_of_what_is_not_named(pipeline: Pipeline) -> None:
    """Grounded by a foreign key, whatever a later program forgets to check."""
    person = pipeline.person({"a.md": LETTER})

    with pytest.raises(Exception, match="foreign key"):
        pipeline.sql(
            "INSERT INTO relations SELECT job_id, index, ordinal, user_id, file_id, 'knows', kind, starts, ends, kind,"
            f" starts + 1, ends FROM entities WHERE user_id = '{person.user_id}'"
        )
    pipeline.sql("ROLLBACK")


def test_documents_that_command_a_model_that_obeys_end_as_any_other(pipeline: Pipeline) -> None:
    """T27, by effect: the normal state, the whole text, names that stand in their passage, and nobody else touched."""
    other = pipeline.person({"a.md": LETTER})
    before = [pipeline.passages(other), related(pipeline, other), pipeline.states(other)]
    pipeline.vertex.faults.garble_next(1000, "obey")  # of vectors nobody can be talked into anything

    person = pipeline.person({f"{kind}.txt": text for kind, text in islice(INJECTIONS.items(), 30)})

    assert {name: state for name, state in pipeline.states(person).items() if state != "indexed"} == {}
    assert len(pipeline.states(person)) == 30
    grounded = pipeline.sql(
        "SELECT count(*), count(*) FILTER (WHERE substr(m.passage, e.starts + 1, e.ends - e.starts) = e.name)"
        f" FROM entities e JOIN memories m USING (job_id, index, ordinal) WHERE e.user_id = '{person.user_id}'"
    )
    ((named, in_their_passage),) = grounded
    assert named == in_their_passage > 30
    ((most,),) = pipeline.sql(
        "SELECT max(names) FROM (SELECT count(*) AS names FROM entities"
        f" WHERE user_id = '{person.user_id}' GROUP BY job_id, index, ordinal) of_one"
    )
    assert most <= ENTITIES_PER_PASSAGE
    assert pipeline.count("settings", person) == 0
    assert [pipeline.passages(other), related(pipeline, other), pipeline.states(other)] == before
    assert pipeline.search(person, "Analytical Engines") == []
