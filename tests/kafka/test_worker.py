"""A worker on a real Kafka: killed, robbed of its disk, fed poison and duplicates, it ends as the fold of the log."""

import contextlib
import os
import shutil
import signal
import sys
import time

import pytest
from kafka import KafkaConsumer, TopicPartition

from agents.fake import Rows
from agents.learner import compile_kernels
from models.actions import DEFAULTS
from models.learned import COMMON, Common
from models.users import User
from ops.log import dead_letters
from ops.state.fold import ends, fold
from streams import events, items, profiles
from streams.changelog import Reading
from streams.events import Event
from streams.items import Item
from streams.log import Log
from streams.partition import partition_of
from streams.profiles import Profile
from streams.read import records
from streams.topology import STAGES, UNITS, partitions_of
from streams.write import EventWriter, producer
from tests.kafka.clicks import clicks

pytestmark = pytest.mark.kafka
PARTITIONS = 3


def start(processes, settings, name="worker-0"):
    environment = {**settings.environment(), "REFOLD_WORKER": name}
    return processes.start(name, [sys.executable, "-m", "ops.cli", "worker"], env=environment)


def kill(process):
    """End a worker at once; the kernel ends its stages with it."""
    os.killpg(process.pid, signal.SIGKILL)
    process.stop()


def rows(settings, table):
    """The newest row of every key, as the table's changelog tells it."""
    said = {}
    for record in records(settings, _changelog(table), quiet_ms=300):
        said.setdefault(record.partition, []).append(record)
    found = {
        (number, key): row
        for number, part in said.items()
        for key, row in Reading(units=table in UNITS).read(part).items()
    }
    return {key: row for key, row in found.items() if row is not None}


def _changelog(table):
    return f"refold-{table}-changelog"


def written(settings, topic):
    """How many records a topic holds."""
    name = settings.topic(topic)
    consumer = KafkaConsumer(**settings.client())
    with contextlib.closing(consumer):
        places = [TopicPartition(name, n) for n in consumer.partitions_for_topic(name)]
        return sum(consumer.end_offsets(places).values())


def folded(settings, stage):
    """The single-threaded fold of the logs, with the same agents over dictionaries."""
    held, numbers = {table: Rows() for table in STAGES[stage]}, range(partitions_of(settings, stage))
    with Log(settings) as log:
        for number in numbers:
            fold(log, settings, stage, number, held, ends(log, stage, number), DEFAULTS)
    return {
        table: {(number, key): row for number in numbers for key, row in rows.scan(number)}
        for table, rows in held.items()
    }


def describe(settings, to):
    """Write what is known of items, and of two users."""
    for n in range(60):
        key = f"item-{n}"
        value = items.encode(Item(title=key, categories=(f"category-{n % 5}",)))
        to.send(
            settings.topic("items"),
            key=key.encode(),
            value=value,
            partition=partition_of(key, PARTITIONS),
        )
    for user in ("user-1", "user-2"):
        value = profiles.encode(Profile(attributes={"country": "de"}))
        to.send(
            settings.topic("profiles"),
            key=user.encode(),
            value=value,
            partition=partition_of(user, PARTITIONS),
        )


def until(holds, what, seconds=45):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def assert_folded(settings):
    """Every table is, byte for byte, the fold of its logs, as soon as the worker has read them to the end."""
    users = folded(settings, "users")["users"]
    until(lambda: rows(settings, "users") == users, "users are the fold of events and profiles")
    for stage in ("items", "learner"):
        until(
            # touches and examples go on being said until the users are folded, and a moment longer
            lambda stage=stage: (
                {table: rows(settings, table) for table in STAGES[stage]} == folded(settings, stage)
            ),
            f"the tables of {stage} are the fold of what users said",
        )
    return users


