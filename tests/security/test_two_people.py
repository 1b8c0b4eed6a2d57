"""Two people on one stack: neither sees the other's through any address or by SQL; what they share, both see.

The stack runs a process for each function, so that each logs in to Postgres by its own name, as deployed.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from pg8000.exceptions import DatabaseError

from functions.dashboard.main import ROUTES
from shared.adapters.postgres import connect_to_url
from tests.faults.machine import Machine, provide_database
from tests.faults.visitor import Visitor
from tests.unit.reader_samples import pdf

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc"),
    pytest.mark.xdist_group("two_people"),  # one stack for all of them
]

LAYOUT = {
    "people": [
        {"email": "ada@example.com", "name": "Ada", "folder": "ada"},
        {"email": "ben@example.com", "name": "Ben", "folder": "ben"},
    ],
    "shared_drives": [{"name": "Rowing", "folder": "rowing", "members": ["ben@example.com"]}],
    "files": {"ada/lent to ben.md": {"shared_with": ["ben@example.com"]}},
}
FILES: dict[str, str | bytes] = {
    "ada/heron diary.md": "# Heron\n\nThe vermilion heron sleeps by the lock. Heron Vermilion wrote on 3 May 2026.\n",
    "ada/lent to ben.md": "# Lent\n\nThe ivory compass belongs to both of them.\n",
    "ada/same words.txt": "Each of them has an amber ledger of their own.\n",
    "ben/otter diary.md": "# Otter\n\nThe turquoise otter dances at noon. Otter Turquoise wrote it on 4 June 2026.\n",
    "ben/otter plan.pdf": pdf(["The turquoise otter plans a feast"]),
    "ben/same words.txt": "Each of them has an amber ledger of their own.\n",
    "rowing/otter crew.md": "# Crew\n\nThe turquoise otter steers.\n",
}
SHARED = "lent to ben.md"
ROLES = ("drivestream_reader", "drivestream_worker")  # what speaks for one person; the caretaker looks after all


@dataclass
class Someone:
    """A person, and all that nobody else may see of them."""

    visitor: Visitor
    words: tuple[str, ...]
    user_id: str = ""
    files: dict[str, str] = field(default_factory=dict)  # id by name
    jobs: dict[str, str] = field(default_factory=dict)
    positions: list[str] = field(default_factory=list)

    @property
    def own(self) -> list[str]:
        """Ids of the files that are this person's alone."""
        return [file_id for name, file_id in self.files.items() if name != SHARED]

    @property
    def secrets(self) -> list[str]:
        """What must never be in an answer to somebody else."""
        names = [name for name in self.files if name not in (SHARED, "same words.txt")]
        return [*self.words, *names, *self.own, *self.jobs.values(), self.user_id]

    def find(self, query: str) -> list[dict[str, Any]]:
        """Search results."""
        found: list[dict[str, Any]] = self.visitor.get("/api/search", params={"q": query, "limit": 50}).json()[
            "results"
        ]
        return found


@dataclass(frozen=True)
class Two:
    """Both, connected and read, and the stack."""

    machine: Machine
    ada: Someone
    ben: Someone

    def each(self) -> list[tuple[Someone, Someone]]:
        """(me, the other), both ways round."""
        return [(self.ada, self.ben), (self.ben, self.ada)]


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """Connect both and read all."""
    place = Path(tempfile.mkdtemp(prefix="drivestream-people-"))
    folder = place / "drive"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / ".drive.json").write_text(json.dumps(LAYOUT))
    provide_database(place / "data")
    machine = Machine(place / "data", folder, "--processes")
    try:
        with machine.running():
            two = Two(
                machine,
                Someone(Visitor(machine), ("vermilion", "heron")),
                Someone(Visitor(machine), ("turquoise", "otter")),
            )
            for someone, email, files in ((two.ada, "ada@example.com", 3), (two.ben, "ben@example.com", 5)):
                someone.visitor.connect(email)
                someone.visitor.wait_until_read(files)
            for someone in (two.ada, two.ben):
                _get_to_know(someone, two)
            yield two
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _get_to_know(someone: Someone, two: Two) -> None:
    for file in someone.visitor.files():
        someone.files[file["name"]] = file["id"]
        someone.jobs[file["name"]] = someone.visitor.get(f"/api/files/{file['id']}").json()["job"]["id"]
        position = json.dumps([file["state_at"], file["id"]]).encode()
        someone.positions.append(base64.urlsafe_b64encode(position).decode().rstrip("="))
    with _speaking_as(two, "postgres") as ask:
        [[someone.user_id]] = ask("SELECT user_id::text FROM gdrive_jobs WHERE job_id = %s", someone.jobs[SHARED])


# By address -----------------------------------------------------------------------------------------------------------


