"""The producer of everything that runs for long: idempotent, waiting for all in-sync replicas, over aiokafka."""

from typing import Any

from aiokafka import AIOKafkaProducer

from streams.settings import Settings


def producer(settings: Settings, largest: int, ack_seconds: int) -> AIOKafkaProducer:
    """Return a producer of batches up to `largest` bytes; the caller starts and stops it inside a running loop.

    A batch gathers while the one before is under way; waiting longer would only cost time.
    """
    client: dict[str, Any] = settings.client()
    return AIOKafkaProducer(
        **client,
        acks="all",
        enable_idempotence=settings.kafka_idempotence,
        linger_ms=0,
        compression_type="snappy",  # aiokafka runs lz4 at level 9: 38 MB/s, this 575
        max_batch_size=largest,
        max_request_size=largest + 100_000,
        request_timeout_ms=ack_seconds * 1000,
    )
