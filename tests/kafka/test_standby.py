"""A standby on a real Kafka: whoever is killed, the other goes on from its own copy, and all is the fold of the log."""

import re

import pytest

from streams.write import EventWriter, producer
from tests.kafka.clicks import clicks
from tests.kafka.test_worker import (
    assert_folded,
    kill,
    start,
    until,
)

pytestmark = pytest.mark.kafka
LEVEL = re.compile(r"users: .* (\d+) standby partitions are level with their changelogs")
RESTORED = re.compile(r"users: .* restored (\d+) records in ")


def level(worker):
    """Tell whether it follows its share of the other's partitions: of two tables, one or two of three."""
    found = LEVEL.findall(worker.tail(10_000))
    return bool(found) and found[-1] in ("2", "4")


def takeovers(worker):
    """How many records it restored in each of its takeovers."""
    return [int(count) for count in RESTORED.findall(worker.tail(10_000))]


def kill_one(victim, heir):
    """Kill a worker; return what the other had to restore, once it has taken over."""
    before = len(takeovers(heir))
    kill(victim)
    until(lambda: len(takeovers(heir)) > before, "the partitions are taken over")
    return takeovers(heir)[before:]


@pytest.mark.timeout(400)
def test_the_other_worker_goes_on_from_its_own_copy(settings, processes):
    names = ["worker-0", "worker-1"]
    workers = {name: start(processes, settings, name) for name in names}
    with producer(settings) as to:
        writer = EventWriter(settings, to, batch=4)
        for seed in range(3):
            until(lambda: all(map(level, workers.values())), "standbys are level")
            writer.write(clicks(2_000, seed))
            writer.finish()
            assert_folded(settings)
            writer.write(clicks(1_000, 100 + seed))  # under way when one is killed
            writer.finish()
            victim, heir = names
            restored = kill_one(workers[victim], workers[heir])
            assert_folded(settings)
            assert sum(restored) < 1_000, "a copy that was level lacks only what came last"
            workers[victim] = start(processes, settings, victim)
            names.reverse()
    assert not any("refold worker:" in worker.tail(10_000) for worker in workers.values())
