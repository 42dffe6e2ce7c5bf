"""Lag: how far each stage of the workers is behind its topics, as the broker knows it."""

import time
from collections.abc import Mapping

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from ops.broker.topics import admin
from streams.errors import Unavailable
from streams.settings import Settings
from streams.topology import STAGES, TABLES, Stage, partitions_of

PATIENCE = 30.0  # seconds
SOON = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError)  # what passes by itself
STAGE_OF: Mapping[str, Stage] = {
    source: stage
    for stage, tables in STAGES.items()
    for table in TABLES
    if table.name in tables
    for source in table.sources
}


def lag(settings: Settings) -> dict[str, int]:
    """Return records not yet folded and committed, by source topic; raises Unavailable."""
    behind = {}
    with admin(settings) as client:
        for source, stage in STAGE_OF.items():
            ends = end_offsets(client, settings, source)
            done = committed(client, settings.group(stage), settings.topic(source))
            behind[source] = sum(max(0, end - done.get(number, 0)) for number, end in ends.items())
    return behind


def committed(client: KafkaAdminClient, group: str, topic: str) -> dict[int, int]:
    """Return the committed offset of each partition that has one; none while the group has not formed."""
    try:
        offsets = client.list_group_offsets(group)[group]
    except KafkaError:
        return {}
    return {tp.partition: at.offset for tp, at in offsets.items() if tp.topic == topic and at.offset >= 0}


def end_offsets(client: KafkaAdminClient, settings: Settings, topic: str) -> dict[int, int]:
    """Return the end offset of each partition of a topic of the topology."""
    count, name = partitions_of(settings, topic), settings.topic(topic)
    parts = {TopicPartition(name, n): OffsetSpec.LATEST for n in range(count)}
    return {tp.partition: at.offset for tp, at in client.list_partition_offsets(parts).items()}


def set_committed(client: KafkaAdminClient, group: str, positions: Mapping[tuple[str, int], int]) -> None:
    """Let a group that nobody is in go on at these offsets by (broker's topic, partition); raises Unavailable.

    The first group of a cluster has to wait until the broker has made the topic that holds offsets and read it.
    """
    at = {
        TopicPartition(*place): OffsetAndMetadata(position, "", -1) for place, position in positions.items()
    }
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answers = client.alter_group_offsets(group, at) if at else {}
        except CoordinatorNotAvailableError as error:
            answers = dict.fromkeys(at, type(error))
        refused = {place: kind for place, kind in answers.items() if kind is not NoError}
        if not refused:
            return
        place, kind = refused.popitem()
        if kind not in SOON or time.monotonic() > deadline:
            raise Unavailable(f"the broker does not take the offset of {place}: {kind.__name__}")
        time.sleep(0.2)
