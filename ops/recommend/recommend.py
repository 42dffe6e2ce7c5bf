"""Recommend: lists in bulk from a state of one's own, so that no API process is kept busy by them."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from api.answers import Answer, Request
from api.engine import Engine
from api.exposures import ExposureLog
from api.kafka_producer import KafkaProducer
from api.metrics import Metrics
from api.registry import Follower
from api.services import wall_clock
from api.slates import SlateLog
from api.tables import LocalTables
from api.travel import known
from models.surfaces import Config
from ops.past.engine import Moment, engine_of
from ops.progress import Begin, silent
from ops.recommend import lists
from ops.recommend.replica import caught_up
from streams import experiments, models
from streams.errors import Refused, Unavailable
from streams.generations import of_live
from streams.settings import Settings
from streams.slates import Asked

CONNECT_SECONDS = 10.0


def recommend(
    settings: Settings, config: Config, out: Path, *, surface: str, n: int, users: Sequence[str] = (),
    log_slates: bool = False, folder: Path | None = None, begin: Begin = silent,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Write a list for each of the users, all that are known if none are named, and return what was done.

    The state is that of the live generation, held in `folder` for the next time, or thrown away without one. Raises
    Refused for what cannot be meant, Unavailable without a broker.
    """
    if surface not in config.surfaces:
        raise Refused(
            f"surface {surface!r} is not configured; there are {', '.join(sorted(config.surfaces))}"
        )
    lists.check(out)
    live = of_live(settings)
    with contextlib.ExitStack() as stack:
        settings.data.mkdir(parents=True, exist_ok=True)
        parts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recommend-", dir=settings.data)))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        asked = Request(at=0, n=n, surface=surface)
        held = folder or parts / "state"
        job = _recommend(live, config, out, asked, users, parts, held, begin, tell, log_slates=log_slates)
        return runner.run(job)


async def _recommend(
    settings: Settings, config: Config, out: Path, asked: Request, users: Sequence[str], parts: Path,
    folder: Path, begin: Begin, tell: Callable[[str], None], *, log_slates: bool,
) -> dict[str, Any]:  # fmt: skip
    began, metrics = time.monotonic(), Metrics()
    rankers = Follower(settings, metrics)
    await rankers.take(await asyncio.to_thread(models.load, settings))
    moment = Moment(await asyncio.to_thread(experiments.load, settings), wall_clock())
    async with contextlib.AsyncExitStack() as stack:
        live = await stack.enter_async_context(caught_up(settings, folder, tell))
        engine = engine_of(live.state, config, moment, rankers=rankers)
        chosen = users or _everyone(live.replica)
        ready = time.monotonic()
        log = await _logging(stack, settings, engine, metrics, asked) if log_slates else _nothing
        made = await lists.write(engine, chosen, asked, out, parts, wall_clock, log, begin(len(chosen)))
        seconds = time.monotonic() - ready
    return {
        "out": str(out),
        "users": len(chosen),
        "lists": made.lists,
        "unknown": made.unknown,
        "empty": made.empty,
        "rungs": dict(sorted(made.rungs.items())),
        "slates": made.lists if log_slates else 0,
        "caught_up_s": round(ready - began, 3),
        "seconds": round(seconds, 3),
        "lists_per_s": round(made.lists / seconds, 1),
    }


def _everyone(replica: LocalTables) -> list[str]:
    found = [user_id for user_id in replica.users() if (user := replica.user(user_id)) and known(user)]
    if not found:
        raise Refused("no user is known yet: send events, or name users with --users")
    return found


async def _logging(
    stack: contextlib.AsyncExitStack, settings: Settings, engine: Engine, metrics: Metrics, asked: Request
) -> lists.Log:
    """Return what writes the slates of answers, as an API process does; raises Unavailable."""
    producer = KafkaProducer(settings)
    await producer.start()
    stack.push_async_callback(producer.stop)
    exposed = ExposureLog(producer, settings, metrics)
    slates = SlateLog(producer, engine.slate, settings, metrics, engine.shown, exposed)
    until = time.monotonic() + CONNECT_SECONDS
    while not producer.connected:
        if time.monotonic() > until:
            raise Unavailable(
                f"Kafka at {settings.kafka!r} takes no slates: leave out --log-slates, or try again"
            )
        await asyncio.sleep(0.05)

    async def log(answers: Sequence[Answer]) -> None:
        for answer in answers:
            slates.put(answer, Asked(n=asked.n))
        await slates.flush()
        lost = metrics.registry.get_sample_value("refold_slates_total", {"fate": "dropped"})
        if lost:
            raise Unavailable(f"{lost:.0f} slates were not acknowledged by Kafka; run it again")

    return log


async def _nothing(_: Sequence[Answer]) -> None:
    """Log nothing."""
