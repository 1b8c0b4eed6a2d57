"""The API as its contract says it: the document, what is told twice, what is asked too often, and anything at all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import requests

from functions.dashboard.estimate import finished_at
from functions.dashboard.main import ROUTES
from functions.dashboard.pace import Pace
from infra import openapi
from infra.local.postgres import PostgresServer
from shared.domain.errors import BadRequest
from tests.bench.api import contract_run
from tests.integration.dashboard_world import Person, World, serve


@pytest.fixture(scope="module")
def world(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serve(postgres, tmp_path_factory.mktemp("api"), REQUESTS_PER_MINUTE="0", SEARCHES_PER_MINUTE="0") as served:
        yield served


@pytest.fixture
def ada(world: World) -> Person:
    return world.person("ada")


# The document ---------------------------------------------------------------------------------------------------------


def test_the_document_is_what_the_routes_are(world: World) -> None:
    """`./dev openapi` writes it again."""
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.written()
    assert world.get("/api/openapi.json").json() == openapi.document()


def test_every_door_of_the_api_is_in_the_document() -> None:
    """What is not told is not used, or used wrongly."""
    paths = openapi.document()["paths"]
    told = {(method.upper(), path) for path, operations in paths.items() for method in operations}

    assert told >= {(route.method, route.path) for route in ROUTES if route.path.startswith("/api/")}


def test_a_program_that_tries_everything_finds_what_the_contract_says(world: World) -> None:
    """Some of what `./dev bench api` tries in ten thousand requests."""
    said = contract_run(world, examples=8, seed=20261127, phases="fuzzing")

    assert said.failures == []
    assert said.requests > 200


# Told once ------------------------------------------------------------------------------------------------------------


def test_who_has_the_answer_already_is_told_so(world: World, ada: Person) -> None:
    """A page that asks every second costs its answer only when there is one."""
    world.file(ada, "a.txt", ["One."])
    for path in ("/api/files", "/api/status", "/api/settings", "/api/search?q=one", "/api/costs"):
        first = world.get(path, ada)
        again = world.get(path, ada, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])

    first = world.get("/api/files", ada)
    world.file(ada, "b.txt", ["Two."])
    assert world.get("/api/files", ada, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_settings_are_changed_by_who_has_seen_them(world: World, ada: Person) -> None:
    """Of two open pages the second does not undo the first unseen."""
    seen = world.get("/api/settings", ada).headers["ETag"]
    mine = world.ask("PUT", "/api/settings", ada, json={"caps": {"pages": 5}}, headers={"If-Match": seen})
    late = world.ask("PUT", "/api/settings", ada, json={"caps": {"pages": 9}}, headers={"If-Match": seen})

    assert (mine.status_code, late.status_code, late.json()["code"]) == (202, 412, "changed_meanwhile")
    assert world.get("/api/settings", ada).json()["caps"]["pages"] == 5
    assert world.ask("PUT", "/api/settings", ada, json={"caps": {}}, headers={"If-Match": "*"}).status_code == 202


def test_a_request_with_a_key_is_done_once(world: World, ada: Person) -> None:
    """A program whose connection breaks cannot know whether it was heard: it asks again."""
    file_id, key = world.file(ada, "a.txt", ["One."]), {"Idempotency-Key": uuid4().hex}
    world.said("file-streamer")

    first = world.ask("POST", f"/api/files/{file_id}/retry", ada, headers=key)
    again = world.ask("POST", f"/api/files/{file_id}/retry", ada, headers=key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(world.said("file-streamer")) == 1


def test_of_eight_at_once_with_a_key_one_is_done(world: World, ada: Person) -> None:
    """The others are told to wait, or what the first was told."""
    file_id, key = world.file(ada, "a.txt", ["One."]), {"Idempotency-Key": uuid4().hex}
    world.said("file-streamer")
    cookies = {"session": ada.session}

    def ask(_: int) -> int:
        with requests.Session() as session:
            session.trust_env = False
            path = f"{world.url}/api/files/{file_id}/retry"
            return session.post(path, cookies=cookies, headers=key, timeout=60).status_code

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(ask, range(8)))

    assert set(told) <= {202, 409}
    assert 202 in told
    assert len(world.said("file-streamer")) == 1


def test_a_key_is_for_one_person_and_one_request(world: World, ada: Person) -> None:
    """The key of another request is a mistake of the program; that of another person is no business of anybody's."""
    one, two, key = world.file(ada, "a.txt", ["One."]), world.file(ada, "b.txt", ["Two."]), {"Idempotency-Key": "k1"}
    bob = world.person("bob")
    his = world.file(bob, "c.txt", ["Three."], file_id=f"his{uuid4().hex[:8]}")

    assert world.ask("POST", f"/api/files/{one}/retry", ada, headers=key).status_code == 202
    other = world.ask("POST", f"/api/files/{two}/retry", ada, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert world.ask("POST", f"/api/files/{his}/retry", bob, headers=key).json()["id"] == his


def test_what_was_refused_may_be_asked_again_with_its_key(world: World, ada: Person) -> None:
    """Only what has worked is kept."""
    file_id, key = f"late{uuid4().hex[:8]}", {"Idempotency-Key": "k2"}

    assert world.ask("POST", f"/api/files/{file_id}/retry", ada, headers=key).status_code == 404
    world.file(ada, "late.txt", ["Late."], file_id=file_id)
    assert world.ask("POST", f"/api/files/{file_id}/retry", ada, headers=key).status_code == 202
    wrong = world.ask("POST", f"/api/files/{file_id}/retry", ada, headers={"Idempotency-Key": "x" * 256})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_key")


def test_a_key_whose_request_died_is_free_after_its_time(world: World, ada: Person) -> None:
    """An instance may be gone in the middle of an answer."""
    file_id = world.file(ada, "a.txt", ["One."])
    world.sql(
        "INSERT INTO idempotent_requests (user_id, key, fingerprint, made_at) VALUES (%s, 'dead', 'x', app_now() - "
        "interval '61 seconds'), (%s, 'busy', 'x', app_now())",
        ada.user_id,
        ada.user_id,
    )

    assert world.ask("POST", f"/api/files/{file_id}/retry", ada, headers={"Idempotency-Key": "dead"}).status_code == 202
    busy = world.ask("POST", f"/api/files/{file_id}/retry", ada, headers={"Idempotency-Key": "busy"})
    assert (busy.status_code, busy.headers["Retry-After"]) == (409, "2")


# Too fast -------------------------------------------------------------------------------------------------------------


def test_whoever_asks_too_fast_is_told_when_to_go_on() -> None:
    """Evenly: after a second there is room for a second's share."""
    now = 100.0
    pace = Pace("requests", clock=lambda: now)

    for left in (59, 58):
        assert pace.take("ada", 60)["RateLimit"].startswith(f'"requests";r={left};')
    for _ in range(58):
        pace.take("ada", 60)
    with pytest.raises(BadRequest) as refused:
        pace.take("ada", 60)
    assert (refused.value.status, refused.value.retry_after) == (429, pytest.approx(1.0))
    pace.take("bob", 60)
    now += 1.0
    pace.take("ada", 60)
    with pytest.raises(BadRequest):
        pace.take("ada", 60)
    assert pace.take("ada", 0) == {}


# When it will be done -------------------------------------------------------------------------------------------------


def test_the_end_is_said_by_files_or_bytes_whichever_takes_longer() -> None:
    """And not at all where too little has been seen."""
    now = datetime(2026, 11, 27, tzinfo=UTC)
    counts = {"queued": 90, "processing": 10, "bytes_to_go": 1000}
    pace = {"files": 50, "bytes": 100_000, "seconds": 60.0}

    assert finished_at(counts, pace, now) == now + timedelta(seconds=120)
    assert finished_at(counts | {"bytes_to_go": 1_000_000}, pace, now) == now + timedelta(seconds=600)
    assert finished_at(counts, pace | {"files": 4}, now) is None
    assert finished_at(counts | {"queued": 0, "processing": 0}, pace, now) is None


def test_the_status_says_how_far_it_is_and_when_it_ends(world: World, ada: Person) -> None:
    """Of files that were done within the last minutes."""
    for number in range(6):
        world.file(ada, f"{number}.txt", ["Text."])
    world.sql("UPDATE gdrive_files SET state_at = app_now() - interval '60 seconds' WHERE user_id = %s", ada.user_id)
    world.file(ada, "to-go.txt")

    status = world.get("/api/status", ada).json()

    assert (status["done"], status["progress"]) == (6, round(6 / 7, 4))
    assert status["estimated_completion"] > status["now"]
