"""What must hold of a history: everywhere the same rows, namely the fold of the log, and every event accounted for."""

import contextlib
from collections.abc import Mapping
from typing import Any

import agents.table
from agents.fake import Rows
from agents.users import UserAgent
from models.actions import DEFAULTS
from models.items import ItemRow
from models.users import DUPLICATES, FOLDED, User
from ops.prove.histories import CHANGELOGS, POISON, History
from ops.prove.stage import Broken
from ops.state import fold
from streams import changelog, dead_letters, touches
from streams.changelog import NOTE, Reading
from streams.errors import Refused, StateError
from streams.topology import STAGES, Stage
from streams.touches import Touch

LOOK = 53  # steps between two looks at a changelog
TOUCH = 4  # parts of what names a touch; a link has one more

Table = Mapping[bytes, bytes]
Positions = Mapping[str, int]


def from_changelog(history: History, table: str, partition: int) -> tuple[Table, Positions]:
    """Return the rows of a changelog, read from its beginning, and the offsets they are said to be the fold of."""
    reading = Reading()
    changes = reading.read(history.broker.records((history.settings.changelog(table), partition)))
    return {key: row for key, row in changes.items() if row is not None}, reading.note.positions


def from_disk(rows: Rows, partition: int) -> tuple[Table, Positions]:
    """Return the rows on a worker's disk, and the offsets they are said to be the fold of."""
    note = changelog.decode(rows.get_row(partition, NOTE))
    held = rows.rows.get(partition, {})
    return {key: row for key, row in held.items() if key != NOTE}, note.positions


class Reference:
    """The single-threaded fold of a stage's partition, taken as far as one asks."""

    def __init__(self, history: History, stage: Stage, partition: int) -> None:
        self._history, self._stage, self._partition = history, stage, partition
        self._rows = {table: Rows() for table in STAGES[stage]}
        self.events = 0

    def at(self, table: str, positions: Positions) -> Table:
        """Return the rows of a table at positions no earlier than asked for before."""
        until = {source: positions.get(source, 0) for source in fold.sources(self._stage)}
        history = self._history
        folded = fold.fold(
            history.broker, history.settings, self._stage, self._partition, self._rows, until, DEFAULTS
        )
        self.events += folded.events
        return from_disk(self._rows[table], self._partition)[0]


def run(history: History) -> list[str]:
    """Let a history happen and return what is wrong with it, the first of it that is seen."""
    try:
        for step, _ in enumerate(history.run()):
            if history.whole and step % LOOK == 0 and (wrong := _while_it_runs(history, step // LOOK)):
                return wrong
        return _at_rest(history)
    except (Broken, StateError) as broken:
        return [str(broken)]


def _at_rest(history: History) -> list[str]:
    """Return what is wrong when all is folded and flushed."""
    found: list[str] = []
    events, touched, counts = 0, 0, history.counts
    for stage in STAGES:
        for partition in range(history.settings.partitions):
            ends = fold.ends(history.broker, stage, partition)
            owner = next(
                worker
                for worker in history.workers
                if worker.stage == stage and partition in history.groups[stage].members[worker.name]
            )
            for table in STAGES[stage]:
                where = f"{table}[{partition}]"
                rows, positions = from_changelog(history, table, partition)
                live, noted = from_disk(owner.disk[table], partition)
                if live != rows:
                    found.append(f"{where}: the disk is not the changelog")
                if noted != positions:
                    found.append(f"{where}: the disk says {noted}, the changelog {positions}")
                reference = Reference(history, stage, partition)
                if rows != reference.at(table, positions):
                    found.append(f"{where}: the changelog is not the fold of the log up to {positions}")
                if rows != reference.at(table, ends):
                    found.append(f"{where}: the changelog is not the fold of the log up to its end {ends}")
                if table == "users":
                    for row in rows.values():
                        tally = User.from_row(row).tally
                        counts.folded += tally[FOLDED]
                        counts.duplicates += tally[DUPLICATES]
                    events += reference.events
                elif table == "items":
                    touched += sum(sum(ItemRow.from_row(row).totals.values()) for row in rows.values())
    if events != counts.folded + counts.duplicates:
        found.append(f"{events} events: {counts.folded} folded and {counts.duplicates} known as duplicates")
    return found + _buried(history) + _told(history, touched)


def _while_it_runs(history: History, turn: int) -> list[str]:
    """Return what is wrong with a changelog in the middle: its note must say what its rows are the fold of."""
    table, partition = CHANGELOGS[turn % len(CHANGELOGS)], turn % history.settings.partitions
    end = history.broker.end((history.settings.changelog(table), partition))
    rows, positions = from_changelog(history, table, partition)
    if rows == Reference(history, fold.stage_of(table), partition).at(table, positions):
        return []
    return [
        f"{table}[{partition}] before offset {end}: the changelog is not the fold up to its note {positions}"
    ]


def _buried(history: History) -> list[str]:
    broker, numbers = history.broker, range(history.settings.partitions)
    refused = {
        (topic, number, record.offset)
        for topic in ("events", "profiles", "items")
        for number in numbers
        for record in broker.records((topic, number))
        if record.value in (POISON if topic == "events" else (b"poison",))
    }
    letters = {
        (letter.topic, letter.partition, letter.offset)
        for number in numbers
        for record in broker.records(("dead-letters", number))
        if (letter := dead_letters.decode(record.value or b""))
    }
    history.counts.dead_letters = len(letters)
    return [] if letters == refused else [f"refused {sorted(refused)}, buried {sorted(letters)}"]


def _told(history: History, touched: int) -> list[str]:
    """Compare what was said to items with what a calm worker says: all of it, once or more, and nothing else.

    `touched` events were folded into items: each of those said, once.
    """
    settings = history.settings
    found: dict[Any, Any] = {}
    expected: dict[Any, Any] = {}
    for number in range(settings.partitions):
        for record in history.broker.records(("touches", number)):
            wrong = _hear(found, number, record.value or b"", settings.dimensions)
            if wrong:
                return [wrong]
        calm = UserAgent(settings, agents.table.Table("users", Rows(), User, User.from_row), DEFAULTS)
        for record in history.broker.records(("events", number)):
            with contextlib.suppress(Refused):
                calm.fold_events(record)
        for _, target, records in calm.take():
            for _, value in records:
                _hear(expected, target, value or b"", settings.dimensions)
    if found != expected:
        missing, invented = expected.keys() - found.keys(), found.keys() - expected.keys()
        return [f"{len(missing)} touches were never said, {len(invented)} wrongly"]
    told = sum(len(key) == TOUCH for key in expected)
    return [] if touched == told else [f"{told} events touch items, {touched} are folded there"]


def _hear(heard: dict[Any, Any], target: int, value: bytes, dimensions: int) -> str:
    record = touches.decode(value)
    width = dimensions * 2  # bytes of a vector of half floats
    for said in record.said:
        key: tuple[Any, ...]
        if isinstance(said, Touch):
            key = (target, record.partition, said.origin, said.item)
            vector = (
                record.vectors[said.arrived * width : (said.arrived + 1) * width]
                if said.arrived >= 0
                else b""
            )
            what: tuple[Any, ...] = (said.type, said.at, said.weight, said.mass, said.contexts, vector)
        else:
            key = (target, record.partition, said.origin, said.item, said.to)
            what = (said.weight,)
        if heard.setdefault(key, what) != what:
            return f"said of {key} both {heard[key]} and {what}"
    return ""
