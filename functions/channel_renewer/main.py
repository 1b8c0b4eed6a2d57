"""The caretaker: what must happen although nobody asks for it.

renew    channels that end soon, new before old
sweep    a drain for every person, in case a notification was lost; and how everything is, in numbers, for the log
reap     waiting work whose time has come, leases that ended by themselves, messages that were lost
purge    passages of revisions that nobody wants any more
erase    a person asked to be forgotten
bury     dead letters: the file is `failed`, with the reason and a next try, so that no state lies

Every duty is a scan that may run twice, late or not at all without harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import functions_framework

from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.file_chunk_pb2 import FileChunk
from schemas.messages.sync_requested_pb2 import SyncRequested
from schemas.messages.tick_pb2 import Tick
from shared import log, tracing
from shared.adapters import oauth
from shared.adapters.access import Access
from shared.adapters.firestore import Channels, Connections, Cursors
from shared.adapters.postgres import Database, Transaction
from shared.adapters.pubsub import Outbox
from shared.adapters.watching import Watching
from shared.config import Settings, settings
from shared.consume import Delivery, consumes_deliveries, parse, subject
from shared.domain.errors import BadRequest, DrivestreamError, ReconnectNeeded, Rejected, Unavailable
from shared.domain.names import DEAD_LETTERS, FILE_BACKFILL, FILE_CHANGES, FRESH, MY_DRIVE, SYNC_REQUESTS, receipt_id
from shared.domain.prices import dollars_for, price_table
from shared.domain.quota import DOWNLOAD, READ

PURGED = 50  # jobs of one transaction
MOST = 500  # rows of one scan; what is left is found by the next tick
RETRY_SECONDS = 3600.0
GRACE_SECONDS = 60.0
LOST_SECONDS = 900.0  # a message that is on its way for longer is lost
# What a project may take from Drive in a day (UTC), https://developers.google.com/workspace/drive/api/guides/limits
DAILY_QUOTA = {"drive_bytes": 10**12, "drive_units": 400_000_000}
OPENING = timedelta(seconds=25)  # a channel that Drive has not told of by now was not opened
_DEAD = "CloudPubSubDeadLetterSourceSubscription"


@functions_framework.http
@consumes_deliveries(verify=oauth.verify_push_token)
def channel_renewer(delivery: Delivery) -> None:
    """A tick of the clock, or a dead letter."""
    caretaker = Caretaker(settings(), database(), access())
    if _DEAD in delivery.attributes or delivery.subscription == DEAD_LETTERS:
        return caretaker.bury(delivery)
    tick = parse(Tick, delivery.data)
    log.bind(duty=Tick.Duty.Name(tick.duty).lower())
    duties: Mapping[Tick.Duty.ValueType, Callable[[], None]] = {
        Tick.Duty.RENEW: caretaker.renew,
        Tick.Duty.SWEEP: caretaker.sweep,
        Tick.Duty.REAP: caretaker.reap,
        Tick.Duty.CENSUS: caretaker.census,
        Tick.Duty.PURGE: caretaker.purge,
        Tick.Duty.ERASE: lambda: caretaker.erase(tick.user_id or None),
    }
    return duties[tick.duty]()


class Caretaker:
    """The duties, each for everybody."""

    def __init__(self, config: Settings, database: Database, access: Access) -> None:
        self._config = config
        self._database = database
        self._access = access
        self._outbox = Outbox(config)
        self._cursors = Cursors(config)

    def renew(self) -> None:
        """Open a new channel for every corpus whose channel ends soon. One person's trouble is not another's. Where no
        push can reach us there is no channel to keep: the sweep finds what changed."""
        if not self._config.webhook_url:
            return log.event("polling", every_seconds=self._config.sweep_seconds)
        watching = Watching(self._config, people())
        for user_id in self._active():
            for corpus in self._cursors.corpora(user_id):
                try:
                    drive = self._access.drive(user_id)
                    watching.keep_open(user_id, corpus, drive)
                except DrivestreamError as error:
                    log.event("channel not renewed", "WARNING", user_id=user_id, corpus=corpus, code=error.code)
        return None

    def sweep(self) -> None:
        """Ask for a drain of every corpus: what no notification announced is found here."""
        for user_id in self._active():
            for corpus in {MY_DRIVE, *self._cursors.corpora(user_id)}:
                self._ask(user_id, corpus, SyncRequested.Reason.TICK)
        self._outbox.confirm()
        self._measure()

    def _measure(self) -> None:
        """Say what no single event tells: how old the oldest work is, what is spent, how the channels are. One line for
        each number, because metrics of Cloud Logging are made of lines."""
        with self._database.transaction(None) as tx:
            gauges = [(row["gauge"], row["of"], float(row["value"])) for row in tx.rows("gauges")]
        spent = {of: int(value) for gauge, of, value in gauges if gauge == "spent_today"}
        prices = price_table(self._config.embedding_model, self._config.entity_model, self._config.prices)
        gauges.append(("dollars_today", "all", float(dollars_for(spent, prices.values()))))
        for counter, most in DAILY_QUOTA.items():
            gauges.append(("drive_quota_today", counter, spent[counter] / most))
        try:
            age = datetime.now(UTC) - self._access.keys_made_at()
            gauges.append(("secret_age_days", "token-keys", age.total_seconds() / 86_400))
        except Unavailable as error:  # the other numbers are worth telling all the same
            log.event("age of the keys unknown", "WARNING", code=error.code, reason=error.reason)
        for gauge, of, value in gauges:
            log.event("gauge", gauge=gauge, of=of, value=round(value, 6))

    def census(self) -> None:
        """Compare with Drive: a sync request of its own kind, so that the lister lists everything again."""
        for user_id in self._active():
            for corpus in {MY_DRIVE, *self._cursors.corpora(user_id)}:
                self._ask(user_id, corpus, SyncRequested.Reason.CENSUS)
        self._outbox.confirm()

    def reap(self) -> None:
        """Put back what waits, what lost its holder, what lost its message, and what other settings finished."""
        quiet = max(self._config.lease_seconds * 2, 60.0)
        with self._database.transaction(None) as tx:
            tx.rows("lift_caps")
            tx.run("forget_pauses")
            due = tx.rows("due_files", most=self._can_be_read())
            lost = tx.rows("lost_leases", most=MOST, quiet_seconds=quiet)
            silent = tx.rows("quiet_files", most=MOST, quiet_seconds=max(quiet, LOST_SECONDS))
            for row in silent:
                tx.run("reopen_streamed_jobs", user_id=row["user_id"], file_id=row["file_id"])
            outdated = self._outdated(tx)
        # Everybody's turn as it comes: an update answers in any order.
        for row in (*sorted(due, key=lambda row: row["turn"]), *lost, *silent, *outdated):
            changed = FileChanged(user_id=str(row["user_id"]), file_id=row["file_id"], reason=FileChanged.Reason.WAITED)
            # What waited takes its own lane again, or a whole first sync would come back as if it were edited now.
            with tracing.apart("put back", file_id=row["file_id"]):  # each file has a trace of its own
                self._outbox.publish(FILE_CHANGES if row["lane"] == FRESH else FILE_BACKFILL, changed)
        for user_id, corpus in self._cursors.abandoned():
            self._ask(user_id, corpus, SyncRequested.Reason.PAGE)
        self._outbox.confirm()
        if due or lost or silent or outdated:
            log.event("put back", due=len(due), lost=len(lost), silent=len(silent), outdated=len(outdated))
        self._note_standings()

    def _outdated(self, tx: Transaction) -> list[dict[str, Any]]:
        """What is to be read anew because the model or the pipeline is another one than it was finished by."""
        if not self._config.rollout_files:
            return []
        return tx.rows("outdated_files", pipeline=self._config.pipeline, most=min(MOST, self._config.rollout_files))

    def _can_be_read(self) -> int:
        """How many files at most are put back until the next look: as many as a minute's quota is enough for, so that
        what waited for a quota does not come back all at once to find it used up."""
        return max(MOST, self._config.drive_units_per_minute // (READ + DOWNLOAD))

    def _note_standings(self) -> None:
        """How Drive's quotas stand, for doors that have no way to the accounts."""
        standings = self._access.governor.standings()
        with self._database.transaction(None) as tx:
            for one in standings:
                tx.run(
                    "note_standing",
                    budget=one.budget,
                    used=one.used,
                    remaining=one.left,
                    resets_at=one.resets_at,
                )

    def purge(self) -> None:
        """Remove what nobody can see any more, job by job, and what nobody asks for again."""
        grace = {"grace_seconds": GRACE_SECONDS}
        for statement, more in (("purge_jobs", grace), ("purge_skipped", grace), ("purge_requests", {})):
            gone = PURGED
            while gone == PURGED:
                with self._database.transaction(None) as tx:
                    gone = len(tx.rows(statement, most=PURGED, **more))
        with self._database.transaction(None) as tx:
            tx.run("purge_paid")

    def erase(self, user_id: str | None) -> None:
        """Forget everybody who asked for it. Begun again at any step, it ends the same. Raises `Unavailable` at the end
        when somebody's grant could not be revoked yet."""
        with self._database.transaction(None) as tx:
            leaving = [str(row["user_id"]) for row in tx.rows("people_to_erase", user_id=user_id)]
        away: Unavailable | None = None
        for person in leaving:
            try:
                self._erase(person)
            except Unavailable as error:
                away = error
        if away is not None:
            raise away

    def bury(self, delivery: Delivery) -> None:
        """The state of the file behind a message that could not be handled: failed, why, and when it is tried again."""
        subscription = delivery.attributes.get(_DEAD, "")
        log.event("dead letter", "ERROR", subscription=subscription)
        try:
            if subscription.startswith("ai-processor"):
                chunk = parse(FileChunk, delivery.data)
                log.bind(**subject(chunk))
                self._fail(chunk.user_id, chunk.file_id, chunk.job_id)
            elif subscription.startswith("file-streamer"):
                changed = parse(FileChanged, delivery.data)
                log.bind(**subject(changed))
                self._fail(changed.user_id, changed.file_id, None)
        except BadRequest as nonsense:
            # What is no message names no file. Nobody buries the dead letters' own dead, so it ends here.
            log.event("dead letter without a file", "ERROR", reason=nonsense.reason)
        # A lost sync request or tick needs no state: the next sweep or tick does the same work.

    def _fail(self, user_id: str, file_id: str, job_id: str | None) -> None:
        code = "dead_letter"
        reason = "This file could not be processed after several attempts. It is tried again within the hour."
        with self._database.transaction(None) as tx:
            if job_id:
                tx.row("bury_job", user_id=user_id, job_id=job_id, code=code, reason=reason)
            tx.row(
                "bury_file",
                user_id=user_id,
                file_id=file_id,
                job_id=job_id,
                code=code,
                reason=reason,
                retry_after=RETRY_SECONDS,
            )
        log.event("file", "ERROR", state="failed", code=code)

    def _erase(self, user_id: str) -> None:
        Connections(self._config).close(user_id)
        self._note_leaving(user_id, "disconnect", "ok")
        away = self._revoke(user_id, Channels(self._config))
        with self._database.transaction(None) as tx:
            counted = tx.row("count_for_receipt", user_id=user_id) or {"files": 0, "passages": 0}
            tx.run("leave_receipt", receipt_id=receipt_id(user_id), **counted)
        while True:
            with self._database.transaction(None) as tx:
                row = tx.row("erase_batch", user_id=user_id, most=100)
            if not row or not row["gone"]:
                break
        if away is not None:
            raise away  # every text is gone by now; the grant is what the next attempt needs
        Connections(self._config).erase(user_id)
        with self._database.transaction(None) as tx:
            tx.run("erase_person", user_id=user_id)
        log.event("erased")

    def _revoke(self, user_id: str, channels: Channels) -> Unavailable | None:
        """Channels can only be stopped while the grant lives, so they go first; then the grant itself. Returns what
        is in the way for now; a grant that is dead already is not."""
        with self._database.transaction(None) as tx:
            row = tx.row("grant_to_revoke", user_id=user_id)
        if row is None:
            return None
        try:
            refresh_token = self._access.refresh_token(row["refresh_token_sealed"], user_id)
            drive = self._access.drive_by(refresh_token)
            opening = False
            for channel in channels.of_person(user_id):
                if channel.resource_id:
                    drive.stop_channel(channel.channel_id, channel.resource_id)
                opening |= not channel.resource_id and channel.recorded_at > channel.now - OPENING
            if opening:  # Drive's answer, or its first message, says in a moment how it can be stopped
                return Unavailable("A notification channel is being opened.", retry_after=5.0, code="channel_opening")
            if row["connected_again"]:
                self._note_leaving(user_id, "revoke", "left to the account's newer connection")
                return None
            oauth.revoke(self._config, refresh_token)
            self._note_leaving(user_id, "revoke", "ok")
        except (ReconnectNeeded, Rejected) as error:
            # A grant that Google no longer knows can stop nothing; its channels end by themselves within seven days.
            log.event("grant was dead already", code=error.code)
            self._note_leaving(user_id, "revoke", "dead already")
        except oauth.OAuthMisconfigured as error:
            # An operator's fault must not keep a person's data; the person can remove the app at Google.
            log.failure("grant not revoked", error)
            self._note_leaving(user_id, "revoke", "refused")
        except Unavailable as error:
            return error
        return None

    def _note_leaving(self, user_id: str, action: str, outcome: str) -> None:
        with self._database.transaction(None) as tx:
            if tx.row("lock_leaving", user_id=user_id):
                tx.run("note_leaving", user_id=user_id, action=action, outcome=outcome)

    def _active(self) -> list[str]:
        with self._database.transaction(None) as tx:
            return [str(row["user_id"]) for row in tx.rows("active_people")]

    def _ask(self, user_id: str, corpus: str, reason: SyncRequested.Reason.ValueType) -> None:
        self._outbox.publish(SYNC_REQUESTS, SyncRequested(user_id=user_id, corpus=corpus, reason=reason))


@cache
def database() -> Database:
    """Everybody's rows."""
    return Database(settings(), "drivestream_caretaker")


@cache
def people() -> Database:
    """One person's rows at a time, for what is done in a person's name."""
    return Database(settings(), "drivestream_worker")


@cache
def access() -> Access:
    """Drives of people."""
    return Access(settings(), people())
