"""Large payloads as files: SQLite writes each byte twice and syncs it, at half the throughput for 2 MiB messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

LARGE = 64 * 1024  # bytes from which a payload is a file; SQLite is the faster one below


class Payloads:
    """One file for each large message, named by its id.

    A file is written before the transaction that mentions it commits, and removed after the one that forgets it has,
    so a row never lacks its file when this process is killed; what has no row is swept at the next start.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def put(self, number: int, data: bytes) -> None:
        """Write a payload."""
        self._file(number).write_bytes(data)

    def get(self, number: int) -> bytes:
        """Read a payload."""
        return self._file(number).read_bytes()

    def drop(self, numbers: Iterable[int]) -> None:
        """Remove payloads."""
        for number in numbers:
            self._file(number).unlink(missing_ok=True)

    def sweep(self, wanted: Mapping[int, int]) -> list[int]:
        """Remove what is not among the wanted ids; the wanted ones that are not there in their full size.

        Those exist only after a power loss, since files are not synced.
        """
        found = {int(file.name): file.stat().st_size for file in self._folder.iterdir() if file.name.isdigit()}
        self.drop(found.keys() - wanted.keys())
        return [number for number, size in wanted.items() if found.get(number) != size]

    def _file(self, number: int) -> Path:
        return self._folder / str(number)
