"""Heard: the last words of a topic like `control`, followed for as long as someone listens."""

from collections.abc import AsyncGenerator

from aiokafka import TopicPartition

from api.consumer import close, consumer
from streams import control
from streams.errors import TopologyError
from streams.settings import Settings

POLL_MS = 1_000


async def heard(
    settings: Settings, topic: str, stands: control.Stands = control.last
) -> AsyncGenerator[dict[str, bytes], None]:
    """Yield the words that count by name, at first once all was read, then whenever the broker answers.

    Raises KafkaError, and TopologyError where the topic is missing; to be closed by whoever stops listening.
    """
    place = TopicPartition(settings.topic(topic), control.PARTITION)
    reader = consumer(settings, POLL_MS)
    try:
        await reader.start()
        if place.topic not in await reader.topics():
            raise TopologyError(f"topic {place.topic!r} is missing: run `refold topics create`")
        reader.assign([place])
        end = (await reader.end_offsets([place]))[place]
        reader.seek(place, (await reader.beginning_offsets([place]))[place])
        said: dict[str, bytes] = {}
        while True:
            if await reader.position(place) >= end:
                yield said
            for record in (await reader.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                control.hear(said, record.key.decode(), record.value, stands)
    finally:
        await close(reader)
