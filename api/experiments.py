"""Experiments as a process follows them: an assigner of what the topic says, swapped as soon as it says something else.

A word that cannot be read, or that the configuration has no place for, stops its own experiment and no other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

from aiokafka.errors import KafkaError

from api.heard import heard
from api.metrics import Metrics
from api.problems import Problem
from api.producer import InDoubt, Producer
from api.producer import Record as Sent
from models.assignment import Assigner
from models.definitions import ended
from models.outcomes import Arm, Sheet
from models.surfaces import Config
from streams import control, experiments
from streams.errors import RefoldError, StateError
from streams.experiments import TOPIC, Holdout, Known, Record
from streams.settings import Settings

log = logging.getLogger("refold.api")
RETRY_SECONDS = 1.0
WRITE_SECONDS = 5.0  # for the broker to take a word, and again for it to be heard
TRIES = 5  # of ending an experiment that others are busy with


class Follower:
    """Follows the topic `experiments`; `start` and `stop` it in the running loop. Until then it hears only itself."""

    def __init__(
        self, settings: Settings, config: Config, producer: Producer, metrics: Metrics, now: Callable[[], int]
    ) -> None:
        self._settings, self._config, self._producer = settings, config, producer
        self._metrics, self._now = metrics, now
        self._said: dict[str, bytes] = {}
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        self._decided: list[tuple[asyncio.Future[bool], bool]] = []
        self._told: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self.assigner = Assigner(Known(), config, now())

    @property
    def known(self) -> Known:
        """What the topic said last."""
        return self.assigner.known

    async def start(self) -> None:
        """Follow in the background."""
        self._task = asyncio.create_task(self._follow(), name="experiments")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def take(self, said: Mapping[str, bytes]) -> None:
        """Assign by these words from now on."""
        records: dict[str, Record] = {}
        holdout, refused = Holdout(), {}
        for key, value in said.items():
            try:
                found = experiments.decode({key: value})
            except StateError as error:
                refused[key] = str(error)
                continue
            records |= found.records
            holdout = found.holdout if found.holdout.revision else holdout
        # a decision counts when it is heard, though the clock of who made it may be ahead of ours
        ahead = (one.decided[-1].at for one in records.values() if one.decided)
        self.assigner = Assigner(Known(records, holdout), self._config, max(self._now(), *ahead, 0))
        self._said = dict(said)
        refused |= self.assigner.refused
        for key, reason in refused.items():
            if self._told.get(key) != reason:
                log.warning("experiment %r takes no part: %s", key, reason)
        self._told = refused
        self._metrics.experiments(
            [(key, one.state) for key, one in records.items() if key not in refused]
            + [(key, "refused") for key in refused]
        )

    async def write(self, word: Record | Holdout) -> None:
        """Say something new and return when it counts here.

        Raises Problem 409 when somebody else said something first, Unavailable and InDoubt as a producer does.
        """
        value = experiments.encode(word)
        heard_it = self._waiting[value] = asyncio.get_running_loop().create_future()
        try:
            await self._send(word.key, value)
            if self._task is None:
                control.hear(said := dict(self._said), word.key, value, self._stands)
                self._settle(said)
            async with asyncio.timeout(WRITE_SECONDS):
                counts = await heard_it
        except TimeoutError:
            raise InDoubt(f"what was said of {word.key!r} was written, but not heard yet") from None
        finally:
            del self._waiting[value]
        if not counts:
            await self._send(word.key, self._said[word.key])  # compaction keeps the last word: it must count
            raise Problem(
                409,
                "conflict",
                f"{word.key!r} was changed by somebody else just now; look at it and try again",
            )

    async def end(
        self,
        key: str,
        state: experiments.Ended,
        reason: str,
        by: str,
        sheets: Mapping[Arm, Sheet] | None = None,
    ) -> Record:
        """Stop or kill an experiment, whoever else is changing it; raises Refused for an unknown one.

        Its reports stand by `sheets` from then on; None where they are not known.
        """
        for left in reversed(range(TRIES)):
            word = ended(self.known, key, state, self._now(), reason, by, sheets)
            if word is None:
                break
            try:
                await self.write(word)
            except Problem:
                if not left:
                    raise
        return self.known.find(key)

    async def _send(self, key: str, value: bytes) -> None:
        place = Sent(self._settings.topic(TOPIC), control.PARTITION, key.encode(), value)
        await self._producer.write([place], WRITE_SECONDS)

    def _stands(self, old: bytes | None, new: bytes | None) -> bytes | None:
        found = experiments.stands(old, new)
        if new is not None and (waiting := self._waiting.get(new)) is not None:
            self._decided.append((waiting, found is new))
        return found

    def _settle(self, said: Mapping[str, bytes]) -> None:
        """Take what was said, if it is new or a ramp goes on, then tell those who wait for it."""
        due = self.assigner.until
        if said != self._said or (due is not None and due <= self._now()):
            self.take(said)
        decided, self._decided = self._decided, []
        for waiting, counts in decided:
            if not waiting.done():
                waiting.set_result(counts)

    async def _follow(self) -> None:
        told = ""
        while True:
            try:
                words = heard(self._settings, TOPIC, self._stands)
                async with contextlib.aclosing(words):
                    async for said in words:
                        self._settle(said)
            except (KafkaError, OSError, RefoldError) as error:
                if str(error) != told:
                    log.warning("experiments cannot be read: %s", error)
                told = str(error)
            except Exception:
                log.exception("experiments are not being read, trying again")
            await asyncio.sleep(RETRY_SECONDS)
