"""A person's grant, from the consent to its end: each refusal in its own words, each event in the audit log once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from functions.channel_renewer.main import Caretaker
from shared.adapters import oauth
from shared.adapters.access import Access
from shared.adapters.drive import Drive
from shared.adapters.edge import forget_access_token
from shared.adapters.firestore import Channels, Connections
from shared.adapters.postgres import Database
from shared.domain.errors import ReconnectNeeded, Unavailable
from shared.domain.names import receipt_id
from tests.integration.pipeline import PERSONAL, ROOT, Person, Pipeline, browser, pipeline, sha256, wait_for

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

WEEK = 7 * 86_400.0


def consent(pipeline: Pipeline, person: Person, *, answer: str = "", prompt: bool = True) -> requests.Response:
    """Walk to Google and back. `answer`: what Google says instead of a code. Without `prompt` Google gives a refresh
    token only to an account that it has given none."""
    with browser() as session:
        begun = session.get(
            pipeline.url("oauth_callback") + "/connect", params={"login_hint": person.email}, allow_redirects=False
        )
        ask = begun.headers["Location"] if prompt else begun.headers["Location"].replace("prompt=consent", "prompt=x")
        back = urljoin(ask, session.get(ask, allow_redirects=False).headers["Location"])
        if answer:
            back = back.replace("code=", f"error={answer}&was=")
        return session.get(back, allow_redirects=False)


def person_row(pipeline: Pipeline, person: Person) -> tuple[str, str | None] | None:
    """(status, reason) of somebody who has not asked to be forgotten."""
    rows = pipeline.sql(
        f"SELECT status, status_reason FROM users WHERE email = '{person.email}' AND status <> 'erasing'"
    )
    return (rows[0][0], rows[0][1]) if rows else None


def audited(pipeline: Pipeline, user_id: str) -> list[tuple[str, str]]:
    """(action, why) of all that happened to a person's grant, the oldest first."""
    rows = pipeline.sql(
        f"SELECT action, why FROM gdrive_audit_log WHERE user_id = '{user_id}' AND file_id IS NULL ORDER BY entry_id"
    )
    return [(action, why) for action, why in rows]


# Consent --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("access_denied", "You did not allow access"),
        ("admin_policy_enforced", "Your organisation does not allow this app"),
        ("org_internal", "open to one organisation only"),
        ("temporarily_unavailable", "at the moment"),
    ],
)
def test_each_refusal_of_a_consent_has_its_own_words(pipeline: Pipeline, answer: str, words: str) -> None:
    """What helps is different each time: nothing, an administrator, another account, or an hour."""
    person = pipeline.person(connect=False)

    said = consent(pipeline, person, answer=answer)

    assert said.status_code == 400
    assert words in said.text
    assert person_row(pipeline, person) is None


def test_without_a_refresh_token_nobody_is_connected(pipeline: Pipeline) -> None:
    """Google gives one only the first time. Somebody whom we do not know any more must not become half connected."""
    person = pipeline.person(connect=False)
    pipeline.google.grant(person.email)

    said = consent(pipeline, person, prompt=False)

    assert said.status_code == 400
    assert "no lasting permission" in said.text
    assert person_row(pipeline, person) is None


def test_a_dead_grant_is_not_made_alive_by_a_consent_without_a_refresh_token(pipeline: Pipeline) -> None:
    """The one we have was refused; a page that says "connected" would be a lie."""
    person = pipeline.person()
    pipeline.google.revoke(person.email)
    forced(pipeline, person)
    pipeline.google.grant(person.email)

    said = consent(pipeline, person, prompt=False)

    assert said.status_code == 400
    assert (person_row(pipeline, person) or ("",))[0] == "reconnect_needed"


def test_a_grant_that_google_limits_is_said_to_end_before_it_ends(pipeline: Pipeline) -> None:
    """An app in testing loses every connection after seven days; nobody should find that out by missing files."""
    pipeline.google._oauth.refresh_seconds = WEEK
    try:
        person = pipeline.person()
    finally:
        pipeline.google._oauth.refresh_seconds = None
    warned = person_row(pipeline, person)
    left = pipeline.sql(
        "SELECT extract(epoch FROM refresh_expires_at - now()) FROM user_google_credentials"
        f" WHERE user_id = '{person.user_id}'"
    )[0][0]
    pipeline.sql(f"UPDATE user_google_credentials SET refresh_expires_at = now() WHERE user_id = '{person.user_id}'")
    pipeline.google.revoke(person.email)

    refused = forced(pipeline, person)
    after = person_row(pipeline, person)
    pipeline.connect(person)
    pipeline.settle()

    assert warned is not None
    assert warned[0] == "active"
    assert "Connect again before then" in str(warned[1])
    assert WEEK - 600 < float(left) <= WEEK
    assert refused.code == "grant_expired"
    assert after == ("reconnect_needed", refused.reason)
    assert "time is over" in refused.reason
    assert person_row(pipeline, person) == ("active", None)


