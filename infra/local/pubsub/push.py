"""Deliver to push endpoints, over connections that are kept open, from one event loop in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import Mapping

import aiohttp
from yarl import URL

from infra.local.pubsub.broker import Broker, Delivery
from infra.local.pubsub.catalog import SUBSCRIPTIONS, Catalog
from infra.local.pubsub.envelope import Sign, Tokens, enclose
from infra.local.pubsub.wire import Pb

# 102 counts as well for Google, but by HTTP it is interim: the final status decides here.
_ACKNOWLEDGED = (200, 201, 202, 204)
_BYTES = 48 * 1024 * 1024  # of payload in flight per subscription; a push holds about 2.4 times its payload
# gunicorn closes an idle connection after 2 s; to be first avoids writing into one that is just being closed.
_KEEP_ALIVE_SECONDS = 1.5
_REFUSED_SECONDS = (0.1, 5.0)


class Pusher:
    """A lane for each subscription that has a push endpoint."""

    def __init__(
        self, broker: Broker, catalog: Catalog, sign: Sign | None, issuer: str, concurrency: int | Mapping[str, int]
    ) -> None:
        self._broker = broker
        self._catalog = catalog
        self._tokens = Tokens(sign, issuer)
        self._concurrency = concurrency
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pubsub-push", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        self._broker.listen(self._wake)
        self._broker.wake_all()

    def stop(self) -> None:
        """Break off what is under way; it stays unacknowledged and is delivered again at the next start."""
        self._broker.listen(None)
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        # Loopback only: a proxy of the environment (trust_env) is not asked, and cookies are not kept.
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def _close(self) -> None:
        tasks = [task for _, task in self._lanes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _wake(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._stir, name)

    def _stir(self, name: str) -> None:
        lane, task = self._lanes.get(name, (None, None))
        if lane is not None and task is not None and not task.done():
            lane.stirred.set()
        elif self._session is not None and _pushes(self._catalog.find(SUBSCRIPTIONS, name)):
            lane = Lane(name, self._broker, self._catalog, self._tokens, self._session, self._width(name))
            self._lanes[name] = (lane, self._loop.create_task(lane.run()))

    def _width(self, name: str) -> int:
        if isinstance(self._concurrency, int):
            return self._concurrency
        return self._concurrency.get(name.rpartition("/")[2], 16)


class Lane:
    """The pushes of one subscription: so many at a time, and a pause while its endpoint refuses connections."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        catalog: Catalog,
        tokens: Tokens,
        session: aiohttp.ClientSession,
        width: int,
    ) -> None:
        self.stirred = asyncio.Event()
        self._name = name
        self._broker = broker
        self._catalog = catalog
        self._tokens = tokens
        self._session = session
        self._width = width
        self._flying: dict[asyncio.Task[None], int] = {}
        self._pause = 0.0
        self._paused_until = 0.0

    async def run(self) -> None:
        """Push until the subscription is gone or has no endpoint any more."""
        try:
            while _pushes(self._catalog.find(SUBSCRIPTIONS, self._name)):
                self.stirred.clear()
                for delivery in self._take():
                    self._launch(delivery)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stirred.wait(), self._rest())
        finally:
            for task in list(self._flying):
                task.cancel()
            await asyncio.gather(*self._flying, return_exceptions=True)

    def _take(self) -> list[Delivery]:
        if self._paused():
            return []
        room = self._width - len(self._flying), _BYTES - sum(self._flying.values())
        return self._broker.take(self._name, *room, seconds=float("inf"))

    def _rest(self) -> float | None:
        """How long to wait for a stir: a landing, a message, or a change of the subscription."""
        if self._paused():
            return self._paused_until - asyncio.get_running_loop().time()
        return self._broker.next_event(self._name)

    def _paused(self) -> bool:
        return asyncio.get_running_loop().time() < self._paused_until

    def _launch(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._flying[task] = len(delivery.message.data)
        task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        self.stirred.set()
        if not task.cancelled():
            task.result()  # what nobody expected is raised into the loop's log

    async def _deliver(self, delivery: Delivery) -> None:
        subscription = self._catalog.find(SUBSCRIPTIONS, self._name)
        if not _pushes(subscription):
            self._broker.give_back(self._name, delivery.ack_id)
            return
        try:
            done = await self._push(delivery, subscription)
        except aiohttp.ClientConnectorError:
            # A deployed function always has a door, which waits for an instance. An endpoint that nobody listens on
            # is a function about to start: the message waits, and the attempt does not count.
            self._slow_down()
            self._broker.give_back(self._name, delivery.ack_id)
            return
        except (aiohttp.ClientError, TimeoutError):
            done = False
        except asyncio.CancelledError:
            self._broker.give_back(self._name, delivery.ack_id)
            raise
        except Exception:
            self._broker.refuse(self._name, [delivery.ack_id])  # such as a signer that fails: not lost, and not hidden
            raise
        self._pause = 0.0
        (self._broker.acknowledge if done else self._broker.refuse)(self._name, [delivery.ack_id])

    async def _push(self, delivery: Delivery, subscription: Pb) -> bool:
        request = enclose(delivery, subscription)
        post = self._session.post(
            URL(subscription.push_config.push_endpoint, encoded=True),
            data=io.BytesIO(request.body),  # written piece by piece, so that other pushes go on meanwhile
            headers=request.headers | self._tokens.headers(subscription.push_config),
            timeout=aiohttp.ClientTimeout(total=subscription.ack_deadline_seconds),
            allow_redirects=False,
        )
        async with post as response:
            return response.status in _ACKNOWLEDGED

    def _slow_down(self) -> None:
        least, most = _REFUSED_SECONDS
        if not self._paused():
            self._pause = min(most, max(least, 2 * self._pause))
            self._paused_until = asyncio.get_running_loop().time() + self._pause


def _pushes(subscription: Pb | None) -> bool:
    return subscription is not None and bool(subscription.push_config.push_endpoint)
