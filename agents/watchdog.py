"""The watchdog: ends the process when it stands still although there is work and the broker answers.

Consumers that stop fetching after a broker's restart, agents that die without a word, takeovers that never end:
each was reported of Faust or aiokafka, each looks like idleness from inside. So the broker is asked, and it is
asked from a thread, which works when the event loop does not.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from agents.crash import die
from streams.settings import Settings

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks
ASLEEP = 10.0  # so long between two looks, and the process itself was stopped: all patience begins anew
TURN = 60.0  # seconds for one turn of the event loop
FLUSH = 90.0  # for one flush; its publisher gives up after 30
TAKEOVER = 120.0  # without a record read while partitions are being taken over
FOLD = 60.0  # without a record folded or flushed, until the broker is asked whether any waits
SURE = 10.0  # until it is asked again: a record may just have come
POLL_MS = 2_000
POLLS = 3


@dataclass(frozen=True)
class Signs:
    """Signs of life: when the loop last turned, since when a flush is under way, what was done so far."""

    turned: float
    flushing: float | None
    done: int
    taking_over: bool


class Watch:
    """Judges signs of life; `waiting` asks the broker which record waits to be folded, "" for none.

    What `waiting` raises means that the broker is away, which is nobody's fault here: it is waited for.
    """

    def __init__(self, waiting: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = waiting
        self._clock = clock
        self._looked = self._awake = self._moved = clock()
        self._done = -1
        self._suspected: float | None = None
        self._away = False

    def look(self, signs: Signs) -> str:
        """Return why the process must end, or nothing."""
        now = self._clock()
        if now - self._looked > ASLEEP:
            self._awake = self._moved = now
            self._suspected = None
        try:
            return self._judge(now, signs)
        finally:
            self._looked = self._clock()  # asking takes time that is no sleep

    def _judge(self, now: float, signs: Signs) -> str:
        if (still := now - max(signs.turned, self._awake)) > TURN:
            return f"the event loop has not turned for {still:.0f} s"
        if signs.flushing is not None and (still := now - max(signs.flushing, self._awake)) > FLUSH:
            return f"a flush has not ended for {still:.0f} s"
        if signs.done != self._done:
            self._done, self._moved, self._suspected = signs.done, now, None
            return ""
        still = now - self._moved
        if still < (SURE if self._away else TAKEOVER if signs.taking_over else FOLD):
            return ""
        if self._suspected is not None and now - self._suspected < SURE:
            return ""
        try:
            waits = self._waiting()
        except Exception as error:  # noqa: BLE001 - whatever it is, the broker does not answer as it should
            self._wait_for_broker(error)
            return ""
        if self._away:  # back again: now there is as much time as ever
            self._away, self._moved = False, now
        elif signs.taking_over:
            return f"taking partitions over has not moved for {still:.0f} s, though the broker answers"
        elif not waits:
            self._moved, self._suspected = now, None
        elif self._suspected is None:
            self._suspected = now
        else:
            return f"nothing was folded for {still:.0f} s, though {waits} and the broker answers"
        return ""

    def _wait_for_broker(self, error: Exception) -> None:
        if not self._away:
            logger.warning("the broker does not answer, waiting for it: %s", error)
        self._away = True
        self._moved, self._suspected = self._clock(), None


def waiting(settings: Settings, group: str, places: Iterable[tuple[str, int]]) -> str:
    """Return which record of these partitions (topic, number) the group has not committed yet, "" for none.

    Raises what kafka-python raises when the broker does not answer.
    """
    wanted = [TopicPartition(*place) for place in places]
    consumer = KafkaConsumer(
        **settings.client(), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )  # raises when nobody answers, even if there is nothing to ask for
    with contextlib.closing(consumer):
        if not wanted:
            return ""
        ends = consumer.end_offsets(wanted)
        done = {tp: consumer.committed(tp) or 0 for tp in wanted}
        behind = [tp for tp in wanted if done[tp] < ends[tp]]
        consumer.assign(behind)
        for tp in behind:
            consumer.seek(tp, done[tp])
        # looked at, since an end may be that of a transaction, which no record reaches
        for _ in range(POLLS if behind else 0):
            for tp, records in consumer.poll(timeout_ms=POLL_MS, max_records=1).items():
                return f"{tp.topic}[{tp.partition}] holds one at offset {records[0].offset}"
    return ""


async def guard(app: Any, settings: Settings, sources: Iterable[str], flusher: Any) -> None:
    """Turn with the loop for ever, while a thread looks whether the process folds the topics `sources`."""
    turned = time.monotonic()

    def signs() -> Signs:
        taking_over = app.rebalancing or app.in_recovery or app._assignment is None  # noqa: SLF001
        done = flusher.done + app.tables.recovery.restored
        return Signs(turned, flusher.flushing, done, taking_over)

    def held() -> str:
        assigned = app._assignment or ()  # noqa: SLF001
        return waiting(settings, app.conf.id, [tuple(tp) for tp in assigned if tp.topic in topics])

    topics = {settings.topic(source) for source in sources}
    threading.Thread(target=_look, args=(app, Watch(held), signs), name="watchdog", daemon=True).start()
    while True:
        turned = time.monotonic()
        await asyncio.sleep(LOOK)


def _look(app: Any, watch: Watch, signs: Callable[[], Signs]) -> None:
    while not app.should_stop:
        time.sleep(LOOK)
        if last_word := watch.look(signs()):
            die(last_word)
