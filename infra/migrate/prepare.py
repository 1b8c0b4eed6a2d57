"""What must be there before the first migration: the database, its roles, pgvector."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from urllib.parse import unquote, urlsplit, urlunsplit

from pg8000.dbapi import Connection
from pg8000.exceptions import DatabaseError
from pg8000.native import identifier, literal

from shared.adapters.postgres import connect_to_url, sqlstate

# Who may log in: the one-process stack as one, else every function as itself (`roles.sql` says what each may be).
LOGINS = (
    "drivestream_app",
    "drivestream_dashboard",
    "drivestream_oauth_callback",
    "drivestream_change_lister",
    "drivestream_file_streamer",
    "drivestream_ai_processor",
    "drivestream_channel_renewer",
)


def prepare(
    url: str, *, passwords: Mapping[str, str] | None = None, identities: Mapping[str, str] | None = None
) -> None:
    """Make the database of this address if it is missing, then its roles and pgvector. Safe to repeat, and at once.

    The address is an administrator's: a superuser's, or that of a login with CREATEROLE that owns the database.
    Passwords are set for the logins given. Where a platform says who may log in, as Cloud SQL does by IAM, `identities`
    has its login for one of ours, and may what ours may: without speaking as a role it sees nothing, like ours.
    """
    connection = _connect_or_create(url)
    try:
        connection.execute_simple("BEGIN; SELECT pg_advisory_xact_lock(hashtext('drivestream roles'))")
        connection.execute_simple(files("schemas").joinpath("sql", "roles.sql").read_text(encoding="utf-8"))
        for login, password in (passwords or {}).items():
            connection.execute_simple(f"ALTER ROLE {identifier(login)} PASSWORD {literal(password)}")
        for login, identity in (identities or {}).items():
            for role in _roles_of(connection, login):
                connection.execute_simple(
                    f"GRANT {identifier(role)} TO {identifier(identity)} WITH INHERIT FALSE, SET TRUE"
                )
        connection.execute_simple("COMMIT")
    finally:
        connection.close()


def _roles_of(connection: Connection, login: str) -> list[str]:
    """The roles that one of our logins may speak as."""
    found = connection.execute_simple(
        f"SELECT roleid::regrole::text FROM pg_auth_members WHERE member = {literal(login)}::regrole ORDER BY 1"
    )
    return [str(row[0]) for row in found.rows or []]


def _connect_or_create(url: str) -> Connection:
    try:
        return connect_to_url(url)
    except DatabaseError as error:
        if sqlstate(error) != "3D000":  # no such database
            raise
    parts = urlsplit(url)
    maintenance = connect_to_url(urlunsplit(parts._replace(path="/postgres")))
    try:
        name = identifier(unquote(parts.path.lstrip("/")))
        maintenance.execute_simple(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    except DatabaseError as error:
        if sqlstate(error) not in ("42P04", "23505"):  # somebody else was faster
            raise
    finally:
        maintenance.close()
    return connect_to_url(url)
