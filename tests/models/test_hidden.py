import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import hidden
from models.signals import WIDTH


def rows_of(seed, n=6):
    return np.random.default_rng(seed).normal(3.0, 2.0, (n, WIDTH)).astype(np.float32)


def scored(layer, rows, after_count=3):
    scores = np.zeros(len(rows), np.float32)
    hidden.add(layer, rows, after_count, scores)
    return scores


def learn(layer, heat, rows, after_count, slopes):
    read, said = hidden.add(layer, rows, after_count, np.zeros(len(rows), np.float32))
    hidden.learn(layer, heat, rows, read, said, slopes)


def taught(steps):
    """A layer that was told, again and again, to prefer items of which just one of two signals is high."""
    layer, heat = hidden.fresh()
    random = np.random.default_rng(4)
    for _ in range(steps):
        rows, one = either(random)
        chances = np.exp(scored(layer, rows).astype(np.float64))
        slopes = (chances / chances.sum()).astype(np.float32)
        slopes[one] -= 1.0
        learn(layer, heat, rows, 3, slopes)
    return layer


def either(random):
    """Eight candidates, and the number of the only one of which one signal of two is high, and not both."""
    rows = random.normal(0.0, 0.1, (8, WIDTH)).astype(np.float32)
    both = random.integers(0, 2, 8)
    one = int(random.integers(8))
    rows[:, 0], rows[:, 5] = both, both
    rows[one, 5] = 1 - both[one]
    return rows, one


@given(st.integers(0, 1000), st.integers(0, 50))
def test_before_it_learned_it_has_nothing_to_say(seed, after_count):
    layer, _ = hidden.fresh()
    assert not scored(layer, rows_of(seed), after_count).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 50))
def test_a_step_goes_along_the_gradient(seed, after_count):
    random = np.random.default_rng(seed)
    layer, _ = hidden.fresh()
    layer[hidden.OUTER : hidden.MEANS] = random.normal(0.0, 0.5, hidden.UNITS)
    rows, slopes = rows_of(seed), random.normal(size=6).astype(np.float32)
    heat = np.zeros(hidden.SIZE, np.float32)
    learn(layer.copy(), heat, rows, after_count, slopes)
    near = [layer.copy() for _ in range(3)]
    for weight in random.integers(0, hidden.MEANS, 12):
        for off, one in zip((-1e-3, 0.0, 1e-3), near, strict=True):
            one[weight] = layer[weight] + np.float32(off)
        losses = [scored(one, rows, after_count).astype(np.float64) @ slopes for one in near]
        before, after = np.diff(losses) / 1e-3
        if abs(before - after) < 0.02:  # else a unit turns just here
            assert np.sqrt(heat[weight]) == pytest.approx(abs(before + after) / 2, rel=0.02, abs=0.02)
        for one in near:
            one[weight] = layer[weight]


def test_it_learns_what_no_weighed_sum_can_say():
    layer, random = taught(3_000), np.random.default_rng(5)
    drawn = [either(random) for _ in range(200)]
    assert np.mean([scored(layer, rows).argmax() == one for rows, one in drawn]) > 0.9


def test_signals_count_from_where_candidates_usually_stand():
    layer, heat = hidden.fresh()
    for seed in range(400):
        learn(layer, heat, rows_of(seed), 3, np.zeros(6, np.float32))
    np.testing.assert_allclose(layer[hidden.MEANS : hidden.SPREADS], 3.0, atol=0.3)
    np.testing.assert_allclose(layer[hidden.SPREADS : hidden.STEPS], 4.0, atol=1.0)


def test_how_long_a_trail_is_makes_a_difference():
    layer = taught(500)
    rows, _ = either(np.random.default_rng(6))
    assert (scored(layer, rows, 0) != scored(layer, rows, 40)).any()


def test_a_signal_that_was_always_the_same_does_not_explode_when_it_moves():
    layer, heat = hidden.fresh()
    same, slopes = np.full((6, WIDTH), -4.6, np.float32), np.zeros(6, np.float32)
    for _ in range(5_000):
        learn(layer, heat, same, 3, slopes)
    layer[hidden.OUTER : hidden.MEANS] = 0.1
    assert np.ptp(scored(layer, rows_of(7))) < hidden.FAR * WIDTH  # rather than a hundred times that
    learn(layer, heat, rows_of(7), 3, rows_of(8)[:, 0] / 10)
    assert heat.max() < 1e4
    assert np.isfinite(layer).all()
