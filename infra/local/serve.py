"""One function in its own process under gunicorn, with the deployed settings, unable to write to any disk.

gunicorn's control socket is off and its heartbeat lives in shared memory; the process may not write a single byte to
a regular file (RLIMIT_FSIZE), so a function that tries fails here before it fails in production.
"""

from __future__ import annotations

import argparse
import resource

import functions_framework
from functions_framework._http.gunicorn import GunicornApplication

from infra.local.hosting import FUNCTIONS, die_with_parent, source_of


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.serve")
    parser.add_argument("name", choices=FUNCTIONS)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    app = functions_framework.create_app(arguments.name, str(source_of(arguments.name)), "http")
    options = {"control_socket_disable": True, "worker_tmp_dir": "/dev/shm", "graceful_timeout": 3}  # noqa: S108
    GunicornApplication(app, "127.0.0.1", arguments.port, False, **options).run()


if __name__ == "__main__":
    main()
