"""Laws of the slate: varied, pinned, and never shorter than it could be."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rerank import TOP, arrange, best


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
