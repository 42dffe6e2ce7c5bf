"""One process of a rebuild: folds tasks, each a partition of a stage, until none is left.

`python -m ops.state.rebuilder FOLDER NUMBER TOUCHES STAGE...`, with the settings of the new generation in the
environment, and number and touches of the live one. Whoever makes a task's claim file has it. What a task came to is a
line of JSON on standard output, and so is how far it is.
"""

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec

from agents.flush import Headers, Outgoing, Record
from agents.publisher import Publisher
from agents.users import Told, records_of
from models.surfaces import load
from ops.broker.lag import committed
from ops.broker.topics import admin
from ops.state import spool
from ops.state.dump import Standing, in_changelog
from ops.state.fold import SOURCES, Folded, ends, fold, identity, sources
from ops.state.scratch import Scratch
from streams import changelog
from streams.changelog import NOBODY, NOTE, Note
from streams.errors import RefoldError, StateError
from streams.log import Log
from streams.settings import Settings
from streams.topology import STAGES, Stage, partitions_of

CHUNK = 4 << 20  # bytes of rows that wait for their acknowledgement together
TELL_SECONDS = 0.2
NAMED = 10  # differing keys
TOLD = {"touches", "examples"}  # what users said, which a generation may have of its own


class Compared(msgspec.Struct):
    """How many rows of a table's partition are the live one's, how many are not, and the first keys of those."""

    equal: int = 0
    different: int = 0
    keys: list[str] = []


class Done(msgspec.Struct, tag=True):
    """What a task came to: counts of the fold, the positions its rows are the fold of, comparisons by table.

    `seconds` went by in each of its parts, `busy` is what all took of processors.
    """

    stage: Stage
    partition: int
    records: int
    events: int
    refused: int
    positions: dict[str, int]
    compared: dict[str, Compared]
    seconds: dict[str, float]
    busy: float
    rss_mb: float


class Passed(msgspec.Struct, tag=True):
    """Offsets passed since the last word."""

    passed: int


