"""Files of all sizes from a bad server: a fiftieth of its answers are 429 or 503, and the first attempt at each file is
cut in mid-body, by a reset or in an orderly way. Every file must come, right by its hash.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.local.outside import drive_at
from shared.adapters.drive import Drive
from shared.config import Settings
from shared.domain.errors import DrivestreamError
from shared.domain.files import File
from tests.bench.drive_server import id_of, serving

SETTINGS = Settings(google_cloud_project="bench", retry_base_seconds=0.25)


def measure(arguments: list[str]) -> dict[str, object]:
    """How many came right, and what was asked for twice."""
    parser = argparse.ArgumentParser(prog="./dev bench faults", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="drivestream-bench-") as place:
        return read_all(Path(place), chosen.files)


def read_all(folder: Path, files: int) -> dict[str, object]:
    """Make so many files, serve them badly, and read them."""
    expected = dict(make(folder, number) for number in range(files))
    with serving(folder, "--refusals", "0.02", "--cut") as server:
        drive = drive_at(server.url, "t", SETTINGS)
        began = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            hashes = dict(pool.map(lambda file: (file.id, hash_of(drive, file)), listed(drive)))
        seconds = time.perf_counter() - began
        counts = server.counts()
    return {
        "files": files,
        "right": sum(hashes.get(file) == digest for file, digest in expected.items()),
        "seconds": round(seconds, 1),
        "requests_for_content": counts["media"],
        "refused": counts.get("429", 0) + counts.get("503", 0),
        "cuts": counts["cuts"],
        "bytes_fetched_twice": counts["refetched"],
        "most_fetched_twice_at_once": counts["most_refetched"],
    }


def make(folder: Path, number: int) -> tuple[str, str]:
    """One file; its id and its hash. Most are small, some have several windows."""
    dice = random.Random(number)
    content = dice.randbytes(int(2 ** dice.uniform(4, 23)))
    (folder / f"{number}.bin").write_bytes(content)
    return id_of(f"{number}.bin"), hashlib.sha256(content).hexdigest()


def listed(drive: Drive) -> list[File]:
    """Every page of the folder."""
    found: list[File] = []
    token = None
    while True:
        page = drive.list_folder("root", token)
        found += page.files
        token = page.next_page_token
        if token is None:
            return found


def hash_of(drive: Drive, file: File) -> str:
    """SHA-256 of what came, or why it did not come."""
    digest = hashlib.sha256()
    try:
        for window in drive.open(file).windows():
            digest.update(window)
    except DrivestreamError as error:
        return error.code
    return digest.hexdigest()
