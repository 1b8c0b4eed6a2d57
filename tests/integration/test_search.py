"""Search as people and programs meet it: narrowed down, in every script, from one place to others like it, and never
with anything of somebody else's, whichever way it is tried."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pg8000.core import CoreConnection
from pg8000.native import literal

from infra.local.postgres import PostgresServer
from shared.adapters.postgres import connect_to_url, sqlstate
from shared.domain.terms import sought_terms
from tests.integration.conftest import TestDatabase
from tests.integration.dashboard_world import MODEL, Person, World, serve

pytestmark = pytest.mark.xdist_group("search")  # one dashboard and its people for all of them
PDF, DOC = "application/pdf", "application/vnd.google-apps.document"
FOLDER = "application/vnd.google-apps.folder"


@pytest.fixture(scope="module")
def world(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One dashboard for all tests of this file; each has its own people."""
    with serve(postgres, tmp_path_factory.mktemp("search")) as served:
        yield served


@pytest.fixture
def ada(world: World) -> Person:
    return world.person("ada")


def answer(world: World, person: Person, query: str, **more: Any) -> dict[str, Any]:
    said = world.get("/api/search", person, params={"q": query, **more})
    assert said.status_code == 200, said.text
    found: dict[str, Any] = said.json()
    return found


def names(world: World, person: Person, query: str, **more: Any) -> list[str]:
    """The names of the files found, in order."""
    return [one["file"]["name"] for one in answer(world, person, query, **more)["results"]]


@pytest.fixture
def words_only(world: World) -> Iterator[None]:
    """No model answers, so that only words can find something."""
    world.vertex.faults.fail_next(1000, "UNAVAILABLE")
    yield
    world.vertex.faults.clear()


# Narrowed down ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archivist(world: World) -> Person:
    """Somebody with the same words in files of many kinds."""
    person = world.person("archivist")
    for file_id, parents in (("top", ["root"]), ("mid", ["top"]), ("low", ["mid"])):
        world.file(
            person, file_id, file_id=f"{file_id}-folder", mime_type=FOLDER, state="folder",
            parents=[parent if parent == "root" else f"{parent}-folder" for parent in parents],
        )  # fmt: skip
    text = ["The auditor signed the lease."]
    world.file(person, "deep.txt", text, parents=["low-folder"], modified_time=datetime(2026, 1, 10, 12, tzinfo=UTC))
    world.file(person, "scan.pdf", text, mime_type=PDF, parents=["root"],
               modified_time=datetime(2026, 2, 10, tzinfo=UTC))  # fmt: skip
    world.file(person, "theirs", text, mime_type=DOC, owned_by_me=False, drive_id="shared-1",
               owners='[{"emailAddress": "Bo@Example.com", "permissionId": "1"}]')  # fmt: skip
    world.file(person, "mine.py", text, mime_type="text/x-python", owned_by_me=True,
               owners='[{"emailAddress": "me@example.com"}]')  # fmt: skip
    world.file(person, "lease auditor.xlsx", mime_type="application/vnd.ms-excel", parents=["mid-folder"])
    return person


@pytest.mark.parametrize(("filters", "expected"), [
    ({"type": "pdf"}, {"scan.pdf"}),
    ({"type": "document,code"}, {"theirs", "mine.py"}),
    ({"type": "sheet"}, {"lease auditor.xlsx"}),
    ({"type": "mail"}, set()),
    ({"folder": "top-folder"}, {"deep.txt", "lease auditor.xlsx"}),
    ({"folder": "low-folder"}, {"deep.txt"}),
    ({"folder": "root"}, {"deep.txt", "lease auditor.xlsx", "scan.pdf"}),
    ({"owner": "bo@example.COM"}, {"theirs"}),
    ({"owner": "me"}, {"mine.py"}),
    ({"from": "2026-01-10", "to": "2026-01-10"}, {"deep.txt"}),
    ({"from": "2026-01-11"}, {"scan.pdf"}),
    ({"to": "2026-01-10T12:00:00Z"}, set()),
    ({"drive": "shared-1"}, {"theirs"}),
    ({"drive": "my-drive", "type": "pdf,document"}, {"scan.pdf"}),
    ({"type": "pdf", "folder": "top-folder"}, set()),
    ({}, {"deep.txt", "scan.pdf", "theirs", "mine.py", "lease auditor.xlsx"}),
])  # fmt: skip
def test_a_filter_leaves_what_it_says(
    world: World, archivist: Person, filters: dict[str, str], expected: set[str]
) -> None:
    """Passages by meaning and by words, and names: none of the lists may go round a filter."""
    assert set(names(world, archivist, "auditor lease", **filters)) == expected


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize("typed", ["otter heron turnip", "O'Hara\\otter heron 'turnip"])
def test_what_has_two_of_the_words_comes_before_what_has_one_everywhere(world: World, typed: str) -> None:
    """A word that is in all that somebody has tells nothing apart, and there are too many of them to compare."""
    person = world.person("birdwatcher")
    world.file(person, "otters.txt", [f"Page {number} on the otter." for number in range(400)])
    world.file(person, "pair.txt", ["Where the otter meets the heron."])

    assert names(world, person, typed)[0] == "pair.txt"


