"""Merged: what several shards learned apart, as one, for those who read it.

Every shard has its own examples and numbers items by itself. Counts of choices and of neighbours add up. Vectors and
biases are the mean of the shards', each weighing as much as it saw the item chosen (McMahan et al. 2017, "Federated
averaging"): all shards begin an item's vectors with the same numbers, so that their spaces stay comparable. Weights of
the stack weigh as much as their shard has learned. A shard meets only its share of all examples, so recent counts are
summed as of now, and fade on by the mean of the shards' clocks.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.compiled import compiled
from models.learned import (
    BIAS,
    CHOSEN,
    COMMON,
    COUNTS,
    FIRST,
    FREE,
    MET,
    PAGE,
    PAGES,
    RECENT,
    SPANS,
    STAGE,
    USED,
    Arrays,
    Floats,
    Learned,
    Slots,
)
from models.neighbours import count

_FADES = 1.0 / np.array(SPANS)


@compiled
def _absorb(arrays: Arrays, slot: int, others: Slots, counts: Floats) -> None:
    for n in range(len(others)):
        for what in range(COUNTS):
            if counts[n, what] != 0.0:
                count(arrays, slot, others[n], what, counts[n, what])


class Merged:
    """All shards in one `learned`, kept up to date a row at a time."""

    def __init__(self, parts: Sequence[Learned]) -> None:
        self.learned = Learned(parts[0].dimensions)
        self._parts = parts
        self._slots = [np.full(0, FREE, np.int32) for _ in parts]  # here, by slot of a part

    def take(self, key: str) -> None:
        """Take over what the shards say of an item, or of what is common."""
        held = [(n, part.slot_of[key]) for n, part in enumerate(self._parts) if key in part.slot_of]
        if key == COMMON:
            self._common()
        elif held:
            self._item(self.learned.slot(key), held)
        else:
            self.learned.drop(key)

    def _common(self) -> None:
        seen = np.array([part.common.choices for part in self._parts])
        most = self._parts[int(seen.argmax())].common
        known = [part.common for part in self._parts if part.common.weights.size]
        weights = most.weights
        if known:
            weights = np.average(
                [one.weights for one in known], axis=0, weights=[1.0 + one.choices for one in known]
            )
        stages = np.sum([part.common.stages for part in self._parts], axis=0)
        self.learned.common = replace(
            most, choices=int(seen.mean()), weights=weights.astype(np.float32), stages=stages
        )

    def _item(self, slot: int, held: list[tuple[int, int]]) -> None:
        merged = self.learned
        merged.ready(pages=PAGES)
        numbers = np.stack([self._parts[n].arrays.numbers[own] for n, own in held])
        shares = (
            numbers[:, CHOSEN] / numbers[:, CHOSEN].sum() if numbers[:, CHOSEN].any() else 1.0 / len(held)
        )
        shares = np.broadcast_to(shares, len(held)).astype(np.float32)
        for name in ("into", "out"):
            rows = np.stack([getattr(self._parts[n].arrays, name)[own] for n, own in held])
            getattr(merged.arrays, name)[slot] = shares @ rows
        clocks = np.array([self._parts[n].common.choices for n, _ in held])
        rested = np.maximum(clocks - numbers[:, MET], 0.0)  # a row may be newer than its shard's common one
        recent = (numbers[:, RECENT:STAGE] * np.exp(-rested[:, None] * _FADES)).sum(axis=0)
        whole = merged.arrays.numbers[slot]
        whole[:] = numbers.sum(axis=0)
        whole[BIAS] = shares @ numbers[:, BIAS]
        whole[FIRST] = numbers[:, FIRST].min()
        whole[MET] = merged.common.choices - rested.min()
        whole[RECENT:STAGE] = recent * np.exp(rested.min() * _FADES)
        whole[USED] = 0
        for n, own in held:
            self._absorb(slot, n, own)

    def _absorb(self, slot: int, n: int, own: int) -> None:
        arrays = self._parts[n].arrays
        used = int(arrays.numbers[own, USED])
        pages = arrays.pages[own, : -(-used // PAGE)]
        others = self._here(n, arrays.others[pages].reshape(-1)[:used])
        counts = arrays.counts[pages].reshape(-1, COUNTS)[:used]
        _absorb(self.learned.arrays, slot, others[others != FREE], counts[others != FREE])

    def _here(self, n: int, slots: Slots) -> Slots:
        """Return the slots here of slots of a part; FREE for one whose row has not come yet."""
        keys = self._parts[n].keys
        return np.array(
            [self.learned.slot(keys[s]) if s < len(keys) and keys[s] else FREE for s in slots], np.int32
        )
