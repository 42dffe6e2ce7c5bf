"""Truth: what lists could be worth: drawn by lot, the same favourites for all, and the best there is for each.

Worth is the expected click rate, choices over places on the screen, so that it compares with a CTR without its noise.
"""

from typing import NamedTuple

import numpy as np

from ops.simulate.browse import EXAMINED, ON_SCREEN, PLACES, expected
from ops.simulate.world import Floats, Ints, Mask, World, appeal


class Bounds(NamedTuple):
    """Expected click rates of the visitors (people,): of random lists, of everybody's favourites, of the best lists."""

    random: Floats
    crowd: Floats
    oracle: Floats


def bounds(chance: Floats, live: Mask, crowd: Floats) -> Bounds:
    """Return them for visitors with these chances (people, things) to choose each thing, `live` where it is listed.

    `crowd` (things,) is what everybody thinks of each thing; what someone has chosen already is left out of each list.
    """
    live_chance = chance * live
    return Bounds(
        chance[:, live].mean(axis=1) * EXAMINED.sum() / ON_SCREEN.sum(),
        expected(_best(live_chance, np.where(live_chance > 0, crowd, 0.0))),
        expected(_best(live_chance, live_chance)),
    )


def favourites(world: World, people: Ints) -> Floats:
    """Return what people think of each thing in the mean (things,)."""
    return np.asarray(appeal(world, people).mean(axis=0))


def _best(chance: Floats, merit: Floats) -> Floats:
    top = np.argpartition(-merit, PLACES, axis=1)[:, :PLACES]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(merit, top, axis=1), axis=1), axis=1)
    return np.asarray(np.take_along_axis(chance, top, axis=1))
