"""Recovery: how long after a fault everything that stood in the log when it struck is folded and committed."""

import statistics
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kafka import KafkaAdminClient

from ops.broker.lag import STAGE_OF, committed, end_offsets
from ops.broker.topics import admin
from streams.errors import Unavailable
from streams.settings import Settings

PAUSE = 0.3  # seconds between two looks at the broker
AFTER = 0.5  # seconds after the fault whose records count too: they came while nobody could fold them
SOURCES = ("events", "touches", "examples")

Offsets = dict[tuple[str, int], int]


@dataclass(eq=False)
class Fault:
    """When something was harmed, and what must be folded until it counts as mended."""

    struck: float
    goal: Offsets | None = None


class Recovery:
    """Watches the stages from outside within its block; `fault` starts a clock that stops when all have caught up."""

    def __init__(self, settings: Settings) -> None:
        self.seconds: list[float] = []
        self._settings = settings
        self._faults: list[Fault] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="recovery", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def fault(self) -> None:
        """Start a clock."""
        self._faults.append(Fault(time.monotonic()))

    @property
    def pending(self) -> int:
        """Return how many clocks still run."""
        return len(self._faults)

    def figures(self) -> dict[str, float]:
        """Return the longest time and the median, in seconds."""
        if not self.seconds:
            return {}
        return {"max": round(max(self.seconds), 1), "median": round(statistics.median(self.seconds), 1)}

    def _watch(self) -> None:
        while not self._closing.wait(PAUSE):
            try:
                with admin(self._settings) as client:
                    while not self._closing.wait(PAUSE):
                        began = time.monotonic()
                        self._look(began, *self._offsets(client))
            except (Unavailable, OSError):
                continue  # the broker itself is what was harmed

    def _offsets(self, client: KafkaAdminClient) -> tuple[Offsets, Offsets]:
        """Return the ends of the sources, and how far they are folded and committed."""
        ends: Offsets = {}
        done: Offsets = {}
        for topic in SOURCES:
            found = end_offsets(client, self._settings, topic)
            ends |= {(topic, number): offset for number, offset in found.items()}
            found = committed(client, self._settings.group(STAGE_OF[topic]), self._settings.topic(topic))
            done |= {(topic, number): offset for number, offset in found.items()}
        return ends, done

    def _look(self, began: float, ends: Offsets, done: Offsets) -> None:
        for fault in list(self._faults):
            if fault.goal is None and began > fault.struck + AFTER:
                fault.goal = ends
            if fault.goal is not None and all(done.get(at, 0) >= end for at, end in fault.goal.items()):
                self.seconds.append(time.monotonic() - fault.struck)
                self._faults.remove(fault)
