"""What changes in a Drive is right in search at once: announced by a notification, or found by looking."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.local.google import GoogleServer
from infra.local.stack import CLIENT_ID
from tests.e2e.local_stack import LocalStack, local_stack, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc")

NEVER = ("--sweep", "0")


class Live:
    """A running stack and the folder that it reads; each change is timed and held to its notification."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.seconds: dict[str, float] = {}

    def becomes(self, what: str, change: Callable[[], object], right: Callable[[], bool]) -> None:
        """After the change everything is right, and a notification came before."""
        heard = len(self.stack.events("drive_webhook", "notified"))
        began = time.monotonic()
        change()
        wait_for(right, lambda: f"{what}: {self.stack.files()}")
        self.seconds[what] = round(time.monotonic() - began, 2)
        assert len(self.stack.events("drive_webhook", "notified")) > heard, f"{what} was not announced"


@pytest.mark.xdist_group("live")
def test_what_changes_in_the_folder_is_announced_and_right_in_search(tmp_path: Path) -> None:
    """A person saves a file and searches for it: nobody waits for the next look at everything."""
    folder = tmp_path / "drive"
    (folder / "notes").mkdir(parents=True)
    for number in range(5):
        (folder / f"plan {number}.md").write_text(f"# Plan {number}\n\nThe kettle number {number} whistles.\n")
    note, moved = folder / "new note.md", folder / "notes" / "renamed note.md"
    attic = tmp_path / "attic.md"
    with local_stack(folder, *NEVER) as stack, stack.running("--yes"):
        stack.wait_until_read(5)
        live = Live(stack, folder)
        old, new = "a heron stood on the lock gate", "an otter swam under the lock gate"

        def found(phrase: str, *names: str) -> Callable[[], bool]:
            return lambda: stack.names(phrase) == [*names]

        live.becomes("added", lambda: note.write_text(f"# Birds\n\nToday {old} again.\n"), found(old, "new note.md"))
        live.becomes("edited", lambda: note.write_text(f"# Otters\n\nToday {new} again.\n"), found(new, "new note.md"))
        assert stack.names(old) == []
        live.becomes("renamed", lambda: note.rename(folder / moved.name), found(new, "renamed note.md"))
        top = parents(stack, "renamed note.md")
        live.becomes(
            "moved",
            lambda: (folder / moved.name).rename(moved),
            lambda: parents(stack, "renamed note.md") != top and found(new, "renamed note.md")(),
        )
        live.becomes("deleted", lambda: moved.rename(attic), found(new))
        live.becomes("restored", lambda: attic.rename(moved), found(new, "renamed note.md"))
        live.becomes("put into the bin", lambda: trash(folder, "notes/renamed note.md", True), found(new))
        live.becomes("taken out", lambda: trash(folder, "notes/renamed note.md", False), found(new, "renamed note.md"))
        assert parents(stack, "plan 0.md") == top
    print(f"seconds until a change was right in search: {live.seconds}")


def parents(stack: LocalStack, name: str) -> list[str]:
    """Where a file lies, as its row has it."""
    found: list[str] = next(one for one in stack.files() if one["name"] == name)["parents"]
    return found


def trash(folder: Path, path: str, trashed: bool) -> None:
    """Put a file into the bin, or take it out."""
    (folder / ".drive.json").write_text(json.dumps({"files": {path: {"trashed": trashed}}}))


@contextmanager
def outside_drive(folder: Path, place: Path) -> Iterator[tuple[GoogleServer, str]]:
    """A Drive of somebody else's, and a refresh token of its one person."""
    server = GoogleServer(folder, place, client_id=CLIENT_ID, client_secret="of the outside", scan_seconds=0.1)
    server.start()
    try:
        yield server, str(server.grant("you@example.com")["refresh_token"])
    finally:
        server.stop()


def introduce(stack: LocalStack) -> None:
    """The outside Drive knows our client by its secret."""
    secrets = stack.data / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "oauth-client-secret.made").write_text("of the outside")


@pytest.mark.xdist_group("outside")
@pytest.mark.parametrize("notifies", [True, False], ids=["with notifications", "without notifications"])
def test_a_drive_elsewhere_is_read_and_followed(tmp_path: Path, notifies: bool) -> None:
    """Where Drive cannot push, or knows neither watch nor shared drives, looking again finds what has changed."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(4):
        (folder / f"log {number}.txt").write_text(f"Entry {number}: the sluice of lock {number} leaks.\n")
    with outside_drive(folder, tmp_path / "outside") as (drive, token):
        if not notifies:
            drive.faults.fail("changes.watch", 501, "notImplemented", times=None)
            drive.faults.fail("drives.list", 404, "notFound", times=None)
        with local_stack(None, "--drive", drive.url, "--token", token, "--sweep", "1") as stack:
            introduce(stack)
            with stack.running():
                stack.wait_until_read(4)
                (folder / "log 1.txt").write_text("Entry 1: the paddle gear was greased.\n")
                edited = "the paddle gear was greased"
                wait_for(lambda: stack.names(edited) == ["log 1.txt"], lambda: state(stack, drive))
                (folder / "log 2.txt").unlink()
                wait_for(lambda: len(stack.files()) == 3, lambda: state(stack, drive))
                heard = stack.events("drive_webhook", "notified")
            again = stack.once()
            assert (again["files"]["indexed"], again["files"]["unchanged"], again["bytes"]) == (0, 3, 0)
        assert drive.faults.calls["token"] >= 1
    assert bool(heard) == notifies


def state(stack: LocalStack, drive: GoogleServer) -> str:
    """What helps to understand a test that failed."""
    calls: dict[str, Any] = dict(drive.faults.calls)
    return f"{stack.files()}\n{calls}\n{stack.said()}"
