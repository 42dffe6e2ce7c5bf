"""The item agent: folds the catalogue and touches into `items`, choices into `popular`, trials into `outcomes`."""

from typing import Any

from agents.table import Table
from agents.users import message_key
from models import items, marks, outcomes, popular
from models.decay import growth
from models.items import ItemRow
from models.outcomes import Outcomes
from models.popular import Popular
from streams import items as catalogue
from streams import touches
from streams.settings import Settings
from streams.touches import Outcome

CATALOGUE, TOUCHES = 0, 1  # sources of `items`, in the topology's order


class ItemAgent:
    """Folds records by partition; it says nothing to other topics."""

    def __init__(
        self,
        settings: Settings,
        table: Table[ItemRow],
        popular: Table[Popular],
        outcomes: Table[Outcomes],
    ) -> None:
        self._settings = settings
        self._items = table
        self._popular = popular
        self._outcomes = outcomes

    def fold_catalogue(self, message: Any) -> None:
        """Fold an item of the catalogue, or its tombstone; raises Refused, having changed nothing."""
        key = message_key(message, self._settings)
        item = None if message.value is None else catalogue.decode(message.value)
        partition = self._items.partition(message.partition)
        row = partition.get(key)
        source = marks.source(CATALOGUE, self._settings.epoch, message.partition)
        if marks.advance(row.marks, source, message.offset):
            partition.put(key, items.list_item(row, item))

    def fold_touches(self, message: Any) -> None:
        """Fold what one events partition said to this item partition; what was said twice is folded once."""
        batch = touches.decode(message.value)
        partition = self._items.partition(message.partition)
        lists = self._popular.partition(message.partition)
        source = marks.source(TOUCHES, batch.epoch, batch.partition)
        for said in batch.said:
            if isinstance(said, Outcome):
                self._fold_outcome(message.partition, source, said)
                continue
            key, origin = said.item, said.origin
            row = partition.get(key)
            if marks.advance(row.marks, source, origin):
                partition.dirty[key] = items.touch(row, said)
            if not said.contexts:
                continue
            # asked even of a touch that its item knows: a crash may have kept the item's row and lost the list's
            amount = said.weight * growth(said.at, popular.HALF_LIFE)
            for context in said.contexts:
                chosen = lists.get(context)
                if marks.advance(chosen.marks, source, origin):
                    lists.dirty[context] = popular.choose(chosen, key, amount)

    def _fold_outcome(self, number: int, source: int, said: Outcome) -> None:
        partition = self._outcomes.partition(number)
        row = partition.get(said.experiment)
        if marks.advance(row.marks, source, said.origin):
            partition.put(said.experiment, outcomes.change(row, said))
