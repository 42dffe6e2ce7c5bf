"""Which generation an API process serves; `tests/kafka/test_rebuild.py` holds the same on a real Kafka."""

import asyncio
import contextlib
import time

import msgspec
import pytest

from api import generation
from api.answers import Request
from api.app import create_app
from api.engine import Engine
from api.fake import Fake
from api.generation import Serving
from models import items, learned, outcomes, popular, users
from models.surfaces import load
from streams.errors import StateError
from streams.events import Event
from streams.generations import Generation, Generations
from streams.items import Item
from streams.settings import Settings

NOW = 1_750_000_000_000
ITEMS = {f"item-{n}": Item(title=f"Title {n}", categories=(f"kind-{n % 3}",)) for n in range(30)}


def fake(*chosen):
    log = [
        Event(event_id=f"e{n}", type="click", at=NOW - 1000 + n, user_id="anna", item_id=item)
        for n, item in enumerate(chosen)
    ]
    return Fake.of(log, ITEMS, NOW, dimensions=16)


def recorded(*stages):
    folds = {
        "users": f"users={users.VERSION} dimensions=16 weights=a",
        "items": f"items={items.VERSION} popular={popular.VERSION} outcomes={outcomes.VERSION}",
        "learner": f"learned={learned.VERSION} dimensions=16",
    }
    return Generations(
        all=tuple(Generation(number=n, stage=stage, folds=folds) for n, stage in stages),
    )


class Half:
    """A state that becomes ready, or fails, when a test says so."""

    made = None

    def __init__(self, settings, now):
        self.settings, self.now = settings, now
        self.state = fake(f"item-{settings.generation}").state
        self.ready, self.failure, self.trouble = False, "", ""
        self.started = self.stopped = False
        self.made.append(self)

    async def start(self):
        self.started = True

    async def stop(self):
        self.stopped = True


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setattr(generation, "Live", Half)
    monkeypatch.setattr(generation, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(generation, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(Half, "made", [])
    return Half.made


@contextlib.asynccontextmanager
async def serving(tmp_path, monkeypatch, first):
    """A started one, to which `_learn` tells what is recorded, as reading `control` would."""

    async def hear(self):
        self._learn(first)
        await asyncio.sleep(600)

    monkeypatch.setattr(Serving, "_listen", hear)
    (tmp_path / "api-0").mkdir(exist_ok=True)
    served = Serving(Settings(data=tmp_path, dimensions=16), lambda: NOW)
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


async def until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def test_an_engine_serves_another_state_at_once():
    before, after = fake("item-1"), fake("item-2", "item-3")
    engine = Engine(before.state, load(), clock=lambda: 1.0)  # no budget is ever spent
    request = Request(at=NOW, user_id="anna", n=5)
    first = engine.recommend(request)
    assert engine.recommend(request).rung == "cached"

    engine.serve(after.state)

    fresh = engine.recommend(request)
    assert (first.rung, fresh.rung) == ("full", "full")
    assert fresh.state["user_offset"] == after.user_offset(after.user("anna"))
    assert engine.slate(first).request_id == first.request_id  # what was answered can still be logged
    assert engine.recommend(request).rung == "cached"
    click = Event(event_id="more", type="click", at=NOW, user_id="anna", item_id="item-4")
    after.fold([click])  # tells of the change
    assert engine.recommend(request).rung == "full"


def test_a_new_live_generation_is_served_once_it_is_ready(tmp_path, monkeypatch, halves):
    async def main():
        async with serving(tmp_path, monkeypatch, recorded((0, "live"))) as served:
            told = []
            served.on_swap.append(told.append)
            old = halves[0]
            served._learn(recorded((0, "live"), (1, "standby")))
            await asyncio.sleep(0.02)
            assert len(halves) == 1
            served._learn(recorded((0, "standby"), (1, "live")))
            await until(lambda: len(halves) == 2)
            await asyncio.sleep(0.02)
            assert (served.generation, served.state, told) == (0, old.state, [])
            assert not old.stopped
            halves[1].ready = True
            await until(lambda: served.generation == 1)
            assert (served.state, told) == (halves[1].state, [halves[1].state])
            await until(lambda: old.stopped)
            await until(lambda: (tmp_path / "api-0" / "generation").read_text() == "1")
            assert halves[1].settings.generation == 1
        assert halves[1].stopped

    asyncio.run(main())


def test_what_cannot_be_read_is_said_and_the_old_goes_on_serving(tmp_path, monkeypatch, halves):
    async def main():
        async with serving(tmp_path, monkeypatch, recorded((0, "live"))) as served:
            served._learn(recorded((0, "standby"), (1, "live")))
            await until(lambda: len(halves) == 2)
            halves[1].failure = "the disk is full"
            await until(lambda: len(halves) > 2)  # tried again
            assert served.trouble == (
                "generation 1 is live and cannot be read; 0 is served: the disk is full"
            )
            assert (served.generation, halves[0].stopped, halves[1].stopped) == (0, False, True)
            served._learn(recorded((0, "live"), (1, "standby")))
            await until(lambda: not served.trouble)
            assert (served.generation, halves[0].stopped) == (0, False)

    asyncio.run(main())


def test_rows_of_another_release_are_not_served(tmp_path, monkeypatch, halves):
    async def main():
        async with serving(tmp_path, monkeypatch, recorded((0, "live"))) as served:
            other = recorded((0, "standby"), (1, "live"))
            folds = other.find(1).folds | {"users": "users=99"}
            served._learn(other.put(msgspec.structs.replace(other.find(1), folds=folds)))
            await until(lambda: served.trouble)
            assert "1 is live and cannot be read; 0 is served: this process reads users=" in served.trouble
            assert len(halves) == 1
            assert served.generation == 0

    asyncio.run(main())


def test_a_process_that_remembers_nothing_begins_with_the_live_one(tmp_path, monkeypatch, halves):
    async def main():
        first = recorded((0, "standby"), (2, "live"))
        async with serving(tmp_path, monkeypatch, first) as served:
            assert served.generation == 2
            assert [half.started for half in halves] == [False, True]

    asyncio.run(main())


def test_what_is_left_of_dropped_generations_is_removed(tmp_path, monkeypatch, halves):
    home = tmp_path / "api-0"
    for name in ("users.db", "items.db", "popular.db", "space", "g1", "g2", "g3"):
        (home / name).mkdir(parents=True)

    async def main():
        async with serving(tmp_path, monkeypatch, recorded((2, "live"), (3, "building"))):
            await until(lambda: not (home / "space").exists())
        assert sorted(path.name for path in home.iterdir()) == ["g2", "g3", "generation"]

    asyncio.run(main())


def test_without_kafka_it_serves_what_it_served(tmp_path, test_client):
    (tmp_path / "api-0").mkdir()
    (tmp_path / "api-0" / "generation").write_text("3")
    app = create_app(Settings(kafka="127.0.0.1:1", data=tmp_path, dimensions=16))
    with test_client(app) as client:
        ready = client.get("/health/ready").json()
        assert (ready["generation"], ready["ready"]) == (3, False)
        assert client.get("/v1/recommend/u").status_code == 200
        assert "refold_generation 3.0" in client.get("/metrics").text
    assert (tmp_path / "api-0" / "g3" / "users.db").is_dir()
    assert not (tmp_path / "api-0" / "users.db").exists()


def test_a_broken_memory_is_refused(tmp_path):
    (tmp_path / "api-0").mkdir()
    (tmp_path / "api-0" / "generation").write_text("x")
    with pytest.raises(StateError, match="does not hold the number of a generation: remove it"):
        Serving(Settings(data=tmp_path), lambda: NOW)
