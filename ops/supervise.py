"""Processes that belong together: a worker's two stages, and `refold up`, which starts what ends again."""

import logging
import sys
import time

from ops.processes import Process, Processes
from ops.topics import ensure
from streams.settings import Settings

logger = logging.getLogger(__name__)
PARTS = ("worker", "api")
PAUSE = 1.0  # seconds before a part is started again; doubled while it keeps ending at once
LONGEST = 30.0


def worker(settings: Settings, loglevel: str) -> None:
    """Run both stages until SIGTERM or Ctrl-C; when one ends, so does the other, and Unavailable says why."""
    with Processes(settings.data / "logs" / settings.worker) as processes:
        for stage in ("users", "items"):
            command = [sys.executable, "-m", "ops.cli", "worker", "--stage", stage, "--loglevel", loglevel]
            processes.start(stage, command)
        processes.watch()


def supervise(settings: Settings) -> None:
    """Run until Ctrl-C or SIGTERM; a part that ends is named, with the end of its log, and started again."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in ensure(settings):
        logger.info("created topic %s", name)
    pauses = dict.fromkeys(PARTS, PAUSE)
    with Processes(settings.data / "logs") as processes:
        running = {part: _start(processes, part) for part in PARTS}
        since = dict.fromkeys(PARTS, time.monotonic())
        logger.info("API on http://%s:%d; logs in %s", settings.host, settings.port, settings.data / "logs")
        while True:
            time.sleep(0.5)
            for part, process in running.items():
                if (code := process.poll()) is None:
                    continue
                pauses[part] = PAUSE if time.monotonic() - since[part] > LONGEST else pauses[part] * 2
                pause = min(pauses[part], LONGEST)
                logger.error("%s ended with code %s; again in %.0f s. %s", part, code, pause, process.tail(5))
                time.sleep(pause)
                running[part], since[part] = _start(processes, part), time.monotonic()


def _start(processes: Processes, part: str) -> Process:
    return processes.start(part, [sys.executable, "-m", "ops.cli", part])
