"""The rankers that surfaces name are those that would serve them."""

import msgspec
import numpy as np
import pytest

from models.boosted import Boosted
from models.calibration import Platt
from models.features import NAMES
from models.surfaces import Surface
from models.trees import Trees
from ops.judge.rankers import rankers_of
from streams import artifacts
from streams.errors import Refused, StateError
from streams.models import Model, Registry, Stages, version_of
from streams.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(artifacts=str(tmp_path / "artifacts"))


@pytest.fixture
def model(settings):
    """A version of `ranker`, stored."""
    trees = Trees(np.array([0x7F800000 << 32]), np.ones(1), np.zeros(1, np.int64), np.zeros(1, np.int64), 1)
    data = Boosted(NAMES[:1], trees, Platt()).pack()
    name = artifacts.save(settings, data)
    return Model(
        name="ranker", version=version_of(name), kind="boosted", artifact=name, size=len(data),
        features=NAMES[:1], metrics={},
    )  # fmt: skip


def known(model, live):
    return Registry({model.key: model}, {"ranker": Stages(name="ranker", live=model.version if live else "")})


def test_a_name_is_its_live_version_and_a_key_any(settings, model):
    surfaces = [
        Surface(tier="full"),
        Surface(tier="full", model=model.key),
        Surface(model="of the light tier"),
    ]
    rankers = rankers_of(settings, known(model, live=True), surfaces)
    assert rankers.live("ranker").version == rankers.live(model.key).version == model.version
    assert rankers.live("of the light tier") is None
    candidate = rankers_of(settings, known(model, live=False), surfaces)
    assert candidate.live("ranker") is None
    assert candidate.live(model.key).version == model.version


def test_what_is_not_there_is_named(settings, model):
    with pytest.raises(Refused, match="'ranker@none' names no version"):
        rankers_of(settings, known(model, live=True), [Surface(tier="full", model="ranker@none")])
    lost = msgspec.structs.replace(model, artifact="0" * 64)
    with pytest.raises(StateError, match="train the model again"):
        rankers_of(settings, known(lost, live=True), [Surface(tier="full")])
