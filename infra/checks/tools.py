"""Programs that look at the project from an environment of their own, since they pin what it uses in other versions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from infra.checks.terraform import Absent

_PIP = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
_PINS = Path(__file__).resolve().parent


def run(cache: Path, name: str, arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """What a program says, whatever its exit code. Raises `Absent` where it cannot be installed."""
    return _run([program(cache, name), *arguments], check=False)


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
    draft.mkdir(parents=True)
    wheels, pinned = draft / "wheels", pins(name)
    fetch = ["download", "--only-binary", ":all:", "--require-hashes", "--retries", "1", "--dest", wheels, "-r", pinned]
    install = ["install", "--no-index", "--find-links", wheels, "--require-hashes", "-r", pinned]
    try:
        _run([sys.executable, *_PIP, *fetch])  # first, since it is what may fail
        _run([sys.executable, "-m", "venv", draft])
        _run([draft / "bin" / "python", *_PIP, *install])
    except subprocess.CalledProcessError as error:
        shutil.rmtree(draft)
        said = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        raise Absent(f"{name} could not be installed ({said[-1] if said else 'pip said nothing'})") from error
    shutil.rmtree(wheels)
    # What pip wrote names the interpreter by its path: the folder stays where it is, and the name leads there.
    with suppress(FileExistsError):  # somebody else was faster
        place.symlink_to(draft.name, target_is_directory=True)


def _run(command: Sequence[object], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    # What PYTHONPATH leads to is ours: pip would not install it again, and the program would take it for its own.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(words, env=environment, check=check, capture_output=True, text=True)
