"""From a history to a version: measured on what follows, told in a card, refused where there is nothing."""

import msgspec
import numpy as np
import pytest

from models.actions import DEFAULTS
from models.boosted import Boosted
from models.calibration import Platt
from models.features import NAMES
from models.ranker import Lineup
from models.surfaces import load
from models.trees import Trees
from ops.progress import silent
from ops.registry.registry import shown
from ops.train import fit as fits
from ops.train import train as trains
from ops.train.history import History, Said
from ops.train.train import NAME, STACK, serving, surface_of, told, train
from streams import artifacts
from streams.errors import Refused, StateError
from streams.events import Event
from streams.items import Item
from streams.models import Model, Registry, version_of
from streams.settings import Settings
from tests.ops.train.test_rows import told as said

START = 1_750_000_000_000
CONFIG = load()
SETTINGS = Settings(dimensions=16)


def trained(history, **more):
    values = {"trials": 1, "seed": 1, "live": None, "at": START, "begin": silent}
    return train(history, SETTINGS, DEFAULTS, CONFIG.surfaces["home"], **(values | more))


@pytest.fixture(scope="module")
def made():
    pytest.importorskip("lightgbm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, "LEAST", 5)
        patch.setattr(fits, "ROUNDS", 40)
        patch.setattr(fits, "STEP", 10)
        records = said(700, items=120, users=30)
        return trained(History(lambda: iter(records), {"events": {0: (0, 700)}}))


def test_a_version_says_what_it_is_and_was_measured_against(made):
    model = made.model

    assert (model.name, model.kind, model.against) == ("ranker", "boosted", STACK)
    assert model.artifact == artifacts.name_of(made.artifact)
    assert model.version == version_of(model.artifact)
    assert model.metrics.keys() >= {"ndcg@10", "hr@10", "coverage@10", "calibration_error", "latency_ms"}
    assert model.compared.keys() >= {"ndcg@10", "hr@10", "coverage@10"}
    assert sum(part.choices for name, part in model.slices.items() if name in ("head", "tail")) == int(
        model.metrics["choices"]
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(model), type=Model) == model


def test_the_artifact_serves(made):
    ranker = Boosted.of(made.model, made.artifact)

    assert np.isfinite(
        ranker.score(Lineup(np.zeros((3, len(NAMES)), np.float32), np.arange(3), (), ()))
    ).all()


def test_the_card_says_span_features_figures_and_limits(made):
    card = made.model.card

    for part in (
        "`events` 0: 0 to 699",
        "ndcg@10",
        "## Features",
        "relevance",
        "## Limits",
        "train: ",
        STACK,
    ):
        assert part in card
    assert told(Registry(), made.model, published=False)["card"] == card
    assert shown(Registry({made.model.key: made.model}), made.model.key)["stage"] == "candidate"


def test_nothing_said_is_refused():
    with pytest.raises(Refused, match="holds no record"):
        trained(History(lambda: iter(()), {}))


def test_a_span_without_choices_is_refused():
    listed = [Said(START, item=f"i{n}", catalogue=Item()) for n in range(30)]
    seen = [
        Said(START + n, Event(event_id=str(n), type="impression", at=START + n, user_id="u", item_id="i1"))
        for n in range(30)
    ]

    with pytest.raises(Refused, match="60 records has no choice in test and train and valid"):
        trained(History(lambda: iter([*listed, *seen]), {}))


def test_too_few_choices_are_counted():
    records = said(60)
    with pytest.raises(Refused, match="100 are needed"):
        trained(History(lambda: iter(records), {}))


def test_a_live_version_is_what_is_compared(made):
    trees = Trees(np.array([0x7F800000 << 32]), np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.int64), 1)
    live = Boosted(NAMES[:1], trees, Platt(), "0123456789ab")
    records = said(200)
    from ops.train.rows import gather
    from ops.train.scene import Scene

    test = gather(
        History(lambda: iter(records), {}), Scene(DEFAULTS, 16), CONFIG.surfaces["home"], lambda _: "test", 1,
        lambda _: None,
    )["test"]  # fmt: skip

    measured = trains.measure_boosted(live, live, test)

    assert measured["metrics"]["ndcg@10"] == measured["compared"]["ndcg@10"] > 0


def test_what_serves_is_verified(tmp_path):
    settings = Settings(artifacts=str(tmp_path))
    name = artifacts.save(settings, b"none of ours")
    model = Model(
        name="ranker",
        version=version_of(name),
        kind="boosted",
        artifact=name,
        size=12,
        features=(),
        metrics={},
    )
    registry = Registry(
        {model.key: model}, {"ranker": Registry().of("ranker").move(model.version, "live", 1)}
    )

    assert serving(settings, Registry(), NAME, Boosted.of) is None
    with pytest.raises(StateError, match=model.key):
        serving(settings, registry, NAME, Boosted.of)


def test_a_surface_that_is_not_configured_is_named():
    with pytest.raises(Refused, match="'basement' is not configured; there are cart"):
        surface_of(CONFIG, "basement")
