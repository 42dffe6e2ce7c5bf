"""The fold of the log without Faust: the same agents over batches of records, rows written seldom and in bulk.

Within a partition the sources are folded one after the other: the halves of a row that they feed do not meet
(ADR 0002), so any order gives the same bytes.
"""

import contextlib
import gc
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.items import ItemAgent
from agents.table import Kept, Rows, Table
from agents.users import Told, UserAgent
from models.items import ItemRow
from models.popular import Popular
from models.users import User
from ops.state.scratch import Scratch
from streams import archives, changelog, events
from streams.changelog import NOTE
from streams.errors import Refused, StateError
from streams.log import Record
from streams.settings import Settings
from streams.topology import STAGES, TABLES, Stage

SOURCES: Mapping[str, tuple[str, ...]] = {table.name: table.sources for table in TABLES}
VERSIONS: Mapping[str, int] = {table.name: table.version for table in TABLES}
# changed states of a table kept in memory, with as many unchanged ones; users and items take about 8 KiB each
MOST_DIRTY = {"users": 10_000, "items": 10_000, "popular": 2_000, "learned": 20_000}

Fold = Callable[[Any], None]
Hear = Callable[[Told], None]  # takes what a partition of users told items and the learner
Advance = Callable[[int], None]


class Source(Protocol):
    """What is folded: the log (streams/log.py), or lists in memory (ops/log/fake.py)."""

    def read(
        self, topic: str, partition: int, start: int = 0, end: int | None = None
    ) -> Iterable[list[Record]]:
        """Yield the records `start` to `end` in batches."""
        ...

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition."""
        ...


@dataclass
class Folded:
    """What a fold read: records, the events in good ones, and the records it refused as a worker would."""

    records: int = 0
    events: int = 0
    refused: int = 0


def fingerprints(settings: Settings, weights: Mapping[str, float]) -> dict[str, str]:
    """Return, by stage, what the bytes of its rows depend on beside the log: row versions, weights, dimensions."""
    meant = hashlib.sha256(json.dumps(sorted(weights.items())).encode()).hexdigest()[:16]
    beside = {"users": f"weights={meant}", "learner": f"dimensions={settings.dimensions}"}
    return {
        stage: " ".join(
            [*(f"{table}={VERSIONS[table]}" for table in tables), *filter(None, [beside.get(stage)])]
        )
        for stage, tables in STAGES.items()
    }


def identity(settings: Settings, weights: Mapping[str, float]) -> dict[str, str]:
    """Return what a scratch folder's rows mean: the log they are the fold of, and how it is folded."""
    return {
        "namespace": settings.namespace,
        "epoch": str(settings.epoch),
        "partitions": str(settings.partitions),
        "shards": str(settings.shards),
        "touches": str(settings.touches),
        **fingerprints(settings, weights),
    }


def stage_of(table: str) -> Stage:
    """Return the stage that keeps a table."""
    return next(stage for stage, tables in STAGES.items() if table in tables)


def sources(stage: Stage) -> tuple[str, ...]:
    """Return the topics a stage folds.

    >>> sources("items")
    ('items', 'touches')
    """
    return tuple(dict.fromkeys(source for table in STAGES[stage] for source in SOURCES[table]))


def ends(log: Source, stage: Stage, partition: int) -> dict[str, int]:
    """Return the end that each source of a stage has now."""
    return {source: log.spans(source)[partition][1] for source in sources(stage)}


def positions(rows: Mapping[str, Rows], stage: Stage, partition: int) -> dict[str, int]:
    """Return the position of every source of a stage from which a fold into rows must go on."""
    notes = {table: changelog.decode(rows[table].get_row(partition, NOTE)) for table in STAGES[stage]}
    return {
        source: min(
            note.positions.get(source, 0) for table, note in notes.items() if source in SOURCES[table]
        )
        for source in sources(stage)
    }


