"""Lists a corpus the first time, and drains its change log ever after.

One holder per corpus and person reads; everybody else leaves word and goes. A page's files are written down (their
names are searchable at once), announced to the streamer and confirmed, and only then does the cursor move: a crash
between any two steps repeats a page and loses nothing. The start token is taken before the first listing begins and
counts from when the listing is exhausted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import functions_framework

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared import log
from shared.adapters.access import Access, pause_if_refused
from shared.adapters.drive import Change, Drive, PageTokenRejected
from shared.adapters.firestore import Cursor, Cursors
from shared.adapters.hold import hold
from shared.adapters.oauth import verify_push_token
from shared.adapters.postgres import Database, Transaction
from shared.adapters.pubsub import Outbox
from shared.adapters.watching import Watching
from shared.config import Settings, settings
from shared.consume import consumes
from shared.domain.errors import FileGone, LongWait, ReconnectNeeded, Rejected, Unavailable
from shared.domain.files import File
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES, MY_DRIVE, SYNC_REQUESTS


@functions_framework.http
@consumes(SyncRequested, verify=verify_push_token)
def change_lister(requested: SyncRequested) -> None:
    """Bring one corpus of one person up to date."""
    Lister(settings(), database(), access().drive(requested.user_id), requested).run()


class Lister:
    """One life of reading one corpus."""

    def __init__(self, config: Settings, database: Database, drive: Drive, requested: SyncRequested) -> None:
        self._config = config
        self._database = database
        self._drive = drive
        self._requested = requested
        self._user_id = requested.user_id
        self._corpus = requested.corpus
        self._cursors = Cursors(config)
        self._outbox = Outbox(config)
        self._watching = Watching(config, database)
        self._ends = time.monotonic() + config.life_seconds

    def run(self) -> None:
        """Take the lease, read to the end or to the end of this life, and give the lease back."""
        cursor = self._cursors.acquire(self._user_id, self._corpus)
        if cursor is None:
            return log.event("left word", user_id=self._user_id, corpus=self._corpus)
        try:
            self._read(cursor)
        except (LongWait, ReconnectNeeded) as wait:
            # Nothing is lost: the cursor stands where it stood, and the sweep or the new consent goes on from there.
            # Word that was left meanwhile has the same answer.
            while not self._cursors.release(cursor, more=isinstance(wait, LongWait)):
                continue
            if isinstance(wait, ReconnectNeeded):
                pause_if_refused(self._database, self._user_id, wait)
            log.event("paused", "WARNING", code=wait.code, reason=wait.reason, user_id=self._user_id)
        except (Unavailable, Rejected):
            self._cursors.release(cursor, more=True)
            raise
        return None

    def _read(self, cursor: Cursor) -> None:
        self._watching.hear(self._user_id, self._corpus)
        try:
            # A census lists everything again; a listing that was begun is ended before the change log is read.
            census = self._requested.reason == SyncRequested.Reason.CENSUS
            listed = bool(cursor.token) and not cursor.start_token and not census
            token = cursor.token if listed else self._list(cursor)
            if token is None:
                return self._hand_over(cursor)
            if self._requested.reason != SyncRequested.Reason.NOTIFIED:
                self._look_around(token)
            while True:
                token, at_end = self._drain(cursor, token)
                if at_end and self._cursors.release(cursor):
                    return None
                if time.monotonic() > self._ends:
                    return self._hand_over(cursor)
        except PageTokenRejected:
            # Drive has forgotten where we were: list everything again. What is unchanged is not read again.
            self._cursors.save(cursor, token="", start_token="", list_token="")
            return self._hand_over(cursor)
        except FileGone:
            if self._corpus == MY_DRIVE:
                raise
            return self._leave(cursor)

    # Listing ----------------------------------------------------------------------------------------------------------

    def _list(self, cursor: Cursor) -> str | None:
        """List everything there is, newest first. The change token to go on from, or None when the life ended first."""
        start, page_token, since = cursor.start_token, cursor.list_token, cursor.listing_since
        if not start:
            start = self._drive.start_page_token(self._corpus)
            page_token, since = "", self._database_clock()
            self._cursors.save(cursor, start_token=start, list_token="", listing_since=since)
            self._look_around(start)
        while True:
            page = self._drive.list_files(page_token or None, corpus=self._corpus)
            self._announce(page.files, FILE_BACKFILL, FileChanged.Reason.LISTED)
            page_token = page.next_page_token or ""
            if not page_token:
                break
            self._cursors.save(cursor, list_token=page_token)
            if time.monotonic() > self._ends:
                return None
        if since is not None and not page.incomplete:
            self._announce_removed(self._unseen_since(since), FileChanged.Reason.LISTED)
        self._cursors.save(cursor, token=start, start_token="", list_token="")
        return start

    def _unseen_since(self, since: datetime) -> list[str]:
        drive_id = None if self._corpus == MY_DRIVE else self._corpus
        rows = self._database.run_transaction(
            self._user_id, lambda tx: tx.rows("files_not_seen_since", since=since, drive_id=drive_id)
        )
        return [row["file_id"] for row in rows]

    # The change log ---------------------------------------------------------------------------------------------------

    def _drain(self, cursor: Cursor, token: str) -> tuple[str, bool]:
        """Read the change log to its end, or until this life ends. Returns where the cursor stands, and whether that
        is the end."""
        while True:
            page = self._drive.changes(token, self._corpus)
            self._take(page.changes)
            token = page.next_page_token or page.new_start_page_token or token
            self._cursors.save(cursor, token=token)
            if page.next_page_token is None or time.monotonic() > self._ends:
                return token, page.next_page_token is None

    def _take(self, changes: Sequence[Change]) -> None:
        there = [change.file for change in changes if change.file is not None and not change.file.trashed]
        gone = [change.file_id for change in changes if change.file_id and (change.file is None or change.file.trashed)]
        self._announce(there, FILE_CHANGES, FileChanged.Reason.CHANGED)
        self._announce_removed(self._live(gone), FileChanged.Reason.CHANGED)
        for change in changes:
            if change.kind == "drive" and change.drive_id and change.drive_id != self._corpus:
                self._ask_for(change.drive_id, SyncRequested.Reason.CONNECTED)
        self._outbox.confirm()

    def _live(self, file_ids: list[str]) -> list[str]:
        if not file_ids:
            return []
        rows = self._database.run_transaction(self._user_id, lambda tx: tx.rows("live_files_of", file_ids=file_ids))
        return [row["file_id"] for row in rows]

    # Both -------------------------------------------------------------------------------------------------------------

    def _announce(self, files: Sequence[File], topic: str, reason: FileChanged.Reason.ValueType) -> None:
        """Write the files down and announce those whose content we do not have yet."""
        if not files:
            return

        def story(tx: Transaction) -> list[dict[str, Any]]:
            hold(tx)
            rows = json.dumps([file.as_row() for file in files])
            return tx.rows("note_files", files=rows, announced_ms=self._requested.announced_ms)

        noted = self._database.run_transaction(self._user_id, story)
        for row in noted:
            if row["state"] == "queued":
                changed = FileChanged(
                    user_id=self._user_id, file_id=row["file_id"], version=row["version"], reason=reason
                )
                self._outbox.publish(topic, changed)
        self._outbox.confirm()

    def _announce_removed(self, file_ids: Iterable[str], reason: FileChanged.Reason.ValueType) -> None:
        for file_id in file_ids:
            self._outbox.publish(
                FILE_CHANGES, FileChanged(user_id=self._user_id, file_id=file_id, removed=True, reason=reason)
            )
        self._outbox.confirm()

    def _look_around(self, token: str) -> None:
        """Keep the corpus announced, and find shared drives that nobody reads yet."""
        self._watching.keep_open(self._user_id, self._corpus, self._drive, token)
        if self._corpus != MY_DRIVE:
            return None
        known = set(self._cursors.corpora(self._user_id))
        try:
            drives = {drive_id for drive_id, _ in self._drive.drives()}
        except Rejected as refusal:  # a server that has none, or an organisation that allows none
            return log.event("no shared drives here", reason=str(refusal), user_id=self._user_id)
        for drive_id in sorted(drives - known):
            self._ask_for(drive_id, SyncRequested.Reason.CONNECTED)
        for drive_id in sorted(known - drives - {MY_DRIVE}):
            self._ask_for(drive_id, SyncRequested.Reason.TICK)  # its lister finds it gone and clears up
        return self._outbox.confirm()

    def _leave(self, cursor: Cursor) -> None:
        """The shared drive is gone or closed to this person: so are its files, each of which Drive is asked about."""
        self._announce_removed(self._unseen_since(self._database_clock()), FileChanged.Reason.CHANGED)
        self._cursors.forget(cursor.user_id, cursor.corpus)
        log.event("left a shared drive", user_id=self._user_id, corpus=self._corpus)

    def _hand_over(self, cursor: Cursor) -> None:
        """This life is over: the next one goes on from the cursor. It must find the lease free; should nobody be told,
        the caretaker finds the cursor busy and without a holder."""
        self._cursors.release(cursor, more=True)
        self._ask_for(self._corpus, SyncRequested.Reason.PAGE)
        self._outbox.confirm()

    def _ask_for(self, corpus: str, reason: SyncRequested.Reason.ValueType) -> None:
        self._outbox.publish(SYNC_REQUESTS, SyncRequested(user_id=self._user_id, corpus=corpus, reason=reason))

    def _database_clock(self) -> datetime:
        row = self._database.run_transaction(self._user_id, lambda tx: tx.row("clock"))
        assert row is not None
        now: datetime = row["now"]
        return now


@cache
def database() -> Database:
    """File rows and grants."""
    return Database(settings(), "drivestream_worker")


@cache
def access() -> Access:
    """Drives of people."""
    return Access(settings(), database())
