"""The generation that is served: the live one, as `control` records it, swapped in whole between two requests.

A process remembers which it served, so that it answers from its disk without asking anybody.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from aiokafka.errors import KafkaError

from api.heard import heard
from api.live import Live
from api.state import State
from api.tables import VERSIONS, folder
from streams import control, generations
from streams.errors import RefoldError, StateError
from streams.generations import Generation, Generations
from streams.settings import Settings

log = logging.getLogger("refold.api")
ASK_SECONDS = 10.0  # a process that remembers nothing waits so long to hear what is live
LOOK_SECONDS = 0.2  # between two looks at a state that is being read
RETRY_SECONDS = 5.0
NAME = "generation"  # of the file that remembers


class Serving:
    """The live state of a process; `start` and `stop` it in the running loop.

    `on_swap` is called with every new state, before the old one is stopped. Where another generation is live
    and cannot be read, the old one goes on serving and `trouble` says so.
    """

    def __init__(self, settings: Settings, now: Callable[[], int]) -> None:
        self.on_swap: list[Callable[[State], None]] = []
        self._settings = settings
        self._now = now
        self._memory = settings.data / settings.api_name / NAME
        self._remembered = self._memory.exists()
        self.generation = _number(self._memory) if self._remembered else 0
        self._live = Live(self._of(self.generation), now)
        self._recorded = Generations()
        self._heard = asyncio.Event()  # what is recorded, or that nobody tells
        self._changed = asyncio.Event()
        self._untold = ""
        self._unread = ""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> State:
        """What answers are made of."""
        return self._live.state

    @property
    def trouble(self) -> str:
        """Why the state does not follow the log, or is not the live one; empty while all is well."""
        return self._unread or self._live.trouble or self._untold

    async def start(self) -> None:
        """Open the disk, load on in the background, follow `control`; raises StateError for an unusable folder."""
        self._tasks.append(asyncio.create_task(self._follow(), name="control"))
        try:
            if not self._remembered:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), ASK_SECONDS)
                if self._wanted != self.generation:
                    self._serve(self._wanted, Live(self._of(self._wanted), self._now))
            await self._live.start()
        except BaseException:
            await self._end()
            raise
        self._tasks.append(asyncio.create_task(self._keep(), name="generation"))

    async def stop(self) -> None:
        """End all work and close the disk."""
        await self._end()
        await self._live.stop()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _wanted(self) -> int:
        """The live generation, the served one where none is recorded."""
        live = self._recorded.live
        return self.generation if live is None else live.number

    def _of(self, number: int) -> Settings:
        return replace(self._settings, generation=number)

    def _serve(self, number: int, live: Live) -> None:
        """Let a state answer from now on; there is no pause in here, so no request sees half of each."""
        self._live, self.generation = live, number
        for told in self.on_swap:
            told(live.state)

    async def _keep(self) -> None:
        while True:
            try:
                self._changed.clear()
                if self._wanted != self.generation:
                    await self._switch(self._wanted)
                self._unread = ""
                await asyncio.to_thread(self._tidy)
                await self._changed.wait()
            except Exception as error:
                self._say(self._wanted, str(error) or type(error).__name__)
                log.exception("generation %d cannot be served, trying again", self._wanted)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), RETRY_SECONDS)

    async def _switch(self, number: int) -> None:
        """Read a generation beside the served one and let it answer once it is as good; raises StateError."""
        log.info(
            "generation %d is live now: reading it, generation %d goes on serving", number, self.generation
        )
        _check(self._recorded.find(number), self._settings)
        fresh = spare = Live(self._of(number), self._now)
        try:
            await fresh.start()
            while not fresh.ready:
                if fresh.failure:
                    raise StateError(fresh.failure)
                if self._wanted != number:
                    return
                if fresh.trouble:
                    self._say(number, fresh.trouble)
                await asyncio.sleep(LOOK_SECONDS)
            spare = self._live
            self._serve(number, fresh)
            log.info("generation %d is served", number)
        finally:
            await spare.stop()

    def _say(self, number: int, reason: str) -> None:
        self._unread = (
            f"generation {number} is live and cannot be read; {self.generation} is served: {reason}"
        )

    def _tidy(self) -> None:
        """Remember what is served; remove what is left of generations that are no more."""
        if not self._recorded.all:
            return
        fresh = self._memory.with_suffix(".new")
        fresh.write_text(str(self.generation))
        fresh.rename(self._memory)
        kept = {one.number for one in self._recorded.all} | {self.generation}
        for path in self._memory.parent.glob("g[1-9]*"):
            if path.name[1:].isdecimal() and int(path.name[1:]) not in kept:
                shutil.rmtree(path)
        if 0 not in kept:
            for name in (*(f"{table}.db" for table in VERSIONS), "space"):
                shutil.rmtree(folder(self._of(0)) / name, ignore_errors=True)

    async def _follow(self) -> None:
        while True:
            try:
                await self._listen()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise  # else a library gave up something of its own
            except (KafkaError, OSError, RefoldError) as error:
                self._fail(error)
            except Exception as error:
                log.exception("the control topic is not being read, trying again")
                self._fail(error)
            await asyncio.sleep(RETRY_SECONDS)

    def _fail(self, error: Exception) -> None:
        untold = f"the control topic cannot be read: {error}"
        if untold != self._untold:
            log.warning("%s", untold)
        self._untold = untold
        self._heard.set()

    async def _listen(self) -> None:
        """Read `control` from its beginning and go on listening; raises KafkaError and RefoldError."""
        async with contextlib.aclosing(heard(self._settings, control.TOPIC)) as words:
            async for said in words:
                self._learn(generations.decode(said.get(generations.NAME)))

    def _learn(self, recorded: Generations) -> None:
        self._untold = ""
        self._heard.set()
        if recorded != self._recorded:
            self._recorded = recorded
            self._changed.set()


def _check(generation: Generation, settings: Settings) -> None:
    """Raise StateError when this release reads other rows than the generation has: it would serve none of them."""
    said = {part for folds in generation.folds.values() for part in folds.split()}
    meant = {f"{table}={version}" for table, version in VERSIONS.items()} | {
        f"dimensions={settings.dimensions}"
    }
    if missing := sorted(meant - said):
        raise StateError(
            f"this process reads {' '.join(missing)}, its rows are {' '.join(sorted(said))}: start one of the "
            "release and with the settings that folded it"
        )


def _number(memory: Path) -> int:
    try:
        return int(memory.read_text())
    except ValueError:
        raise StateError(f"{memory} does not hold the number of a generation: remove it") from None
