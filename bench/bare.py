"""The yardstick of `bench.ingest`: a Faust agent that only counts the records of `events`."""

import tempfile
from typing import Any

import faust
import uvloop

from streams.settings import Settings


def main() -> None:
    """Run until SIGTERM."""
    uvloop.install()
    settings = Settings.from_env()
    app = faust.App(
        settings.topic("bare"),
        broker=[f"kafka://{host}" for host in settings.kafka.split(",")],
        datadir=tempfile.mkdtemp(prefix="refold-bare-"),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_commit_interval=1,
        broker_session_timeout=10,
        consumer_auto_offset_reset="earliest",
    )
    seen = 0

    @app.agent(app.topic(settings.topic("events"), value_type=bytes, value_serializer="raw"))  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        nonlocal seen
        async for _ in stream.events():
            seen += 1

    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
