"""Laws of the space: finite, unit, deterministic, order-free; and what it was measured to be good for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.space import OWN, POPULARITY, SAMPLE, Space, centroids, query, unit
from models.vectors import signs

D = 16
SIGNS = np.stack([signs(f"i{n}", D) for n in range(400)])


def catalogue(seed, n, cold=0.2):
    rng = np.random.default_rng(seed)
    mass = np.where(rng.random(n) < cold, 0, rng.exponential(20, n)).astype(np.float32)
    contexts = np.where(mass[:, None] > 0, rng.normal(0.1, 0.3, (n, D)), 0).astype(np.float16)
    return contexts, mass, np.ceil(mass / 3).astype(np.float32)


def test_every_place_is_a_finite_unit_vector_with_its_popularity():
    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 99), st.integers(1, 300), st.floats(0, 1), st.booleans())
    def law(seed, n, cold, with_prior):
        contexts, mass, chosen = catalogue(seed, n, cold)
        space = Space.fit(contexts, mass, chosen)
        rng = np.random.default_rng(seed)
        prior = unit(rng.normal(size=(n, D)).astype(np.float32)) if with_prior else None
        places = space.place(contexts, mass, chosen, SIGNS[:n], prior)
        assert places.shape == (n, D + 1)
        assert places.dtype == np.float32
        assert np.allclose(np.linalg.norm(places[:, :D], axis=1), 1, atol=1e-5)
        assert np.allclose(places[:, D], POPULARITY * np.log1p(chosen))

    law()


def test_a_place_does_not_depend_on_its_neighbours_in_the_batch():
    contexts, mass, chosen = catalogue(1, 300)
    space = Space.fit(contexts, mass, chosen)
    whole = space.place(contexts, mass, chosen, SIGNS[:300])
    parts = [space.place(contexts[s], mass[s], chosen[s], SIGNS[s]) for s in (slice(0, 7), slice(7, 300))]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-5)


def test_the_place_is_the_written_formula():
    contexts, mass, chosen = catalogue(2, 300, cold=0)
    space = Space.fit(contexts, mass, chosen)
    c = contexts.astype(np.float64) * mass[:, None]
    mean = c.sum(axis=0) / mass.sum()
    z = (c - mass[:, None] * mean) / np.sqrt(chosen[:, None] + 5)
    s = D * z.T @ z / np.trace(z.T @ z)
    values, axes = np.linalg.eigh(s)
    m = axes @ np.diag((np.maximum(values, 0) + 0.05) ** -0.25) @ axes.T
    assert np.allclose(space.mean, mean, atol=1e-4)
    assert np.allclose(space.matrix, m, atol=1e-3)
    y = unit(unit((c - mass[:, None] * mean) @ m) + OWN * unit(SIGNS[:300] @ m))
    assert np.allclose(space.place(contexts, mass, chosen, SIGNS[:300])[:, :D], y, atol=1e-2)


def test_fitting_is_deterministic_and_reads_a_bounded_sample():
    n = SAMPLE + 7
    contexts, mass, chosen = catalogue(3, n, cold=0)
    first, second = Space.fit(contexts, mass, chosen), Space.fit(contexts.copy(), mass, chosen)
    assert np.array_equal(first.matrix, second.matrix)
    contexts[1::2] = 1000  # every second row is skipped
    assert np.array_equal(Space.fit(contexts, mass, chosen).mean, first.mean)


@pytest.mark.parametrize("n", [0, 1, D - 1, 3 * D])
def test_too_little_or_equal_knowledge_gives_the_identity(n):
    contexts = np.full((n, D), 0.5, dtype=np.float16)
    space = Space.fit(contexts, np.ones(n), np.ones(n))
    assert np.array_equal(space.matrix, np.eye(D))


def test_an_unlisted_item_without_anything_has_the_place_of_its_signs():
    zero, none = np.zeros((1, D)), np.zeros(1)
    for prior in (None, np.zeros((1, D), dtype=np.float32)):
        place = Space.identity(D).place(zero, none, none, SIGNS[:1], prior)
        assert np.allclose(place[0, :D], unit(SIGNS[:1])[0])


def test_a_context_that_is_not_finite_counts_as_none():
    contexts = np.full((1, D), np.inf)
    place = Space.identity(D).place(contexts, [3], [3], SIGNS[:1])
    assert np.allclose(place[0, :D], unit(SIGNS[:1])[0])


def test_a_cold_item_stands_with_its_category_and_leaves_it_as_it_becomes_known():
    contexts, mass, chosen = catalogue(4, 300, cold=0)
    space = Space.fit(contexts, mass, chosen)
    prior = unit(np.ones((1, D), dtype=np.float32))

    def nearness(times):
        place = space.place(contexts[:1], [times], [times], SIGNS[:1], prior)[0, :D]
        return float(place @ prior[0])

    steps = [nearness(times) for times in (0, 1, 5, 50, 5000)]
    assert steps[0] > 0.98
    assert steps == sorted(steps, reverse=True)
    settled = space.place(contexts[:1], [5000], [5000], SIGNS[:1])[0, :D] @ prior[0]
    assert steps[-1] == pytest.approx(settled, abs=0.01)


def test_items_of_one_category_are_kept_apart():
    prior = np.repeat(unit(np.ones((1, D), dtype=np.float32)), 50, axis=0)
    places = Space.identity(D).place(np.zeros((50, D)), np.zeros(50), np.zeros(50), SIGNS[:50], prior)
    assert len(np.unique(places.round(4), axis=0)) == 50


def test_centroids_and_prior_average_over_categories():
    places = np.eye(3, dtype=np.float32)
    codes = np.array([[0, -1], [0, 1], [1, -1]], dtype=np.int32)
    found = centroids(places, codes, 3)
    assert np.allclose(found, unit(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=np.float32)))
    space = Space(np.zeros(3, dtype=np.float32), np.eye(3, dtype=np.float32), found)
    prior = space.prior(np.array([[0, 1], [2, -1], [-1, -1], [9, 0]], dtype=np.int32))
    assert np.allclose(prior[0], unit(np.array([1, 2, 1], dtype=np.float32)))
    assert not prior[1:3].any()
    assert np.allclose(prior[3], found[0])  # a category that came after the fit
    assert not Space.identity(3).prior(codes).any()


def test_a_query_leans_to_the_newest_choice():
    places = unit(np.random.default_rng(5).normal(size=(4, D)).astype(np.float32))
    q = query(places)
    assert q.shape == (D + 1,)
    assert q[D] == 1
    assert np.linalg.norm(q[:D]) == pytest.approx(1, abs=1e-6)
    assert np.allclose(q[:D], unit(sum(0.7**k * places[k] for k in range(4))), atol=1e-6)


def test_groups_of_items_chosen_together_are_found_again():
    rng = np.random.default_rng(6)
    groups = np.arange(400) % 8
    contexts = np.zeros((400, D), dtype=np.float32)
    for n in range(400):
        mates = rng.choice(np.flatnonzero(groups == groups[n]), 40)
        contexts[n] = SIGNS[mates].mean(axis=0) + 0.5  # and a common direction that says nothing
    mass, chosen = np.full(400, 40.0), np.full(400, 10.0)
    space = Space.fit(contexts, mass, chosen)
    y = space.place(contexts, mass, chosen, SIGNS)[:, :D]
    scores = y @ query(y[[0, 8, 16]])[:D]
    scores[[0, 8, 16]] = -np.inf
    assert np.mean(groups[np.argsort(-scores)[:20]] == 0) > 0.8
