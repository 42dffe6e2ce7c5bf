"""A world in memory for tests of the past: a log whose records were written one after the other, touches included."""

import random

from agents.fake import Message, Rows
from agents.table import Table
from agents.users import UserAgent
from models.actions import DEFAULTS
from models.users import User
from ops.log.fake import Log
from ops.past.replay import Ground
from streams import events, items, profiles
from streams.errors import Refused
from streams.events import Event
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings

START = 1_750_000_000_000
STEP = 10_000  # ms between two records of events
SETTINGS = Settings(partitions=2, dimensions=16)


class World:
    """A log that `live` goes on writing: a catalogue first, then what users do, as a worker would tell the items."""

    def __init__(self, seed=0, settings=SETTINGS, users=12, items_=30):
        self.settings, self.log, self.now = settings, Log(settings.partitions), START
        self._draw, self._users, self._items, self._count = random.Random(seed), users, items_, 0
        self._agent = UserAgent(settings, Table("users", Rows(), User, User.from_row, 10_000), DEFAULTS)
        for n in range(items_):
            self.item(f"item-{n}", Item(title=f"Title {n}", categories=(f"kind-{n % 3}",)))

    def ground(self, folder, **changed):
        values = {
            "log": self.log,
            "settings": self.settings,
            "weights": DEFAULTS,
            "snapshots": folder,
            **changed,
        }
        return Ground(**values)

    def live(self, records):
        """Let users do something in so many records; return the time of the last."""
        for _ in range(records):
            self.now += STEP
            self._do()
        return self.now

    def _do(self):
        draw, count = self._draw, self.settings.partitions
        user = f"user-{draw.randrange(self._users)}"
        batch = [
            Event(
                event_id=f"{self._count}-{k}" if draw.random() < 0.9 else "again",
                type=draw.choice(("impression", "click", "purchase", "view")),
                at=self.now - (86_400_000 if draw.random() < 0.05 else 0),
                user_id=user,
                item_id=f"item-{int(draw.paretovariate(0.9)) % self._items}",
                surface="home",
                position=k,
                categories=(f"kind-{k}",),
            )
            for k in range(draw.randint(1, 4))
        ]  # fmt: skip
        self._count += 1
        self.events(user, events.encode(batch))
        if draw.random() < 0.1:
            value = profiles.encode(Profile(attributes={"country": draw.choice(("de", "fr"))}))
            self.log.append("profiles", partition_of(user, count), user.encode(), value, self.now)
        if draw.random() < 0.1:
            self.item(f"item-{draw.randrange(self._items)}", Item(title=f"again {self._count}"))
        if draw.random() < 0.05:
            self.events(user, b"\xc1 poison")

    def events(self, user, value):
        """Write a record of events, and what a worker says of it."""
        number = partition_of(user, self.settings.partitions)
        offset = self.log.append("events", number, user.encode(), value, self.now)
        message = Message("events", number, offset, user.encode(), value, self.now / 1000)
        try:
            self._agent.fold_events(message)
        except Refused:
            return
        for topic, target, records in self._agent.take():
            for key, said in records:
                self.log.append(topic, target, key, said, self.now + 1)

    def item(self, key, item):
        """Write a record of the catalogue."""
        number = partition_of(key, self.settings.partitions)
        self.log.append("items", number, key.encode(), items.encode(item), self.now)
