"""The registry on a real broker: published, promoted, followed by an API process, trained from the log."""

import asyncio
import contextlib
import time
from pathlib import Path

import numpy as np
import pytest

from api.metrics import Metrics
from api.registry import Follower
from models.actions import DEFAULTS
from models.blended import READ
from models.boosted import Boosted
from models.calibration import Platt
from models.features import NAMES
from models.trees import Trees
from ops.registry.registry import listed, promote, rollback
from ops.train.history import of_log
from ops.train.train import publish
from streams import artifacts, models
from streams.events import Event
from streams.models import Model, version_of
from streams.write import EventWriter, producer
from tests.models.test_blended import blended

pytestmark = pytest.mark.kafka
SECONDS = 60.0


def version(leaf):
    trees = Trees(
        np.array([0x7F800000 << 32]), np.array([leaf]), np.zeros(1, np.int64), np.zeros(1, np.int64), 1
    )
    return recorded("boosted", NAMES[:1], Boosted(NAMES[:1], trees, Platt()).pack())


def recorded(kind, features, artifact):
    name = artifacts.name_of(artifact)
    model = Model(
        name="ranker", version=version_of(name), kind=kind, artifact=name, size=len(artifact), features=features,
        metrics={}, card="# a card",
    )  # fmt: skip
    return model, artifact


async def until(what):
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < SECONDS
        await asyncio.sleep(0.1)


def test_a_promotion_reaches_a_process_that_follows_and_a_rollback_too(settings):
    versions = [version(1.0), recorded("sequence", READ, blended().pack())]
    for model, artifact in versions:
        publish(settings, model, artifact)
    first, second = (model for model, _ in versions)

    def decide(made):
        models.decide(settings, made[0])

    async def follow():
        follower = Follower(settings, Metrics())
        await follower.start()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(follower.stop)
            for one in (first, second):
                registry = await asyncio.to_thread(models.load, settings)
                await asyncio.to_thread(
                    lambda: decide(promote(settings, registry, one.key, "live", 1, "it is a test"))  # noqa: B023
                )
                await until(lambda: (live := follower.live("ranker")) and live.version == one.version)  # noqa: B023
            registry = await asyncio.to_thread(models.load, settings)
            await asyncio.to_thread(lambda: decide(rollback(settings, registry, "ranker", 2)))
            await until(lambda: follower.live("ranker").version == first.version)

    asyncio.run(follow())

    registry = models.load(settings)
    assert {one["model"]: one["stage"] for one in listed(registry)} == {
        first.key: "live",
        second.key: "retired",
    }
    assert registry.find(first.key) == first
    assert [one.reason for one in registry.of("ranker").made][:2] == ["it is a test"] * 2
    assert {path.name for path in Path(artifacts.place(settings)).iterdir()} == {
        first.artifact,
        second.artifact,
    }


def test_the_log_is_read_in_the_order_of_its_times_over_all_partitions(settings):
    now = time.time_ns() // 1_000_000
    with producer(settings) as to:
        for n in range(30):
            writer = EventWriter(settings, to, batch=1)
            event = Event(event_id=str(n), type="click", at=now, user_id=f"u{n % 7}", item_id=f"i{n}")
            writer.write([event])
            writer.finish()

    history = of_log(settings, DEFAULTS)
    found = [said.event.item_id for said in history.read()]

    times = [said.at for said in history.read()]
    assert sorted(found) == sorted(f"i{n}" for n in range(30))
    assert times == sorted(times)
    assert sum(end for _, end in history.span["events"].values()) == 30
    assert list(of_log(settings, DEFAULTS, until=now - 60_000).read()) == []
