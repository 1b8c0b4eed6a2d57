"""Plain authorised requests to Google's REST APIs, and what their refusals mean to an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from google.auth.exceptions import GoogleAuthError

# The services that are asked; a stand-in serves each of them under its name.
BASES = {
    "accounts": "https://accounts.google.com",
    "aiplatform": "https://us-central1-aiplatform.googleapis.com",
    "cloudfunctions": "https://cloudfunctions.googleapis.com",
    "cloudresourcemanager": "https://cloudresourcemanager.googleapis.com",
    "cloudscheduler": "https://cloudscheduler.googleapis.com",
    "documentai": "https://us-documentai.googleapis.com",
    "firestore": "https://firestore.googleapis.com",
    "oauth2": "https://oauth2.googleapis.com",
    "pubsub": "https://pubsub.googleapis.com",
    "run": "https://run.googleapis.com",
    "secretmanager": "https://secretmanager.googleapis.com",
    "serviceusage": "https://serviceusage.googleapis.com",
    "sqladmin": "https://sqladmin.googleapis.com",
}
SECONDS = 30.0
MOST_PAGES = 100


class Trouble(Exception):
    """Something cannot be found out: what was said, and what to do."""

    def __init__(self, said: str, do: str) -> None:
        super().__init__(said)
        self.said = said
        self.do = do


class Google:
    """Answers of Google's APIs. What was asked once is known: many checks look at the same list.

    `session` is authorised, `plain` is anybody's."""

    def __init__(
        self, session: requests.Session, bases: Mapping[str, str] = BASES, plain: requests.Session | None = None
    ) -> None:
        self._session = session
        self._bases = bases
        self._known: dict[tuple[str, str], dict[str, Any] | Trouble | None] = {}
        self._plain = plain or requests.Session()

    def get(self, service: str, path: str, base: str = "", **parameters: str) -> dict[str, Any] | None:
        """What is there, or None where nothing is. Raises `Trouble`."""
        url = (base or self._bases[service]) + path + ("?" + urlencode(parameters) if parameters else "")
        return self._asked("GET", service, url)

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a question that Google takes as POST; nothing is changed by it. Raises `Trouble`."""
        return self._asked("POST", service, self._bases[service] + path, body)

    def every(self, service: str, path: str, key: str, **parameters: str) -> list[dict[str, Any]]:
        """A whole list, page by page. Raises `Trouble`."""
        found, token = list[dict[str, Any]](), ""
        for _ in range(MOST_PAGES):
            page = self.get(service, path, **parameters, **({"pageToken": token} if token else {})) or {}
            found += page.get(key, [])
            token = page.get("nextPageToken", "")
            if not token:
                break
        return found

    def public(self, method: str, url: str, service: str = "", **request: Any) -> requests.Response:
        """The answer to somebody without credentials, such as Drive or a browser; redirections are not followed.
        Raises `Trouble`."""
        address = self._bases[service] + url if service else url
        try:
            return self._plain.request(method, address, timeout=SECONDS, allow_redirects=False, **request)
        except requests.exceptions.SSLError as error:
            raise Trouble(
                f"{address} has no certificate that holds: {error}", "use an address with a valid one"
            ) from error
        except requests.RequestException as error:
            raise Trouble(
                f"{address} does not answer: {type(error).__name__}", "look whether the address is right"
            ) from error

    def _asked(
        self, method: str, service: str, url: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        if (method, url) not in self._known:
            try:
                self._known[method, url] = self._ask(method, service, url, body)
            except Trouble as trouble:
                self._known[method, url] = trouble
        known = self._known[method, url]
        if isinstance(known, Trouble):
            raise known
        return known

    def _ask(self, method: str, service: str, url: str, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
        try:
            answer = self._session.request(method, url, json=body, timeout=SECONDS)
        except (requests.RequestException, GoogleAuthError) as error:
            said = f"{service} does not answer: {type(error).__name__}"
            raise Trouble(said, "look at the network, then ask again") from error
        if answer.status_code == 404:
            return None
        if answer.status_code == 200:
            content: dict[str, Any] = answer.json()
            return content
        message = _message(answer)
        if answer.status_code == 403:
            raise Trouble(
                f"{service} does not let you look: {message}", f"enable {service}, or get the right to view it"
            )
        raise Trouble(
            f"{service} answered {answer.status_code}: {message}", "ask again; if it stays, read what it says"
        )


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.reason or "nothing"
