"""The replica: local tables kept in step with their changelogs."""

import asyncio
import logging
import math
import time

from api.follower import Follower
from api.tables import VERSIONS, LocalTables
from streams.errors import StateError
from streams.settings import Settings

logger = logging.getLogger(__name__)

FRESH_SECONDS = 60.0


class Replica(LocalTables):
    """Tables that follow their changelogs; `start` and `stop` it in the running loop.

    From `start` on it answers, first with what the disk held; `ready` tells when that has caught up.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._follower = Follower(settings, tuple(VERSIONS), self)
        self._tasks: list[asyncio.Task[None]] = []

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
        await self.load()
        self._tasks = [
            asyncio.create_task(self._follower.run(), name="follow"),
            asyncio.create_task(self._stay_fresh(), name="fresh"),
        ]

    async def stop(self) -> None:
        """Stop following and close the disk."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.close()

    async def _stay_fresh(self) -> None:
        while True:
            await asyncio.sleep(FRESH_SECONDS)
            if self.ready and self.connected and not self.lag():
                try:
                    self.mark_fresh(int(time.time() * 1000))
                except StateError as error:  # the follower meets it too, and mends it
                    logger.warning("%s", error)
