"""Verify: every table is, byte for byte, the fold of the log, looked at while workers write on.

A worker's rows and its changelog's are each compared with the fold of the log at the very positions their note says.
A difference counts if it is still there at later looks: rows of a flush that a crash cut in two stand ahead of their
note until the next one, and a compacted topic lacks what was superseded between the table's position and now.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from agents.users import Told as Heard
from ops.state import told
from ops.state.dump import Standing, at_worker, held, in_changelog
from ops.state.fold import SOURCES, Advance, fingerprints
from ops.state.reference import Reference, reference
from ops.state.told import Sums
from ops.state.verdict import MOST_NAMED, Told, Verdict
from streams import dead_letters, generations
from streams.errors import StateError
from streams.log import Log
from streams.settings import Settings
from streams.topology import STAGES, TABLES, Stage, partitions_of

PAUSES = (2.0, 8.0)  # seconds before a second and a third look; a worker that restarts needs a few

Unit = tuple[str, int]  # a table and a partition of it
Looks = Mapping[tuple[str, str], Verdict]  # by table and place


def every(settings: Settings, table: str | None = None) -> list[Unit]:
    """Return all partitions of all tables, or of one."""
    tables = [one.name for one in TABLES if table in (None, one.name)]
    return [(name, number) for name in tables for number in range(partitions_of(settings, name))]


def sample(units: Sequence[Unit], count: int, seed: int) -> list[Unit]:
    """Return some of them, the same for the same seed."""
    return random.Random(seed).sample(units, min(count, len(units)))


def check(
    settings: Settings,
    weights: Mapping[str, float],
    units: Sequence[Unit],
    begin: Callable[[int], Advance] = lambda _: lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Yield the reports of `verify`; `begin` takes how many offsets there are and returns what takes those passed."""
    same_folds(settings, weights)
    with Log(settings) as log:
        for verdict in verify(log, settings, weights, units, begin(work(log, units))):
            yield verdict.report()


def same_folds(settings: Settings, weights: Mapping[str, float]) -> None:
    """Raise StateError when the generation's rows were folded by other code or weights than are here."""
    for one in generations.load(settings).all:
        here = fingerprints(settings, weights)
        if one.number == settings.generation and one.folds != here:
            raise StateError(
                f"generation {one.number} was folded by {one.folds}, this release folds by {here}: "
                "verify with the release and configuration of its workers, or `refold rebuild`"
            )


def verify(
    log: Log,
    settings: Settings,
    weights: Mapping[str, float],
    units: Sequence[Unit],
    progress: Advance = lambda _: None,
) -> Iterator[Verdict | Told]:
    """Yield how tables' partitions stand, and for those of `users` what they told; `progress` as of `work`.

    Raises StateError where the log has a gap or a row an unknown version.
    """
    limits: dict[int, int] = {}
    spoken = Sums()
    for stage, number, tables in together(units):

        def hear(heard: Heard, origin: int = number) -> None:
            for path, content in told.spoken(settings, origin, heard):
                spoken.add(path, content)

        listening = hear if stage == "users" else None
        with reference(log, settings, stage, number, weights, progress, listening) as truth:
            verdicts = _settled(partial(_look, log, settings, truth, number, tables))
            if stage == "users":
                limits[number] = truth.reached.get("events", 0)
        yield from verdicts
    if limits:
        yield from _told(log, settings, weights, limits, spoken, progress)


def together(units: Sequence[Unit]) -> list[tuple[Stage, int, list[str]]]:
    """Return units by what is folded together: stage, partition, tables.

    >>> together([("items", 1), ("users", 0), ("popular", 1)])
    [('users', 0, ['users']), ('items', 1, ['items', 'popular'])]
    """
    return [
        (stage, number, wanted)
        for stage, tables in STAGES.items()
        for number in sorted({number for _, number in units})
        if (wanted := [table for table in tables if (table, number) in units])
    ]


def work(log: Log, units: Sequence[Unit]) -> int:
    """Return how many offsets a check has before it, about."""
    spans = {source: log.spans(source) for sources in SOURCES.values() for source in sources}
    folds = [
        spans[source][number][1]
        for _, number, tables in together(units)
        for source in {source for table in tables for source in SOURCES[table]}
    ]
    hears = any(table == "users" for table, _ in units)
    heard = [end for topic in told.DECODE for _, end in spans[topic].values()]
    return sum(folds) + (sum(heard) if hears else 0)


