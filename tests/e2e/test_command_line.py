"""What `./dev local` says and how it ends: one sentence for whatever is in the way, nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local.google import GoogleServer
from infra.local.hosting import FUNCTIONS
from infra.local.ports import free_port
from infra.release import smoke
from tests.e2e.local_stack import LocalStack, ask, command, local_stack, wait_for
from tests.faults.machine import PATIENCE, ROOT, SHORT_LEASES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc")

running_group = pytest.mark.xdist_group("command_line")  # one stack for all of them


@pytest.fixture(scope="module")
def running() -> Iterator[LocalStack]:
    """A stack that runs, with its small folder read."""
    with local_stack() as stack, stack.running("--yes"):
        yield stack


def is_one_sentence(said: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """Fails unless the last words are one line for a person that has these words in it."""
    assert said.returncode == code, said
    lines = said.stderr.splitlines()
    assert len(lines) == 1, said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    assert len(lines[0]) < 400, lines[0]
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


# The doors of a running stack -----------------------------------------------------------------------------------------


@running_group
def test_the_doors_pass_the_smoke_test_of_a_release(running: LocalStack) -> None:
    """The same functions in a project answer the same, so a release that works is not rolled back."""
    said = dict(line.split("=", 1) for line in (running.data / "environment").read_text().splitlines())
    outputs = {
        "dashboard_url": said["DASHBOARD_URL"],
        "webhook_address": said["WEBHOOK_URL"],
        "oauth_redirect": f"{said['CONNECT_URL']}/callback",
    }

    assert smoke.faults(outputs, patience_seconds=0) == []


# What is wrong with the words of the command ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fodler", "x"], ["--fodler", "--help"]),
        (["here"], ["here", "--help"]),
        (["--folder"], ["--folder"]),
        (["--folder", "/no/such/folder"], ["/no/such/folder", "existing"]),
        (["--folder", __file__], [__file__, "folder"]),
        (["--port", "eighty"], ["eighty", "65535"]),
        (["--port", "0"], ["65535"]),
        (["--port", "65536"], ["65535"]),
        (["--sweep", "often"], ["often", "seconds"]),
        (["--drive", "http://127.0.0.1:9"], ["--token"]),
        (["--token", "1//t"], ["--drive"]),
        (["--drive", "drive.example", "--token", "t"], ["drive.example", "http://"]),
        (["--drive", "http://127.0.0.1:9", "--token", "t", "--folder", "/"], ["--folder", "not both"]),
        (["--database", "mysql://x"], ["postgresql://"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_wrong_word_is_answered_in_one_sentence(arguments: list[str], words: list[str]) -> None:
    """A page of usage or a traceback sends a newcomer away."""
    said = command(*arguments)

    is_one_sentence(said, "./dev local", *words, code=2)
    assert said.stdout == ""


# What is in the way of a start --------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """Port 8080 is everybody's favourite."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        said = command("--port", str(port), "--data", tmp_path / "data")

    is_one_sentence(said, str(port), "--port")


