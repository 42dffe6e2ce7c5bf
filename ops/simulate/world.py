"""World: people whose tastes are known, and things for them; who comes when, and what becomes of tastes.

A taste is a direction in TASTES numbers; a thing lies near the centre of its category. All draws follow from the seed
and the step, never from what was shown: two runs of one seed differ by their lists alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

TASTES = 8
CATEGORIES = 24
SPREAD = 0.6  # of people around their favourite categories, and of things around theirs
SECOND = 0.5  # weight of a person's second favourite category; the first has 1
FADE = 0.5  # the favourite of n-th rank is chosen as 1 / n ** FADE
BASE, SHARP = -4.0, 6.0  # log-odds of a choice: BASE + SHARP * cosine + what a thing has for everybody,
WORTH = 0.7  # which has this deviation
DRIFT = 0.05  # radians that a taste turns in a step
EARLY = 0.5  # share of the people who are there from the first step on
BURSTS = (0.5, 0.75)  # at these shares of the run, and
BURST = 0.15  # with this share of the people each, many come at once; the others one by one
LISTED = 0.8  # share of the things that are there from the first step on; the others come until
LAST = 0.8  # this share of the run


@dataclass
class World:
    """People and things by number; `tastes` (people, TASTES) and `things` (things, TASTES) have rows of length 1.

    `worth` is what a thing has for everybody, `joins` and `appears` the step from which someone or something is there,
    `eager` how often someone comes relative to others. `had` (people, things) tells who has chosen what: it is not
    wanted again.
    """

    seed: int
    tastes: Floats
    things: Floats
    category: Ints
    worth: Floats
    eager: Floats
    joins: Ints
    appears: Ints
    had: Mask


def build(people: int, things: int, steps: int, seed: int) -> World:
    """Return the world before its first step."""
    draw = np.random.default_rng((seed, 0))
    centres = _length_one(draw.normal(size=(CATEGORIES, TASTES)))
    liked = 1.0 / (1.0 + np.arange(CATEGORIES)) ** FADE
    first, second = draw.choice(CATEGORIES, size=(2, people), p=liked / liked.sum())
    category = draw.integers(CATEGORIES, size=things)
    joins = np.zeros(people, dtype=np.int64)
    late = draw.permutation(people)[round(EARLY * people) :]
    joins[late] = draw.integers(1, max(2, steps), size=len(late))
    burst = round(BURST * people)
    for n, share in enumerate(BURSTS):
        joins[late[n * burst : (n + 1) * burst]] = round(share * steps)
    appears = np.zeros(things, dtype=np.int64)
    new = draw.permutation(things)[round(LISTED * things) :]
    appears[new] = draw.integers(1, max(2, round(LAST * steps)), size=len(new))
    return World(
        seed=seed,
        tastes=_near(draw, centres[first] + SECOND * centres[second]),
        things=_near(draw, centres[category]),
        category=category,
        worth=draw.normal(0.0, WORTH, size=things),
        eager=draw.gamma(2.0, size=people),
        joins=joins,
        appears=appears,
        had=np.zeros((people, things), dtype=np.bool_),
    )


def drift(world: World, step: int) -> None:
    """Turn every taste by DRIFT radians, each in a direction of its own."""
    away = np.random.default_rng((world.seed, step, 1)).normal(size=world.tastes.shape)
    away -= (away * world.tastes).sum(axis=1, keepdims=True) * world.tastes
    world.tastes = _length_one(np.cos(DRIFT) * world.tastes + np.sin(DRIFT) * _length_one(away))


def visitors(world: World, step: int, count: int) -> Ints:
    """Return who asks for a list: all who come for the first time, and `count` of those who came before."""
    known = np.flatnonzero(world.joins < step) if step else np.flatnonzero(world.joins == 0)
    new = np.flatnonzero(world.joins == step) if step else known[:0]
    draw = np.random.default_rng((world.seed, step, 2))
    # the largest of log-weight + Gumbel noise are a weighted draw without replacement (Efraimidis and Spirakis 2006)
    keys = np.log(world.eager[known]) + draw.gumbel(size=len(known))
    return np.concatenate([new, np.sort(known[np.argsort(-keys)[:count]])])


def appeal(world: World, people: Ints) -> Floats:
    """Return the chance that each of the people chooses each thing when looking at it: (people, things)."""
    odds = BASE + SHARP * world.tastes[people] @ world.things.T + world.worth
    return np.where(world.had[people], 0.0, 1.0 / (1.0 + np.exp(-odds)))


def _near(draw: np.random.Generator, centres: Floats) -> Floats:
    noise = draw.normal(scale=SPREAD / np.sqrt(TASTES), size=centres.shape)
    return _length_one(_length_one(centres) + noise)


def _length_one(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
