"""A model of the registry is judged on the very predictions that the online stack is judged on."""

import numpy as np
import pytest

from models.calibration import Platt
from models.ranker import Ranker
from models.sequence import SequenceModel, packed
from models.trees import Trees
from ops.evaluate.registered import BySequence, loaded
from streams import artifacts
from streams.errors import Refused, StateError
from streams.models import Model, Registry, Stages, version_of
from streams.settings import Settings
from tests.ops.evaluate.shop import measured, shopping, written

NO_TREES = Trees(*(np.zeros(0, kind) for kind in (np.int64, np.float64, np.int64, np.int64)), 1)


def by_bias(*bias):
    """Return a sequence model that reads nothing of the trail."""
    d, window, wide = 2, 3, 4
    zeros = {
        "item": (len(bias), d),
        "scale": (4, d),
        "mix": (1, d, 3 * d),
        "merge": (1, d, d),
        "lag": (1, 1, window),
        "up": (1, d, wide),
        "down": (1, wide, d),
    }
    arrays = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()}
    return SequenceModel.of({**arrays, "bias": np.float32(bias)})


def test_a_ranker_that_corrects_nothing_ranks_as_the_stack_does(tmp_path):
    ranker = Ranker(("relevance",), NO_TREES, Platt(0.1, 0.0))
    said = measured(written(tmp_path, shopping()), ks=(1, 5), model=ranker)
    part = said["losses"]["the model"]
    assert part["predicted"] == said["predicted"]
    assert part["hr@1"] == part["exact_hr@1"]


def test_a_sequence_model_ranks_what_it_knows(tmp_path):
    choices = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "z"), ("b", "new"), ("a", "z")]
    model = BySequence(["x", "y", "z"], by_bias(3.0, 1.0, 2.0))
    said = measured(written(tmp_path, choices), ks=(1, 2), model=model)
    # y is second behind z, z first as x is b's own, new is unknown, z is all that is left to a
    assert said["losses"]["the model"]["hr@1"] == 2 / 4


def registry(tmp_path, kind, data, live=True):
    settings = Settings(data=tmp_path)
    name = artifacts.save(settings, data)
    version = version_of(name)
    model = Model(
        name="m", version=version, kind=kind, artifact=name, size=len(data), features=(), metrics={}
    )
    stages = Stages(name="m", live=version if live else "")
    return settings, Registry({model.key: model}, {"m": stages}), model.key


def test_a_version_is_found_by_name_or_by_key(tmp_path):
    settings, known, key = registry(tmp_path, "sequence", packed(["x"], {**arrays_of(by_bias(0.0))}))
    assert isinstance(loaded(settings, known, "m"), BySequence)
    assert isinstance(loaded(settings, known, key), BySequence)


def arrays_of(model):
    return {name: getattr(model, name) for name in model.__slots__}


def test_what_cannot_rank_is_refused(tmp_path):
    settings, known, key = registry(tmp_path, "vectors", b"anything", live=False)
    with pytest.raises(Refused, match="--model m: no version of that name is live"):
        loaded(settings, known, "m")
    with pytest.raises(Refused, match="kind 'vectors' ranks nothing by itself"):
        loaded(settings, known, key)
    with pytest.raises(Refused, match="names no version"):
        loaded(settings, known, "other@1")
    settings, known, key = registry(tmp_path, "sequence", b"broken")
    with pytest.raises(StateError, match="not a trained model"):
        loaded(settings, known, key)
