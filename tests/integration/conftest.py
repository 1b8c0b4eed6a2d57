"""One real Postgres for a test session (and for each of its workers), and a database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from infra.local.postgres import PostgresServer
from infra.migrate import prepare
from shared.adapters.postgres import Database, connect_to_url
from shared.config import Settings
from tests.scratch_postgres import scratch_postgres

_numbers = count(1)


@dataclass(frozen=True)
class TestDatabase:
    """A database with the newest schema and nobody in it."""

    __test__ = False
    server: PostgresServer
    name: str

    @property
    def admin_url(self) -> str:
        """The address of somebody whom no policy holds."""
        return self.url()

    def url(self, login: str = "postgres") -> str:
        """The address for a login such as `drivestream_app`."""
        return self.server.url_for(login, self.name)

    def settings(self, login: str = "drivestream_app", **more: Any) -> Settings:
        """Settings of a function that logs in like this."""
        return Settings(google_cloud_project="test-project", database_url=self.url(login), **more)

    def speaking_as(self, role: str, **more: Any) -> Database:
        """The database as a function sees it: `reader`, `worker` or `caretaker`."""
        return Database(self.settings(**more), f"drivestream_{role}")

    def admin(self, sql: str) -> list[list[Any]]:
        """Run SQL as the administrator, from outside of all that is tested; the rows of its answer."""
        connection = connect_to_url(self.admin_url)
        try:
            return connection.execute_simple(sql).rows or []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server whose database `drivestream` has the newest schema: the template of all others."""
    with scratch_postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[TestDatabase]:
    """A database with its roles and pgvector, and without a table."""
    yield from _database(postgres, "template0")


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[TestDatabase]:
    """A database with the newest schema and nobody in it."""
    yield from _database(postgres, "drivestream")


@pytest.fixture(scope="module")
def shared_database(postgres: PostgresServer) -> Iterator[TestDatabase]:
    """As `database`, for all tests of a file."""
    yield from _database(postgres, "drivestream")


def _database(server: PostgresServer, template: str) -> Iterator[TestDatabase]:
    made = TestDatabase(server, f"test_{next(_numbers)}")
    maintenance = connect_to_url(server.url_for("postgres", "postgres"))
    try:
        maintenance.execute_simple(f"CREATE DATABASE {made.name} TEMPLATE {template}")
        prepare(made.admin_url)  # what may be done in a database is not copied from its template
        yield made
        maintenance.execute_simple(f"DROP DATABASE {made.name} WITH (FORCE)")
    finally:
        maintenance.close()