def fold(
    log: Source,
    settings: Settings,
    stage: Stage,
    partition: int,
    rows: Mapping[str, Rows] | Scratch,
    until: Mapping[str, int],
    weights: Mapping[str, float],
    progress: Advance = lambda _: None,
    hear: Hear | None = None,
) -> Folded:
    """Fold a partition's sources from where the rows' notes stand up to the positions `until`; return counts.

    `progress` takes how many offsets were passed, `hear` what users tell. Raises StateError when the rows are
    further already, and as the log does; an error of a fold propagates, for no state behind it can be trusted.
    """
    at_rest = {name: rows.rows(name) for name in STAGES[stage]} if isinstance(rows, Scratch) else rows
    shell = Shell(settings, stage, partition, at_rest, weights, speaks=hear is not None)
    reached = positions(at_rest, stage, partition)
    folded = Folded()
    with _calm():
        for source, take in shell.folds.items():
            start, end = reached[source], until.get(source, 0)
            if start > end:
                raise StateError(
                    f"the rows of {stage}[{partition}] are the fold of {source} up to {start}, not {end}: "
                    "fold into an empty folder"
                )
            counts = source == "events"
            for batch in log.read(source, partition, start, end):
                _take(take, batch, folded, counts=counts)
                position = batch[-1].offset + 1
                progress(position - reached[source])
                reached[source] = position
                shell.write(reached, MOST_DIRTY)
                if hear is not None and counts:
                    hear(shell.users.tell().get(partition) or Told())
            progress(end - reached[source])
            reached[source] = end
        shell.write(reached)
    return folded


def table(name: str, rows: Rows, cached: int) -> Table[Any]:
    """Return a table of the topology over rows at rest."""
    kinds: dict[str, tuple[Callable[[], Any], Callable[[bytes], Any]]] = {
        "users": (User, User.from_row),
        "items": (ItemRow, ItemRow.from_row),
        "popular": (Popular, Popular.from_row),
        "learned": (Kept, Kept),
    }
    return Table(name, rows, *kinds[name], cached)


class Shell:
    """A stage's agent over rows at rest, without Faust; one that `speaks` leaves what it says in `users.take`.

    `folds` gives by source the function that folds a record.
    """

    def __init__(
        self,
        settings: Settings,
        stage: Stage,
        partition: int,
        rows: Mapping[str, Rows],
        weights: Mapping[str, float],
        *,
        speaks: bool = False,
    ) -> None:
        self._partition = partition
        self._tables = [table(name, rows[name], cached=0) for name in STAGES[stage]]
        self.folds: dict[str, Fold]
        if stage == "users":
            self.users = UserAgent(settings, self._tables[0], weights, speaks=speaks)
            self.folds = {"events": self.users.fold_events, "profiles": self.users.fold_profiles}
        elif stage == "items":
            items = ItemAgent(settings, *self._tables)
            self.folds = {"items": items.fold_catalogue, "touches": items.fold_touches}
        else:
            from agents.learner import LearnerAgent  # noqa: PLC0415 - its compiler takes a second to import

            self.folds = {"examples": LearnerAgent(settings, *self._tables).fold_examples}

    def write(self, reached: Mapping[str, int], most: Mapping[str, int] | None = None) -> None:
        """Write the tables whose changed states are more than `most`, all without it, with the positions reached."""
        for table in self._tables:
            partition = table.partition(self._partition)
            if most is None or len(partition.dirty) > most[table.name]:
                partition.freeze({source: reached[source] for source in SOURCES[table.name]})
                partition.store(partition.end)


def _take(take: Fold, batch: list[Record], folded: Folded, *, counts: bool) -> None:
    folded.records += len(batch)
    for record in batch:
        try:
            take(record)
        except Refused:
            folded.refused += 1
        else:
            if counts:
                folded.events += events_in(record)


def events_in(record: Record) -> int:
    """Return how many events a good record holds, from the head of its MessagePack array if it is whole."""
    value = record.value or b""
    if record.headers and archives.erased(record):
        return len(events.decode_left(value, int(record.timestamp * 1000)))
    head = value[0]
    return head & 0x0F if head < 0xA0 else int.from_bytes(value[1 : 3 if head == 0xDC else 5])


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Collect garbage seldom: states live long, and looking through them all the time finds nothing."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
