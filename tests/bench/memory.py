"""What streaming adds to a process over what it has imported, and reading to the streamer's whole process tree.

Streams of 10 MB, 1 GB and 5 GB: each by a process of its own, with its SHA-256 checked. The files are sparse: only
their length is real. Then a file of every kind of reading by the real function; see `tree_memory`. With `--scale` both
are small, but large enough for a leak to show.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from infra.local.outside import drive_at
from tests.bench.drive_server import ROOT, id_of, serving

MEGABYTE = 1000**2
SIZES = (10, 1000, 5000)
SCALED = (10, 300)


def measure(arguments: list[str]) -> dict[str, object]:
    """MiB over imports for every size, and the whole process."""
    from tests.bench import tree_memory  # not for the process that streams: what it imports is not its streaming's

    parser = argparse.ArgumentParser(prog="./dev bench memory", description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="*", help="sizes of the plain streams; none leaves them out")
    parser.add_argument("--scale", action="store_true", help="small files")
    names = [case.name for case in tree_memory.CASES]
    parser.add_argument("--only", nargs="*", metavar="NAME", choices=names, help=f"of {', '.join(names)}")
    chosen = parser.parse_args(arguments)
    sizes = list(SCALED if chosen.scale else SIZES) if chosen.megabytes is None else chosen.megabytes
    wanted = names if chosen.only is None else chosen.only
    streams = stream_sizes(sizes) if sizes else {}
    cases = [case for case in tree_memory.CASES if case.name in wanted]
    return {**streams, "tree": tree_memory.measure_all(cases, scaled=chosen.scale) if cases else {}}


def stream_sizes(megabytes: list[int]) -> dict[str, object]:
    """MiB over imports for plain streams of these sizes, and how much they differ."""
    with tempfile.TemporaryDirectory(prefix="drivestream-bench-") as place:
        grown = stream_all(Path(place), megabytes)
    over = [one["mib_over_imports"] for one in grown.values()]
    return {**grown, "difference_mib": round(max(over) - min(over), 2)}


def stream_all(folder: Path, megabytes: list[int]) -> dict[str, dict[str, float]]:
    """MiB for every size, by its name."""
    for size in megabytes:
        with (folder / f"{size} MB").open("wb") as file:
            file.truncate(size * MEGABYTE)
    with serving(folder, "--stated", "sha256") as server:
        return {f"{size} MB": _in_a_process(server.url, id_of(f"{size} MB")) for size in megabytes}


def _in_a_process(url: str, file_id: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.memory", url, file_id]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(run.stdout)
    return measured


def stream(url: str, file_id: str) -> dict[str, float]:
    """Stream one file here, and say what that took."""
    drive = drive_at(url, "t")
    drive.prepare()
    with suppress(OSError):  # Linux: forget the highest size so far, which importing may have needed for a moment
        Path("/proc/self/clear_refs").write_text("5")
    before = peak_mib()
    source = drive.open(drive.file(file_id))
    count = sum(len(window) for window in source.windows())
    peak = peak_mib()
    if source.integrity != "checksum" or count != source.size:
        raise RuntimeError("The stream was not whole.")
    return {"mib_over_imports": round(peak - before, 2), "mib_of_the_process": round(peak, 1)}


def peak_mib() -> float:
    """The highest resident size of this process."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(stream(*sys.argv[1:])))
