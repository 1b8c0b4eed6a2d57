"""What a process loads from elsewhere until its first answer, told by the interpreter itself."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

RECORDED = Path(__file__).with_name("loaded.json")
ASKED = {"PYTHONPROFILEIMPORTTIME": "1"}  # the interpreter writes down each import
_LINE = re.compile(r"^import time: +\d+ \| +\d+ \| *(\S+)$", re.MULTILINE)
_SHARED = {"google", "google.cloud"}  # many distributions lie in these
_OURS = {"functions", "shared", "schemas", "main", "__mp_main__"}


def modules_by_package(log: str) -> dict[str, int]:
    """How many modules of each package were loaded: `flask` 22, `google.cloud.firestore_v1` 140. The standard library
    and our own modules are left out, and so is what a package keeps to itself at the top (`_cffi_backend`)."""
    counted = Counter(_package_of(name) for name in set(_LINE.findall(log)))
    return {
        name: many
        for name, many in sorted(counted.items())
        if name.split(".")[0] not in sys.stdlib_module_names | _OURS and not name.startswith("_")
    }


def culprits(function: str, loaded: dict[str, int]) -> list[str]:
    """A sentence for each package that the function did not load when it was recorded, or of which it loads much more.
    A package that is loaded no more is nobody's trouble."""
    known = recorded().get(function, {})
    return [
        f"{function} now loads {name} until its first answer: {many} modules, {known.get(name, 0)} were recorded"
        for name, many in loaded.items()
        if many > known.get(name, 0) * 1.2 + (3 if name in known else 0)
    ]


def recorded() -> dict[str, dict[str, int]]:
    """What is accepted, by function."""
    accepted: dict[str, dict[str, int]] = json.loads(RECORDED.read_text())
    return accepted


def _package_of(module: str) -> str:
    parts = module.split(".")
    depth = 1
    while ".".join(parts[:depth]) in _SHARED and depth < len(parts):
        depth += 1
    return ".".join(parts[:depth])
