"""What the registry says is loaded, checked and swapped in; what cannot be served is named, the old one serves on."""

import asyncio
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from api.metrics import Metrics
from api.registry import Follower
from models.blended import READ
from models.boosted import Boosted
from models.calibration import Platt
from models.features import COLUMN, NAMES
from models.ranker import Lineup
from models.trees import Trees
from streams import artifacts
from streams.models import Model, Registry, version_of
from streams.settings import Settings
from tests.models.test_blended import blended


@pytest.fixture
def settings(tmp_path):
    return Settings(artifacts=str(tmp_path / "artifacts"))


@pytest.fixture
def make(settings):
    """Store a ranker whose one leaf is `leaf`, and return its record."""

    def made(leaf=1.0, **more):
        trees = Trees(
            np.array([0x7F800000 << 32]), np.array([leaf]), np.zeros(1, np.int64), np.zeros(1, np.int64), 1
        )
        data = Boosted(NAMES[:1], trees, Platt()).pack()
        artifact = sha256(data).hexdigest()
        artifacts.save(settings, data)
        values = {"version": version_of(artifact), "kind": "boosted", "artifact": artifact, "size": len(data)}
        return Model(**({"name": "ranker", "features": NAMES[:1], "metrics": {}} | values | more))

    return made


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def follower(settings, metrics):
    return Follower(settings, metrics)


def registry_of(*models, live="", shadow=()):
    stages = Registry().of("ranker")
    for version in shadow:
        stages = stages.move(version, "shadow", 1)
    if live:
        stages = stages.move(live, "live", 2)
    return Registry({one.key: one for one in models}, {"ranker": stages})


def lineup(rows):
    return Lineup(rows, np.arange(len(rows)) % 4, ("i0", "i1", "i2", "new"), ("i1", "i2"))


def told(metrics):
    return {
        tuple(sorted(sample.labels.items()))
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "refold_model"
    }


def test_the_live_version_is_served_and_swapped(follower, make):
    first, second = make(1.0), make(2.0)

    asyncio.run(follower.take(registry_of(first, second, live=first.version)))
    assert follower.live("ranker").version == first.version
    asyncio.run(follower.take(registry_of(first, second, live=second.version)))
    assert follower.live("ranker").version == second.version
    asyncio.run(follower.take(registry_of(first, second)))
    assert follower.live("ranker") is None


def test_an_arm_can_name_a_version_in_shadow(follower, make):
    first, second = make(1.0), make(2.0)
    asyncio.run(follower.take(registry_of(first, second, live=first.version, shadow=(second.version,))))
    assert follower.served == sorted(["ranker", first.key, second.key])
    assert follower.live(second.key).version == second.version
    assert follower.live(first.key) is follower.live("ranker")
    assert registry_of(first, second, live=first.version, shadow=(second.version,)).served == follower.served


@pytest.mark.parametrize("harm", ["hash", "size", "missing", "version", "features", "kind"])
def test_what_cannot_be_served_is_named_and_the_old_one_goes_on(
    follower, make, settings, metrics, caplog, harm
):
    good, bad = make(1.0), make(2.0)
    path = Path(artifacts.place(settings)) / bad.artifact
    if harm == "hash":
        path.write_bytes(b"\x00" + path.read_bytes()[1:])
    elif harm == "missing":
        path.unlink()
    else:
        changed = {
            "size": {"size": bad.size - 1},
            "version": {"version": "ffffffffffff"},
            "features": {"features": NAMES[1:2]},
            "kind": {"artifact": make(3.0, kind="vectors").artifact},
        }[harm]
        bad = make(2.0, **changed)
    asyncio.run(follower.take(registry_of(good, bad, live=good.version)))

    asyncio.run(follower.take(registry_of(good, bad, live=bad.version)))

    assert follower.live("ranker").version == good.version
    assert bad.key in caplog.text
    assert (("name", "ranker"), ("stage", "refused"), ("version", bad.version)) in told(metrics)


def test_a_live_version_that_was_never_published_is_named(follower, make, caplog):
    asyncio.run(follower.take(registry_of(make(), live="0123456789ab")))

    assert follower.live("ranker") is None
    assert "ranker@0123456789ab was never published" in caplog.text


def test_shadows_score_what_is_served_and_are_not_shown(follower, make, metrics):
    live, shadow = make(1.0), make(2.0)
    asyncio.run(follower.take(registry_of(live, shadow, live=live.version, shadow=[shadow.version])))
    rows = np.zeros((30, len(NAMES)), dtype=np.float32)
    rows[:, COLUMN["relevance"]] = -np.arange(30)

    async def ask():
        follower._thread.start()
        follower.scored("ranker", lineup(rows), rows[:, COLUMN["relevance"]])
        await follower.stop()

    asyncio.run(ask())

    labels = {"version": shadow.version}
    value = metrics.registry.get_sample_value
    assert value("refold_shadow_agreement_count", labels) == 1
    assert value("refold_shadow_agreement_sum", labels) == 1.0
    assert 0.0 < value("refold_shadow_chance_sum", labels) < 1.0
    assert follower.live("ranker").version == live.version


def test_a_shadow_that_is_behind_holds_nobody_up(follower, make):
    shadow = make()
    asyncio.run(follower.take(registry_of(shadow, shadow=[shadow.version])))
    rows = np.zeros((5, len(NAMES)), dtype=np.float32)

    for _ in range(50):  # nobody takes them
        follower.scored("ranker", lineup(rows), rows[:, 0])

    assert follower._compare.full()


def test_without_shadows_nothing_is_kept(follower):
    follower.scored("ranker", lineup(np.zeros((5, len(NAMES)), np.float32)), np.zeros(5, np.float32))

    assert follower._compare.empty()


def test_a_sequence_model_is_served_swapped_in_and_compared_like_any(follower, settings, make, metrics):
    data = blended().pack()
    name = artifacts.save(settings, data)
    model = Model(
        name="ranker", version=version_of(name), kind="sequence", artifact=name, size=len(data), features=READ,
        metrics={},
    )  # fmt: skip
    boosted = make()
    asyncio.run(follower.take(registry_of(boosted, model, live=boosted.version, shadow=[model.version])))
    rows = np.zeros((30, len(NAMES)), dtype=np.float32)

    async def ask():
        follower._thread.start()
        follower.scored("ranker", lineup(rows), rows[:, 0])
        await follower.stop()

    asyncio.run(ask())
    value = metrics.registry.get_sample_value
    assert value("refold_shadow_agreement_count", {"version": model.version}) == 1

    asyncio.run(follower.take(registry_of(boosted, model, live=model.version)))
    served = follower.live("ranker")
    assert served.version == model.version
    assert (served.score(lineup(rows)) == blended().score(lineup(rows))).all()
