"""Recovery: brings the rows of taken-over partitions up to their changelogs, and keeps standbys of others.

Faust's own hands every record through its streams, a thousand a table at a time: 15,000 a second; it logs an error
and goes on where a row could not be stored, waits for ever after a broker's silence, and gives a record of a
partition that was just lost to whichever table came before it. This one reads the changelogs by itself, in order,
and ends the process when it cannot.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError
from faust.tables import recovery
from faust.tables.manager import TableManager
from mode import Service

from agents.crash import die, why
from agents.restoring import Restoring
from agents.store import OPTIONS, Store
from streams.changelog import NOTE
from streams.settings import Settings
from streams.topology import UNITS

logger = logging.getLogger(__name__)

FETCH_BYTES = 4 << 20  # of a partition at once; of all together 50 MiB, aiokafka's default
BUFFERS = (
    128 << 20
)  # bytes of rows that gather in memory, twice, while all is restored: larger files, 40 % less work
BATCH = 2_000  # records written at once, some 10 ms in which the event loop stands still
POLL_MS = 100  # the longest pause in reading; a rebalance waits for it
SAY_SECONDS = 5.0


def tables(settings: Settings) -> partial[Any]:
    """Return what makes a Faust app's table manager, one with this recovery."""
    return partial(Tables, settings)


