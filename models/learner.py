"""The learner: the fold of examples into what is learned. What each says is learned, then counted."""

import numpy as np

from models import embedding, neighbours, stack
from models.compiled import compiled
from models.learned import (
    CHOSEN,
    FIRST,
    FREE,
    MET,
    PAGES,
    RECENT,
    RING,
    SPANS,
    STAGE,
    Arrays,
    Floats,
    Learned,
    Slots,
)
from models.maths import exp
from streams.examples import Choice

MOVED = max(embedding.SPAN, neighbours.REACH)  # newest choices of a trail whose rows an example changes
_FADES = np.array([1.0 / span for span in SPANS])


@compiled
def _learn(
    arrays: Arrays, ring: Slots, ringed: Slots, touched: Slots, items: int, now: int, item: int, after: Slots,
    amount: float, weights: Floats, heat: Floats, stages: stack.Doubles, stage: int,
) -> None:  # fmt: skip
    numbers = arrays.numbers
    if numbers[item, CHOSEN] and stack.due(now):
        stack.step(arrays, ring, ringed, items, now, item, after, weights, heat, stages, stage)
    if len(after):
        negatives = embedding.NEGATIVES
        embedding.step(arrays, ring, ringed, items, now, 0, item, after, touched[:negatives])
        # who chose two one after the other might have chosen them the other way round
        turned = embedding.turned(item, after)
        embedding.step(arrays, ring, ringed, items, now, negatives, after[0], turned, touched[negatives:])
        neighbours.meet(arrays, item, after, amount)
    rested = now - numbers[item, MET]
    for k in range(len(_FADES)):
        numbers[item, RECENT + k] = numbers[item, RECENT + k] * exp(-rested * _FADES[k]) + amount
    if not numbers[item, CHOSEN]:
        numbers[item, FIRST] = now
    numbers[item, CHOSEN] += amount
    if stage != FREE:
        numbers[item, STAGE + stage] += amount
        stages[stage] += amount
    numbers[item, MET] = now
    at = now % RING
    if ring[at] != FREE:
        ringed[ring[at]] -= 1
    ring[at] = item
    ringed[item] += 1


class Learner:
    """Folds examples into a `Learned`; the same ones in the same order leave the same bytes."""

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        common = learned.common
        if not common.weights.size:
            common.weights, common.heat = stack.fresh()
        self._ringed = np.zeros(len(learned.arrays.into), np.int32)
        recent = common.ring[common.ring != FREE]
        np.add.at(self._ringed, recent, 1)
        self._touched = np.full(2 * embedding.NEGATIVES, FREE, np.int32)
        self._changed: set[int] = set()

    def learn(self, choice: Choice) -> None:
        """Fold an example: learn what it says of the weights and of the vectors, then count it."""
        learned = self.learned
        known = len(learned.keys)
        after = np.array([learned.slot(key) for key in choice.after], np.int32)
        item = learned.slot(choice.item)
        if len(self._ringed) < len(learned.arrays.into):
            self._ringed = np.concatenate(
                [self._ringed, np.zeros(len(learned.arrays.into) - len(self._ringed), np.int32)]
            )
        learned.ready(pages=2 * len(after) + PAGES)
        common = learned.common
        self._changed.update(range(known, len(learned.keys)), after[:MOVED].tolist())
        self._changed.add(item)
        if choice.weight > 0:
            _learn(
                learned.arrays, common.ring, self._ringed, self._touched, len(learned.keys), common.choices, item,
                after, min(choice.weight, 1.0), common.weights, common.heat, common.stages,
                stack.stage_of(choice.known, len(choice.after)),
            )  # fmt: skip
            common.choices += 1
            if len(after):
                self._changed.update(self._touched.tolist())
        elif choice.weight < 0:
            embedding.refuse(learned.arrays, item, after, min(-choice.weight, 1.0))

    def changed(self) -> list[int]:
        """Return the slots changed since the last call, in order, and forget them."""
        slots = sorted(self._changed - {FREE})
        self._changed.clear()
        return slots
