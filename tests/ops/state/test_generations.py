"""Generations on the embedded broker: begun once, listed, switched, dropped; and what tells their folds apart."""

import uuid
from dataclasses import replace

import pytest

from ops.broker import embedded
from ops.broker.topics import admin, create
from ops.processes import free_port
from ops.state import generations as known
from ops.state.generations import begin, differences, drop, every, listed, switch
from streams import generations
from streams.errors import StateError, Unavailable
from streams.generations import Generation
from streams.settings import Settings

WEIGHTS = {"click": 1.0}


@pytest.fixture(scope="module")
def bootstrap():
    with embedded.running() as bootstrap:
        yield bootstrap


@pytest.fixture
def settings(bootstrap, tmp_path):
    return Settings(
        kafka=bootstrap,
        kafka_idempotence=False,
        partitions=2,
        dimensions=16,
        data=tmp_path,
        namespace=f"test-{uuid.uuid4().hex[:8]}",
    )


def silent(_):
    """Nobody is told."""


def test_the_first_worker_records_the_first_generation_and_no_later_one_does(settings):
    create(settings)
    first = begin(settings, WEIGHTS)
    assert [(one.number, one.stage, one.touches) for one in first.all] == [(0, "live", 0)]
    assert first.live.folds == known.fingerprints(settings, WEIGHTS)
    assert begin(settings, {"click": 9.0}) == first == generations.load(settings)


def test_topics_are_meant_for_every_generation_that_is_kept_up(settings):
    assert every(settings) == [settings]  # not even `control` is there
    create(settings)
    assert every(settings) == [settings]
    recorded = begin(settings, WEIGHTS)
    for number, stage in ((1, "standby"), (2, "building")):
        recorded = recorded.put(Generation(number=number, stage=stage, folds={}, touches=number))
    generations.save(settings, recorded)
    assert every(settings) == [settings, replace(settings, generation=1, touches=1)]


def test_no_broker_is_said_at_once():
    nowhere = Settings(kafka=f"127.0.0.1:{free_port()}")
    for act in (generations.load, every, listed):
        with pytest.raises(Unavailable, match="no Kafka listens"):
            act(nowhere)


def test_what_differs_is_named():
    settings = Settings(dimensions=16)
    one = Generation(number=0, stage="live", folds=known.fingerprints(settings, WEIGHTS))
    assert differences(one, known.fingerprints(settings, dict(WEIGHTS))) == ""
    other = differences(one, known.fingerprints(settings, {"click": 2.0}))
    assert other.startswith("users: weights=")
    assert "items" not in other
    other = differences(one, known.fingerprints(replace(settings, dimensions=8), WEIGHTS))
    assert other == "learner: dimensions=16 there, dimensions=8 here"
    unknown = Generation(number=0, stage="live", folds={})
    assert "users: nothing else there" in differences(unknown, known.fingerprints(settings, WEIGHTS))


def test_switch_there_and_back_and_drop(settings):
    create(settings)
    folds = begin(settings, WEIGHTS).live.folds
    made = Generation(number=1, stage="standby", folds=folds, touches=1)
    generations.save(settings, generations.load(settings).put(made))
    create(made.of(settings))
    held = settings.data / "worker-0" / made.of(settings).group("users")
    kept = settings.data / "worker-0" / settings.group("users")
    for folder in (held, kept):
        folder.mkdir(parents=True)

    assert [one["stage"] for one in listed(settings)] == ["live", "standby"]
    switch(settings, 1, silent)
    assert [one["stage"] for one in listed(settings)] == ["standby", "live"]
    switch(settings, 1, silent)  # it is already
    switch(settings, 0, silent)
    with pytest.raises(StateError, match="generation 0 is live"):
        drop(settings, 0, silent)
    with pytest.raises(StateError, match="no generation 7"):
        switch(settings, 7, silent)

    left = drop(settings, 1, silent)

    assert [one.number for one in left.all] == [0]
    assert left == generations.load(settings)
    assert left.next == 2  # a number is never used twice
    assert not held.exists()
    assert kept.exists()
    with admin(settings) as client:
        names = set(client.list_topics())
    assert settings.topic("touches") in names
    assert settings.changelog("users") in names
    assert not [name for name in names if name.startswith(settings.namespace) and "-g1" in name]


def test_touches_stay_while_another_generation_folds_them(settings):
    create(settings)
    folds = begin(settings, WEIGHTS).live.folds
    first = Generation(number=1, stage="live", folds=folds, touches=1)
    second = Generation(number=2, stage="standby", folds=folds, touches=1)
    for one in (first, second):
        generations.save(settings, generations.load(settings).put(one))
        create(one.of(settings))
    switch(settings, 2, silent)

    for number, kept in ((1, True), (0, True)):
        drop(settings, number, silent)
        with admin(settings) as client:
            names = set(client.list_topics())
        assert (second.of(settings).topic("touches") in names) == kept
    assert settings.topic("touches") not in names
    assert settings.topic("events") in names


def test_what_was_never_finished_is_not_served(settings):
    create(settings)
    begin(settings, WEIGHTS)
    left = Generation(number=1, stage="building", folds={}, touches=0)
    generations.save(settings, generations.load(settings).put(left))
    with pytest.raises(StateError, match="generation 1 was never finished: `refold generations drop 1`"):
        switch(settings, 1, silent)
    assert generations.load(settings).live.number == 0
