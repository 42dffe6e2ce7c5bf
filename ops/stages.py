"""The stages of a worker: a process each for every generation it folds, started and stopped as `control` says."""

import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial

from models.surfaces import load
from ops.fold import fingerprints
from ops.generations import differences
from ops.processes import Process, Processes
from ops.topics import check
from streams.errors import StateError
from streams.generations import Generation, Generations
from streams.settings import Settings
from streams.topology import STAGES, Stage

logger = logging.getLogger(__name__)


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

    def follow(self, recorded: Generations) -> None:
        """Start and stop stages until they are those of the recorded generations that this code folds.

        Raises StateError when it folds none of them, TopologyError where a generation's topics are not as declared.
        """
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
                self._start(one)
        if not self.running:
            raise StateError(
                f"the folds changed ({'; '.join(others) or 'no generation is left'}): run `refold rebuild`, or "
                "start this worker with the code and configuration that folded what there is"
            )
        self._tidy(recorded)

    def ended(self) -> Process | None:
        """Return a stage that has ended by itself."""
        return next((stage for stage in self.running.values() if stage.poll() is not None), None)

    def _start(self, generation: Generation) -> None:
        of = generation.of(self._settings)
        check(of)
        for stage in self._chosen:
            name = f"{stage}-g{generation.number}" if generation.number else stage
            command = [sys.executable, "-m", "ops.stage", stage, self._loglevel, generation.folds[stage]]
            # both named, for what is not in the child's environment is taken over from ours
            env = {"REFOLD_GENERATION": str(of.generation), "REFOLD_TOUCHES": str(of.touches)}
            self.running[generation.number, stage] = self._processes.start(
                name, command, env=env, hear=partial(self._hear, name)
            )

    def _tidy(self, recorded: Generations) -> None:
        """Remove this worker's folders of generations that are no more."""
        kept = {one.of(self._settings).group(stage) for one in recorded.all for stage in STAGES}
        for stage in STAGES:
            for path in (self._settings.data / self._settings.worker).glob(f"*refold*-{stage}"):
                if path.name not in kept:
                    shutil.rmtree(path)
