"""The user agent: folds `events` and `profiles` into `users`, and tells others what concerns them.

Items hear of what was done to them, the learner of choices, the sums of experiments of what changed in a trial.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from agents.flush import Outgoing, Record
from agents.join import JoinAgent
from agents.table import Table
from models import marks, users
from models.users import User
from streams import archives, events, examples, profiles, touches
from streams.checks import MAX_ID_BYTES, OLDEST
from streams.errors import Refused
from streams.events import SESSION, Event
from streams.examples import Choice, Seen
from streams.partition import partition_of
from streams.settings import Settings
from streams.topology import partitions_of
from streams.touches import Said, origin_of

EVENTS, PROFILES = 0, 1  # sources of the table, in the topology's order
MOST_BYTES = 800_000  # of a record of touches or examples; a broker takes 1 MiB by default
MOST_SAID = 500  # in it: what folds it has other work to do in between
Each = TypeVar("Each", Said, Choice | Seen)


@dataclass(slots=True)
class Told:
    """What the events of one partition say: touches by partition, and examples, in origin order.

    Outcomes stand among the touches of the partition of the same number. What its slates say stands among the
    examples, in their order too.
    """

    touches: defaultdict[int, list[Said]] = field(default_factory=lambda: defaultdict(list))
    examples: list[Choice | Seen] = field(default_factory=list)


class UserAgent:
    """Folds records by partition; what it has to say waits in `take` for the next flush.

    One that never `speaks` folds what has been folded, and told, before. `join` folds the same events beside it, and
    slates; without it nothing is learned of these.
    """

    def __init__(
        self,
        settings: Settings,
        table: Table[User],
        weights: Mapping[str, float],
        join: JoinAgent | None = None,
        *,
        speaks: bool = True,
    ) -> None:
        self._settings = settings
        self._table = table
        self._weights = weights
        self._join = join
        self._speaks = speaks
        self._told: defaultdict[int, Told] = defaultdict(Told)
        self._erased: dict[int, list[Record]] = {}

    def fold_events(self, message: Any) -> None:
        """Fold a batch of events; raises Refused, having changed nothing, when any of them breaks the contract."""
        number, partitions = message.partition, self._settings.partitions
        now, first = int(message.timestamp * 1000), origin_of(message.offset, 0)
        origins: Iterable[int] = count(first)
        try:
            batch = events.decode(message.value, now)
        except Refused:
            if not archives.erased(message):
                raise
            left = events.decode_left(message.value, now)
            batch, origins = [event for _, event in left], [first + index for index, _ in left]
        keys = [event.user for event in batch]
        for key in keys:
            if partition_of(key, partitions) != number:
                raise Refused(f"user {key!r} does not belong to partition {number} of {partitions}")
        partition = self._table.partition(number)
        source = marks.source(EVENTS, self._settings.epoch, number)
        weights, speaks, join = self._weights, self._speaks, self._join
        told, dirty, get = self._told[number], partition.dirty, partition.get
        for key, event, origin in zip(keys, batch, origins, strict=False):
            if join is not None and (seen := join.fold_event(number, key, event, origin)) and speaks:
                told.examples.append(seen)
            user = get(key)
            if not marks.advance(user.marks, source, origin):
                continue
            touch, choice, outcomes = users.react(user, event, origin, weights, speaks=speaks)
            dirty[key] = user
            if outcomes:
                told.touches[number].extend(outcomes)
            if touch is not None:
                told.touches[partition_of(touch.item, partitions)].append(touch)
                if choice is not None:
                    told.examples.append(choice)
            elif event.type == users.ERASE:
                self._erased_by(event, user, number)

    def fold_slates(self, message: Any) -> None:
        """Fold a slate; raises Refused, having changed nothing."""
        if self._join is not None and (seen := self._join.fold_slate(message)) and self._speaks:
            self._told[message.partition].examples.append(seen)

    def fold_profiles(self, message: Any) -> None:
        """Fold a profile; a tombstone becomes an `erase` event, so that one log orders a user's life."""
        key = message_key(message, self._settings, SESSION)
        profile = None if message.value is None else profiles.decode(message.value)
        partition = self._table.partition(message.partition)
        user = partition.get(key)
        source = marks.source(PROFILES, self._settings.epoch, message.partition)
        if not marks.advance(user.marks, source, message.offset):
            return
        user.profile = None if profile is None else profile.attributes
        partition.put(key, user)
        if profile is None and self._speaks:
            session = key.removeprefix(SESSION) if key.startswith(SESSION) else ""
            erase = Event(
                event_id=f"{self._erasure(message.partition)}{message.offset}",
                type=users.ERASE,
                at=max(OLDEST, int(message.timestamp * 1000)),  # a client may give a record any time
                user_id=None if session else key,
                session_id=session or None,
            )
            self._erased.setdefault(message.partition, []).append((key.encode(), events.encode([erase])))

    def _erasure(self, partition: int) -> str:
        return f"erase-{self._settings.epoch}-{partition}-"

    def _erased_by(self, erase: Event, user: User, partition: int) -> None:
        """Do what the tombstone does that an erasure came from, if that is not folded: a broker drops tombstones."""
        head = self._erasure(partition)
        offset = erase.event_id.removeprefix(head)
        if not erase.event_id.startswith(head) or len(offset) > 18 or not offset.isdecimal():
            return
        if marks.advance(user.marks, marks.source(PROFILES, self._settings.epoch, partition), int(offset)):
            user.profile = None

    def take(self) -> Outgoing:
        """Return and forget what was said: touches, examples and erasures."""
        outgoing: dict[tuple[str, int], list[Record]] = {}
        for origin, told in self.tell().items():
            for topic, target, record in records_of(self._settings, origin, told):
                outgoing.setdefault((topic, target), []).append((None, record))
        erased, self._erased = self._erased, {}
        yield from ((topic, target, records) for (topic, target), records in outgoing.items())
        yield from ((self._settings.topic("events"), number, gone) for number, gone in erased.items())

    def tell(self) -> Mapping[int, Told]:
        """Return and forget what items and the learner are told, by partition of the events."""
        told, self._told = self._told, defaultdict(Told)
        return told


