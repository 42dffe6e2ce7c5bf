"""A rebuild on a real Kafka, beside a worker and an API process that go on, and what it refuses."""

import contextlib
import sys
import threading
import time
from dataclasses import replace

import httpx
import pytest
from kafka import TopicPartition

from models.surfaces import load
from ops.broker.lag import set_committed
from ops.broker.topics import admin, create
from ops.processes import Processes, free_port
from ops.state import dump
from ops.state import generations as known
from ops.state.rebuild import rebuild
from streams import generations, items
from streams.errors import StateError
from streams.generations import Generation
from streams.items import Item
from streams.partition import partition_of
from streams.topology import TABLES, partitions_of
from streams.write import EventWriter, producer
from tests.kafka.clicks import clicks

pytestmark = pytest.mark.kafka
PARTITIONS = 3
SECONDS = 90


@pytest.fixture
def settings(install, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[actions]\nclick = 1.0\n")
    return install(partitions=PARTITIONS, data=tmp_path, port=free_port(), config=str(config))


def fill(settings, count):
    with producer(settings) as to:
        for n in range(40):
            key = f"item-{n}"
            value = items.encode(Item(title=key, categories=(f"category-{n % 5}",)))
            number = partition_of(key, PARTITIONS)
            to.send(settings.topic("items"), key=key.encode(), value=value, partition=number)
        writer = EventWriter(settings, to, batch=4)
        writer.write(clicks(count, seed=1))
        writer.finish()


def until(holds, what):
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.1)


def weights(settings):
    return load(settings.config).actions


def generation_of(settings, number):
    return generations.load(settings).find(number).of(settings)


def assert_is_the_fold(settings):
    """Every table is, byte for byte, the fold of the log at the positions its changelog notes."""
    for table in TABLES:
        for partition in range(partitions_of(settings, table.name)):
            found = dump.changelog(settings, table.name, partition)
            truth = dump.log(settings, table.name, partition, found.positions, weights(settings))
            assert found.digest == truth.digest, (table.name, partition)
            assert found.rows or table.name != "users"


class Asking(threading.Thread):
    """Asks for lists all the time and keeps what went wrong; meanwhile a few events a second come in."""

    def __init__(self, settings):
        super().__init__()
        self.settings, self.wrong, self.asked, self.sent, self.over = settings, [], 0, 0, False

    def run(self):
        base = f"http://127.0.0.1:{self.settings.port}"
        stream = clicks(100_000, seed=2)
        with httpx.Client(base_url=base, timeout=10) as client, producer(self.settings) as to:
            writer = EventWriter(self.settings, to, batch=1)
            while not self.over:
                for path in (f"/v1/recommend/user-{self.asked % 40}?n=5", "/v1/popular?n=5"):
                    answer = client.get(path)
                    self.asked += 1
                    if answer.status_code != 200 or not answer.json()["items"]:
                        self.wrong.append((answer.status_code, answer.text))
                if self.asked % 10 == 0:
                    writer.write([next(stream)])
                    self.sent += 1
                time.sleep(0.01)
            writer.finish()


@contextlib.contextmanager
def asking(settings):
    thread = Asking(settings)
    thread.start()
    try:
        yield thread
    finally:
        thread.over = True
        thread.join()


@pytest.mark.timeout(
    300
)  # under a minute on two quiet cores: five pairs of processes start one after the other
def test_rebuilt_and_switched_while_it_serves(settings):
    base = f"http://127.0.0.1:{settings.port}"
    fill(settings, 1_500)
    with Processes(settings.data / "logs", grace=20) as processes, httpx.Client(base_url=base) as api:

        def health():
            with contextlib.suppress(httpx.HTTPError):
                return api.get("/health/ready").json()
            return {}

        def folded(number):
            with admin(settings) as client:
                return known.behind(client, generation_of(settings, number)) == 0

        command = [sys.executable, "-m", "ops.cli"]
        worker = processes.start("worker", [*command, "worker"], env=settings.environment())
        processes.start("api", [*command, "api"], env=settings.environment())
        until(lambda: health().get("ready") and folded(0), "the first generation is folded and read")
        assert health()["generation"] == 0

        with asking(settings) as asked:
            done = rebuild(settings, weights(settings), switch=True)
            assert (done["generation"], done["touches"], done["stage"]) == (1, 0, "live")
            assert (done["verdict"], done["tables"]["users"]["different"]) == ("equal", 0)
            assert done["events"] >= 1_500
            until(lambda: health().get("generation") == 1, "the new generation is served")
            click = {"type": "purchase", "user_id": "newcomer", "item_id": "item-3"}
            assert api.post("/v1/events", json=click).status_code == 202
            until(lambda: api.get("/v1/users/newcomer").status_code == 200, "new events show up")

            known.drop(settings, 0, lambda _: None)
            with admin(settings) as client:
                assert not [name for name in client.list_topics() if f"{settings.app}-users" in name]
            assert not list((settings.data / "worker-0").glob(f"{settings.app}-users"))
            until(lambda: not (settings.data / "api-0" / "users.db").exists(), "the replica is removed")

            # other weights: another fold, with touches of its own
            (settings.data / "config.toml").write_text("[actions]\nclick = 3.0\n")
            done = rebuild(settings, weights(settings), switch=True)
            assert (done["generation"], done["touches"], done["verdict"]) == (2, 2, "other folds")
            until(lambda: health().get("generation") == 2, "the new fold is served")
        assert asked.wrong == []
        assert asked.asked > 500
        assert asked.sent > 20
        assert worker.poll() is None

        until(lambda: folded(1) and folded(2), "both generations are folded")
        for number in (1, 2):
            assert generation_of(settings, number).topic("touches").endswith("touches-g2") == (number == 2)
        assert_is_the_fold(generation_of(settings, 2))
        seen = [one["stage"] for one in known.listed(settings)]
        assert seen == ["standby", "live"]
        assert {one["behind"] for one in known.listed(settings)} == {0}
        counts = {}
        for number in (1, 2):
            of = generation_of(settings, number)
            counts[number] = sum(len(dump.changelog(of, "users", n).rows) for n in range(PARTITIONS))
        assert counts[1] == counts[2] > 1


