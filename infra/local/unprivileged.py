"""How to run Postgres, which refuses to run as root, for somebody who is root.

As `nobody` where nobody can reach the program and the data; else inside a user namespace, in which root is called
nobody; else as `nobody` with a copy of the program. Whoever is not root runs it directly.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_USER_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")

# Runs in a fresh interpreter, not in a fork of this one, which may have threads: give up root, ask to be ended with the
# parent, become the program. SIGINT is Postgres' fast and clean shutdown.
_BECOME = """
import ctypes, os, signal, sys
parent, user, group, dies, *command = sys.argv[1:]
if user != "-":
    os.setgroups([]); os.setgid(int(group)); os.setuid(int(user))
if dies == "dies" and sys.platform == "linux": # only now: a change of user forgets it
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
os.execv(command[0], command)
"""


class NoWay(Exception):
    """Postgres cannot be run by this user with this data; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run Postgres' programs: through `prefix`, as `user` and `group` if given."""

    binaries: Path
    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None

    def own(self, path: Path) -> None:
        """Make the path and all in it belong to whom this way runs the server as."""
        user = os.geteuid() if self.user is None else self.user
        group = os.getegid() if self.group is None else self.group
        if os.geteuid() != 0 or path.stat().st_uid == user:
            return
        for inside in (path, *path.rglob("*")):
            os.chown(inside, user, group, follow_symlinks=False)

    def start(self, program: str, arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start one of Postgres' programs. It ends with this process, however this process ends."""
        # The kernel ends it with the *thread* that started it, so only the main thread may ask for that.
        dies = "dies" if threading.current_thread() is threading.main_thread() else "lives"
        become = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid())]
        become += ["-" if value is None else str(value) for value in (self.user, self.group)]
        return subprocess.Popen(
            [*self.prefix, *become, dies, str(self.binaries / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,  # Ctrl-C in a terminal is for us: we stop it in our order
        )


# Nothing of ours: no PG* variable that would change what it does, no secret, messages in English.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def way_of(binaries: Path, data: Path, copies: Path) -> Way:
    """The first way that works for data below `data`. Raises `NoWay`. `copies` is where a copy would be put."""
    if os.geteuid() != 0:
        return Way(binaries)
    for way in _ways_of_root(binaries, data, copies):
        if _runs(way):
            return way
    raise NoWay(
        f"Postgres does not run as root, and the user nobody cannot reach {data}. "
        "Run as an ordinary user, or keep the data in a folder that everybody may enter."
    )


def _ways_of_root(binaries: Path, data: Path, copies: Path) -> Iterator[Way]:
    nobody = next((person for person in pwd.getpwall() if person.pw_name == "nobody"), None)
    may_enter = nobody is not None and _everybody_may_enter(data)
    if nobody is not None and may_enter:
        yield Way(binaries, user=nobody.pw_uid, group=nobody.pw_gid)
    if shutil.which(_USER_NAMESPACE[0]):
        yield Way(binaries, prefix=_USER_NAMESPACE)
    if nobody is not None and may_enter:
        yield Way(_copy(binaries, copies), user=nobody.pw_uid, group=nobody.pw_gid)


def _everybody_may_enter(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _copy(binaries: Path, copies: Path) -> Path:
    """A copy of the whole installation that everybody may read, made once."""
    installation = binaries.parent
    target = copies / installation.name
    if not target.exists():
        unfinished = copies / (installation.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs find their libraries beside the installation, relative to themselves.
        for libraries in installation.parent.parent.glob("*pgserver.libs"):
            shutil.copytree(libraries, copies.parent / libraries.name, dirs_exist_ok=True)
        shutil.copytree(installation, unfinished, symlinks=True)
        for path in (copies, unfinished, *unfinished.rglob("*")):
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        unfinished.rename(target)
    return target / binaries.name


def _runs(way: Way) -> bool:
    try:
        with Path(os.devnull).open("wb") as nowhere:
            return way.start("postgres", ["--version"], nowhere).wait(timeout=30) == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
