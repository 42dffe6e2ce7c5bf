import math
from dataclasses import asdict

import numpy as np
import pytest

from models.sequence import SequenceModel
from streams.errors import StateError


def arrays(items=7, d=8, blocks=2, heads=2, window=5, m=12, seed=3):
    rng = np.random.default_rng(seed)
    shapes = {
        "item": (items, d), "bias": (items,), "scale": (2 * blocks + 2, d), "mix": (blocks, d, 3 * d),
        "merge": (blocks, d, d), "lag": (blocks, heads, window), "up": (blocks, d, m), "down": (blocks, m, d),
    }  # fmt: skip
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def by_hand(a, trail):
    """The last query of a trail, oldest first, number by number in double precision."""
    norm = lambda x, scale: x / math.sqrt(float(np.mean(x * x)) + 1e-6) * scale  # noqa: E731
    a = {name: array.astype(np.float64) for name, array in a.items()}
    blocks, heads, _ = a["lag"].shape
    d = a["item"].shape[1]
    e = d // heads
    rows = [norm(a["item"][item], a["scale"][0]) for item in trail]
    for b in range(blocks):
        mixed = [norm(row, a["scale"][1 + 2 * b]) @ a["mix"][b] for row in rows]
        after = []
        for t, row in enumerate(rows):
            joined = np.zeros(d)
            for h in range(heads):
                own = slice(h * e, (h + 1) * e)
                strength = np.array(
                    [mixed[t][:d][own] @ mixed[s][d : 2 * d][own] / math.sqrt(e) + a["lag"][b, h, t - s]
                     for s in range(t + 1)]
                )  # fmt: skip
                share = np.exp(strength - strength.max())
                joined[own] = sum(w / share.sum() * mixed[s][2 * d :][own] for s, w in enumerate(share))
            x = row + joined @ a["merge"][b]
            after.append(x + np.maximum(norm(x, a["scale"][2 + 2 * b]) @ a["up"][b], 0) @ a["down"][b])
        rows = after
    return norm(rows[-1], a["scale"][-1])


@pytest.mark.parametrize("trail", [[4], [0, 1], [6, 2, 5, 1, 0]])
@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 2), (1, 4)])
def test_the_query_is_what_the_definition_says(trail, blocks, heads):
    named = arrays(blocks=blocks, heads=heads)
    vector = SequenceModel.of(named).query(np.array(trail[::-1]))
    assert vector.dtype == np.float32
    assert vector[:-1] == pytest.approx(by_hand(named, trail), abs=1e-4)


def test_the_inner_product_of_query_and_place_is_logit_with_bias():
    model = SequenceModel.of(arrays())
    vector = model.query(np.array([2, 5]))
    assert model.places() @ vector == pytest.approx(model.item @ vector[:-1] + model.bias, abs=1e-5)


def test_after_nothing_the_biases_rank():
    model = SequenceModel.of(arrays())
    assert (model.places() @ model.query(np.array([], np.int64)) == model.bias).all()


def test_only_the_newest_items_of_the_window_count_and_in_their_order():
    model = SequenceModel.of(arrays(window=3))
    vector = model.query(np.array([1, 2, 3, 4]))
    assert (vector == model.query(np.array([1, 2, 3, 6, 5]))).all()
    assert not np.allclose(vector, model.query(np.array([2, 1, 3])), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("bias"), "has the arrays item, bias"),
        (lambda a: a.update(more=a["bias"]), "more"),
        (lambda a: a.update(bias=a["bias"][:-1]), r"'bias' is float32 \(6,\), not float32 \(7,\)"),
        (lambda a: a.update(up=a["up"].astype(np.float64)), "'up' is float64"),
        (lambda a: a.update(item=a["item"][0]), "items of shape"),
        (lambda a: a["lag"].__setitem__((0, 0, 0), np.nan), "'lag' holds numbers that are not finite"),
        (lambda a: a.update(arrays(items=0)), "of 0 items"),
        (lambda a: a.update(arrays(d=9, heads=2)), "2 heads in 9 numbers"),
    ],
)
def test_arrays_that_are_no_model_are_refused(change, message):
    named = arrays()
    change(named)
    with pytest.raises(StateError, match=message):
        SequenceModel.of(named)


def test_a_model_is_its_arrays():
    named = arrays()
    assert asdict(SequenceModel.of(named)).keys() == named.keys()
