"""Import: an export restored into empty topics, every record at the offset it had."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
from kafka import TopicPartition

from ops.broker.lag import set_committed
from ops.broker.topics import admin, check
from ops.log import manifest as manifests
from ops.log.archive import TOLD
from ops.log.manifest import File, Manifest
from ops.log.rewrite import told_left
from ops.progress import Begin, silent
from ops.state import generations
from ops.state.fold import sources
from ops.state.generations import Tell
from ops.state.rebuild import rebuild
from streams.append import Appender, filled
from streams.archives import PLACE
from streams.errors import StateError
from streams.log import COMPACTED, Log, Record
from streams.settings import Settings
from streams.topology import STAGES
from streams.touches import origin_of

UNTOLD = "control"  # what operators decided on the other cluster holds for its own topics and tables


def restore(settings: Settings, folder: Path, begin: Begin = silent) -> dict[str, Any]:
    """Write an export into the log and return how many records went to each topic.

    Everything is verified before anything is written. Raises StateError for an export that is damaged or of another
    shape, and for topics that are not empty.
    """
    manifest = _verified(settings, folder)
    check(settings)
    topics = [topic for topic in manifest.spans if topic != UNTOLD]
    with Log(settings) as log:
        for topic in topics:
            if held := {n: end for n, (_, end) in log.spans(topic).items() if end}:
                raise StateError(
                    f"topic {settings.topic(topic)!r} is not empty, it has records in {len(held)} partitions: import "
                    "into a new REFOLD_NAMESPACE, or delete the topic and create it anew"
                )
    counts: dict[str, Any] = {}
    advance = begin(sum(end for topic in topics for _, end in manifest.spans[topic].values()))
    with Appender(settings) as to:
        for topic in topics:
            name = settings.topic(topic)
            for partition, (_, end) in manifest.spans[topic].items():
                files = [f for f in manifest.files if (f.topic, f.partition) == (topic, partition)]
                found = records(folder, topic, files)
                if topic in TOLD:
                    found = _heard_of(found, topic, manifest)
                key = PLACE if topic in COMPACTED else None
                placed = filled(found, name, partition, 0, end, key)
                to.append(name, partition, placed, advance)
            counts[topic] = sum(file.records for file in manifest.files if file.topic == topic)
    _cut(settings, manifest, topics)
    return counts


def fold(settings: Settings, folder: Path, weights: Mapping[str, float], begin: Begin, tell: Tell) -> bool:
    """Fold a restored log into a first generation of tables, so that workers go on where those of the export stood.

    False, having done nothing, for an export that begins late: there is no state without the beginning.
    """
    manifest = manifests.read(folder)
    if any(begin for topic in ("events", *TOLD) for begin, _ in manifest.spans[topic].values()):
        return False
    # A rebuild folds to where the live generation stands, so one is put there, without a row, and taken away again.
    generations.begin(settings, weights)
    ends = {topic: {n: end for n, (_, end) in of.items()} for topic, of in manifest.spans.items()}
    positions = {
        stage: manifest.folded if stage == "users" else {source: ends[source] for source in sources(stage)}
        for stage in STAGES
    }
    with admin(settings) as client:
        for stage, of in positions.items():
            at = {
                (settings.topic(topic), n): position
                for topic, by_partition in of.items()
                for n, position in by_partition.items()
            }
            set_committed(client, settings.group(stage), at)
    rebuild(settings, weights, switch=True, begin=begin, tell=tell)
    generations.drop(settings, 0, tell)
    return True


def _verified(settings: Settings, folder: Path) -> Manifest:
    manifest = manifests.read(folder)
    for name, held, here in (
        ("partitions", manifest.partitions, settings.partitions),
        ("shards", manifest.shards, settings.shards),
    ):
        if held != here:
            raise StateError(
                f"{folder} holds {held} {name}, REFOLD_{name.upper()}={here}: set it to {held} and create the "
                "topics so"
            )
    if manifest.epoch != settings.epoch:
        raise StateError(
            f"{folder} is of REFOLD_EPOCH={manifest.epoch}, which its touches name, not {settings.epoch}: set it so"
        )
    for file in manifest.files:
        manifests.verify(folder, file)
    return manifest


def records(folder: Path, topic: str, files: Sequence[File]) -> Iterator[Record]:
    """Yield the records of a partition in order; files of several days may overlap, those of a chunk alone do."""
    reach, group = -1, 0
    grouped: list[tuple[int, File]] = []
    for file in sorted(files, key=lambda file: file.first):
        group += file.first > reach
        reach = max(reach, file.last)
        grouped.append((group, file))
    for _, together in groupby(grouped, key=lambda pair: pair[0]):
        frames = [pl.read_parquet(folder / file.path, hive_partitioning=False) for _, file in together]
        frame = pl.concat(frames, how="diagonal").sort("offset")
        if "headers" not in frame.columns:
            frame = frame.with_columns(headers=pl.lit(None))
        millis = pl.col("timestamp").dt.timestamp("ms")
        for partition, offset, at, key, value, headers in frame.select(
            "partition", "offset", millis, "key", "value", "headers"
        ).iter_rows():
            beside = tuple((header["name"], header["value"]) for header in headers or ())
            yield Record(topic, partition, offset, key, value, at / 1000, beside)


def _heard_of(records: Iterator[Record], topic: str, manifest: Manifest) -> Iterator[Record]:
    """Leave out what was said of events that the export lacks: other events will have their numbers."""
    spans = manifest.spans
    ends = {(of, n): origin_of(end, 0) for of in ("events", "slates") for n, (_, end) in spans[of].items()}
    for record in records:
        yield told_left(
            record, topic, manifest.epoch, lambda number, of, origin: origin < ends.get((of, number), 0)
        )


def _cut(settings: Settings, manifest: Manifest, topics: Sequence[str]) -> None:
    """Give the log the beginning it has in the export: what a span left out must not look like a log without it."""
    begins = {
        TopicPartition(settings.topic(topic), n): begin
        for topic in topics
        if topic not in COMPACTED
        for n, (begin, _) in manifest.spans[topic].items()
        if begin
    }
    if begins:
        with admin(settings) as client:
            client.delete_records(begins)
