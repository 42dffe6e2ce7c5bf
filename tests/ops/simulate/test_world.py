"""The laws of the world: what its people like, who comes when, and what becomes of tastes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ops.simulate.world import DRIFT, appeal, build, drift, visitors

sizes = st.integers(20, 80)
seeds = st.integers(0, 2**32)


@given(sizes, sizes, st.integers(1, 30), seeds)
def test_a_seed_says_all_of_a_world(people, things, steps, seed):
    one, other = (build(people, things, steps, seed) for _ in range(2))
    for step in range(3):
        assert np.array_equal(visitors(one, step, 10), visitors(other, step, 10))
        drift(one, step)
        drift(other, step)

    assert np.array_equal(one.tastes, other.tastes)
    assert np.array_equal(one.appears, other.appears)
    assert not np.array_equal(
        build(people, things, steps, seed + 1).tastes, build(people, things, steps, seed).tastes
    )


@given(sizes, seeds, st.integers(0, 9))
def test_tastes_turn_by_so_much_a_step_and_stay_of_length_one(people, seed, step):
    world = build(people, 20, 10, seed)
    before = world.tastes
    drift(world, step)

    assert np.allclose(np.linalg.norm(world.tastes, axis=1), 1.0)
    assert np.allclose((before * world.tastes).sum(axis=1), np.cos(DRIFT))


@given(sizes, st.integers(1, 30), seeds)
def test_nobody_comes_before_joining_and_all_come_when_they_join(people, steps, seed):
    world = build(people, 20, steps, seed)
    for step in range(steps):
        who = visitors(world, step, 5)

        assert len(set(who.tolist())) == len(who)
        assert (world.joins[who] <= step).all()
        assert step == 0 or set(np.flatnonzero(world.joins == step)) <= set(who)


def test_many_come_in_bursts():
    joins = np.bincount(build(1000, 20, 40, 1).joins, minlength=40)

    assert joins[20] >= 150 <= joins[30]
    assert joins[1:20].max() < 30


@given(sizes, sizes, seeds)
def test_what_is_near_is_liked_and_what_was_chosen_is_not_wanted_again(people, things, seed):
    world = build(people, things, 10, seed)
    world.worth[:] = 0.0
    who = np.arange(people)
    chance = appeal(world, who)

    assert ((chance > 0) & (chance < 1)).all()
    assert np.array_equal(chance.argmax(axis=1), (world.tastes @ world.things.T).argmax(axis=1))
    world.had[:, 3] = True
    assert not appeal(world, who)[:, 3].any()


def test_a_category_means_something():
    world = build(20, 500, 10, 1)
    alike = world.things @ world.things.T
    same = world.category[:, None] == world.category

    assert alike[same].mean() > 0.6
    assert abs(alike[~same].mean()) < 0.2
