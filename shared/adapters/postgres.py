"""Postgres: transactions that speak for one person, named queries, and bulk loads.

Every transaction says in its first message which role it plays and whose rows it may touch; both are forgotten with
it, so that a pooled connection carries nothing over. The only file that names the driver's connections and errors.
"""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from pg8000.converters import make_params
from pg8000.core import Context
from pg8000.dbapi import Connection
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import identifier

from shared.adapters import pgcopy
from shared.adapters.pgqueries import Query, query
from shared.adapters.pgtext import clean
from shared.config import Settings
from shared.domain.errors import Unavailable

T = TypeVar("T")

ROLES = ("drivestream_reader", "drivestream_worker", "drivestream_caretaker")
ATTEMPTS = 5
# In units of the base delay: how long something that was paid for waits for the database.
PATIENT_DELAYS = 60
LONGEST_DELAYS = 8
RECYCLE_SECONDS = 1800.0  # a connection older than this is replaced: Cloud SQL's certificates last an hour
CONNECT_SECONDS = 10.0

_log = logging.getLogger(__name__)


# Errors -------------------------------------------------------------------------------------------------------------


class Interrupted(Unavailable):
    """The transaction was undone through no fault of its own (a deadlock, a lost connection): run it again."""

    code = "interrupted"


def classify(error: Exception) -> Exception:
    """The driver's error as ours: `Interrupted`, `Unavailable`, or the error itself where neither is true."""
    if isinstance(error, InterfaceError | OSError):
        return Interrupted("The connection to the database was lost.", code="database_lost")
    state = sqlstate(error)
    match state:
        case "40001" | "40P01" | "55P03" | "57014":
            return Interrupted("The database was busy with the same rows.", code="database_busy")
        case "0A000" if "cached plan" in str(error):
            return Interrupted("The database's tables have just changed.", code="database_changed")
        case "26000" | "57P01" | "57P05" | "25P03" | "25P04":
            return Interrupted("The connection to the database was lost.", code="database_lost")
        case "53100" | "25006":
            _log.error("The database takes no writes: %s", _message(error))
            return Unavailable("The database takes no writes now.", retry_after=60.0, code="database_read_only")
        case "53300" | "53400" | "57P02" | "57P03":
            return Unavailable("The database has no connection free now.", retry_after=5.0, code="database_full")
    if state.startswith("08"):
        return Interrupted("The connection to the database was lost.", code="database_lost")
    return error


def sqlstate(error: BaseException) -> str:
    """The five-character code of a database error, '' for anything else."""
    known = error.args[0] if isinstance(error, DatabaseError) and error.args else None
    return str(known.get("C", "")) if isinstance(known, dict) else ""


def _raise(ours: Exception, theirs: Exception) -> NoReturn:
    if ours is theirs:
        raise theirs
    raise ours from theirs


def _message(error: Exception) -> str:
    known = error.args[0] if error.args else ""
    return str(known.get("M", "")) if isinstance(known, dict) else str(known)


# Connections --------------------------------------------------------------------------------------------------------


def connect(settings: Settings) -> Connection:
    """A new connection to the settings' database, by URL or by Cloud SQL instance with IAM authentication."""
    milliseconds = str(int(settings.statement_timeout_seconds * 1000))
    options = {
        "statement_timeout": milliseconds,
        # A function that is frozen inside a transaction must not hold its locks for ever.
        "idle_in_transaction_session_timeout": milliseconds,
        "TimeZone": "UTC",
        "client_encoding": "UTF8",
    }
    try:
        if settings.cloud_sql_instance:
            connection = _connect_to_cloud_sql(settings, options)
        else:
            connection = connect_to_url(settings.database_url, options)
    except (InterfaceError, OSError) as error:
        raise Unavailable("The database cannot be reached.", retry_after=5.0, code="database_away") from error
    except DatabaseError as error:
        _raise(classify(error), error)
    # A server that is gone without a word is noticed a little after it should have given up by itself.
    connection._usock.settimeout(settings.statement_timeout_seconds + CONNECT_SECONDS)
    return connection