class Tables(TableManager):  # type: ignore[misc]
    """Faust's table manager with another recovery."""

    def __init__(self, settings: Settings, app: Any, **more: Any) -> None:
        super().__init__(app, **more)
        self._settings = settings

    @property
    def recovery(self) -> "Recovery":
        """The recovery, made when the loop runs that it belongs to."""
        if self._recovery is None:  # type: ignore[has-type]
            self._recovery = Recovery(self._settings, self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class Recovery(recovery.Recovery):  # type: ignore[misc]
    """Restores active partitions after each rebalance, then follows the standby ones; `restored` counts records.

    A `turn` lasts from one rebalance to the next: once partitions are being given up, nothing of it is written.
    """

    def __init__(self, settings: Settings, *faust: Any, **more: Any) -> None:
        super().__init__(*faust, **more)
        self.restored = 0
        self._settings = settings
        self._turn = 0
        self._buffering: set[Any] = set()  # more than is usual; partitions given up meanwhile are opened anew
        self._reader: AIOKafkaConsumer | None = None
        self._following: asyncio.Future[None] | None = None

    def on_partitions_revoked(self, revoked: set[Any]) -> None:  # noqa: ARG002 - Faust's signature
        """End the turn: another worker may own the partitions from now on."""
        self._turn += 1

    @Service.task  # type: ignore[untyped-decorator]
    async def _slurp_changelogs(self) -> None:
        return  # no changelog comes through Faust's streams

    @Service.task  # type: ignore[untyped-decorator]
    async def _publish_stats(self) -> None:
        return  # said by `_restore`

    @Service.task  # type: ignore[untyped-decorator]
    async def _restart_recovery(self) -> None:
        while not await self.wait_for_stopped(self.signal_recovery_start):
            self.signal_recovery_start.clear()
            turn, generation = self._turn, self._generation_id
            self._set_recovery_started()
            try:
                await self._wait(self._restore(turn, set(self.active_tps)))
                await self._wait(self.on_recovery_completed(generation))
            except (recovery.RebalanceAgain, IllegalStateError):
                continue
            except recovery.ServiceStopped:
                if self.should_stop:
                    return
                die("the broker did not answer while partitions were taken over; starting anew")
            except Exception as error:  # noqa: BLE001 - rows that are not restored must not be folded into
                die(f"restoring tables from their changelogs failed: {why(error)}")
            if self.standby_tps:
                self._following = self.add_future(self._follow(turn, set(self.standby_tps)))

    async def on_stop(self) -> None:
        """Disconnect."""
        self._turn += 1
        if self._reader is not None:
            # aiokafka may throw a cancellation of its own through `stop`, which is not for the caller
            await asyncio.wait([asyncio.ensure_future(self._reader.stop())])

    async def _restore(self, turn: int, tps: Iterable[Any]) -> None:
        """Read the changelogs of partitions up to the ends they have now."""
        if self._following is not None:
            # not awaited itself: a cancellation of ours would end in it, and be met again in the next turn
            await asyncio.wait([self._following])
            self._following = None
        stores = self._stores(tps)
        restoring = _restoring(stores)
        ends = await self._seek(stores, restoring)
        left = {place: end - 1 - restoring[place].offset for place, end in ends.items()}
        began = said = time.monotonic()
        before = self.restored
        for place in (place for place, count in left.items() if count > 0):
            stores[place].buffer(place.partition, max(BUFFERS // len(left), OPTIONS["write_buffer_size"]))
            self._buffering.add(place)
        while any(count > 0 for count in left.values()):
            for place, records in (await self._poll(turn)).items():
                restoring[place].take(records)
                self.restored += len(records)
            if self._turn != turn:
                return
            for place, end in ends.items():
                left[place] = end - await self._reader.position(place)  # type: ignore[union-attr]
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                logger.info("restored %d records, %d to go", self.restored - before, sum(left.values()))
        for place, end in ends.items():
            restoring[place].reach(end - 1)
            if place in self._buffering:
                stores[place].buffer(place.partition, OPTIONS["write_buffer_size"])
        self._buffering.clear()
        logger.info("restored %d records in %.1f s", self.restored - before, time.monotonic() - began)

    async def _follow(self, turn: int, tps: Iterable[Any]) -> None:
        """Keep standby partitions up with their changelogs, flush by flush, until the turn ends."""
        stores = self._stores(tps)
        restoring = _restoring(stores)
        begun: dict[Any, list[Any]] = {
            place: [] for place in stores
        }  # records of a flush whose note is to come
        level = False
        try:
            ends = await self._seek(stores, restoring)
            while self._turn == turn:
                for place, records in (await self._poll(turn)).items():
                    begun[place] += records
                    # a reading in units holds back by itself what is not whole
                    if count := len(begun[place]) if restoring[place].units else whole(begun[place]):
                        restoring[place].take(begun[place][:count])
                        del begun[place][:count]
                if not level and all([await self._reader.position(place) >= ends[place] for place in ends]):  # type: ignore[union-attr]
                    level = True
                    logger.info("%d standby partitions are level with their changelogs", len(stores))
        except Exception as error:  # noqa: BLE001 - a standby that falls behind unseen is none
            die(f"following changelogs as a standby failed: {why(error)}")

    async def _seek(self, stores: Mapping[Any, Store], going: Mapping[Any, Restoring]) -> Mapping[Any, int]:
        """Go where the rows stand that there are; return the ends of the changelogs."""
        if not stores:
            return {}
        if self._reader is None:
            reader = AIOKafkaConsumer(
                **self._settings.client(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_max_wait_ms=POLL_MS,
                max_partition_fetch_bytes=FETCH_BYTES,
            )
            await reader.start()
            self._reader = reader
        begins = await self._reader.beginning_offsets(list(stores))
        ends: Mapping[Any, int] = await self._reader.end_offsets(list(stores))
        self._reader.assign(list(stores))
        for place, store in stores.items():
            reached = store.offset(place.partition)
            if reached >= ends[place]:
                die(
                    f"the rows of {place.topic}[{place.partition}] reach offset {reached}, the changelog ends at "
                    f"{ends[place]}: it was made anew or lost records, and the tables must be folded again"
                )
            self._reader.seek(place, max(going[place].offset + 1, begins[place]))
        return ends

    async def _poll(self, turn: int) -> Mapping[Any, list[Any]]:
        """Return what comes next, nothing once the turn has ended: what is written next is written in that turn."""
        assert self._reader is not None
        polled: Mapping[Any, list[Any]] = await self._reader.getmany(timeout_ms=POLL_MS, max_records=BATCH)
        return polled if self._turn == turn else {}

    def _stores(self, tps: Iterable[Any]) -> dict[Any, Store]:
        return {TopicPartition(tp.topic, tp.partition): self.tp_to_table[tp].data for tp in tps}


def _restoring(stores: Mapping[Any, Store]) -> dict[Any, Restoring]:
    return {
        place: Restoring(store, place.partition, units=store.table.name in UNITS)
        for place, store in stores.items()
    }


def whole(records: Sequence[Any]) -> int:
    """Return how many of these records make up whole flushes: those up to the last note of an owner."""
    for count in range(len(records), 0, -1):
        last = records[count - 1]
        if last.key == NOTE and last.headers:  # a claim has none
            return count
    return 0
