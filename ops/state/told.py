"""What users told items and the learner: what the fold of `events` says, against what stands in `touches`, `examples`.

Everything said must stand there at least once, with the same content; what a worker said again after a crash is
dropped as its receivers drop it. Both sides are sums of hashes, one for each pair of partitions, in which order does
not count, so that any number of words is compared in little memory; only where two sums differ are words named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from agents.users import Told, records_of
from ops.state.fold import Source
from streams import examples, touches
from streams.errors import Refused
from streams.examples import Choice
from streams.settings import Settings
from streams.touches import Outcome, Touch, origin_of

Path = tuple[str, int, int]  # the topic, a partition of `events`, and one of the topic
DECODE: Mapping[str, Callable[[bytes | None], Any]] = {
    "touches": touches.decode,
    "examples": examples.decode,
}
COMPARED = (
    Touch,
    Outcome,
    Choice,
)  # what is said of slates depends on whether they or their events were met first
_encode = msgspec.msgpack.Encoder().encode


@dataclass
class Sums:
    """Count and sum of hashes, modulo 2^128, of the words on each path."""

    of: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def add(self, path: Path, content: bytes) -> None:
        """Count a word."""
        count, total = self.of.get(path, (0, 0))
        self.of[path] = count + 1, (total + _hash(content)) % (1 << 128)


def spoken(settings: Settings, origin: int, told: Told) -> Iterator[tuple[Path, bytes]]:
    """Yield the path and the content of everything a fold of a partition of `events` says."""
    by_name = {settings.topic(topic): topic for topic in DECODE}
    for name, target, record in records_of(settings, origin, told):
        topic = by_name[name]
        for said in DECODE[topic](record).said:
            if isinstance(said, COMPARED):
                yield (topic, origin, target), _encode(said)


def standing(
    log: Source, settings: Settings, topic: str, target: int, limits: Mapping[int, int]
) -> Iterator[tuple[Path, bytes]]:
    """Yield the path and the content of every word in a partition of a topic, each once.

    `limits` gives, for the partitions of `events` that are asked for, the position up to which words count.
    """
    newest: dict[int, int] = {}
    latest: dict[int, set[bytes]] = {}  # of an origin, which may be split over two records
    for batch in log.read(topic, target):
        for record in batch:
            try:
                told = DECODE[topic](record.value)
            except Refused:
                continue  # a dead letter: who reads it folds nothing either
            origin = told.partition
            if told.epoch != settings.epoch or origin not in limits:
                continue
            limit = origin_of(limits[origin], 0)
            for said in told.said:
                if not isinstance(said, COMPARED):
                    continue
                number, content = said.origin, _encode(said)
                if number > newest.get(origin, -1):
                    newest[origin], latest[origin] = number, set()
                if number < newest[origin] or content in latest[origin] or number >= limit:
                    continue
                latest[origin].add(content)
                yield (topic, origin, target), content


def stand(
    log: Source, settings: Settings, limits: Mapping[int, int], progress: Callable[[int], None]
) -> Sums:
    """Return the sums over the whole topics."""
    sums = Sums()
    for topic in DECODE:
        for target, (_, end) in log.spans(topic).items():
            for path, content in standing(log, settings, topic, target, limits):
                sums.add(path, content)
            progress(end)
    return sums


def named(content: bytes) -> list[object]:
    """Return what a word says, bytes as hex."""
    said: list[object] = msgspec.msgpack.decode(content)
    return [each.hex() if isinstance(each, bytes) else each for each in said]


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=16).digest())
