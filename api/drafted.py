"""Drafted: two lists for one request merged into one, place by place the choice of one of them."""

import numpy as np

from api.funnel import Ranked
from models.exploration import Doubles
from models.features import Floats
from models.interleaving import SECOND, Teams, alike, team_draft
from models.rerank import Order


def drafted(one: Ranked, other: Ranked, n: int, seed: str) -> tuple[Ranked, Teams]:
    """Return n places drawn by team draft from two lists that explore nothing, and which list chose each.

    An item keeps score, source and features of the list that chose it; its propensity is that of the draft.
    """
    order, teams = team_draft(one.slots, other.slots, n, seed)
    mine, theirs = ({slot: place for place, slot in enumerate(each.slots.tolist())} for each in (one, other))
    at = np.array(
        [
            len(one.slots) + theirs[slot] if team == SECOND or slot not in mine else mine[slot]
            for slot, team in zip(order.tolist(), teams.tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    rows: Floats | None = None
    if one.rows is not None and other.rows is not None:
        rows = np.concatenate([one.rows, other.rows])[at]
    sources = one.sources + other.sources
    merged = Ranked(
        order, np.concatenate([one.scores, other.scores])[at], [sources[place] for place in at.tolist()],
        chances(one.slots, other.slots, order), rows, other.models | one.models, one.counts, one.skipped,
    )  # fmt: skip
    return merged, teams


def chances(one: Order, other: Order, drawn: Order) -> Doubles:
    """Return the chance of each place of a drafted list, given the places above.

    Turns begin where the lists part. A turn has a coin that decides whose best item comes first; where both have the
    same one, the coin shows in what comes second.

    >>> chances(np.array([1, 2, 3]), np.array([1, 3, 2]), np.array([1, 3, 2])).tolist()
    [1.0, 0.5, 1.0]
    """
    same = alike(one, other)
    found, listed, told = [], set[int](), False
    left = [iter(one.tolist()), iter(other.tolist())]
    heads = [next(each, None) for each in left]
    for place, slot in enumerate(drawn.tolist()):
        told = told and (place - same) % 2 == 1
        differ = None not in heads and heads[0] != heads[1]
        found.append(0.5 if differ and not told else 1.0)
        told = told or differ
        listed.add(slot)
        for team, each in enumerate(left):
            while heads[team] in listed:
                heads[team] = next(each, None)
    return np.array(found)
