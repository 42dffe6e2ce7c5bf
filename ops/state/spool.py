"""Examples of a rebuild, on disk until all users are folded: then they are said in the order of time.

Partitions of users are folded one after the other, and the learner learns from what came before: it shall hear of
a Monday's choices before those of Tuesday, whichever partition they are of, and always in the same order.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Any

from streams import examples
from streams.examples import Choice, Seen

SPAN = 60_000  # ms; examples of a partition and a span stand together
LENGTH = 4  # bytes before each record


def write(path: Path, records: Iterable[bytes]) -> None:
    """Append records of `examples`."""
    with path.open("ab") as file:
        for record in records:
            file.write(len(record).to_bytes(LENGTH) + record)


def together(paths: Mapping[int, Path]) -> Iterator[tuple[int, list[Any]]]:
    """Yield examples by partition of the events, span after span; those of a partition stay in their order.

    An example counts as of the latest time said before it in its partition: one that came late stays where it is.
    """
    spans = merge(
        *(_dated(number, path) for number, path in sorted(paths.items())), key=lambda each: each[:2]
    )
    for (_, number), found in groupby(spans, key=lambda each: each[:2]):
        yield number, [said for _, _, said in found]


def _dated(number: int, path: Path) -> Iterator[tuple[int, int, Choice | Seen]]:
    latest = 0
    for record in _records(path):
        for said in examples.decode(record).said:
            latest = max(latest, said.at)
            yield latest // SPAN, number, said


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while length := file.read(LENGTH):
            yield file.read(int.from_bytes(length))