def test_each_finds_their_own_and_the_shared_file_and_nothing_else(two: Two) -> None:
    """The very reason to trust it with a Drive."""
    for me, other in two.each():
        assert me.find(me.words[0])[0]["file"]["id"] in me.own
        assert me.find("ivory compass")[0]["file"]["name"] == SHARED
        assert [one["file"]["name"] for one in me.find("amber ledger") if "amber" in (one["passage"] or "")] == [
            "same words.txt"
        ]
        for words in (*other.words, *other.files, "dances at noon", "sleeps by the lock", " ".join(other.words)):
            for result in me.find(words):
                assert result["file"]["id"] in me.files.values()
                assert not any(word in json.dumps(result).lower() for word in other.words)


def test_a_shared_file_is_read_for_each_of_them(two: Two) -> None:
    """One of them may leave, or lose the file, without the other noticing."""
    assert two.ada.files[SHARED] == two.ben.files[SHARED]
    assert two.ada.jobs[SHARED] != two.ben.jobs[SHARED]
    with _speaking_as(two, "postgres") as ask:
        rows = ask("SELECT user_id::text, count(*) FROM memories WHERE file_id = %s GROUP BY 1", two.ada.files[SHARED])
    assert sorted(rows) == sorted([[two.ada.user_id, 1], [two.ben.user_id, 1]])


def test_no_address_of_the_dashboard_shows_anything_of_the_other(two: Two) -> None:
    """Every GET route, with every id, word and position of the other's put into it."""
    for me, other in two.each():
        for route in (route for route in ROUTES if route.method == "GET"):
            for address in _addresses(route.path, other):
                answer = _asked(me.visitor, address)
                if "{file_id}" in route.path or "{job_id}" in route.path:
                    assert answer[0] == 404, address
                _shows_nothing_of(other, address, answer)


def test_nobody_who_is_not_signed_in_sees_anything(two: Two) -> None:
    """A stranger learns neither what there is nor who is here."""
    stranger = Visitor(two.machine)
    for person in (two.ada, two.ben):
        for route in (route for route in ROUTES if route.method == "GET"):
            for address in _addresses(route.path, person):
                answer = _asked(stranger, address)
                if route.path.startswith(("/api/", "/part/", "/files/")) and route.path != "/api/openapi.json":
                    assert answer[0] == 401, address
                _shows_nothing_of(person, address, answer)


def test_nobody_has_a_file_of_the_other_read_again(two: Two) -> None:
    """What somebody may not see they may not set in motion either."""
    for me, other in two.each():
        before = [other.visitor.get(f"/api/files/{file_id}").json()["events"] for file_id in other.own]
        for file_id in other.own:
            assert me.visitor.ask("POST", f"/api/files/{file_id}/retry").status_code == 404
        after = [other.visitor.get(f"/api/files/{file_id}").json()["events"] for file_id in other.own]

        assert after == before


def _addresses(path: str, other: Someone) -> Iterator[str]:
    """A route's addresses with all that is the other's. Fails for a route with a parameter that nobody thought of."""
    values = {"file_id": other.own, "job_id": list(other.jobs.values()), "name": [*other.own, *map(quote, other.files)],
              "log": ["activity", "audit"], "form": ["csv", "json"]}  # fmt: skip
    if parameters := re.findall(r"\{(\w+)\}", path):
        yield from (path.format(**dict(zip(parameters, chosen, strict=True)))
                    for chosen in product(*(values[name] for name in parameters)))  # fmt: skip
        return
    yield path
    asked = [{"q": word, "limit": "50"} for word in (*other.words, *other.files)]
    asked += [{"cursor": position} for position in other.positions]
    asked += [{"state": "indexed", "user_id": other.user_id, "user": other.user_id, "limit": "50"}]
    asked += [{"receipt": other.user_id}, {"code": other.user_id}]
    if path != "/api/events":  # each of these streams is held open for a while, and it takes no parameters
        yield from (f"{path}?{urlencode(one)}" for one in asked)


def _asked(visitor: Visitor, address: str) -> tuple[int, str]:
    """Status and text as a browser and as a program get it; of a stream of events the first one."""
    if address == "/api/events":
        with visitor.ask("GET", address, stream=True) as answer:
            lines = (line.decode() for line in answer.iter_lines())
            return answer.status_code, next((line for line in lines if line.startswith("data:")), "")
    page = visitor.get(address, headers={"Accept": "text/html"})
    answer = visitor.get(address, headers={"Accept": "application/json"})
    assert page.status_code == answer.status_code, address
    return answer.status_code, page.text + answer.text


def _shows_nothing_of(person: Someone, address: str, answer: tuple[int, str]) -> None:
    # What was asked may be repeated ("Nothing found for ..."), so that much is taken out first.
    for secret in person.secrets:
        if secret not in address and quote(secret) not in address and secret.replace(" ", "+") not in address:
            assert secret not in answer[1], f"{address} shows {secret}"


# By SQL ---------------------------------------------------------------------------------------------------------------


