"""Export: the log as Parquet files by topic and day, with a manifest, so that it outlives its cluster."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ops.broker.lag import committed
from ops.broker.topics import admin
from ops.log import manifest as manifests
from ops.log.archive import TOLD
from ops.log.manifest import File, Manifest
from ops.progress import Begin, silent
from ops.state.fold import sources
from streams.errors import StateError
from streams.log import COMPACTED, Log, Record
from streams.settings import Settings
from streams.topology import TOPICS

MOST_RECORDS, MOST_BYTES = 200_000, 64 << 20  # of a chunk, which becomes a file for each of its days
SCHEMA: dict[str, Any] = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "timestamp": pl.Datetime("ms", "UTC"),
    "key": pl.Binary,
    "value": pl.Binary,
    "headers": pl.List(pl.Struct({"name": pl.String, "value": pl.Binary})),
}


def export(
    settings: Settings,
    into: Path,
    since: int | None = None,
    until: int | None = None,
    begin: Begin = silent,
) -> dict[str, Any]:
    """Write the log into a folder, or what came since to an export that is there, and return counts.

    `since` and `until` (ms) bound what is written: compacted topics are whole from their beginning, and touches and
    examples, said after their events, up to their end unless `since` is given. Raises StateError for a folder of
    something else, and as the log does where records are gone.
    """
    before = _before(settings, into, since)
    written: list[File] = []
    counts: dict[str, int] = {}
    with Log(settings) as log:
        folded = _folded(
            settings
        )  # first: what was said of what is folded by now will be in what is read then
        ends = _ends(log, since, until)
        starts = _starts(log, ends, before, since)
        advance = begin(sum(end - starts[topic][n] for topic in ends for n, end in ends[topic].items()))
        into.mkdir(parents=True, exist_ok=True)
        for topic in ends:
            counts[topic] = 0
            for number, end in ends[topic].items():
                for chunk in chunks(log.read(topic, number, starts[topic][number], end)):
                    written += files(into, topic, number, chunk)
                    counts[topic] += len(chunk)
                advance(end - starts[topic][number])
    held = {} if before is None else before.spans
    made = Manifest(
        namespace=settings.namespace,
        epoch=settings.epoch,
        partitions=settings.partitions,
        shards=settings.shards,
        touches=settings.touches,
        made_at=time.time_ns() // 1_000_000,
        spans={
            topic: {n: (held[topic][n][0] if held else starts[topic][n], end) for n, end in of.items()}
            for topic, of in ends.items()
        },
        folded={
            topic: {n: min(position, ends[topic][n]) for n, position in of.items()}
            for topic, of in folded.items()
        },
        files=(*(() if before is None else before.files), *written),
    )
    manifests.write(into, made)
    return {"into": str(into), **counts, "files": len(written)}


def _folded(settings: Settings) -> dict[str, dict[int, int]]:
    with admin(settings) as client:
        return {
            topic: committed(client, settings.group("users"), settings.topic(topic))
            for topic in sources("users")
        }


def _ends(log: Log, since: int | None, until: int | None) -> dict[str, dict[int, int]]:
    ends = {topic.name: {n: end for n, (_, end) in log.spans(topic.name).items()} for topic in TOPICS}
    if until is None:
        return ends
    whole = () if since is not None else TOLD
    return {topic: ends[topic] if topic in whole else log.positions_at(topic, until) for topic in ends}


def _before(settings: Settings, into: Path, since: int | None) -> Manifest | None:
    """Return the manifest of the export that is to be continued, None for a new one; raises StateError."""
    if not into.is_dir() or not any(into.iterdir()):
        return None
    found = manifests.read(into)
    for what, here, there in (
        ("namespace", settings.namespace, found.namespace),
        ("epoch", settings.epoch, found.epoch),
        ("number of partitions", settings.partitions, found.partitions),
        ("number of shards", settings.shards, found.shards),
        ("generation of touches", settings.touches, found.touches),
    ):
        if here != there:
            raise StateError(
                f"{into} is an export of another log, its {what} is {there!r}, not {here!r}: "
                "export into an empty folder"
            )
    if since is not None:
        raise StateError(f"{into} holds an export, which goes on where it ended: leave out --from")
    named = {into / file.path for file in found.files}
    for leftover in set(into.glob("topic=*/day=*/*")) - named:
        leftover.unlink()  # of an export that was interrupted
    return found


def _starts(
    log: Log, ends: Mapping[str, Mapping[int, int]], before: Manifest | None, since: int | None
) -> dict[str, dict[int, int]]:
    if before is None:
        starts = {topic: {n: begin for n, (begin, _) in log.spans(topic).items()} for topic in ends}
        if since is not None:
            later = {topic: log.positions_at(topic, since - 1) for topic in set(ends) - COMPACTED}
            starts |= {
                topic: {n: min(later[topic][n], end) for n, end in ends[topic].items()} for topic in later
            }
        return starts
    starts = {topic: {n: end for n, (_, end) in before.spans[topic].items()} for topic in ends}
    for topic, of in starts.items():
        for n, start in of.items():
            if start > ends[topic][n]:
                raise StateError(
                    f"{topic}[{n}] was exported up to offset {start} and is asked for up to {ends[topic][n]}: "
                    "export into an empty folder"
                )
    return starts


def chunks(batches: Iterable[Sequence[Record]]) -> Iterator[list[Record]]:
    """Yield the same records in larger lists, bounded in bytes, so that memory is."""
    chunk: list[Record] = []
    size = 0
    for batch in batches:
        chunk += batch
        size += sum(len(record.value or b"") for record in batch)
        if len(chunk) >= MOST_RECORDS or size >= MOST_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def files(into: Path, topic: str, partition: int, chunk: Sequence[Record]) -> Iterator[File]:
    """Write records of a partition, in order, a file for each of their days."""
    columns: dict[str, list[Any]] = {
        "partition": [partition] * len(chunk),
        "offset": [record.offset for record in chunk],
        "timestamp": [round(record.timestamp * 1000) for record in chunk],
        "key": [record.key for record in chunk],
        "value": [record.value for record in chunk],
    }
    if any(record.headers for record in chunk):
        columns["headers"] = [
            [{"name": name, "value": value} for name, value in record.headers] for record in chunk
        ]
    frame = pl.DataFrame(columns, schema={name: SCHEMA[name] for name in columns})
    for (day,), of_day in frame.group_by(pl.col("timestamp").dt.date(), maintain_order=True):
        first, last = of_day["offset"][0], of_day["offset"][-1]
        path = Path(f"topic={topic}/day={day}/{partition}-{first}.parquet")
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        with (into / path).open("wb") as file:
            of_day.write_parquet(file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        yield File(
            path=str(path),
            topic=topic,
            partition=partition,
            first=first,
            last=last,
            records=len(of_day),
            sha256=manifests.digest(into / path),
        )
