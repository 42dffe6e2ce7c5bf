"""World: shards that learn apart are what requests read, as soon as they are merged."""

import numpy as np
import pytest

from models.actions import DEFAULTS
from models.learned import COMMON, Learned
from models.learner import Learner
from models.merged import Merged
from ops.evaluate.world import World
from streams.events import Event
from streams.partition import partition_of
from tests.ops.evaluate.shop import START, shopping

D = 16


def choices():
    """Yield what each choice of a small shop says, and who made it."""
    world = World(DEFAULTS, D)
    for number, (user, item) in enumerate(shopping()):
        at = 1000 * (START + number)
        said = world.fold(Event(event_id=str(number), type="click", at=at, user_id=user, item_id=item))
        if said is not None:
            yield user, said


def test_shards_are_merged_as_an_api_process_would_with_the_users_of_each():
    world, parts = World(DEFAULTS, D, 3), [Learner(Learned(D)) for _ in range(3)]
    for number, (user, said) in enumerate(choices()):
        world.learn(said, user)
        parts[partition_of(user, 3)].learn(said)
        if number % 50 == 0:
            world.merge()
    world.merge()
    learned = [part.learned for part in parts]
    assert all(one.common.choices > 50 for one in learned)
    again = Merged(learned)
    for key in (COMMON, *world.learned.slot_of):
        again.take(key)
    assert np.array_equal(again.learned.common.weights, world.learned.common.weights)
    for key, slot in world.learned.slot_of.items():
        own = again.learned.slot_of[key]
        assert again.learned.chosen[own] == world.learned.chosen[slot]
        assert np.allclose(again.learned.into[own], world.learned.into[slot], atol=1e-6)
        assert np.allclose(again.learned.out[own], world.learned.out[slot], atol=1e-6)


@pytest.mark.parametrize("shards", [1, 3])
def test_what_moved_is_told_once(shards):
    world = World(DEFAULTS, D, shards)
    for number, (user, said) in enumerate(choices()):
        world.learn(said, user)
        if number == 200:
            world.merge()
    moved = world.moved()
    assert sorted(moved) == sorted(world.learned.slot_of)
    assert world.moved() == []
    world.learn(said, user)
    world.merge()
    assert said.item in world.moved()
