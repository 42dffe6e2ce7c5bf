"""A scene: a cluster under load, and everything a scenario needs to harm it."""

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ops.prove.cluster import Cluster, wait
from ops.prove.recovery import Recovery
from ops.prove.workload import Writer
from streams.dead_letters import DeadLetter

WORKERS = ("worker-0", "worker-1", "worker-2")


@dataclass
class Scene:
    """A cluster whose workers fold what a writer writes; `draw` is seeded, `quick` asks for less of everything.

    A scenario may add to `differences` and `figures` what the judge cannot see, to `buried` the dead letters it took
    away, and to `later` what to undo when all processes have ended.
    """

    cluster: Cluster
    writer: Writer
    recovery: Recovery
    draw: random.Random
    quick: bool
    later: contextlib.ExitStack
    differences: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    buried: list[DeadLetter] = field(default_factory=list)

    def rest(self, low: float, high: float) -> None:
        """Let the workers fold in peace for a random time, in seconds."""
        time.sleep(self.draw.uniform(low, high))

    def any_worker(self) -> str:
        """Return the name of a worker."""
        return self.draw.choice(WORKERS)

    def kill(self, name: str) -> None:
        """Kill a worker, or perhaps only one of its stages."""
        self.cluster.kill(name, draw=self.draw)
        self.recovery.fault()

    def lose(self, name: str) -> None:
        """Kill a worker and delete its disk; it stays away until `cluster.back`."""
        self.cluster.lose(name)
        self.recovery.fault()

    def mended(self, seconds: float = 240) -> None:
        """Wait until the workers have come back from every fault so far."""
        wait(lambda: not self.recovery.pending, "the workers fold again", seconds)

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Let nothing be written within the block, and wait for what is on its way."""
        self.writer.hold.set()
        time.sleep(2)
        try:
            yield
        finally:
            self.writer.hold.clear()
