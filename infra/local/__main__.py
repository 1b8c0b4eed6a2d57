"""`./dev local`: everything on one machine, from one folder, with one command."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from infra.local.errors import StackError
from infra.local.stack import SAMPLE, Options, Stack


def options_of(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked. A wrong word ends in one sentence."""
    parser = argparse.ArgumentParser(
        prog="./dev local",
        description="Reads a folder (or a Drive) as a Google Drive, with all seven functions, on this machine only.",
        allow_abbrev=False,
    )
    parser.add_argument("--folder", type=Path, default=None, help="the folder to read as a Drive (default: the sample)")
    parser.add_argument("--port", type=int, default=8080, help="the dashboard's port (default: 8080)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where everything is kept (default: ./data)")
    parser.add_argument("--once", action="store_true", help="sync, wait until all is quiet, print a summary, and end")
    parser.add_argument("--yes", action="store_true", help="give consent without a browser")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on the last line")
    parser.add_argument("--drive", default="", metavar="URL", help="another Drive v3 server instead of a folder")
    parser.add_argument("--token", default="", metavar="T", help="the refresh token for --drive")
    parser.add_argument("--processes", action="store_true", help="a process for each function, as deployed")
    parser.add_argument("--database", default="", metavar="URL", help="another Postgres (as an administrator)")
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None and chosen.drive:
        parser.error("choose --folder or --drive, not both")
    if bool(chosen.drive) != bool(chosen.token):
        parser.error("--drive URL and --token T go together")
    if chosen.drive and not chosen.drive.startswith(("http://", "https://")):
        parser.error(f"--drive takes an address that begins with http:// or https://, not {chosen.drive!r}")
    if not 1 <= chosen.port <= 65535:
        parser.error(f"--port takes a number from 1 to 65535, not {chosen.port}")
    if chosen.folder is not None and not chosen.folder.is_dir():
        parser.error(f"there is no folder {str(chosen.folder)!r}; give --folder an existing folder")
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop, or once. The exit code is 0 only when every file is accounted for."""
    chosen = options_of(sys.argv[1:] if arguments is None else arguments)
    # A line to standard error at once: what comes next takes a second of imports.
    if not chosen.json:
        print("Drivestream is starting", flush=True)
    from infra.local.progress import Terminal, own_stdout

    out = own_stdout()
    terminal = Terminal(sys.stderr if chosen.json else out)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    options = Options(
        folder=(chosen.folder or SAMPLE).absolute(),
        port=chosen.port,
        data=chosen.data.absolute(),
        approve=chosen.yes,
        processes=chosen.processes,
        drive=chosen.drive,
        database_url=chosen.database,
    )
    stack = Stack(options, terminal.say)
    try:
        return run(stack, chosen, terminal, Terminal(out), stop)
    except StackError as error:
        terminal.close()
        print(error, file=sys.stderr)
        return 1
    finally:
        terminal.close()
        stack.stop()


def run(stack: Stack, chosen: argparse.Namespace, terminal, printer, stop: threading.Event) -> int:  # type: ignore[no-untyped-def]
    """Start, connect, and watch."""
    from infra.local import people
    from infra.local.progress import Watch
    from infra.local.scheduler import EVERY_SECONDS, Scheduler
    from shared.config import settings

    began = time.monotonic()
    stack.start()
    logs = (stack.options.data / "logs" / "functions.log").open("a", encoding="utf-8", errors="replace")
    sys.stdout = logs  # the functions' JSON lines; a person's lines go to the terminal
    config = settings()
    watch = Watch(config, stack)
    # A Drive elsewhere may have no way to push to this machine, so it is asked more often.
    scheduler = Scheduler({**EVERY_SECONDS, "sweep": 10.0} if chosen.drive else EVERY_SECONDS)
    scheduler.start()
    try:
        terminal.say(f"Ready after {time.monotonic() - began:.1f} s: {stack.address}/")
        session = None
        if chosen.drive:
            session = people.sign_in(config, people.connect_by_refresh_token(config, chosen.token))
        elif chosen.yes:
            session = people.kept_session(stack.options.data, config) or people.connect_by_browser_pages(config)
        if session:
            kept = people.keep_session(stack.options.data, session)
            terminal.say(f"Signed in; for programs: curl -b \"$(cat '{kept}')\" {stack.address}/api/status")
        elif not watch.people():
            terminal.say("Open the address and click Connect.")
        return _watch(watch, chosen, terminal, printer, stop)
    finally:
        scheduler.stop()
        sys.stdout = sys.__stdout__
        logs.close()


def _watch(watch, chosen, terminal, printer, stop) -> int:  # type: ignore[no-untyped-def]
    quiet_looks = 0
    shown = None
    while not stop.wait(0.3):
        snapshot = watch.look()
        state = (snapshot.files, snapshot.bytes)
        if chosen.once or state != shown:
            terminal.show(snapshot)
            shown = state
        if not chosen.once or not watch.people():
            continue
        quiet_looks = quiet_looks + 1 if watch.quiet() else 0
        if quiet_looks >= 2:
            break
    else:
        if chosen.once:
            terminal.say("Stopped before everything was read; the same command goes on from here.")
            return 130
        terminal.close()
        terminal.say("Stopped. The same command goes on from here.")
        return 0
    terminal.close()
    summary = watch.summary()
    if chosen.json:
        printer.json(summary)
    else:
        terminal.summary(summary)
    files = summary["files"]
    whole = files["listed"] == sum(files[state] for state in ("indexed", "unchanged", "skipped", "failed"))
    return 0 if whole else 1


if __name__ == "__main__":
    raise SystemExit(main())
