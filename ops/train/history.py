"""History: what was said, in the order in which it became known, from the log, an export of it, or a file of events."""

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from models.actions import weight_of
from ops.evaluate.source import Row, Source
from ops.log import manifest as manifests
from ops.log.imports import records as exported
from ops.log.manifest import Spans
from ops.progress import Advance
from ops.train.moments import Moment, Part, met
from ops.train.scene import Scene
from streams import events, items
from streams.errors import Refused
from streams.events import Event
from streams.items import Item
from streams.log import Log, Record
from streams.settings import Settings

TOPICS = ("items", "events")  # at the same moment the catalogue is heard first


class Said(NamedTuple):
    """An event or a record of the catalogue, known since `at` (ms); `wanted` marks a choice worth learning from."""

    at: int
    event: Event | None = None
    wanted: bool = False
    item: str = ""
    catalogue: Item | None = None


@dataclass(frozen=True)
class History:
    """Everything said, folded by one process record by record: `ops.train.moments.Past`.

    `read` begins anew with every call. `span` are the offsets of the log, `data` a file's name.
    """

    read: Callable[[], Iterator[Said]]
    span: Spans
    data: str = ""

    def count(self) -> int:
        """Return how many records were said."""
        return sum(1 for _ in self.read())

    def time(self, number: int) -> int:
        """Return when a record became known, in ms."""
        return next(islice(self.read(), number, None)).at

    def moments(self, scene: Scene, part: Part, advance: Advance) -> Iterator[Moment]:
        """Fold everything into a scene; yield each moment of a part while the scene stands just before it."""
        own: dict[str, set[str]] = {}
        for number, said in enumerate(self.read()):
            event = said.event
            if event is None:
                scene.put(said.item, said.catalogue)
            else:
                moment = None
                if said.wanted:
                    moment = met(event, said.at, number, own.setdefault(event.user, set()), part)
                if moment is not None:
                    yield moment
                scene.fold(event)
            advance(1)


def of_file(source: Source, name: str, weights: Mapping[str, float]) -> History:
    """Return the history of a file; an item enters the catalogue when it was first chosen."""

    def read() -> Iterator[Said]:
        known = set()
        for row in source:
            item = row.event.item_id or ""
            yield from said_by_row(row, weights, new=item not in known)
            known.add(item)

    return History(read, {}, name)


def of_log(settings: Settings, weights: Mapping[str, float], until: int | None = None) -> History:
    """Return the history of the log up to a time (ms), by default to its end; raises as `streams.log.Log` does."""
    with Log(settings) as log:
        span = {topic: log.spans(topic) for topic in TOPICS}
        if until is not None:
            ends = {topic: log.positions_at(topic, until) for topic in TOPICS}
            span = {
                topic: {n: (first, ends[topic][n]) for n, (first, _) in parts.items()}
                for topic, parts in span.items()
            }

    def read() -> Iterator[Said]:
        with contextlib.ExitStack() as stack:
            yield from _merged(
                [
                    (rank, _flat(stack.enter_context(Log(settings)).read(topic, n, first, end)))
                    for rank, topic in enumerate(TOPICS)
                    for n, (first, end) in span[topic].items()
                    if end > first
                ],
                weights,
            )

    return History(read, span)


def of_export(folder: Path, weights: Mapping[str, float], until: int | None = None) -> History:
    """Return the history of an export up to a time (ms), every file verified first; raises StateError."""
    manifest = manifests.read(folder)
    files = [file for file in manifest.files if file.topic in TOPICS]
    for file in files:
        manifests.verify(folder, file)

    def read() -> Iterator[Said]:
        parts = [
            (rank, exported(folder, topic, [f for f in files if (f.topic, f.partition) == (topic, n)]))
            for rank, topic in enumerate(TOPICS)
            for n in manifest.spans[topic]
        ]
        for said in _merged(parts, weights):
            if until is not None and said.at > until:
                return
            yield said

    return History(read, {topic: manifest.spans[topic] for topic in TOPICS}, folder.name)


def _merged(parts: Sequence[tuple[int, Iterable[Record]]], weights: Mapping[str, float]) -> Iterator[Said]:
    """Yield what records say in the order of their times; of equal ones catalogue first, then by partition."""
    ordered = (_placed(rank, records) for rank, records in parts)
    for *_, record in heapq.merge(*ordered, key=lambda placed: placed[:4]):
        yield from said_by_record(record, weights)


def _placed(rank: int, records: Iterable[Record]) -> Iterator[tuple[float, int, int, int, Record]]:
    reached = 0.0  # a clock set back must not part a partition's order
    for record in records:
        reached = max(reached, record.timestamp)
        yield reached, rank, record.partition, record.offset, record


def said_by_row(row: Row, weights: Mapping[str, float], *, new: bool) -> Iterator[Said]:
    """Yield what a row of a file says; a `new` item enters the catalogue behind it."""
    event = row.event
    yield Said(event.at, event, row.wanted and weight_of(weights, event.type, event.value) > 0)
    if new:
        yield Said(event.at, item=event.item_id or "", catalogue=Item(categories=event.categories))


def said_by_record(record: Record, weights: Mapping[str, float]) -> Iterator[Said]:
    """Yield what a record of the catalogue or of the events says; nothing of a dead letter."""
    at = round(record.timestamp * 1000)
    if record.topic.endswith("items"):
        yield from _listed(record, at)
    else:
        yield from _happened(record, at, weights)


def _listed(record: Record, at: int) -> Iterator[Said]:
    with contextlib.suppress(Refused, UnicodeDecodeError):  # a dead letter already
        catalogue = None if record.value is None else items.decode(record.value)
        yield Said(at, item=(record.key or b"").decode(), catalogue=catalogue)


def _happened(record: Record, at: int, weights: Mapping[str, float]) -> Iterator[Said]:
    try:
        said = events.decode(record.value, at)
    except Refused:
        if not record.headers:
            return  # a dead letter already
        said = [event for _, event in events.decode_left(record.value, at)]  # someone was erased from it
    for event in said:
        yield Said(at, event, weight_of(weights, event.type, event.value) > 0)


def _flat(batches: Iterable[list[Record]]) -> Iterator[Record]:
    for batch in batches:
        yield from batch