def test_a_refused_grant_names_what_is_likely(pipeline: Pipeline) -> None:
    """Google says one word for four causes."""
    person = pipeline.person()
    pipeline.google.revoke(person.email)

    reason = forced(pipeline, person).reason

    for cause in ("removed", "six months", "hundred", "password", "connect again"):
        assert cause in reason


def test_an_organisation_that_blocks_the_app_pauses_the_person_in_its_own_words(pipeline: Pipeline) -> None:
    """Google still gives tokens, and Drive refuses each: connecting again helps only after the administrator."""
    person = pipeline.person({"a.md": "One.\n"})
    pipeline.google.faults.fail("changes.list", 403, "domainPolicy", times=None)
    pipeline.sync(person)
    at_first = person_row(pipeline, person)
    pipeline.sql(
        f"UPDATE user_google_credentials SET granted_at = now() - interval '1 day' WHERE user_id = '{person.user_id}'"
    )

    pipeline.sync(person)
    pipeline.sync(person)
    paused = person_row(pipeline, person)
    pipeline.heal()
    person.put("a.md", "Two.\n")
    pipeline.connect(person)
    pipeline.settle()

    assert at_first == ("active", None)  # a worker may have asked with the token before this grant
    assert paused is not None
    assert paused[0] == "reconnect_needed"
    assert "organisation" in str(paused[1])
    assert [action for action, _ in audited(pipeline, person.user_id)] == ["connect", "refused", "reconnect"]
    assert pipeline.text(person, "a.md") == "Two."


def forced(pipeline: Pipeline, person: Person) -> ReconnectNeeded:
    """Have a new access token asked for, which Google refuses."""
    forget_access_token(pipeline.settings, person.user_id)
    with pytest.raises(ReconnectNeeded) as refused:
        Access(pipeline.settings, pipeline.speaking_as("worker")).token(person.user_id)
    return refused.value


# Audited --------------------------------------------------------------------------------------------------------------


def test_whoever_connects_again_sees_at_once_what_changed_in_shared_drives_too(pipeline: Pipeline) -> None:
    """Each shared drive has a log and a channel of its own, and all of them stood still while the grant was dead."""
    person = pipeline.person({"a.md": "Mine.\n"}, connect=False)
    pipeline.team("hamlet", person, files={"plan.md": "The old plan.\n"})
    pipeline.connect(person)
    pipeline.settle()
    pipeline.google.revoke(person.email)
    pipeline.sync(person)
    (pipeline.drive / "hamlet" / "plan.md").write_text("The new plan.\n")
    pipeline.google.scan()

    pipeline.connect(person)
    pipeline.settle()

    assert pipeline.text(person, "plan.md") == "The new plan."


def test_of_eight_consents_at_once_one_connects_and_seven_connect_again(pipeline: Pipeline) -> None:
    """A person may press twice. The log says once that they came."""
    person = pipeline.person(connect=False)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: consent(pipeline, person), range(8)))
    pipeline.settle()

    assert [answer.status_code for answer in said] == [303] * 8
    ((user_id,),) = pipeline.sql(f"SELECT user_id FROM users WHERE email = '{person.email}'")
    events = audited(pipeline, str(user_id))
    assert events == [("connect", "consent")] + [("reconnect", "consent")] * 7


def test_a_refusal_and_the_new_consent_are_in_the_audit_log_once(pipeline: Pipeline) -> None:
    """However many workers were refused, it happened once."""
    person = pipeline.person({"a.md": "One.\n"})
    pipeline.google.revoke(person.email)
    forget_access_token(pipeline.settings, person.user_id)
    fleet = [Access(pipeline.settings, pipeline.speaking_as("worker")) for _ in range(4)]

    def ask(number: int) -> bool:
        with pytest.raises(ReconnectNeeded):
            fleet[number % 4].token(person.user_id)
        return True

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(20)))
    pipeline.connect(person)
    pipeline.settle()

    events = audited(pipeline, person.user_id)
    assert events == [("connect", "consent"), ("refresh_failed", "invalid_grant"), ("reconnect", "consent")]


# One refresh ----------------------------------------------------------------------------------------------------------

WORKERS = 52
PROCESSES = 4
CHILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from shared.adapters.access import Access
from shared.adapters.postgres import Database
from shared.config import settings

