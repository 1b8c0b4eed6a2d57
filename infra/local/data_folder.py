"""The folder of data: everything that must survive, for one stack at a time, readable by its owner only."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import IO

from infra.local import ports
from infra.local.errors import StackError

_LOG_BYTES = 10_000_000
_PRIVATE = ("firestore", "google", "logs", "pids", "pubsub", "secrets")


class DataFolder:
    """Locked from `open` to `close`, or to the end of the process that opened it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.pids = self.path / "pids"
        self._lock: IO[str] | None = None
        self._ports: dict[str, int] = {}

    def open(self) -> None:
        """Make the folder, and take it. Raises `StackError` where it cannot be written or is in use."""
        try:
            self._make()
            lock = (self.path / "lock").open("a+")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise StackError(
                    f"Another Drivestream is running on {self.path}. Stop it, or choose another folder with --data."
                ) from None
        except OSError as error:
            why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise StackError(
                f"The data folder {self.path} cannot be used: {why}. Choose another one with --data."
            ) from error
        self._lock = lock
        with contextlib.suppress(OSError, ValueError):
            self._ports = {str(name): int(port) for name, port in json.loads(self._ports_file.read_text()).items()}

    def close(self) -> None:
        """Let another stack have it; safe to repeat."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def in_use(self) -> bool:
        """Does a running stack hold it?"""
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def belong_to(self, client: str) -> None:
        """Keep the folder for this OAuth client at the real Google; empty for any other Drive, none of which may be
        shown a grant of Google's. Raises `StackError` where it was begun for another one."""
        path = self.path / "google-client"
        known = path.read_text() if path.exists() else ""
        if known == client:
            return
        if self._ports:
            whose = "another OAuth client at Google" if known and client else "Google" if known else "another Drive"
            raise StackError(f"The data in {self.path} was read from {whose}. Choose another folder with --data.")
        path.unlink(missing_ok=True)
        if client:
            self.write_private(path.name, client)

    def choose_ports(self, *names: str, taken: Collection[int]) -> dict[str, int]:
        """The ports of the last start where they are free, so that addresses given to others stay true."""
        for name in names:
            port = self._ports.get(name, 0)
            others = {known for other, known in self._ports.items() if other != name}
            while not port or port in taken or port in others or not ports.is_free(port):
                port = ports.free_port()
            self._ports[name] = port
        self.write_private("ports.json", json.dumps(self._ports))
        return {name: self._ports[name] for name in names}

    def secret(self, name: str) -> str:
        """A key that was made once for this folder."""
        path = self.path / "secrets" / f"{name}.made"
        if not path.exists():
            from cryptography.fernet import Fernet

            self.write_private(f"secrets/{name}.made", Fernet.generate_key().decode())
        return path.read_text()

    def write_private(self, name: str, text: str) -> Path:
        """Write a file that only its owner may read, whole or not at all."""
        path = self.path / name
        partial = path.with_name(path.name + ".new")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        partial.replace(path)
        return path

    @property
    def _ports_file(self) -> Path:
        return self.path / "ports.json"

    def _make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        # As root, Postgres runs as somebody else who must be able to pass through; what is below is private.
        self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for name in _PRIVATE:
            (self.path / name).mkdir(exist_ok=True)
            (self.path / name).chmod(0o700)


class Log(io.TextIOBase):
    """A log file that begins anew when it is full; the full one before it is kept. Safe to share between threads."""

    def __init__(self, path: Path, most_bytes: int = _LOG_BYTES) -> None:
        super().__init__()
        self._path = path
        self._most = most_bytes
        self._writing = threading.Lock()
        self._file = path.open("ab")

    def write(self, text: str) -> int:
        """Append; a line is on its way to the disk at once."""
        self.write_bytes(text.encode("utf-8", "replace"))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Append bytes as they are."""
        with self._writing:
            if self._file.closed:
                return  # a thread's last words after the end
            if self._file.tell() + len(data) > self._most:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".old"))
                self._file = self._path.open("ab")
            self._file.write(data)
            self._file.flush()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Write nothing more; safe to repeat."""
        with self._writing:
            self._file.close()
