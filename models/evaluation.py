"""Evaluation: how good rankings were, from the rank of what each person went on to choose.

A rank counts from 1, over all items the person could have chosen; ties count against it; `MISS` is no rank at all.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

MISS = 2**31 - 1
NEW_ITEM = 10  # an item fewer people chose before is new
WARM = 10  # a user with as many earlier choices is no longer new
HEAD = 0.2  # the share of items, the most popular first, that is the head
FIRST = (0, 1, 2, 3, 5)  # earlier choices of new users that are looked at one by one

Ranks = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float32] | Counts


@dataclass(frozen=True, slots=True)
class Judged:
    """Predicted choices, one an entry, all arrays of shape (predicted,).

    `rank` and `popular` are the choice's ranks by the model and by plain popularity; `earlier` counts what its user
    had chosen before, `chosen` who had chosen its item before, `candidates` what was ranked; `at` is in ms.
    """

    rank: Ranks
    popular: Ranks
    earlier: Ranks
    chosen: Ranks
    candidates: Ranks
    at: Counts

    def __len__(self) -> int:
        return len(self.rank)

    def where(self, mask: Mask | slice) -> "Judged":
        """Return some of them."""
        return Judged(*(getattr(self, field.name)[mask] for field in fields(self)))


def rank_of(scores: Scores, target: int, own: Counts) -> int:
    """Return the rank of `target` among the scores (n,), those of `own` left out; the target is not one's own.

    A score that is not a number counts against the target, and a target without one is a miss.

    >>> rank_of(np.float32([3, 1, 2, 2]), 2, np.array([0]))
    2
    """
    wanted = scores[target]
    if np.isnan(wanted):
        return MISS
    return int(np.count_nonzero(~(scores < wanted)) - np.count_nonzero(~(scores[own] < wanted)))


def hit_rate(ranks: Ranks, k: int) -> float:
    """Return the share of choices among the first k: HR, and with one choice to find also recall.

    >>> hit_rate(np.int32([1, 4, MISS]), 3)
    0.3333333333333333
    """
    return _mean(ranks <= k)


def ndcg(ranks: Ranks, k: int) -> float:
    """Return the mean of 1 / log2(1 + rank) where the rank is at most k: NDCG (Järvelin and Kekäläinen 2002).

    >>> ndcg(np.int32([1, 3, 4]), 3)
    0.5
    """
    return _mean(gained(ranks, k))


def gained(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """Return 1 / log2(1 + rank) where the rank is at most k, else 0, (n,)."""
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def mrr(ranks: Ranks, k: int) -> float:
    """Return the mean of 1 / rank where the rank is at most k.

    >>> mrr(np.int32([1, 2, 4]), 3)
    0.5
    """
    return _mean(np.where(ranks <= k, 1.0 / ranks, 0.0))


def coverage(shown: Counts) -> float:
    """Return the share of items that were ever shown; `shown` counts it by item.

    >>> coverage(np.array([5, 0, 1, 0]))
    0.5
    """
    return _mean(shown > 0)


def gini(shown: Counts) -> float:
    """Return the Gini index of how often items were shown: 0 all alike, towards 1 a single one.

    >>> gini(np.array([2, 2, 2, 2])), gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    total, n = int(shown.sum()), len(shown)
    if not total:
        return 0.0
    places = 2 * np.arange(1, n + 1) - n - 1
    return float((places * np.sort(shown)).sum() / (n * total))


def surprise(chosen: Counts, total: int) -> npt.NDArray[np.float64]:
    """Return the self-information in bits of items chosen so often out of `total`: the novelty of each in a list.

    Vargas and Castells 2011; an item never chosen counts as chosen once.

    >>> surprise(np.array([1, 4]), 8)
    array([3., 1.])
    """
    information: npt.NDArray[np.float64] = np.log2(max(total, 1) / np.maximum(chosen, 1))
    return information


def slices(judged: Judged) -> dict[str, Mask]:
    """Return which choices belong to each slice: new users, warm ones, new items, head and tail."""
    known = judged.earlier > 0
    head = judged.popular <= HEAD * judged.candidates
    return {f"after_{n}": judged.earlier == n for n in FIRST} | {
        "warm": judged.earlier >= WARM,
        "new_items": known & (judged.chosen < NEW_ITEM),
        "head": known & head,
        "tail": known & ~head,
    }


def over_time(hits: Mask, spans: int) -> npt.NDArray[np.float64]:
    """Return the share of hits in each of up to `spans` equal spans of consecutive choices.

    >>> over_time(np.array([True, False, False, False]), 2)
    array([0.5, 0. ])
    """
    return np.array([part.mean() for part in np.array_split(hits, min(spans, len(hits)) or 1) if len(part)])


def _mean(values: npt.NDArray[np.float64] | Mask) -> float:
    return float(values.mean()) if len(values) else 0.0