user_id, threads = sys.argv[1], int(sys.argv[2])
access = Access(settings(), Database(settings(), "drivestream_worker"))
access.client_secret()
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(threads) as pool:
    for token in pool.map(lambda _: access.token(user_id), range(threads)):
        print(token, flush=True)
"""


def test_fifty_workers_in_four_processes_ask_google_for_one_token(pipeline: Pipeline) -> None:
    """Each function has many instances. Google counts refreshes, and each new token makes others wait for it."""
    person = pipeline.person()
    forget_access_token(pipeline.settings, person.user_id)
    pipeline.google.faults.slow("token", 0.3, times=None)
    before = pipeline.google.faults.calls["token"]
    each = WORKERS // PROCESSES
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, person.user_id, str(each)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(PROCESSES)
    ]  # fmt: skip
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        said = [child.communicate(timeout=120)[0] for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()

    tokens = [token for text in said for token in text.split()]
    assert len(tokens) == WORKERS
    assert len(set(tokens)) == 1
    assert pipeline.google.faults.calls["token"] == before + 1
    assert person_row(pipeline, person) == ("active", None)


def test_a_refusal_of_a_grant_that_was_replaced_meanwhile_is_not_believed(pipeline: Pipeline) -> None:
    """The old token is dead because the person has just connected again."""
    person = pipeline.person()
    forget_access_token(pipeline.settings, person.user_id)
    pipeline.google.revoke(person.email)
    pipeline.google.faults.slow("token", 1.0)
    before = pipeline.google.faults.calls["token"]
    access = Access(pipeline.settings, pipeline.speaking_as("worker"))

    with ThreadPoolExecutor(1) as pool:
        token = pool.submit(access.token, person.user_id)
        wait_for(lambda: pipeline.google.faults.calls["token"] > before)
        pipeline.connect(person)
        assert token.result().startswith("ya29.")
    pipeline.settle()

    assert person_row(pipeline, person) == ("active", None)
    assert [action for action, _ in audited(pipeline, person.user_id)] == ["connect", "reconnect"]


# Forgotten ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: nothing that would tidy up runs."""


class Countdown:
    """Kills before or after the n-th step that an erasure takes in the world outside."""

    def __init__(self, left: int) -> None:
        self.left = left

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


STEPS: tuple[tuple[Any, str], ...] = (
    (Connections, "close"), (Connections, "erase"), (Channels, "of_person"), (Drive, "stop_channel"),
    (oauth, "refresh"), (oauth, "revoke"),
)  # fmt: skip


@contextmanager
def killed_at(moment: int) -> Iterator[Countdown]:
    """Count each step twice, before it and after it, and die at the given count."""
    countdown = Countdown(moment)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, _counted(getattr(owner, name), countdown))
        real = Database.transaction

        @contextmanager
        def transaction(self: Database, user_id: Any) -> Iterator[Any]:
            countdown.step()
            with real(self, user_id) as tx:
                yield tx
            countdown.step()

        patch.setattr(Database, "transaction", transaction)
        yield countdown


def _counted(real: Any, countdown: Countdown) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        countdown.step()
        answer = real(*arguments, **named)
        countdown.step()
        return answer

    return call


def left_of(pipeline: Pipeline, person: Person) -> list[str]:
    """Everything anywhere that still knows a person."""
    rows = [table for table in PERSONAL if pipeline.count(table, person)]
    channels = pipeline.google._store.rows("SELECT id FROM channels WHERE email = ?", person.email)
    grants = pipeline.google._tokens.rows("SELECT 1 FROM grants WHERE email = ?", person.email)
    return [*rows, *pipeline.documents_of(person), *(["channel"] * len(channels)), *(["grant"] * len(grants))]


def ask_to_be_forgotten(pipeline: Pipeline, person: Person) -> None:
    """The first step, which the dashboard takes."""
    with pipeline.speaking_as("reader").transaction(person.user_id) as tx:
        tx.rows("ask_to_be_forgotten")


