import asyncio

import numpy as np
import pytest

from api.experiments import Follower
from api.fake import Fake
from api.guard import Guard
from api.memory import MemoryProducer
from api.metrics import Metrics
from api.outcomes import sheets
from models.outcomes import Outcomes
from models.surfaces import load
from models.verdict import judge
from streams.errors import Unavailable
from streams.experiments import Arm, Definition, Metric, Record
from streams.settings import Settings
from tests.models.sheets import drawn

NOW = 1_750_000_000_000


@pytest.fixture
def running():
    tried = Definition(
        key="try",
        version=1,
        arms={"a": Arm(), "b": Arm()},
        control="a",
        metrics={"ctr": Metric("click", margin=0.05)},
    )
    return Record(key="try", state="running", versions=(tried,))


@pytest.fixture
def watched(running):
    """A guard, its producer, and the follower it reads, which knows a running experiment."""
    producer, settings = MemoryProducer(), Settings(partitions=4, dimensions=16)
    follower = Follower(settings, load(settings.config), producer, Metrics(), lambda: NOW)
    fake = Fake(16)
    asyncio.run(follower.write(running))
    return Guard(follower, lambda: fake.state.tables, lambda: NOW), producer, follower, fake


def outcomes(rate):
    draw = np.random.default_rng(1)
    return Outcomes(sheets={(1, "a"): drawn(draw, 2_000), (1, "b"): drawn(draw, 2_000, rate)})


def test_a_breached_guardrail_stops_the_experiment_and_says_why(watched):
    guard, _, follower, fake = watched
    fake.experiments["try"] = outcomes(0.1)
    asyncio.run(guard.look())
    record = follower.known.find("try")

    assert record.state == "stopped"
    assert record.decided[-1].by == "guardrail"
    assert "arm 'b' differs by -" in record.decided[-1].reason
    assert follower.assigner.known.find("try").at(NOW) is None


def test_a_report_stands_as_it_stopped_the_experiment(watched):
    guard, _, follower, fake = watched
    fake.experiments["try"] = outcomes(0.1)
    asyncio.run(guard.look())
    stopped = judge(follower.known.find("try"), sheets(fake.state.tables.outcomes("try")), NOW)
    fake.experiments["try"] = outcomes(0.3)  # they go on clicking
    found = judge(follower.known.find("try"), sheets(fake.state.tables.outcomes("try")), NOW)

    assert found == stopped
    assert found.verdict == "breached"
    assert found.notes == ("as it stood when it ended: what users did later does not count",)


def test_it_is_stopped_once(watched):
    guard, producer, follower, fake = watched
    fake.experiments["try"] = outcomes(0.1)
    asyncio.run(guard.look())
    written = {place: list(records) for place, records in producer.log.items()}
    asyncio.run(guard.look())

    assert producer.log == written
    assert follower.known.find("try").revision == 2


@pytest.mark.parametrize("rate", [0.2, 0.3])
def test_what_does_no_sure_harm_runs_on(watched, rate):
    guard, _, follower, fake = watched
    fake.experiments["try"] = outcomes(rate)
    asyncio.run(guard.look())

    assert follower.known.find("try").state == "running"


def test_without_units_it_runs_on(watched):
    guard, _, follower, _ = watched
    asyncio.run(guard.look())

    assert follower.known.find("try").state == "running"


def test_a_word_that_came_first_is_not_undone(watched, running, monkeypatch):
    guard, _, follower, fake = watched
    fake.experiments["try"] = outcomes(0.1)
    seen = follower.known

    async def meanwhile():
        await follower.end("try", "killed", "by hand", "anna")
        monkeypatch.setattr(type(follower), "known", property(lambda _: seen))
        await guard.look()
        monkeypatch.undo()

    asyncio.run(meanwhile())

    assert follower.known.find("try").state == "killed"
    assert follower.known.find("try").decided[-1].by == "anna"


def test_a_broker_that_is_away_is_told_of(watched):
    guard, producer, follower, fake = watched
    fake.experiments["try"] = outcomes(0.1)
    producer.down = True
    with pytest.raises(Unavailable):
        asyncio.run(guard.look())
    producer.down = False
    asyncio.run(guard.look())

    assert follower.known.find("try").state == "stopped"


def test_it_looks_in_the_background(watched):
    guard, _, follower, fake = watched
    fake.experiments["try"] = outcomes(0.1)

    async def life():
        await guard.start()
        while follower.known.find("try").state == "running":
            await asyncio.sleep(0.01)
        await guard.stop()

    asyncio.run(asyncio.wait_for(life(), 10))