@pytest.mark.timeout(400)  # on a machine that has to compile the learner first
def test_a_killed_worker_ends_as_the_fold_of_the_log(install, tmp_path, processes):
    settings = install(data=tmp_path, shards=2)
    compile_kernels()  # once for all its processes
    worker = start(processes, settings)
    with producer(settings) as to:
        writer = EventWriter(settings, to, batch=4)
        describe(settings, to)
        writer.write(clicks(1_000, seed=1))
        writer.finish()

        for table in ("users", "learned"):
            until(lambda table=table: written(settings, _changelog(table)), f"rows of {table} are published")
        kill(worker)
        worker = start(processes, settings)

        to.send(settings.topic("events"), key=b"user-3", value=b"\xc1 poison", partition=0)
        to.send(
            settings.topic("items"), key=b"item-1", value=b"\xc1 poison", partition=partition_of("item-1", 3)
        )
        good, bad = list(clicks(2, seed=9))
        bad = Event(
            event_id="bad",
            type="click",
            at=bad.at,
            user_id=good.user_id,
            item_id="item-1",
            value=float("nan"),
        )
        half = events.encode([good, bad])
        to.send(settings.topic("events"), key=b"k", value=half, partition=partition_of(good.user, PARTITIONS))
        twice = list(clicks(20, seed=2))
        writer.write(twice)
        writer.write(twice)
        writer.write(clicks(1_000, seed=3))
        writer.finish()
        for table in ("users", "learned"):
            before = written(settings, _changelog(table))
            until(
                lambda table=table, before=before: written(settings, _changelog(table)) > before,
                f"rows of {table} are published after the restart",
            )
        kill(worker)
        shutil.rmtree(settings.data / "worker-0")
        worker = start(processes, settings)

        to.send(
            settings.topic("profiles"),
            key=b"user-1",
            value=None,
            partition=partition_of("user-1", PARTITIONS),
        )
        writer.write(clicks(1_000, seed=4))
        writer.finish()

    until(
        lambda: any(b"erase" in (r.value or b"") for r in records(settings, "events", 300)),
        "user-1 is erased",
    )
    users = assert_folded(settings)
    erased = User.from_row(users[partition_of("user-1", PARTITIONS), b"user-1"])
    assert erased.profile is None
    assert User.from_row(users[partition_of("user-2", PARTITIONS), b"user-2"]).profile == {"country": "de"}
    counted = sum(sum(User.from_row(row).totals.values()) for row in users.values())
    assert 2_800 < counted <= 3_020  # each once, but for those of the erased user
    common = [
        Common.from_row(row) for (_, key), row in rows(settings, "learned").items() if key == COMMON.encode()
    ]
    assert [set(one.marks) for one in common] == [{0, 2}, {1}]  # partitions of events, by shard

    letters = dead_letters.listed(settings)
    assert len(letters) == 3
    assert {letter.topic for letter in letters} == {settings.topic("events"), settings.topic("items")}
    assert dead_letters.resend(settings) == {"sent": 1, "still_refused": 3}
    users = assert_folded(settings)
    assert sum(sum(User.from_row(row).totals.values()) for row in users.values()) == counted + 1

    worker.stop()
    for stage in STAGES:
        log = (settings.data / "logs" / "worker-0" / f"{stage}.log").read_text()
        assert "refold worker:" not in log  # nothing broke, not even while stopping


def test_two_workers_share_the_partitions(settings, processes):
    first, second = start(processes, settings, "worker-0"), start(processes, settings, "worker-1")

    def owned(name):
        return {path.name for path in (settings.data / name / settings.group("users")).rglob("users-*.db")}

    until(lambda: owned("worker-0") and owned("worker-1"), "both have partitions")
    with producer(settings) as to:
        writer = EventWriter(settings, to, batch=8)
        writer.write(clicks(600, seed=1))
        writer.finish()
    users = assert_folded(settings)
    assert sum(sum(User.from_row(row).totals.values()) for row in users.values()) == 600
    assert not any(process.poll() for process in (first, second))