# Killed at every fourth step, and in --long at each: a life takes more than a second.
@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.long)])
def test_an_erasure_that_is_killed_between_any_two_steps_ends_the_same(pipeline: Pipeline, stride: int) -> None:
    """Nobody can begin it a second time but the caretaker, which must not need to know how far it came."""
    caretaker = Caretaker(
        pipeline.settings, pipeline.speaking_as("caretaker"), Access(pipeline.settings, pipeline.speaking_as("worker"))
    )
    moments = 0
    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        while True:
            moments += stride
            person = pipeline.person({"a.md": "Ada Lovelace.\n", "b.md": "Grace Hopper.\n"})
            ask_to_be_forgotten(pipeline, person)
            with killed_at(moments) as countdown:
                try:
                    caretaker.erase(person.user_id)
                except Killed:
                    died = True
                else:
                    died = False

            caretaker.erase(person.user_id)

            assert left_of(pipeline, person) == [], f"killed at {moments}"
            receipt = receipt_id(person.user_id)
            rows = pipeline.sql(f"SELECT files, passages FROM receipts WHERE receipt_id = '{receipt}'")
            assert rows == [[2, 2]], f"killed at {moments}"
            if not died:
                assert countdown.left > 0
                break
    assert moments > 20


def test_who_connects_again_while_being_forgotten_keeps_the_new_connection(pipeline: Pipeline) -> None:
    """Google revokes all that an account has granted to an app: the old grant must not take the new one along."""
    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        person = pipeline.person({"a.md": "Ada Lovelace.\n"})
        old = Person(person.email, person.folder, person.user_id, pipeline)
        (channel,) = Channels(pipeline.settings).of_person(old.user_id)
        ask_to_be_forgotten(pipeline, person)
        pipeline.connect(person)
        pipeline.settle()

        pipeline.tick("erase")
        person.put("a.md", "Grace Hopper.\n")
        pipeline.sync(person)

        assert person.user_id != old.user_id
        assert [table for table in PERSONAL if pipeline.count(table, old)] == []
        assert pipeline.documents_of(old) == {}
        open_now = {
            row["id"] for row in pipeline.google._store.rows("SELECT id FROM channels WHERE email = ?", person.email)
        }
        assert channel.channel_id not in open_now
        assert len(open_now) == 1
        assert pipeline.text(person, "a.md") == "Grace Hopper."
        assert person_row(pipeline, person) == ("active", None)


def test_a_channel_that_is_being_opened_is_stopped_before_the_grant_ends(pipeline: Pipeline) -> None:
    """Afterwards nobody could: it would tell of a stranger's Drive for a week."""
    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        person = pipeline.person({"a.md": "Ada Lovelace.\n"})
        access = Access(pipeline.settings, pipeline.speaking_as("worker"))
        channels, drive = Channels(pipeline.settings), access.drive(person.user_id)
        now = datetime.now(UTC)
        ends = now + timedelta(days=1)
        pipeline.google.faults.lose_notifications(times=None)
        channels.record("opening-channel", person.user_id, "my-drive", sha256("token"), ends, recorded_at=now)
        address, milliseconds = pipeline.url("drive_webhook"), int(ends.timestamp() * 1000)
        watch = drive.watch(drive.start_page_token(), "my-drive", "opening-channel", "token", address, milliseconds)
        caretaker = Caretaker(pipeline.settings, pipeline.speaking_as("caretaker"), access)
        ask_to_be_forgotten(pipeline, person)

        with pytest.raises(Unavailable):
            caretaker.erase(person.user_id)
        texts = pipeline.count("memories", person)
        channels.activate("opening-channel", watch.resource_id, ends)
        caretaker.erase(person.user_id)

        assert texts == 0
        assert left_of(pipeline, person) == []


def test_a_disconnect_and_its_revocation_are_audited_once_however_often_they_are_begun(pipeline: Pipeline) -> None:
    """While it lasts the log says how far it came; in the end the receipt is all that is left."""
    person = pipeline.person({"a.md": "Ada Lovelace.\n"})
    ask_to_be_forgotten(pipeline, person)
    pipeline.google.faults.fail("revoke", 503, "backendError", times=None)
    caretaker = Caretaker(
        pipeline.settings, pipeline.speaking_as("caretaker"), Access(pipeline.settings, pipeline.speaking_as("worker"))
    )

    with ThreadPoolExecutor(4) as pool:
        waits = list(pool.map(lambda _: _waits(caretaker, person), range(4)))
    meanwhile = [action for action, _ in audited(pipeline, person.user_id)]
    pipeline.heal()
    with killed_at(14) as countdown, pytest.raises(Killed):
        caretaker.erase(person.user_id)
    revoked = [action for action, _ in audited(pipeline, person.user_id)]
    caretaker.erase(person.user_id)

    assert waits == [True] * 4
    assert countdown.left == 0
    assert meanwhile == ["connect", "disconnect"]
    assert revoked == ["connect", "disconnect", "revoke"]
    assert left_of(pipeline, person) == []


def _waits(caretaker: Caretaker, person: Person) -> bool:
    try:
        caretaker.erase(person.user_id)
    except Unavailable:
        return True
    return False
