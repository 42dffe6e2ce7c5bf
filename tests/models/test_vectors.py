"""A query of item vectors is what the definition says, and arrays that are none are refused by name."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vectors import FADE, Vectors
from streams.errors import StateError

TRAILS = st.lists(st.integers(0, 6), min_size=1, max_size=20)


def arrays(items=7, d=4, seed=3):
    rng = np.random.default_rng(seed)
    shapes = {"item": (items, d), "weight": (items,), "scale": (d,)}
    return {name: rng.uniform(0.1, 1.0, shape).astype(np.float32) for name, shape in shapes.items()}


@given(TRAILS)
def test_the_query_is_what_the_definition_says(trail):
    named = arrays()
    total = [0.0] * 4
    for back, item in enumerate(trail):
        for axis in range(4):
            total[axis] += FADE**back * float(named["weight"][item]) * float(named["item"][item, axis])
    total = [number * float(scale) for number, scale in zip(total, named["scale"], strict=True)]

    vector = Vectors.of(named).query(np.array(trail))

    assert vector.dtype == np.float32
    assert vector == pytest.approx([number / math.hypot(*total) for number in total], abs=1e-5)


@given(TRAILS, st.integers(0, 6))
def test_what_was_chosen_last_counts_most(trail, item):
    model = Vectors.of(
        {name: np.ones_like(array) for name, array in arrays().items()}
        | {"item": np.eye(7, 4, dtype=np.float32)}
    )
    fresh, old = model.query(np.array([item, *trail, 6])), model.query(np.array([6, *trail, item]))
    assert model.places()[item] @ fresh >= model.places()[item] @ old - 1e-6


def test_after_nothing_every_logit_is_zero():
    model = Vectors.of(arrays())
    assert not (model.places() @ model.query(np.array([], np.int64))).any()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"item": np.ones((7, 0), np.float32)}, r"shape \(7, 0\) are none"),
        ({"item": np.ones(7, np.float32)}, r"shape \(7,\) are none"),
        ({"weight": np.ones(6, np.float32)}, r"'weight' is float32 \(6,\), not float32 \(7,\)"),
        ({"scale": np.ones(4, np.float64)}, r"'scale' is float64 \(4,\), not float32 \(4,\)"),
        ({"scale": np.full(4, np.inf, np.float32)}, "'scale' holds numbers that are not finite"),
        ({"more": np.ones(4, np.float32)}, "the arrays item, weight, scale, not item, more"),
    ],
)
def test_arrays_that_are_none_are_refused_by_name(changed, said):
    with pytest.raises(StateError, match=said):
        Vectors.of(arrays() | changed)
