"""A file that is longer than a function's life is read by several, wherever each ends; `test_lives` has real ones."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.outside import drive_at
from shared.adapters.drive import Drive
from shared.domain.chunks import Chunk, pack
from shared.domain.files import File
from shared.passages import cut
from shared.readers import read
from tests.bench.drive_server import id_of, serving

MEGABYTE = 1000**2
WORDS = ["Fähre", "lantern", "gravel", "静かな町", "copper", "тихий", "north", "kettle", "saddle", "🦆", "violin"]


def prose(dice: random.Random) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randrange(3, 60))) + dice.choice([".\n", ".\n\n", "\r\n", ". "])


def markdown(dice: random.Random) -> str:
    return f"{'#' * dice.randrange(1, 4)} {dice.choice(WORDS)}\n\n" * (dice.random() < 0.1) + prose(dice)


def table(dice: random.Random) -> str:
    return f'{dice.randrange(10**6)},"{dice.choice(WORDS)}, {dice.choice(WORDS)}",{dice.random()}\n'


def records(dice: random.Random) -> str:
    return json.dumps({"text": prose(dice)}, ensure_ascii=dice.random() < 0.5) + "\n"


KINDS: dict[str, Callable[[random.Random], str]] = {"txt": prose, "md": markdown, "csv": table, "jsonl": records}


def make(path: Path, size: int) -> None:
    """A file of about this size. Half a megabyte of it is new, and then it repeats with new numbers between."""
    dice = random.Random(path.suffix)
    block = "".join(KINDS[path.suffix[1:]](dice) for _ in range(4000)).encode()
    with path.open("wb") as file:
        if path.suffix == ".csv":
            file.write(b"number,words,share\n")
        while file.tell() < size:
            file.write(block + KINDS[path.suffix[1:]](dice).encode())


class Reading:
    """All passages of a file, as their number and one hash over them and their places."""

    def __init__(self) -> None:
        self.passages, self.lives, self.chunks = 0, 0, 0
        self._hash = hashlib.sha256()

    def take(self, chunk: Chunk) -> None:
        self.chunks += 1
        for passage in cut(chunk.payload.decode(), chunk.marks):
            self.passages += 1
            self._hash.update(repr((chunk.index, passage)).encode())

    @property
    def result(self) -> tuple[int, int, str]:
        return self.chunks, self.passages, self._hash.hexdigest()


def read_on(drive: Drive, file: File, ends: Callable[[int], bool]) -> Reading:
    """Read a file by as many lives as it takes. All that one leaves to the next is what a checkpoint holds; `ends`
    says after how many chunks of a life its time is up."""
    reading, point = Reading(), json.dumps({"next_index": 0, "after": None, "tail": ""})
    while point:
        reading.lives += 1
        point = one_life(drive, file, json.loads(point), ends, reading)
    return reading


def one_life(
    drive: Drive, file: File, point: dict[str, Any], ends: Callable[[int], bool], reading: Reading
) -> str | None:
    """Read until the time is up: the next checkpoint, or None at the end of the file."""
    source = drive.open(file, tail=point["tail"])
    parts = read(source, after=point["after"])
    for number, chunk in enumerate(pack(parts, first_index=point["next_index"]), 1):
        reading.take(chunk)
        if ends(number):
            return json.dumps({"next_index": chunk.index + 1, "after": chunk.after, "tail": source.tail()})
    source.verify()
    return None


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    with serving(tmp_path) as server:
        yield drive_at(server.url, "t")


@pytest.mark.parametrize(("kind", "megabytes"), [("txt", 20), ("md", 3), ("csv", 3), ("jsonl", 3)])
def test_passages_are_the_same_however_many_lives_read_them(
    tmp_path: Path, drive: Drive, kind: str, megabytes: int
) -> None:
    """Lives that end at odd places leave no mark in the text, the places or the numbers."""
    make(tmp_path / f"long.{kind}", megabytes * MEGABYTE)
    file = drive.file(id_of(f"long.{kind}"))
    dice = random.Random(3)

    once = read_on(drive, file, lambda _: False)
    often = read_on(drive, file, lambda _: dice.random() < 0.8)

    assert once.lives == 1
    assert often.lives >= 3
    assert often.result == once.result
