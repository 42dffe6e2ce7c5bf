"""Replay: the log folded up to a moment of the past, into tables of its own.

The moment is told by the times of the log's records, so the tables are what the system knew then: everything that
stood in the log, and nothing that arrived later, whenever it is said to have happened.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from agents.table import Rows
from ops.past import snapshots
from ops.past.snapshots import Manifest, Positions
from ops.progress import Begin, silent
from ops.state.fold import SOURCES, Folded, Source, fold, identity, positions, sources
from ops.state.scratch import Scratch, ScratchRows
from streams import archives, changelog, generations
from streams.changelog import NOTE, Note
from streams.errors import Refused, StateError
from streams.log import Log
from streams.partition import partition_of
from streams.settings import Settings
from streams.times import written
from streams.topology import STAGES, Stage, partitions_of

PURGED = 1_000  # rows deleted at once
Place = tuple[Stage, int]  # and a partition


class Dated(Source, Protocol):
    """A log that knows when its records were written."""

    def positions_at(self, topic: str, at: int) -> dict[int, int]:
        """Return, by partition, the offset of the first record written after `at` (ms)."""
        ...


@dataclass(frozen=True)
class Ground:
    """What every replay of one installation starts from: its log, how it is folded, where snapshots lie.

    `archived` says by topic which archive stands for its beginning, `touched_from` (ms) since when touches and examples
    are written at the time of their events: a rebuild says all of them at once.
    """

    log: Dated
    settings: Settings
    weights: Mapping[str, float]
    snapshots: Path
    archived: Mapping[str, str] = field(default_factory=dict)
    touched_from: int = 0

    @property
    def identity(self) -> dict[str, str]:
        """What the rows of a replay mean."""
        return identity(self.settings, self.weights)


@dataclass(frozen=True)
class Replayed:
    """What a replay did: what its tables are, the snapshot it went on from (ms, 0 for none), what it folded."""

    manifest: Manifest
    base: int
    counts: Folded
    seconds: float


@contextmanager
def ground(settings: Settings, weights: Mapping[str, float]) -> Iterator[Ground]:
    """Yield the ground of the live generation's tables, connected; raises as `Log` does."""
    settings = generations.of_live(settings)
    archived = {topic: archive.topic for topic, archive in archives.load(settings).items()}
    known = generations.load(settings).all
    said = max(
        (one.made_at for one in known if settings.touches and one.touches == settings.touches), default=0
    )
    with Log(settings) as log:
        yield Ground(log, settings, weights, settings.data / "snapshots", archived, said)


def replay(
    on: Ground,
    until: int,
    into: Path,
    *,
    begin: int = 0,
    users: Sequence[str] = (),
    progress: Begin = silent,
) -> Replayed:
    """Fold what was written to the log up to `until` (ms) into a new folder.

    With `begin` the fold starts there from nothing, else at the newest snapshot or the log's beginning. `users` keeps
    only their rows, and the other tables empty. Raises Refused when the span is none or the folder holds something,
    StateError where the log cannot be folded from there.
    """
    if begin > until:
        raise Refused(f"the span ends at {written(until)}, before it begins at {written(begin)}")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Refused(f"{into} is not an empty folder: name another one")
    if not users:
        _check_touches(on, until)
    started = time.monotonic()
    into.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    try:
        work = made / "tables"
        base = None if begin else snapshots.base(on.snapshots, until, on.identity, on.archived, work)
        with Scratch(work, on.identity) as scratch:
            if begin:
                _seed(on, scratch, begin)
            counts = advance(on, tables(scratch), until, progress, places(on.settings, users))
            _purge(scratch, places(on.settings, users), users)
            reached = positions_of(scratch, places(on.settings, users))
        if users:
            _drop(work, places(on.settings, users))
        manifest = Manifest(
            at=until,
            begin=begin,
            users=tuple(users),
            identity=on.identity,
            log=dict(on.archived),
            positions=reached,
        )
        manifest = snapshots.seal(work, manifest)
        snapshots.publish(work, into)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Replayed(manifest, base.at if base else 0, counts, time.monotonic() - started)


