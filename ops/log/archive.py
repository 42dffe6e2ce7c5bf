"""Archives of a log under rewriting: written beside it, read again and compared, then put in its place.

Every offset keeps its record or a blank one, so that what points into the log stays true (streams/archives.py).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource

from ops.broker.lag import STAGE_OF
from ops.broker.topics import admin
from ops.log.settled import Ends, wait_for
from ops.progress import Advance
from streams import generations
from streams.append import Appender, filled
from streams.archives import Archive, blank
from streams.errors import StateError
from streams.log import COMPACTED, Log, Record
from streams.settings import Settings
from streams.topology import Topic, partitions_of

TOLD = ("touches", "examples")  # what users told, without naming them
LARGEST = 2 << 20  # bytes of a record in an archive: a header is added to some

Left = Callable[[Record], Record]


@dataclass(frozen=True)
class Target:
    """A topic that may name a user; `settings` are those of a generation whose words it holds."""

    settings: Settings
    topic: str

    @property
    def name(self) -> str:
        """The broker's name."""
        return self.settings.topic(self.topic)


def targets(settings: Settings) -> list[Target]:
    """Return the topics that name users, and of every generation those of what came from them."""
    states = [one.of(settings) for one in generations.load(settings).all] or [settings]
    by_name = {state.topic(topic): Target(state, topic) for state in states for topic in TOLD}
    return [
        *(Target(settings, topic) for topic in ("events", "profiles", "slates", "dead-letters")),
        *by_name.values(),
    ]


def count(log: Log, target: Target, until: Ends, left: Left, advance: Advance) -> int:
    """Return how many records before these ends would not stay as they are."""
    found = 0
    for number, end in until.items():
        found += sum(left(record) is not record for record in _source(log, target, number, end))
        advance(end)
    return found


def write(log: Log, target: Target, until: Ends, left: Left, advance: Advance) -> Archive:
    """Write a topic's beginning without the user under another name."""
    made = Archive(topic=_next_name(target), until=dict(until))
    _create(target, made.topic)
    with Appender(target.settings) as to:
        for number, end in until.items():
            records = (left(record) for record in _source(log, target, number, end))
            to.append(made.topic, number, filled(records, made.topic, number, 0, end), advance)
    begins = {n: begin for n, (begin, _) in log.spans(target.topic).items() if 0 < begin <= until[n]}
    if begins and target.topic not in COMPACTED:
        with admin(target.settings) as client:
            client.delete_records({TopicPartition(made.topic, n): begin for n, begin in begins.items()})
    return made


def verify(log: Log, target: Target, through: Mapping[str, Archive], left: Left, advance: Advance) -> None:
    """Read an archive again; raises StateError unless it is all that the log holds, byte for byte, but the user."""
    made, compacted = through[target.name], target.topic in COMPACTED
    with Log(target.settings, through) as again:
        for number, end in made.until.items():
            found = _source(again, target, number, end)
            for record in _source(log, target, number, end):
                if blank(should := left(record)):
                    continue
                there = next(found, None)
                while compacted and there is not None and there.offset < record.offset:
                    there = next(found, None)  # the topic was compacted since
                if there != should or left(should) is not should:
                    raise _differs(made, number, record.offset)
            if not compacted and next(found, None) is not None:
                raise _differs(made, number, end)
            advance(end)


def cut(
    settings: Settings, states: Sequence[Settings], recorded: Mapping[str, Archive], seconds: float
) -> None:
    """Delete what archives hold from the topics themselves, once every worker is past it."""
    refuse_building(settings)
    for target in targets(settings):
        if target.name not in recorded:
            continue
        until = recorded[target.name].until
        with Log(target.settings, {}) as log:
            begins = {n: begin for n, (begin, _) in log.spans(target.topic).items()}
        held = {TopicPartition(target.name, n): end for n, end in until.items() if begins[n] < end}
        if not held:
            continue
        folding = [state for state in states if state.topic(target.topic) == target.name]
        waits = folding and target.topic in STAGE_OF  # nobody folds what only a dropped state heard of
        if waits and (behind := wait_for(folding, target.topic, until, seconds)):
            raise StateError(
                f"{behind} records of {target.name} are not folded by every worker, so nothing of it was cut; the "
                "archive is recorded: start workers and try again"
            )
        with admin(settings) as client, _deletable(client, target):
            client.delete_records(held)


def refuse_building(settings: Settings) -> None:
    """Raise StateError while a rebuild is under way: it reads what is to be cut, or has folded it."""
    for one in generations.load(settings).all:
        if one.stage == "building":
            raise StateError(
                f"generation {one.number} is being built from the log: let it finish, or "
                f"`refold generations drop {one.number}`, and try again"
            )


def remove_unrecorded(settings: Settings, recorded: Mapping[str, Archive]) -> None:
    """Delete archives that stand for nothing: left by a run that ended early, or replaced."""
    kept = {archive.topic for archive in recorded.values()}
    ours = [re.compile(rf"{re.escape(target.name)}-archive-\d+") for target in targets(settings)]
    with admin(settings) as client:
        stale = [
            name for name in client.list_topics() if name not in kept and any(p.fullmatch(name) for p in ours)
        ]
        if stale:
            client.delete_topics(stale)


def _differs(made: Archive, number: int, offset: int) -> StateError:
    return StateError(
        f"{made.topic}[{number}] is not the log without the user at offset {offset}; nothing was cut: try again"
    )


def _source(log: Log, target: Target, number: int, end: int) -> Iterator[Record]:
    start = log.spans(target.topic)[number][0]
    for batch in log.read(target.topic, number, start, end):
        yield from batch


@contextmanager
def _deletable(client: KafkaAdminClient, target: Target) -> Iterator[None]:
    """Let records be deleted from a compacted topic too, which Kafka only allows while its policy says so."""
    if target.topic not in COMPACTED:
        yield
        return
    keep = {"retention.ms": "-1", "retention.bytes": "-1"}
    client.alter_configs([ConfigResource("topic", target.name, {**keep, "cleanup.policy": "compact,delete"})])
    try:
        yield
    finally:
        client.alter_configs([ConfigResource("topic", target.name, {**keep, "cleanup.policy": "compact"})])


def _next_name(target: Target) -> str:
    with admin(target.settings) as client:
        taken = [
            re.fullmatch(rf"{re.escape(target.name)}-archive-(\d+)", name) for name in client.list_topics()
        ]
    return f"{target.name}-archive-{1 + max((int(match[1]) for match in taken if match), default=0)}"


def _create(target: Target, name: str) -> None:
    settings = target.settings
    config = Topic(name, "", "").config() | {"max.message.bytes": str(LARGEST)}
    if settings.replication >= 3:
        config["min.insync.replicas"] = "2"
    with admin(settings) as client:
        client.create_topics(
            {
                name: {
                    "num_partitions": partitions_of(settings, target.topic),
                    "replication_factor": settings.replication,
                    "configs": config,
                }
            }
        )
        client.wait_for_topics([name])
