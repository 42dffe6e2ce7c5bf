"""System: a worker and an API process of our own for as long as a command needs them, and, embedded, a broker too."""

import contextlib
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx

from ops.broker import embedded, topics
from ops.processes import Processes, free_port, is_free
from streams.settings import Settings

PARTITIONS = 4
PORT = 8088
SECONDS = 90  # until the API is ready


@contextlib.contextmanager
def embedded_settings(name: str) -> Iterator[Settings]:
    """Run the embedded broker within the block and yield the settings of a Refold on it, its topics made."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"refold-{name}-")))
        settings = Settings(
            kafka=stack.enter_context(embedded.running(folder)),
            kafka_idempotence=False,
            partitions=PARTITIONS,
            data=folder,
            port=PORT if is_free(PORT) else free_port(),
        )
        topics.ensure(settings)
        yield settings


@contextlib.contextmanager
def own_settings(name: str, given: Settings) -> Iterator[Settings]:
    """Yield the settings of a Refold of its own on a given Kafka; its topics are gone after the block."""
    with tempfile.TemporaryDirectory(prefix=f"refold-{name}-") as folder:
        prefix = f"{name}-{uuid.uuid4().hex[:8]}"
        settings = replace(given, namespace=prefix, data=Path(folder), port=free_port())
        topics.ensure(settings)
        try:
            yield settings
        finally:
            with topics.admin(settings) as client:
                client.delete_topics([one for one in client.list_topics() if one.startswith(f"{prefix}.")])


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[tuple[str, Processes]]:
    """Run a worker of all stages and an API process within the block; yield the API's address, and the two.

    Their logs lie in the data folder. Raises Unavailable when the API is not ready in time.
    """
    base = f"http://127.0.0.1:{settings.port}"
    refold, env = [sys.executable, "-m", "ops.cli"], settings.environment()
    with Processes(settings.data) as processes:
        processes.start("worker", [*refold, "worker"], env=env)
        processes.start("api", [*refold, "api"], env=env, ready=lambda: _ready(base), seconds=SECONDS)
        yield base, processes


def _ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
