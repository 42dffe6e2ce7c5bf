"""The fold of the log without Faust: the same agents over batches of records, rows written seldom and in bulk.

Any order of a partition's sources gives the same bytes (ADR 0002, ADR 0016). They are folded one after the other,
but for users who speak: what they say of slates depends on what they heard first, as it did when it was written.
"""

import contextlib
import gc
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.items import ItemAgent
from agents.join import JoinAgent
from agents.table import Kept, Rows, Table
from agents.users import Told, UserAgent
from models.items import ItemRow
from models.join import Shown
from models.learned import Learned
from models.outcomes import Outcomes
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
# changed states of a table kept in memory, with as many unchanged ones; users and items take about 8 KiB each, what
# was shown to a user 20
MOST_DIRTY = {
    "users": 10_000,
    "items": 10_000,
    "popular": 2_000,
    "outcomes": 1_000,
    "shown": 2_000,
    "learned": 20_000,
}

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
    for source in shell.folds:
        if reached[source] > (end := until.get(source, 0)):
            raise StateError(
                f"the rows of {stage}[{partition}] are the fold of {source} up to {reached[source]}, not {end}: "
                "fold into an empty folder"
            )
    with calm():
        batches = {
            source: iter(log.read(source, partition, reached[source], until.get(source, 0)))
            for source in shell.folds
        }
        for source, batch in _in_turn(batches) if hear is None else in_time(batches):
            _take(shell.folds[source], batch, folded, counts=source == "events")
            position = batch[-1].offset + 1
            progress(position - reached[source])
            reached[source] = position
            shell.write(reached, MOST_DIRTY)
            if hear is not None:
                hear(shell.users.tell().get(partition) or Told())
        for source in shell.folds:
            progress(until.get(source, 0) - reached[source])
            reached[source] = until.get(source, 0)
        shell.write(reached)
    return folded


Batches = Mapping[str, Iterator[list[Record]]]


def _in_turn(batches: Batches) -> Iterator[tuple[str, list[Record]]]:
    return ((source, batch) for source, every in batches.items() for batch in every)


def in_time(batches: Batches) -> Iterator[tuple[str, list[Record]]]:
    """Yield the batches of all sources in the order in which their records were written, cut where they interleave."""
    heads = {source: (batch, 0) for source, every in batches.items() if (batch := next(every, None))}
    while heads:
        source = min(heads, key=lambda name: heads[name][0][heads[name][1]].timestamp)
        batch, at = heads.pop(source)
        others = (other[start].timestamp for other, start in heads.values())
        limit = min(others, default=math.inf)
        end = next((n for n in range(at + 1, len(batch)) if batch[n].timestamp > limit), len(batch))
        yield source, batch[at:end]
        if end < len(batch):
            heads[source] = batch, end
        elif following := next(batches[source], None):
            heads[source] = following, 0


def table(name: str, rows: Rows, cached: int) -> Table[Any]:
    """Return a table of the topology over rows at rest."""
    kinds: dict[str, tuple[Callable[[], Any], Callable[[bytes], Any]]] = {
        "users": (User, User.from_row),
        "items": (ItemRow, ItemRow.from_row),
        "popular": (Popular, Popular.from_row),
        "outcomes": (Outcomes, Outcomes.from_row),
        "shown": (Shown, Shown.from_row),
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
        self._learned: Callable[[], Learned] | None = None
        self.folds: dict[str, Fold]
        if stage == "users":
            known, shown = self._tables
            join = JoinAgent(settings, shown, weights)
            self.users = UserAgent(settings, known, weights, join, speaks=speaks)
            self.folds = {
                "events": self.users.fold_events,
                "profiles": self.users.fold_profiles,
                "slates": self.users.fold_slates,
            }
        elif stage == "items":
            items = ItemAgent(settings, *self._tables)
            self.folds = {"items": items.fold_catalogue, "touches": items.fold_touches}
        else:
            from agents.learner import LearnerAgent  # noqa: PLC0415 - its compiler takes a second to import

            learner, (learned,) = LearnerAgent(settings, *self._tables), self._tables
            self.folds = {"examples": learner.fold_examples}
            self._learned = lambda: learner.load(learned.partition(partition)).learned

    def state(self, table: str, key: str) -> Any:
        """Return the state of a key as it is by now, not to be changed; None for a key without a row."""
        (found,) = (one for one in self._tables if one.name == table)
        return found.partition(self._partition).find(key)

    @property
    def learned(self) -> Learned:
        """What a learner knows by now, not to be changed."""
        assert self._learned is not None, "only the learner's stage learns"
        return self._learned()

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
def calm() -> Iterator[None]:
    """Collect garbage seldom: states live long, and looking through them all the time finds nothing."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
