"""A Kafka client of asyncio, asked from a thread in which no loop runs."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from aiokafka.errors import KafkaError

from streams.errors import Unavailable
from streams.settings import Settings


class Client:
    """One client for one thread, started and stopped with the block; `made` is what `make` returned inside the loop."""

    def __init__(self, settings: Settings, make: Callable[[], Any]) -> None:
        self.made: Any = None
        self._kafka = settings.kafka
        self._make = make
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            self.run(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.made is not None:
                self.run(self.made.stop())
        finally:
            self._runner.close()

    def run(self, asked: Any) -> Any:
        """Wait for what was asked and return the answer; raises Unavailable where the broker gives none."""

        async def wait() -> Any:
            return await asked

        try:
            return self._runner.run(wait())
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._kafka!r} does not answer as it should: {error!r}") from error

    async def _start(self) -> None:
        self.made = self._make()
        await self.made.start()
