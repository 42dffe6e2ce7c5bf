"""An audience: simulated people and two rankings of different quality, to tell how many of them a comparison needs.

They browse by a cascade (Craswell et al. 2008): from the top down, clicking by chance what attracts them. They go on to
the next place with chance `ON` (the persistence of Moffat and Zobel 2008), and behind a click only if they want more
(`STOP`, of a relevant item in the informational model of Hofmann, Whiteson and de Rijke 2011). How often they come, and
how readily they click, differs between them lognormally.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.interleaving import FIRST, SECOND, team_draft

ON, STOP = 0.9, 0.5
CANDIDATES, PLACES = 30, 10
VISITS, EAGER = 20.0, 1.0  # mean lists of a user, as in two weeks; deviation of their logarithm
READY = 0.5  # deviation of the log-odds of a click between users
ODDS = -3.0  # log-odds of a click on an item of middling worth; worth is standard normal
BLUR = 1.0, 0.8  # deviation of the error with which the two rankings see worth: the second is the better one

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Lists = npt.NDArray[np.int64]  # (lists, PLACES) of candidates


class Audience(NamedTuple):
    """Who is shown each list, the chance of each candidate to be clicked when looked at, and what two rankings show."""

    user: Ints  # (lists,)
    attraction: Floats  # (lists, CANDIDATES)
    one: Lists
    other: Lists


class Needed(NamedTuple):
    """Users needed to find the better of two rankings, and how much better it is (relative clicks per list)."""

    by_clicks_per_user: float
    by_clicks_per_list: float
    interleaved: float
    lift: float


def audience(draw: np.random.Generator, users: int, blur: tuple[float, float] = BLUR) -> Audience:
    """Return so many people with the lists of their visits."""
    visits = draw.poisson(VISITS * np.exp(draw.normal(-(EAGER**2) / 2, EAGER, users)))
    user = np.repeat(np.arange(users), visits)
    worth = draw.normal(size=(len(user), CANDIDATES))
    odds = worth + ODDS + draw.normal(0.0, READY, users)[user, None]
    one, other = (np.argsort(draw.normal(-worth, deviation))[:, :PLACES] for deviation in blur)
    return Audience(user, 1.0 / (1.0 + np.exp(-odds)), one, other)


def clicks(draw: np.random.Generator, attraction: Floats, shown: Lists) -> Mask:
    """Return where lists are clicked, (lists, PLACES)."""
    clicked = draw.random(shown.shape) < np.take_along_axis(attraction, shown, axis=1)
    leaves = (draw.random(shown.shape) > ON) | (clicked & (draw.random(shown.shape) < STOP))
    there: Mask = np.cumsum(leaves, axis=1) - leaves == 0
    return clicked & there


def expected(attraction: Floats, shown: Lists) -> Floats:
    """Return the mean number of clicks on each list."""
    chance = np.take_along_axis(attraction, shown, axis=1)
    stays = np.cumprod(ON * (1.0 - STOP * chance), axis=1)
    there = np.concatenate([np.ones((len(shown), 1)), stays[:, :-1]], axis=1)
    total: Floats = (chance * there).sum(axis=1)
    return total


def preferences(draw: np.random.Generator, people: Audience, users: int) -> Floats:
    """Return which ranking each user's clicks on interleaved lists speak for: -1, 0 or 1."""
    drafts = [
        team_draft(a, b, PLACES, f"{n}")
        for n, (a, b) in enumerate(zip(people.one, people.other, strict=True))
    ]
    shown, teams = (np.array(each) for each in zip(*drafts, strict=True))
    clicked = clicks(draw, people.attraction, shown)
    balance = (clicked & (teams == SECOND)).sum(axis=1) - (clicked & (teams == FIRST)).sum(axis=1)
    signs: Floats = np.sign(np.bincount(people.user, balance, users))
    return signs


def users_needed(seed: int = 1, users: int = 5_000, error: float = 0.05, power: float = 0.8) -> Needed:
    """Return how many users find the better ranking with that power, two-sided at that rate of error.

    For A/B these are the users of both groups together. Deviations are those of the simulated users. The means that an
    A/B test compares are known exactly, the mean preference from the simulated users.
    """
    draw = np.random.default_rng(seed)
    people = audience(draw, users)
    visits = np.bincount(people.user, minlength=users).astype(np.float64)
    means, by_user, by_list = [], [], []
    for shown in (people.one, people.other):
        mean = float(expected(people.attraction, shown).sum())
        count = np.bincount(people.user, clicks(draw, people.attraction, shown).sum(axis=1), users)
        means.append(mean)
        by_user.append(float(count.var()))
        by_list.append(
            float((count - mean / visits.sum() * visits).var())
        )  # of a ratio of means (delta method)
    signs = preferences(draw, people, users)
    z = (NormalDist().inv_cdf(1.0 - error / 2.0) + NormalDist().inv_cdf(power)) ** 2
    apart = (means[1] - means[0]) / users
    return Needed(
        by_clicks_per_user=2.0 * z * sum(by_user) / apart**2,
        by_clicks_per_list=2.0 * z * sum(by_list) / apart**2,
        interleaved=z * float(signs.var() / signs.mean() ** 2),
        lift=means[1] / means[0] - 1.0,
    )
