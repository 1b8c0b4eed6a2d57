"""`./dev local --google FILE`: sign-in and Drive are far away and cannot push from there; all else is on this machine.

The local Google stands for the far one. It is another server than that of the stack, reached only by what the client's
file and the settings say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.google import GoogleServer
from infra.local.ports import free_port
from tests.e2e.local_stack import LocalStack, local_stack, wait_for
from tests.faults.visitor import Visitor

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc"),
    pytest.mark.xdist_group("google"),
]

CLIENT_ID = "1234-far.apps.googleusercontent.com"
SECRET = "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ile"


@dataclass
class Far:
    """A Google elsewhere that knows a web client, and the file that its console offered for download."""

    google: GoogleServer
    file: Path
    door: str

    @property
    def environment(self) -> dict[str, str]:
        """Settings for what a client's file does not say."""
        said = self.google.settings()
        return {name: said[name] for name in ("DRIVE_ENDPOINT", "OAUTH_REVOKE_URL", "OAUTH_ISSUER")}


@contextmanager
def far_google(folder: Path, place: Path) -> Iterator[Far]:
    place.mkdir()
    door = f"http://127.0.0.1:{free_port()}"
    google = GoogleServer(
        folder,
        place / "google",
        client_id=CLIENT_ID,
        client_secret=SECRET,
        redirect_uris=[door + "/callback"],
        scan_seconds=0.1,
    )
    google.start()
    said = google.settings()
    web = {
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "auth_uri": said["OAUTH_AUTHORIZE_URL"],
        "token_uri": said["OAUTH_TOKEN_URL"],
        "auth_provider_x509_cert_url": said["OAUTH_CERTS_URL"],
        "redirect_uris": ["https://app.example/callback", door + "/callback"],
    }
    file = place / "client_secret.json"
    file.write_text(json.dumps({"web": web}))
    try:
        yield Far(google, file, door)
    finally:
        google.stop()


def test_a_drive_at_google_is_connected_read_and_followed_without_a_notification(tmp_path: Path) -> None:
    """A developer sees their own Drive come alive on a laptop that nobody can reach."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(3):
        (folder / f"log {number}.txt").write_text(f"Entry {number}: the sluice of lock {number} leaks.\n")
    with (
        far_google(folder, tmp_path / "far") as far,
        local_stack(None, "--google", str(far.file), "--sweep", "1", environment=far.environment) as stack,
        stack.running(),
    ):
        person = Visitor(stack)
        person.connect("you@example.com")
        status = person.wait_until_read(3)
        (folder / "log 1.txt").write_text("Entry 1: the paddle gear was greased.\n")
        wait_for(lambda: found(person, "the paddle gear was greased") == ["log 1.txt"], stack.said)
        wait_for(lambda: stack.events("channel_renewer", "polling"), stack.said)

        assert status["person"]["email"] == "you@example.com"
        assert (status["changes_by"], status["channels"]) == ("polling", [])
        assert far.google.faults.calls["changes.watch"] == 0
        assert far.google._push.channels() == []
        assert stack.events("drive_webhook", "notified") == []
        assert [answer.url for answer in person.seen if answer.url.startswith(far.door + "/callback")]
        assert "every 1 s" in stack.said()
        assert "stand-in on this machine, the AI services too" in stack.said()
        assert where_the_secret_is(stack) == {"secrets"}


def found(person: Visitor, phrase: str) -> list[str]:
    """The names of the files that hold all of a phrase."""
    results = person.get("/api/search", params={"q": phrase}).json()["results"]
    return [one["file"]["name"] for one in results if phrase in " ".join((one["passage"] or "").split())]


def where_the_secret_is(stack: LocalStack) -> set[str]:
    """The folders of data, or other places that others may read, that hold the client's secret."""
    places = {
        path.relative_to(stack.data).parts[0]
        for path in stack.data.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    }
    if SECRET in stack.said():
        places.add("what it said")
    for pid in stack.processes():
        for name in ("cmdline", "environ"):
            if SECRET.encode() in Path(f"/proc/{pid}/{name}").read_bytes():
                places.add(f"a process's {name}")
    return places
