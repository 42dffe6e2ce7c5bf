"""Judge: ranks what users go on to choose, before it is learned from, and keeps the ranks."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.evaluation import MISS, Counts, Judged, rank_of, surprise
from models.learned import Floats, Learned
from models.rerank import best
from models.signals import stage_of
from models.stack import relevance, signals
from streams.errors import StateError


class Due(NamedTuple):
    """A choice about to be made: by someone who chose `after`, newest first, and acted on `known` items.

    `before` are hashes of what they acted on before that; `at` in ms.
    """

    user: str
    after: Sequence[str]
    known: int
    before: bytes
    item: str
    at: int


class Judge:
    """Ranks all items met so far but the user's own, by the learned state and by how many people chose each.

    `choices` counts discoveries. `shown` counts, for each k, how often an item stood among the first k; `bits` sums
    the novelty of those lists. Both are of users of whom something is known.
    """

    def __init__(self, learned: Learned, ks: Sequence[int]) -> None:
        self.learned = learned
        self.ks = sorted(ks)
        self._own: dict[str, tuple[set[str], array[int]]] = {}  # by user, items and their slots
        self._people = np.zeros(1024, np.int64)  # by slot, who chose it
        self.choices = 0
        self.shown = {k: np.zeros(1024, np.int64) for k in self.ks}
        self.bits = dict.fromkeys(self.ks, 0.0)
        self._kept = [array("i") for _ in range(5)]
        self._at = array("q")

    @property
    def items(self) -> int:
        """How many items were met."""
        return len(self.learned.keys)

    def first(self, user: str, item: str) -> bool:
        """Tell whether the user never chose the item."""
        return user not in self._own or item not in self._own[user][0]

    def chose(self, user: str, item: str) -> None:
        """Take note that the user chose the item."""
        if not self.first(user, item):
            return
        slot = self.learned.slot(item)  # of several shards, the one that learned it is not merged yet
        items, slots = self._own.setdefault(user, (set(), array("q")))
        items.add(item)
        slots.append(slot)
        while slot >= len(self._people):
            self._people = _doubled(self._people)
            self.shown = {k: _doubled(counts) for k, counts in self.shown.items()}
        self._people[slot] += 1
        self.choices += 1

    def own(self, user: str) -> Counts:
        """Return the slots of what the user chose."""
        return np.array(self._own[user][1] if user in self._own else (), np.int64)

    def predict(self, due: Due) -> int:
        """Rank all items for a choice about to be made and return the place of what is chosen."""
        own, target = self.own(due.user), self.learned.slot_of.get(due.item)
        people = self._people[: self.items]
        scores = score(self.learned, due.after, due.known, due.before)
        rank = popular = MISS
        if target is not None:
            rank, popular = rank_of(scores, target, own), rank_of(people, target, own)
        if len(own):
            self._keep(scores, own, people)
        chosen = 0 if target is None else int(people[target])
        numbers = (rank, popular, len(own), chosen, self.items - len(own))
        for kept, number in zip(self._kept, numbers, strict=True):
            kept.append(number)
        self._at.append(due.at)
        return rank

    def _keep(self, scores: Floats, own: Counts, people: Counts) -> None:
        free = scores.copy()
        free[own] = -np.inf
        top = best(free, min(self.ks[-1], len(free) - len(own)))
        bits = surprise(people[top], self.choices)
        for k in self.ks:
            self.shown[k][top[:k]] += 1
            self.bits[k] += bits[:k].sum() / max(len(bits[:k]), 1)

    def judged(self) -> Judged:
        """Return everything ranked so far."""
        rank, popular, earlier, chosen, candidates = (np.array(kept, np.int32) for kept in self._kept)
        return Judged(rank, popular, earlier, chosen, candidates, np.array(self._at, np.int64))


def score(learned: Learned, after: Sequence[str], known: int, before: bytes = b"") -> Floats:
    """Return the stack's score of every slot, (slots,), by what serves; raises StateError for one that is no number."""
    slots = learned.slots(tuple(after))
    every = np.arange(len(learned.keys), dtype=np.int32)
    earlier = learned.before(before, slots)
    told = signals(learned, slots, every, stage_of(known, len(after)), earlier)
    scores = relevance(learned, told, len(slots) + len(earlier))
    if not np.isfinite(scores).all():
        broken = learned.keys[int(np.flatnonzero(~np.isfinite(scores))[0])]
        raise StateError(
            f"item {broken!r} is scored {scores[learned.slot_of[broken]]} after {list(after)[:3]}"
        )
    return scores


def _doubled(counts: Counts) -> Counts:
    return np.concatenate([counts, np.zeros_like(counts)])