def live_alone(settings):
    """A generation that is recorded as live and as having folded everything, without a worker."""
    folds = known.fingerprints(settings, weights(settings))
    generations.save(settings, generations.Generations().put(Generation(number=0, stage="live", folds=folds)))
    with admin(settings) as client:
        ends = known.end_offsets(client, settings, "events")
        at = {(settings.topic("events"), n): end for n, end in ends.items()}
        set_committed(client, settings.group("users"), at)


def test_what_a_killed_rebuild_left_is_removed_by_the_next(settings):
    fill(settings, 300)
    live_alone(settings)
    left = Generation(number=1, stage="building", folds={"users": "", "items": ""}, touches=1)
    generations.save(settings, generations.load(settings).put(left))
    create(left.of(settings))
    known.scratch(left.of(settings)).mkdir(parents=True)

    done = rebuild(settings, weights(settings), switch=False)

    assert (done["generation"], done["stage"], done["events"]) == (2, "standby", 300)
    with admin(settings) as client:
        names = {name for name in client.list_topics() if name.startswith(settings.namespace)}
    assert not [name for name in names if "-g1" in name]
    assert settings.topic("touches") in names
    assert not list(settings.data.glob("rebuild-*"))
    recorded = generations.load(settings)
    assert [(one.number, one.stage) for one in recorded.all] == [(0, "live"), (2, "standby")]
    of = generation_of(settings, 2)
    for partition in range(PARTITIONS):
        found = dump.changelog(of, "users", partition)
        truth = dump.log(of, "users", partition, found.positions, weights(settings))
        assert (found.digest, dict(found.positions)) == (truth.digest, dict(truth.positions))
    with pytest.raises(StateError, match="generation 0 is live"):
        known.drop(settings, 0, lambda _: None)
    known.drop(settings, 2, lambda _: None)
    assert [one.number for one in generations.load(settings).all] == [0]


def test_a_log_with_a_gap_is_refused_by_name(settings):
    fill(settings, 300)
    live_alone(settings)
    with admin(settings) as client:
        client.delete_records({TopicPartition(settings.topic("events"), 1): 5})

    with pytest.raises(StateError, match=r"events\[1\] begins at offset 5: records 0 to 4 are gone"):
        rebuild(settings, weights(settings), switch=True)

    assert [(one.number, one.stage) for one in generations.load(settings).all] == [
        (0, "live"),
        (1, "building"),
    ]
    with pytest.raises(StateError, match="generation 1 was never finished"):
        known.switch(settings, 1, lambda _: None)
    known.drop(settings, 1, lambda _: None)
    assert [one.number for one in generations.load(settings).all] == [0]


def test_without_a_live_generation_there_is_nothing_to_rebuild(settings):
    with pytest.raises(StateError, match="start a worker"):
        rebuild(settings, weights(settings), switch=False)


def test_a_worker_refuses_a_generation_that_was_folded_otherwise(settings):
    fill(settings, 10)
    live_alone(settings)
    (settings.data / "config.toml").write_text("[actions]\nclick = 3.0\n")
    with Processes(settings.data / "logs") as processes:
        command = [sys.executable, "-m", "ops.cli", "worker"]
        worker = processes.start("worker", command, env=settings.environment())
        until(lambda: worker.poll() is not None, "the worker ends")
    assert worker.poll() == 1
    said = worker.tail().replace("\n", " ")
    assert "the folds changed (generation 0: users: weights=" in said
    assert "run `refold rebuild`" in said
    other = replace(settings, dimensions=32)
    folds = known.fingerprints(other, weights(settings))
    difference = known.differences(generations.load(settings).find(0), folds)
    assert "learner: dimensions=16 there, dimensions=32 here" in difference
