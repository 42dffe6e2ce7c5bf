"""How long until a killed worker's partitions are folded again: same disk, no disk, and a standby beside it.

The clock runs from `kill -9` to the first new row in the changelog of the last partition to get one. The table is
not folded but written: a row of 1 KiB a user straight into its changelog, by the protocol of owners
(streams/changelog.py), so that a million users take a minute and not an hour.
"""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from agents.publisher import Publisher
from bench.report import AT_MOST, report
from models.users import User
from ops.broker import topics
from ops.broker.lag import committed
from ops.processes import Process, Processes
from streams import changelog
from streams.changelog import NOBODY, NOTE, Note
from streams.errors import Unavailable
from streams.events import Event
from streams.partition import partition_of
from streams.settings import Settings
from streams.write import EventWriter, producer

ROW = 1_000  # bytes, most of them random: no compression shortens them
FLUSH = 2_000  # rows before each note
LEVEL = r"users: .* standby partitions are level"
PATIENCE = 600.0  # seconds
TARGETS = {"cold_s": (AT_MOST, 120.0), "standby_s": (AT_MOST, 15.0)}


def run(settings: Settings, users: int = 1_000_000) -> dict[str, Any]:
    """Measure on the broker of `settings` and return the report."""
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as folder, Processes(Path(folder)) as processes:
        here = replace(settings, data=Path(folder), namespace=f"bench-{uuid.uuid4().hex[:8]}")
        topics.create(here)
        asyncio.run(_fill(here, users))
        with contextlib.closing(KafkaAdminClient(**here.client())) as admin:
            bench = _Bench(here, processes, admin)
            first = bench.start("worker-0")
            bench.fold([first])
            same, first = bench.kill(first, lambda: bench.start("worker-0"))
            cold, first = bench.kill(first, lambda: bench.start("worker-0", wiped=True))
            rows, seconds = _restored(first)
            second = bench.start("worker-1")
            bench.until(lambda: re.search(LEVEL, second.tail(10_000)) is not None, [first, second])
            bench.fold([first, second])
            standby, _ = bench.kill(first, lambda: second)
    figures = {
        "same_disk_s": round(same, 1),
        "cold_s": round(cold, 1),
        "standby_s": round(standby, 1),
        "restored_rows_per_s": round(rows / seconds),
        "users": users,
    }
    return report("recovery", settings.kafka, figures, TARGETS)


async def _fill(settings: Settings, users: int) -> None:
    """Write a row for each user, as a worker would that owns all partitions and has folded nothing yet."""
    topic = settings.changelog("users")
    by_partition: dict[int, list[bytes]] = {number: [] for number in range(settings.partitions)}
    for n in range(users):
        key = f"user-{n}"
        by_partition[partition_of(key, settings.partitions)].append(key.encode())
    publisher = Publisher(settings)
    await publisher.start()
    try:
        for number, keys in by_partition.items():
            claim = changelog.encode(Note(NOBODY, {"events": 0, "profiles": 0}))
            owner = await publisher.send(topic, number, [(NOTE, claim)])
            note = changelog.encode(Note(owner, {"events": 0, "profiles": 0}))
            for at in range(0, len(keys), FLUSH):
                rows = [
                    (key, User(seen=bytearray(random.randbytes(ROW))).row()) for key in keys[at : at + FLUSH]
                ]
                await publisher.send(topic, number, [*rows, (NOTE, note)], changelog.headers(owner))
    finally:
        await publisher.stop()


@dataclass
class _Bench:
    settings: Settings
    processes: Processes
    admin: KafkaAdminClient

    def start(self, name: str, *, wiped: bool = False) -> Process:
        if wiped:
            shutil.rmtree(self.settings.data / name)
        environment = {**self.settings.environment(), "REFOLD_WORKER": name}
        return self.processes.start(name, [sys.executable, "-m", "ops.cli", "worker"], env=environment)

    def kill(self, victim: Process, then: Callable[[], Process]) -> tuple[float, Process]:
        """Kill a worker and do what is to follow; return the seconds until every partition has a new row."""
        began = time.perf_counter()
        os.killpg(victim.pid, signal.SIGKILL)
        victim.stop()  # its stages end with it
        heir = then()
        folding = self.fold([heir])
        return folding - began, heir

    def fold(self, workers: Sequence[Process]) -> float:
        """Send an event to each partition; return when each had a new row, once all is committed too."""
        before = self._ends(self.settings.changelog("users"))
        self._send()
        self.until(
            lambda: all(end > before[at] for at, end in self._ends(self.settings.changelog("users")).items()),
            workers,
        )
        folding = time.perf_counter()
        events = self.settings.topic("events")
        self.until(
            lambda: committed(self.admin, self.settings.group("users"), events) == self._ends(events), workers
        )
        return folding

    def _ends(self, topic: str) -> dict[int, int]:
        places = {TopicPartition(topic, n): OffsetSpec.LATEST for n in range(self.settings.partitions)}
        return {tp.partition: at.offset for tp, at in self.admin.list_partition_offsets(places).items()}

    def _send(self) -> None:
        """Write one event of a user of each partition."""
        users: dict[int, str] = {}
        for n in count():
            users.setdefault(partition_of(f"user-{n}", self.settings.partitions), f"user-{n}")
            if len(users) == self.settings.partitions:
                break
        with producer(self.settings) as to:
            writer = EventWriter(self.settings, to, batch=1)
            now = int(time.time() * 1000)
            writer.write(
                Event(event_id=uuid.uuid4().hex, type="click", at=now, user_id=user, item_id="item")
                for user in users.values()
            )
            writer.finish()

    def until(self, holds: Callable[[], bool], workers: Sequence[Process]) -> None:
        """Wait for something, at most for so long, and as long as the workers run."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            for worker in workers:
                worker.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"not within {PATIENCE:.0f} s; the end of the log: {workers[-1].tail()}")
            time.sleep(0.05)


def _restored(worker: Process) -> tuple[int, float]:
    """Return how many rows a worker says it restored, and in how many seconds."""
    found = re.findall(r"restored (\d+) records in ([\d.]+) s", worker.tail(10_000))
    return max((int(rows), float(seconds)) for rows, seconds in found)
