"""The stages of a worker: a process each for every generation it folds, started and stopped as `control` says."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from models.surfaces import load
from ops.broker.topics import check
from ops.processes import Process, Processes
from ops.state.fold import fingerprints
from ops.state.generations import differences
from streams.errors import StateError
from streams.generations import Generation, Generations
from streams.settings import Settings
from streams.topology import STAGES, Stage

logger = logging.getLogger(__name__)
PAUSE = 10.0  # seconds before a stage that ended and is not live is started again


class Stages:
    """The running stages of one worker, by generation and stage; `hear` takes the name of one and what it logs."""

    def __init__(
        self,
        settings: Settings,
        chosen: Sequence[Stage],
        loglevel: str,
        processes: Processes,
        hear: Callable[[str, str], None],
    ) -> None:
        self.running: dict[tuple[int, Stage], Process] = {}
        self._settings = settings
        self._chosen = chosen
        self._loglevel = loglevel
        self._processes = processes
        self._hear = hear
        self._recorded = Generations()
        self._again_at: dict[tuple[int, Stage], float] = {}

    def follow(self, recorded: Generations) -> None:
        """Start and stop stages until they are those of the recorded generations that this code folds.

        Raises StateError when it folds none of them, TopologyError where a generation's topics are not as declared.
        """
        self._recorded = recorded
        wanted = {one.number for one in recorded.running}
        for place in [place for place in self.running if place[0] not in wanted]:
            self.running.pop(place).stop(self._processes.grace)
        folds = fingerprints(self._settings, load(self._settings.config).actions)
        others = []
        for one in recorded.running:
            if any(number == one.number for number, _ in self.running):
                continue
            if different := differences(one, folds):
                others.append(f"generation {one.number}: {different}")
                logger.warning("another worker must keep up generation %d: %s", one.number, different)
            else:
                check(one.of(self._settings))
                for stage in self._chosen:
                    self._start(one, stage)
        if not self.running:
            raise StateError(
                f"the folds changed ({'; '.join(others) or 'no generation is left'}): run `refold rebuild`, or "
                "start this worker with the code and configuration that folded what there is"
            )
        self._tidy(recorded)

    def ended(self) -> Process | None:
        """Return a stage of the live generation that has ended by itself.

        One that stands by must not harm it: its stages are started again, after a pause.
        """
        for (number, stage), process in list(self.running.items()):
            if (code := process.poll()) is None:
                continue
            one = self._recorded.find(number)
            if one.stage == "live":
                return process
            now = time.monotonic()
            if now < self._again_at.setdefault((number, stage), now + PAUSE):
                continue
            del self._again_at[number, stage]
            logger.error("%s ended with code %s, generation %d stands by; again", process.name, code, number)
            self._start(one, stage)
        return None

    def _start(self, generation: Generation, stage: Stage) -> None:
        of = generation.of(self._settings)
        name = f"{stage}-g{generation.number}" if generation.number else stage
        command = [sys.executable, "-m", "ops.run.stage", stage, self._loglevel, generation.folds[stage]]
        # both named, for what is not in the child's environment is taken over from ours
        env = {"REFOLD_GENERATION": str(of.generation), "REFOLD_TOUCHES": str(of.touches)}
        self.running[generation.number, stage] = self._processes.start(
            name, command, env=env, hear=partial(self._hear, name)
        )

    def _tidy(self, recorded: Generations) -> None:
        """Remove this worker's folders of generations that are no more."""
        kept = {one.of(self._settings).group(stage) for one in recorded.all for stage in STAGES}
        first = replace(self._settings, generation=0).app
        for stage in STAGES:
            for path in (self._settings.data / self._settings.worker).glob(f"{first}*-{stage}"):
                if path.name not in kept:
                    shutil.rmtree(path)
