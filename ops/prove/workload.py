"""The workload: a seeded log with duplicates, disorder, late events and poison, whose truth is known beforehand."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec

from streams import events, items, profiles
from streams.events import Event
from streams.exposures import EXPOSURE, Exposure
from streams.items import Item
from streams.partition import partition_of
from streams.producer import producer
from streams.profiles import Profile
from streams.settings import Settings

USERS, ITEMS, CATEGORIES = 2_000, 1_500, 30
START = 1_700_000_000_000  # event time of the first event, ms; a seed gives the same bytes every day
STEP = 400  # ms of event time between two events
DUPLICATES, SWAPPED, LATE = 0.05, 0.05, 0.01  # shares of the events
SWAP = 60_000  # ms by which a swapped event is early or late
DAY = 86_400_000
EXPOSED = 0.1  # share of the events that are exposures
EXPERIMENTS = ("blue", "green", "red")
MEASURES = ("lists", "click", "purchase.value", "view.any@home", "days", "pre.click", "capped")
RECENT = 16  # events of a user that may come again: far within the 64 ids a row remembers
BATCH = 64
COUNTRIES = ("de", "fr", "pt", "pl")
TYPES = {"impression": 4, "view": 3, "click": 2, "add_to_cart": 1, "purchase": 1, "hide": 0.1, "rating": 0.5}
BIG = 900_000  # bytes
ACK_SECONDS = 300  # a broker may be away for long


@dataclass(frozen=True, slots=True)
class Written:
    """A record of the log, how many events it means, how many of them are duplicates, and whether it is refused."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    events: int = 0
    duplicates: int = 0
    poison: bool = False


