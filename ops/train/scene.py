"""Scene: the state that a request reads, in one process and without a log: what serving would have known just then.

The very parts that serve are put over the rows of `ops.evaluate.world`; only that every place is exact, and the search
among them, so that equal histories give equal rows.
"""

import asyncio
from collections.abc import Callable, Mapping

import numpy as np

from api.answers import Request
from api.candidates import Pool
from api.columns import Columns, Slots
from api.funnel import Funnel
from api.lore import Lore
from api.popular import PopularLists
from api.space import ItemSpace
from api.stages import Stopwatch
from api.state import State
from api.trends import Trends
from models.features import Floats
from models.items import ItemRow, list_item
from models.places import Places
from models.popular import Popular
from models.surfaces import Surface
from models.users import User
from ops.evaluate.world import World
from streams.events import Event
from streams.items import Item

PERIOD = 1_000  # ms of event time between two pictures of what is popular, as in serving


class Scene:
    """Tables, places and index over a world that is folded on; `settle` brings it up to a moment before a look."""

    def __init__(self, weights: Mapping[str, float], dimensions: int) -> None:
        self.world = World(weights, dimensions)
        self.columns = Columns()
        self.lore = Lore(self.columns, dimensions)
        self.lore.learned = self.world.learned
        self.trends = Trends(self.columns)
        self._space = ItemSpace(self.columns, self.lore, moved=0.0)
        self._lists = PopularLists(self.columns, self._popular_rows)
        self._dirty: set[str] = set()
        self._shown_at = 0
        self._places = Places()
        self.state = State(self, self._space, self.trends, self._space)
        self.on_user_change: list[Callable[[str], None]] = []
        self.ready = True

    def fold(self, event: Event) -> None:
        """Fold an event, and learn from it."""
        choice = self.world.fold(event)
        if choice is not None:
            self.world.learner.learn(choice)
        if event.item_id:
            self._dirty.add(event.item_id)

    def put(self, item: str, catalogue: Item | None) -> None:
        """Fold a record of the catalogue."""
        list_item(self.world.items.setdefault(item, ItemRow()), catalogue)
        self._dirty.add(item)

    def settle(self, now: int) -> None:
        """Show what was folded as a request at `now` (ms) would find it."""
        learned, columns = self.world.learned, self.columns
        rows = [
            (item, row) for item in sorted(self._dirty) if (row := self.world.items.get(item)) is not None
        ]
        moved = [columns.put_all(rows)]
        moved.append(
            np.array([self.lore.meet(learned.keys[slot]) for slot in self.world.learner.changed()], np.int64)
        )
        self._dirty.clear()
        self._lists.clear()
        if now - self._shown_at >= PERIOD:
            self.trends.refresh(now)
            self._shown_at = now
        for slots in moved:
            self._space.touch(slots)
        if self._space.due(0.0):
            asyncio.run(self._space.fit())
        self._space.index.automatic = False  # without a base it is searched exactly
        while self._space.step():
            pass

    def look(self, user: str, now: int, surface: Surface) -> tuple[Pool, Floats]:
        """Return the candidates of a request at `now` (ms) and their features, (n, features)."""
        request = Request(at=now, user_id=user)
        watch = Stopwatch(lambda: 0.0, 1.0)
        funnel = Funnel(self.state, surface, request, seed=user, places=self._places, watch=watch)
        funnel.know(self.world.users.get(user))
        pool, _, rows = funnel.features()
        return pool, rows

    def user(self, user_id: str) -> User | None:
        """Return a user's row."""
        return self.world.users.get(user_id)

    def item(self, item_id: str) -> ItemRow | None:
        """Return an item's row."""
        return self.world.items.get(item_id)

    def popular(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return a popular list and its decayed choices at `now` (ms), best first."""
        return self._lists.get(context, now)

    def user_offset(self, user: User) -> int:
        """Return the number of the last event folded into a user."""
        return user.marks.get(0, -1)

    def lag(self) -> int:
        """Return how many records are still to be read: none ever."""
        return 0

    def staleness_ms(self) -> float:
        """Return how old the state is: not at all."""
        return 0.0

    def _popular_rows(self, context: str) -> list[Popular]:
        found = self.world.contexts.get(context)
        return [] if found is None else [found]
