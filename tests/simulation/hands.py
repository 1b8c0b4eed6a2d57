"""Processes that run the functions, each one request at a time, as instances of a cloud do: `python -m ...hands FD`."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import Queue
from typing import Any

import functions_framework

from shared.adapters.postgres import Database

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("drive_webhook", "change_lister", "file_streamer", "ai_processor", "channel_renewer")


class Hands:
    """So many processes with the environment of this one. Safe to share between threads."""

    def __init__(self, count: int) -> None:
        self._free: Queue[Connection] = Queue()
        self._all: list[tuple[subprocess.Popen[bytes], Connection]] = []
        for _ in range(count):
            here, there = Pipe()
            command = [sys.executable, "-m", "tests.simulation.hands", str(there.fileno())]
            process = subprocess.Popen(command, pass_fds=[there.fileno()], stdout=subprocess.DEVNULL, cwd=ROOT)
            there.close()
            self._all.append((process, here))
            self._free.put(here)

    def post(self, function: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, float]:
        """The status with which a function answers, from whichever process is free, and its seconds of processor."""
        hand = self._free.get()
        try:
            hand.send((function, dict(headers), body))
            answer: tuple[int, float] = hand.recv()
            return answer
        finally:
            self._free.put(hand)

    def learn_the_time(self) -> None:
        """Every connection to Postgres is made anew: a new one knows where the clock was moved to."""
        for _, hand in self._all:
            hand.send(None)
        for _, hand in self._all:
            hand.recv()

    def stop(self) -> None:
        """All processes end."""
        for process, hand in self._all:
            hand.close()
            process.wait(timeout=30)


def main(descriptor: int) -> None:
    """Answer until the other end is closed."""
    doors: dict[str, Any] = {}
    modules = []
    for name in FUNCTIONS:
        doors[name] = functions_framework.create_app(name, str(ROOT / "functions" / name / "main.py"), "http")
        modules.append(sys.modules["main"])  # the name under which the framework loads each
    hand = Connection(descriptor)
    with suppress(EOFError):
        while True:
            asked = hand.recv()
            if asked is None:
                for module in modules:
                    forget_connections(module)
                hand.send(0)
            else:
                begun = time.process_time()
                status = _ask(doors[asked[0]], *asked[1:])
                hand.send((status, time.process_time() - begun))


def forget_connections(module: Any) -> None:
    """Have a function connect to Postgres anew."""
    for made in (getattr(module, "database", None), getattr(module, "people", None)):
        if made is not None and made.cache_info().currsize:
            database: Database = made()
            database.close()


def _ask(door: Callable[..., Any], headers: Mapping[str, str], body: bytes) -> int:
    """One request by WSGI, without a socket."""
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    answer = door(environ, lambda status, _headers, _error=None: said.append(status))
    with _closing(answer):
        for _ in answer:
            continue
    return int(said[0].split()[0])


@contextmanager
def _closing(answer: Any) -> Any:
    try:
        yield
    finally:
        getattr(answer, "close", lambda: None)()


if __name__ == "__main__":
    main(int(sys.argv[1]))
