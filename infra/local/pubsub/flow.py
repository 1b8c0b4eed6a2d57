"""How much one streaming pull may have outstanding."""

from __future__ import annotations

from infra.local.pubsub.broker import Broker, Delivery
from infra.local.pubsub.wire import Pb

_MESSAGES, _BYTES = 1000, 100_000_000  # where the client states no limit


class Flow:
    """One stream's limits, deadline and end."""

    def __init__(self, broker: Broker, first: Pb) -> None:
        self._broker = broker
        self._subscription = first.subscription
        self._messages = first.max_outstanding_messages if first.max_outstanding_messages > 0 else _MESSAGES
        self._bytes = first.max_outstanding_bytes if first.max_outstanding_bytes > 0 else _BYTES
        self._sent: dict[str, int] = {}
        self.seconds: float = first.stream_ack_deadline_seconds
        self.closed = False

    def room(self, answer: int) -> tuple[int, int]:
        """(messages, bytes) that the next answer may hold."""
        self._sent = {one: size for one, size in self._sent.items() if self._broker.leased(self._subscription, one)}
        return self._messages - len(self._sent), min(answer, self._bytes - sum(self._sent.values()))

    def sent(self, deliveries: list[Delivery]) -> None:
        self._sent.update({one.ack_id: len(one.message.data) for one in deliveries})

    def close(self) -> None:
        """The client has ended its half of the stream."""
        with self._broker.changed:
            self.closed = True
            self._broker.changed.notify_all()
