"""A key lies where every other Kafka client puts it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner, murmur2

from streams.partition import partition_of

# org.apache.kafka.common.utils.UtilsTest
KNOWN = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize("key", KNOWN)
def test_murmur2_is_that_of_the_java_client(key):
    assert murmur2(key.encode()) & 0xFFFFFFFF == KNOWN[key] & 0xFFFFFFFF
    assert partition_of(key, 1000) == (KNOWN[key] & 0x7FFFFFFF) % 1000


class Cluster:
    """A cluster with one topic."""

    def __init__(self, partitions):
        self.partitions = set(range(partitions))

    def topics(self):
        return {"t"}

    def partitions_for_topic(self, _):
        return self.partitions

    available_partitions_for_topic = partitions_for_topic


@given(st.text(max_size=64), st.integers(1, 64))
def test_a_key_lies_where_the_default_partitioner_of_kafka_python_puts_it(key, partitions):
    theirs = DefaultPartitioner().partition("t", key, key.encode(), None, None, Cluster(partitions))
    assert partition_of(key, partitions) == theirs
