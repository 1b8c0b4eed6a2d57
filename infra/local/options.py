"""The command line of `./dev local`. What is wrong with it is said in one sentence, before anything is started."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from infra.local.oauth_client import ClientFileError, OAuthClient, read_client

SAMPLE = Path(__file__).parent / "sample_drive"
SWEEP_SECONDS = 60.0
# A Drive elsewhere may have no way to push to this machine, so it is asked more often.
OUTSIDE_SWEEP_SECONDS = 5.0
DATA = Path("data")
GOOGLE_DATA = Path("data-google")  # what was read from the real Google has a folder of its own


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    folder: Path = SAMPLE
    port: int = 8080
    data: Path = DATA
    approve: bool = False  # give consent without a browser
    once: bool = False
    json: bool = False
    drive: str = ""
    token: str = ""
    google: OAuthClient | None = None  # the real Google, with this client
    processes: bool = False
    trace: bool = False  # keep every trace
    database_url: str = ""
    sweep_seconds: float = SWEEP_SECONDS  # 0: never
    environment: Mapping[str, str] = field(default_factory=dict)  # settings of the functions, over the local ones


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: {message.rstrip('.')} ('{self.prog} --help' lists every option).\n")


def port_of(text: str) -> int:
    """A port of the command line."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"give a number from 1 to 65535, not {text!r}")
    return int(text)


def _seconds_of(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"give seconds, or 0 for never, not {text!r}")
    return seconds


def options_of(arguments: Sequence[str]) -> Options:
    """The command line, checked. A wrong word ends the program with one sentence."""
    parser = _parser()
    said = parser.parse_args(arguments)
    if said.folder is not None and said.drive:
        parser.error("choose --folder or --drive, not both")
    if bool(said.drive) != bool(said.token):
        parser.error("--drive URL and --token T go together")
    if said.drive and not _is_address(said.drive):
        parser.error(f"--drive takes an address such as http://127.0.0.1:9000, not {said.drive!r}")
    google = _client_of(parser, said) if said.google else None
    if said.database and not said.database.startswith(("postgresql://", "postgres://")):
        parser.error("--database takes an address such as postgresql://user:password@host:5432/name")
    if said.folder is not None and (fault := _why_unreadable(said.folder)):
        parser.error(fault)
    usual = OUTSIDE_SWEEP_SECONDS if said.drive or google else SWEEP_SECONDS
    return Options(
        folder=(said.folder or SAMPLE).absolute(),
        port=said.port,
        data=(said.data or (GOOGLE_DATA if google else DATA)).absolute(),
        approve=said.yes,
        once=said.once,
        json=said.json,
        drive=said.drive.rstrip("/"),
        token=said.token,
        google=google,
        processes=said.processes,
        trace=said.trace,
        database_url=said.database,
        sweep_seconds=usual if said.sweep is None else said.sweep,
    )


def _parser() -> Parser:
    parser = Parser(
        prog="./dev local",
        description="Reads a folder (or a Drive) as a Google Drive, with all seven functions, on this machine only.",
        allow_abbrev=False,
    )
    parser.add_argument("--folder", type=Path, help="the folder to read as a Drive (default: the sample Drive)")
    parser.add_argument("--port", type=port_of, default=8080, help="the dashboard's port (default: 8080)")
    parser.add_argument(
        "--data", type=Path, help=f"where everything is kept (default: ./{DATA}, with --google ./{GOOGLE_DATA})"
    )
    parser.add_argument("--once", action="store_true", help="sync, wait until all is quiet, print a summary, and end")
    parser.add_argument("--yes", action="store_true", help="give consent without a browser")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on the last line")
    parser.add_argument("--drive", default="", metavar="URL", help="another Drive v3 server instead of a folder")
    parser.add_argument("--token", default="", metavar="T", help="the refresh token for --drive")
    parser.add_argument(
        "--google",
        type=Path,
        metavar="FILE",
        help="the real Google instead of a folder, with the OAuth client in this file (client_secret.json); everything "
        "but sign-in and Drive stays on this machine, and changes are polled",
    )
    parser.add_argument("--processes", action="store_true", help="a process for each function, as deployed")
    parser.add_argument("--trace", action="store_true", help="keep every file's trace, for './dev trace FILE_ID'")
    parser.add_argument("--database", default="", metavar="URL", help="another Postgres (as an administrator)")
    parser.add_argument(
        "--sweep",
        type=_seconds_of,
        metavar="SECONDS",
        help=f"how often to look for changes that no notification announced (default: {SWEEP_SECONDS:.0f}, with "
        f"--drive or --google {OUTSIDE_SWEEP_SECONDS:.0f}; 0: never)",
    )
    return parser


def _client_of(parser: Parser, said: argparse.Namespace) -> OAuthClient:
    """The client of --google. Words that do not go with it, or a file that does not do, end the program."""
    if said.folder is not None or said.drive:
        parser.error("choose --google, --folder or --drive")
    if said.yes:
        parser.error("--yes cannot consent at the real Google: leave it out, open the printed address and connect")
    if said.sweep == 0:
        parser.error("--google needs a --sweep: Google cannot push to this machine, so changes are found by looking")
    try:
        return read_client(said.google, taken=said.port)
    except ClientFileError as error:
        parser.error(str(error))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _why_unreadable(folder: Path) -> str:
    try:
        if not folder.exists():
            return f"there is no folder {str(folder)!r}; give --folder an existing one"
        if not folder.is_dir():
            return f"--folder takes a folder, and {str(folder)!r} is a file"
        if os.access(folder, os.R_OK | os.X_OK):
            return ""
    except PermissionError:  # one of the folders above it is closed
        pass
    return f"the folder {str(folder)!r} may not be read by you; change its permissions, or give another one"
