"""Scene: the state that a request reads, in one process and without a log: what serving would have known just then.

The very parts that serve are put over the rows of `ops.evaluate.world`; only that every place is exact, and the search
among them, so that equal histories give equal rows.
"""

import asyncio
from collections.abc import Mapping

from api.answers import Request
from api.funnel import Funnel
from api.space import ItemSpace
from api.stages import Stopwatch
from api.state import State
from api.trends import Trends
from models.places import Places
from models.ranker import Lineup
from models.surfaces import Surface
from ops.evaluate.tables import Tables
from ops.evaluate.world import World
from streams.events import Event
from streams.items import Item

PERIOD = 1_000  # ms of event time between two pictures of what is popular, as in serving


class Scene:
    """Tables, places and index over a world that is folded on; `settle` brings it up to a moment before a look."""

    def __init__(self, weights: Mapping[str, float], dimensions: int) -> None:
        self.world = World(weights, dimensions)
        self._tables = Tables(self.world)
        self.columns = self._tables.columns
        self.trends = Trends(self.columns)
        self._space = ItemSpace(self.columns, self._tables.lore, moved=0.0)
        self._shown_at = 0
        self._places = Places()
        self.state = State(self._tables, self._space, self.trends, self._space)

    def fold(self, event: Event) -> None:
        """Fold an event, and learn from it."""
        choice = self.world.fold(event)
        if choice is not None:
            self.world.learn(choice)

    def put(self, item: str, catalogue: Item | None) -> None:
        """Fold a record of the catalogue."""
        self.world.put(item, catalogue)

    def settle(self, now: int) -> None:
        """Show what was folded as a request at `now` (ms) would find it."""
        moved = self._tables.follow()
        if now - self._shown_at >= PERIOD:
            self.trends.refresh(now)
            self._shown_at = now
        self._space.touch(moved)
        if self._space.due(0.0):
            asyncio.run(self._space.fit())
        self._space.index.automatic = False  # without a base it is searched exactly
        while self._space.step():
            pass

    def look(self, user: str, now: int, surface: Surface) -> Lineup:
        """Return the candidates of a request at `now` (ms), with their features."""
        request = Request(at=now, user_id=user)
        watch = Stopwatch(lambda: 0.0, 1.0)
        funnel = Funnel(self.state, surface, request, seed=user, places=self._places, watch=watch)
        funnel.know(self.world.users.get(user))
        return funnel.lineup()
