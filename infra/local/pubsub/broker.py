"""What Pub/Sub promises: stored before it is said, delivered until acknowledged, dead-lettered after too many tries.

One lock (`changed`) guards everything; whoever waits for messages waits on it. Which message is leased to whom lives
in memory only: after a restart nobody holds a lease, and every unacknowledged message is due again, with the number of
its failed attempts. A delivery that was under way when this process was killed does not count as an attempt.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from infra.local.pubsub import filters
from infra.local.pubsub.catalog import SUBSCRIPTIONS, TOPICS, Catalog
from infra.local.pubsub.faults import Faults
from infra.local.pubsub.store import Message, Store
from infra.local.pubsub.wire import Pb

_SHUFFLED = 1000  # how far ahead the shuffle fault looks


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is not published yet."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to one subscription. `attempt` counts from 1."""

    subscription: str
    message: Message
    attempt: int
    ack_id: str


@dataclass(slots=True)
class _Lease:
    ack_id: str
    until: float  # seconds since 1970; infinite where the deliverer always reports back


class Broker:
    """The backlog of every subscription. All methods may be called from any thread."""

    def __init__(self, store: Store, catalog: Catalog, backoff_scale: float) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.faults = Faults(self.wake_all)
        self._store = store
        self._catalog = catalog
        self._scale = backoff_scale
        self._leases: dict[str, dict[int, _Lease]] = {}
        self._looked: dict[str, float] = {}
        self._repeats: dict[tuple[str, int], int] = {}
        self._nonces = itertools.count(1)
        self._last_id = store.last_id()
        self._listener: Callable[[str], None] | None = None

    # Saying and hearing that something changed.

    def listen(self, listener: Callable[[str], None] | None) -> None:
        """Have `listener` called with a subscription's name when it may have something to deliver; None for nobody."""
        self._listener = listener

    def wake(self, subscriptions: Iterable[str]) -> None:
        with self.changed:
            self.changed.notify_all()
            if self._listener is not None:
                for name in subscriptions:
                    self._listener(name)

    def wake_all(self) -> None:
        self.wake(self._catalog.names(SUBSCRIPTIONS))

    # Publishing.

    def publish(self, topic: str, drafts: Iterable[Draft]) -> list[int]:
        """Store the messages for every subscription of the topic; their ids. They are safe when this returns."""
        with self.changed:
            with self._store.transaction():
                ids, woken = self._add(topic, drafts)
            self.wake(woken)
        return ids

    def _add(self, topic: str, drafts: Iterable[Draft]) -> tuple[list[int], set[str]]:
        now = time.time()
        subscriptions = self._catalog.subscriptions_of(topic)
        ordered = [one.name for one in subscriptions if one.enable_message_ordering]
        ids: list[int] = []
        woken: set[str] = set()
        for draft in drafts:
            # Microseconds, so that ids are unique across restarts also when the backlog was empty.
            self._last_id = max(self._last_id + 1, int(now * 1e6))
            ids.append(self._last_id)
            due = {
                one.name: now + self.faults.of(one.name).delay
                for one in subscriptions
                if filters.parse(one.filter)(draft.attributes)
            }
            if due:
                message = Message(self._last_id, int(now * 1e6), draft.data, draft.attributes, draft.ordering_key)
                self._store.add(message, due, ordered)
                woken.update(due)
        return ids, woken

    # Delivering.

    def take(self, subscription: str, limit: int, size: int, seconds: float) -> list[Delivery]:
        """Lease up to `limit` messages, at most `size` bytes (but always one), for `seconds`."""
        with self.changed:
            now = time.time()
            self._expire(subscription, now)
            if limit <= 0 or size <= 0 or self.faults.of(subscription).hold:
                return []
            self._looked[subscription] = now
            taken: list[Delivery] = []
            for number, attempts in self._candidates(subscription, now, limit):
                delivery = self._lease(subscription, number, attempts, now + seconds)
                if delivery is None:
                    continue
                if taken and len(delivery.message.data) > size:
                    del self._leases[subscription][number]
                    break
                size -= len(delivery.message.data)
                taken.append(delivery)
            return taken

    def _candidates(self, subscription: str, now: float, limit: int) -> list[tuple[int, int]]:
        leased = self._leases.setdefault(subscription, {})
        shuffle = self.faults.of(subscription).shuffle
        rows = self._store.due(subscription, now, len(leased) + (max(limit, _SHUFFLED) if shuffle else limit))
        free = [row for row in rows if row[0] not in leased]
        if shuffle:
            self.faults.random.shuffle(free)
        return free[:limit]

    def _lease(self, subscription: str, number: int, attempts: int, until: float) -> Delivery | None:
        if self.faults.loses_one(subscription):
            with self._store.transaction():
                self._fail(subscription, number, attempts)
            return None
        message = self._store.message(number)
        if message is None:
            return None
        ack_id = f"{number}:{next(self._nonces)}"
        self._leases[subscription][number] = _Lease(ack_id, until)
        return Delivery(subscription, message, attempts + 1, ack_id)

    def next_event(self, subscription: str) -> float | None:
        """Seconds until time alone makes something deliverable that the last `take` did not see; None if nothing."""
        with self.changed:
            if self.faults.of(subscription).hold:
                return None
            times = [lease.until for lease in self._leases.get(subscription, {}).values()]
            due = self._store.next_due(subscription, self._looked.get(subscription, 0.0))
            soonest = min(times if due is None else [*times, due], default=float("inf"))
            return None if soonest == float("inf") else max(0.0, soonest - time.time())

    def _expire(self, subscription: str, now: float) -> None:
        late = [number for number, lease in self._leases.get(subscription, {}).items() if lease.until <= now]
        if late:
            with self._store.transaction():
                for number in late:
                    self._fail_leased(subscription, number)

    # What became of a delivery.

    def acknowledge(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Done. An acknowledgement after the deadline still counts unless it was dead-lettered meanwhile."""
        with self.changed:
            with self._store.transaction():
                for ack_id in ack_ids:
                    self._settle(subscription, _message_of(ack_id))
            self.wake([subscription])

    def _settle(self, subscription: str, number: int) -> None:
        self._leases.get(subscription, {}).pop(number, None)
        if self._repeat(subscription, number):
            return
        config = self._catalog.find(SUBSCRIPTIONS, subscription)
        keep = config is not None and config.retain_acked_messages
        self._store.settle(subscription, number, time.time(), keep=keep)

    def _repeat(self, subscription: str, number: int) -> bool:
        """Whether a fault asks for the message once more although it was acknowledged."""
        key = (subscription, number)
        left = self._repeats.setdefault(key, self.faults.of(subscription).duplicate)
        if left:
            self._repeats[key] = left - 1
        else:
            del self._repeats[key]
        return left > 0

    def refuse(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Not done: again after the backoff, or to the dead letters. Stale ids are ignored."""
        with self.changed:
            with self._store.transaction():
                for ack_id in ack_ids:
                    if self.leased(subscription, ack_id):
                        self._fail_leased(subscription, _message_of(ack_id))
            self.wake([subscription])

    def give_back(self, subscription: str, ack_id: str) -> None:
        """Never delivered: due at once, and no attempt is counted."""
        with self.changed:
            if self.leased(subscription, ack_id):
                del self._leases[subscription][_message_of(ack_id)]
            self.wake([subscription])

    def extend(self, subscription: str, ack_id: str, seconds: float) -> None:
        """The deadline is `seconds` from now. Stale ids are ignored."""
        with self.changed:
            if self.leased(subscription, ack_id):
                self._leases[subscription][_message_of(ack_id)].until = time.time() + seconds
            self.wake([subscription])

    def leased(self, subscription: str, ack_id: str) -> bool:
        """Whether this very delivery is still outstanding."""
        lease = self._leases.get(subscription, {}).get(_message_of(ack_id))
        return lease is not None and lease.ack_id == ack_id

    def _fail_leased(self, subscription: str, number: int) -> None:
        del self._leases[subscription][number]
        attempts = self._store.attempts(subscription, number)
        if attempts is not None:
            self._fail(subscription, number, attempts)

    def _fail(self, subscription: str, number: int, attempts: int) -> None:
        attempts += 1
        config = self._catalog.find(SUBSCRIPTIONS, subscription)
        if config is not None and not self._bury(config, number, attempts):
            wait = backoff(config, attempts) * self._scale
            self._store.postpone(subscription, number, attempts, time.time() + wait)

    def _bury(self, config: Pb, number: int, attempts: int) -> bool:
        """Forward to the dead letter topic after the last attempt. If that topic is gone, delivery goes on."""
        policy = config.dead_letter_policy
        if not policy.dead_letter_topic or attempts < policy.max_delivery_attempts:
            return False
        message = self._store.message(number)
        if message is None or self._catalog.find(TOPICS, policy.dead_letter_topic) is None:
            return False
        _, project, _, name = config.name.split("/")
        source = {
            "DeliveryCount": str(attempts),
            "Subscription": name,
            "SubscriptionProject": project,
            "TopicPublishTime": rfc3339(message.published),
        }
        marks = {f"CloudPubSubDeadLetterSource{key}": value for key, value in source.items()}
        draft = Draft(message.data, {**message.attributes, **marks}, message.ordering_key)
        _, woken = self._add(policy.dead_letter_topic, [draft])
        self._store.settle(config.name, number, time.time(), keep=False)
        self.wake(woken)
        return True

    # Looking at, and clearing, a backlog.

    def seek(self, subscription: str, published: int) -> None:
        with self.changed:
            with self._store.transaction():
                self._store.seek(subscription, published, time.time())
            self._leases.pop(subscription, None)
            self.wake([subscription])

    def forget(self, subscription: str) -> None:
        """The subscription is deleted, and its backlog with it."""
        with self._store.transaction():
            self._store.forget_subscription(subscription)
        self._leases.pop(subscription, None)

    def forget_expired(self) -> None:
        """Remove what acknowledged messages were kept longer than their subscription retains them."""
        for name in self._catalog.names(SUBSCRIPTIONS):
            retention = self._catalog.get(SUBSCRIPTIONS, name).message_retention_duration.seconds
            with self._store.transaction():
                self._store.forget_acked(name, int((time.time() - retention) * 1e6))

    def backlog(self) -> dict[str, int]:
        with self.changed:
            unacked = self._store.unacked()
            return {name.rpartition("/")[2]: unacked.get(name, 0) for name in self._catalog.names(SUBSCRIPTIONS)}

    def idle(self) -> bool:
        with self.changed:
            return not any(self._leases.values()) and self._store.empty()


def backoff(config: Pb, attempts: int) -> float:
    """Seconds before the next try after so many failed ones."""
    if config.HasField("retry_policy"):
        least = config.retry_policy.minimum_backoff.ToTimedelta().total_seconds()
        most = config.retry_policy.maximum_backoff.ToTimedelta().total_seconds()
    elif config.push_config.push_endpoint:
        least, most = 0.1, 60.0
    else:
        return 0.0
    return float(min(most, least * 2 ** min(attempts - 1, 30)))


def rfc3339(microseconds: int) -> str:
    """As Pub/Sub writes times: milliseconds, UTC."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:03d}Z"


def _message_of(ack_id: str) -> int:
    number = ack_id.partition(":")[0]
    return int(number) if number.isdigit() else 0
