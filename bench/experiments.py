"""What experiments cost a request on one core: ten at once beside none, turn by turn, and what writing slates costs.

Times are those of computing. The state is made up (bench/world.py), and both engines answer the same users from it; the
arms boost what there is none of, so that what differs is experimenting alone.
"""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, TypeVar

from api.answers import Answer, Request
from api.arms import unit
from api.engine import Engine
from api.exposures import ExposureLog
from api.memory import MemoryProducer
from api.metrics import Metrics
from api.slates import SlateLog
from bench.report import AT_MOST, report
from bench.world import USERS, World
from models.assignment import Assigner, Fixed
from models.surfaces import parse
from streams.experiments import Arm, Decision, Definition, Known, Metric, Record, Step, Where
from streams.settings import Settings
from streams.slates import Asked

N = 50  # items of a list
BATCH = 100  # slates written at once
CONFIG = parse({"surfaces": {"home": {"ttl_s": 0.0, "budget_ms": 1000.0}}})
TARGETS = {"share": (AT_MOST, 0.05), "slate_share": (AT_MOST, 0.03), "assign_us": (AT_MOST, 5.0)}
T = TypeVar("T")


def run(items: int = 20_000, times: int = 2_000) -> dict[str, Any]:
    """Measure and return the report, with the medians of as many requests."""
    world = World(items)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    try:
        figures = _measure(world, times)
    finally:
        os.sched_setaffinity(0, set(cores))
    return report("experiments", "none", {name: round(value, 4) for name, value in figures.items()}, TARGETS)


def _measure(world: World, times: int) -> dict[str, float]:
    assigners = [Assigner(Known(each), CONFIG, world.now) for each in ({}, tried(world.now))]
    engines = [Engine(world.state, CONFIG, experiments=Fixed(each)) for each in assigners]
    units = [unit(Request(at=world.now, user_id=f"user-{n}", n=N), world.user) for n in range(USERS)]
    rounds: list[list[float]] = [[], []]  # a combination of arms is put together when it is first met
    for each in rounds:
        for who in units:
            _timed(each, partial(assigners[1].assign, who))
    took: list[list[float]] = [[], []]
    writing: list[list[float]] = [[], []]
    answers: list[list[Answer]] = [[], []]
    for n in range(2 * times):
        request = Request(at=world.now, user_id=f"user-{n // 2 % USERS}", n=N)
        which = (n + n // 2) % 2  # each goes first every other time
        answers[which].append(_timed(took[which], partial(engines[which].recommend, request)))
        if len(answers[which]) == BATCH:
            writing[which].append(_written(engines[which], answers[which]))
            answers[which].clear()
    none, ten = (median(each[times // 10 :]) for each in took)  # the first ones warm up
    slate, slate_of_ten = map(median, writing)
    return {
        "none_ms": none,
        "ten_ms": ten,
        "slate_ms": slate,
        "slate_of_ten_ms": slate_of_ten,
        "share": (ten + slate_of_ten) / (none + slate) - 1.0,
        "slate_share": slate / none,
        "assign_us": median(rounds[1]) * 1000.0 / len(assigners[1].known.records),
        "first_round_us": sum(rounds[0]) * 1000.0 / USERS / len(assigners[1].known.records),
    }


def tried(now: int) -> dict[str, Record]:
    """Return ten experiments: four in two layers, two on who did something, one ramped, the others on everyone."""
    found = {}
    for n in range(10):
        arms = {"old": Arm(), "new": Arm(set={"boosts": {f"no-category-{n}": 2.0}})}
        said: dict[str, Any] = {"metrics": {"clicks": Metric("click", per="lists", primary=True)}}
        if n < 4:
            said |= {"layer": f"layer-{n // 2}", "slice": (n % 2 / 2, (n % 2 + 1) / 2)}
        elif n < 6:
            said |= {"where": Where(min_events=1)}
        elif n == 6:
            said |= {"ramp": (Step(now - 1, 0.9),)}
        one = Definition(key=f"trial-{n}", arms=arms, control="old", **said)
        found[one.key] = Record(
            key=one.key, state="running", versions=(one,), decided=(Decision("running", 0),)
        )
    return found


def _written(engine: Engine, answers: list[Answer]) -> float:
    """Return the ms of computing that the slate and the exposures of an answer take."""
    producer = MemoryProducer()
    exposed = ExposureLog(producer, Settings(), Metrics())
    log = SlateLog(producer, engine.slate, Settings(), Metrics(), engine.shown, exposed)

    async def write() -> None:
        await producer.start()
        for answer in answers:
            log.put(answer, Asked(n=N))
        await log.start()
        await asyncio.sleep(0.0)  # it has begun
        await log.stop()

    began = time.thread_time()
    asyncio.run(write())
    took = time.thread_time() - began
    assert len(producer.records("slates")) == len(answers)
    return took * 1000.0 / len(answers)


def _timed(took: list[float], call: Callable[[], T]) -> T:
    began = time.thread_time()
    result = call()
    took.append((time.thread_time() - began) * 1000.0)
    return result
