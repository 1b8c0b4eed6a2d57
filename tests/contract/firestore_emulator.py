"""Google's own Firestore emulator, where gcloud has installed it: started directly, so that stopping it stops it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JAR = Path("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
START_SECONDS = 40


def missing() -> str | None:
    """Why the emulator cannot run here, or None if it can."""
    if shutil.which("java") is None:
        return "Google's Firestore emulator needs java, which is not on PATH"
    if _jar() is None:
        return "Google's Firestore emulator is not installed (gcloud components install cloud-firestore-emulator)"
    return None


def _jar() -> Path | None:
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    jar = Path(gcloud).resolve().parent.parent / JAR
    return jar if jar.exists() else None


@contextmanager
def running() -> Iterator[str]:
    """Run the emulator and give its HOST:PORT. Only to be called where nothing is `missing`."""
    port = _free_port()
    process = subprocess.Popen(
        # `-jar` does not work: the archive names no main class.
        [
            "java",
            "-Xmx512m",
            "-Duser.language=en",
            "-cp",
            str(_jar()),
            MAIN,
            "start",
            "--host=127.0.0.1",
            f"--port={port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_ready(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
