"""Ports of 127.0.0.1: which are free, and what to say when one is not."""

from __future__ import annotations

import errno
import random
import socket

from infra.local.errors import StackError


def is_free(port: int) -> bool:
    """Can a server listen there?"""
    return _obstacle(port) is None


def require(port: int) -> None:
    """Raises `StackError`, in a sentence that says what to do, when no server can listen there."""
    obstacle = _obstacle(port)
    if obstacle == errno.EACCES:
        raise StackError(f"Port {port} is for administrators only. Choose another port from 1024 with --port.")
    if obstacle is not None:
        raise StackError(f"Port {port} is used by another program. Stop that one, or choose another with --port.")


def free_port() -> int:
    """A port that nobody listens on, and that still is free when a server is started there a little later.

    Systems lend the ports from 32768 (Linux) or 49152 (others) to outgoing connections, so those are not chosen.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        if is_free(port):
            return port


def _obstacle(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return None
