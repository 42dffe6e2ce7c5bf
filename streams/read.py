"""Read a topic from outside: every record from its beginning to the end it has now, with kafka-python."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams.errors import TopologyError, Unavailable
from streams.reach import require
from streams.settings import Settings

QUIET_MS = 1_500  # without a record for so long a topic has ended, for a broker whose end offsets lag
BOOTSTRAP_MS = 10_000  # for a broker that listens to tell of its cluster
PATIENCE = 20  # such silences before the end


def records(settings: Settings, topic: str, quiet_ms: int = QUIET_MS) -> Iterator[Any]:
    """Yield the records of a topic (named as in the topology), partition by partition in order.

    Raises TopologyError when the topic does not exist, Unavailable when the broker falls silent before its end.
    """
    require(settings)
    name = settings.topic(topic)
    consumer = KafkaConsumer(
        **settings.client(),
        enable_auto_commit=False,
        consumer_timeout_ms=quiet_ms,
        bootstrap_timeout_ms=BOOTSTRAP_MS,
        fetch_max_bytes=16 << 20,
        max_partition_fetch_bytes=4 << 20,
    )
    with contextlib.closing(consumer):
        numbers = consumer.partitions_for_topic(name)
        if not numbers:
            raise TopologyError(f"topic {name!r} is missing: run `refold topics create`")
        places = [TopicPartition(name, number) for number in sorted(numbers)]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(places)
        for _ in range(PATIENCE):  # a broker that is slow is quiet too; only its end offsets tell
            yield from consumer
            if all(consumer.position(place) >= ends[place] for place in places):
                return
        raise Unavailable(f"topic {name!r} was not read to its end: the broker fell silent; try again")
