"""A seeded stream of events for measurements: skewed items, users who come, stay for a while and return."""

import random
import time
import uuid
from collections.abc import Callable, Iterator

from streams.events import Event

USERS, ITEMS, CATEGORIES = 10_000, 20_000, 60
PRESENT, STAY = 500, 8  # users active at a time, and the events of one visit on average


def skewed(draw: random.Random) -> int:
    """Return the number of an item, of very few most often."""
    return int(draw.paretovariate(0.6)) % ITEMS


def events(
    count: int, seed: int = 1, users: int = USERS, item_of: Callable[[random.Random], int] = skewed
) -> Iterator[Event]:
    """Yield events whose last one happens about now, a tenth of a second of event time apart."""
    draw = random.Random(seed)
    start = int(time.time() * 1000) - count * 100
    present = [draw.randrange(users) for _ in range(PRESENT)]
    for n in range(count):
        place = draw.randrange(PRESENT)
        if draw.random() < 1 / STAY:
            present[place] = draw.randrange(users)
        item = item_of(draw)
        yield Event(
            event_id=str(uuid.UUID(int=draw.getrandbits(128))),
            type=draw.choices(("view", "click", "purchase"), (6, 3, 1))[0],
            at=start + n * 100,
            user_id=f"user-{present[place]}",
            item_id=f"item-{item}",
            categories=(f"category-{item % CATEGORIES}",),
            surface="home",
        )
