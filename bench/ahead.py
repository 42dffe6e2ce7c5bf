"""Lists computed ahead: people who act and then ask, with and without; what it gives requests and what it costs.

Visitors look at a list, click, often look beside the item, and come back to a list, until they leave; one user in ten
is a browser, who stays five times as long and comes as often as all others together. An event reaches the state `LAG`
later, as it does through a worker.

Time is simulated, so that minutes of visits take as long as their computing: one core serves what falls due in order,
each thing takes the CPU seconds that it took here, and what is computed ahead stands in the way as it would.
"""

import heapq
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from api.ahead import TICK, Ahead
from api.answers import Hit, Request
from api.engine import Engine
from bench.report import AT_LEAST, AT_MOST, report
from bench.world import USERS, World
from models.surfaces import Config, load
from streams.events import Event

VISITORS = 300  # at a time
LAG = 0.1  # seconds from an event to its changed row
LOOK, AWAY = 10.0, 20.0  # seconds on average: at a list, and at what was clicked
BROWSERS = 0.1  # of the users
STAY = {True: 0.9, False: 0.5}  # chance to go on after a list: of a browser, of others
BESIDE, DWELL = 0.5, 0.3  # chance to look beside an item, and to tell how long one looked at it
WARM = 0.25  # of the time, after which counting begins
TARGETS = {"saved_over_spent": (AT_LEAST, 0.5), "mean_over_without": (AT_MOST, 0.75)}

Visit = Iterator[float]  # of the pauses, in seconds, between two things that a visitor does


def run(items: int = 20_000, minutes: float = 5.0, share: float = 0.1) -> dict[str, Any]:
    """Simulate so many minutes with and without, and return the report; times are in ms of the simulated core."""
    world = World(items)
    off, on = (Shop(world, each).open(minutes * 60.0) for each in (0.0, share))
    figures = on | {
        f"{name}_without": off[name] for name in ("hit_ratio", "mean_ms", "p50_ms", "p99_ms", "cpu_s")
    }
    figures["mean_over_without"] = on["mean_ms"] / off["mean_ms"]
    return report("ahead", "none", {name: round(value, 3) for name, value in figures.items()}, TARGETS)


class Shop:
    """One run: visitors who come and go, a core that serves them, and what their requests took."""

    def __init__(self, world: World, share: float) -> None:
        world.on_user_change.clear()
        self._world, self._draw = world, random.Random(7)
        self._time, self._free, self._order = 0.0, 0.0, count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._engine = Engine(world.state, _config(share), lambda: self._time)
        self._fates: Counter[str] = Counter()
        self._ahead = Ahead(
            self._engine, self._now, lambda fate: self._fates.update([fate]), lambda: self._time
        )
        self._forget()

    def open(self, seconds: float) -> dict[str, float]:
        """Let visitors come for so long, and return the figures of what happened after the first of them."""
        for _ in range(VISITORS):
            self._go_on(self._visits())
        self._at(WARM * seconds, self._forget)
        while self._due and self._due[0][0] < seconds:
            due, _, do = heapq.heappop(self._due)
            self._idle(due)
            self._began = due
            self._work(max(due, self._free), do)
        computed = max(1, len(self._took) - self._hits)
        saved = self._fates["used"] * self._asked / computed
        return {
            "requests": len(self._took),
            "hit_ratio": self._hits / len(self._took),
            "mean_ms": float(np.mean(self._took)),
            "p50_ms": float(np.median(self._took)),
            "p99_ms": float(np.quantile(self._took, 0.99)),
            "cpu_s": self._asked + self._spent,
            "spent_s": self._spent,
            "saved_s": saved,
            "saved_over_spent": saved / self._spent if self._spent else 0.0,
            **{fate: self._fates[fate] for fate in ("computed", "used", "wasted", "dropped")},
        }

    def _forget(self) -> None:
        self._took: list[float] = []
        self._hits, self._asked, self._spent = 0, 0.0, 0.0
        self._fates.clear()

    def _idle(self, until: float) -> None:
        """Compute ahead whatever falls due while the core has nothing else to do."""
        while (due := self._ahead.due()) is not None and (start := max(due + TICK, self._free)) < until:
            self._spent += self._work(start, self._ahead.step)

    def _work(self, start: float, do: Callable[[], None]) -> float:
        """Do something from `start` on; return the CPU seconds it took, for which the core is busy."""
        self._time = start
        began = time.thread_time()
        do()
        took = time.thread_time() - began
        self._free = start + took
        return took

    def _at(self, due: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (due, next(self._order), do))

    def _go_on(self, visit: Visit) -> None:
        self._at(self._time + next(visit), lambda: self._go_on(visit))

    def _visits(self) -> Visit:
        few = int(BROWSERS * USERS)
        while True:
            browser = self._draw.random() < 0.5
            user = f"user-{self._draw.randrange(few) if browser else self._draw.randrange(few, USERS)}"
            yield self._pause(LOOK)
            yield from self._visit(user, STAY[browser])

    def _visit(self, user: str, stay: float) -> Visit:
        while True:
            shown = self._ask(user)
            if self._draw.random() > stay:
                return
            yield self._pause(LOOK)
            item = self._draw.choice(shown)
            self._act(user, item, "click")
            if self._draw.random() < BESIDE:
                self._engine.similar(item, at=self._now())
            yield self._pause(AWAY)
            if self._draw.random() < DWELL:
                self._act(user, item, "dwell")

    def _ask(self, user: str) -> list[str]:
        """Ask for a list; return its first ten."""
        request = Request(at=self._now(), user_id=user, n=20)
        began = time.thread_time()
        served = self._engine.cached(request) or self._engine.recommend(request)
        took = time.thread_time() - began
        self._ahead.asked(request, served.request_id)
        hit = isinstance(served, Hit)
        self._hits += hit
        self._asked += 0.0 if hit else took
        self._took.append((self._time - self._began + took) * 1000.0)
        answer = served.first if isinstance(served, Hit) else served
        return [item.item_id for item in answer.items[:10]]

    def _act(self, user: str, item: str, kind: str) -> None:
        event = Event(
            event_id=f"{kind}-{next(self._order)}", type=kind, at=self._now(), user_id=user, item_id=item, value=30.0
        )  # fmt: skip
        self._at(self._time + LAG, lambda: self._world.act(event))

    def _pause(self, mean: float) -> float:
        return self._draw.expovariate(1.0 / mean)

    def _now(self) -> int:
        return self._world.now + int(self._time * 1000.0)


def _config(share: float) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "surfaces.toml"
        path.write_text(f"[surfaces.home.ahead]\nshare = {share}\n")
        return load(path)
