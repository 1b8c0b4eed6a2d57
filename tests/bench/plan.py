"""How well the plan tells the time of a local run: rates from one folder, a prediction for another one, and that run.

Both folders are mixed as people's are, with nothing in common but how they were made. The two runs come one after the
other, so that the machine carries the same other work as far as that can be had.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import fmean

from infra.plan.measure import files_of, run_once
from tests import mixed_folder

SOUGHT = 0.25  # how far the prediction may be from what is measured


def measure(arguments: list[str]) -> dict[str, object]:
    """The predicted and the measured seconds, and how far they are apart."""
    parser = argparse.ArgumentParser(prog="./dev bench plan", description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2_000, help="of the folder that is predicted")
    parser.add_argument("--measured", type=int, default=600, help="files of the folder that rates are measured on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rates", type=Path, help="keep the measured rates in this file")
    parser.add_argument(
        "--around", action="store_true", help="measure before and after, on a machine that carries other work"
    )
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="drivestream-plan-") as place:
        known, other = Path(place) / "known", Path(place) / "other"
        mixed_folder.make(known, chosen.measured, seed=chosen.seed)
        mixed_folder.make(other, chosen.files, seed=chosen.seed + 1000)
        runs = [run_once(known)]
        measured = run_once(other)
        if chosen.around:
            runs.append(run_once(known))
        listed = list(files_of(other))
    rates = [run.rates() for run in runs]
    predicted = fmean(one.seconds(listed) for one in rates)
    # The same in seconds of processors, which other work on the machine does not change much.
    share = fmean(one.processor for one in rates)
    if chosen.rates:
        rates[-1].save(chosen.rates)
    off = predicted / measured.seconds - 1
    parts = {"start": "start", "end": "end", "a passage": "passage"}
    print("| of the measured run | seconds |\n| --- | --- |")
    print("\n".join(f"| {name} | {getattr(rates[-1], key):.4f} |" for name, key in parts.items()))
    print("\n".join(f"| a file, {kind} | {seconds:.4f} |" for kind, seconds in rates[-1].file.items()))
    return {
        "files": [len(runs[0].done), len(measured.done)],
        "measured_on_seconds": [round(run.seconds, 1) for run in runs],
        "predicted_seconds": round(predicted, 1),
        "measured_seconds": round(measured.seconds, 1),
        "off": round(off, 3),
        "predicted_processor_seconds": round(predicted * share, 1),
        "measured_processor_seconds": round(measured.processor, 1),
        "off_processor": round(predicted * share / measured.processor - 1, 3),
        "complete": abs(off) <= SOUGHT,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }
