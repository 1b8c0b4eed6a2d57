"""`./dev cat FILE_ID`: one file's bytes to standard output, by the streamer's own way of reading Drive.

Native files come as they are exported for reading. What was written is whole and unchanged only if the exit code is 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from infra.local.data_folder import DataFolder
from infra.local.errors import StackError
from infra.local.function import environment_of
from infra.local.options import Parser
from infra.local.outside import add_arguments, drive_at
from infra.local.people import connected_people
from shared.adapters.access import Access
from shared.adapters.drive import Drive, DriveSource
from shared.adapters.oauth import OAuthMisconfigured
from shared.adapters.postgres import Database
from shared.adapters.transport import Refused
from shared.config import SettingsError, read_settings
from shared.domain.errors import DrivestreamError, FileGone, Skipped
from shared.domain.files import File, exports_of, why_not_exported


def main(arguments: list[str] | None = None) -> int:
    """Write the file. 0 only if all of it came and is proved to be what Drive has."""
    parser = Parser(prog="./dev cat", description="One file of a Drive to standard output.", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE_ID")
    add_arguments(parser, required=False)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder of the running local stack")
    chosen = parser.parse_args(arguments)
    if bool(chosen.drive) != bool(chosen.token):
        parser.error("--drive URL and --token T go together")
    try:
        drives = [drive_at(chosen.drive, chosen.token)] if chosen.drive else local_drives(DataFolder(chosen.data))
        write(find(drives, chosen.file))
    except DrivestreamError as error:
        return _sorry(error.reason)
    except (StackError, SettingsError, OAuthMisconfigured, Refused) as error:
        return _sorry(str(error))
    return 0


def local_drives(data: DataFolder) -> Iterator[Drive]:
    """The Drives of everybody who is connected to the running local stack."""
    environment = environment_of(data)
    os.environ.update(environment)  # Google's clients look there for the stand-ins
    config = read_settings(environment)
    people = connected_people(Database(config, "drivestream_caretaker"))
    if not people:
        raise StackError("Nobody is connected to the local stack yet: open its page and click Connect.")
    access = Access(config, Database(config, "drivestream_worker"))
    yield from map(access.drive, people)


def find(drives: Iterable[Drive], file_id: str) -> DriveSource:
    """The file, in the first Drive that shows it. Raises `FileGone` where none does, `Skipped` without bytes."""
    gone: FileGone | None = None
    for drive in drives:
        try:
            return source_of(drive, drive.file(file_id))
        except FileGone as error:
            gone = error
    raise gone or FileGone("There is no Drive to look in.")


def source_of(drive: Drive, file: File) -> DriveSource:
    """A file's bytes; those of its target for a shortcut."""
    if file.is_shortcut and file.target_id:
        file = drive.file(file.target_id, file.target_resource_key)
    if file.is_folder or file.is_shortcut:
        raise Skipped(f"'{file.name}' is a {'folder' if file.is_folder else 'shortcut'}: it has no bytes of its own.")
    refusal = why_not_exported(file)
    if refusal:
        raise Skipped(refusal)
    ladder = exports_of(file)
    return drive.export(file, ladder) if ladder else drive.open(file)


def write(source: DriveSource) -> None:
    """All bytes to standard output. Raises when they are not proved to be the file's."""
    for window in source.windows():
        sys.stdout.buffer.write(window)
    sys.stdout.buffer.flush()
    source.verify()


def _sorry(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