def _settled(look: Callable[[Looks | None], list[Verdict]]) -> list[Verdict]:
    verdicts = look(None)
    for pause in PAUSES:
        if all(verdict.equal for verdict in verdicts):
            break
        time.sleep(pause)
        verdicts = look({(verdict.table, verdict.place): verdict for verdict in verdicts})
    return verdicts


def _look(
    log: Log,
    settings: Settings,
    truth: Reference,
    partition: int,
    tables: Sequence[str],
    before: Looks | None,
) -> list[Verdict]:
    verdicts = []
    with contextlib.ExitStack() as opened:
        standings = [
            (table, place, standing)
            for table in tables
            for place, standing in _standings(opened, log, settings, table, partition)
        ]
        for table, place, standing in sorted(standings, key=_furthest_last):
            positions = standing.note.positions
            earlier = None if before is None else before.get((table, place))
            if before is not None and earlier is None:
                continue  # a place that was not there at the first look could be looked at but once
            if earlier is not None and any(
                truth.reached.get(s, 0) > positions.get(s, 0) for s in SOURCES[table]
            ):
                verdicts.append(earlier)  # it stands where it stood, and the reference has moved on
                continue
            truth.fold(positions)
            verdict = Verdict(
                table, partition, place, positions, standing.offset, truth.folded.events,
                truth.folded.refused, _letters(log, settings, partition, truth.reached),
            )  # fmt: skip
            verdict.judge(standing.scan(), truth.rows(table), None if earlier is None else earlier.differing)
            verdicts.append(verdict)
    return verdicts


def _standings(
    opened: contextlib.ExitStack, log: Log, settings: Settings, table: str, partition: int
) -> Iterator[tuple[str, Standing]]:
    """Yield the places where a table stands; a copy that a worker kept when the partition moved on is none."""
    live = None
    if held(settings, table, partition):
        live = opened.enter_context(at_worker(settings, table, partition))
    changelog = opened.enter_context(in_changelog(log, settings, table, partition))
    if live is not None and live.note.owner >= changelog.note.owner:
        yield "live", live
    yield "changelog", changelog


def _furthest_last(found: tuple[str, str, Standing]) -> tuple[int, int]:
    at = found[2].note.positions
    return at.get("events", 0) + at.get("touches", 0), sum(at.values())


def _letters(log: Log, settings: Settings, partition: int, reached: Mapping[str, int]) -> int:
    """Return how many records before these positions stand among the dead letters."""
    ends = {settings.topic(source): position for source, position in reached.items()}
    found = set()
    for batch in log.read("dead-letters", partition):
        for record in batch:
            letter = dead_letters.decode(record.value or b"")
            if letter.offset < ends.get(letter.topic, 0):
                found.add((letter.topic, letter.offset))
    return len(found)


def _told(
    log: Log,
    settings: Settings,
    weights: Mapping[str, float],
    limits: Mapping[int, int],
    spoken: Sums,
    progress: Advance,
) -> Iterator[Told]:
    stand = told.stand(log, settings, limits, progress)
    for origin, position in limits.items():
        for topic in told.DECODE:
            paths = [(topic, origin, target) for target in range(partitions_of(settings, topic))]
            wrong = [path for path in paths if spoken.of.get(path) != stand.of.get(path)]
            count = sum(spoken.of.get(path, (0, 0))[0] for path in paths)
            verdict = Told(topic, origin, position, count, len(wrong))
            if wrong:
                verdict.missing, verdict.extra = _named(log, settings, weights, position, wrong[0])
            yield verdict


def _named(
    log: Log, settings: Settings, weights: Mapping[str, float], position: int, path: told.Path
) -> tuple[list[list[object]], list[list[object]]]:
    """Return what is missing, and what is too much, on one path up to a position of `events`."""
    topic, origin, target = path
    extra = {content for _, content in told.standing(log, settings, topic, target, {origin: position})}
    missing = []

    def hear(heard: Heard) -> None:
        for on, content in told.spoken(settings, origin, heard):
            if on == path and content not in extra:
                missing.append(content)
            extra.discard(content)

    with reference(log, settings, "users", origin, weights, hear=hear) as truth:
        truth.fold({"events": position})
    named = [told.named(content) for content in missing[:MOST_NAMED]]
    return named, [told.named(content) for content in sorted(extra)[:MOST_NAMED]]
