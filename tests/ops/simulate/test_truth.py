"""Nothing beats the best lists, and everybody's favourites lie between them and chance."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ops.simulate.browse import PLACES, expected, of_list
from ops.simulate.truth import bounds, favourites
from ops.simulate.world import appeal, build


@given(st.integers(0, 2**32))
def test_no_list_is_better_than_the_best(seed):
    world = build(30, 60, 10, seed)
    draw = np.random.default_rng(seed)
    world.had[:] = draw.random(world.had.shape) < 0.2
    live = world.appears == 0
    who = np.arange(30)
    chance = appeal(world, who)
    limits = bounds(chance, live, favourites(world, who))
    some = np.array([draw.choice(np.flatnonzero(live), PLACES, replace=False) for _ in who])
    served = expected(of_list(chance, some))

    assert (limits.oracle >= served - 1e-12).all()
    assert (limits.oracle >= limits.crowd - 1e-12).all()
    assert (limits.oracle >= limits.random).all()


def test_favourites_of_all_are_better_than_chance():
    world = build(200, 200, 10, 1)
    who = np.arange(200)
    limits = bounds(appeal(world, who), world.appears == 0, favourites(world, who))

    assert limits.random.mean() < limits.crowd.mean() < limits.oracle.mean()


def test_random_lists_earn_what_is_said_of_them():
    world = build(20, 100, 10, 1)
    who, draw = np.arange(20), np.random.default_rng(1)
    live = world.appears == 0
    chance = appeal(world, who)
    limits = bounds(chance, live, favourites(world, who))
    lists = [
        np.array([draw.choice(np.flatnonzero(live), PLACES, replace=False) for _ in who]) for _ in range(200)
    ]
    earned = np.mean([expected(of_list(chance, some)) for some in lists], axis=0)

    assert np.allclose(earned, limits.random, rtol=0.15)
