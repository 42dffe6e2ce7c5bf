"""What must hold of a history: everywhere the same rows, namely the fold of the log, and every event accounted for."""

import contextlib
from collections.abc import Mapping

import msgspec

import agents.table
from agents.fake import Rows
from agents.users import Told, UserAgent
from models.actions import DEFAULTS
from models.items import ItemRow
from models.learned import COMMON, Common
from models.users import DUPLICATES, FOLDED, User
from ops.prove.histories import CHANGELOGS, POISON, History
from ops.prove.stage import Broken
from ops.state import fold, told
from streams import changelog, dead_letters
from streams.changelog import NOTE, Reading
from streams.errors import Refused, StateError
from streams.examples import Choice
from streams.topology import STAGES, UNITS, Stage, partitions_of
from streams.touches import Touch

LOOK = 53  # steps between two looks at a changelog

Table = Mapping[bytes, bytes]
Positions = Mapping[str, int]


def from_changelog(history: History, table: str, partition: int) -> tuple[Table, Positions]:
    """Return the rows of a changelog, read from its beginning, and the offsets they are said to be the fold of."""
    reading = Reading(units=table in UNITS)
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
    events, touched, learned, counts = 0, 0, 0, history.counts
    for stage in STAGES:
        for partition in range(partitions_of(history.settings, stage)):
            ends = fold.ends(history.broker, stage, partition)
            owner = next(
                worker
                for worker in history.workers
                if worker.stage == stage and partition in history.groups[stage].members[worker.name]
            )
            reference = Reference(history, stage, partition)
            for table in STAGES[stage]:
                where = f"{table}[{partition}]"
                rows, positions = from_changelog(history, table, partition)
                live, noted = from_disk(owner.disk[table], partition)
                if live != rows:
                    found.append(f"{where}: the disk is not the changelog")
                if noted != positions:
                    found.append(f"{where}: the disk says {noted}, the changelog {positions}")
                if any(positions.get(source, 0) != ends[source] for source in fold.SOURCES[table]) and (
                    rows != Reference(history, stage, partition).at(table, positions)
                ):
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
                elif table == "learned" and rows:
                    learned += Common.from_row(rows[COMMON.encode()]).choices
    if events != counts.folded + counts.duplicates:
        found.append(f"{events} events: {counts.folded} folded and {counts.duplicates} known as duplicates")
    return found + _buried(history) + _told(history, touched, learned)


def _while_it_runs(history: History, turn: int) -> list[str]:
    """Return what is wrong with a changelog in the middle: its note must say what its rows are the fold of."""
    table = CHANGELOGS[turn % len(CHANGELOGS)]
    partition = turn % partitions_of(history.settings, table)
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


def _told(history: History, touched: int, learned: int) -> list[str]:
    """Compare what was said to others with what a calm worker says: all of it, once or more, and nothing else.

    `touched` events were folded into items, `learned` choices by the learner: each of those said, once.
    """
    settings, broker = history.settings, history.broker
    found = {
        ((topic, record.partition, target), msgspec.msgpack.encode(said))
        for topic, decode in told.DECODE.items()
        for target in range(partitions_of(settings, topic))
        for each in broker.records((topic, target))
        for record in [decode(each.value)]
        for said in record.said
        if isinstance(said, told.COMPARED)
    }
    expected: set[tuple[told.Path, bytes]] = set()
    touches, choices = 0, 0
    for number in range(settings.partitions):
        calm = UserAgent(settings, agents.table.Table("users", Rows(), User, User.from_row), DEFAULTS)
        for record in broker.records(("events", number)):
            with contextlib.suppress(Refused):
                calm.fold_events(record)
        said = calm.tell().get(number) or Told()
        touches += sum(isinstance(each, Touch) for every in said.touches.values() for each in every)
        choices += sum(isinstance(each, Choice) and each.weight > 0 for each in said.examples)
        expected.update(told.spoken(settings, number, said))
    if found != expected:
        return [
            f"{len(expected - found)} touches or examples were never said, {len(found - expected)} wrongly"
        ]
    wrong = [] if touched == touches else [f"{touches} events touch items, {touched} are folded there"]
    return wrong if learned == choices else [*wrong, f"{choices} choices were said, {learned} are learned"]
