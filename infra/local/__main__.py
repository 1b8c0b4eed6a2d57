"""`./dev local`: everything on one machine, from one folder, with one command."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from infra.local.errors import StackError, Stopped
from infra.local.options import Options, options_of

if TYPE_CHECKING:
    from infra.local.progress import Snapshot, Watch
    from infra.local.stack import Stack
    from infra.local.terminal import Terminal

GO_ON = "The same command goes on from here."
_LOOK_SECONDS = 0.5
_IDLE_LOOK_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop, or once. With --once the exit code is 0 only when every file is accounted for."""
    began = time.monotonic()
    options = options_of(sys.argv[1:] if arguments is None else arguments)
    stopping = _stop_when_told()
    from infra.local.terminal import Terminal, own_stdout

    out = own_stdout()
    terminal = Terminal(sys.stderr if options.json else out)
    try:
        return Run(options, terminal, out, stopping, began).run()
    except Stopped:
        terminal.say(f"Stopped. {GO_ON}")
        return 130 if options.once else 0
    except StackError as error:
        return _complain(terminal, str(error))
    except OSError as error:
        return _complain(terminal, f"The machine does not let it go on: {error}.")


class Run:
    """One run, from the start of the stack to its end."""

    def __init__(
        self, options: Options, terminal: Terminal, out: TextIO, stopping: threading.Event, began: float
    ) -> None:
        self._options = options
        self._terminal = terminal
        self._out = out
        self._stopping = stopping
        self._began = began

    def run(self) -> int:
        """Start, connect, watch, and stop. Raises `StackError`, or `Stopped` when told to end before the end."""
        self._terminal.say("Drivestream is starting")
        from infra.local.data_folder import Log
        from infra.local.stack import Stack

        stack = Stack(self._options, self._terminal.say, self._stopping)
        try:
            stack.start()
            # The functions' JSON lines go to a file, to the end of the process: requests that are under way while the
            # stack stops would else speak after the summary, which is the last line for programs.
            sys.stdout = Log(stack.data.logs / "functions.log")
            return self._follow(stack)
        finally:
            self._terminal.close()
            stack.stop()

    def _follow(self, stack: Stack) -> int:
        from infra.local.progress import Watch
        from infra.local.scheduler import Scheduler
        from shared.config import settings
        from shared.domain.errors import DrivestreamError

        try:
            watch = Watch(settings(), stack)
            scheduler = Scheduler(self._options.sweep_seconds)
            scheduler.start()
            try:
                self._terminal.say(f"Ready after {time.monotonic() - self._began:.1f} s: {stack.address}/")
                self._sign_in(stack, watch)
                return self._once(stack, watch) if self._options.once else self._for_ever(stack, watch)
            finally:
                scheduler.stop()
        except (DrivestreamError, StackError) as error:
            stack.tend()  # says which part has died, if that is why
            if isinstance(error, StackError):
                raise
            raise StackError(f"It cannot go on: {error.reason} {GO_ON}") from error

    def _sign_in(self, stack: Stack, watch: Watch) -> None:
        from infra.local import people
        from shared.config import settings

        session, kept = None, stack.data.path / "session"
        if self._options.drive:
            user_id = people.connect_by_refresh_token(settings(), self._options.token)
            session = people.sign_in(settings(), user_id)
        elif self._options.approve:
            there = stack.google.index.layout.person  # another folder may be the Drive of other people
            known = people.kept_session(kept.read_text(), settings(), there) if kept.exists() else None
            session = known or people.connect_by_browser_pages(settings())
        if session:
            stack.data.write_private("session", f"session={session}\n")
            self._terminal.say(f"Signed in; for programs: curl -b \"$(cat '{kept}')\" {stack.address}/api/status")
        elif not watch.people():
            otherwise = "" if self._options.google else " (or give --yes to connect without a browser)"
            self._terminal.say(f"Open the address and click Connect{otherwise}.")

    def _once(self, stack: Stack, watch: Watch) -> int:
        """Until everything is read and quiet; twice quiet, since a notification may just be on its way."""
        follower = Follower(self._terminal, stack, watch, until_quiet=True)
        snapshot, quiet_looks = follower.look(), 0
        while quiet_looks < 2:
            if self._stopping.wait(_LOOK_SECONDS):
                raise Stopped
            snapshot = follower.look()
            at_rest = snapshot.at_rest and watch.idle() and bool(watch.people())
            quiet_looks = quiet_looks + 1 if at_rest and watch.quiet() else 0
        self._terminal.finish(snapshot)
        summary = watch.summary()
        self._terminal.summary(summary, watch.reasons())
        if self._options.json:
            from infra.local.terminal import Terminal

            Terminal(self._out).json(summary)
        files = summary["files"]
        return 0 if files["listed"] == sum(files[one] for one in ("indexed", "unchanged", "skipped", "failed")) else 1

    def _for_ever(self, stack: Stack, watch: Watch) -> int:
        """Until told to stop. What moves is shown while it moves."""
        from infra.local.terminal import in_words

        follower = Follower(self._terminal, stack, watch, until_quiet=False)
        said, pause = "", 0.0
        while not self._stopping.wait(pause):
            snapshot = follower.look()
            at_rest = snapshot.at_rest and watch.idle()
            pause = _IDLE_LOOK_SECONDS if at_rest else _LOOK_SECONDS
            words = f"{snapshot.files['listed']} files: {in_words(snapshot.files)}."
            if at_rest and watch.people() and words != said:
                said = words
                self._terminal.finish(snapshot)
                self._terminal.say(f"{words} Changes are followed until Ctrl-C.")
        raise Stopped


class Follower:
    """Looks at the stack, shows what moves, and says what is waited for when nothing does."""

    def __init__(self, terminal: Terminal, stack: Stack, watch: Watch, *, until_quiet: bool) -> None:
        from infra.local.progress import Still

        self._terminal = terminal
        self._until_quiet = until_quiet
        self._stack = stack
        self._watch = watch
        self._still = Still()

    def look(self) -> Snapshot:
        """The state now. Raises `StackError` when a part of the stack has died."""
        self._stack.tend()
        snapshot = self._watch.look()
        waiting = self._until_quiet or not snapshot.at_rest
        if waiting:
            self._terminal.show(snapshot)
        seconds = self._still.noticed(snapshot)
        if waiting and seconds is not None:
            self._terminal.say(f"Nothing has moved for {seconds:.0f} s. Waiting for: {self._watch.waiting_for()}.")
        return snapshot


def _stop_when_told() -> threading.Event:
    """Set by Ctrl-C, by `kill`, or when the terminal is closed. A second one ends the program at once."""
    stopping = threading.Event()

    def stop(number: int, _: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # whatever is left ends with this process or at the next start
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return stopping


def _complain(terminal: Terminal, sentence: str) -> int:
    terminal.close()
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    code = main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What must survive is on the disk. Threads of libraries that still wait for an answer would hold us for a minute.
    os._exit(code)
