"""The user agent: folds `events` and `profiles` into `users`, and tells items what concerns them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from agents.flush import Outgoing, Record
from agents.table import Table
from models import marks, users, vectors
from models.users import User
from streams import archives, events, profiles, touches
from streams.checks import MAX_ID_BYTES, OLDEST
from streams.errors import Refused
from streams.events import SESSION, Event
from streams.partition import partition_of
from streams.rows import Vector
from streams.settings import Settings
from streams.touches import Link, Touch, origin_of

EVENTS, PROFILES = 0, 1  # sources of the table, in the topology's order
MOST_BYTES = 800_000  # of a record of touches; a broker takes 1 MiB by default


# by events partition and item partition: what the one has to say to the other, and the vectors it names
_Said = defaultdict[int, defaultdict[int, tuple[list[Touch | Link], list[Vector]]]]


def _nothing_said() -> _Said:
    return defaultdict(lambda: defaultdict(lambda: ([], [])))


class UserAgent:
    """Folds records by partition; what it has to say waits in `take` for the next flush.

    One that never `speaks` folds what has been folded, and told, before.
    """

    def __init__(
        self, settings: Settings, table: Table[User], weights: Mapping[str, float], *, speaks: bool = True
    ) -> None:
        self._settings = settings
        self._table = table
        self._weights = weights
        self._speaks = speaks
        self._said = _nothing_said()
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
        weights, dimensions, speaks = self._weights, self._settings.dimensions, self._speaks
        said, dirty, get = self._said[number], partition.dirty, partition.get
        for key, event, origin in zip(keys, batch, origins, strict=False):
            user = get(key)
            if not marks.advance(user.marks, source, origin):
                continue
            touch, led_by, links = users.react(user, event, origin, weights, dimensions, speaks=speaks)
            dirty[key] = user
            if touch is None:
                if event.type == users.ERASE:
                    self._erased_by(event, user, number)
                continue
            told, known = said[partition_of(touch.item, partitions)]
            if led_by is not None:
                touch.arrived = len(known)
                known.append(led_by)
            told.append(touch)
            for link in links:
                said[partition_of(link.item, partitions)][0].append(link)

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
        """Return and forget what was said: touches by (origin, item partition), and erasures."""
        said = self.tell()
        erased, self._erased = self._erased, {}
        topic, epoch = self._settings.topic("touches"), self._settings.epoch
        by_target: dict[int, list[Record]] = {}
        for origin, targets in said.items():
            for target, (told, led_by) in targets.items():
                for record in records_of(epoch, origin, told, led_by):
                    by_target.setdefault(target, []).append((None, record))
        yield from ((topic, target, records) for target, records in by_target.items())
        yield from ((self._settings.topic("events"), number, gone) for number, gone in erased.items())

    def tell(self) -> Mapping[int, Mapping[int, tuple[list[Touch | Link], list[Vector]]]]:
        """Return and forget what items are told: by origin and item partition, with the vectors named there."""
        said, self._said = self._said, _nothing_said()
        return said


def records_of(epoch: int, origin: int, told: list[Touch | Link], led_by: list[Vector]) -> Iterator[bytes]:
    """Yield the records of what an events partition says to an item partition, none larger than a broker takes."""
    record = touches.encode(epoch, origin, told, vectors.to_half(led_by))
    if len(record) <= MOST_BYTES or len(told) == 1:
        yield record
        return
    half = len(told) // 2  # marks are per event and row, so any cut is safe
    known = sum(1 for each in told[:half] if isinstance(each, Touch) and each.arrived >= 0)
    for each in told[half:]:
        if isinstance(each, Touch) and each.arrived >= 0:
            each.arrived -= known
    yield from records_of(epoch, origin, told[:half], led_by[:known])
    yield from records_of(epoch, origin, told[half:], led_by[known:])


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