class Rebuilder:
    """Does tasks over two logs, that of the new generation and that of the live one; a context manager."""

    def __init__(self, settings: Settings, live: Settings, folder: Path) -> None:
        self._settings, self._live, self._folder = settings, live, folder
        self._shares_told = settings.touches == live.touches
        self._weights = load(settings.config).actions
        self._stack = contextlib.ExitStack()
        self._publisher = Publisher(settings)
        self._passed, self._told = 0, 0.0

    def __enter__(self) -> Self:
        with self._stack as stack:
            self._live_log = self._log = stack.enter_context(Log(self._live))
            if not self._shares_told:
                self._log = stack.enter_context(Log(self._settings))
            self._admin = stack.enter_context(admin(self._live))
            self._runner = stack.enter_context(asyncio.Runner())
            self._runner.run(self._publisher.start())
            stack.callback(lambda: self._runner.run(self._publisher.stop()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tasks(self, stages: Iterable[Stage]) -> Iterator[tuple[Stage, int]]:
        """Yield the tasks that nobody else has taken."""
        for stage in stages:
            for partition in range(partitions_of(self._settings, stage)):
                with contextlib.suppress(FileExistsError):
                    (self._folder / f"{stage}-{partition}.claim").touch(exist_ok=False)
                    yield stage, partition

    def do(self, stage: Stage, partition: int) -> Done:
        """Fold a partition to where the live generation stands, compare, and write it to the new changelogs."""
        began, busy = time.perf_counter(), time.process_time()
        with contextlib.ExitStack() as stack:
            if stage == "learner" and not self._shares_told:
                self._say_examples(partition)
            scratch = stack.enter_context(
                Scratch(self._folder / f"{stage}-{partition}", identity(self._settings, self._weights))
            )
            live = {
                table: stack.enter_context(in_changelog(self._live_log, self._live, table, partition))
                for table in STAGES[stage]
            }
            read = time.perf_counter()
            positions = self._positions(stage, partition, live)
            folded, compared = self._fold(stage, partition, scratch, live, positions)
            done = time.perf_counter()
            for table in STAGES[stage]:
                self._publish(scratch, table, partition)
        published = time.perf_counter()
        return Done(
            stage=stage,
            partition=partition,
            records=folded.records,
            events=folded.events,
            refused=folded.refused,
            positions=positions,
            compared=compared,
            seconds={"read": read - began, "fold": done - read, "publish": published - done},
            busy=time.process_time() - busy,
            rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )

    def _positions(self, stage: Stage, partition: int, live: Mapping[str, Standing]) -> dict[str, int]:
        """Return where the fold ends: where the live one stands, for what it has said up to there is said.

        Touches and examples of one's own are folded to their end.
        """
        found = {}
        for source in sources(stage):
            place = self._live.topic(source)
            found[source] = max(
                committed(self._admin, self._live.group(stage), place).get(partition, 0),
                *(standing.note.positions.get(source, 0) for standing in live.values()),
            )
        if not self._shares_told:
            own = ends(self._log, stage, partition)
            found |= {source: own[source] for source in found.keys() & TOLD}
        return found

    def _fold(
        self,
        stage: Stage,
        partition: int,
        scratch: Scratch,
        live: Mapping[str, Standing],
        positions: Mapping[str, int],
    ) -> tuple[Folded, dict[str, Compared]]:
        total, compared = Folded(), {}
        # two tables of a stage may stand apart a little: the one behind is met first
        tables = sorted(live, key=lambda table: _furthest_last(live[table]))
        for met, table in enumerate(tables):
            there = dict(positions)
            if self._shares_told:
                for other in reversed(tables[met:]):  # none that is still to be met is passed
                    at = live[other].note.positions
                    there |= {source: at.get(source, 0) for source in SOURCES[other]}
            self._add(total, self._go(stage, partition, scratch, there))
            rows = scratch.rows(table)
            compared[table] = compare(rows.scan(partition), live[table].scan())
        self._add(total, self._go(stage, partition, scratch, positions))
        return total, compared

    def _go(self, stage: Stage, partition: int, scratch: Scratch, until: Mapping[str, int]) -> Folded:
        hear = partial(self._say, partition) if stage == "users" and not self._shares_told else None
        return fold(
            self._log, self._settings, stage, partition, scratch, until, self._weights, self._advance, hear
        )

    def _say(self, origin: int, told: Told) -> None:
        """Say touches; examples wait until those of all partitions are there."""
        examples = self._settings.topic("examples")
        waiting: list[bytes] = []
        outgoing: dict[tuple[str, int], list[Record]] = {}
        for topic, target, record in records_of(self._settings, origin, told):
            if topic == examples:
                waiting.append(record)
            else:
                outgoing.setdefault((topic, target), []).append((None, record))
        spool.write(self._spool(origin), waiting)
        self._runner.run(self._send_all([(*place, records) for place, records in outgoing.items()]))

    def _say_examples(self, shard: int) -> None:
        """Say what all partitions of users told a shard of the learner."""
        paths = {
            number: path
            for number in range(shard, self._settings.partitions, self._settings.shards)
            if (path := self._spool(number)).exists()
        }
        waiting: list[Record] = []
        size = 0
        for origin, said in spool.together(paths):
            for topic, target, record in records_of(self._settings, origin, Told(examples=said)):
                waiting.append((None, record))
                size += len(record)
                if size >= CHUNK:
                    self._send(topic, target, waiting)
                    waiting, size = [], 0
        if waiting:
            self._send(self._settings.topic("examples"), shard, waiting)

    def _spool(self, origin: int) -> Path:
        return self._folder / f"examples-{origin}"

    def _publish(self, scratch: Scratch, table: str, partition: int) -> None:
        """Write the rows to the new changelog, as a worker does that takes the partition over and flushes once."""
        rows, topic = scratch.rows(table), self._settings.changelog(table)
        positions = dict(rows.note(partition).positions)
        owner = self._send(topic, partition, [(NOTE, changelog.encode(Note(NOBODY, positions)))])
        said, size, end = changelog.headers(owner), 0, owner
        waiting: list[Record] = []

        def send() -> None:
            nonlocal size, end
            end += len(waiting)
            if (last := self._send(topic, partition, waiting, said)) != end:
                raise StateError(f"somebody else writes to {topic}[{partition}]: {last} where {end} was next")
            waiting.clear()
            size = 0

        for key, row in rows.scan(partition):
            waiting.append((key, row))
            size += len(row)
            if size >= CHUNK:
                send()
        waiting.append((NOTE, changelog.encode(Note(owner, positions))))
        send()

    def _send(self, topic: str, partition: int, sent: list[Record], headers: Headers = ()) -> int:
        return self._runner.run(self._publisher.send(topic, partition, sent, headers))

    async def _send_all(self, outgoing: Outgoing) -> None:
        await asyncio.gather(*(self._publisher.send(*each) for each in outgoing))

    def _advance(self, passed: int) -> None:
        self._passed += passed
        if time.monotonic() - self._told > TELL_SECONDS:
            tell(Passed(self._passed))
            self._passed, self._told = 0, time.monotonic()

    @staticmethod
    def _add(total: Folded, more: Folded) -> None:
        total.records += more.records
        total.events += more.events
        total.refused += more.refused


def _furthest_last(standing: Standing) -> int:
    at = standing.note.positions
    return at.get("events", 0) + at.get("touches", 0)


def compare(rows: Iterable[tuple[bytes, bytes]], others: Iterable[tuple[bytes, bytes]]) -> Compared:
    """Return how rows differ, both sides in the order of their keys; a row that one side lacks differs.

    >>> compare([(b"a", b"1"), (b"b", b"2"), (b"d", b"4")], [(b"b", b"2"), (b"c", b"3"), (b"d", b"5")])
    Compared(equal=1, different=3, keys=['a', 'c', 'd'])
    """
    found = Compared()
    ours, theirs = iter(rows), iter(others)
    here, there = next(ours, None), next(theirs, None)
    while here is not None or there is not None:
        if here is not None and there is not None and here[0] == there[0]:
            key, equal = here[0], here[1] == there[1]
            here, there = next(ours, None), next(theirs, None)
        elif there is None or (here is not None and here[0] < there[0]):
            assert here is not None
            key, equal, here = here[0], False, next(ours, None)
        else:
            key, equal, there = there[0], False, next(theirs, None)
        found.equal += equal
        found.different += not equal
        if not equal and len(found.keys) < NAMED:
            found.keys.append(key.decode(errors="replace"))
    return found


def tell(said: Passed | Done) -> None:
    """Say something to the parent."""
    print(msgspec.json.encode(said).decode(), flush=True)


def main(folder: Path, number: int, touches: int, stages: list[Any]) -> int:
    """Do what is left to do and return the exit code; what was refused by name is the last line."""
    settings = Settings.from_env()
    try:
        with Rebuilder(settings, replace(settings, generation=number, touches=touches), folder) as rebuilder:
            for stage, partition in rebuilder.tasks(stages):
                tell(rebuilder.do(stage, partition))
    except RefoldError as error:
        print(f"refold: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
