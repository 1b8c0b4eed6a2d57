"""What Drive says of many files, written down and announced: one page at a time, each page in one transaction.

What lies outside the folders that the person selected is written down too, with that reason, and is no work. To know
where a file lies takes the folders above it: Postgres has those that were listed, and Drive is asked for the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from functions.change_lister.reading import Reading
from schemas.messages.file_changed_pb2 import FileChanged
from shared import log, tracing
from shared.adapters.drive import Drive
from shared.adapters.firestore import FileMetadata, KnownFile
from shared.adapters.hold import hold
from shared.adapters.postgres import Database, Transaction
from shared.adapters.pubsub import Outbox
from shared.config import Settings
from shared.domain.files import FOLDER, SHORTCUT, File
from shared.domain.names import BACKFILL, FILE_BACKFILL, FILE_CHANGES, FRESH, MY_DRIVE, OCR
from shared.domain.quota import OverQuota

Row = dict[str, Any]

SORTED = 10_000  # files of one transaction when the selection has changed
ASKED = 1_000  # files about which Drive is asked between two looks at the clock


class Noting:
    """The file rows of one person, as one corpus tells of them."""

    def __init__(
        self, config: Settings, database: Database, drive: Drive, user_id: str, corpus: str, announced_ms: int
    ) -> None:
        self._database = database
        self._drive = drive
        self._user_id = user_id
        self._corpus = corpus
        self._announced_ms = announced_ms
        self._outbox = Outbox(config)
        self._metadata = FileMetadata(config)
        self.reading = Reading(config, database, user_id, corpus)
        self.changed = False  # something was written down in this life

    @property
    def _drive_id(self) -> str | None:
        return None if self._corpus == MY_DRIVE else self._corpus

    # A page -----------------------------------------------------------------------------------------------------------

    def note(
        self,
        files: Sequence[File],
        topic: str,
        reason: FileChanged.Reason.ValueType,
        *,
        changed: Mapping[str, datetime | None] | None = None,
        listed: bool = True,
        compare: bool = False,
    ) -> list[Row]:
        """Write the files down and announce those whose content we do not have yet. `changed` says when each came to
        be so, `listed` is False for files that were asked for by name, and `compare` writes down what is not as Drive
        says. Returns each row with what was known of it before."""
        if not files:
            return []
        drive = self._drive.in_lane(BACKFILL if topic == FILE_BACKFILL else FRESH)
        above = self._folders_above(files, drive) if self._selects() else []

        def story(tx: Transaction) -> list[Row]:
            hold(tx)
            if compare:
                self._compare(tx, files)
            noted = list[Row]()
            pages = (
                (above, False),
                ([file for file in files if file.is_folder], listed),
                ([file for file in files if not file.is_folder], listed),
            )
            for some, among in pages:  # folders first: where a file lies is looked up in their rows
                if some:
                    rows = _rows(some, changed or {})
                    noted += tx.rows("note_files", files=rows, announced_ms=self._announced_ms, listed=among)
            return noted

        with tracing.span("note files", "CLIENT", files=len(files)):
            noted = self._database.run_transaction(self._user_id, story)
        self.changed = True
        if any(row["state"] == "folder" and row["moved"] and row["state_before"] for row in noted) and self._selects():
            self.sort()
        self._follow(files, {row["file_id"] for row in noted if row["state"] == "queued"}, topic, drive)
        self.announce(noted, topic, reason)
        return noted

    def announce(self, rows: Iterable[Row], topic: str, reason: FileChanged.Reason.ValueType) -> None:
        """Have read what is queued, and wait until the broker has it. Of a first sync, pictures come last: what is in
        them must be recognised. Each file has a trace: a file alone this one, and each of many its own.
        Of a person who is asked first, everything stays as it is."""
        if self.reading.waits():
            return
        queued = [row for row in rows if row["state"] == "queued"]
        for row in queued:
            with nullcontext() if len(queued) == 1 else tracing.apart("announced", file_id=row["file_id"]):
                lane = {"lane": OCR} if topic == FILE_BACKFILL and (row["mime_type"] or "").startswith("image/") else {}
                self._outbox.publish(
                    topic,
                    FileChanged(user_id=self._user_id, file_id=row["file_id"], version=row["version"], reason=reason),
                    **lane,
                )
        self._outbox.confirm()

    def ask_about(self, file_ids: Iterable[str], reason: FileChanged.Reason.ValueType, *, removed: bool) -> None:
        """Have Drive asked what became of each of these files."""
        for file_id in dict.fromkeys(file_ids):
            self._outbox.publish(
                FILE_CHANGES, FileChanged(user_id=self._user_id, file_id=file_id, removed=removed, reason=reason)
            )
        self._outbox.confirm()

    def live(self, file_ids: list[str]) -> list[str]:
        """Which of these we believe to be there, and, where a folder is among them, all that lies below it: no log
        tells of that."""
        if not file_ids:
            return []

        def story(tx: Transaction) -> list[str]:
            rows = tx.rows("live_files_of", file_ids=file_ids)
            folders = [row["file_id"] for row in rows if row["state"] == "folder"]
            return [row["file_id"] for row in rows] + (_below(tx, folders, deleted=False) if folders else [])

        return self._database.run_transaction(self._user_id, story)

    def buried_below(self, folders: list[str]) -> list[str]:
        """What lay in these folders when it was deleted with them."""
        if not folders:
            return []
        return self._database.run_transaction(self._user_id, lambda tx: _below(tx, folders, deleted=True))

    def _follow(self, files: Sequence[File], queued: set[str], topic: str, drive: Drive) -> None:
        """What shortcuts lead to, where Drive does not list it for this person: a hundred at a time, so that the
        streamer need not ask about each. It asks about those that are not found here."""
        wanted = {
            file.target_id: file.target_resource_key
            for file in files
            if file.id in queued and file.target_id and file.target_mime_type not in (FOLDER, SHORTCUT)
        }
        if not wanted:
            return
        known = set(self.live(list(wanted)))
        found = drive.files({name: key for name, key in wanted.items() if name not in known})
        targets = [file for file in found.values() if file and not (file.trashed or file.is_folder or file.is_shortcut)]

        def story(tx: Transaction) -> None:
            hold(tx)
            for target in targets:
                tx.row(
                    "note_target",
                    file_id=target.id,
                    title=target.name,
                    mime_type=target.mime_type,
                    resource_key=wanted[target.id] or target.resource_key,
                )

        if targets:
            self._database.run_transaction(self._user_id, story)
            self.announce(
                ({**target.as_row(), "state": "queued"} for target in targets),
                topic,
                FileChanged.Reason.LISTED,
            )

    def note_pause(self, why: OverQuota, seconds: float) -> None:
        """The listing waits: the person may ask why nothing comes."""

        def story(tx: Transaction) -> None:
            hold(tx)
            tx.run("note_pause", corpus=self._corpus, seconds=seconds, code=why.code, reason=why.reason)

        self._database.run_transaction(self._user_id, story)

    # What waits ----------------------------------------------------------------------------------------------------

    def catch_up(self, ends: float) -> bool:
        """Put to work what the person has asked for meanwhile: to begin reading, or to read other folders. False where
        there is more to do and no time left."""
        return self.start_if_due(ends) and self.sort_if_due(ends)

    def start_if_due(self, ends: float) -> bool:
        """Where the person has said that reading may begin, put to work what waits for that. False where no time is
        left for all of it."""

        def announce(rows: list[Row]) -> None:
            self.announce(rows, FILE_BACKFILL, FileChanged.Reason.LISTED)

        return self.reading.start_if_due(ends, announce)

    # Selected folders -------------------------------------------------------------------------------------------------

    def sort_if_due(self, ends: float) -> bool:
        """Where the person selected other folders, sort every file by them. False where there is more to do and no
        time left."""
        chosen = self._selection()
        return not (chosen and chosen["folders_due"]) or self.sort(ends)

    def sort(self, ends: float | None = None) -> bool:
        """Sort every file by the selected folders: content outside leaves, content inside arrives."""
        while True:
            rows = self._database.run_transaction(self._user_id, _sort)
            self.announce(rows, FILE_BACKFILL, FileChanged.Reason.LISTED)
            if rows:
                self.changed = True
                log.event("sorted by folders", files=len(rows))
            if len(rows) < SORTED:
                return True
            if ends is not None and time.monotonic() > ends:
                return False

    def sort_all(self) -> None:
        """After a listing every folder is known; files that came before their folders are sorted again."""
        if self._selects():
            self.sort()

    def _selects(self) -> bool:
        chosen = self._selection()
        return bool(chosen and chosen["selected_folders"])

    def _selection(self) -> Row | None:
        return self._database.run_transaction(self._user_id, lambda tx: tx.row("selection"))

    def _folders_above(self, files: Sequence[File], drive: Drive) -> list[File]:
        """Folders above these files of which nobody has heard yet, such as one that a later page lists."""
        found: list[File] = []
        told = {file.id for file in files if file.is_folder}
        above = {parent for file in files for parent in file.parents} - told
        while above := set(self._unknown(above)):
            told |= above
            hidden = {name for name, known in self._metadata.read(self._user_id, above).items() if not known.there}
            answers = drive.files(dict.fromkeys(sorted(above - hidden)))
            self._metadata.store(self._user_id, [_known(name, file) for name, file in answers.items()])
            folders = [file for file in answers.values() if file is not None and file.is_folder]
            found += folders
            above = {parent for folder in folders for parent in folder.parents} - told
        return found

    def _unknown(self, folders: Iterable[str]) -> list[str]:
        asked = sorted(folders)
        if not asked:
            return []
        rows = self._database.run_transaction(self._user_id, lambda tx: tx.rows("unknown_folders", folders=asked))
        return [row["folder"] for row in rows]

    # Comparing --------------------------------------------------------------------------------------------------------

    def begin_census(self, since: datetime) -> None:
        """From here on it is written down what is not as Drive says."""

        def story(tx: Transaction) -> None:
            hold(tx)
            tx.run("begin_census", corpus=self._corpus, began_at=since)
            tx.run("forget_findings", corpus=self._corpus)

        self._database.run_transaction(self._user_id, story)

    def finish_census(self, *, incomplete: bool) -> None:
        """Everything that Drive lists has been compared."""

        def story(tx: Transaction) -> Row | None:
            hold(tx)
            return tx.row("finish_census", corpus=self._corpus, drive_id=self._drive_id, incomplete=incomplete)

        row = self._database.run_transaction(self._user_id, story)
        if row:
            right = 1 - row["findings"] / max(1, row["compared"])
            log.event("census", incomplete=incomplete, right=max(0.0, round(right, 6)), **row)

    def _compare(self, tx: Transaction, files: Sequence[File]) -> None:
        found = tx.rows("compare_page", corpus=self._corpus, files=_rows(files, {}))
        stale = [row["file_id"] for row in found if row["finding"] == "stale"]
        if stale:
            tx.run("reopen_stale", file_ids=stale)

    def unseen(self, since: datetime) -> list[Row]:
        """What a whole listing has not shown since it began."""
        return self._database.run_transaction(
            self._user_id, lambda tx: tx.rows("files_not_seen_since", since=since, drive_id=self._drive_id)
        )

    def settle_unseen(self, since: datetime, ends: float, *, compare: bool) -> bool:
        """Ask Drive about what a listing did not show: what is there all the same, such as a file that moved to another
        drive, is noted as it is; the rest is removed. False where no time is left for all of them."""
        rows = self.unseen(since)
        for at in range(0, len(rows), ASKED):
            if at and time.monotonic() > ends:
                return False
            some = rows[at : at + ASKED]
            answers = self._drive.in_lane(BACKFILL).files({row["file_id"]: row["resource_key"] for row in some})
            there = [file for file in answers.values() if file is not None and not file.trashed]
            gone = [name for name, file in answers.items() if file is None or file.trashed]
            self.note(there, FILE_BACKFILL, FileChanged.Reason.LISTED, listed=False)
            if gone and compare:
                self._note_surplus(gone)
            self.ask_about(gone, FileChanged.Reason.LISTED, removed=True)
        return True

    def _note_surplus(self, gone: list[str]) -> None:
        def story(tx: Transaction) -> None:
            hold(tx)
            tx.run("note_surplus", corpus=self._corpus, file_ids=gone)

        self._database.run_transaction(self._user_id, story)


def _sort(tx: Transaction) -> list[Row]:
    hold(tx)
    rows = tx.rows("rescope", most=SORTED)
    if len(rows) < SORTED:
        tx.run("selection_applied")
    return rows


def _below(tx: Transaction, folders: list[str], *, deleted: bool) -> list[str]:
    return [row["file_id"] for row in tx.rows("files_below", folders=folders, deleted=deleted)]


def _rows(files: Iterable[File], changed: Mapping[str, datetime | None]) -> str:
    def row(file: File) -> Row:
        at = changed.get(file.id)
        return {**file.as_row(), "changed_at": at.isoformat() if at else None}

    return json.dumps([row(file) for file in files])


def _known(file_id: str, file: File | None) -> KnownFile:
    if file is None:
        return KnownFile(file_id, there=False)
    return KnownFile(
        file_id, True, file.name, file.mime_type, file.parents, file.drive_id, file.content_key, file.version
    )
