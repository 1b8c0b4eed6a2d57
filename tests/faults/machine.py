"""The one-machine stack as a person runs it: a command, its output, and a plug that can be pulled.

Pulling the plug is SIGSTOP for everything that belongs to the run until nothing new turns up, and then SIGKILL: no
process sees another one die first, as in a power cut. Needs Linux' /proc to find them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.local.hosting import free_port
from tests.scratch_postgres import copy_new_database

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0  # seconds until a condition that never comes true fails its test
SHORT_LEASES = {"LEASE_SECONDS": "5"}  # whoever goes on after a kill waits until the leases of the dead are over


def provide_database(data: Path) -> None:
    """Let a new folder of data begin with a database in which nobody is known yet: to make it takes longer than all
    else of a first start, and only the tests of that need to see it."""
    data.mkdir(mode=0o711)
    copy_new_database(data / "postgres")


class Machine:
    """One folder of data, one folder of files, one port: what stays the same from start to start."""

    def __init__(
        self,
        data: Path,
        folder: Path | None = None,
        *options: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        assert data.is_absolute(), "a shorter name could be in the command line of anybody"
        data.parent.chmod(0o711)  # as root, Postgres is somebody else who must pass through
        self.data = data
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._options = ["--data", str(data), "--port", str(self.port), *options]
        if folder is not None:
            self._options += ["--folder", str(folder)]
        # Nobody is there to press a button, and a test asks faster than a person.
        usual = {"FIRST_SYNC": "start", "REQUESTS_PER_MINUTE": "0", "SEARCHES_PER_MINUTE": "0"}
        self._environment = {**os.environ, **usual, **(environment or {}), "PYTHONPATH": str(ROOT)}
        self._output = data.parent / f"{data.name}.out"
        self._errors = data.parent / f"{data.name}.err"
        self._wrapper = wrapper
        self._process: subprocess.Popen[bytes] | None = None
        self.began = 0.0

    # Starting and ending -------------------------------------------------------------------------------------------

    def start(self, *options: str) -> None:
        """Start the command; what it says goes to files."""
        assert self._process is None, "already running"
        self.began = time.monotonic()
        command = [*self._wrapper, sys.executable, "-P", "-m", "infra.local", *self._options, *options]
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=self.data.parent,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Until the printed address answers. Fails when the command ends instead."""
        self.until(lambda: "Ready after" in self.said(), "to be ready")

    def wait(self) -> int:
        """Until the command ends; its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout=PATIENCE)
        self._process = None
        return code

    def run_for(self, seconds: float) -> None:
        """Let it run for so long, or until it ends by itself."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)

    def once(self, *options: str) -> dict[str, Any]:
        """Connect, sync, wait until quiet: the summary. Fails unless every file is accounted for."""
        self.start("--once", "--yes", "--json", *options)
        code = self.wait()
        assert code == 0, f"exit code {code}: {self.said()[-3000:]}"
        last = self._output.read_text().splitlines()[-1]
        summary: dict[str, Any] = json.loads(last)
        assert "files" in summary, f"no summary, but {last}"
        return summary

    def stop(self) -> None:
        """Ctrl-C, as a person ends it."""
        if self._process is None:
            return
        _send(self.launcher, signal.SIGINT)
        self.wait()

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[Machine]:
        """Ready inside the block, ended after it whatever happens."""
        self.start(*options)
        try:
            self.wait_until_ready()
            yield self
            self.stop()
        finally:
            self.pull_the_plug()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def launcher(self) -> int:
        """The process id of the command; of what a wrapper such as strace runs."""
        assert self._process is not None
        if not self._wrapper:
            return self._process.pid
        [command] = children(self._process.pid)
        return command

    def said(self) -> str:
        """Everything the command has written for people."""
        return self._errors.read_text(errors="replace") + self._output.read_text(errors="replace")

    # Dying ---------------------------------------------------------------------------------------------------------

    def pull_the_plug(self) -> int:
        """SIGKILL for everything at once. Returns how many processes died."""
        stopped: set[int] = set()
        while fresh := self.processes() - stopped:
            for pid in fresh:
                _send(pid, signal.SIGSTOP)
            stopped |= fresh
        for pid in stopped:
            _send(pid, signal.SIGKILL)
        self._bury()
        self.until(lambda: not self.processes(), "to be dead")
        return len(stopped)

    def kill_the_launcher(self) -> None:
        """SIGKILL for the command alone; what it started is left behind."""
        _send(self.launcher, signal.SIGKILL)
        self._bury()

    def processes(self) -> set[int]:
        """Everything that belongs to this run: what the command started, and what names its data folder."""
        # The folder or what is in it, but no neighbour whose name begins alike: what is found here may be killed.
        mine = re.compile(re.escape(str(self.data)) + r"(?![\w.-])")
        roots = {pid for pid in all_processes() if mine.search(_named_by(pid))} - {os.getpid()}
        if self._process is not None:
            roots.add(self._process.pid)
        return {pid for root in roots for pid in tree(root) if _is_alive(pid)}

    def _bury(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=PATIENCE)
            self._process = None

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for a condition. Fails when the command ends, or when it never comes true."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            ended = self._process is not None and self._process.poll() is not None
            assert not ended, f"it ended instead of {what}: {self.said()[-3000:]}"
            assert time.monotonic() < deadline, f"waited in vain for it {what}: {self.said()[-3000:]}"
            time.sleep(0.02)


def all_processes() -> set[int]:
    """Every process id there is."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def tree(root: int) -> set[int]:
    """A process and everything below it."""
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children(pid)
    return found


def children(pid: int) -> list[int]:
    """What a process has started and not yet buried; nothing when it is gone."""
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def _named_by(pid: int) -> str:
    """A process's command line and environment, as far as we may see them."""
    text = b""
    for name in ("cmdline", "environ"):
        try:
            text += Path(f"/proc/{pid}/{name}").read_bytes()
        except OSError:
            continue
    return text.decode(errors="replace")


def _is_alive(pid: int) -> bool:
    try:
        state = re.sub(r".*\) ", "", Path(f"/proc/{pid}/stat").read_text(), flags=re.DOTALL).split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