def test_under_each_login_and_role_there_are_one_persons_rows(two: Two) -> None:
    """A query that forgets its WHERE, or an attacker who can write one, gets no further."""
    for login, role in _speakers(two):
        for me, other in two.each():
            with _speaking_as(two, login, role, me.user_id) as ask:
                for table in _personal_tables(ask):
                    rows = ask(f'SELECT user_id::text, t::text FROM "{table}" t')
                    assert {row[0] for row in rows} <= {me.user_id}, (login, role, table)
                    assert not any(word in row[1] for row in rows for word in other.words), (login, role, table)
                assert ask("SELECT count(*) FROM gdrive_files WHERE state <> 'folder'") == [[len(me.files)]]
                assert ask("SELECT count(*) FROM memories WHERE job_id = %s", other.jobs[SHARED]) == [[0]]


def test_without_a_person_no_login_sees_a_row(two: Two) -> None:
    """Whoever forgets to say for whom they speak speaks for nobody."""
    for login, role in _speakers(two):
        with _speaking_as(two, login, role) as ask:
            for table in _personal_tables(ask):
                assert ask(f'SELECT count(*) FROM "{table}"') == [[0]], (login, role, table)
        with _speaking_as(two, login) as ask:
            for table in ("gdrive_files", "memories", "users"):
                with pytest.raises(DatabaseError, match="permission denied"):
                    ask(f"SAVEPOINT before; SELECT count(*) FROM {table}")
                ask("ROLLBACK TO SAVEPOINT before")


def test_no_login_writes_into_the_rows_of_the_other(two: Two) -> None:
    """Not by changing them, not by removing them, and not by adding one."""
    me, other = two.ada, two.ben
    for login, role in _speakers(two):
        if role != "drivestream_worker":
            continue
        with _speaking_as(two, login, role, me.user_id) as ask:
            for change in (
                "UPDATE gdrive_files SET name = 'mine' WHERE user_id = %s RETURNING 1",
                "DELETE FROM memories WHERE user_id = %s RETURNING 1",
                "DELETE FROM gdrive_jobs WHERE user_id = %s RETURNING 1",
            ):
                assert ask(change, other.user_id) == [], (login, change)
            with pytest.raises(DatabaseError, match="row-level security"):
                ask("INSERT INTO gdrive_files (user_id, file_id) VALUES (%s, 'planted')", other.user_id)


def test_search_finds_only_ones_own_by_sql_too(two: Two) -> None:
    """The search runs with more rights than whoever calls it, so its own filter is all there is."""
    for me, other in two.each():
        with _speaking_as(two, "drivestream_dashboard", "drivestream_reader", me.user_id) as ask:
            [[vector]] = ask("SELECT embedding::text FROM memories ORDER BY file_id LIMIT 1")
            statement = "SELECT passage, file_id FROM search_passages(%s, CAST(%s AS halfvec(768)), %s, 1000, 1000)"
            for words in (*other.words, "the", "compass", "amber"):
                for passage, file_id in ask(statement, words, vector, "lexical-hashing-001"):
                    assert file_id in me.files.values()
                    assert not any(word in (passage or "") for word in other.words)


def _speakers(two: Two) -> list[tuple[str, str]]:
    """Every login of a function with every role that speaks for one person."""
    with _speaking_as(two, "postgres") as ask:
        found = [
            (str(login), str(role))
            for login, role in ask(
                "SELECT l.rolname, r.rolname FROM pg_auth_members m JOIN pg_roles l ON l.oid = m.member"
                " JOIN pg_roles r ON r.oid = m.roleid WHERE l.rolcanlogin AND NOT l.rolsuper ORDER BY 1, 2"
            )
            if role in ROLES
        ]
    assert {login.removeprefix("drivestream_") for login, _ in found} == {
        "app", "dashboard", "oauth_callback", "change_lister", "file_streamer", "ai_processor", "channel_renewer"
    }  # fmt: skip
    return found


def _personal_tables(ask: Any) -> list[str]:
    """Every table that knows whose its rows are, as far as this role may read it."""
    return [
        str(row[0])
        for row in ask(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id'"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
            " AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1"
        )
    ]


@contextmanager
def _speaking_as(two: Two, login: str, role: str = "", user_id: str = "") -> Iterator[Any]:
    """Ask in one transaction that leaves nothing behind."""
    password = json.loads((two.machine.data / "postgres" / "passwords.json").read_text())[login]
    port = json.loads((two.machine.data / "ports.json").read_text())["postgres"]
    connection = connect_to_url(f"postgresql://{login}:{quote(password, safe='')}@127.0.0.1:{port}/drivestream")
    try:
        cursor = connection.cursor()

        def ask(statement: str, *values: Any) -> list[list[Any]]:
            if not values:
                return list(connection.execute_simple(statement).rows or [])
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

        ask("BEGIN")
        if role:
            ask(f"SET LOCAL ROLE {role}")
        if user_id:
            ask("SELECT set_config('app.user_id', %s, true)", user_id)
        yield ask
        connection.rollback()
    finally:
        connection.close()