class Source:
    """Makes records in the order of a seed; the same seed gives the same records."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._draw = random.Random(seed)
        self._partitions = settings.partitions
        self._users: dict[int, list[str]] = {n: [] for n in range(settings.partitions)}
        for n in range(USERS):
            self._users[partition_of(f"user-{n}", settings.partitions)].append(f"user-{n}")
        self._recent: dict[str, deque[Event]] = {}
        self._number = 0

    def records(self, count: int) -> Iterator[Written]:
        """Yield the catalogue, then records of together `count` events or a few more, with all that comes beside."""
        for n in range(ITEMS):
            yield self._item(f"item-{n}")
        sent = 0
        while sent < count:
            chance = self._draw.random()
            if chance < 0.04:
                yield self._item(f"item-{self._draw.randrange(ITEMS)}", gone=0.1)
            elif chance < 0.09:
                yield self._profile(f"user-{self._draw.randrange(USERS)}", gone=0.3)
            elif chance < 0.095:
                yield self._poisoned_row()
            elif chance < 0.145:  # a record of poison means fewer events than a good one
                record = self._poison()
                sent += record.events
                yield record
            else:
                record = self._batch()
                sent += record.events
                yield record

    def _batch(self) -> Written:
        number = self._draw.randrange(self._partitions)
        batch, duplicates = [], 0
        for _ in range(self._draw.randint(1, BATCH)):
            user = self._draw.choice(self._users[number])
            recent = self._recent.setdefault(user, deque(maxlen=RECENT))
            if recent and self._draw.random() < DUPLICATES:
                batch.append(self._draw.choice(recent))
                duplicates += 1
            else:
                batch.append(self._event(user))
                recent.append(batch[-1])
        return self._events(number, batch, duplicates)

    def _events(
        self, number: int, batch: list[Event], duplicates: int = 0, *, poison: bool = False
    ) -> Written:
        key = batch[0].user.encode()
        return Written("events", number, key, events.encode(batch), len(batch), duplicates, poison)

    def _event(self, user: str, **changed: Any) -> Event:
        draw = self._draw
        self._number += 1
        at = START + self._number * STEP
        chance = draw.random()
        if chance < SWAPPED:
            at += draw.randint(-SWAP, SWAP)
        elif chance < SWAPPED + LATE:
            at -= DAY + draw.randrange(DAY // 24)
        item = int(draw.paretovariate(0.7)) % ITEMS
        if not changed and draw.random() < EXPOSED:
            return self._exposure(user, at)
        event = Event(
            event_id=f"event-{self._number}",
            type=draw.choices(list(TYPES), list(TYPES.values()))[0],
            at=at,
            user_id=user,
            item_id=None if draw.random() < 0.02 else f"item-{item}",
            surface=draw.choice(("home", "search", None)),
            position=draw.choice((None, draw.randrange(30))),
            categories=(f"category-{item % CATEGORIES}",),
            value=float(draw.randint(1, 5)),
            context={"country": draw.choice(COUNTRIES)} if draw.random() < 0.5 else {},
        )
        return msgspec.structs.replace(event, **changed) if changed else event

    def _exposure(self, user: str, at: int) -> Event:
        """Return a list shown under an experiment or two, whose arms go by the user."""
        draw = self._draw
        return Event(
            event_id=f"event-{self._number}",
            type=EXPOSURE,
            at=at,
            user_id=user,
            request_id=f"request-{self._number}",
            surface="home",
            value=20.0,
            exposures=tuple(
                Exposure(key, 1, "ab"[crc32(f"{key}{user}".encode()) % 2], MEASURES)
                for key in draw.sample(EXPERIMENTS, draw.randint(1, 2))
            ),
        )

    def _poison(self) -> Written:
        """Return a record of `events` that is refused, of a kind as it comes."""
        draw = self._draw
        number = draw.randrange(self._partitions)
        batch = [self._event(draw.choice(self._users[number])) for _ in range(draw.randint(1, 8))]
        place = draw.randrange(len(batch))
        spoil = msgspec.structs.replace
        kinds: list[Callable[[], bytes | Event | None]] = [
            lambda: b"\xc1 no MessagePack",
            lambda: msgspec.msgpack.encode([{"colour": "green"}]),
            lambda: b"",
            lambda: None,
            lambda: draw.randbytes(BIG),
            lambda: spoil(batch[place], value=float("nan")),
            lambda: spoil(batch[place], v=99),
            lambda: spoil(batch[place], user_id=self._users[(number + 1) % self._partitions][0]),
            lambda: spoil(batch[place], at=4_000_000_000_000),
            lambda: spoil(batch[place], user_id=None),
        ]
        spoilt = draw.choices(kinds, [1, 1, 1, 1, 0.1, 1, 1, self._partitions > 1, 1, 1])[0]()
        if isinstance(spoilt, Event):
            batch[place] = spoilt
            return Written("events", number, b"key", events.encode(batch), len(batch), poison=True)
        return Written("events", number, b"key", spoilt, 1, poison=True)

    def _poisoned_row(self) -> Written:
        """Return a record of `items` or `profiles` that is refused; these count no events."""
        name = f"item-{self._draw.randrange(ITEMS)}"
        number = partition_of(name, self._partitions)
        nan = items.encode(Item(attributes={"price": float("nan")}))
        topic, key, value = self._draw.choice(
            [
                ("items", name.encode(), b"\xc1 no MessagePack"),
                ("items", name.encode(), nan),
                ("items", b"", items.encode(Item(title="nameless"))),
                ("profiles", b"", profiles.encode(Profile())),
                ("profiles", name.encode(), msgspec.msgpack.encode({"v": 7})),
            ]
        )
        return Written(topic, number, key, value, poison=True)

    def _item(self, name: str, gone: float = 0.0) -> Written:
        draw = self._draw
        number = int(name.rpartition("-")[2])
        item = Item(title=f"{name} {draw.randrange(100)}", categories=(f"category-{number % CATEGORIES}",))
        value = None if draw.random() < gone else items.encode(item)
        return Written("items", partition_of(name, self._partitions), name.encode(), value)

    def _profile(self, name: str, gone: float) -> Written:
        profile = Profile(attributes={"country": self._draw.choice(COUNTRIES)})
        value = None if self._draw.random() < gone else profiles.encode(profile)
        return Written("profiles", partition_of(name, self._partitions), name.encode(), value)


@dataclass
class Account:
    """What was written: events, duplicates among them, and the places of the records to be refused."""

    events: int = 0
    duplicates: int = 0
    refused: dict[tuple[str, int, int], int] = field(default_factory=dict)  # place -> events it means

    @property
    def refused_events(self) -> int:
        """Events in refused records."""
        return sum(self.refused.values())


class Writer(threading.Thread):
    """Writes a workload of `count` events evenly over `seconds`; while `hold` is set it waits."""

    def __init__(self, settings: Settings, seed: int, count: int, seconds: float) -> None:
        super().__init__(name="workload", daemon=True)
        self.account = Account()
        self.hold = threading.Event()
        self._settings = settings
        self._source = Source(settings, seed)
        self._count = count
        self._rate = count / seconds
        self._failed: BaseException | None = None

    def run(self) -> None:
        """Write everything; what goes wrong is kept for `finish`."""
        try:
            asyncio.run(self._write())
        except Exception as error:  # noqa: BLE001 - raised again in `finish`
            self._failed = error

    def finish(self) -> Account:
        """Wait for the last acknowledgement and return what was written; raises what went wrong."""
        self.join()
        if self._failed is not None:
            raise self._failed
        return self.account

    async def _write(self) -> None:
        """Write with aiokafka: kafka-python's producer forgot a batch for ever when the broker was killed often."""
        everything: list[Any] = []
        poison: list[tuple[int, Any]] = []
        paused, began = 0.0, time.monotonic()
        async with producer(self._settings, BIG + 1_000, ACK_SECONDS) as to:
            for record in self._source.records(self._count):
                while self.hold.is_set():
                    await asyncio.sleep(0.1)
                    paused += 0.1
                sent = await to.send(
                    self._settings.topic(record.topic),
                    key=record.key,
                    value=record.value,
                    partition=record.partition,
                )
                everything.append(sent)
                if record.poison:
                    poison.append((record.events, sent))
                self.account.events += record.events
                self.account.duplicates += record.duplicates
                ahead = self.account.events / self._rate - (time.monotonic() - began - paused)
                if ahead > 0.02:
                    await asyncio.sleep(ahead)
            for sent in everything:
                await sent  # raises where the broker did not take it
        for meant, sent in poison:
            at = sent.result()
            self.account.refused[at.topic, at.partition, at.offset] = meant
