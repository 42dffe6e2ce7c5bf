"""The control topic: what operators decided, by name, the last word counting; all in partition 0, so in one order.

Other topics of the same kind, `models` and `experiments`, are read and written in the same way.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, Self, TypeVar

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streams.errors import StateError, Unavailable
from streams.read import records
from streams.settings import Settings
from streams.write import producer

TOPIC = "control"
PARTITION = 0
WAIT_MS = 5_000  # the broker holds a listener's question so long while nothing is said


Stands = Callable[
    [bytes | None, bytes | None], bytes | None
]  # of two words, the earlier first, the one that counts


def last(_: bytes | None, new: bytes | None) -> bytes | None:
    """Return the later of two words: it counts."""
    return new


def hear(said: dict[str, bytes], name: str, value: bytes | None, stands: Stands = last) -> None:
    """Take a word on a name into what was said; None is nothing."""
    word = stands(said.get(name), value)
    if word is None:
        said.pop(name, None)
    else:
        said[name] = word


class Word(Protocol):
    """What a record of such a topic says; `v` is its version."""

    @property
    def v(self) -> int:
        """The version of the record."""
        ...


Said = TypeVar("Said", bound=Word)


def word(topic: str, key: str, value: bytes, kind: type[Said], version: int) -> Said:
    """Return what a record says; raises StateError for one that another release wrote."""
    try:
        found = msgspec.msgpack.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"the record {key!r} of the {topic} cannot be read: {error}") from None
    if found.v != version:
        raise StateError(
            f"the record {key!r} of the {topic} has version {found.v}, this release reads {version}"
        )
    return found


def read(settings: Settings, topic: str = TOPIC, stands: Stands = last) -> dict[str, bytes]:
    """Return the word that counts on every name.

    Raises TopologyError without the topic, Unavailable without a broker.
    """
    said: dict[str, bytes] = {}
    try:
        for record in records(settings, topic, quiet_ms=300):
            hear(said, record.key.decode(), record.value, stands)
    except KafkaError as error:
        raise Unavailable(f"Kafka at {settings.kafka!r} does not answer as it should: {error}") from error
    return said


class Listener:
    """Hears what is said in the topic, which must exist, for as long as the block lasts.

    A broker that is away is waited for: nothing is heard then.
    """

    def __init__(self, settings: Settings, topic: str = TOPIC) -> None:
        self._place = TopicPartition(settings.topic(topic), PARTITION)
        self._consumer = KafkaConsumer(
            **settings.client(),
            enable_auto_commit=False,
            fetch_max_wait_ms=WAIT_MS,
        )
        self._said: dict[str, bytes | None] = {}

    def __enter__(self) -> Self:
        self._consumer.assign([self._place])
        self._consumer.seek_to_beginning()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(KafkaError):
            self._consumer.close()

    def poll(self, seconds: float) -> dict[str, bytes | None]:
        """Return the last word on every name something was said about since the last call, waiting at most so long.

        Nothing is returned while more keeps coming: only the last word of a row of them counts.
        """
        heard = self._consumer.poll(timeout_ms=int(1000 * seconds))
        for record in heard.get(self._place, ()):
            self._said[record.key.decode()] = record.value
        if heard or not self._said:
            return {}
        said, self._said = self._said, {}
        return said


def write(settings: Settings, name: str, value: bytes | None, topic: str = TOPIC) -> None:
    """Say something new, acknowledged by all in-sync replicas; raises Unavailable."""
    try:
        with producer(settings) as to:
            sent: Any = to.send(settings.topic(topic), key=name.encode(), value=value, partition=PARTITION)
            sent.get(timeout=30)
    except KafkaError as error:
        raise Unavailable(f"the decision on {name!r} was not taken by the broker: {error}") from error
