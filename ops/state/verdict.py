"""Verdicts: how the rows of one place, or what the users of a partition told, stand against the fold of the log."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from ops.state.dump import decoded, fields

MOST_NAMED = 100  # differing keys or words of one verdict that are named

Rows = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Difference:
    """A key whose row is another one than the log folds to; None is no row."""

    key: bytes
    row: bytes | None
    truth: bytes | None


@dataclass
class Verdict:
    """How a table's partition stands in one place, `live` or `changelog`, at the positions of its note.

    `events` and `refused` records are what the log holds up to there, `dead_letters` how many of the refused ones
    stand in that topic; `tally` counts what users say themselves: events folded, duplicates, late. `differing` are
    the keys that differ, of which `differences` has the first.
    """

    table: str
    partition: int
    place: str
    positions: Mapping[str, int]
    offset: int
    events: int
    refused: int
    dead_letters: int
    rows: int = 0
    tally: list[int] = field(default_factory=lambda: [0, 0, 0])
    differing: set[bytes] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Tell whether rows and counts are those of the log."""
        return not self.differing and (self.table != "users" or sum(self.tally[:2]) == self.events)

    def judge(self, theirs: Rows, truth: Rows, doubted: set[bytes] | None) -> None:
        """Compare rows with those of the log; of `doubted` keys only, if given. Raises StateError as `fields`."""
        for one in compare(self._counted(theirs), truth):
            if doubted is None or one.key in doubted:
                self.differing.add(one.key)
                if len(self.differences) < MOST_NAMED:
                    self.differences.append(one)

    def report(self) -> dict[str, Any]:
        """Return the verdict for a program, differing rows with the fields in which they differ."""
        found: dict[str, Any] = {
            "table": self.table,
            "partition": self.partition,
            "place": self.place,
            "verdict": said(self.equal),
            "rows": self.rows,
            "positions": dict(self.positions),
            "offset": self.offset,
            "refused": self.refused,
            "dead_letters": self.dead_letters,
        }
        if self.table == "users":
            found["events"] = self.events
            found |= dict(zip(("folded", "duplicates", "late"), self.tally, strict=True))
        if self.differing:
            found["differing"] = len(self.differing)
            found["keys"] = [self._shown(one) for one in self.differences]
        return found

    def _counted(self, rows: Rows) -> Iterator[tuple[bytes, bytes]]:
        for key, row in rows:
            known = fields(self.table, key, row)
            self.rows += 1
            if self.table == "users":
                self.tally = [sum(pair) for pair in zip(self.tally, known["tally"], strict=True)]
            yield key, row

    def _shown(self, one: Difference) -> dict[str, Any]:
        theirs = None if one.row is None else decoded(self.table, one.key, one.row)
        truth = None if one.truth is None else decoded(self.table, one.key, one.truth)
        if theirs is not None and truth is not None:
            names = [name for name in truth if theirs[name] != truth[name]]
            theirs, truth = ({name: side[name] for name in names} for side in (theirs, truth))
        return {"key": one.key.decode(errors="replace"), self.place: theirs, "log": truth}


@dataclass
class Told:
    """How what one partition's users told up to a position of `events` stands in `topic`, `touches` or `examples`.

    `words` counts what was said; `differing` the partitions of the topic in which they do not stand; of the first of
    them `missing` and `extra` name words.
    """

    topic: str
    partition: int
    position: int
    words: int
    differing: int = 0
    missing: list[Any] = field(default_factory=list)
    extra: list[Any] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Tell whether everything said stands there, and nothing else."""
        return not self.differing

    def report(self) -> dict[str, Any]:
        """Return the verdict for a program."""
        found: dict[str, Any] = {
            "topic": self.topic,
            "partition": self.partition,
            "verdict": said(self.equal),
            "words": self.words,
            "positions": {"events": self.position},
        }
        if not self.equal:
            found |= {"differing": self.differing, "missing": self.missing, "extra": self.extra}
        return found


def said(equal: bool) -> str:
    """Return the word for it."""
    return "equal" if equal else "different"


def compare(theirs: Rows, truth: Rows) -> Iterator[Difference]:
    """Yield the keys whose rows differ; both sides come sorted by key, and are never held.

    >>> [one.key for one in compare([(b"a", b"1"), (b"b", b"2")], [(b"a", b"1"), (b"b", b"3"), (b"c", b"4")])]
    [b'b', b'c']
    """
    both = merge(((key, 0, row) for key, row in theirs), ((key, 1, row) for key, row in truth))
    for key, found in groupby(both, itemgetter(0)):
        rows: list[bytes | None] = [None, None]
        for _, side, row in found:
            rows[side] = row
        if rows[0] != rows[1]:
            yield Difference(key, rows[0], rows[1])


def text(report: Mapping[str, Any]) -> str:
    """Return a report for a reader: a line, and one more for each key or touch that is named."""
    place = f"{report['table']} {report['place']}" if "table" in report else report["topic"]
    named = {"table", "place", "topic", "partition", "verdict", "positions", "keys", "missing", "extra"}
    figures = "  ".join(f"{name}={value}" for name, value in report.items() if name not in named)
    at = "  ".join(f"{source}@{position}" for source, position in sorted(report["positions"].items()))
    lines = [f"{place}[{report['partition']}]: {report['verdict']}  {figures}  {at}"]
    lines += [f"  {json.dumps(one)}" for one in report.get("keys", ())]
    lines += [f"  {what} {json.dumps(one)}" for what in ("missing", "extra") for one in report.get(what, ())]
    return "\n".join(lines)
