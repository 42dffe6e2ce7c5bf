"""Scenarios: what people live through, and what must come of it.

loop         from a cold start lists must get better because people use them
better-arm   an experiment with a treatment that is truly better must say so
broken-arm   an experiment with a treatment that ruins lists must be stopped by its guardrail
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import httpx

from ops.simulate import trial
from ops.simulate.drive import Round, live
from ops.simulate.journal import Journal
from ops.simulate.trial import Tally
from ops.simulate.world import World

AFTER = 3  # steps that are lived after an experiment was stopped


class Stage(NamedTuple):
    """Where a scenario is played: the API, the people, for so many steps with so many lists; `advance` takes steps."""

    api: httpx.AsyncClient
    world: World
    steps: int
    lists: int
    advance: Callable[[int], None]


class Played(NamedTuple):
    """What a scenario came to: the journal, further figures, and what had to hold."""

    journal: Journal
    figures: dict[str, Any]
    checks: dict[str, bool]


async def loop(stage: Stage) -> Played:
    """Live all steps."""
    journal = Journal(stage.world)
    async for _ in _lived(stage, journal):
        pass
    first, last = journal.ends()
    checks = {
        "the click rate rose": last["ctr"] > first["ctr"],
        "lists got better": last["relevance"] > first["relevance"],
        "lists are better than random ones": last["relevance"] > last["random"],
    }
    return Played(journal, {}, checks)


async def better_arm(stage: Stage) -> Played:
    """Learn, then compare lists with the same picks for everybody with personal ones until the end."""
    tried = trial.better(stage.world)
    journal, tally = Journal(stage.world), Tally(tried.key, tried.control)
    async for now in _lived(stage, journal):
        tally.add(now)
        if now.step == trial.starts(stage.steps):
            await trial.begin(stage.api, tried)
    report = await trial.report(stage.api, tally)
    arms = tally.said()
    checks = {
        "personal lists are truly better": arms["personal"]["relevance"] > arms["picks"]["relevance"],
        "the report says so": report.verdict == "better",
        "the report counts what happened": trial.counted(report, tally),
    }
    return Played(journal, {"arms": arms, "report": trial.told(report)}, checks)


async def broken_arm(stage: Stage) -> Played:
    """Learn, then try what ruins lists until its guardrail stops it, and a few steps more."""
    tried = trial.broken(stage.world)
    journal = Journal(stage.world)
    tally, later = Tally(tried.key, tried.control), Tally(tried.key, tried.control)
    stopped: dict[str, Any] = {}
    report, left = None, AFTER
    async for now in _lived(stage, journal):
        if now.step == trial.starts(stage.steps):
            await trial.begin(stage.api, tried)
        elif now.step > trial.starts(stage.steps):
            (later if stopped else tally).add(now)
            left -= bool(stopped)
            if not stopped and (stopped := trial.stop_of(await trial.record(stage.api, tried.key))):
                report = await trial.judged(stage.api, tried.key)
        if not left:
            break
    arms = tally.said()
    checks = {
        "the arm truly ruins lists": arms["pinned"]["relevance"] < arms["control"]["relevance"],
        "its guardrail stopped it": stopped.get("by") == "guardrail",
        "nobody was in it afterwards": bool(stopped) and not later.lists,
    }
    report = report or await trial.judged(stage.api, tried.key)
    return Played(journal, {"arms": arms, "stopped": stopped, "report": trial.told(report)}, checks)


async def _lived(stage: Stage, journal: Journal) -> AsyncIterator[Round]:
    async for now in live(stage.api, stage.world, stage.steps, stage.lists):
        journal.add(now)
        yield now
        stage.advance(1)


SCENARIOS: dict[str, Callable[[Stage], Awaitable[Played]]] = {
    "loop": loop,
    trial.BETTER: better_arm,
    trial.BROKEN: broken_arm,
}
