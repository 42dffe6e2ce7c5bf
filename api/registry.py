"""The registry as a process follows it: rankers that are live or in shadow, loaded beside what serves, then swapped in.

A version that cannot be served is refused by name, and what served before goes on serving.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from aiokafka.errors import KafkaError

from api.heard import heard
from api.metrics import Metrics
from models.features import NAMES, Floats
from models.ranker import Lineup, Ranker
from models.rankers import ranker_of
from models.rerank import best
from streams import artifacts, models
from streams.errors import RefoldError
from streams.models import Model, Registry
from streams.settings import Settings

log = logging.getLogger("refold.api")
RETRY_SECONDS = 30.0  # until a version that could not be had is asked for again
SHOWN = 10  # places of a list that are compared
WAITING = 8  # requests that a shadow may be behind; more are not compared


@dataclass(frozen=True)
class Serving:
    """Rankers by name, and those in shadow; swapped as a whole."""

    live: Mapping[str, Ranker] = field(default_factory=dict)
    shadows: Mapping[str, tuple[Ranker, ...]] = field(default_factory=dict)

    @cached_property
    def named(self) -> Mapping[str, Ranker]:
        """All of them: the live ones by name, and every one by name@version."""
        every = [*self.live.items(), *((name, one) for name, part in self.shadows.items() for one in part)]
        return {**self.live, **{f"{name}@{one.version}": one for name, one in every}}


class Follower:
    """Follows the topic `models`; `start` and `stop` it in the running loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._serving = Serving()
        self._refused: dict[tuple[str, str], str] = {}
        self._task: asyncio.Task[None] | None = None
        self._compare: queue.Queue[tuple[str, Lineup, Floats] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._shadow, name="shadow", daemon=True)

    @property
    def served(self) -> list[str]:
        """What an arm of an experiment can name."""
        return sorted(self._serving.named)

    def live(self, name: str) -> Ranker | None:
        """Return the live ranker of a name, or one in live or shadow by name@version; None while there is none."""
        return self._serving.named.get(name)

    def scored(self, name: str, lineup: Lineup, scores: Floats) -> None:
        """Let the shadows of a name score the same candidates, off the request's way; dropped when they are behind."""
        if self._serving.shadows.get(name):
            with contextlib.suppress(queue.Full):
                self._compare.put_nowait((name, lineup, scores))

    async def start(self) -> None:
        """Follow in the background."""
        self._thread.start()
        self._task = asyncio.create_task(self._follow(), name="models")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._compare.put, None)
        await asyncio.to_thread(self._thread.join)

    async def _follow(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(heard(self._settings, models.TOPIC)) as words:
                    known: dict[str, bytes] | None = None
                    async for said in words:
                        if said != known or self._refused:
                            await self.take(models.decode(said))
                            known = dict(said)
                        if self._refused:
                            await asyncio.sleep(RETRY_SECONDS)
            except (KafkaError, OSError, RefoldError) as error:
                log.warning("the registry of models cannot be read: %s", error)
            except Exception:
                log.exception("the registry of models is not being read, trying again")
            await asyncio.sleep(RETRY_SECONDS)

    async def take(self, registry: Registry) -> None:
        """Serve what a registry says, as far as it can be had: load and warm up in a thread, then swap at once."""
        held = {ranker.version: ranker for ranker in self._serving.live.values()}
        held |= {ranker.version: ranker for part in self._serving.shadows.values() for ranker in part}
        refused: dict[tuple[str, str], str] = {}
        live, shadows = {}, {}
        for name, stages in registry.stages.items():
            found = await self._have(registry, name, stages.live, held, refused) if stages.live else None
            if stages.live and found is None:
                found = self._serving.live.get(name)  # which is better than none
            if found is not None:
                live[name] = found
            beside = [await self._have(registry, name, version, held, refused) for version in stages.shadow]
            shadows[name] = tuple(ranker for ranker in beside if ranker is not None)
        self._serving, self._refused = Serving(live, shadows), refused
        self._metrics.models(
            [(name, ranker.version, "live") for name, ranker in live.items()]
            + [(name, ranker.version, "shadow") for name, part in shadows.items() for ranker in part]
            + [(name, version, "refused") for name, version in refused]
        )

    async def _have(
        self, registry: Registry, name: str, version: str, held: Mapping[str, Ranker],
        refused: dict[tuple[str, str], str],
    ) -> Ranker | None:  # fmt: skip
        key = f"{name}@{version}"
        model = registry.models.get(key)
        reason = f"{key} was never published"
        if model is not None:
            if version in held:
                return held[version]
            try:
                return await asyncio.to_thread(_loaded, self._settings, model)
            except RefoldError as error:
                reason = str(error)
        if self._refused.get((name, version)) != reason:
            log.warning("%s is not served: %s", key, reason)
        refused[name, version] = reason
        return None

    def _shadow(self) -> None:
        while (asked := self._compare.get()) is not None:
            name, lineup, scores = asked
            shown = set(best(scores, SHOWN).tolist())
            for ranker in self._serving.shadows.get(name, ()):
                try:
                    chances = ranker.score(lineup)
                except Exception:
                    log.exception("%s@%s cannot score", name, ranker.version)
                    continue
                top = best(chances, SHOWN)
                agreed = len(shown.intersection(top.tolist())) / max(1, len(top))
                self._metrics.shadow(ranker.version, agreed, float(chances[top].mean()))


def _loaded(settings: Settings, model: Model) -> Ranker:
    """Return the ranker of a version, verified, its kernel compiled; raises StateError and Unavailable."""
    ranker = ranker_of(model, artifacts.load(settings, model.artifact, model.size))
    rows = np.zeros((16, len(NAMES)), dtype=np.float32)
    ranker.score(Lineup(rows, np.zeros(16, dtype=np.int64), ("",), ()))
    return ranker
