"""A person at the doors of a running stack, without a browser: consents on the local Google's page and asks."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urljoin

import requests

from tests.faults.machine import PATIENCE, Machine

DRIVE_SCOPE = "https://www.googleapis.com/auth/drive.readonly"
AT_REST = ("indexed", "unchanged", "skipped", "failed")


class Visitor:
    """Somebody with a cookie jar of their own. `seen` keeps every answer that they ever got."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._session = requests.Session()
        self._session.trust_env = False
        # A server may close a connection that was idle for two seconds just when it is used again; browsers then try
        # once more by themselves, requests does not.
        self._session.headers["Connection"] = "close"
        self.seen: list[requests.Response] = []

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request to the dashboard (or to a whole address), redirects not followed."""
        answer = self._session.request(
            method, urljoin(self._machine.address, path), allow_redirects=False, timeout=60, **more
        )
        self.seen.append(answer)
        return answer

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.ask("GET", path, **more)

    @property
    def session(self) -> str:
        """The value of the dashboard's cookie."""
        return str(self._session.cookies["session"])

    def connect(self, email: str) -> None:
        """Click Connect, choose a person, Allow, and land on the dashboard. Fails when there is no session then."""
        door = self.ask("POST", "/api/connect", headers={"Accept": "application/json"}).json()["url"]
        page = self.get(self.get(door).headers["Location"])
        ticket = re.search(r'name="ticket" value="([^"]+)"', page.text)
        assert ticket is not None, page.text
        form = {"ticket": ticket[1], "person": email, "decision": "allow", f"scope:{DRIVE_SCOPE}": "on"}
        answer = self.ask("POST", urljoin(page.url, "/o/oauth2/v2/consent"), data=form)
        while answer.is_redirect and "session" not in self._session.cookies:
            answer = self.get(urljoin(answer.url, answer.headers["Location"]))
        assert "session" in self._session.cookies, answer.text

    def wait_until_read(self, listed: int) -> dict[str, Any]:
        """Until so many files are listed and all of them are at rest: the status."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status: dict[str, Any] = self.get("/api/status").json()
            files = status["files"]
            if files["listed"] == listed == sum(files[state] for state in AT_REST):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.2)

    def files(self) -> list[dict[str, Any]]:
        """Every file of this person, page by page."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.get("/api/files", params={"limit": 50, **({"cursor": cursor} if cursor else {})}).json()
            found += page["files"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