def connect_to_url(url: str, options: Mapping[str, str] | None = None) -> Connection:
    """A new connection to `postgresql://user:password@host:port/database?sslmode=...`. Raises the driver's errors."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("DATABASE_URL must look like postgresql://user:password@host:port/database.")
    query_part = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    host = query_part.get("host") or parts.hostname or "127.0.0.1"
    port = parts.port or 5432
    user = unquote(parts.username or "postgres")
    common: dict[str, Any] = {
        "database": unquote(parts.path.lstrip("/")) or user,
        "password": unquote(parts.password) if parts.password is not None else "",
        "application_name": "drivestream",
        "startup_params": dict(options or {}),
    }
    if host.startswith("/"):  # a folder of Unix sockets, such as /cloudsql/project:region:instance
        return Connection(user, unix_sock=f"{host}/.s.PGSQL.{port}", timeout=CONNECT_SECONDS, **common)
    return _connect_by_address(user, host, _tls(query_part.get("sslmode", ""), host), port=port, **common)


def _connect_by_address(
    user: str, host: str, tls: ssl.SSLContext | bool | None, *, port: int = 5432, **common: Any
) -> Connection:
    sock = socket.create_connection((host, port), CONNECT_SECONDS)
    try:
        _without_delay(sock)
        return Connection(user, host=host, sock=sock, ssl_context=tls, **common)
    except BaseException:
        sock.close()
        raise


def _without_delay(sock: socket.socket) -> None:
    # Nagle's algorithm and delayed acknowledgements together cost the driver 40 ms per batch.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _tls(mode: str, host: str) -> ssl.SSLContext | bool | None:
    """What the driver calls `ssl_context`: False never, None if the server can, a context always."""
    if mode == "disable" or (not mode and host in ("127.0.0.1", "::1", "localhost")):
        return False
    if mode in ("verify-ca", "verify-full"):
        context = ssl.create_default_context()
        context.check_hostname = mode == "verify-full"
        return context
    return True if mode == "require" else None


def _connect_to_cloud_sql(settings: Settings, options: Mapping[str, str]) -> Connection:
    """By its address in our network where we have one, else by Google's connector.

    The connector costs a start more than everything else that a door loads. By the address, TLS is all there is: the
    instance's own authority vouches for its certificate, which names the instance and no address, and the function's
    access token is the password (https://cloud.google.com/sql/docs/postgres/iam-logins).
    """
    if settings.cloud_sql_address:
        from shared.adapters.google_requests import access_token  # with it comes what most starts need not load

        tls = ssl.create_default_context(cadata=settings.cloud_sql_ca)
        tls.check_hostname = False
        return _connect_by_address(
            settings.cloud_sql_user,
            settings.cloud_sql_address,
            tls,
            database=settings.cloud_sql_database,
            password=access_token(),
            application_name="drivestream",
            startup_params=dict(options),
        )
    connection = _connector().connect(
        settings.cloud_sql_instance,
        "pg8000",
        ip_type=settings.cloud_sql_ip_type,
        user=settings.cloud_sql_user,
        db=settings.cloud_sql_database,
        enable_iam_auth=True,
        application_name="drivestream",
        startup_params=dict(options),
    )
    _without_delay(connection._usock)
    return connection


@cache
def _connector() -> Any:
    # Imported and started on first use: it costs up to 1.2 s and starts a thread.
    from google.cloud.sql.connector import Connector

    return Connector(refresh_strategy="lazy")


@dataclass(slots=True)
class _Link:
    """A connection, when it was made, and the statements that it has already prepared."""

    connection: Connection
    born: float
    prepared: dict[str, tuple[bytes, Any, Any]] = field(default_factory=dict)
    broken: bool = False

    def close(self) -> None:
        try:
            self.connection.close()
        except (InterfaceError, OSError):
            _log.debug("A database connection was already gone when it was closed.")


class _Pool:
    """At most `size` connections; one is used by one thread at a time. The last one used is the first one taken."""

    def __init__(self, make: Callable[[], Connection], size: int, wait_seconds: float) -> None:
        self._make = make
        self._idle: list[_Link] = []
        self._lock = threading.Lock()
        self._free = threading.Semaphore(size)
        self._wait_seconds = wait_seconds

    def take(self) -> tuple[_Link, bool]:
        """A connection, and whether it was used before."""
        if not self._free.acquire(timeout=self._wait_seconds):
            raise Unavailable("All database connections of this process are busy.", code="database_full")
        try:
            link = self._youngest()
            return (link, True) if link else (self._new(), False)
        except BaseException:
            self._free.release()
            raise

    def replace(self, link: _Link) -> _Link:
        """A new connection for one that turned out to be dead; the idle ones are as old and go too."""
        link.close()
        self.forget()
        return self._new()

    def give(self, link: _Link) -> None:
        """Take back a connection; one that is broken or old is closed."""
        if link.broken or time.monotonic() - link.born > RECYCLE_SECONDS:
            link.close()
        else:
            with self._lock:
                self._idle.append(link)
        self._free.release()

    def release(self) -> None:
        """Take back the place of a connection that could not be made."""
        self._free.release()

    def forget(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def _youngest(self) -> _Link | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _new(self) -> _Link:
        return _Link(self._make(), time.monotonic())


# Transactions -------------------------------------------------------------------------------------------------------


class Database:
    """The database as one role sees it. Connects on first use; safe to share between threads."""

    def __init__(self, settings: Settings, role: str) -> None:
        if role not in ROLES:
            raise ValueError(f"A function speaks as one of {', '.join(ROLES)}, not as {role!r}.")
        self._role = role
        self._settings = settings
        self._pool = _Pool(
            lambda: connect(settings), max(1, settings.database_connections), settings.statement_timeout_seconds
        )

    @contextmanager
    def transaction(self, user_id: UUID | str | None) -> Iterator[Transaction]:
        """One transaction for one person (`None`: for nobody, which shows no personal row to reader and worker).

        Commits at the end, rolls back on any error. Retries nothing, except that a connection that died while it
        was idle is replaced before the first statement.
        """
        link = self._begin(user_id)
        transaction = Transaction(link)
        try:
            yield transaction
            transaction._commit()
        except BaseException:
            transaction._rollback()
            raise
        finally:
            self._pool.give(link)

    def run_transaction(self, user_id: UUID | str | None, story: Callable[[Transaction], T]) -> T:
        """Run the story in a transaction, and again (five times at most) when the database undid it.

        The story must be safe to repeat: when the answer to a COMMIT is lost, it may have happened.
        """
        give_up = time.monotonic() + self._settings.statement_timeout_seconds
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.transaction(user_id) as transaction:
                    return story(transaction)
            except Interrupted:
                # A statement that took all the time it may take would take it again.
                if attempt == ATTEMPTS or time.monotonic() >= give_up:
                    raise
            time.sleep(self._settings.retry_base_seconds * 0.02 * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311
        raise AssertionError("unreachable")

    def insist(self, user_id: UUID | str | None, story: Callable[[Transaction], T]) -> T:
        """`run_transaction` for what was paid for: while the database is away or takes no writes it is tried for a
        minute (sixty times `retry_base_seconds`), since a redelivery would be billed once more."""
        base = self._settings.retry_base_seconds
        give_up = time.monotonic() + PATIENT_DELAYS * base
        for attempt in count():
            try:
                return self.run_transaction(user_id, story)
            except Unavailable as away:
                pause = base * min(2**attempt, LONGEST_DELAYS) * random.uniform(0.5, 1.0)  # noqa: S311
                if not away.code.startswith("database_") or time.monotonic() + pause >= give_up:
                    raise
            time.sleep(pause)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections that nobody is using. The database may be used again afterwards."""
        self._pool.forget()

    def _begin(self, user_id: UUID | str | None) -> _Link:
        # Both values are safe to quote: a role of the list above, and what UUID() wrote itself. One round trip for all.
        person = "" if user_id is None else str(UUID(str(user_id)))
        opening = f"BEGIN; SELECT set_config('role', '{self._role}', true), set_config('app.user_id', '{person}', true)"
        link, used_before = self._pool.take()
        try:
            try:
                link.connection.execute_simple(opening)
            except (InterfaceError, OSError, DatabaseError) as error:
                if not used_before or not isinstance(classify(error), Interrupted):
                    raise
                link = self._pool.replace(link)
                link.connection.execute_simple(opening)
        except BaseException as error:
            link.close()
            self._pool.release()
            if isinstance(error, InterfaceError | OSError | DatabaseError):
                _raise(classify(error), error)
            raise
        return link


class Transaction:
    """Statements of one transaction. Lives inside `Database.transaction` and is of no use outside."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._failure: Exception | None = None

    def rows(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Every row of the named query, as dictionaries."""
        context = self._execute(query(name), parameters)
        columns = [column["name"] for column in context.columns or ()]
        return [dict(zip(columns, row, strict=True)) for row in context.rows or ()]

    def row(self, name: str, **parameters: Any) -> dict[str, Any] | None:
        """The first row of the named query, or None."""
        return next(iter(self.rows(name, **parameters)), None)

    def run(self, name: str, **parameters: Any) -> int:
        """Run the named query; how many rows it touched."""
        return max(0, int(self._execute(query(name), parameters).row_count))

    def copy_binary(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> int:
        """Load the rows into a temporary table that a named query of this transaction has made (ON COMMIT DROP).

        `columns` says name and type, in the order of each row's values: uuid, int4, int8, float4, bool, text, bytea,
        jsonb (any Python value), timestamptz (with a time zone), halfvec (a sequence of numbers). None is NULL.
        Rows are streamed. Returns how many there were. A named query then moves them to where they belong: COPY into
        a table with row level security is refused.
        """
        pgcopy.check_types(columns.values())
        names = ", ".join(identifier(name) for name in columns)
        copy = f"COPY pg_temp.{identifier(table)} ({names}) FROM STDIN (FORMAT binary)"
        stream = pgcopy.encode(list(columns.values()), rows)
        context = self._wire(lambda: self._link.connection.execute_unnamed(copy, stream=stream))
        return max(0, int(context.row_count))

    def _execute(self, asked: Query, parameters: Mapping[str, Any]) -> Context:
        connection = self._link.connection
        values = make_params(connection.py_types, [clean(value) for value in asked.values(parameters)])
        prepared = self._link.prepared.get(asked.name)
        if prepared is None:  # once per connection; from then on a query is one round trip
            prepared = self._wire(lambda: connection.prepare_statement(asked.sql, ()))
            self._link.prepared[asked.name] = prepared
        statement, columns, readers = prepared
        return self._wire(lambda: connection.execute_named(statement, values, columns, readers, asked.sql))

    def _wire(self, call: Callable[[], Any]) -> Any:
        """Talk to the server. After anything but a complete answer nobody knows what it would say next."""
        try:
            return call()
        except DatabaseError as error:
            self._failure = classify(error)
            self._link.broken |= isinstance(self._failure, Interrupted) and self._failure.code != "database_busy"
            _raise(self._failure, error)
        except (InterfaceError, OSError) as error:
            self._link.broken = True
            self._failure = classify(error)
            _raise(self._failure, error)
        except BaseException:
            self._link.broken = True
            raise

    def _commit(self) -> None:
        if self._failure is not None:  # somebody swallowed it: COMMIT would be a rollback that looks like success
            raise self._failure
        self._wire(lambda: self._link.connection.execute_simple("COMMIT"))

    def _rollback(self) -> None:
        if self._link.broken:
            return
        try:
            self._link.connection.execute_simple("ROLLBACK")
        except (InterfaceError, OSError, DatabaseError) as error:
            _log.debug("A transaction ended with its connection: %s", error)
            self._link.broken = True
