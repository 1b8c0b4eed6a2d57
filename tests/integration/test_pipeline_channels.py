"""A corpus's notification channel, whatever breaks between two steps: open without a gap, and never more than two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.adapters.access import Access
from shared.adapters.drive import Drive
from shared.adapters.edge import Channel
from shared.adapters.firestore import Channels
from shared.adapters.watching import Watching
from shared.domain.errors import Unavailable
from shared.domain.names import MY_DRIVE
from tests.integration.pipeline import Person, Pipeline, pipeline, wait_for
from tests.integration.test_pipeline_scope import ask

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")

DAY = 86_400.0


class Died(BaseException):
    """The worker is gone: nothing that would tidy up runs."""


class Dying(Channels):
    """Firestore's side of a worker that dies at a certain step."""

    step = ""

    def activate(self, *arguments: Any) -> None:
        """Drive has answered."""
        if self.step == "before noting the answer":
            raise Died
        super().activate(*arguments)
        if self.step == "before stopping the old":
            raise Died


class Watched:
    """One person's corpus with all that keeps it announced."""

    def __init__(self, pipeline: Pipeline, person: Person) -> None:
        self.pipeline = pipeline
        self.person = person
        self.database = pipeline.speaking_as("worker")
        self.drive: Drive = Access(pipeline.settings, self.database).drive(person.user_id)

    def look(self, *, renew: bool = False, step: str = "") -> None:
        """Keep the channel open, as a lister or the caretaker does. `renew`: the one that is open ends soon."""
        margin = 8 * DAY if renew else DAY
        watching = Watching(replace(self.pipeline.settings, channel_renewal_seconds=margin), self.database)
        watching._channels = Dying(self.pipeline.settings)
        watching._channels.step = step
        watching.keep_open(self.person.user_id, MY_DRIVE, self.drive)

    def at_google(self) -> set[str]:
        """Channels that Google has open."""
        rows = self.pipeline.google._store.rows("SELECT id FROM channels WHERE email = ?", self.person.email)
        return {row["id"] for row in rows}

    def stoppable(self) -> set[str]:
        """Channels that we know well enough to stop them."""
        channels = Channels(self.pipeline.settings).of_person(self.person.user_id)
        return {channel.channel_id for channel in channels if channel.resource_id}

    def unanswered(self) -> list[Channel]:
        """Channels that are written down and of which nobody has heard."""
        channels = Channels(self.pipeline.settings).of_person(self.person.user_id)
        return [channel for channel in channels if not channel.resource_id]

    def a_quarter_of_an_hour_passes(self) -> None:
        """For the channels of which nobody has heard."""
        channels = Channels(self.pipeline.settings)
        for channel in self.unanswered():
            earlier = channel.recorded_at - timedelta(minutes=16)
            channels._of(channel.channel_id).update({"recorded_at": earlier})

    def told(self) -> bool:
        """Has every channel had its first message?"""
        statement = "SELECT id FROM channels WHERE email = ? AND number = 0"
        return not self.pipeline.google._store.rows(statement, self.person.email)


@pytest.fixture
def watched(pipeline: Pipeline) -> Iterator[Watched]:
    with pipeline.setting(WEBHOOK_URL=pipeline.url("drive_webhook")):
        yield Watched(pipeline, pipeline.person({"a.md": "One.\n"}))


def test_channels_are_a_state_machine_that_no_crash_leaves(watched: Watched) -> None:
    """A channel that nobody can stop tells of a person's Drive for a week; a gap hides changes."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Life(watched),
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


class Life(RuleBasedStateMachine):
    """Looks and renewals, each of which may die or be refused."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self.watched = watched
        self.pipeline = watched.pipeline

    @initialize()
    def opened(self) -> None:
        self.watched.look()

    @rule(renew=st.booleans())
    def look(self, renew: bool) -> None:
        """All goes well, and what earlier looks left behind is gone."""
        self.watched.look(renew=renew)

    @precondition(lambda self: not self.watched.unanswered())
    @rule(step=st.sampled_from(["before noting the answer", "before stopping the old"]))
    def renewal_dies(self, step: str) -> None:
        with pytest.raises(Died):
            self.watched.look(renew=True, step=step)

    @precondition(lambda self: not self.watched.unanswered())
    @rule(arrived=st.booleans())
    def google_does_not_answer(self, arrived: bool) -> None:
        """Whether it opened the channel or not, nobody is told."""
        self.pipeline.google.faults.fail("changes.watch", 503, "backendError", lose_answer=arrived)
        with pytest.raises(Unavailable):
            self.watched.look(renew=True)

    @rule()
    def time_passes(self) -> None:
        """What never came to be is given up, and one channel is enough."""
        self.watched.a_quarter_of_an_hour_passes()
        self.watched.look()
        assert len(self.watched.at_google()) == 1
        assert not self.watched.unanswered()

    @invariant()
    def announced_by_one_or_two_that_can_be_stopped(self) -> None:
        wait_for(self.watched.told)
        wait_for(lambda: self.watched.at_google() <= self.watched.stoppable())
        assert 1 <= len(self.watched.at_google()) <= 2

    def teardown(self) -> None:
        self.pipeline.google.faults.heal()
        self.watched.a_quarter_of_an_hour_passes()
        self.watched.look()


