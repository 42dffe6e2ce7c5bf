"""Laws of the slate: varied, pinned, explored with exact chances, and never shorter than it could be."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rerank import STEP, TOP, arrange, best, explore


@st.composite
def candidates(draw, most=260):
    n = draw(st.integers(0, most))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    kinds = draw(st.integers(1, 12))
    categories = np.full((n, 4), -1, np.int32)
    categories[:, 0] = rng.integers(0, kinds, n)
    return rng.random(n).astype(np.float32), categories, rng


def most_of_a_category(categories, order, free=()):
    counts = Counter(c for n in order for c in set(categories[n].tolist()) if c >= 0 and c not in free)
    return max(counts.values(), default=0)


@settings(deadline=None)
@given(candidates(), st.integers(1, 60), st.integers(1, 4), st.sampled_from((0.0, 0.3)))
def test_a_slate_is_full_distinct_and_varied_unless_that_is_impossible(made, n, cap, diversity):
    scores, categories, rng = made
    vectors = rng.normal(size=(len(scores), 4)).astype(np.float32)
    order = arrange(scores, categories, n, cap=cap, diversity=diversity, vectors=vectors)
    assert len(order) == min(n, len(scores)) == len(set(order.tolist()))
    top = min(TOP, len(order))
    possible = sum(min(cap, count) for count in Counter(categories[:, 0].tolist()).values()) >= top
    if possible:
        assert most_of_a_category(categories, order[:top]) <= cap
    if not diversity:
        assert (np.diff(scores[order[top:]]) <= 0).all()


@settings(deadline=None)
@given(candidates(), st.integers(1, 30))
def test_without_a_cap_the_best_come_in_order(made, n):
    scores, categories, _ = made
    assert arrange(scores, categories, n, cap=0).tolist() == best(scores, n).tolist()
    assert best(scores, n).tolist() == np.argsort(-scores, kind="stable")[:n].tolist()


def test_the_categories_asked_for_are_not_counted():
    scores = np.linspace(1, 0, 40, dtype=np.float32)
    categories = np.tile(np.array([[7, -1]], np.int32), (40, 1))
    assert arrange(scores, categories, 10, cap=3, free=(7,)).tolist() == list(range(10))


def test_variety_is_looked_for_below_the_head():
    scores = np.linspace(1, 0, 600, dtype=np.float32)
    categories = np.zeros((600, 1), np.int32)
    categories[500:, 0] = np.arange(100) + 1
    order = arrange(scores, categories, 10, cap=3)
    assert order.tolist() == [0, 1, 2, *range(500, 507)]


def test_diversity_separates_twins():
    scores = np.float32([1.0, 0.99, 0.9])
    vectors = np.float32([[1, 0], [1, 0], [0, 1]])
    none = np.full((3, 1), -1, np.int32)
    assert arrange(scores, none, 3, diversity=0.0, vectors=vectors).tolist() == [0, 1, 2]
    assert arrange(scores, none, 3, diversity=0.6, vectors=vectors).tolist() == [0, 2, 1]


@given(
    candidates(60), st.dictionaries(st.integers(0, 25), st.integers(0, 59), max_size=3), st.integers(1, 40)
)
def test_pins_stand_where_they_are_pinned(made, pins, n):
    scores, categories, _ = made
    pins = {place: index for place, index in pins.items() if index < len(scores)}
    pins = {place: index for place, index in pins.items() if list(pins.values()).count(index) == 1}
    order = arrange(scores, categories, n, pins=pins)
    assert len(order) == min(n, len(scores)) == len(set(order.tolist()))
    for place, index in pins.items():
        if place < len(order):
            assert order[place] == index


@settings(deadline=None)
@given(
    made=candidates(),
    n=st.integers(1, 40),
    slots=st.integers(0, 3),
    cap=st.integers(0, 3),
    epsilon=st.floats(0.01, 1.0),
    seed=st.text(),
)
def test_exploring_keeps_the_slate_distinct_and_varied(*, made, n, slots, cap, epsilon, seed):
    scores, categories, rng = made
    order = arrange(scores, categories, n, cap=cap)
    pool = rng.permutation(len(scores))[:30]
    slate = explore(order, pool, categories, seed=seed, epsilon=epsilon, slots=slots, cap=cap)
    assert len(set(slate.order.tolist())) == len(order)
    assert ((slate.propensity > 0) & (slate.propensity <= 1)).all()
    assert (slate.order[~slate.explored] == order[~slate.explored]).all()
    assert slate.explored.sum() <= slots
    top = min(TOP, len(order))
    assert most_of_a_category(categories, slate.order[:top]) <= max(
        cap or TOP, most_of_a_category(categories, order[:top])
    )


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_logged_chances_are_the_true_ones(slots):
    scores = np.linspace(1, 0, 40, dtype=np.float32)
    categories = np.full((40, 1), -1, np.int32)
    order, pool, epsilon, rounds = np.arange(10), np.arange(20, 32), 0.4, 4000
    assert len(arrange(scores, categories, 10)) == 10
    shown, chance = Counter(), {}
    for n in range(rounds):
        slate = explore(order, pool, categories, seed=f"r{n}", epsilon=epsilon, slots=slots)
        for place in range(TOP - 1, TOP - 1 - slots * STEP, -STEP):
            shown[place, int(slate.order[place])] += 1
            chance[place, int(slate.order[place])] = slate.propensity[place]
    for place in range(TOP - 1, TOP - 1 - slots * STEP, -STEP):
        assert sum(p for (at, _), p in chance.items() if at == place) == pytest.approx(1.0)
    for key, probability in chance.items():
        assert shown[key] / rounds == pytest.approx(probability, abs=0.03)


def test_what_is_drawn_depends_on_the_seed_alone():
    categories = np.full((40, 1), -1, np.int32)
    once, again = (
        explore(np.arange(10), np.arange(20, 40), categories, seed="s", epsilon=1.0, slots=2)
        for _ in range(2)
    )
    assert once.order.tolist() == again.order.tolist()
    assert once.explored.sum() == 2
    assert not once.explored[0]


def test_nothing_explores_without_a_pool_or_epsilon():
    categories = np.full((10, 1), -1, np.int32)
    for pool, epsilon in ((np.arange(0), 1.0), (np.arange(10), 1.0), (np.arange(5, 10), 0.0)):
        slate = explore(np.arange(10), pool, categories, seed="s", epsilon=epsilon, slots=1)
        assert slate.propensity.tolist() == [1.0] * 10
        assert not slate.explored.any()
