"""What if: past requests answered again, as of their time, under the configuration there is and under another one.

Tables are folded forward through the span. The user's row is that of the very moment; item columns, vectors and
trends, which cost far more than an answer, are those of the second, or a little older where there are many items.
"""

import dataclasses
import heapq
import tempfile
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import msgspec

from api.answers import Answer, Request
from api.engine import Engine
from api.state import State
from models.surfaces import Config, load
from ops.past.compare import Comparison
from ops.past.engine import NONE, Moment, Then, engine_of
from ops.past.replay import Ground, advance, places, positions_of, replay
from ops.past.snapshots import Positions
from ops.progress import Begin, silent
from ops.state.scratch import Scratch
from streams import slates
from streams.errors import Refused, SettingsError
from streams.experiments import Known
from streams.log import Record
from streams.partition import partition_of
from streams.slates import Slate
from streams.times import written

MINUTE = 60_000  # ms of the log that are in memory at once
SECOND = 1_000  # ms for which item columns, vectors and trends are used at least,
PER_SECOND = 20_000  # and a second longer for each so many items, since computing them takes longer
LATE = 60_000  # ms after its answer by which a slate is in the log
ALL = "all"


def other_config(path: Path, current: Config) -> Config:
    """Return the configuration of a file; raises SettingsError for what could not have answered past requests."""
    other = load(path)
    for name in other.surfaces:
        if name not in current.surfaces:
            raise SettingsError(
                f"{path}: surfaces.{name} is not configured now, so nobody asked for it; there are "
                f"{', '.join(sorted(current.surfaces))}"
            )
    for action in sorted({*current.actions, *other.actions}):
        mine, theirs = current.actions.get(action), other.actions.get(action)
        if mine != theirs:
            raise SettingsError(
                f"{path}: actions.{action}={theirs} where {mine} is meant: event weights are folded into rows, not "
                "applied to answers; what they change a rebuild tells"
            )
    return other


def what_if(
    on: Ground,
    current: Config,
    other: Config,
    begin: int,
    until: int,
    limit: int = 0,
    progress: Begin = silent,
    known: Known = NONE,
) -> dict[str, Any]:
    """Answer the requests of a span (ms) again, the first `limit` of them if any, and return how the slates differ.

    Raises Refused when the span is none, StateError where the log cannot be folded to there.
    """
    skipped: Counter[str] = Counter()
    asked = (
        slate for slate in slates_of(on, begin, until, skipped) if answerable(slate, current, other, skipped)
    )
    chosen = heapq.nsmallest(limit, asked, key=when) if limit else sorted(asked, key=when)
    found: dict[str, Comparison] = {ALL: Comparison()}
    step = progress(len(chosen))

    moment = Moment(known)

    def engines(state: State) -> Sequence[Engine]:
        return [engine_of(state, config, moment) for config in (current, other)]

    for slate, (mine, theirs) in answered(on, chosen, engines, moment):
        for name in (ALL, slate.surface):
            found.setdefault(name, Comparison()).add(slate, mine, theirs)
        step(1)
    return {
        "from": written(begin),
        "until": written(until),
        "slates": len(chosen),
        "skipped": dict(sorted(skipped.items())),
        "surfaces": {name: one.report() for name, one in sorted(found.items())} if chosen else {},
    }


