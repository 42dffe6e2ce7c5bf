"""Partitions: murmur2, as in every Kafka client, so that a Java or Go producer lands beside ours."""

from functools import lru_cache

from kafka.partitioner.default import murmur2


@lru_cache(maxsize=1 << 18)
def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key.

    >>> partition_of("user-1", 8) == (murmur2(b"user-1") & 0x7FFFFFFF) % 8
    True
    """
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
