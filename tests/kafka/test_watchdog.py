"""On a real Kafka: a stage that stands still ends with 70 and says why; one that waits for its broker lives."""

import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from agents.crash import EXIT_CODE
from agents.watchdog import waiting
from ops.broker import kafka as broker
from ops.broker.topics import create
from ops.processes import free_port
from streams.events import Event
from streams.settings import Settings
from streams.write import EventWriter, producer

pytestmark = pytest.mark.kafka

# A stage that does `broken` once it is folding, watched with less patience.
STAGE = """
import asyncio, time
from agents import watchdog, worker
from agents.flush import Flusher
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from models.actions import DEFAULTS
from streams.settings import Settings

watchdog.FOLD, watchdog.SURE, watchdog.TURN, watchdog.TAKEOVER = 6.0, 2.0, 4.0, 8.0
fetch, hold = AIOKafkaConsumerThread._fetch_records, Flusher.hold
folded = []

def holding(self, event):
    folded.append(event)
    hold(self, event)

async def fetching(self, consumer, active, timeout=None, max_records=None):
    {broken}
    return await fetch(self, consumer, active, timeout, max_records)

Flusher.hold = holding
AIOKafkaConsumerThread._fetch_records = fetching
worker.run(Settings.from_env(), "users", DEFAULTS)
"""
SILENT = """if folded:
        await asyncio.sleep(0.1)
        return {}"""
STUCK = """if folded:
        self.parent_loop.call_soon_threadsafe(time.sleep, 600)"""


@pytest.fixture
def settings(install, tmp_path):
    return install(data=tmp_path, partitions=2)


def run(processes, settings, broken="pass"):
    command = [sys.executable, "-c", STAGE.format(broken=broken)]
    return processes.start("users", command, env={**settings.environment(), "PYTHONPATH": str(Path.cwd())})


def click(settings, count=20):
    now = int(time.time() * 1000)
    with producer(settings) as to:
        writer = EventWriter(settings, to, batch=1)
        writer.write(
            Event(event_id=uuid.uuid4().hex, type="click", at=now, user_id=f"u{n}", item_id="i")
            for n in range(count)
        )
        writer.finish()


def left(settings):
    places = [(settings.topic("events"), n) for n in range(settings.partitions)]
    return waiting(settings, settings.group("users"), places)


def until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (SILENT, "refold worker: nothing was folded for "),
        (STUCK, "refold worker: the event loop has not turned for "),
    ],
    ids=["a consumer that fetches no more", "a loop that is stuck"],
)
def test_a_stage_that_stands_still_ends_and_says_why(settings, processes, broken, word):
    stage = run(processes, settings, broken)
    click(settings)

    def ended():
        click(settings, 1)
        return stage.poll() is not None

    until(ended)
    assert stage.poll() == EXIT_CODE
    assert stage.tail(1).startswith(word)
    assert left(settings).startswith(f"{settings.topic('events')}[")

    run(processes, settings)
    until(lambda: not left(settings))


def test_a_stage_that_was_stopped_or_is_idle_lives(settings, processes):
    stage = run(processes, settings)
    click(settings)
    until(lambda: not left(settings))

    os.kill(stage.pid, signal.SIGSTOP)
    time.sleep(20)
    os.kill(stage.pid, signal.SIGCONT)
    time.sleep(15)

    click(settings)
    until(lambda: not left(settings))
    assert stage.poll() is None


def test_a_broker_that_goes_away_is_waited_for_and_nothing_is_lost(tmp_path, processes):
    """Whether the stage waits or ends and is started again: it says so, and folds what comes then."""
    port = free_port()
    settings = Settings(kafka=f"127.0.0.1:{port}", partitions=2, dimensions=16, data=tmp_path)
    with broker.running(tmp_path / "kafka", port):
        create(settings)
        stage = run(processes, settings)
        click(settings)
        until(lambda: not left(settings))
    time.sleep(20)
    assert stage.poll() is None
    with broker.running(tmp_path / "kafka", port):
        click(settings)
        until(lambda: not left(settings), 90)
        assert stage.poll() is None
