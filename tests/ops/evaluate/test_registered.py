"""A model of the registry is judged on the very predictions that the online stack is judged on."""

import numpy as np
import pytest

from models import users
from models.blended import READ
from models.boosted import Boosted
from models.calibration import Platt
from models.trees import Trees
from ops.evaluate.registered import loaded
from streams import artifacts
from streams.errors import Refused, StateError
from streams.models import Model, Registry, Stages, version_of
from streams.settings import Settings
from tests.models.test_blended import by_bias
from tests.ops.evaluate.shop import measured, shopping, written

NO_TREES = Trees(*(np.zeros(0, kind) for kind in (np.int64, np.float64, np.int64, np.int64)), 1)


def test_a_ranker_that_corrects_nothing_ranks_as_the_stack_does(tmp_path):
    ranker = Boosted(("relevance",), NO_TREES, Platt(0.1, 0.0))
    said = measured(written(tmp_path, shopping()), ks=(1, 5), model=ranker)
    part = said["losses"]["the model"]
    assert part["predicted"] == said["predicted"]
    assert part["hr@1"] == part["exact_hr@1"]


def test_a_blend_without_weight_ranks_all_items_as_the_stack_does(tmp_path):
    said = measured(written(tmp_path, shopping()), ks=(1, 5), model=by_bias("x", 0.0, weight=0.0))
    part = said["losses"]["the model"]
    assert part["predicted"] == said["predicted"]
    assert part["hr@1"] == part["exact_hr@1"] == said["hr@1"]


def test_a_blend_without_weight_ranks_as_the_stack_does_by_what_was_before_the_trail(tmp_path, monkeypatch):
    monkeypatch.setattr(users, "TRAIL", 2)  # trails are full, and their users knew more before
    file = written(tmp_path, shopping(users=10, choices=600))
    part = measured(file, ks=(1, 5), model=by_bias("x", 0.0, weight=0.0))["losses"]["the model"]
    assert part["hr@1"] == part["exact_hr@1"]


def test_a_sequence_model_ranks_what_it_knows_and_the_rest_by_the_stack(tmp_path):
    choices = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "z"), ("b", "new"), ("a", "z")]
    said = measured(written(tmp_path, choices), ks=(1, 2), model=by_bias("xyz", 3.0, 1.0, 2.0, weight=1e3))
    # y and z were never chosen before; new is z's equal for want of any logit but zero, so z is first for a
    assert said["losses"]["the model"]["hr@1"] == 1 / 4


def test_the_engine_serves_a_blend_to_be_judged(tmp_path):
    said = measured(
        written(tmp_path, shopping()), ks=(1, 5), model=by_bias("x", 0.0, weight=0.0), retrieval=True
    )
    losses = said["losses"]
    assert losses["the model, served"]["hr@1"] == losses["engine"]["hr@1"]


def registry(tmp_path, kind, data, live=True):
    settings = Settings(data=tmp_path)
    name = artifacts.save(settings, data)
    version = version_of(name)
    model = Model(
        name="m", version=version, kind=kind, artifact=name, size=len(data), features=READ, metrics={}
    )
    stages = Stages(name="m", live=version if live else "")
    return settings, Registry({model.key: model}, {"m": stages}), model.key


def test_a_version_is_found_by_name_or_by_key(tmp_path):
    settings, known, key = registry(tmp_path, "sequence", by_bias("x", 0.0).pack())
    assert (
        loaded(settings, known, "m").version == loaded(settings, known, key).version == key.partition("@")[2]
    )


def test_what_cannot_rank_is_refused(tmp_path):
    settings, known, key = registry(tmp_path, "sequence", b"broken", live=False)
    with pytest.raises(Refused, match="--model m: no version of that name is live"):
        loaded(settings, known, "m")
    with pytest.raises(Refused, match="names no version"):
        loaded(settings, known, "other@1")
    with pytest.raises(StateError, match="not a trained model"):
        loaded(settings, known, key)
