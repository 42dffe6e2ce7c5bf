"""The live state: replica, vectors and trends of a running process, started together and kept in step.

It answers from the first moment, with what the disk held; the replica says when that has caught up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from api.replica import Replica
from api.space import ItemSpace
from api.state import State
from api.tables import folder
from api.trends import Trends
from streams.settings import Settings

log = logging.getLogger("refold.api")
TRENDS_SECONDS = 1.0
SHARE = 20.0  # the trends rest so many times as long as they took: a twentieth of one core


class Live:
    """Builds the state of the settings; `start` and `stop` it in the running loop."""

    def __init__(self, settings: Settings, now: Callable[[], int]) -> None:
        self.replica = Replica(settings)
        self._space = ItemSpace(self.replica.columns, self.replica.lore, folder(settings) / "space")
        self._trends = Trends(self.replica.columns)
        self.replica.on_item_change.append(self._space.touch)
        self.state = State(self.replica, self._space, self._trends, self._space)
        self._now = now
        self.failure = ""  # why there is nothing to follow
        self._complete = False
        self._loading: asyncio.Task[None] | None = None
        self._running: list[asyncio.Task[None]] = []

    @property
    def trouble(self) -> str:
        """Why the state does not follow the log, empty while all is well."""
        return self.failure or self.replica.trouble

    @property
    def ready(self) -> bool:
        """Whether it answers as well as it ever will: caught up, every item in its place, the lists computed."""
        return self._complete and self._space.settled

    async def start(self) -> None:
        """Open the disk and load on in the background; raises StateError when the folder is unusable."""
        self._space.load()  # before anything else gives items their slots
        self._loading = asyncio.create_task(self._load(), name="load")
        await asyncio.sleep(0)
        if self._loading.done():
            self._loading.result()

    async def stop(self) -> None:
        """End all work, keep a snapshot of the vectors, close the disk."""
        tasks = [task for task in (self._loading, *self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._space.stop()
        await self.replica.stop()

    async def _load(self) -> None:
        try:
            await self.replica.start()
            await self._space.compare()
        except Exception as error:
            self.failure = str(error) or type(error).__name__
            log.exception("the state cannot be loaded")
            raise
        self._running = [
            asyncio.create_task(_again("placing items", self._space.run), name="space"),
            asyncio.create_task(_again("computing trends", self._follow_trends), name="trends"),
        ]

    async def _follow_trends(self) -> None:
        while True:
            caught_up = self.replica.ready
            self._trends.show(await asyncio.to_thread(self._trends.compute, self._now()))
            self._complete = caught_up
            await asyncio.sleep(max(TRENDS_SECONDS, SHARE * self._trends.seconds))


async def _again(what: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run for ever: what fails is logged and begun again, and the old vectors or lists go on serving."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("%s failed; it begins again", what)
        await asyncio.sleep(TRENDS_SECONDS)


class Still:
    """A state that was handed in and follows nothing."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.trouble = ""
        self.generation = 0
        self.on_swap: list[Callable[[State], None]] = []  # nothing ever swaps it

    async def start(self) -> None:
        """Begin nothing."""

    async def stop(self) -> None:
        """End nothing."""
