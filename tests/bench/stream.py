"""One file of a Drive, streamed as the streamer does it, to a consumer that hashes or does nothing.

The clock starts when everything is loaded; it counts the token, the metadata and the content.
"""

from __future__ import annotations

import argparse
import hashlib
import time

from infra.local.outside import add_arguments, drive_at
from shared.adapters.drive import Drive


def measure(arguments: list[str]) -> dict[str, object]:
    """Bytes, their SHA-256 (for the consumer that hashes), and seconds by the clock and of the processor."""
    parser = argparse.ArgumentParser(prog="./dev bench stream", description=__doc__)
    add_arguments(parser, required=True)
    parser.add_argument("--file", metavar="ID", required=True)
    parser.add_argument("--consumer", choices=["sha", "noop"], required=True)
    chosen = parser.parse_args(arguments)
    drive = drive_at(chosen.drive, chosen.token)
    drive.prepare()
    wall, cpu = time.perf_counter(), time.process_time()
    result = hashed(drive, chosen.file) if chosen.consumer == "sha" else passed(drive, chosen.file)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {**result, "wall": round(wall, 6), "cpu": round(cpu, 6)}


def passed(drive: Drive, file_id: str) -> dict[str, object]:
    """To a consumer that does nothing; its length is checked, and its revision."""
    source = drive.open(drive.file(file_id), check=False)
    return {"bytes": sum(len(window) for window in source.windows())}


def hashed(drive: Drive, file_id: str) -> dict[str, object]:
    """To a consumer that wants its SHA-256. Where Drive states one, checking it is computing it, and nobody else
    computes it again; where it states another one, SHA-256 stands in for it."""
    file = drive.file(file_id)
    source = drive.open(file, check=file.sha256 is not None)
    own = None if file.sha256 else hashlib.sha256()
    count = 0
    for window in source.windows():
        count += len(window)
        if own is not None:
            own.update(window)
    return {"bytes": count, "sha256": own.hexdigest() if own is not None else file.sha256}
