"""Processes that belong together: a worker's stages, and `refold up`, which starts what ends again."""

import logging
import sys
import time
from collections.abc import Sequence

from models.surfaces import load
from ops.broker.topics import ensure
from ops.processes import Process, Processes
from ops.run.stages import Stages
from ops.state.generations import begin, every
from streams import control, generations
from streams.settings import Settings
from streams.topology import Stage

logger = logging.getLogger(__name__)
PARTS = ("worker", "api")
LOOK = 0.1  # seconds between two looks at the children
PAUSE = 1.0  # seconds before a part that ended again is started again; doubled while it keeps ending
LONGEST = 10.0  # the longest pause
STEADY = 30.0  # a part that ran for longer is started again at once
LAST_WORDS = "refold worker: "


def worker(settings: Settings, chosen: Sequence[Stage], loglevel: str) -> int:
    """Run stages of every generation until SIGTERM or Ctrl-C, or a live one ends. Return what to exit with.

    What the stages log is passed on to standard error, a line under the name of its stage; the last line there
    is the last word of the stage that ended, and its exit code is returned.
    """
    recorded = begin(settings, load(settings.config).actions)
    with (
        Processes(settings.data / "logs" / settings.worker) as processes,
        control.Listener(settings) as listener,
    ):
        stages = Stages(settings, chosen, loglevel, processes, _pass_on)
        stages.follow(recorded)
        while (ended := stages.ended()) is None:
            said = listener.poll(LOOK)
            if generations.NAME in said:
                stages.follow(generations.decode(said[generations.NAME]))
    for stage in stages.running.values():
        stage.drain()
    code = exit_code(ended.poll() or 0)
    print(f"{LAST_WORDS}{last_word(ended, code)}", file=sys.stderr, flush=True)
    return code


def exit_code(code: int) -> int:
    """Return the exit code of the parent of a child that ended unasked: never 0, signals as a shell has them.

    >>> exit_code(70), exit_code(-9), exit_code(0)
    (70, 137, 1)
    """
    return 128 - code if code < 0 else code or 1


def last_word(stage: Process, code: int) -> str:
    """Return the last word of a stage that ended, or the last line of its log."""
    lines = stage.tail().splitlines()
    said = [line.removeprefix(LAST_WORDS) for line in lines if line.startswith(LAST_WORDS)]
    return f"{stage.name} ended with code {code}: {(said or lines or ['it said nothing'])[-1]}"


def _pass_on(stage: str, line: str) -> None:
    print(f"{stage}: {line}", file=sys.stderr, flush=True)


class Part:
    """One part of `refold up`: started again when it ends, at once the first time, then after growing pauses."""

    def __init__(self, name: str, processes: Processes) -> None:
        self.name = name
        self._processes = processes
        self._pause = 0.0
        self._due = 0.0
        self._process: Process | None = None
        self._since = 0.0

    def look(self, now: float) -> None:
        """Start it when it is due; note and say when it has ended."""
        if self._process is None:
            if now >= self._due:
                command = [sys.executable, "-m", "ops.cli", self.name]
                self._process = self._processes.start(self.name, command, hear=_keep)
                self._since = now
        elif (code := self._process.poll()) is not None:
            self._process.drain()
            pause = self.ended(now)
            logger.error(
                "%s ended with code %s; again in %.0f s. %s", self.name, code, pause, self._process.tail(5)
            )
            self._process = None

    def ended(self, now: float) -> float:
        """Return how many seconds to wait before the next start."""
        if now - self._since > STEADY:
            self._pause = 0.0
        pause, self._pause = self._pause, min(max(PAUSE, 2 * self._pause), LONGEST)
        self._due = now + pause
        return pause


def _keep(_: str) -> None:
    """Leave a line where the process keeps it: in its log and among its last ones."""


def supervise(settings: Settings) -> None:
    """Run until Ctrl-C or SIGTERM; a part that ends is named, with the end of its log, and started again."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    for one in every(settings):
        for name in ensure(one):
            logger.info("created topic %s", name)
    with Processes(settings.data / "logs") as processes:
        parts = [Part(name, processes) for name in PARTS]
        logger.info("API on http://%s:%d; logs in %s", settings.host, settings.port, settings.data / "logs")
        while True:
            for part in parts:
                part.look(time.monotonic())
            time.sleep(LOOK)
