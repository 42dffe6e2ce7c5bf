"""Events of a few users for tests on a broker: the same for the same seed, but for their times."""

import random
import time

from streams.events import Event


def clicks(count, seed):
    draw = random.Random(seed)
    start = int(time.time() * 1000) - 3_600_000
    for n in range(count):
        item = int(draw.paretovariate(0.8)) % 60
        yield Event(
            event_id=f"{seed}-{n}",
            type=draw.choices(("impression", "view", "click", "purchase"), (4, 3, 2, 1))[0],
            at=start + n * 100,
            user_id=f"user-{draw.randrange(40)}",
            item_id=f"item-{item}",
            surface="home",
            position=n % 10,
            categories=(f"category-{item % 5}",),
        )