def advance(
    on: Ground, rows: Mapping[str, Rows], until: int, progress: Begin = silent, only: Sequence[Place] = ()
) -> Folded:
    """Fold on, into tables that were folded before, what was written up to `until` (ms); return counts."""
    todo = only or places(on.settings)
    ends = {
        source: on.log.positions_at(source, until)
        for stage in {stage for stage, _ in todo}
        for source in sources(stage)
    }
    spans = []
    for stage, number in todo:
        spans.append(
            ({source: ends[source][number] for source in sources(stage)}, positions(rows, stage, number))
        )
    step = progress(sum(end[source] - start[source] for end, start in spans for source in end))
    total = Folded()
    for (stage, number), (end, _) in zip(todo, spans, strict=True):
        folded = fold(on.log, on.settings, stage, number, rows, end, on.weights, step)
        total.records += folded.records
        total.events += folded.events
        total.refused += folded.refused
    return total


def tables(scratch: Scratch) -> Mapping[str, ScratchRows]:
    """Return the rows of every table."""
    return {table: scratch.rows(table) for table in SOURCES}


def places(settings: Settings, users: Sequence[str] = ()) -> list[Place]:
    """Return the stages and partitions to fold: all, or those that hold the users' rows."""
    if users:
        numbers = {partition_of(user, settings.partitions) for user in users}
        return [("users", number) for number in sorted(numbers)]
    return [(stage, number) for stage in STAGES for number in range(partitions_of(settings, stage))]


def positions_of(scratch: Scratch, among: Sequence[Place]) -> Positions:
    """Return the next offset of every source and partition that tables are the fold of."""
    found: Positions = {}
    for stage, number in among:
        for source, position in positions(tables(scratch), stage, number).items():
            found.setdefault(source, {})[number] = position
    return found


def _seed(on: Ground, scratch: Scratch, begin: int) -> None:
    """Let empty tables claim to be the fold of everything up to `begin`."""
    starts = {source: on.log.positions_at(source, begin) for stage in STAGES for source in sources(stage)}
    for table in SOURCES:
        for number in range(partitions_of(on.settings, table)):
            note = Note(positions={source: starts[source][number] for source in SOURCES[table]})
            scratch.rows(table).put_rows(number, {NOTE: changelog.encode(note)}, -1)


def _purge(scratch: Scratch, among: Sequence[Place], users: Sequence[str]) -> None:
    """Delete everybody else's rows, if users are named."""
    kept = {user.encode() for user in users}
    for rows in map(scratch.rows, STAGES["users"]):
        for _, number in among if kept else ():
            others = (key for key, _ in rows.scan(number) if key not in kept)
            while gone := dict.fromkeys(islice(others, PURGED)):
                rows.put_rows(number, gone, rows.offset(number))


def _drop(folder: Path, among: Sequence[Place]) -> None:
    """Remove the tables of other stages and partitions, which a snapshot may have brought along."""
    kept = {f"{table}-{number}.db" for stage, number in among for table in STAGES[stage]}
    for path in folder.glob("*.db"):
        if path.name not in kept:
            shutil.rmtree(path)


def _check_touches(on: Ground, until: int) -> None:
    """Refuse a moment at which the touches and examples that are folded then were not written yet."""
    if on.touched_from > until:
        raise StateError(
            f"the touches and examples of generation {on.settings.touches} were said anew by a rebuild at "
            f"{written(on.touched_from)}: what items were at {written(until)} cannot be told from them; "
            "restrict the replay to users, or to a moment since"
        )


def snapshot(on: Ground, now: int, keep: int, days: int, progress: Begin = silent) -> Replayed:
    """Fold on from the newest snapshot to `now` (ms) and keep that one too.

    Of all, the newest `keep` are kept and the last of each of the last `days` days. Raises as `replay` does.
    """
    with snapshots.lock(on.snapshots):
        snapshots.forget(on.snapshots, on.archived)
        done = replay(on, now, on.snapshots / str(now), progress=progress)
        snapshots.prune(on.snapshots, now, keep, days)
    return done


def summary(done: Replayed, into: Path) -> dict[str, Any]:
    """Return what a replay did, for a program or a person to read."""
    counts, seconds = done.counts, max(done.seconds, 1e-3)
    return {
        "into": str(into),
        "from": written(done.manifest.begin) if done.manifest.begin else "",
        "until": written(done.manifest.at),
        "snapshot": written(done.base) if done.base else "",
        "users": len(done.manifest.users),
        "records": counts.records,
        "events": counts.events,
        "refused": counts.refused,
        "seconds": round(seconds, 1),
        "events_per_s": round(counts.events / seconds),
    }
