"""What the first request of an instance waits for: loading a function's code, each in a fresh interpreter.

Clients that are made on first use are not counted, nor is the interpreter's own start (`import_ms`) or size
(`rss_mib` counts it: an instance pays for it too). The least of three runs, since a busy machine only adds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 3
LOAD = """
import importlib, json, resource, sys, time
began = time.perf_counter()
importlib.import_module(sys.argv[1])
took = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"import_ms": round(took * 1000), "rss_mib": round(peak)}))
"""


def measure(_arguments: list[str]) -> dict[str, dict[str, int]]:
    """Milliseconds and MiB for every function."""
    functions = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    return {name: min((load(name) for _ in range(RUNS)), key=lambda run: run["import_ms"]) for name in functions}


def load(function: str) -> dict[str, int]:
    """One function, loaded once in an interpreter of its own."""
    command = [sys.executable, "-c", LOAD, f"functions.{function}.main"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"functions/{function}/main.py does not load: {run.stderr.splitlines()[-1]}")
    measured: dict[str, int] = json.loads(run.stdout.splitlines()[-1])
    return measured
