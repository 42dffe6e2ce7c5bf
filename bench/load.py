"""A seeded stream of events for measurements: skewed items, returning users, as shops see them."""

import random
import time
import uuid
from collections.abc import Iterator

from streams.events import Event

USERS, ITEMS, CATEGORIES = 10_000, 20_000, 60


def events(count: int, seed: int = 1) -> Iterator[Event]:
    """Yield events whose last one happens about now, a tenth of a second of event time apart."""
    draw = random.Random(seed)
    start = int(time.time() * 1000) - count * 100
    for n in range(count):
        item = int(draw.paretovariate(0.6)) % ITEMS
        yield Event(
            event_id=str(uuid.UUID(int=draw.getrandbits(128))),
            type=draw.choices(("view", "click", "purchase"), (6, 3, 1))[0],
            at=start + n * 100,
            user_id=f"user-{draw.randrange(USERS)}",
            item_id=f"item-{item}",
            categories=(f"category-{item % CATEGORIES}",),
            surface="home",
        )
