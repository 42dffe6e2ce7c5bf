"""The consumer of changelogs: no group, no stored offsets, and an end that leaves nothing behind."""

import asyncio
import logging
from typing import Any

from aiokafka import AIOKafkaConsumer

from streams.settings import Settings

logger = logging.getLogger(__name__)

POLL_MS = 50
POLL_RECORDS = 200  # parsing them takes half a millisecond


def consumer(settings: Settings, wait_ms: int = POLL_MS) -> AIOKafkaConsumer:
    """Return a consumer that is told where to read; the caller starts it, and ends it by `close`.

    `wait_ms` is how long the broker may let it wait for something new.
    """
    return AIOKafkaConsumer(
        **settings.client(),
        client_id=f"refold-{settings.api_name}",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",  # the reader decides where to go on, never the client
        fetch_max_wait_ms=wait_ms,
        max_partition_fetch_bytes=2 << 20,
        max_poll_records=POLL_RECORDS,
    )


async def close(used: Any) -> None:
    """End a consumer, whatever state it is in.

    aiokafka 0.14 cancels its fetches and awaits them: one that pauses after an error (the broker is away) throws
    CancelledError through `stop`, which would end the caller's task, and leaves the connections open.
    """
    stopping = asyncio.ensure_future(used.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        await used._client.close()  # noqa: SLF001 - what `stop` did not come to
    elif (error := stopping.exception()) is not None:
        logger.warning("the consumer did not end well: %s", error)
