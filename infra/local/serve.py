"""One function in its own process under gunicorn, with the deployed settings, unable to write to any disk.

gunicorn's control socket is off and its heartbeat lives in shared memory; the process may not write a single byte to
a regular file (RLIMIT_FSIZE), so a function that tries fails here before it fails in production.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import sys

from infra.local.hosting import FUNCTIONS, source_of

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until told to stop, or until the process that started this one is gone."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.serve")
    parser.add_argument("name", choices=FUNCTIONS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    end_with(arguments.parent)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(arguments.name, arguments.port)


def serve(name: str, port: int) -> None:
    """Become gunicorn."""
    import functions_framework
    from functions_framework._http.gunicorn import GunicornApplication

    app = functions_framework.create_app(name, str(source_of(name)), "http")
    # The heartbeat is a file that is touched and never written; shared memory has no disk below it.
    beats = "/dev/shm" if sys.platform == "linux" else None  # noqa: S108
    options = {"control_socket_disable": True, "worker_tmp_dir": beats, "graceful_timeout": 3}
    GunicornApplication(app, "127.0.0.1", port, False, **options).run()


def end_with(parent: int) -> None:
    """Ask the kernel (Linux) to end this process with its parent, even when that one is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it was faster
        raise SystemExit(f"The process {parent} that wanted this function is gone.")


if __name__ == "__main__":
    main()
