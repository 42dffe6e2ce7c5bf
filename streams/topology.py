"""The topology as data: every topic and table, what keys it and how long it is kept.

`topology.md` explains it; a test holds the two equal, and equal to what the Faust app declares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from streams.settings import Settings

Cleanup = Literal["delete", "compact"]
DAY_MS, CENTURY_MS = "86400000", "3155760000000"
Stage = Literal["users", "items", "learner"]


@dataclass(frozen=True)
class Topic:
    """One topic: its key, what a record is, and whether it is a log (kept for ever) or compacted."""

    name: str
    key: str
    record: str
    cleanup: Cleanup = "delete"
    tombstones: str = DAY_MS  # how long a compacted topic keeps them, in ms
    shards: bool = False  # a partition for each shard of the learner, instead of `Settings.partitions`

    def config(self) -> dict[str, str]:
        """Return the broker settings that make the topic what it is declared to be."""
        if self.cleanup == "delete":
            return {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
        return {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": "3600000",  # a zombie's stale row stays beside the true one for an hour
            "max.compaction.lag.ms": "21600000",
            "segment.ms": "3600000",
            "segment.bytes": "67108864",
            "min.cleanable.dirty.ratio": "0.1",
            "delete.retention.ms": self.tombstones,
        }


@dataclass(frozen=True)
class Table:
    """One table: the topics folded into it (all with its key and partition count) and its row's version.

    `units` marks a table whose fold changes many rows together: its changelog is read in whole flushes.
    """

    name: str
    key: str
    sources: tuple[str, ...]
    row: str
    version: int = 1
    units: bool = False

    def changelog(self, settings: Settings) -> Topic:
        """Return the changelog as a topic of the broker."""
        shards = self.name in _SHARDED
        return Topic(
            settings.changelog(self.name), self.key, f"a row of `{self.name}`", "compact", shards=shards
        )


TOPICS: tuple[Topic, ...] = (
    Topic("events", "user id", "a batch: 1..500 events whose users share the partition"),
    # a deleted item's mark is in its row, so its tombstone stays in the log
    Topic("items", "item id", "catalogue upsert, or tombstone", "compact", CENTURY_MS),
    Topic("profiles", "user id", "user attributes, or tombstone = erase this user", "compact"),
    Topic(
        "touches", "partition", "a batch: what the user agent says about items and trials, with its origin"
    ),
    Topic(
        "examples",
        "partition",
        "a batch: what was chosen after what and what was seen, with its origin",
        shards=True,
    ),
    Topic("slates", "user id", "what the API served, item by item"),
    Topic("dead-letters", "-", "refused bytes with topic, partition, offset and reason"),
    Topic(
        "control", "name", "what operators decided: generations of the state, archives of the log", "compact"
    ),
    Topic("models", "name@version, or name", "a trained model, or what was decided about a name", "compact"),
    Topic("experiments", "experiment", "what is tried on whom, and what was decided about it", "compact"),
)

TABLES: tuple[Table, ...] = (
    Table(
        "users", "user id", ("events", "profiles"), "history, affinities, counters, session, seen, trials", 6
    ),
    Table("shown", "user id", ("events", "slates"), "what was shown lately, and what was done about it"),
    Table("items", "item id", ("items", "touches"), "catalogue, counters, CTR, trend", 2),
    Table("popular", "context", ("touches",), "decayed counts of the partition's items in one context"),
    Table(
        "outcomes",
        "experiment",
        ("touches",),
        "what the partition's users in each arm did, as sums of products",
    ),
    Table(
        "learned",
        "item id",
        ("examples",),
        "neighbours, successors, vectors; under the empty key what is common to all",
        7,
        units=True,
    ),
)

UNITS = frozenset(table.name for table in TABLES if table.units)

# a worker's processes, and the tables each keeps
STAGES: Mapping[Stage, tuple[str, ...]] = {
    "users": ("users", "shown"),
    "items": ("items", "popular", "outcomes"),
    "learner": ("learned",),
}

_SHARDED = {"learner", "learned", *(topic.name for topic in TOPICS if topic.shards)}


def partitions_of(settings: Settings, of: str | Topic) -> int:
    """Return how many partitions a topic has, or a topic, a table or a stage by its name in this module."""
    sharded = of.shards if isinstance(of, Topic) else of in _SHARDED
    return settings.shards if sharded else settings.partitions


def topics(settings: Settings) -> list[Topic]:
    """Return every topic the broker must hold, changelogs included, under its broker's name."""
    sources = [replace(topic, name=settings.topic(topic.name)) for topic in TOPICS]
    return sources + [t.changelog(settings) for t in TABLES]