@pytest.mark.usefixtures("words_only")
def test_a_word_that_says_nothing_in_english_is_one_of_two_to_choose_from(world: World) -> None:
    """The index is asked for English stems alone, which a German question may have none of."""
    person = world.person("katzenfreund")
    world.file(person, "katze.txt", ["Was schnurrt da?"])

    assert names(world, person, "was or xylophon") == ["katze.txt"]


def test_filters_come_before_the_lists_are_cut(world: World, ada: Person) -> None:
    """What is looked for may be the two hundredth of all and the first of its kind."""
    world.file(ada, "crowd.txt", ["badger badger badger badger"] * 70)
    world.file(ada, "wanted.pdf", ["Long ago, and far from here, somebody may have seen a badger."], mime_type=PDF)

    assert names(world, ada, "badger", type="pdf") == ["wanted.pdf"]


@pytest.mark.parametrize("filters", [
    {"type": "spreadsheet"}, {"folder": "no-such-folder"}, {"folder": "a b"}, {"owner": "ada"}, {"from": "soon"},
    {"drive": "../x"}, {"entity": "Ada"},
])  # fmt: skip
def test_a_wrong_filter_is_answered_in_a_sentence(world: World, archivist: Person, filters: dict[str, str]) -> None:
    """Nobody is shown everything because of a typing error."""
    said = world.get("/api/search", archivist, params={"q": "lease", **filters})

    assert said.status_code == 400
    assert said.json()["detail"].count(".") <= 1 or "@" in said.text


def test_a_result_leads_to_its_page(world: World, ada: Person) -> None:
    """A place in a long PDF is opened there, and the file's own link stays what it is."""
    world.file(ada, "long.pdf", [("the heron stood still", {"page_first": 12, "page_last": 13})], mime_type=PDF)

    [found] = answer(world, ada, "heron stood")["results"]

    assert found["link"] == found["file"]["link"] + "#page=12"


def test_the_page_narrows_down_and_leads_on(world: World, archivist: Person) -> None:
    """What the API can, a person can without JavaScript."""
    page = world.page("/?q=auditor&type=pdf&from=&owner=", archivist).text

    assert "scan.pdf" in page
    assert "deep.txt</bdi></a></h2>" not in page
    assert "<option selected>pdf</option>" in page
    assert "More like this" in page
    assert "There is no such type" in world.page("/?q=auditor&type=pdv", archivist).text


# Every script -------------------------------------------------------------------------------------------------------

TEXTS = {
    "tokyo.txt": "東京都庁の展望室は無料です。灯台は静かに光っている。",
    "library.txt": "我喜欢在图书馆看书，也喜欢喝茶。",
    "seoul.txt": "우리는 서울에서 만나 점심을 먹었다.",
    "arabic.txt": "قرأتُ الْكِتَابَ في المَكْتَبَةِ أمس.",
    "bakery.txt": "Ein Roggenmischbrot und zwei Laugenstangen, bitte.",
    "cafe.txt": "La réunion du comité aura lieu au café.",
    "hindi.txt": "यह पत्र हिन्दी में लिखा गया है।",
}


@pytest.fixture(scope="module")
def traveller(world: World) -> Person:
    """Somebody who reads many languages."""
    person = world.person("traveller")
    for name, text in TEXTS.items():
        world.file(person, name, [text])
    return person


