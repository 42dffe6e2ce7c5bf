"""Drive: the world's people live with the real API: they ask for lists, look, choose, and say what they did.

One process, one event loop, HTTP alone; times are those of the clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec
import numpy as np

from api.answers import Answer
from ops.simulate.browse import PLACES, Acts, browse, of_list
from ops.simulate.world import Floats, Ints, Mask, World, appeal, drift, visitors
from streams.errors import Unavailable

RATE = 150.0  # lists a second at most
ASKING = 8  # requests on their way at once
BATCH = 500  # events or items a request
WAIT = 60.0  # seconds that a request may be turned away, and that the catalogue may take to be known
SURFACE = "home"
_answers = msgspec.json.Decoder(Answer)
A = TypeVar("A")
T = TypeVar("T")


class Round(NamedTuple):
    """One step: who asked, what each was shown (-1: nothing), what they did, and the truth about it.

    `chance` (people, things) is what each thing was worth to each of them, `live` which things were listed, `events`
    how many were said.
    """

    step: int
    people: Ints
    answers: Sequence[Answer]
    lists: Ints
    acts: Acts
    chance: Floats
    live: Mask
    events: int


async def live(api: httpx.AsyncClient, world: World, steps: int, lists: int) -> AsyncIterator[Round]:
    """Live the steps, with so many lists for returning people in each, and yield what each of them was."""
    for step in range(steps):
        began = time.monotonic()
        await _list_new(api, world, step)
        people = visitors(world, step, lists)
        answers = await _all(partial(_ask, api), people.tolist())
        shown = _numbers(answers)
        chance = appeal(world, people)
        acts = browse(of_list(chance, shown), world.seed, step)
        said = list(_events(people, answers, acts))
        await _all(partial(_post, api, "/v1/events"), _batches(said))
        yield Round(step, people, answers, shown, acts, chance, world.appears <= step, len(said))
        rows, places = np.nonzero(acts.clicked)
        world.had[people[rows], shown[rows, places]] = True
        drift(world, step)
        await asyncio.sleep(len(people) / RATE - (time.monotonic() - began))


async def _list_new(api: httpx.AsyncClient, world: World, step: int) -> None:
    """List the things that appear in a step; the first ones are waited for until the API knows them."""
    new = np.flatnonzero(world.appears == step).tolist()
    now = time.time_ns() // 1_000_000
    said = [
        {
            "item_id": f"thing-{one}",
            "title": f"Thing {one}",
            "categories": [f"category-{world.category[one]}"],
            "published_at": now,
        }
        for one in new
    ]
    await _all(partial(_post, api, "/v1/items"), _batches(said))
    deadline = time.monotonic() + WAIT
    for one in new if step == 0 else ():
        while (await api.get(f"/v1/items/thing-{one}")).status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                raise Unavailable(f"thing-{one} was listed and is not known to the API after {WAIT:g} s")
            await asyncio.sleep(0.2)


async def _ask(api: httpx.AsyncClient, person: int) -> Answer:
    answer = await sent(
        api, "GET", f"/v1/recommend/person-{person}", params={"n": PLACES, "surface": SURFACE}
    )
    return _answers.decode(answer.content)


async def _post(api: httpx.AsyncClient, path: str, said: list[dict[str, Any]]) -> None:
    done = (await sent(api, "POST", path, json=said)).json()
    if done["refused"]:
        raise Unavailable(f"POST {path} refused {done['refused'][0]}")


async def sent(api: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    """Send a request, again while the API is overloaded; raises Unavailable when it does not answer."""
    deadline = time.monotonic() + WAIT
    while True:
        answer = await api.request(method, path, **more)
        if answer.is_success:
            return answer
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            raise Unavailable(f"{method} {path} was answered {answer.status_code}: {answer.text[:300]}")
        await asyncio.sleep(0.2)


async def _all(do: Callable[[A], Awaitable[T]], over: Sequence[A]) -> list[T]:
    """Return what `do` gives for each, in order, ASKING of them at once."""
    left = iter(enumerate(over))
    done: dict[int, T] = {}

    async def work() -> None:
        for n, one in left:
            done[n] = await do(one)

    await asyncio.gather(*(work() for _ in range(ASKING)))
    return [done[n] for n in range(len(over))]


def _batches(said: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    return [said[start : start + BATCH] for start in range(0, len(said), BATCH)]


def _numbers(answers: Sequence[Answer]) -> Ints:
    lists = np.full((len(answers), PLACES), -1, dtype=np.int64)
    for row, answer in zip(lists, answers, strict=True):
        found = [int(item.item_id.removeprefix("thing-")) for item in answer.items[:PLACES]]
        row[: len(found)] = found
    return lists


def _events(people: Ints, answers: Sequence[Answer], acts: Acts) -> Iterator[dict[str, Any]]:
    for n, answer in enumerate(answers):
        for place, item in enumerate(answer.items[:PLACES]):
            kinds = (("impression", acts.seen), ("click", acts.clicked), ("purchase", acts.bought))
            for kind in (kind for kind, done in kinds if done[n, place]):
                yield {
                    "type": kind,
                    "user_id": f"person-{people[n]}",
                    "item_id": item.item_id,
                    "request_id": answer.request_id,
                    "surface": SURFACE,
                    "position": place,
                }
