"""Served: what an API process would have of a world, and its engine: lists, places and index beside the tables."""

import asyncio
import time

from api.answers import Answer, Request
from api.candidates import Pool
from api.engine import Engine
from api.funnel import Funnel
from api.rankers import Fixed
from api.space import ItemSpace
from api.stages import Stopwatch
from api.state import State
from api.trends import Trends
from models.places import Places
from models.ranker import Ranker
from models.surfaces import Config, Explore, Surface, surface_with
from ops.evaluate.tables import Tables
from ops.evaluate.world import World

LIGHT, FULL = "light", "full"  # surfaces: ranked by what is learned online, or by a model of the registry
PATIENT_MS = 10_000.0  # a budget no request spends: what is late is no question of quality
REBUILD = 100  # looks from one building of the index to the next; in between moved places lie beside it


class Served:
    """The engine over a world as it stood at the last `follow`.

    Its surfaces show what the model prefers: no exploring, no variety, no limit to a category, no cache. FULL ranks
    by `ranker`, and as LIGHT does without one.
    """

    def __init__(self, world: World, ranker: Ranker | None = None) -> None:
        self.tables = Tables(world)
        self._users = world.users
        self._space = ItemSpace(self.tables.columns, self.tables.lore)
        self._trends = Trends(self.tables.columns)
        self._state = State(self.tables, self._space, self._trends, self._space)
        self._surface = Surface(
            explore=Explore(slots=0), max_per_category=0, diversity=0.0, ttl_s=0.0, budget_ms=PATIENT_MS
        )
        surfaces = {LIGHT: self._surface, FULL: surface_with(self._surface, {"tier": "full"})}
        rankers = Fixed() if ranker is None else Fixed(ranker=ranker)
        self._engine = Engine(self._state, Config(dict(world.weights), surfaces), rankers=rankers)
        self._looks = 0

    def follow(self, now: int) -> None:
        """Take over what changed, compute the lists, move what has to move in the index; `now` in ms."""
        self._space.touch(self.tables.follow())
        self._trends.refresh(now)
        if self._space.due(time.monotonic()):
            asyncio.run(self._space.fit())
        while self._space.step():
            pass
        if self._looks % REBUILD == 0:
            self._space.index.rebuild(wait=True)
        self._looks += 1

    def answer(self, user: str, at: int, n: int, surface: str) -> Answer:
        """Return a list as `GET /v1/recommend` would."""
        return self._engine.recommend(Request(at=at, user_id=user, n=n, surface=surface))

    def candidates(self, user: str, at: int, n: int) -> Pool:
        """Return what the list of that request is chosen from."""
        request, watch = Request(at=at, user_id=user, n=n, surface=LIGHT), Stopwatch(time.perf_counter, 1e9)
        funnel = Funnel(self._state, self._surface, request, seed=user, places=Places(), watch=watch)
        funnel.know(self._users.get(user))
        return funnel.candidates()