# Silence --------------------------------------------------------------------------------------------------------------


def of_yesterday(pipeline: Pipeline, person: Person) -> Channel:
    """The person's one channel, as if it were a day old."""
    channels = Channels(pipeline.settings)
    [channel] = channels.of_person(person.user_id)
    channels._of(channel.channel_id).update({"recorded_at": channel.recorded_at - timedelta(days=1)})
    return channel


def status_of_channels(pipeline: Pipeline, person: Person) -> list[dict[str, Any]]:
    """What the person is told of the channels."""
    found: list[dict[str, Any]] = ask(pipeline, person, "GET", "/api/status").json()["channels"]
    return found


def silent_corpora(pipeline: Pipeline) -> float:
    """What the operator is told of them."""
    metrics = pipeline.post("dashboard", method="GET", path="/metrics").text
    [value] = [
        line.split()[1] for line in metrics.splitlines() if line.startswith('drivestream_corpora{channel="silent"}')
    ]
    return float(value)


def test_a_channel_that_announces_nothing_is_noticed_and_replaced(watched: Watched) -> None:
    """Open by every record for another six days, and each change is a quarter of an hour late: the sweep can tell."""
    pipeline, person = watched.pipeline, watched.person
    old = of_yesterday(pipeline, person)
    before = silent_corpora(pipeline)
    with pipeline.setting(SILENCE_SECONDS="0", WEBHOOK_URL=pipeline.url("drive_webhook")):
        pipeline.google.faults.lose_notifications(times=None)
        person.put("a.md", "Nobody was told.\n")
        pipeline.sync(person)
        pipeline.heal()
        [new] = Channels(pipeline.settings).of_person(person.user_id)
        [told] = status_of_channels(pipeline, person)
        person.put("a.md", "Everybody is told.\n")
        wait_for(lambda: pipeline.text(person, "a.md") == "Everybody is told.")
        pipeline.settle()

    assert new.channel_id != old.channel_id
    assert watched.at_google() == {new.channel_id}
    assert (told["state"], told["silent_at"] is not None) == ("active", True)
    assert silent_corpora(pipeline) == before + 1


def test_a_channel_that_announced_the_change_or_is_new_is_left_alone(watched: Watched) -> None:
    """A sweep that comes first, and a notification that takes a minute, are no silence."""
    pipeline, person = watched.pipeline, watched.person
    [new] = Channels(pipeline.settings).of_person(person.user_id)
    with pipeline.setting(SILENCE_SECONDS="0", WEBHOOK_URL=pipeline.url("drive_webhook")):
        pipeline.google.faults.lose_notifications(times=None)
        person.put("a.md", "Just after it was opened.\n")
        pipeline.sync(person)
    old = of_yesterday(pipeline, person)
    person.put("a.md", "A sweep was faster.\n")
    pipeline.sync(person)
    pipeline.heal()
    with pipeline.setting(SILENCE_SECONDS="0", WEBHOOK_URL=pipeline.url("drive_webhook")):
        pipeline.pubsub.faults.hold("change-lister")
        person.put("a.md", "It was announced.\n")
        wait_for(lambda: Channels(pipeline.settings).of_person(person.user_id)[0].notified_at > old.now)
        pipeline.heal()
        pipeline.sync(person)

    assert watched.at_google() == {new.channel_id} == {old.channel_id}
    assert [told["silent_at"] for told in status_of_channels(pipeline, person)] == [None]
