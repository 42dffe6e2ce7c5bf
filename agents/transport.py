"""Faust's Kafka transport, with two mistakes mended, its loop over records made cheaper and its polls shorter.

The mistakes: what is fetched during a rebalance is dropped, and read again only where something is committed; the
rest was lost. And Faust records a gap in the offsets of a compacted topic as one longer than it is, so that the record
after the gap counts as acked and may be committed before it was folded. `items` and `profiles` are compacted.

The cost: Faust starts four tasks for every record, to hand it over and to notice a rebalance meanwhile. Handing over
hardly ever waits, so it is tried first without any task.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from mode.services import WaitResults

SCHEME = "refold"
FETCH_MS = 50  # a partition whose records were just taken waits for the poll that runs without it


class Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread with a short long-poll."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MS  # noqa: SLF001 - Faust fixes it at 1,500 and has no setting
        return consumer

    async def seek_to_beginning(self, places: Iterable[Any]) -> None:
        """Seek partitions to their beginnings."""
        await self.call_thread(self._ensure_consumer().seek_to_beginning, *places)


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer; a gap ends before the next real record, and waiting starts only where something waits."""

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Any:
        """Seek to what is committed and, where nothing is yet, to the beginning.

        There aiokafka stays where it is: behind what it fetched during a rebalance, which Faust has dropped.
        """
        committed = await super().seek_to_committed()
        if new := [tp for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)]:
            await self._thread.seek_to_beginning(new)
        return committed

    async def verify_all_partitions_active(self) -> None:
        """Leave it to the watchdog, which knows which partitions are to be read through Faust."""

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        await super()._add_gap(tp, offset_from, offset_to - 1)

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - mode's signature
        """Return at once when the first of two coroutines ends without waiting; else wait as Faust does."""
        if len(coros) != 2 or not all(isinstance(coro, Coroutine) for coro in coros):
            return await super().wait_first(*coros, timeout=timeout)
        first, other = coros
        try:
            awaited = first.send(None)
        except StopIteration as end:
            other.close()
            return WaitResults([first], [end.value], stopped=False)
        return await super().wait_first(_Begun(first, awaited), other, timeout=timeout)


class _Begun:
    """A coroutine that has already run to its first wait."""

    def __init__(self, begun: Coroutine[Any, Any, Any], awaited: Any) -> None:
        self._begun = begun
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 - a cancellation too belongs to the coroutine
                awaited = self._begun.throw(error)
                continue
            try:
                awaited = self._begun.send(sent)
            except StopIteration as end:
                return end.value


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust's producer, whose buffer stays empty: nothing is sent through it (agents/publisher.py)."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.buffer.wait_until_ebb = _at_once  # else every record asks how full it is, through two settings


async def _at_once() -> None:
    return


class Raw(faust.Schema):  # type: ignore[misc]
    """Keys and values as they came; Faust would look a serializer up for each."""

    def compile(self, app: faust.App, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that makes an event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001 - nothing can fail
            return app.create_event(message.key, message.value, message.headers, message)

        return decode


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's transport over that consumer and producer."""

    Consumer = Consumer
    Producer = Producer


TRANSPORTS.aliases[SCHEME] = "agents.transport:Transport"
