"""The replica: local tables kept in step with their changelogs, and what is derived from them."""

import asyncio
import logging
import math
import time

from api.follower import Follower
from api.space import ItemSpace
from api.state import State
from api.tables import VERSIONS, LocalTables
from api.trends import Trends
from streams.errors import StateError
from streams.settings import Settings

logger = logging.getLogger(__name__)

FRESH_SECONDS = 60.0
TRENDS_SECONDS = 2.0
TRENDS_SHARE = 20.0  # the pause between two pictures is at least so many times what one takes
FEW = 2_000  # items up to which a picture is computed in the event loop, in a millisecond


class Replica(LocalTables):
    """Tables that follow their changelogs; `start` and `stop` it in the running loop.

    From `start` on it answers, first with what the disk held; `ready` tells when that has caught up.
    `vectors` holds the items' vectors and their index, `trends` the charts, `state` all of it for the engine.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.vectors = ItemSpace(self.columns, settings.data / settings.api_name / "space")
        self.trends = Trends(self.columns)
        self.on_item_change.append(self.vectors.touch)
        self._follower = Follower(settings, tuple(VERSIONS), self)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> State:
        """What the engine reads; `vectors` is also the index, of which a fit may put another in its place."""
        return State(self, self.vectors, self.trends, self.vectors)

    @property
    def ready(self) -> bool:
        """Whether everything was read that the changelogs held when this process connected."""
        return self._follower.ready

    @property
    def connected(self) -> bool:
        """Whether the broker answers."""
        return self._follower.connected

    @property
    def trouble(self) -> str:
        """Why nothing is being read, empty while all is well."""
        return self._follower.trouble

    def lag(self, table: str = "") -> int:
        """Return how many records of one table, or all, are known of and not yet taken over."""
        return self._follower.lag(table)

    def staleness_ms(self) -> float:
        """Return the time since the partition longest unheard of was read, in this life or before, in ms."""
        age = self._follower.staleness_ms()
        return age if math.isfinite(age) else time.time() * 1000.0 - self.fresh_at()

    async def start(self) -> None:
        """Open the disk, fill the columns, begin to follow; raises StateError if the folder is unusable."""
        self.vectors.load()
        await self.load()
        await self.vectors.compare()
        self.trends.refresh(int(time.time() * 1000))
        jobs = (self._follower.run(), self.vectors.run(), self._stay_fresh(), self._watch_trends())
        self._tasks = [asyncio.create_task(job) for job in jobs]
        for task in self._tasks:
            task.add_done_callback(_ended)

    async def stop(self) -> None:
        """Stop following, keep a snapshot of the vectors and close the disk."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        try:
            await self.vectors.stop()
        finally:
            self.close()

    async def _stay_fresh(self) -> None:
        while True:
            await asyncio.sleep(FRESH_SECONDS)
            if self.ready and self.connected and not self.lag():
                try:
                    self.mark_fresh(int(time.time() * 1000))
                except StateError as error:  # the follower meets it too, and mends it
                    logger.warning("%s", error)

    async def _watch_trends(self) -> None:
        while True:
            await asyncio.sleep(max(TRENDS_SECONDS, TRENDS_SHARE * self.trends.seconds))
            now = int(time.time() * 1000)
            if len(self.columns) > FEW:
                self.trends.show(await asyncio.to_thread(self.trends.compute, now))
            else:
                self.trends.refresh(now)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("the replica no longer does %s", task.get_coro(), exc_info=error)
