"""The laws of browsing: what is lower is seen less, and a list is worth what it earns in the long run."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ops.simulate.browse import EXAMINED, ON_SCREEN, PLACES, browse, expected, of_list

LISTS = 4000


def test_lower_places_are_looked_at_less():
    assert ON_SCREEN[0] == EXAMINED[0] == 1.0
    assert (np.diff(ON_SCREEN) < 0).all()
    assert (np.diff(EXAMINED / ON_SCREEN) < 0).all()


@given(st.integers(0, 2**32), st.integers(0, 99))
def test_acts_follow_from_the_seed_and_from_what_is_shown(seed, step):
    worth = np.random.default_rng(1).random((50, PLACES))
    seen, clicked, bought = browse(worth, seed, step)

    assert all(map(np.array_equal, (seen, clicked, bought), browse(worth, seed, step)))
    assert seen[:, 0].all()
    assert (seen[:, :-1] | ~seen[:, 1:]).all()
    assert not (clicked & ~seen).any()
    assert not (bought & ~clicked).any()
    assert not browse(np.zeros_like(worth), seed, step).clicked.any()
    assert (browse(np.sqrt(worth), seed, step).clicked | ~clicked).all()


def test_lists_earn_what_is_expected_of_them_by_place():
    worth = np.tile(np.linspace(0.8, 0.1, PLACES), (LISTS, 1))
    seen, clicked, _ = browse(worth, 1, 1)

    assert np.allclose(seen.mean(axis=0), ON_SCREEN, atol=0.03)
    assert np.allclose(clicked.mean(axis=0), EXAMINED * worth[0], atol=0.03)
    assert abs(clicked.sum() / seen.sum() - expected(worth[:1])[0]) < 0.01


def test_an_empty_place_is_worth_nothing():
    chance = np.array([[0.1, 0.2, 0.3]])

    assert of_list(chance, np.array([[2, -1, 0]])).tolist() == [[0.3, 0.0, 0.1]]
