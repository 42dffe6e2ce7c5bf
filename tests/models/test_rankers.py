"""A version serves as its kind says."""

from dataclasses import replace

import numpy as np
import pytest

from models.rankers import ranker_of
from models.vectors import Vectors
from streams.errors import StateError
from tests.models.test_blended import blended, lineup, recorded
from tests.models.test_vectors import arrays


def by_vectors():
    return replace(blended(), model=Vectors.of(arrays()))


def test_a_version_serves_as_its_kind_says():
    for ranker, kind in ((blended(), "sequence"), (by_vectors(), "vectors")):
        data = ranker.pack()
        assert ranker_of(recorded(data, kind=kind), data).pack() == data
        with pytest.raises(StateError, match=rf"the artifact is '{kind}', recorded is 'boosted'"):
            ranker_of(recorded(data, kind="boosted"), data)


def test_vectors_rank_beside_the_stack():
    ranker, model = by_vectors(), Vectors.of(arrays())
    logits = model.places()[[3, 0]] @ model.query(np.array([2, 5]))
    sums = ranker.sums(lineup(["i3", "i0"], [1.0, -2.0]))
    assert sums == pytest.approx(np.array([1.0, -2.0]) + 0.7 * logits, abs=1e-5)
    assert np.isfinite(ranker.score(lineup(["i3", "new"], [1.0, -2.0], after=()))).all()
