"""Comparing lists: how two answers to the same request differ, and what many such differences come to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from api.answers import Answer
from streams.slates import Slate

PERSISTENCE = 0.9  # chance that a reader goes on to the next place: the first ten weigh 86 %
NAMED = 10  # items named that only one side showed


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of the longer list that both hold.

    >>> overlap(["a", "b"], ["b", "c"]), overlap([], [])
    (0.5, 1.0)
    """
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], p: float = PERSISTENCE) -> float:
    """Return how much two rankings agree, from 0 to 1, the first places weighing most.

    The extrapolated form of Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings", for lists
    of different lengths too (their equation 32).

    >>> rank_biased_overlap("ab", "ab"), rank_biased_overlap("ab", "cd")
    (1.0, 0.0)
    """
    short, long = sorted((one, other), key=len)
    if not short:
        return 0.0 if long else 1.0
    s, size = len(short), len(long)
    seen_short: set[str] = set()
    seen_long: set[str] = set()
    agreed, at_s, total = 0, 0, 0.0
    for d in range(1, size + 1):
        item = long[d - 1]
        seen_long.add(item)
        agreed += item in seen_short
        if d <= s:
            seen_short.add(short[d - 1])
            agreed += short[d - 1] in seen_long
            at_s = agreed
        beyond = at_s * (d - s) / s if d > s else 0.0
        total += (agreed + beyond) / d * p**d
    return (1 - p) / p * total + ((agreed - at_s) / size + at_s / s) * p**size


def first_change(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the first place, from 1, at which two lists differ; 0 when none does.

    >>> first_change("abc", "axc"), first_change("ab", "abc"), first_change("ab", "ab")
    (2, 3, 0)
    """
    for place, pair in enumerate(zip(one, other, strict=False), start=1):
        if pair[0] != pair[1]:
            return place
    return 0 if len(one) == len(other) else min(len(one), len(other)) + 1


@dataclass
class Agreement:
    """How far pairs of lists agreed."""

    overlaps: list[float] = field(default_factory=list)
    biased: list[float] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)

    def add(self, one: Sequence[str], other: Sequence[str]) -> None:
        """Take in a pair."""
        self.overlaps.append(overlap(one, other))
        self.biased.append(rank_biased_overlap(one, other))
        self.changes.append(first_change(one, other))

    def report(self) -> dict[str, Any]:
        """Return the share of equal lists, mean overlap and rank-biased overlap, and the median first change."""
        changed = [place for place in self.changes if place]
        return {
            "same": round(1 - len(changed) / len(self.changes), 4),
            "overlap": round(fmean(self.overlaps), 4),
            "rank_biased_overlap": round(fmean(self.biased), 4),
            "first_change": median(changed) if changed else 0,
        }


@dataclass
class Comparison:
    """What became of the slates of one surface: this configuration beside the other, and beside what was served."""

    between: Agreement = field(default_factory=Agreement)
    fidelity: Agreement = field(default_factory=Agreement)
    only_current: Counter[str] = field(default_factory=Counter)
    only_other: Counter[str] = field(default_factory=Counter)
    served_rungs: Counter[str] = field(default_factory=Counter)
    current_rungs: Counter[str] = field(default_factory=Counter)
    current_sources: Counter[str] = field(default_factory=Counter)
    other_sources: Counter[str] = field(default_factory=Counter)

    def add(self, served: Slate, current: Answer, other: Answer) -> None:
        """Take in a slate: as it was served, and as it is answered now under both configurations."""
        mine, theirs = [item.item_id for item in current.items], [item.item_id for item in other.items]
        self.between.add(mine, theirs)
        self.fidelity.add([item.item_id for item in served.items], mine)
        self.served_rungs[served.rung] += 1
        self.current_rungs[current.rung] += 1
        self.only_current.update(set(mine) - set(theirs))
        self.only_other.update(set(theirs) - set(mine))
        self.current_sources.update(item.source for item in current.items)
        self.other_sources.update(item.source for item in other.items)

    def report(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "slates": len(self.between.changes),
            **self.between.report(),
            "only_current": dict(_most(self.only_current)),
            "only_other": dict(_most(self.only_other)),
            "sources": {
                name: {
                    "current": _share(self.current_sources, name),
                    "other": _share(self.other_sources, name),
                }
                for name in sorted({*self.current_sources, *self.other_sources})
            },
            "fidelity": self.fidelity.report(),
            "rungs": {
                name: {"served": self.served_rungs[name], "current": self.current_rungs[name]}
                for name in sorted({*self.served_rungs, *self.current_rungs})
            },
        }


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:NAMED]


def _share(counts: Counter[str], name: str) -> float:
    return round(counts[name] / counts.total(), 4) if counts else 0.0
