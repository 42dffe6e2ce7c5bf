"""Ahead: lists of the most active users, computed on their own events before they are asked for again.

Only what a user asked for before is computed, once a little time has passed since their last event, one list at a time
and while no request waits. The first request that meets such a list is answered by it, and logged as its slate.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Literal

import msgspec
import numpy as np

from api.answers import Request
from api.engine import Engine
from api.stages import Clock
from api.state import State

USERS = 50_000  # that are known; the one unheard of longest goes first
WAITING = 1_000  # users whose lists are to be computed; more are left to their requests
HALF_LIFE = 1_800.0  # seconds after which a request or an event counts half as activity
SETTLE = 0.1  # seconds without an event of a user before their lists are computed
LONGEST = 10.0  # seconds to wait for an idle moment; what is older is left to its request
TICK = 0.005  # seconds of sleep that must not become
LATE = 0.002  # so much longer: else requests are keeping the process busy
RANKING = 5.0  # seconds between two looks at who is most active

Fate = Literal["computed", "used", "wasted", "dropped"]


class Habit:
    """What a user asks for, what they did, how active they are, and which lists (request id, until when) wait for them.

    `level` is the base-2 logarithm of a sum decayed forward, so that levels of any time compare and none overflows.
    """

    __slots__ = ("acts", "asked", "level", "made")

    def __init__(self, acts: Hashable) -> None:
        self.level = -math.inf
        self.acts = acts
        self.asked: dict[str, Request] = {}  # the last one on each surface
        self.made: dict[str, float] = {}

    def act(self, now: float) -> None:
        """Count a request or an event at `now` (seconds)."""
        one = now / HALF_LIFE
        high, low = max(one, self.level), min(one, self.level)
        self.level = high + math.log2(1.0 + 2.0 ** (low - high))


class Ahead:
    """Watches requests and changed users, and fills the engine's cache; `start` and `stop` it in the running loop.

    `count` is told what became of a list; `now` gives ms since 1970, `clock` seconds.
    """

    def __init__(
        self, engine: Engine, now: Callable[[], int], count: Callable[[Fate], None],
        clock: Clock = time.perf_counter,
    ) -> None:  # fmt: skip
        self._engine, self._clock, self._now, self._count = engine, clock, now, count
        self._rules = {name: one.ahead for name, one in engine.config.surfaces.items() if one.ahead.share}
        self._least = {rule.share: -math.inf for rule in self._rules.values()}  # the level that a share has
        self._of: OrderedDict[str, Habit] = OrderedDict()
        self._queue: OrderedDict[str, float] = OrderedDict()  # user -> when they last did something
        self._ranked_at = clock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.serve(engine.state)

    def serve(self, state: State) -> None:
        """Watch the users of this state from now on."""
        self._queue.clear()
        for habit in self._of.values():
            self._waste(habit)
        if self._rules:
            state.tables.on_user_change.append(self.changed)

    def asked(self, request: Request, request_id: str) -> None:
        """Take note of a request, and of which answer it got."""
        if request.surface not in self._rules or request.categories or request.exclude or request.explain:
            return
        habit = self._of.get(request.user_id)
        if habit is None:
            habit = self._of[request.user_id] = Habit(self._engine.acts(request.user_id))
            if len(self._of) > USERS:
                self._waste(self._of.popitem(last=False)[1])
        habit.act(self._clock())
        habit.asked[request.surface] = request
        self._of.move_to_end(request.user_id)
        if habit.made.pop(request_id, None) is not None:
            self._count("used")

    def changed(self, user: str) -> None:
        """Take note of a user whose row has changed; that they were shown a list is nothing they did."""
        habit = self._of.get(user)
        if habit is None or (acts := self._engine.acts(user)) == habit.acts:
            return
        habit.acts = acts
        now = self._clock()
        habit.act(now)
        self._of.move_to_end(user)
        self._waste(habit)
        if habit.level < min(self._least.values()):
            return
        self._queue.pop(user, None)
        if len(self._queue) >= WAITING:
            self._count("dropped")
            return
        self._queue[user] = now
        self._wake.set()

    def due(self) -> float | None:
        """Return when (in seconds) the next list is to be computed, None for none."""
        return next(iter(self._queue.values())) + SETTLE if self._queue else None

    def step(self) -> None:
        """Compute the lists of the user who has waited longest, and look who is most active when it is time."""
        now = self._clock()
        user, since = self._queue.popitem(last=False)
        habit = self._of.get(user)
        if habit is None or now - since > LONGEST:
            self._count("dropped")
            return
        for name, request in habit.asked.items():
            rule = self._rules[name]
            if habit.level < self._least[rule.share]:
                continue
            request_id = self._engine.ahead(msgspec.structs.replace(request, at=self._now()), rule.ttl_s)
            if request_id:
                habit.made[request_id] = now + rule.ttl_s
                self._count("computed")
        if now - self._ranked_at > RANKING:
            self._rank(now)

    async def start(self) -> None:
        """Begin to compute."""
        self._task = asyncio.create_task(self._run(), name="ahead")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            due = self.due()
            if due is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await asyncio.sleep(due - self._clock())
            began = self._clock()
            await asyncio.sleep(TICK)
            idle = self._clock() - began < TICK + LATE
            due = self.due()  # the user may have done something since
            if idle and due is not None and due <= began:
                self.step()

    def _rank(self, now: float) -> None:
        """Find out from which level on users are among the most active, and which lists nobody came for."""
        self._ranked_at = now
        levels = np.sort([habit.level for habit in self._of.values()])
        for share in self._least:
            self._least[share] = float(levels[-math.ceil(share * len(levels))])
        for habit in self._of.values():
            for request_id in [each for each, until in habit.made.items() if until <= now]:
                del habit.made[request_id]
                self._count("wasted")

    def _waste(self, habit: Habit) -> None:
        for _ in habit.made:
            self._count("wasted")
        habit.made.clear()
