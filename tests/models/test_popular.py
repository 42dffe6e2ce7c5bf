"""Popularity by chances: what is liked, not what was shown."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.items import ctr
from models.popular import by_chances, lift

N = 30
counts = st.lists(st.floats(0, 1000, width=32), min_size=N, max_size=N).map(np.float32)
EVEN = np.ones(N, np.float32)
NEVER = np.zeros(N, np.float32)


def rates(answered, examined):
    return ctr(answered.astype(np.float64), examined.astype(np.float64)).astype(np.float32)


@given(counts)
def test_where_no_looks_are_known_the_order_is_that_of_popularity(popularity):
    liked = by_chances(popularity, EVEN, rates(NEVER, NEVER), NEVER)
    assert (np.diff(liked[np.argsort(popularity, kind="stable")]) >= 0).all()
    assert (liked > 0).all()


@given(counts, counts)
def test_what_is_liked_lies_between_no_look_answered_and_all(answered, examined):
    answered = np.minimum(answered, examined)
    liked = by_chances(answered, EVEN, rates(answered, examined), examined)
    assert ((liked > 0) & (liked < 1)).all()


def test_what_is_chosen_much_because_it_is_shown_much_comes_after_what_is_liked():
    examined, answered = np.full(N, 100.0, np.float32), np.full(N, 5.0, np.float32)
    examined[:3], answered[:3] = (2000.0, 100.0, 0.0), (100.0, 20.0, 0.0)  # shown much, liked, new
    shown, liked, new, *others = by_chances(answered, EVEN, rates(answered, examined), examined)
    assert liked > shown
    assert abs(shown - 0.05) < 0.002
    assert abs(new - 0.05) < 0.03  # like all others, until it was looked at
    assert abs(np.mean(others) - 0.05) < 0.01


def test_what_one_country_likes_more_is_lifted_there():
    anywhere = np.full(N, 1000.0, np.float32)
    here = np.full(N, 100.0, np.float32)
    here[0], here[1], anywhere[2], here[2] = 300.0, 10.0, 1.0, 1.0
    more, less, seldom, *others = lift(here, anywhere)
    assert more > 2.0
    assert less < 1.0
    assert abs(seldom - 1.0) < 0.1
    assert np.allclose(others, 1.0, atol=0.1)
    assert np.array_equal(lift(NEVER, NEVER), EVEN)
    answered, examined = EVEN * 5, EVEN * 100
    liked = by_chances(EVEN, lift(here, anywhere), rates(answered, examined), examined)
    assert liked[0] > liked[3] > liked[1]


def test_among_no_candidates_none_is_liked():
    nothing = np.zeros(0, np.float32)
    assert by_chances(nothing, nothing, nothing, nothing).shape == (0,)
