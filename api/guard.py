"""Guard: stops an experiment as soon as a guardrail is breached, which gives everyone what they had before it.

Every process judges for itself about every second. The word of the first stands; those of others, who saw the same,
come too late and change nothing.
"""

import asyncio
import logging
from collections.abc import Callable

from api.experiments import Follower
from api.outcomes import sheets
from api.problems import Problem
from api.state import Tables
from models.definitions import ended
from models.verdict import breaches
from streams.errors import RefoldError
from streams.experiments import Known

log = logging.getLogger("refold.api")
SECONDS = 1.0
BY = "guardrail"


class Guard:
    """Looks at running experiments; `start` and `stop` it in the running loop. `tables` are those of the moment."""

    def __init__(self, experiments: Follower, tables: Callable[[], Tables], now: Callable[[], int]) -> None:
        self._experiments, self._tables, self._now = experiments, tables, now
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look in the background."""
        self._task = asyncio.create_task(self._watch(), name="guard")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Stop every running experiment with a breached guardrail; raises as a producer does."""
        for key, record in self._experiments.known.records.items():
            if record.state != "running":
                continue
            judged = sheets(self._tables().outcomes(key))
            found = await asyncio.to_thread(breaches, record, judged)
            word = (
                ended(Known({key: record}), key, "stopped", self._now(), "; ".join(found), BY, judged)
                if found
                else None
            )
            if word is None:
                continue
            try:
                await self._experiments.write(word)
                log.warning("experiment %r is stopped: %s", key, word.decided[-1].reason)
            except Problem as late:  # what we judged is no longer what stands: the next look judges that
                log.info("experiment %r: %s", key, late)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except RefoldError as error:
                log.warning("a breached guardrail could not stop its experiment yet: %s", error)
            except Exception:
                log.exception("guardrails were not judged, trying again")
            await asyncio.sleep(SECONDS)
