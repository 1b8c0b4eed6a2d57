"""Programs that look at the project from an environment of their own, since they pin what it uses in other versions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from infra.checks.terraform import Absent

_PINS = Path(__file__).resolve().parent


def program(cache: Path, name: str) -> Path:
    """The path of a program, installed from its pins on first use. Raises `Absent` where they cannot be fetched."""
    place = environment(cache, name)
    if not place.is_dir():
        _install(place, name)
    return place / "bin" / name


def environment(cache: Path, name: str) -> Path:
    """Where a program is installed, or would be: another folder for other pins or another Python."""
    named = pins(name).read_bytes() + sys.version.encode()
    return cache / f"{name}-{hashlib.sha256(named).hexdigest()[:16]}"


def pins(name: str) -> Path:
    """The file of a program's packages, with their hashes."""
    return _PINS / f"requirements-{name}.txt"


def _install(place: Path, name: str) -> None:
    draft = place.with_name(f"{place.name}.{os.getpid()}")
    draft.parent.mkdir(parents=True, exist_ok=True)
    install = ["-m", "pip", "install", "--quiet", "--require-hashes", "--disable-pip-version-check", "--retries", "1"]
    try:
        subprocess.run([sys.executable, "-m", "venv", draft], check=True, capture_output=True, text=True)
        subprocess.run(
            [draft / "bin" / "python", *install, "-r", pins(name)], check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        shutil.rmtree(draft, ignore_errors=True)
        said = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        raise Absent(
            f"{name} could not be installed ({said[-1] if said else 'its packages could not be fetched'})"
        ) from error
    # What pip wrote names the interpreter by its path: the folder stays where it is, and the name leads there.
    with suppress(FileExistsError):  # somebody else was faster
        place.symlink_to(draft.name, target_is_directory=True)