def test_a_folder_of_data_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A read-only disk or a wrong path is the person's to change."""
    (tmp_path / "file").write_text("")

    is_one_sentence(command("--data", tmp_path / "file"), str(tmp_path / "file"), "is a file", "--data")
    is_one_sentence(command("--data", tmp_path / "file" / "data"), str(tmp_path / "file" / "data"), "--data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_folders_that_the_person_may_not_use_are_named(tmp_path: Path) -> None:
    """Another person's folder is not an empty one."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)

    is_one_sentence(command("--folder", closed), str(closed), "permissions", code=2)
    is_one_sentence(command("--folder", closed / "below"), str(closed), "permissions", code=2)
    is_one_sentence(command("--data", closed / "data"), str(closed), "--data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_file_that_the_person_may_not_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """One closed file must neither stop a sync nor keep it waiting."""
    folder = write_many(tmp_path / "drive", 3)
    (folder / "entry 1.txt").chmod(0o000)

    with local_stack(folder) as stack:
        summary = stack.once()

    assert (summary["files"]["indexed"], summary["reasons"]) == (2, {"cannotDownloadFile": 1})


@pytest.mark.parametrize("layout", ['{"people": [{"email": 5}]}', '{"people":', '{"files": {"../x": {}}}'])
def test_a_layout_that_cannot_be_understood_is_named(tmp_path: Path, layout: str) -> None:
    """Whoever writes a .drive.json makes a mistake in it sooner or later."""
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / ".drive.json").write_text(layout)

    with local_stack(folder) as stack:
        stack.start()

        assert stack.wait() == 1
        assert len(stack.complaints()) == 1
        assert ".drive.json" in stack.complaints()[0]


def test_a_drive_that_does_not_answer_is_named() -> None:
    """A wrong address must not look like an empty Drive."""
    with local_stack(None, "--drive", f"http://127.0.0.1:{free_port()}", "--token", "t") as stack:
        stack.start("--once")

        assert stack.wait() == 1
        assert len(stack.complaints()) == 1
        assert "--drive" in stack.complaints()[0]


def test_a_token_that_is_not_accepted_is_said(tmp_path: Path) -> None:
    """A token that was revoked yesterday is the usual case."""
    (tmp_path / "drive").mkdir()
    outside = GoogleServer(tmp_path / "drive", tmp_path / "outside", client_id="drivestream-local.apps.example")
    outside.start()
    try:
        with local_stack(None, "--drive", outside.url, "--token", "1//revoked") as stack:
            (stack.data / "secrets").mkdir(parents=True)
            (stack.data / "secrets" / "oauth-client-secret.made").write_text("local-client-secret")
            stack.start("--once")

            assert stack.wait() == 1
            assert len(stack.complaints()) == 1
            assert "--token" in stack.complaints()[0]
            assert "1//revoked" not in stack.said()
    finally:
        outside.stop()


# Beside a stack that runs -------------------------------------------------------------------------------------------


@running_group
def test_a_second_stack_on_the_same_data_is_refused(running: LocalStack) -> None:
    """Two would write into each other's files; the first one must not even notice."""
    said = command("--data", running.data, "--port", str(free_port()))

    is_one_sentence(said, str(running.data), "--data")
    assert running.get("/api/status")["person"]["status"] == "active"


@running_group
def test_everything_secret_is_for_its_owner_only(running: LocalStack) -> None:
    """Other users of the machine must not read a person's files out of our data."""
    open_to_others = [
        path
        for path in running.data.iterdir()
        if path.name != "postgres" and path.is_dir() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    secret = ["environment", "session", "postgres/passwords.json", "secrets/token-keys.made", "google/link-secret"]

    assert open_to_others == []
    assert {name: oct((running.data / name).stat().st_mode & 0o777) for name in secret} == dict.fromkeys(
        secret, "0o600"
    )


@running_group
def test_each_function_runs_alone_beside_the_stack(running: LocalStack) -> None:
    """Whoever works on one function runs that one, as it is deployed."""
    with ThreadPoolExecutor(3) as at_once:  # seven starts at the same time would only wait for each other
        answers = dict(zip(FUNCTIONS, at_once.map(lambda name: alone(name, running), FUNCTIONS), strict=True))

    for name in ("change_lister", "file_streamer", "ai_processor", "channel_renewer"):
        assert answers[name]["POST /"][0] == 403, (name, answers[name])
        assert answers[name]["GET /"][0] in (403, 405), (name, answers[name])
    assert answers["drive_webhook"]["POST /"][0] == 403
    assert answers["oauth_callback"]["GET /connect"][0] in (302, 303)
    assert answers["dashboard"]["GET /healthz"][0] == 200
    assert answers["dashboard"]["GET /"][0] == 200
    for name, by_door in answers.items():
        for door, (status, text) in by_door.items():
            assert status < 500, (name, door, text)
            assert "Traceback" not in text


def alone(name: str, stack: LocalStack) -> dict[str, tuple[int, str]]:
    """What one function answers at its doors when it runs by itself."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "infra.local.function", name, "--data", str(stack.data), "--port", str(port)],
        cwd=stack.data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: process.poll() is not None or answers_at(port), lambda: f"{name} does not answer")
        doors = [("GET", "/"), ("POST", "/"), ("GET", "/connect"), ("GET", "/healthz")]
        found = {f"{method} {path}": ask(method, f"http://127.0.0.1:{port}{path}") for method, path in doors}
        return {door: (answer.status_code, answer.text) for door, answer in found.items()}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)


def answers_at(port: int) -> bool:
    """Does somebody listen there?"""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@running_group
def test_a_function_that_cannot_run_alone_says_why(running: LocalStack, tmp_path: Path) -> None:
    """A name that is none, a stack that is not there, a port that is taken."""
    module = "infra.local.function"

    is_one_sentence(command("streamer", "--data", running.data, module=module), "streamer", "file_streamer")
    is_one_sentence(command("dashboard", "--data", tmp_path, module=module), str(tmp_path), "./dev local")
    is_one_sentence(command("dashboard", "--data", running.data, "--port", str(running.port), module=module), "--port")
    is_one_sentence(command("--data", running.data, module=module), "name", "--help", code=2)


# How it ends --------------------------------------------------------------------------------------------------------


def write_many(folder: Path, count: int = 40) -> Path:
    """A folder that takes a second to read, and another until it is known that all is quiet."""
    folder.mkdir()
    for number in range(count):
        (folder / f"entry {number}.txt").write_text(f"Entry {number} of the log: the sluice leaks {number} litres.\n")
    return folder


@pytest.mark.parametrize(
    ("told", "options", "code"),
    [
        (signal.SIGINT, ["--yes"], 0),
        pytest.param(signal.SIGTERM, ["--yes"], 0, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, ["--yes", "--once"], 130, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, ["--yes", "--once", "--processes"], 130, marks=pytest.mark.long),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_told_to_stop_it_ends_whole_and_goes_on_later(
    tmp_path: Path, told: signal.Signals, options: list[str], code: int
) -> None:
    """Ctrl-C in the midst of a sync is how most first runs end."""
    with local_stack(write_many(tmp_path / "drive"), environment=SHORT_LEASES) as stack:
        stack.start(*options)
        stack.wait_until_ready()
        wait_for(lambda: stack.events("file_streamer", "done"), stack.said)
        os.kill(stack.launcher, told)

        assert stack.wait() == code
        assert "goes on from here" in stack.said()
        assert "Traceback" not in stack.said()
        assert stack.processes() == set()
        assert stack.once()["files"]["listed"] == 40


def test_told_to_stop_while_it_starts_it_stops() -> None:
    """Whoever sees a typing error in the command does not want to wait for it."""
    with local_stack() as stack:
        stack.start()
        wait_for(lambda: "Starting Postgres" in stack.said(), stack.said)
        os.kill(stack.launcher, signal.SIGINT)

        assert stack.wait() == 0
        assert "Ready" not in stack.said()
        assert "Traceback" not in stack.said()
        assert stack.processes() == set()


def test_functions_do_not_outlive_a_killed_stack(tmp_path: Path) -> None:
    """What is orphaned for good holds ports and memory until somebody finds it."""
    with local_stack(write_many(tmp_path / "drive"), "--processes") as stack:
        stack.start("--yes")
        stack.wait_until_ready()
        wait_for(lambda: stack.events("file_streamer", "done"), stack.said)
        stack.kill_the_launcher()

        wait_for(lambda: not stack.processes(), lambda: f"still there: {stack.processes()}")


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param("infra.local.serve", id="a function"),
        pytest.param("--listen_addresses", id="Postgres", marks=pytest.mark.long),
    ],
)
def test_a_part_that_dies_is_named_and_ends_the_whole(tmp_path: Path, victim: str) -> None:
    """A stack that looks alive and does nothing is worse than one that says what has died."""
    with local_stack(write_many(tmp_path / "drive", 10), environment=SHORT_LEASES) as stack:
        stack.start("--yes", "--processes")
        stack.wait_until_ready()
        pid = min(pid for pid in stack.processes() if victim in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(pid, signal.SIGKILL)

        assert stack.wait() == 1
        assert len(stack.complaints()) == 1
        assert "same command" in stack.complaints()[0]
        assert stack.processes() == set()
        assert stack.once()["files"]["listed"] == 10


# What a person sees -------------------------------------------------------------------------------------------------


def in_a_terminal(
    stack: LocalStack, *options: str, press: Callable[[str], bytes] = lambda said: b""
) -> tuple[int, str]:
    """Run the command in a terminal of 100 columns: its exit code, and all that it wrote. `press` sees what is said."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "infra.local", *stack.options, *options],
        cwd=stack.data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(follower)
    said = ""
    with contextlib.suppress(OSError):  # the terminal is gone with the last program in it
        while more := os.read(leader, 65536):
            said += more.decode(errors="replace")
            if keys := press(said):
                os.write(leader, keys)
    os.close(leader)
    return process.wait(timeout=PATIENCE), said


def take_terminal() -> None:
    """Make the terminal the process's own, so that Ctrl-C in it is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def plain(said: str) -> str:
    """Without what moves the cursor and paints."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)


def test_a_terminal_shows_a_bar_and_ends_with_a_summary(tmp_path: Path) -> None:
    """Waiting is easier when something moves; the end must be readable without scrolling."""
    with local_stack(write_many(tmp_path / "drive", 60)) as stack:
        code, said = in_a_terminal(stack, "--once", "--yes")

    assert code == 0
    assert "\x1b[" in said
    assert re.search(r"\d+/60 files .* [kM]?B, [\d.]+ [kM]?B/s, [\d.]+ files/s", plain(said))
    assert "60 files in" in plain(said)
    assert "60 indexed." in plain(said)
    assert '"severity"' not in said
    assert "Traceback" not in said


def test_ctrl_c_in_a_terminal_reaches_everything_once(tmp_path: Path) -> None:
    """The terminal signals every program in it; only ours may answer, in one sentence."""
    pressed = threading.Event()

    def press(said: str) -> bytes:
        if " files/s" not in said or pressed.is_set():
            return b""
        pressed.set()
        return b"\x03"

    with local_stack(write_many(tmp_path / "drive")) as stack:
        code, said = in_a_terminal(stack, "--once", "--yes", press=press)

        assert code == 130
        assert "goes on from here" in plain(said)
        assert "Traceback" not in said
        assert stack.processes() == set()


def test_piped_output_is_plain_lines_with_the_summary_as_the_last(tmp_path: Path) -> None:
    """A log of a nightly run must not be full of what moves a cursor."""
    with local_stack(write_many(tmp_path / "drive", 20)) as stack:
        stack.start("--once", "--yes", "--json")
        code = stack.wait()
        output, errors = stack.output(), stack.errors()

    assert code == 0
    assert "\x1b" not in output + errors
    assert "\r" not in output + errors
    assert len(output.splitlines()) == 1
    assert json.loads(output)["files"]["listed"] == 20
    assert "20 files in" in errors
