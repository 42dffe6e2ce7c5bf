import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sequential import ALPHA, TIGHTEST, chance, fixed_chance, fixed_reach, holm, reach

units = st.integers(2, 10**9)


@given(units, st.floats(1e-9, 0.5))
def test_a_chance_is_the_level_at_which_an_interval_just_reaches(n, alpha):
    assert chance(reach(n, alpha), n) == pytest.approx(alpha, rel=1e-6)


@given(units)
def test_who_may_look_at_any_time_sees_less_far(n):
    assert reach(n) > fixed_reach()


def test_an_interval_is_narrowest_where_it_says():
    counts = np.array([TIGHTEST // 2, TIGHTEST, 2 * TIGHTEST])

    assert reach(counts)[1] < reach(counts)[[0, 2]].min()


def test_means_of_nothing_stay_within_reach_at_all_times():
    draw = np.random.default_rng(1)
    counts = np.arange(10, 10_001, 10)
    scores = np.abs(draw.normal(0.0, 10**0.5, (2_000, 1_000)).cumsum(axis=1)) / np.sqrt(counts)
    left = (scores > reach(counts)).any(axis=1).mean()
    peeked = (scores > fixed_reach()).any(axis=1).mean()

    assert left <= ALPHA
    assert peeked > 5 * ALPHA


def test_one_look_has_the_chances_of_the_normal_distribution():
    assert fixed_reach(0.05) == pytest.approx(1.959964)
    assert fixed_chance([0.0, -1.959964, 1.959964]) == pytest.approx([1.0, 0.05, 0.05])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_no_better_than_each_and_no_worse_than_all(chances):
    corrected = holm(chances)

    assert (corrected >= chances).all()
    assert (corrected <= np.minimum(1.0, np.array(chances) * len(chances)) + 1e-12).all()
    assert np.array_equal(corrected[::-1], holm(chances[::-1]))
    assert min(corrected) == min(1.0, min(chances) * len(chances))
