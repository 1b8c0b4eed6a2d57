"""How long a run on one machine takes, and what that is made of: a start, work for each file and each passage, an end.

Rates are fitted to the moments at which the files of one measured run were done, and tell how long another folder will
take on the same machine. What a file gives is estimated by its kind: so many passages for a megabyte, so many at least.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.plan.kinds import KINDS, kind_of

WINDOW = 20  # files that were done one after the other, taken together: a single one tells of those beside it
ROUNDS = 200  # of the fit; it stands still long before
PASSAGE = "passage"


class RatesError(ValueError):
    """Rates that cannot be read or fitted; the message says why."""


@dataclass(frozen=True, slots=True)
class Done:
    """One file of a measured run: when it was done, in seconds since the person was connected, and what it gave."""

    name: str
    size: int
    passages: int
    at: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds of one machine with `cores` cores, on which all functions, the database and the stand-ins share them."""

    start: float  # until somebody is connected
    end: float  # from the last file to the end of the run
    file: Mapping[str, float]  # by kind
    passage: float
    passages_per_megabyte: Mapping[str, float]
    passages_per_file: Mapping[str, float]  # at least, of those that give any
    cores: int
    processor: float  # seconds of processors for each second; less than `cores` where the machine did other work
    measured: str = ""  # on what, and when

    def seconds(self, files: Iterable[tuple[str, int]]) -> float:
        """How long a run over files of these names and sizes takes."""
        kept = [(kind_of(name), size) for name, size in files]
        work = sum(self.file[kind] + self.passage * self.passages(kind, size) for kind, size in kept)
        return self.start + work + self.end

    def passages(self, kind: str, size: float) -> float:
        """Passages of a file of this kind and size."""
        if not size:
            return 0.0
        return self.passages_per_file[kind] + self.passages_per_megabyte[kind] * size / 1e6

    def save(self, path: Path) -> None:
        """Write them down for `--rates`."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_rates(path: Path) -> Rates:
    """The rates in a file. Raises `RatesError`."""
    try:
        rates = Rates(**json.loads(path.read_text()))
        complete = all(
            kind in table
            for table in (rates.file, rates.passages_per_megabyte, rates.passages_per_file)
            for kind in KINDS
        )
    except (OSError, ValueError, TypeError) as error:
        raise RatesError(f"{path} holds no rates ('./dev plan --measure FOLDER --rates FILE' writes some).") from error
    if not complete:
        raise RatesError(f"{path} has no rate for some kind: each table needs {', '.join(KINDS)}.")
    return rates


def fit(done: Sequence[Done], *, start: float, end: float, cores: int, processor: float, measured: str = "") -> Rates:
    """Rates of a measured run. Together they give exactly the time that it took. Raises `RatesError` for a run that is
    too short to tell."""
    if len(done) < 5 * WINDOW:
        raise RatesError(
            f"A run of {len(done)} files is too short to measure by: give a folder of {5 * WINDOW} or more."
        )
    in_order = sorted(done, key=lambda file: file.at)
    rows, seconds, before = list[dict[str, float]](), list[float](), 0.0
    for first in range(0, len(in_order), WINDOW):
        window = in_order[first : first + WINDOW]
        row: dict[str, float] = defaultdict(float)
        for file in window:
            row[kind_of(file.name)] += 1
            row[PASSAGE] += file.passages
        rows.append(row)
        seconds.append(window[-1].at - before)
        before = window[-1].at
    weights = _least_squares(rows, seconds, (*KINDS, PASSAGE))
    told = sum(weights[name] * value for row in rows for name, value in row.items())
    scale = before / told if told else 1.0
    per_file, per_megabyte = _passages(done)
    return Rates(
        start=start,
        end=end,
        file={kind: weights[kind] * scale for kind in KINDS},
        passage=weights[PASSAGE] * scale,
        passages_per_megabyte=per_megabyte,
        passages_per_file=per_file,
        cores=cores,
        processor=processor,
        measured=measured,
    )


def _least_squares(
    rows: Sequence[Mapping[str, float]], wanted: Sequence[float], names: Sequence[str]
) -> dict[str, float]:
    """Weights of at least 0 by which the rows come nearest to what is wanted. Where they do not tell, a kind costs what
    the average file does: half of the time is given to files and half to passages at first, and kinds with few files
    stay near that."""
    total = sum(wanted)
    files = sum(value for row in rows for name, value in row.items() if name != PASSAGE) or 1.0
    passages = sum(row.get(PASSAGE, 0.0) for row in rows) or 1.0
    usual = {name: total / 2 / (passages if name == PASSAGE else files) for name in names}
    # As strong as a quarter of a window that has nothing but this in it.
    hold = {name: (passages if name == PASSAGE else files) / len(rows) / 4 for name in names}
    weights = dict(usual)
    for _ in range(ROUNDS):
        for name in names:
            above, below = hold[name] ** 2 * usual[name], hold[name] ** 2
            for row, seconds in zip(rows, wanted, strict=True):
                value = row.get(name, 0.0)
                if value:
                    others = sum(weights[other] * there for other, there in row.items() if other != name)
                    above += value * (seconds - others)
                    below += value * value
            weights[name] = max(0.0, above / below)
    return weights


def _passages(done: Sequence[Done]) -> tuple[dict[str, float], dict[str, float]]:
    """Passages for each file and each megabyte, by kind: a line through what small and large files gave. A kind that
    was not there gives none."""
    per_file, per_megabyte = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
    for kind in KINDS:
        some = [(file.size / 1e6, float(file.passages)) for file in done if kind_of(file.name) == kind and file.size]
        if not some:
            continue
        mean_size = sum(size for size, _ in some) / len(some)
        mean = sum(passages for _, passages in some) / len(some)
        spread = sum((size - mean_size) ** 2 for size, _ in some)
        slope = sum((size - mean_size) * (passages - mean) for size, passages in some) / spread if spread else 0.0
        slope = min(max(0.0, slope), mean / mean_size)  # so that neither part is negative
        per_megabyte[kind], per_file[kind] = slope, mean - slope * mean_size
    return per_file, per_megabyte
