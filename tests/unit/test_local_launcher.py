"""What keeps `./dev local` honest between its parts: logs that end, silence that is noticed, a folder of its own."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from infra.local.__main__ import Run
from infra.local.data_folder import DataFolder, Log
from infra.local.errors import StackError
from infra.local.options import options_of
from infra.local.progress import Still
from infra.local.stack import Stack
from infra.local.terminal import Terminal, own_stdout
from shared import log
from shared.readers import Limits, images


def test_a_log_begins_anew_when_it_is_full_and_keeps_the_one_before(tmp_path: Path) -> None:
    """A stack that runs for weeks must not fill the disk with its log."""
    path = tmp_path / "functions.log"

    with Log(path, most_bytes=100) as log:
        for number in range(30):
            log.write(f"line {number:02}\n")

    assert path.stat().st_size <= 100
    assert path.with_name("functions.log.old").stat().st_size <= 100
    assert path.read_text().endswith("line 29\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["functions.log", "functions.log.old"]


def test_a_log_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    """What was said before a crash is what explains it."""
    for words in ("before\n", "after\n"):
        with Log(tmp_path / "log") as log:
            log.write(words)

    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_a_thread_may_speak_after_the_log_is_closed(tmp_path: Path) -> None:
    """Requests that are under way at the end must not fail because of a line."""
    log = Log(tmp_path / "log")
    log.close()

    log.write("last words\n")

    assert (tmp_path / "log").read_text() == ""


def test_nothing_follows_the_summary_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Programs read the last line of `--once --json`; requests under way while the stack stops still log theirs."""
    monkeypatch.setattr(Stack, "start", lambda self: self.data.open())
    monkeypatch.setattr(Stack, "stop", lambda self: log.event("listed while it stops"))
    monkeypatch.setattr(Run, "_follow", lambda self, stack: self._out.write('{"files": {}}\n') and 0)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    out = own_stdout()

    Run(options_of(["--data", str(tmp_path)]), Terminal(sys.stderr), out, threading.Event(), time.monotonic()).run()
    log.event("listed after it")

    assert capfd.readouterr().out == '{"files": {}}\n'
    assert (tmp_path / "logs" / "functions.log").read_text().count("listed") == 2
    out.close()
    sys.stdout.close()


def test_silence_is_noticed_again_and_again_until_something_moves() -> None:
    """A run that hangs says so, once a minute and not once a look."""
    now = 0.0
    still = Still(60.0, lambda: now)
    noticed = []

    for second in range(200):
        now = float(second)
        noticed.append(still.noticed("moved" if second >= 130 else "the same"))

    assert [second for second, seconds in enumerate(noticed) if seconds is not None] == [60, 120, 190]


def test_one_stack_at_a_time_has_the_folder_of_data(tmp_path: Path) -> None:
    """Two would write into each other's files."""
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    first.open()

    assert second.in_use()
    with pytest.raises(StackError, match="Another Drivestream is running"):
        second.open()
    first.close()
    assert not second.in_use()
    second.open()
    second.close()


def test_ports_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    """A channel of yesterday still pushes to the address that it was given."""
    chosen = []
    for _ in range(2):
        folder = DataFolder(tmp_path / "data")
        folder.open()
        chosen.append(folder.choose_ports("google", "drive_webhook", taken=[1]))
        folder.close()

    assert chosen[0] == chosen[1]
    assert len(set(chosen[0].values())) == 2


@pytest.mark.parametrize(("first", "then", "words"), [
    ("", "client", "from another Drive"), ("client", "", "from Google"), ("client", "other", "another OAuth client"),
])  # fmt: skip
def test_data_of_the_real_google_is_shown_to_no_other(tmp_path: Path, first: str, then: str, words: str) -> None:
    """A grant of somebody's real account must not be sent to a stand-in, nor to whatever --drive names."""
    folder = DataFolder(tmp_path / "data")
    folder.open()
    folder.belong_to(first)
    folder.choose_ports("google", taken=[1])
    folder.close()
    folder.open()

    folder.belong_to(first)
    with pytest.raises(StackError, match=words):
        folder.belong_to(then)
    folder.close()


def test_a_folder_of_data_that_nobody_has_used_may_be_anybodys(tmp_path: Path) -> None:
    """A start that failed before anything was read decides nothing."""
    folder = DataFolder(tmp_path / "data")
    for client in ("client", "", "other"):
        folder.open()
        folder.belong_to(client)
        folder.belong_to(client)
        folder.close()


def test_what_is_private_is_written_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    """A session is as good as a password."""
    folder = DataFolder(tmp_path / "data")
    folder.open()

    path = folder.write_private("session", "session=secret\n")

    assert path.read_text() == "session=secret\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(folder.path.glob("*.new"))
    folder.close()


def test_ctrl_c_does_not_reach_what_reads_a_pdf() -> None:
    """The terminal signals a whole group; a reader that dies of it would leave its file skipped as too heavy."""
    child = images.Child(Limits())
    try:
        assert os.getpgid(child.pid) != os.getpgid(0)
    finally:
        child.end()
