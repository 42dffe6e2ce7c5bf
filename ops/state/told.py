"""What users told items: the touches that the fold of `events` says, against those that stand in `touches`.

Everything said must stand there at least once, with the same content; what a worker said again after a crash is
dropped as its receivers drop it. Both sides are sums of hashes, one for each pair of partitions, in which order does
not count, so that any number of touches is compared in little memory; only where two sums differ are touches named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from ops.state.fold import Said, Source
from streams import touches
from streams.errors import Refused
from streams.settings import Settings
from streams.touches import Link, Touch, origin_of

Pair = tuple[int, int]  # of `events` and of `touches`
_encode = msgspec.msgpack.Encoder().encode


@dataclass
class Sums:
    """Count and sum of hashes, modulo 2^128, of the touches between each pair of partitions."""

    of: dict[Pair, tuple[int, int]] = field(default_factory=dict)

    def add(self, pair: Pair, content: bytes) -> None:
        """Count a touch."""
        count, total = self.of.get(pair, (0, 0))
        self.of[pair] = count + 1, (total + _hash(content)) % (1 << 128)


def contents(said: list[Touch | Link], halves: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield origin and content of each; `halves` are the vectors of arrivals, as half floats."""
    for each in said:
        if isinstance(each, Link):
            yield each.origin, _encode((each.origin, each.item, each.to, float(each.weight)))
        else:
            arrived = halves[each.arrived] if 0 <= each.arrived < len(halves) else b""
            yield (
                each.origin,
                _encode(
                    (each.origin, each.item, each.type, each.at, float(each.weight), each.position,
                     each.surface, each.contexts, float(each.mass), arrived)
                ),
            )  # fmt: skip


def spoken(told: Said) -> Iterator[tuple[int, bytes]]:
    """Yield, by item partition, the content of everything a fold says."""
    for target, (every, vectors) in told.items():
        halves = [vector.astype("<f2").tobytes() for vector in vectors]
        for _, content in contents(every, halves):
            yield target, content


def standing(
    log: Source, settings: Settings, target: int, limits: Mapping[int, int]
) -> Iterator[tuple[int, bytes]]:
    """Yield, by events partition, the content of every touch in a partition of `touches`, each once.

    `limits` gives, for the partitions of `events` that are asked for, the position up to which touches count.
    """
    width = 2 * settings.dimensions
    newest: dict[int, int] = {}
    latest: dict[int, set[bytes]] = {}  # of an origin, which may be split over two records
    for batch in log.read("touches", target):
        for record in batch:
            try:
                told = touches.decode(record.value)
            except Refused:
                continue  # a dead letter: who reads it folds nothing either
            origin = told.partition
            if told.epoch != settings.epoch or origin not in limits:
                continue
            limit = origin_of(limits[origin], 0)
            halves = [told.vectors[at : at + width] for at in range(0, len(told.vectors), width)]
            for number, content in contents(told.said, halves):
                if number > newest.get(origin, -1):
                    newest[origin], latest[origin] = number, set()
                if number < newest[origin] or content in latest[origin] or number >= limit:
                    continue
                latest[origin].add(content)
                yield origin, content


def stand(
    log: Source, settings: Settings, limits: Mapping[int, int], progress: Callable[[int], None]
) -> Sums:
    """Return the sums over the whole topic."""
    sums = Sums()
    for target, (_, end) in log.spans("touches").items():
        for origin, content in standing(log, settings, target, limits):
            sums.add((origin, target), content)
        progress(end)
    return sums


def named(content: bytes) -> list[object]:
    """Return what a touch says, without the vector."""
    found: list[object] = msgspec.msgpack.decode(content)
    return found[:9]


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=16).digest())
