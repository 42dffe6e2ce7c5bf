"""Faust's transport as we mend it: what a rebalance dropped is read again."""

import asyncio
from types import SimpleNamespace

from aiokafka import TopicPartition

from agents.transport import Consumer


class Thread:
    """The consumer's thread: one partition with a committed offset, two without, one of a changelog."""

    def __init__(self):
        self.sought = []

    async def seek_to_committed(self):
        places = [("events", 0), ("events", 1), ("events", 2), ("users-changelog", 0)]
        return dict(zip([TopicPartition(*place) for place in places], [7, None, 0, None], strict=True))

    async def seek_to_beginning(self, places):
        self.sought += places


def test_where_nothing_is_committed_yet_it_reads_from_the_beginning_again():
    """aiokafka would stay behind what it fetched during a rebalance, which Faust has dropped."""
    consumer = Consumer.__new__(Consumer)
    consumer._thread = Thread()
    consumer.app = SimpleNamespace(tables=SimpleNamespace(changelog_topics={"users-changelog"}))

    committed = asyncio.run(consumer.seek_to_committed())

    assert consumer._thread.sought == [TopicPartition("events", 1), TopicPartition("events", 2)]
    assert committed[TopicPartition("events", 0)] == 7
