"""The join's agent: folds events and slates into `shown`; what they say when they meet is for the learner."""

from collections.abc import Mapping
from typing import Any

from agents.table import Table
from models import join, marks
from models.join import Shown
from models.users import ERASE
from streams import slates
from streams.checks import MAX_ID_BYTES
from streams.errors import Refused
from streams.events import Event
from streams.examples import Seen
from streams.partition import partition_of
from streams.settings import Settings

EVENTS, SLATES = 0, 1  # sources of the table, in the topology's order


class JoinAgent:
    """Folds by partition, a part of the user agent: both tables read the same events."""

    def __init__(self, settings: Settings, table: Table[Shown], weights: Mapping[str, float]) -> None:
        self._settings = settings
        self._table = table
        self._weights = weights

    def fold_event(self, number: int, key: str, event: Event, origin: int) -> Seen | None:
        """Fold an event of a user of a partition; return what it says."""
        if event.item_id is None and event.type != ERASE:
            return None
        partition = self._table.partition(number)
        keeps = event.request_id is not None or event.type == ERASE
        shown = partition.get(key) if keeps else partition.find(key)
        if shown is None:
            return None
        source = marks.source(EVENTS, self._settings.epoch, number)
        changed, seen = join.act(shown, event, origin, source, self._weights)
        if changed:
            partition.dirty[key] = shown
        return seen

    def fold_slate(self, message: Any) -> Seen | None:
        """Fold a slate; return what it says of events that waited for it. Raises Refused, having changed nothing.

        Nobody is known to have been shown a slate without a user.
        """
        slate = slates.decode(message.value or b"")
        number, key = message.partition, slate.user_id
        if not key:
            return None
        if len(key.encode()) > MAX_ID_BYTES or partition_of(key, self._settings.partitions) != number:
            raise Refused(f"a slate of user {key[:64]!r} does not belong to partition {number}")
        partition = self._table.partition(number)
        shown = partition.get(key)
        source = marks.source(SLATES, self._settings.epoch, number)
        changed, seen = join.show(shown, slate, message.offset, source)
        if changed:
            partition.dirty[key] = shown
        return seen
