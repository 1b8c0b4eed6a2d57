"""`./dev local` as a person drives it: a command with its own data and port, its pages, its log, and its database."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests

from infra.local.stack import SAMPLE
from tests.faults.final_state import rows_of
from tests.faults.machine import PATIENCE, ROOT, Machine, provide_database

T = TypeVar("T")

EXPECTED = json.loads((SAMPLE / "EXPECTED.json").read_text(encoding="utf-8"))


class LocalStack(Machine):
    """A machine whose one person is connected by `--yes`; programs find the session in the data folder."""

    @property
    def session(self) -> str:
        """The dashboard's cookie, as `curl -b` takes it."""
        kept = self.data / "session"
        wait_for(kept.exists, lambda: f"nobody was signed in: {self.said()}")
        return kept.read_text().strip()

    def get(self, path: str, **parameters: Any) -> Any:
        """An answer of the dashboard's API. Fails unless it is 200."""
        answer = ask("GET", self.address + path, params=parameters, headers={"Cookie": self.session})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def search(self, query: str) -> list[dict[str, Any]]:
        """Results, best first."""
        found: list[dict[str, Any]] = self.get("/api/search", q=query)["results"]
        return found

    def names(self, query: str) -> list[str]:
        """The names of the files that hold all of a phrase, best first."""
        return [one["file"]["name"] for one in self.search(query) if query in " ".join((one["passage"] or "").split())]

    def files(self) -> list[dict[str, Any]]:
        """Every file, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get("/api/files", limit=200, cursor=cursor)
            found += page["files"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def wait_until_read(self, files: int) -> None:
        """Until so many files are listed and at rest."""
        wait_for(
            lambda: (status := self.get("/api/status"))["at_rest"] and status["files"]["listed"] == files,
            lambda: f"{self.get('/api/status')}\n{self.said()}",
        )

    @property
    def options(self) -> list[str]:
        """The command's words."""
        return list(self._options)

    def output(self) -> str:
        """What went to standard output in the last run."""
        return self._output.read_text()

    def errors(self) -> str:
        """What went to standard error in the last run."""
        return self._errors.read_text()

    def complaints(self) -> list[str]:
        """Its lines on standard error."""
        return self.errors().splitlines()

    def events(self, function: str, message: str) -> list[dict[str, Any]]:
        """What a function has written in its log, since the log was begun."""
        lines = [line for path in sorted((self.data / "logs").glob("*.log")) for line in path.open(errors="replace")]
        found = [json.loads(line) for line in lines if line.startswith('{"severity"') and line.endswith("}\n")]
        return [one for one in found if one.get("function") == function and one["message"] == message]

    def audited_reads(self) -> int:
        """How often content was ever read, as the audit log has it. The stack must be down."""
        with rows_of(self.data) as rows:
            return int(next(iter(rows("SELECT count(*) FROM gdrive_audit_log WHERE action = 'read'")))[0])


@contextmanager
def local_stack(folder: Path | None = None, *options: str, new: bool = False, **more: Any) -> Iterator[LocalStack]:
    """A stack on a new folder of data, which is gone with everything that still runs when the block ends. `new`: the
    folder has no database yet, as a person's has none."""
    place = Path(tempfile.mkdtemp(prefix="drivestream local "))  # people's folders have spaces in their names
    place.chmod(0o711)  # as root, Postgres is somebody else who must pass through
    if not new:
        provide_database(place / "data")
    stack = LocalStack(place / "data", folder, *options, **more)
    try:
        yield stack
    finally:
        stack.pull_the_plug()
        shutil.rmtree(place, ignore_errors=True)


def command(*arguments: str | Path, module: str = "infra.local") -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as a person would type it: what it said, and its exit code."""
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def ask(method: str, address: str, **more: Any) -> requests.Response:
    """One request on this machine, redirects not followed, whatever the machine's proxies are."""
    with requests.Session() as browser:
        browser.trust_env = False
        return browser.request(method, address, allow_redirects=False, timeout=60, **more)


def wait_for(condition: Callable[[], T], otherwise: Callable[[], str]) -> T:
    """The first true answer. Fails after a time that only a fault can take."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)
    return answer
