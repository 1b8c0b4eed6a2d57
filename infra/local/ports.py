"""Ports of 127.0.0.1: which are free, and what to say when one is not."""

from __future__ import annotations

import errno
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
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _obstacle(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return None