class Window:
    """The records of a short span of the log, in memory, for folding in small steps (`ops.past.replay.Dated`)."""

    def __init__(self, on: Ground, starts: Positions, until: int) -> None:
        self._ends = {topic: on.log.positions_at(topic, until) for topic in starts}
        self._records: dict[tuple[str, int], list[Record]] = {}
        self._latest: dict[tuple[str, int], list[int]] = {}  # time of the latest record up to each, in ms
        for topic, numbers in starts.items():
            for number, start in numbers.items():
                batches = on.log.read(topic, number, start, self._ends[topic][number])
                records = [record for batch in batches for record in batch]
                times = (round(record.timestamp * 1000) for record in records)
                self._records[topic, number] = records
                self._latest[topic, number] = list(accumulate(times, max))

    def read(self, topic: str, partition: int, start: int = 0, end: int | None = None) -> list[list[Record]]:
        """Return the records `start` to `end` in one batch, in none where there are none."""
        records = self._records[topic, partition]
        first = bisect_left(records, start, key=_offset)
        last = len(records) if end is None else bisect_left(records, end, key=_offset)
        return [records[first:last]] if first < last else []

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition."""
        ends = self._ends[topic]
        return {n: (next(map(_offset, self._records[topic, n]), end), end) for n, end in ends.items()}

    def positions_at(self, topic: str, at: int) -> dict[int, int]:
        """Return, by partition, the offset of the first record written after `at` (ms), the end if there is none."""
        found = dict(self._ends[topic])
        for number in found:
            later = bisect_right(self._latest[topic, number], at)
            if later < len(self._latest[topic, number]):
                found[number] = self._records[topic, number][later].offset
        return found


def slates_of(on: Ground, begin: int, until: int, skipped: Counter[str]) -> Iterator[Slate]:
    """Yield the slates of a span (ms) without their features, partition by partition; raises Refused for no span."""
    for slate in spanned(on, begin, until, skipped):
        shown = tuple(msgspec.structs.replace(item, features=()) for item in slate.items)
        yield msgspec.structs.replace(slate, items=shown)


def spanned(on: Ground, begin: int, until: int, skipped: Counter[str], last: int = 0) -> Iterator[Slate]:
    """Yield the slates of a span (ms) as they were logged; of each partition at least the `last`, if that is not 0.

    Raises Refused for no span.
    """
    if begin > until:
        raise Refused(f"the span ends at {written(until)}, before it begins at {written(begin)}")
    starts, ends = on.log.positions_at("slates", begin - 1), on.log.positions_at("slates", until + LATE)
    for number, (first, _) in on.log.spans("slates").items():
        start, end = max(starts[number], first), ends[number]
        for batch in on.log.read("slates", number, max(start, end - last) if last else start, end):
            for record in batch:
                try:
                    slate = slates.decode(record.value or b"")
                except Refused as refused:
                    skipped[f"cannot be read: {refused}"] += 1
                    continue
                if begin <= slate.at <= until:
                    yield slate


def answerable(slate: Slate, current: Config, other: Config, skipped: Counter[str]) -> bool:
    """Tell whether a request can be made again; count the reason when it cannot."""
    reason = ""
    if slate.same_as:
        reason = "served again from the cache"
    elif slate.asked is None:
        reason = "from before requests were written down"
    elif slate.asked.operation == "recommendAnonymous":
        reason = "anonymous: the session is not kept"
    elif slate.asked.operation == "rank":
        reason = "ranked: the client's candidates are not kept"
    elif slate.forced:
        reason = "an arm was asked for, as a test"
    elif slate.surface not in current.surfaces or slate.surface not in other.surfaces:
        reason = f"surface {slate.surface!r} is not configured any more"
    if reason:
        skipped[reason] += 1
    return not reason


def answered(
    on: Ground,
    chosen: Sequence[Slate],
    engines_of: Callable[[State], Sequence[Engine]],
    moment: Moment | None = None,
) -> Iterator[tuple[Slate, list[Answer]]]:
    """Yield each slate, all in order of `when`, with what each engine answers from the state of its time.

    `moment` is that of the engines' experiments, and is moved along.
    """
    moment = moment or Moment()
    if not chosen:
        return
    on.settings.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="what-if-", dir=on.settings.data) as folder:
        replay(on, _minute(chosen[0]), Path(folder) / "tables")
        with Scratch(Path(folder) / "tables", on.identity) as scratch:
            then = Then(scratch, on.settings)
            engines = engines_of(then.state)
            for minute, of_minute in groupby(chosen, key=_minute):
                advance(on, then.tables.rows, minute)
                window = Window(on, positions_of(scratch, places(on.settings)), minute + MINUTE)
                near = dataclasses.replace(on, log=window)
                due = minute
                for slate in of_minute:
                    if slate.at > due:
                        second = slate.at // SECOND * SECOND - 1
                        advance(near, then.tables.rows, second)
                        then.settle(second)
                        due = second + SECOND * (1 + len(then.tables.columns) // PER_SECOND)
                    _bring_up(near, then, slate)
                    moment.at = slate.at
                    yield slate, [_answer(engine, slate) for engine in engines]


def _bring_up(near: Ground, then: Then, slate: Slate) -> None:
    """Fold the user of a slate up to its moment."""
    if slate.user_id:
        number = partition_of(slate.user_id, near.settings.partitions)
        advance(near, then.tables.rows, slate.at, only=[("users", number)])


def _answer(engine: Engine, slate: Slate) -> Answer:
    asked = slate.asked
    assert asked is not None
    if asked.operation == "similar":
        return engine.similar(
            asked.beside, asked.n, at=slate.at, categories=asked.categories, context=asked.context,
            exclude=asked.exclude, surface=slate.surface, request_id=slate.request_id,
        )  # fmt: skip
    if asked.operation == "popular":
        category = asked.categories[0] if asked.categories else ""
        return engine.popular(
            asked.n, slate.surface, category, asked.context, at=slate.at, request_id=slate.request_id
        )
    request = Request(
        at=slate.at, user_id=slate.user_id, n=asked.n, surface=slate.surface, categories=asked.categories,
        context=asked.context, exclude=asked.exclude, request_id=slate.request_id,
    )  # fmt: skip
    return engine.recommend(request)


def when(slate: Slate) -> tuple[int, str]:
    """Return the key that orders slates by time."""
    return slate.at, slate.request_id


def _minute(slate: Slate) -> int:
    """Return the last millisecond before the minute of a slate."""
    return slate.at // MINUTE * MINUTE - 1


def _offset(record: Record) -> int:
    return record.offset


def text(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person what `what_if` found."""
    yield f"{report['slates']} slates from {report['from']} to {report['until']}"
    for reason, count in report["skipped"].items():
        yield f"  skipped {count}: {reason}"
    for name, one in report["surfaces"].items():
        yield f"{name}: {one['slates']} slates, {_agreement(one)}"
        yield f"  the current configuration against what was served: {_agreement(one['fidelity'])}"
        for rung, counts in one["rungs"].items():
            yield f"  rung {rung}: {counts['served']} served, {counts['current']} now"
        for source, share in one["sources"].items():
            yield f"  {source}: {share['current']:.1%} of the places, {share['other']:.1%} under the other"
        for side, items in (("now", one["only_current"]), ("under the other", one["only_other"])):
            if items:
                yield f"  only {side}: " + ", ".join(f"{item} ({count})" for item, count in items.items())


def _agreement(one: Mapping[str, Any]) -> str:
    said = f"{one['same']:.1%} the same, overlap {one['overlap']:.3f}, rank-biased {one['rank_biased_overlap']:.3f}"
    return f"{said}, first change at place {one['first_change']:g}" if one["first_change"] else said
