"""Interleaving: one list of two rankings, whose clicks tell which of the two someone prefers.

Team draft (Radlinski, Kurup and Joachims 2008, "How does clickthrough data reflect retrieval quality?"): the two
rankings choose in turns, each its best item that is not in the list yet; who begins is drawn anew every turn. A click
counts for the ranking that chose the item.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from models.rerank import Order
from models.rings import digest
from streams.exposures import PLACES, TEAM

FIRST, SECOND, NEITHER = 0, 1, -1
TURNS = 512  # coins in the longest digest: two places each, more than any list has

Teams = npt.NDArray[np.int8]  # for each place the ranking that chose it, NEITHER for none


def team_draft(one: Order, other: Order, n: int, seed: str) -> tuple[Order, Teams]:
    """Return the first `n` of two rankings, drawn from a hash of `seed`, and the team of each place.

    Places that both rankings fill alike from the top on have no team: a click there tells nothing of them, and credited
    by lot would only blur what others tell. Nor has one that is filled when a ranking has nothing left.

    >>> order, teams = team_draft(np.array([7, 1, 2, 3]), np.array([7, 3, 2, 1]), 3, "request-1")
    >>> order.tolist(), teams.tolist()
    ([7, 3, 1], [-1, 1, 0])
    """
    coins = int.from_bytes(blake2b(seed.encode(), digest_size=TURNS // 8, person=b"interleaving").digest())
    same = alike(one[:n], other[:n])
    order = dict.fromkeys(one[:same].tolist(), NEITHER)  # its team by candidate
    left = iter(one[same:].tolist()), iter(other[same:].tolist())
    while len(order) < n:
        begins, coins = coins & 1, coins >> 1
        picks = []
        for team in (begins, 1 - begins):
            pick = next((each for each in left[team] if each not in order), None)
            if pick is not None:
                order[pick] = team
                picks.append(pick)
        if len(picks) < 2:
            for each in (*picks, *left[FIRST], *left[SECOND]):
                order[each] = NEITHER if each in picks else order.get(each, NEITHER)
            break
    return np.array([*order][:n], np.int64), np.array([*order.values()][:n], np.int8)


def alike(one: Order, other: Order) -> int:
    """Return how many places two rankings fill alike from the top on.

    >>> alike(np.array([7, 1, 2]), np.array([7, 2, 1, 3]))
    1
    """
    both = min(len(one), len(other))
    differ = np.flatnonzero(one[:both] != other[:both])
    return int(differ[0]) if len(differ) else both


def told(items: Sequence[str], teams: Teams) -> bytes:
    """Return what an exposure says of the teams of a list; places beyond its first, and of no team, are left out.

    >>> told(["tea", "milk"], np.int8([NEITHER, SECOND])).hex()
    '22240a5d01'
    """
    pairs = zip(items[:PLACES], teams[:PLACES].tolist(), strict=True)
    return b"".join(digest(item, TEAM - 1) + bytes([team]) for item, team in pairs if team != NEITHER)


def credit(teams: bytes, item: str) -> int:
    """Return what a click on an item counts: 1 for the second ranking, -1 for the first, 0 for neither.

    >>> credit(told(["tea", "milk"], np.int8([FIRST, SECOND])), "tea"), credit(b"", "tea")
    (-1, 0)
    """
    wanted = digest(item, TEAM - 1)
    for at in range(0, len(teams), TEAM):
        if teams[at : at + TEAM - 1] == wanted:
            return 1 if teams[at + TEAM - 1] == SECOND else -1
    return 0


def preference(credits_: Iterable[int]) -> int:
    """Return which ranking a user prefers by all credits: 1 the second, -1 the first, 0 none.

    >>> preference([1, -1, 1]), preference([])
    (1, 0)
    """
    balance = sum(credits_)
    return (balance > 0) - (balance < 0)