@pytest.mark.parametrize(("query", "name"), [
    ("灯台", "tokyo.txt"), ("都庁", "tokyo.txt"), ("图书馆", "library.txt"), ("茶", "library.txt"),
    ("서울", "seoul.txt"),
    ("كتاب", "arabic.txt"), ("الكتاب", "arabic.txt"), ("مكتبة", "arabic.txt"), ("Brot", "bakery.txt"),
    ("das Brot", "bakery.txt"), ("Roggen", "bakery.txt"), ("reunion", "cafe.txt"), ("हिन्दी", "hindi.txt"),
])  # fmt: skip
@pytest.mark.usefixtures("words_only")
def test_words_of_every_script_are_found_by_full_text_alone(
    world: World, traveller: Person, query: str, name: str
) -> None:
    """A model that is away must not make a language unsearchable."""
    assert names(world, traveller, query) == [name]


@pytest.mark.usefixtures("words_only")
def test_parts_of_words_never_stand_before_the_words_themselves(world: World, ada: Person) -> None:
    """Whoever types "Brot" wants bread first, and rye bread then."""
    world.file(ada, "compounds.txt", ["Roggenmischbrot Weizenbrot Schwarzbrot Vollkornbrot Graubrot"] * 3)
    filler = "Heute war es lange still in der Backstube, und niemand kam vorbei. " * 10
    world.file(ada, "plain.txt", [f"{filler} Dann kam jemand und kaufte Brot. {filler}"])

    found = answer(world, ada, "Brot")["results"]

    assert [one["file"]["name"] for one in found] == ["plain.txt"] + ["compounds.txt"] * 3
    assert [one["matched"] for one in found] == [["phrase", "words"], ["parts"], ["parts"], ["parts"]]


# From one place to others -------------------------------------------------------------------------------------------


def similar(world: World, person: Person, file_id: str, **more: Any) -> Any:
    return world.get("/api/search/similar", person, params={"file_id": file_id, **more})


def test_more_like_this_shows_the_nearest_places_of_other_files(world: World, ada: Person) -> None:
    """One place of each file, the nearest first, never the file itself; and nobody is paid for it."""
    asked = world.file(ada, "a.txt", ["Nothing of it.", "The lamp of the lighthouse burns paraffin oil."])
    near = world.file(ada, "b.txt", ["Cats sleep.", "The lamp of the lighthouse burns oil.", "A lamp burns paraffin."])
    far = world.file(ada, "c.txt", ["The lamp is in the cupboard."])
    world.vertex.faults.fail_next(1000, "UNAVAILABLE")
    try:
        found = similar(world, ada, asked, ordinal=1).json()["results"]
    finally:
        world.vertex.faults.clear()

    assert [(one["file"]["id"], one["ordinal"]) for one in found] == [(near, 1), (far, 0)]
    assert "lighthouse burns oil" in world.page(f"/?file_id={asked}&index=0&ordinal=1", ada).text


@pytest.mark.parametrize(("given", "code"), [
    ({"ordinal": "9"}, 404), ({"index": "9"}, 404), ({"ordinal": "x"}, 400), ({"ordinal": "9" * 30}, 400),
    ({"file_id": "nobodys"}, 404), ({"file_id": ""}, 400),
])  # fmt: skip
def test_a_place_that_is_not_there_is_said_to_be_so(
    world: World, ada: Person, given: dict[str, str], code: int
) -> None:
    """A wrong address is not a search without results."""
    file_id = world.file(ada, "a.txt", ["one"])

    assert similar(world, ada, **{"file_id": file_id, **given}).status_code == code


def named(world: World, person: Person, file_id: str, ordinal: int, kind: str, name: str) -> None:
    """Say that somebody or something is named in a passage."""
    world.sql(
        "INSERT INTO entities (job_id, index, ordinal, user_id, file_id, kind, name, starts, ends) "
        "SELECT current_job, 0, %s, user_id, file_id, %s, %s, 0, %s FROM gdrive_files "
        "WHERE file_id = %s AND user_id = %s",
        ordinal, kind, name, len(name), file_id, person.user_id,
    )  # fmt: skip


