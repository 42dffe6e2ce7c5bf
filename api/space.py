"""The space of a running process: every item's place, and the index over them.

What is learned moves many items a little, all the time. An item is looked at again within a quarter of a second, and
the index hears of it once it stands off by more than MOVED of its length (api/placing.py), or can no longer be found:
that bounds what the index must take in, and what a search can miss. Scores never come from these places alone.
"""

import asyncio
import logging
import time
from pathlib import Path

import numpy as np

from api import space_snapshot
from api.columns import Columns, Slots
from api.index import VectorIndex
from api.lore import Lore
from api.placing import LIKES, MOVED, Flags, Guess, Halves, Likes, Placed, Placer, blocks_of
from models.content import FEWEST, KNOWN
from models.features import Floats

logger = logging.getLogger(__name__)

STEP_SECONDS = 0.2
STEP = 512  # items looked at between two turns of the event loop, some ms
BULK = 8192  # waiting items without a place from which on all are placed anew, in a thread
GROWTH = 1.5  # of all choices since the map from content was fitted, from which on another fit pays
REST = 10.0  # a fit is followed by none for so many times its own duration


class ItemSpace:
    """The places `y` (capacity, d + 1) by slot, zero for items without one, and the index of those that can be found.

    `likes` (capacity, LIKES) are the well-known items that each of the little known is like.

    `folder` keeps a snapshot over restarts: call `load` before the columns are filled, `compare` afterwards. With
    `moved` at zero every place is as exact as half floats are.
    Everything is called in the event loop; `run` does the work.
    """

    def __init__(
        self, columns: Columns, lore: Lore, folder: Path | None = None, *, moved: float = MOVED
    ) -> None:
        self.guess: Guess | None = None
        self.index = VectorIndex(lore.dimensions + 1)
        self.y: Halves = np.zeros((0, lore.dimensions + 1), dtype=np.float16)
        self.likes: Likes = np.zeros((0, LIKES), dtype=np.int32)
        self.fits = 0
        self.moved = 0  # places the index was told of
        self._columns = columns
        self._lore = lore
        self._folder = folder
        self._placer = Placer(columns, lore, moved)
        self._live: Flags = np.zeros(0, dtype=np.bool_)  # what the index holds
        self._placed = self._live  # what has been looked at
        self._waiting = self._live
        self._changed = self._live  # since all began to be placed in a thread
        self._choices = 0.0
        self._rest_until = 0.0
        self._fit: asyncio.Task[None] | None = None
        self._stopping = False
        self._grow()

    @property
    def waiting(self) -> int:
        """How many items wait to be looked at."""
        return int(np.count_nonzero(self._waiting))

    @property
    def settled(self) -> bool:
        """Whether all items but the latest have a place, by a map from content if one pays."""
        return self._new() < STEP and (self._choices > 0 or not self.due(time.monotonic()))

    def touch(self, slots: Slots) -> None:
        """Note that what is known of items has changed."""
        self._grow()
        self._waiting[slots] = True
        self._changed[slots] = True

    def guessed(self, slots: Slots) -> Flags:
        """Tell whose place comes from what the catalogue says, more or less."""
        if self.guess is None:
            return np.zeros(len(slots), dtype=np.bool_)
        return self._placer.guessed(slots)

    def search(self, query: Floats, count: int, allowed: Flags | None = None) -> tuple[Slots, Floats]:
        """Return the nearest slots and their inner products, best first (see VectorIndex.search)."""
        return self.index.search(query, count, allowed)

    def step(self) -> bool:
        """Look at a few of the waiting items; tell whether more wait."""
        self._grow()
        slots = np.flatnonzero(self._waiting[: len(self._columns)])[:STEP]
        if len(slots):
            self._waiting[slots] = False
            self._placed[slots] = True
            self._place(slots)
        return len(slots) == STEP

    def due(self, now: float) -> bool:
        """Tell whether a fit pays at `now` (monotonic seconds)."""
        if now < self._rest_until:
            return False
        if self._new() >= BULK:
            return True
        n = len(self._columns)
        choices = float(self._columns.chosen[:n].sum())
        if not self._choices:
            return choices >= FEWEST * KNOWN
        return choices >= GROWTH * self._choices

    async def run(self) -> None:
        """Place what changes and fit when it pays, for ever."""
        while True:
            await asyncio.sleep(STEP_SECONDS)
            idle = self._fit is None or self._fit.done()
            if idle and self.due(time.monotonic()):
                self._fit = asyncio.create_task(self._try_fit())
            if idle or self._new() < BULK:
                await self._work()

    async def fit(self) -> None:
        """Fit the map from content to places, and place by it what is little known."""
        n = len(self._columns)
        choices = float(self._columns.chosen[:n].sum())
        guess = await asyncio.to_thread(self._placer.fit)
        self._grow()
        self.fits += 1
        self._choices = choices
        if guess is not None:
            self.guess = guess
            for slots in blocks_of(n):
                self._waiting[slots] |= self._placer.guessed(slots)
                await asyncio.sleep(0)
        if self._new() >= BULK or (guess is not None and self.waiting >= BULK):
            await self._place_all()

    def load(self) -> None:
        """Take over the snapshot, if there is a good one; before the columns are filled."""
        if self._folder is not None:
            placed = space_snapshot.load(self._folder, self._columns, self._lore.dimensions)
            if placed is not None:
                self._take(placed)

    async def compare(self) -> None:
        """Look at all items again that the snapshot placed; after the columns are filled."""
        self._grow()
        for slots in blocks_of(int(np.count_nonzero(self._placed))):
            self._place(slots)
            await asyncio.sleep(0)
        logger.info("%d of the items in the snapshot have moved since", self.moved)

    async def stop(self) -> None:
        """Give up a fit that runs and keep a snapshot; `run` must have ended."""
        self._stopping = True
        if self._fit is not None:
            await asyncio.wait([self._fit])
        n = len(self._columns)
        if self._folder is not None and self._placed[:n].any():
            placed = Placed(n, self.y, self.likes, self._live, self.index, self.guess, self._choices)
            await asyncio.to_thread(space_snapshot.save, self._folder, self._columns, placed)
        await asyncio.to_thread(self.index.close)

    async def _place_all(self) -> None:
        """Place everything anew and swap it in, between two requests."""
        self._changed[:] = False
        placed = await asyncio.to_thread(
            self._placer.all, self.guess, self._choices, lambda: not self._stopping
        )
        if placed is None:
            return
        if self._folder is not None:
            await asyncio.to_thread(space_snapshot.save, self._folder, self._columns, placed)
        old = self.index
        self._take(placed)
        # Changed since, these are found a little off their place, or not yet, until the next step.
        self._waiting[:] = self._changed
        await asyncio.to_thread(old.close)

    def _place(self, slots: Slots) -> None:
        new, self.likes[slots] = self._placer.place(slots, self.guess)
        moved = self._placer.moved(slots, new, self.y, self._live)
        slots, new = slots[moved], new[moved]
        self.y[slots] = new
        self._live[slots] = live = self._placer.live(slots) & new.any(axis=1)
        self.index.update(slots[live], self.y[slots[live]])
        self.index.remove(slots[~live])
        self.moved += len(slots)

    def _new(self) -> int:
        return int(np.count_nonzero(self._waiting & ~self._placed))

    async def _work(self) -> None:
        try:
            while self.step():  # noqa: ASYNC110 - it does not wait, it lets requests through
                await asyncio.sleep(0)
        except Exception:
            # These items keep their place until they change again; the others must not wait for ever.
            logger.exception("some items could not be placed")

    async def _try_fit(self) -> None:
        began = time.monotonic()
        try:
            await self.fit()
        except Exception:
            logger.exception("no new places could be fitted; the old ones go on serving")
        self._rest_until = time.monotonic() + max(STEP_SECONDS, REST * (time.monotonic() - began))

    def _take(self, placed: Placed) -> None:
        self.guess, self.index, self._choices = placed.guess, placed.index, placed.choices
        self.y, self.likes, self._live = placed.y, placed.likes, placed.live
        self._placed = np.arange(len(self.y)) < placed.n
        self._grow()

    def _grow(self) -> None:
        capacity = len(self._columns.listed)
        for name in ("y", "likes", "_live", "_placed", "_waiting", "_changed"):
            old = getattr(self, name)
            if len(old) < capacity or not old.flags.writeable:
                new = np.zeros((max(capacity, len(old)), *old.shape[1:]), dtype=old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
