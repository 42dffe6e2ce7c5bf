"""Loop: whether lists get better because people use them, from a cold start."""

from collections.abc import Callable

import httpx

from ops.simulate.drive import live
from ops.simulate.journal import Journal
from ops.simulate.world import World

Advance = Callable[[int], None]


async def loop(api: httpx.AsyncClient, world: World, steps: int, lists: int, advance: Advance) -> Journal:
    """Live all steps and return what they came to."""
    journal = Journal(world)
    async for now in live(api, world, steps, lists):
        journal.add(now)
        advance(1)
    return journal


def checks(journal: Journal) -> dict[str, bool]:
    """Return what must hold of a loop that closes."""
    said = journal.said()
    first, last = said["first"], said["last"]
    return {
        "the click rate rose": last["ctr"] > first["ctr"],
        "lists are better than random ones": last["relevance"] > last["random"],
    }