def test_results_say_who_is_named_in_them_and_can_be_narrowed_to_it(world: World, ada: Person) -> None:
    """Names are one however they are written; a filter shows only passages that name them."""
    one = world.file(ada, "one.txt", ["Grace Hopper met the ferry.", "The ferry left."])
    two = world.file(ada, "two.txt", ["GRACE\u00a0 HOPPER missed the ferry."])
    named(world, ada, one, 0, "person", "Grace Hopper")
    named(world, ada, two, 0, "person", "GRACE\u00a0 HOPPER")
    named(world, ada, one, 1, "topic", "ferry")

    found = answer(world, ada, "ferry")
    narrowed = answer(world, ada, "ferry", entity="person:grace  hopper")["results"]

    assert found["entities"] == [
        {"kind": "person", "name": "GRACE\u00a0 HOPPER", "count": 2}, {"kind": "topic", "name": "ferry", "count": 1},
    ]  # fmt: skip
    assert {(place["file"]["id"], place["ordinal"]) for place in narrowed} == {(one, 0), (two, 0)}
    assert names(world, ada, "one", entity="topic:ferry") == ["one.txt"]


# Never anybody else's -----------------------------------------------------------------------------------------------

ROLES = ("reader", "worker", "caretaker", "migrator", "definer")
VECTOR = "[" + ",".join(["1"] + ["0"] * 767) + "]"


def insert(database: TestDatabase, person: UUID, count: int, *, model: str = MODEL, secret: str = "") -> UUID:
    """A file with passages of chance words and chance vectors. Returns its job."""
    job = uuid4()
    database.admin(f"""
        SET session_replication_role = replica;
        INSERT INTO users (user_id, google_sub) VALUES ('{person}', '{person}') ON CONFLICT DO NOTHING;
        INSERT INTO gdrive_files (user_id, file_id, name, mime_type, state, wanted_job, current_job, parents)
        VALUES ('{person}', 'file-{person}', 'secret plans {secret}.txt', 'text/plain', 'indexed', '{job}', '{job}',
            ARRAY['folder-{person}']);
        INSERT INTO memories (job_id, index, ordinal, user_id, file_id, passage, locator, hash, model, embedding)
        SELECT '{job}', 0, n, '{person}', 'file-{person}',
            'secret ' || {literal(secret)} || ' number ' || n || ' ' || md5(n::text), '{{}}', sha256(n::text::bytea),
            '{model}', (SELECT array_agg(sin(n * 17.0 + i * i * {person.int % 89 + 1}) + (i = 1)::int)
                FROM generate_series(1, 768) i)::halfvec
        FROM generate_series(1, {count}) n;
        INSERT INTO entities (job_id, index, ordinal, user_id, file_id, kind, name, starts, ends)
        VALUES ('{job}', 0, 1, '{person}', 'file-{person}', 'topic', 'secret', 0, 6)""")
    return job


@pytest.fixture(scope="module")
def crowded(postgres: PostgresServer) -> Iterator[tuple[TestDatabase, UUID, UUID, UUID]]:
    """A database in which somebody has 1,100 passages, somebody 300 and somebody 50, and its indexes."""
    name = f"crowded_{uuid4().hex[:8]}"
    maintenance = connect_to_url(postgres.url_for("postgres", "postgres"))
    maintenance.execute_simple(f"CREATE DATABASE {name} TEMPLATE drivestream")
    made = TestDatabase(postgres, name)
    # The last four bits say in which index over vectors they are: all three in one.
    much, some, little = (UUID(int=number, version=4) for number in (1, 17, 33))
    indexes = made.admin("SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'memories_by_meaning%'")
    made.admin("; ".join(f"DROP INDEX {index}" for index, _ in indexes))
    for person, count, secret in ((much, 1100, "zebra"), (some, 300, "yak"), (little, 50, "xerus")):
        insert(made, person, count, secret=secret)
    made.admin("; ".join(definition for _, definition in indexes))
    made.admin("VACUUM ANALYZE")
    yield made, much, some, little
    maintenance.execute_simple(f"DROP DATABASE {name} WITH (FORCE)")
    maintenance.close()


def speaking(connection: CoreConnection, role: str, person: UUID | None, *statements: str) -> list[list[Any]]:
    """The rows of the last statement, as this role for this person, in a transaction that leaves nothing."""
    connection.execute_simple("BEGIN")
    try:
        connection.execute_simple(f"SET LOCAL ROLE drivestream_{role}")
        if person is not None:
            connection.execute_simple(f"SET LOCAL app.user_id = '{person}'")
        for statement in statements:
            rows = connection.execute_simple(statement).rows
        return list(rows or [])
    finally:
        connection.execute_simple("ROLLBACK")


