"""Google's own Pub/Sub emulator, where the Cloud SDK has it: found, started directly, and stopped for good."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

_LIKELY_ROOTS = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/snap/google-cloud-sdk/current")


def pubsub_jar() -> Path | None:
    """The newest Pub/Sub emulator of the installed Cloud SDK; None where there is none, or no Java to run it."""
    if shutil.which("java") is None:
        return None
    found = [jar for root in _sdk_roots() for jar in (root / "platform/pubsub-emulator/lib").glob("*.jar")]
    return max(found, default=None)


def _sdk_roots() -> Iterator[Path]:
    gcloud = shutil.which("gcloud")
    if gcloud:
        yield Path(gcloud).resolve().parents[1]
    for root in (*_LIKELY_ROOTS, "~/google-cloud-sdk", os.environ.get("CLOUDSDK_ROOT_DIR", "")):
        if root:
            yield Path(root).expanduser()


@contextmanager
def pubsub_emulator(jar: Path) -> Iterator[str]:
    """Run the emulator; gives HOST:PORT. Not by gcloud's wrapper, which leaves its Java child behind."""
    host = f"127.0.0.1:{_free_port()}"
    name, port = host.split(":")
    command = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-jar", str(jar), f"--host={name}", f"--port={port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with grpc.insecure_channel(host) as channel:
                grpc.channel_ready_future(channel).result(timeout=120)
            yield host
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