def records_of(settings: Settings, origin: int, told: Told) -> Iterator[tuple[str, int, bytes]]:
    """Yield topic, partition and value of the records in which an events partition tells something."""
    for target, said in told.touches.items():
        for record in _cut(touches.encode, settings.epoch, origin, said):
            yield settings.topic("touches"), target, record
    if told.examples:
        shard = origin % partitions_of(settings, "examples")
        for record in _cut(examples.encode, settings.epoch, origin, told.examples):
            yield settings.topic("examples"), shard, record


def _cut(
    encode: Callable[[int, int, list[Each]], bytes], epoch: int, origin: int, said: list[Each]
) -> Iterator[bytes]:
    """Yield records none of which is larger than a broker takes; marks are per event, so any cut is safe."""
    record = encode(epoch, origin, said)
    if len(said) == 1 or (len(record) <= MOST_BYTES and len(said) <= MOST_SAID):
        yield record
        return
    half = len(said) // 2
    yield from _cut(encode, epoch, origin, said[:half])
    yield from _cut(encode, epoch, origin, said[half:])


def message_key(message: Any, settings: Settings, prefix: str = "") -> str:
    """Return the key of a record as text; raises Refused when it is no id, or lies in a wrong partition.

    A prefix that may stand before an id does not count.
    """
    raw: bytes = message.key or b""
    if not 1 <= len(raw.removeprefix(prefix.encode()) or raw) <= MAX_ID_BYTES:
        raise Refused(f"a key has 1..{MAX_ID_BYTES} bytes, this one {len(raw)}")
    try:
        key = raw.decode()
    except UnicodeDecodeError:
        raise Refused(f"the key {raw!r} is not UTF-8") from None
    if partition_of(key, settings.partitions) != message.partition:
        raise Refused(
            f"key {key!r} does not belong to partition {message.partition} of {settings.partitions}"
        )
    return key