def asked(words: str = "secret", vector: str = VECTOR, **more: str) -> str:
    """A search in SQL that shows what it finds."""
    named = "".join(f", {name} => {literal(value)}" for name, value in more.items())
    return (
        f"SELECT f.file_id, f.passage FROM search_passages({literal(words)}, {literal(vector)}, '{MODEL}', 2000, 2000, "
        f"parts => {literal(sought_terms(words).query)}{named}) f"
    )


@pytest.fixture
def admin(crowded: tuple[TestDatabase, UUID, UUID, UUID]) -> Iterator[CoreConnection]:
    connection = connect_to_url(crowded[0].admin_url)
    yield connection
    connection.close()


def test_each_role_sees_through_search_what_it_may_and_nothing_more(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """The reader searches one person's rows; the definer's function does too, whoever calls it; the others may not."""
    _, much, some, _ = crowded
    for role in ("reader", "migrator", "definer"):
        for person in (much, some):
            found = speaking(admin, role, person, asked())
            assert {file_id for file_id, _ in found} == {f"file-{person}"}, role
            assert len(found) >= 200, role
        assert speaking(admin, role, None, asked()) == [], role
    for role in ("worker", "caretaker"):
        with pytest.raises(Exception, match="permission denied") as refused:
            speaking(admin, role, much, asked())
        assert sqlstate(refused.value) == "42501"
    for role in ("reader", "worker", "caretaker"):
        with pytest.raises(Exception, match="permission denied"):
            speaking(admin, role, much, f"SELECT * FROM nearest_passages('{VECTOR}', '{MODEL}', 10)")


@pytest.mark.parametrize("around", [
    "SELECT user_id FROM memories",
    "SELECT user_id FROM memories WHERE words @@ 'secret'",
    f"SELECT user_id FROM memories ORDER BY embedding <=> '{VECTOR}' LIMIT 5000",
    "SELECT user_id FROM entities",
    "SELECT user_id FROM gdrive_files WHERE name_words @@ 'secret'",
])  # fmt: skip
def test_nobody_goes_round_search(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection, around: str
) -> None:
    """Straight at the tables a function sees one person's rows, the caretaker everybody's, and the migrator none: it
    owns them under forced policies and has none of its own, but that it may speak as the definer."""
    _, much, some, little = crowded
    for role in ("reader", "worker"):
        assert {person for [person] in speaking(admin, role, some, around)} == {some}, role
        assert speaking(admin, role, None, around) == [], role
        assert speaking(admin, role, UUID(int=0), around) == [], role
    for role in ("caretaker", "definer"):
        assert {person for [person] in speaking(admin, role, some, around)} == {much, some, little}, role
    seen = {person for [person] in speaking(admin, "migrator", some, around)}
    assert seen in (set(), {much, some, little})


def test_another_persons_ids_and_vectors_find_nothing_of_theirs(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """Every parameter is tried with what belongs to somebody else."""
    _, much, some, little = crowded
    theirs = f"SELECT embedding FROM memories WHERE user_id = '{much}' AND ordinal = 7"
    stolen = str(admin.execute_simple(theirs).rows[0][0])
    person = f"{str(much)[:8]}|"

    tries = [
        asked("zebra", stolen),
        asked("secret", stolen, folder=f"folder-{much}"),
        asked(f"file-{much}", stolen, folder=f"file-{much}"),
        asked(f'"{person}"', stolen),
        asked(person, stolen, kinds="{%}", drive="my-drive"),
        asked("zebra", stolen, entity_kind="topic", entity_name="secret"),
        f"SELECT file_id, passage FROM search_passages('x', NULL, '{MODEL}', 50, parts => $$'{person}'$$)",
        f"SELECT file_id, passage FROM search_passages('x', NULL, '{MODEL}', 50, parts => $$'{person}' | !'x'$$)",
    ]

    for asking in tries:
        for reader in (some, little):
            found = speaking(admin, "reader", reader, asking)
            assert {file_id for file_id, _ in found} <= {f"file-{reader}"}, asking
            assert not any("zebra" in (passage or "") for _, passage in found), asking
        assert speaking(admin, "reader", None, asking) == [], asking
    # Not even what is theirs: how near it is to a passage of somebody else would tell what that one says.
    alike = f"SELECT file_id FROM similar_passages('file-{much}', 0, 7, 50)"
    assert [speaking(admin, "reader", reader, alike) for reader in (some, little, None)] == [[], [], []]


def test_the_index_over_everybodys_vectors_gives_ones_own_only(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """The nearest of all are somebody else's, to the hair, and the walk through them must not bring one along."""
    _, much, some, _ = crowded
    theirs = f"SELECT embedding FROM memories WHERE user_id = '{some}' AND ordinal < 30"

    for [vector] in admin.execute_simple(theirs).rows:
        found = speaking(
            admin, "definer", much, f"SELECT DISTINCT file_id FROM nearest_passages('{vector}', '{MODEL}', 10)"
        )
        assert found == [[f"file-{much}"]]


def test_what_lies_among_many_of_others_is_found_whole(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """Somebody with fifty passages gets exactly the nearest of them, as if they were alone."""
    _, _, _, little = crowded
    near = f"SELECT ordinal FROM nearest_passages('{VECTOR}', '{MODEL}', 10) ORDER BY distance"
    exact = f"SELECT ordinal FROM memories WHERE user_id = '{little}' ORDER BY (embedding <=> '{VECTOR}') + 0 LIMIT 10"

    assert speaking(admin, "definer", little, near) == speaking(admin, "definer", little, exact)


WRITTEN = (
    "secret plans number 7",
    "number 7 is no secret: zebra",
    "yak, number 8",
    "the the",
    "it's a\\b",
    "7 number secret",
)
SOUGHT = (
    "secret", "secret plans", '"number 7"', '"secret plans" number', "number -7", "-zebra", '-"number 7"',
    "zebra or yak", '"number 7" or "number 8"', "it's", "a\\b", "the", "'", "number the 7 -secret",
    '"7 secret" or -yak', "plan|zebra",
)  # fmt: skip


def test_the_index_of_words_gives_all_that_a_query_matches_and_only_of_one_person(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """It knows neither places nor what must not be there: it may give too much of a person's, never too little."""
    texts, queries = (", ".join(f"({literal(text)})" for text in column) for column in (WRITTEN, SOUGHT))
    one, other = (UUID(int=number << 96, version=4) for number in (1, 2))

    judged = admin.execute_simple(f"""
        SELECT q, sum((words @@ asked)::int), bool_and(NOT words @@ asked OR words_of('{one}', words) @@ found),
            bool_or(words_of('{other}', theirs) @@ found)
        FROM (SELECT to_tsvector('simple', t) || array_to_tsvector('{{{str(one)[:8]}|}}') AS words,
                to_tsvector('simple', t) || array_to_tsvector('{{{str(other)[:8]}|}}') AS theirs
            FROM (VALUES {texts}) v (t)) t,
            (SELECT q, asked, sought_of('{one}', asked) AS found FROM (VALUES {queries}) v (q),
                websearch_to_tsquery('simple', q) AS asked) q
        GROUP BY q""").rows

    assert len(judged) == len(SOUGHT)
    assert [query for query, _, all_given, of_the_other in judged if not all_given or of_the_other] == []


def test_a_word_that_is_too_long_for_the_index_keeps_no_passage_out(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """Postgres takes words of 2,046 bytes, and the person stands before each: a long one must not fail the insert."""
    person = UUID(int=7, version=4)

    found = admin.execute_simple(f"""
        SELECT words_of('{person}', to_tsvector('simple', repeat('x', 2046) || ' lantern'))
            @@ sought_of('{person}', 'lantern')""").rows

    assert found == [[True]]


def test_search_reads_both_indexes_and_never_the_whole_table(
    crowded: tuple[TestDatabase, UUID, UUID, UUID], admin: CoreConnection
) -> None:
    """By Postgres' own counters: what a plan says beforehand matters less than what was read."""
    _, much, _, little = crowded
    read = ("memories_by_meaning_1", "memories_by_words", "memories")
    counters = "SELECT " + ", ".join(f"pg_stat_get_xact_numscans('{name}'::regclass)" for name in read)
    search = f"SELECT * FROM search_passages('secret', '{VECTOR}', '{MODEL}', 10)"

    [[meaning, words, table]] = speaking(admin, "reader", much, search, counters)
    [[meaning_after, words_after, table_after]] = speaking(admin, "reader", little, search, counters)

    assert meaning >= 1
    assert words >= 1
    assert meaning_after == meaning  # who has little is compared with everything they have
    assert words_after > words
    assert table == table_after == 0
