"""A bundle by itself: an environment with nothing but its requirements, and the deployed command line in its folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.local.hosting import free_port, tree

_SCRIPT = "#!{python}\nimport sys\nfrom {module} import {attribute}\nsys.exit({attribute}())\n"
# What a function must not find by accident: this repository, and what its tests were told.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


def required(requirements: Path) -> list[str]:
    """The distributions that a pinned requirements file installs on this machine."""
    lines = requirements.read_text().replace("\\\n", " ").splitlines()
    found = [Requirement(line.partition(" --hash")[0]) for line in lines if re.match(r"\w", line)]
    return [one.name for one in found if one.marker is None or one.marker.evaluate()]


def linked_environment(path: Path, requirements: Path) -> Path:
    """A new virtual environment with exactly these distributions; its interpreter.

    They are links to what is installed here already, which a test has found to be of the same pins: an installer would
    put the same files there, in a minute. A folder is linked whole where all of it is wanted.
    """
    venv.create(path, with_pip=False, symlinks=True)
    (site,) = path.glob("lib/python*/site-packages")
    wanted = {canonicalize_name(name) for name in required(requirements)}
    _link(_installed(), wanted, site)
    python = path / "bin" / "python"
    (entry,) = distribution("functions-framework").entry_points.select(name="functions-framework")
    script = path / "bin" / entry.name
    script.write_text(_SCRIPT.format(python=python, module=entry.module, attribute=entry.attr))
    script.chmod(0o755)
    return python


@dataclass
class _Folder:
    """What is installed in a folder, and whose it is."""

    place: Path
    owners: set[str] = field(default_factory=set)
    folders: dict[str, _Folder] = field(default_factory=dict)
    files: dict[str, set[str]] = field(default_factory=dict)


@cache
def _installed() -> _Folder:
    root = _Folder(Path(str(distribution("functions-framework").locate_file(""))))
    for one in distributions():
        name = canonicalize_name(one.metadata["Name"])
        for file in one.files or []:
            if ".." not in file.parts:
                folder = root
                for part in file.parts[:-1]:
                    folder = folder.folders.setdefault(part, _Folder(folder.place / part))
                    folder.owners.add(name)
                folder.files.setdefault(file.name, set()).add(name)
    return root


def _link(folder: _Folder, wanted: set[str], target: Path) -> None:
    for name, below in folder.folders.items():
        if below.owners <= wanted:
            (target / name).symlink_to(below.place)
        elif below.owners & wanted and name != "__pycache__":
            (target / name).mkdir()
            _link(below, wanted, target / name)
    for name, owners in folder.files.items():
        if owners & wanted:
            (target / name).symlink_to(folder.place / name)


def command(python: Path, function: str) -> list[str]:
    """How the platform starts a function, in the bundle's folder."""
    return [str(python.with_name("functions-framework")), "--target", function, "--signature-type", "http"]


@contextmanager
def serving(python: Path, bundle: Path, environment: Mapping[str, str], *, log: Path) -> Iterator[tuple[int, int]]:
    """The function of this bundle in a process of its own; its number, and the port at which it will answer."""
    port = free_port()
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with log.open("wb") as said:
        process = subprocess.Popen(
            command(python, bundle.name),
            cwd=bundle,
            env={**kept, **environment, "PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process.pid, port
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # nobody waits for an answer any more
        process.wait(timeout=20)


def processor_seconds(pid: int) -> float:
    """What a process and all below it have used of the processors so far (Linux)."""
    ticks = 0
    for one in tree(pid):
        used = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, used[11:15]))  # its own, and that of children who have ended
    return ticks / os.sysconf("SC_CLK_TCK")
