"""How fast one worker folds, all folds on: single-event and 64-event records, beside a Faust agent that counts.

A rate runs from a twentieth of the records being committed to all of them, by the stages of users and items: fetched,
folded, published, stored, acked and committed; `learned` ones run until the learner is done too. All three run one
after the other on the same broker, so their ratios mean something where the absolute figures depend on the machine.
"""

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient

from bench import load
from bench.report import AT_LEAST, AT_MOST, report
from ops.broker import topics
from ops.broker.lag import STAGE_OF, committed, end_offsets
from ops.processes import Process, Processes
from streams.errors import Unavailable
from streams.events import Event, encode
from streams.partition import partition_of
from streams.settings import Settings

BATCH = 64
TARGETS = {
    "single_over_bare": (AT_LEAST, 0.6),
    "batch_events_per_s": (AT_LEAST, 30_000.0),
    "batch_over_single": (AT_LEAST, 2.5),
    "rss_growth_mb": (AT_MOST, 64.0),
}


class Rates(NamedTuple):
    """Records a second to the end of the log by users and items, and by the learner too; MiB the worker grew by.

    Growth counts from a quarter of the work on.
    """

    folded: float
    learned: float
    growth: float


def run(settings: Settings, singles: int = 300_000, batched: int = 2_000_000) -> dict[str, Any]:
    """Measure on the broker of `settings` and return the report."""
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as folder, Processes(Path(folder)) as processes:
        here = replace(settings, data=Path(folder), namespace=f"bench-{uuid.uuid4().hex[:8]}")
        topics.create(here)
        asyncio.run(produce(here, load.events(singles), 1))
        bare = measure(here, processes, "bare", [sys.executable, "-m", "bench.bare"], singles).folded
        single = measure(here, processes, "single", [sys.executable, "-m", "ops.cli", "worker"], singles)
        many = replace(here, namespace=f"{here.namespace}-batch")
        topics.create(many)
        records = asyncio.run(produce(many, load.events(batched), BATCH))
        batch = measure(many, processes, "batch", [sys.executable, "-m", "ops.cli", "worker"], records)
    each = batched / records
    figures = {
        "bare_records_per_s": round(bare),
        "single_events_per_s": round(single.folded),
        "single_learned_per_s": round(single.learned),
        "single_over_bare": round(single.folded / bare, 3),
        "batch_events_per_s": round(batch.folded * each),
        "batch_learned_per_s": round(batch.learned * each),
        "batch_over_single": round(batch.folded * each / single.folded, 2),
        "rss_growth_mb": round(batch.growth, 1),
    }
    return report("ingest", settings.kafka, figures, TARGETS)


async def produce(settings: Settings, events: Iterator[Event], batch: int) -> int:
    """Write events in records of `batch`, and return how many records; raises Unavailable when some were not taken."""
    producer = AIOKafkaProducer(  # idempotent: what a leader just elected refuses is sent again, and stands there once
        **settings.client(),
        enable_idempotence=settings.kafka_idempotence,
        linger_ms=20,
        max_batch_size=256 << 10,
    )
    await producer.start()
    waiting: dict[int, list[Event]] = {}
    records, failed = 0, list[BaseException]()

    def heard(delivery: asyncio.Future[Any]) -> None:
        if (error := delivery.exception()) is not None:
            failed.append(error)

    async def send(partition: int) -> None:
        record = encode(waiting.pop(partition))
        sent = await producer.send(settings.topic("events"), record, partition=partition)
        sent.add_done_callback(heard)

    try:
        for event in events:
            partition = partition_of(event.user, settings.partitions)
            group = waiting.setdefault(partition, [])
            group.append(event)
            if len(group) == batch:
                await send(partition)
                records += 1
        for partition in list(waiting):
            await send(partition)
            records += 1
        await producer.flush()
    finally:
        await producer.stop()
    if failed:  # who waits until as many were folded would wait for ever
        raise Unavailable(f"the broker did not take {len(failed)} of {records} records: {failed[0]!r}")
    return records


def measure(settings: Settings, processes: Processes, name: str, command: list[str], records: int) -> Rates:
    """Run a worker, or what counts like one, to the end of the log."""
    process = processes.start(name, command, env=settings.environment())
    admin = KafkaAdminClient(**settings.client())
    group = settings.topic("bare") if name == "bare" else settings.group("users")
    started = begun = quarter = folded = 0.0
    try:
        while True:
            process.check()
            done = sum(committed(admin, group, settings.topic("events")).values())
            if not started and done >= records / 20:
                started, begun = time.perf_counter(), done
            if not quarter and done >= records / 4:
                quarter = _rss(process)
            if done >= records:
                rate = (done - begun) / (time.perf_counter() - started)
                if name == "bare":
                    return Rates(rate, rate, _rss(process) - quarter)
                if not folded and _caught_up(admin, settings, "touches"):
                    folded = rate
                if folded and _caught_up(admin, settings, "examples"):
                    return Rates(folded, rate, _rss(process) - quarter)
            time.sleep(0.05)
    finally:
        admin.close()
        process.stop()


def _caught_up(client: KafkaAdminClient, settings: Settings, topic: str) -> bool:
    done = committed(client, settings.group(STAGE_OF[topic]), settings.topic(topic))
    return sum(done.values()) >= sum(end_offsets(client, settings, topic).values())


def _rss(process: Process) -> float:
    """Return the resident MiB of a process and its children."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (process.pid, *children)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
