"""Draws: past lists drawn again as they were shown, and what else might have been drawn at each place."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from api.answers import Answer
from models.exploration import Doubles
from models.rerank import Order
from streams.slates import Slate


class Chances(NamedTuple):
    """What may stand at a place, (n,) slots, and the chance of each."""

    slots: Order
    chances: Doubles

    def of(self, slot: int) -> float:
        """Return the chance of a slot."""
        return float(self.chances[self.slots == slot].sum())


NOTHING = Chances(np.zeros(0, np.int64), np.zeros(0))


class AsShown:
    """Decides exploration (`models.exploration.Draw`) as the slate of a request has it, where that has any chance.

    So the chance at a place is that given those shown above it, as the logged one is.
    """

    def __init__(self, slates: Mapping[str, Slate], slot_of: Mapping[str, int]) -> None:
        self._slates, self._slot_of = slates, slot_of
        self._drawn: dict[int, Chances] = {}

    def __call__(self, seed: str, place: int, slots: Order, chances: Doubles) -> int:
        """Return the index of what was shown, of what stands there anyway if that cannot be drawn."""
        self._drawn.setdefault(place, Chances(slots, chances))  # what follows are lists of other arms
        items = self._slates[seed].items
        shown = self._slot_of.get(items[place].item_id, -1) if place < len(items) else -1
        return int(np.argmax(slots == shown))  # the first is what stands there anyway

    def take(self, answer: Answer, places: int) -> list[Chances]:
        """Return the chances at so many places of the answer that was drawn last."""
        drawn, self._drawn = self._drawn, {}
        sure = [
            Chances(np.array([self._slot_of[item.item_id]]), np.ones(1)) for item in answer.items[:places]
        ]
        return [drawn.get(place, one) for place, one in enumerate(sure)] + [NOTHING] * (places - len(sure))
