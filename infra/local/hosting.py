"""The functions on this machine: all in this process, or each in one of its own under the deployed server.

Nothing is different for them: `functions_framework.create_app` loads the same `main.py`, and the environment says
where Google is.
"""

from __future__ import annotations

import contextlib
import ctypes
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

from infra.local.errors import StackError

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
        self._server: object = None

    def start(self) -> None:
        """Load the function and serve it."""
        import functions_framework
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the library's name
                """The function logs its own requests."""

        app: Any = functions_framework.create_app(self.name, str(source_of(self.name)), "http")
        try:
            server = make_server("127.0.0.1", self.port, app, threaded=True, request_handler=Quiet)
        except (OSError, SystemExit) as error:  # werkzeug exits where the port is taken
            raise StackError(busy(self.port)) from error
        server.daemon_threads = True  # type: ignore[attr-defined]
        self._server = server
        threading.Thread(target=server.serve_forever, name=self.name, daemon=True).start()

    def stop(self) -> None:
        """Take no more requests; those under way go on until the process ends."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()  # type: ignore[attr-defined]

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
        self._peak = 0.0

    def start(self) -> None:
        """Start the process; `wait` until it answers."""
        if not port_is_free(self.port):
            raise StackError(busy(self.port))
        command = [sys.executable, "-m", "infra.local.serve", self.name, "--port", str(self.port)]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._pid_file.write_text(str(self._process.pid))
        assert self._process.stdout is not None
        threading.Thread(target=self._copy_log, args=(self._process.stdout,), daemon=True).start()
        threading.Thread(target=self._watch_memory, args=(self._process.pid,), daemon=True).start()

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

    def stop(self) -> None:
        """End the process and all it started."""
        process, self._process = self._process, None
        if process is None:
            return
        end_group(process.pid)
        process.wait(timeout=20)
        self._pid_file.unlink(missing_ok=True)

    def peak_rss_mib(self) -> float | None:
        """The most memory that the process and its children ever held together, in MiB."""
        return round(self._peak / 1024**2, 1)

    def _copy_log(self, stream: IO[bytes]) -> None:
        with self._log.open("ab") as log:
            for line in stream:
                log.write(line)
                log.flush()

    def _watch_memory(self, pid: int) -> None:
        while self._process is not None:
            self._peak = max(self._peak, tree_rss(pid))
            time.sleep(0.25)


def end_leftovers(pids: Path) -> None:
    """End functions that a killed stack left behind: only processes that really are ours."""
    for file in pids.glob("*.pid"):
        with contextlib.suppress(ValueError, OSError):
            pid = int(file.read_text())
            if b"infra.local.serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                end_group(pid)
        file.unlink(missing_ok=True)


def end_group(pid: int) -> None:
    """SIGTERM, and after five seconds SIGKILL, for a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        for _ in range(100):
            os.killpg(pid, 0)
            if _is_zombie(pid):
                break
            time.sleep(0.05)
        os.killpg(pid, signal.SIGKILL)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process with the one that started it, even when that one is killed."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)


def tree_rss(pid: int) -> int:
    """Resident bytes of a process and everything below it, now."""
    total, waiting = 0, [pid]
    while waiting:
        current = waiting.pop()
        try:
            total += int(Path(f"/proc/{current}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting.extend(int(child) for child in (task / "children").read_text().split())
        except (OSError, ValueError, IndexError):
            continue
    return total


def port_is_free(port: int) -> bool:
    """Can a server listen there?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def busy(port: int) -> str:
    """What a person can do about a taken port."""
    return f"Port {port} is in use by another program. Stop that program, or choose another port with --port."
