"""Replica: a state of one's own, as an API process has it, brought up to the log and following it while it is used."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from api.live import Live
from api.lore import warm
from api.services import wall_clock
from streams.errors import StateError, Unavailable
from streams.settings import Settings

NAME = "recommend"  # of the folder's part that holds it, and no API process's name in a folder of ours
LOOK_SECONDS = 0.2
PATIENCE = 30.0  # seconds in which nothing can be read until that is an error


@contextlib.asynccontextmanager
async def caught_up(settings: Settings, folder: Path, tell: Callable[[str], None]) -> AsyncIterator[Live]:
    """Yield the state of the generation of `settings` once it has everything the log held at the start.

    What the folder holds of an earlier time is taken over, so that only the rest is read. Raises StateError for an
    unusable folder, Unavailable when the changelogs cannot be read.
    """
    warm()
    live = Live(replace(settings, data=folder, api_name=NAME, api_partitions=""), wall_clock)
    await live.start()
    try:
        heard = time.monotonic()
        while not live.ready:
            if live.failure:
                raise StateError(live.failure)
            if not live.trouble:
                heard = time.monotonic()
                if lag := live.replica.lag():
                    tell(f"{lag} records are still to be read")
            elif time.monotonic() - heard > PATIENCE:
                raise Unavailable(f"the changelogs cannot be read: {live.trouble}")
            await asyncio.sleep(LOOK_SECONDS)
        yield live
    finally:
        await live.stop()
