"""The functions on this machine: all in this process, or each in one of its own under the deployed server.

Nothing is different for them: `functions_framework.create_app` loads the same `main.py`, and the environment says
where Google is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from infra.local import ports
from infra.local.data_folder import Log
from infra.local.errors import StackError
from infra.local.ports import free_port as free_port

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = (
    "oauth_callback",
    "drive_webhook",
    "change_lister",
    "file_streamer",
    "ai_processor",
    "channel_renewer",
    "dashboard",
)
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


def source_of(name: str) -> Path:
    """The file that holds a function. Raises `StackError` for a name that is none."""
    if name not in FUNCTIONS:
        raise StackError(f"There is no function {name!r}. The functions are: {', '.join(FUNCTIONS)}.")
    return ROOT / "functions" / name / "main.py"


class ThreadedFunction:
    """One function in this process: a port of its own, a thread for each request."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self._app: Any = None
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Import the function; no environment is needed yet."""
        import functions_framework

        self._app = functions_framework.create_app(self.name, str(source_of(self.name)), "http")

    def start(self) -> None:
        """Serve it."""
        from werkzeug.serving import WSGIRequestHandler, make_server

        if self._app is None:
            self.load()

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the library's name
                """The function logs its own requests."""

        ports.require(self.port)  # werkzeug would end the process
        self._server = make_server("127.0.0.1", self.port, self._app, threaded=True, request_handler=Quiet)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name=self.name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """It answers from the moment it is started."""

    def trouble(self) -> str | None:
        """What is wrong with it, in a sentence; None while it serves."""
        if self._thread is None or self._thread.is_alive():
            return None
        return f"The function {self.name} ended unexpectedly."

    def ask_to_stop(self) -> None:
        """Nothing to announce."""

    def stop(self) -> None:
        """Take no more requests; those under way go on until the process ends."""
        server, self._server, self._thread = self._server, None, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def peak_rss_mib(self) -> float | None:
        """Unknown: the functions share one process."""
        return None


class ProcessFunction:
    """One function in a process of its own, under gunicorn as deployed, with no right to write to a disk."""

    def __init__(self, name: str, port: int, environment: Mapping[str, str], logs: Path, pids: Path) -> None:
        self.name = name
        self.port = port
        self._environment = {**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        self._log = logs / f"{name}.log"
        self._pid_file = pids / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._peak = 0

    def start(self) -> None:
        """Start the process, from the main thread; `wait` until it answers."""
        ports.require(self.port)
        command = [sys.executable, "-P", "-m", "infra.local.serve", self.name]
        command += ["--port", str(self.port), "--parent", str(os.getpid())]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self._environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal is for us: we stop it in our order
        )
        self._pid_file.write_text(str(self._process.pid))
        assert self._process.stdout is not None
        threading.Thread(target=_copy, args=(self._process.stdout, self._log), daemon=True).start()

    def wait(self) -> None:
        """Wait until it accepts connections. Raises `StackError` when it ends instead."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise StackError(f"The function {self.name} did not start; its last words are in {self._log}.")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise StackError(f"The function {self.name} did not start within {_START_SECONDS:.0f} s; see {self._log}.")

    def trouble(self) -> str | None:
        """What is wrong with it, in a sentence; None while it serves. Also looks at its memory."""
        if self._process is None:
            return None
        if (code := self._process.poll()) is None:
            self._measure(self._process.pid)
            return None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The function {self.name} {how}; its last words are in {self._log}."

    def ask_to_stop(self) -> None:
        """Begin to end it, so that all of them end at the same time."""
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """End the process and all it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:  # one that has ended and was waited for may have lent its number to somebody else
            end_group(process.pid)
            process.wait(timeout=20)
        self._pid_file.unlink(missing_ok=True)

    def peak_rss_mib(self) -> float | None:
        """The most memory that its processes held, in MiB: the server, its worker and the readers' children."""
        if self._process is not None:
            self._measure(self._process.pid)
        return round(self._peak / 1024, 1)

    def _measure(self, pid: int) -> None:
        # The kernel remembers each process's own peak, so that a look now and then misses no moment.
        total = sum(_peak_rss_kib(one) for one in tree(pid))
        self._peak = max(self._peak, total)


def end_leftovers(pids: Path) -> None:
    """End functions that a killed stack left behind: only processes that really are ours."""
    for file in pids.glob("*.pid"):
        with contextlib.suppress(ValueError, OSError):
            pid = int(file.read_text())
            if "infra.local.serve" in command_line(pid) and os.getpgid(pid) == pid:
                end_group(pid)
        file.unlink(missing_ok=True)


def end_group(pid: int) -> None:
    """SIGTERM, and after five seconds SIGKILL, for a process group."""
    _signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and command_line(pid):
        time.sleep(0.02)
    _signal_group(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """The command line of a process; empty if there is none, or only what is left of one."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return "" if shown.startswith("Z") else shown


def tree(pid: int) -> list[int]:
    """A process and everything below it, where the kernel tells (Linux)."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        with contextlib.suppress(OSError, ValueError):
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                waiting.extend(int(child) for child in (task / "children").read_text().split())
    return found


def _peak_rss_kib(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return 0


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _copy(stream: IO[bytes], path: Path) -> None:
    """Everything that a process says goes to its log."""
    with Log(path) as log:
        for line in stream:
            log.write_bytes(line)
