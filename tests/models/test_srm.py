import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import srm

counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=5)


@given(counts)
def test_who_looks_at_any_time_is_surprised_no_sooner_than_who_looks_once(found):
    weights = np.ones(len(found))
    once, always = srm.chi_square(found, weights), srm.at_any_time(found, weights)

    assert 0 <= once <= 1
    assert 0 <= always <= 1
    assert always > 0.001 or once < 0.001


def test_even_counts_are_no_mismatch():
    draw = np.random.default_rng(1)
    steps = draw.multinomial(10, [0.2, 0.3, 0.5], size=(1_000, 500)).cumsum(axis=1)

    assert (srm.at_any_time(steps, [2, 3, 5]) < srm.ALPHA).any(axis=1).mean() <= 3 * srm.ALPHA


def test_looking_all_the_time_would_find_a_mismatch_in_chi_square_alone():
    draw = np.random.default_rng(2)
    steps = draw.multinomial(40, [0.5, 0.5], size=(1_000, 300)).cumsum(axis=1)

    assert (srm.chi_square(steps, [1, 1]) < srm.ALPHA).any(axis=1).mean() > 4 * srm.ALPHA


def test_a_mismatch_is_found():
    assert srm.at_any_time([10_000, 9_200], [1, 1]) < srm.ALPHA
    assert srm.at_any_time([10_000, 0, 10_000], [1, 1, 1]) < srm.ALPHA
    assert srm.at_any_time([5_000, 10_000], [1, 2]) > 0.5


def test_nothing_counted_is_no_mismatch():
    assert srm.at_any_time([0, 0], [1, 1]) == 1
    assert srm.chi_square([0, 0], [1, 1]) == 1


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_of_a_share_is_what_the_test_does_not_reject(wins, losses):
    low, high = srm.share(wins, losses, 0.05)
    rejected = srm.at_any_time([wins, losses], [1, 1], srm.SIGNS) < 0.05

    assert 0 <= low <= high <= 1
    assert (not low <= 0.5 <= high) == rejected


def test_the_share_of_a_fair_coin_stays_in_its_interval():
    draw = np.random.default_rng(3)
    wins = draw.integers(0, 2, size=(1_000, 1_000)).cumsum(axis=1)
    steps = np.stack([wins, np.arange(1, 1_001) - wins], axis=-1)

    assert (srm.at_any_time(steps, [1, 1], srm.SIGNS) < 0.05).any(axis=1).mean() <= 0.05
    assert srm.share(500, 500, 0.05) == pytest.approx((0.445, 0.555), abs=0.01)
