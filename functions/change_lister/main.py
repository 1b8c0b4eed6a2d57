"""Lists a corpus the first time, and drains its change log ever after.

One holder per corpus and person reads; everybody else leaves word and goes. A page's files are written down (their
names are searchable at once), announced to the streamer and confirmed, and only then does the cursor move: a crash
between any two steps repeats a page and loses nothing. The start token is taken before the first listing begins and
counts from when the listing is exhausted. Between two pages of a listing the log is read from there whenever somebody
left word: an edit made now does not wait for a first sync (docs/decisions/20261127-two-lanes.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import functions_framework

from functions.change_lister.noting import Noting
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.sync_requested_pb2 import SyncRequested
from shared import log, tracing
from shared.adapters.access import Access, pause_if_refused
from shared.adapters.drive import Change, Drive, PageTokenRejected
from shared.adapters.firestore import Cursor, Cursors
from shared.adapters.oauth import verify_push_token
from shared.adapters.postgres import Database
from shared.adapters.pubsub import Outbox
from shared.adapters.watching import Watching
from shared.config import Settings, settings
from shared.consume import consumes
from shared.domain.errors import FileGone, LongWait, ReconnectNeeded, Rejected, Unavailable
from shared.domain.names import BACKFILL, FILE_BACKFILL, FILE_CHANGES, MY_DRIVE, SYNC_REQUESTS
from shared.domain.quota import OverQuota

RESTARTS = 2  # of a listing whose place Drive forgot, in one life
RELISTS = 2  # of a listing for which Drive did not look everywhere
EXPLORED = 50  # pages of folders that were just shared, for each page of changes
_EXHAUSTED = "(exhausted)"  # in place of a listing's next page: every page was noted


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
        self._noting = Noting(config, database, drive, self._user_id, self._corpus, requested.announced_ms)
        self._restarts = 0
        self._changed: list[datetime] = []  # when what the log tells came to be
        self._ends = time.monotonic() + config.life_seconds

    def run(self) -> None:
        """Take the lease, read to the end or to the end of this life, and give the lease back."""
        census = self._requested.reason == SyncRequested.Reason.CENSUS
        cursor = self._cursors.acquire(self._user_id, self._corpus, census=census)
        if cursor is None:
            return log.event("left word")
        try:
            self._read(cursor)
        except (LongWait, ReconnectNeeded) as wait:
            # Nothing is lost: the cursor stands where it stood, and the sweep or the new consent goes on from there.
            # Word that was left meanwhile has the same answer.
            more, seconds = isinstance(wait, LongWait), wait.retry_after or 0.0
            while not self._cursors.release(cursor, more=more, resume_after=seconds):
                continue
            if isinstance(wait, OverQuota):
                self._noting.note_pause(wait, seconds)
            if isinstance(wait, ReconnectNeeded):
                pause_if_refused(self._database, self._user_id, wait)
            log.event("paused", "WARNING", code=wait.code, reason=wait.reason)
        except (Unavailable, Rejected):
            self._cursors.release(cursor, more=True)
            raise
        return None

    def _read(self, cursor: Cursor) -> None:
        self._watching.hear(self._user_id, self._corpus)
        try:
            token = self._listed(cursor)
            if token is None:
                return self._hand_over(cursor)
            if self._requested.reason != SyncRequested.Reason.NOTIFIED:
                self._look_around(token)
            while True:
                done = self._noting.catch_up(self._ends)
                token, at_end = self._drain(cursor, token)
                if at_end:
                    self._listen(token)
                if at_end and self._noting.changed and self._noting.reading.waits():
                    self._noting.reading.forecast()
                if done and at_end and self._cursors.release(cursor):
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

    def _listen(self, token: str) -> None:
        """What a sweep finds although nobody announced it says that a channel is silent."""
        if self._changed and self._requested.reason == SyncRequested.Reason.TICK:
            self._watching.replace_silent(self._user_id, self._corpus, self._drive, token, max(self._changed))
        self._changed.clear()

    def _listed(self, cursor: Cursor) -> str | None:
        """Where the change log is to be read from, after a listing where one is needed. None when the life ended."""
        if cursor.token and not cursor.start_token:
            if not cursor.census:
                return cursor.token
            # What the log tells is no finding of a census.
            _, at_end = self._drain(cursor, cursor.token)
            if not at_end:
                return None
        return self._list(cursor)

    # Listing ----------------------------------------------------------------------------------------------------------

    def _list(self, cursor: Cursor) -> str | None:
        """List everything there is, newest first. The change token to go on from, or None when the life ended first.
        A corpus that was listed before is compared with what we have: a census."""
        start, since, census = cursor.start_token, cursor.listing_since, bool(cursor.token)
        if not start or since is None:
            start, since = self._drive.start_page_token(self._corpus), self._database_clock()
            cursor = replace(cursor, list_token="", incomplete=False, relists=0, fresh_token=start)
            if census:
                self._noting.begin_census(since)
            else:
                self._noting.reading.ask_first()
            self._cursors.save(cursor, start_token=start, listing_since=since, census=False, **_place(cursor))
            self._look_around(start)
            heard = False
        elif self._noting.catch_up(self._ends):
            heard = True  # by this life, or by one that ended before it could answer
        else:
            return None
        while cursor.list_token != _EXHAUSTED:
            if heard:
                self._noting.start_if_due(self._ends)
                fresh, _ = self._drain(cursor, cursor.fresh_token or start, keep="fresh_token")
                cursor = replace(cursor, fresh_token=fresh)
            cursor = self._list_page(cursor, compare=census)
            heard = self._cursors.save(cursor, hear=True, **_place(cursor))
            if time.monotonic() > self._ends:
                return None
        if cursor.incomplete:
            log.event("listing incomplete", "WARNING")
            if not census:  # nothing was there to compare with; that something lacks is to be seen all the same
                self._noting.begin_census(since)
        elif not self._noting.settle_unseen(since, self._ends, compare=census):
            return None
        self._noting.sort_all()
        self._noting.finish_census(incomplete=cursor.incomplete)
        if not census:
            self._noting.reading.forecast()
        token = cursor.fresh_token or start
        self._cursors.save(cursor, token=token, start_token="", list_token="", fresh_token="")
        return token

    def _list_page(self, cursor: Cursor, *, compare: bool) -> Cursor:
        """Note one page; the cursor with the place after it."""
        try:
            with tracing.span("drive listing", "CLIENT", corpus=self._corpus):
                page = self._drive.in_lane(BACKFILL).list_files(
                    cursor.list_token or None, corpus=self._corpus, page_size=self._config.listing_page
                )
        except PageTokenRejected as rejected:
            # A place in a listing is known for some hours only. The start token was taken before, and stands.
            self._restarts += 1
            if not cursor.list_token or self._restarts > RESTARTS:
                raise Unavailable("Drive does not remember its own listing.", code="list_token") from rejected
            log.event("listing begun again", "WARNING")
            return replace(cursor, list_token="")
        self._noting.note(page.files, FILE_BACKFILL, FileChanged.Reason.LISTED, compare=compare)
        incomplete = cursor.incomplete or page.incomplete
        if page.next_page_token:
            return replace(cursor, list_token=page.next_page_token, incomplete=incomplete)
        if incomplete and cursor.relists < RELISTS:
            return replace(cursor, list_token="", incomplete=False, relists=cursor.relists + 1)
        return replace(cursor, list_token=_EXHAUSTED, incomplete=incomplete)

    # The change log ---------------------------------------------------------------------------------------------------

    def _drain(self, cursor: Cursor, token: str, *, keep: str = "token") -> tuple[str, bool]:
        """Read the change log to its end, or until this life ends. Returns where it stands, which the cursor keeps
        under that name, and whether that is the end."""
        while True:
            with tracing.span("drive changes", "CLIENT", corpus=self._corpus):
                page = self._drive.changes(token, self._corpus)
            self._changed += [change.time for change in page.changes if change.time is not None]
            more = self._take(page.changes)
            before, token = token, page.next_page_token or page.new_start_page_token or token
            place: dict[str, Any] = {keep: token} if more else {keep: token, "census": True}
            if token != before or not more:  # where nothing changed there is nothing to write
                self._cursors.save(cursor, **place)
            if page.next_page_token is None or time.monotonic() > self._ends:
                return token, page.next_page_token is None

    def _take(self, changes: Sequence[Change]) -> bool:
        """Note a page of changes. False where more was shared at once than is looked through here: a census does it."""
        there = [change.file for change in changes if change.file is not None and not change.file.trashed]
        gone = [change.file_id for change in changes if change.file_id and (change.file is None or change.file.trashed)]
        reason = FileChanged.Reason.CHANGED
        at = {change.file_id: change.time for change in changes if change.file_id}
        noted = self._noting.note(there, FILE_CHANGES, reason, changed=at)
        self._noting.ask_about(self._noting.live(gone), reason, removed=True)
        folders = [row for row in noted if row["state"] == "folder"]
        back = [row["file_id"] for row in folders if row["state_before"] == "deleted"]
        self._noting.ask_about(self._noting.buried_below(back), reason, removed=False)
        for change in changes:
            if change.kind == "drive" and change.drive_id and change.drive_id != self._corpus:
                self._ask_for(change.drive_id, SyncRequested.Reason.CONNECTED)
        self._outbox.confirm()
        return self._explore(
            row["file_id"]
            for row in folders
            if row["state_before"] in (None, "deleted") and row["owned_by_me"] is False and row["drive_id"] is None
        )

    def _explore(self, folders: Iterable[str]) -> bool:
        """Look into folders that somebody has just shared: of what lies in them, no log says a word. False where that
        is too much for a life."""
        waiting = [(folder, "") for folder in folders]
        for _ in range(EXPLORED):
            if not waiting or time.monotonic() > self._ends:
                break
            folder, page_token = waiting.pop()
            try:
                page = self._drive.list_folder(folder, page_token or None)
            except (FileGone, PageTokenRejected):
                continue
            self._noting.note(page.files, FILE_CHANGES, FileChanged.Reason.CHANGED)
            waiting += [(file.id, "") for file in page.files if file.is_folder]
            if page.next_page_token:
                waiting.append((folder, page.next_page_token))
        return not waiting

    # Both -------------------------------------------------------------------------------------------------------------

    def _look_around(self, token: str) -> None:
        """Keep the corpus announced, and find shared drives that nobody reads yet."""
        self._watching.keep_open(self._user_id, self._corpus, self._drive, token)
        if self._corpus != MY_DRIVE:
            return None
        known = set(self._cursors.corpora(self._user_id))
        try:
            drives = {drive_id for drive_id, _ in self._drive.drives()}
        except Rejected as refusal:  # a server that has none, or an organisation that allows none
            return log.event("no shared drives here", reason=str(refusal))
        for drive_id in sorted(drives - known):
            self._ask_for(drive_id, SyncRequested.Reason.CONNECTED)
        asked = known - drives - {MY_DRIVE}  # their listers find them gone and clear up
        if self._requested.reason == SyncRequested.Reason.CONNECTED:
            asked |= known & drives  # whoever connects again has missed what happened in them meanwhile
        for drive_id in sorted(asked):
            self._ask_for(drive_id, SyncRequested.Reason.TICK)
        return self._outbox.confirm()

    def _leave(self, cursor: Cursor) -> None:
        """The shared drive is gone or closed to this person: so are its files, each of which Drive is asked about."""
        unseen = [row["file_id"] for row in self._noting.unseen(self._database_clock())]
        self._noting.ask_about(unseen, FileChanged.Reason.CHANGED, removed=True)
        self._cursors.forget(cursor.user_id, cursor.corpus)
        log.event("left a shared drive")

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


def _place(cursor: Cursor) -> dict[str, Any]:
    names = ("list_token", "incomplete", "relists", "fresh_token")
    return {name: getattr(cursor, name) for name in names}


@cache
def database() -> Database:
    """File rows and grants."""
    return Database(settings(), "drivestream_worker")


@cache
def access() -> Access:
    """Drives of people."""
    return Access(settings(), database())
