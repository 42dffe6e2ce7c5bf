"""The space of a running process: every item's vector, and the index over them, always of one piece.

Changed items are placed within a quarter of a second. A space fitted anew, with all that was placed in it,
takes the old one's place between two requests, so that no query meets an index of another space.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from api import space_snapshot
from api.columns import Columns, Slots
from api.index import VectorIndex
from api.placing import Flags, Halves, Placed, Placer
from models import space as pure
from models.space import Floats, Space

logger = logging.getLogger(__name__)

STEP_SECONDS = 0.2
STEP = 128  # items placed between two turns of the event loop, about 2 ms
BULK = 8192  # waiting items from which on all are placed anew, in a thread
WARM = 256  # items with a context that suffice for a first fit
GROWTH = 1.5  # of all choices since the last fit, from which on another pays
REST = 10.0  # a fit is followed by none for so many times its own duration


class ItemSpace:
    """The vectors `y` (capacity, d + 1) by slot, zero for those without a place, and the index of the live.

    `folder` keeps a snapshot over restarts: call `load` before the columns are filled, `compare` afterwards.
    Everything is called in the event loop; `run` does the work.
    """

    def __init__(self, columns: Columns, folder: Path | None = None) -> None:
        self.space = Space.identity(columns.dimensions)
        self.index = VectorIndex(columns.dimensions + 1)
        self.y: Halves = np.zeros((0, columns.dimensions + 1), dtype=np.float16)
        self.fits = 0
        self._columns = columns
        self._folder = folder
        self._placer = Placer(columns)
        self._live: Flags = np.zeros(0, dtype=np.bool_)  # what the index holds
        self._waiting = self._live
        self._changed = self._live  # since the running fit began
        self._choices = 0.0
        self._rest_until = 0.0
        self._fit: asyncio.Task[None] | None = None
        self._stopping = False
        self._grow()

    @property
    def waiting(self) -> int:
        """How many items wait for their place."""
        return int(np.count_nonzero(self._waiting))

    @property
    def settled(self) -> bool:
        """Whether all items but the latest have their place, in a space that was fitted if any pays."""
        begun = self._choices > 0 or not self.due(time.monotonic())
        return begun and self.waiting < STEP and (self._fit is None or self._fit.done())

    def touch(self, slots: Slots) -> None:
        """Note that the rows of items have changed."""
        self._grow()
        self._waiting[slots] = True
        self._changed[slots] = True

    def query(self, recent: Slots) -> Floats | None:
        """Return the query (d + 1,) of who last chose these, newest first; None if none has a place."""
        places = self.y[recent[recent < len(self.y)], :-1]
        places = places[places.any(axis=1)]
        return pure.query(places) if len(places) else None

    def similar(self, slot: int) -> Floats | None:
        """Return the query (d + 1,) for what is near an item; None if that has no place."""
        return self.query(np.array([slot]))

    def search(self, query: Floats, count: int, allowed: Flags | None = None) -> tuple[Slots, Floats]:
        """Return the nearest slots and their inner products, best first (see VectorIndex.search)."""
        return self.index.search(query, count, allowed)

    def step(self) -> bool:
        """Place a few of the waiting items; tell whether more wait."""
        self._grow()
        all_signed = self._placer.sign(STEP)
        slots = np.flatnonzero(self._waiting[: self._placer.signed])[:STEP]
        if len(slots):
            self._waiting[slots] = False
            self.y[slots] = self._placer.place(self.space, slots)
            self._live[slots] = live = self._placer.live(slots)
            self.index.update(slots[live], self.y[slots[live]])
            self.index.remove(slots[~live])
        return len(slots) == STEP or not all_signed

    def due(self, now: float) -> bool:
        """Tell whether a fit pays at `now` (monotonic seconds)."""
        if now < self._rest_until or self.waiting >= BULK:
            return now >= self._rest_until
        n = len(self._columns)
        if not self._choices:
            return int(np.count_nonzero(self._columns.mass[:n] > 0)) >= WARM
        return float(self._columns.chosen[:n].sum()) >= GROWTH * self._choices

    async def run(self) -> None:
        """Place what changes and fit when it pays, for ever."""
        while True:
            await asyncio.sleep(STEP_SECONDS)
            if (self._fit is None or self._fit.done()) and self.due(time.monotonic()):
                self._fit = asyncio.create_task(self._try_fit())
            if self._fit is None or self._fit.done() or self.waiting < BULK:
                await self._work()

    async def fit(self) -> None:
        """Fit a space to the columns, place everything in it and swap it in."""
        await _exhaust(lambda: not self._placer.sign(STEP))
        self._grow()
        self._changed[:] = False
        placed = await asyncio.to_thread(self._placer.fit, lambda: not self._stopping)
        if placed is None:
            return
        if self._folder is not None:
            await asyncio.to_thread(space_snapshot.save, self._folder, self._columns, placed)
        old = self.index
        self._take(placed)
        # Changed since, these are found a little off their place, or not yet, until the next step.
        self._waiting[:] = self._changed
        self.fits += 1
        await asyncio.to_thread(old.close)

    def load(self) -> None:
        """Take over the snapshot, if there is a good one; before the columns are filled."""
        if self._folder is not None:
            placed = space_snapshot.load(self._folder, self._columns)
            if placed is not None:
                self._take(placed)

    async def compare(self) -> None:
        """Find the items that no longer stand where the snapshot put them; after the columns are filled."""
        n = int(np.count_nonzero(self.y.any(axis=1)))
        if not n:
            return
        await _exhaust(lambda: not self._placer.sign(STEP))
        self._grow()
        self._changed[:] = False
        moved = await asyncio.to_thread(self._placer.moved, self.space, self.y, self._live)
        self._waiting[: len(moved)] = moved | self._changed[: len(moved)]
        logger.info("%d of the %d items in the snapshot have moved since", self.waiting, n)

    async def stop(self) -> None:
        """Give up a fit that runs and keep a snapshot; `run` must have ended."""
        self._stopping = True
        if self._fit is not None:
            await asyncio.wait([self._fit])
        n = self._placer.signed
        if self._folder is not None and self.y[:n].any():
            placed = Placed(self.space, n, self.y, self._live, self.index, self._choices)
            await asyncio.to_thread(space_snapshot.save, self._folder, self._columns, placed)
        await asyncio.to_thread(self.index.close)

    async def _work(self) -> None:
        try:
            await _exhaust(self.step)
        except Exception:
            # These items keep their place until they change again; the others must not wait for ever.
            logger.exception("some items could not be placed")

    async def _try_fit(self) -> None:
        began = time.monotonic()
        try:
            await self.fit()
        except Exception:
            logger.exception("no new space could be fitted; the old one goes on serving")
        self._rest_until = time.monotonic() + max(STEP_SECONDS, REST * (time.monotonic() - began))

    def _take(self, placed: Placed) -> None:
        self.space, self.index, self._choices = placed.space, placed.index, placed.choices
        self.y, self._live = placed.y, placed.live
        self._grow()

    def _grow(self) -> None:
        capacity = len(self._columns.listed)
        for name in ("y", "_live", "_waiting", "_changed"):
            old = getattr(self, name)
            if len(old) < capacity or not old.flags.writeable:
                new = np.zeros((max(capacity, len(old)), *old.shape[1:]), dtype=old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)


async def _exhaust(step: Callable[[], bool]) -> None:
    while step():  # noqa: ASYNC110 - it does not wait, it lets requests through
        await asyncio.sleep(0)
