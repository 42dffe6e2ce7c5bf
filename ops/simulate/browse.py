"""Browse: what people do with a list: how far down they come, what catches their eye, what they choose.

The cascade and the examination of click models: a place is on the screen when all above it were, and is looked at
the less the lower it is (Craswell et al. 2008; Chuklin, Markov and de Rijke 2015, "Click models for web search").
"""

from typing import NamedTuple

import numpy as np

from ops.simulate.world import Floats, Ints, Mask

PLACES = 10  # of a list
PATIENCE = 0.88  # chance to come from one place to the next
NOTICE = 0.3  # what is on the screen at place p (from 1) is looked at with chance p ** -NOTICE
ON_SCREEN: Floats = PATIENCE ** np.arange(PLACES, dtype=np.float64)
EXAMINED: Floats = ON_SCREEN * (1.0 + np.arange(PLACES)) ** -NOTICE


class Acts(NamedTuple):
    """What became of lists, each (lists, PLACES): on the screen, clicked, bought."""

    seen: Mask
    clicked: Mask
    bought: Mask


def browse(worth: Floats, seed: int, step: int) -> Acts:
    """Return what people do with lists; `worth` (lists, PLACES) is the chance of a choice, 0 where nothing stands.

    What was clicked is bought with that chance, too.
    """
    draw = np.random.default_rng((seed, step, 3))
    chance = draw.random((3, len(worth), PLACES))
    seen = draw.random((len(worth), 1)) < ON_SCREEN
    looked = seen & (chance[0] < (EXAMINED / ON_SCREEN))
    clicked = looked & (chance[1] < worth)
    return Acts(seen, clicked, clicked & (chance[2] < worth))


def expected(worth: Floats) -> Floats:
    """Return the click rate of each list by the truth: choices to be expected over places on the screen."""
    return np.asarray(worth @ EXAMINED / ON_SCREEN.sum())


def of_list(chance: Floats, lists: Ints) -> Floats:
    """Return what stands in the places of lists: `chance` (lists, things) of things by number, -1 for nothing."""
    return np.where(lists < 0, 0.0, np.take_along_axis(chance, np.maximum(lists, 0), axis=1))
