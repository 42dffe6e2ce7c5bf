"""Skew: features as they were logged with slates, against the same ones computed anew from the log.

A model is trained on what a fold of the log says, and serves on what an API process had read. Slates name how far that
was, so both must agree to the bit: every difference is a fault, in what was served or in what was trained on.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from api.answers import Request
from api.asker import SESSION, asker_of, popular_here
from api.space import ItemSpace
from api.state import State
from api.trends import Trends
from models.features import CATALOGUE, COLUMN, NAMES, Floats
from models.gather import gather
from models.lately import Sums, Totals
from models.learned import Learned
from models.places import Places
from models.popular import Popular
from ops.evaluate.tables import Tables
from ops.evaluate.world import World
from ops.past.recall import Recalled, learned, recall
from ops.past.replay import Ground
from ops.past.what_if import spanned, when
from ops.progress import Begin, silent
from ops.state.scratch import temporary
from streams.slates import Slate

FEW = 10  # differing values that are told one by one
CATALOGUED = {"affinity", "session", "freshness", "boost"}  # read what the catalogue says of an item
OWNED = {
    owner: {one.name for one in CATALOGUE if one.owner == owner} for owner in ("items", "popular", "learned")
}
OWNED["items"] |= CATALOGUED
PAIRED = {one.name for one in CATALOGUE if one.owner == "learned" and one.scope == "pair"}
HALVES = "the slate was made in the middle of a flush of {}"
MERGED = "several shards of what is learned are merged in the order in which they come"
GUESSED = "the item was little known, and placed by a map from what is said of it"
LOST = "what the catalogue said of the item was compacted away"
GONE = "there is no such feature any more"


@dataclass
class Differences:
    """What was compared of one feature."""

    compared: int = 0
    differ: int = 0
    largest: float = 0.0


@dataclass
class Skew:
    """What was compared, by feature; why not, by reason; and a few values that differ."""

    features: dict[str, Differences] = field(default_factory=dict)
    without: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, one: Recalled, again: Floats, shards: int) -> None:
        """Compare the values of a slate with those computed again, (items, len(NAMES))."""
        shown = [(place, item) for place, item in enumerate(one.slate.items) if item.features]
        whole = dict(_unknown(one, shards))
        for row, (place, item) in enumerate(shown):
            known = whole | dict(_unknown_of(one, place, item.item_id))
            for name, logged in zip(one.slate.features, item.features, strict=True):
                if name not in COLUMN or name in known:
                    self.without[known.get(name, GONE)] += 1
                else:
                    self._compare(one.slate, item.item_id, name, logged, float(again[row, COLUMN[name]]))

    def _compare(self, slate: Slate, item: str, name: str, logged: float, again: float) -> None:
        found = self.features.setdefault(name, Differences())
        found.compared += 1
        if logged == again or (math.isnan(logged) and math.isnan(again)):
            return
        found.differ += 1
        found.largest = max(found.largest, abs(logged - again))
        if len(self.examples) < FEW:
            said = {"slate": slate.request_id, "item": item, "feature": name}
            self.examples.append({**said, "logged": logged, "recomputed": again})


def check(
    on: Ground, begin: int, until: int, last: int = 0, users: Sequence[str] = (), progress: Begin = silent
) -> dict[str, Any]:
    """Compare the slates of a span (ms), the `last` so many of them if any, those of some users if any are named.

    Raises Refused when the span is none, StateError where the log cannot be folded.
    """
    skipped: Counter[str] = Counter()
    found = (one for one in spanned(on, begin, until, skipped, last) if not users or one.user_id in users)
    newest = heapq.nlargest(last, found, key=when) if last else sorted(found, key=when)
    chosen = [one for slate in newest if (one := _comparable(slate, on, skipped)) is not None]
    step, skew = progress(len(chosen)), Skew()
    with temporary(on.settings.data, on.identity) as scratch:
        recall(on, scratch, chosen)
        again, shards, nothing = Again(on), on.settings.shards, Learned(on.settings.dimensions)
        at = defaultdict(list)
        for one in chosen:
            at[one.read.state.learned[0] if shards == 1 else -1].append(one)
        known = learned(on, scratch, [halt for halt in at if halt >= 0])
        for halt, knowledge in chain([(-1, nothing)], known):
            for one in at[halt]:
                skew.add(one, again.matrix(one, knowledge), shards)
                step(1)
    return _report(skew, len(chosen), skipped)


class Again:
    """Computes the features of slates anew, by the parts that serve."""

    def __init__(self, on: Ground) -> None:
        self._world = World(on.weights, on.settings.dimensions)
        self._tables = tables = Tables(self._world)
        space = ItemSpace(tables.columns, tables.lore)
        self._state = State(tables, space, Trends(tables.columns), space)
        self._places = Places()

    def matrix(self, one: Recalled, knowledge: Learned) -> Floats:
        """Return the features of the items shown (n, len(NAMES)), from what was recalled and `knowledge`."""
        world, columns, lore = self._world, self._tables.columns, self._tables.lore
        world.items.update(one.rows)
        world.touched.update(one.rows)
        world.contexts = {context: Popular(items=items) for context, items in one.contexts.items()}
        self._tables.follow()
        columns.totals = _Then(one.totals)
        lore.learned = knowledge
        slots = np.array([columns.slot(item) for item in one.shown], dtype=np.int64)
        for item in one.shown:
            lore.meet(item)
        asked = one.asked
        request = Request(
            at=one.read.at, user_id=one.slate.user_id, surface=one.slate.surface, categories=asked.categories,
            context=asked.context,
        )  # fmt: skip
        here = popular_here(self._state, request)
        asker = asker_of(self._state, one.user, request, here, self._places)
        self._places.take(slots)
        signals = lore.signals(asker.after, slots, asker.stage, asker.before)
        relevance = lore.relevance(signals, asker.after, asker.before)
        return gather(asker, columns, self._places, signals, relevance)


class _Then(Totals):
    """Sums as they were at a moment."""

    def __init__(self, sums: Sums) -> None:
        super().__init__()
        self._sums = sums

    def at(self, now: int) -> Sums:  # noqa: ARG002
        """Return the sums."""
        return self._sums


def _comparable(slate: Slate, on: Ground, skipped: Counter[str]) -> Recalled | None:
    """Return a slate of which the features can be computed anew; count the reason where they cannot."""
    reason, read, asked = "", slate.read, slate.asked
    if slate.same_as:
        reason = "served again from the cache"
    elif not slate.features:
        reason = f"rung {slate.rung}: no features"
    elif read is None:
        reason = "from before it was written down what features were made of"
    elif asked is None:
        reason = "from before requests were written down"
    elif read.session:
        reason = "a session came with the request, and is not kept"
    elif read.state.generation != on.settings.generation:
        reason = f"made of generation {read.state.generation} of the state"
    elif not _fits(slate, on):
        reason = "made of a log with another number of partitions"
    else:
        return Recalled(slate, asked, read)
    skipped[reason] += 1
    return None


def _fits(slate: Slate, on: Ground) -> bool:
    assert slate.read is not None
    state, settings = slate.read.state, on.settings
    partitions = len(state.items), len(state.popular), len(state.learned)
    return partitions == (settings.partitions, settings.partitions, settings.shards)


def _unknown(one: Recalled, shards: int) -> Iterator[tuple[str, str]]:
    """Yield features that cannot be computed anew for any item of a slate, and why."""
    state = one.read.state
    for owner, certain in (
        ("items", min(min(state.items)) >= 0),
        ("popular", min(state.popular) >= 0),
        ("learned", min(state.learned) >= 0),
    ):
        if not certain:
            yield from ((name, HALVES.format(owner)) for name in OWNED[owner])
    if shards > 1:
        yield from ((name, MERGED) for name in OWNED["learned"])
    if one.user is not None and one.lost.intersection(one.user.trail[:SESSION]):
        yield "session", LOST


def _unknown_of(one: Recalled, place: int, item: str) -> Iterable[tuple[str, str]]:
    """Yield features that cannot be computed anew for the item at a place of a slate, and why."""
    if place in one.read.guessed:
        yield from ((name, GUESSED) for name in PAIRED)
    if item in one.lost:
        yield from ((name, LOST) for name in CATALOGUED)


def _report(skew: Skew, count: int, skipped: Mapping[str, int]) -> dict[str, Any]:
    found = {name: skew.features[name] for name in NAMES if name in skew.features}
    return {
        "slates": count,
        "values": sum(one.compared for one in found.values()),
        "mismatches": sum(one.differ for one in found.values()),
        "skipped": dict(sorted(skipped.items())),
        "not_compared": dict(sorted(skew.without.items())),
        "features": {name: vars(one) for name, one in found.items()},
        "examples": skew.examples,
    }


def text(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person what `check` found."""
    yield f"{'feature':<16}{'compared':>10}{'differ':>10}  largest difference"
    for name, one in report["features"].items():
        yield f"{name:<16}{one['compared']:>10,}{one['differ']:>10,}  {one['largest']:g}"
    for one in report["examples"]:
        yield (
            f"slate {one['slate']}, item {one['item']}: {one['feature']} was {one['logged']!r}, "
            f"the log says {one['recomputed']!r}"
        )
    for reason, count in report["skipped"].items():
        yield f"slates skipped, {reason}: {count:,}"
    for reason, count in report["not_compared"].items():
        yield f"values not compared, {reason}: {count:,}"
    yield (
        f"{report['slates']:,} slates, {report['values']:,} values computed anew, "
        f"{report['mismatches']:,} differ from what was logged"
    )
