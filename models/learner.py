"""The learner: the fold of examples into what is learned. What each says is learned, then counted."""

import numpy as np

from models import embedding, neighbours, stack
from models.compiled import compiled
from models.learned import (
    CHOSEN,
    FIRST,
    FREE,
    MET,
    NOBODY,
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
from models.scratch import Scratch, fresh, grown, note
from models.signals import Doubles, stage_of
from streams.errors import StateError
from streams.examples import Choice

MOVED = max(embedding.SPAN, neighbours.REACH)  # newest choices of a trail whose rows an example changes
_FADES = np.array([1.0 / span for span in SPANS])


@compiled
def _learn(
    arrays: Arrays, scratch: Scratch, ring: Slots, items: int, now: int, item: int, after: Slots, before: Slots,
    amount: float, weights: Floats, heat: Floats, stages: Doubles, stage: int, again: bool,
) -> None:  # fmt: skip
    numbers, ringed = arrays.numbers, scratch.ringed
    if numbers[item, CHOSEN] and not again and stack.due(now):
        stack.step(arrays, ring, ringed, items, now, item, after, before, weights, heat, stages, stage)
    if len(after):
        drawn, often = embedding.negatives(scratch, ring, items, now, 0, item, after)
        embedding.step(arrays, scratch, drawn, often, item, after)
        # who chose two one after the other might have chosen them the other way round
        if items < embedding.SHARED:
            drawn, often = embedding.negatives(scratch, ring, items, now, embedding.NEGATIVES, item, after)
        embedding.step(arrays, scratch, drawn, often, after[0], embedding.turned(item, after))
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
    note(scratch, item)
    for slot in after[:MOVED]:
        note(scratch, slot)


class Learner:
    """Folds examples into a `Learned`; the same ones in the same order leave the same bytes.

    Raises StateError for recent choices of items without a row, and for weights of another form.
    """

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        common = learned.common
        if not common.weights.size:
            common.weights, common.heat = stack.fresh()
        if len(common.weights) != stack.SIZE:
            raise StateError(
                f"there are {len(common.weights)} weights where {stack.SIZE} belong; rebuild the table"
            )
        if (most := int(common.ring.max())) >= len(learned.keys):
            raise StateError(f"a recent choice names item {most} of {len(learned.keys)}; rebuild the table")
        self._scratch = fresh(len(learned.arrays.into), common.ring)

    def learn(self, choice: Choice) -> None:
        """Fold an example: learn what it says of the weights and of the vectors, then count it."""
        learned = self.learned
        known = len(learned.keys)
        after = learned.slots_of(choice.after)
        item = learned.slot(choice.item)
        if len(self._scratch.ringed) < len(learned.arrays.into):
            self._scratch = grown(self._scratch, len(learned.arrays.into))
        for slot in range(known, len(learned.keys)):
            note(self._scratch, slot)
        learned.ready(pages=2 * len(after) + PAGES)
        common = learned.common
        if choice.weight > 0:
            teaches = stack.due(common.choices) and not choice.again
            before = learned.before(choice.before, np.append(after, np.int32(item))) if teaches else NOBODY
            _learn(
                learned.arrays, self._scratch, common.ring, len(learned.keys), common.choices, item, after, before,
                min(choice.weight, 1.0), common.weights, common.heat, common.stages,
                stage_of(choice.known, len(choice.after)), choice.again,
            )  # fmt: skip
            common.choices += 1
        elif choice.weight < 0:
            embedding.refuse(learned.arrays, self._scratch, item, after, min(-choice.weight, 1.0))

    def changed(self) -> Slots:
        """Return the slots changed since the last call, in order, and forget them."""
        scratch = self._scratch
        slots = np.sort(scratch.changed[: scratch.many[0]])
        scratch.moved[slots] = False
        scratch.many[0] = 0
        return slots
