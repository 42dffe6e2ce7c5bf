import pytest

from tests.ops.past.world import STEP, World


@pytest.fixture
def world():
    """A world of 150 records: `world.half` is a moment in the middle, `world.now` the end."""
    made = World(3)
    made.half = made.live(75) + STEP // 2
    made.live(75)
    return made
