"""Trial: experiments on people whose tastes are known, so that a verdict can be compared with the truth.

better   lists that begin with the same picks for everybody against personal ones, which must win
broken   lists of what people like least, pinned for everybody: its guardrail must stop it
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import numpy as np

from models.verdict import Report
from ops.simulate.browse import PLACES, expected, of_list
from ops.simulate.drive import SURFACE, Round, sent
from ops.simulate.world import Floats, World, appeal
from streams.experiments import Arm, Definition, Metric, Record, Where

BETTER, BROKEN = "better-arm", "broken-arm"
LEARNING = 0.4  # of the steps pass before an experiment starts
PICKS = 6  # things of middling appeal that one arm begins everybody's lists with
MARGIN = 0.1  # relative harm that stops an experiment
KNOWN = 10  # events of someone who takes part in the first: lists for people of whom nothing is known are all alike
CLOSE = 1e-4  # two rates that are equal but for rounding
WAIT = 60.0  # seconds in which a report must have taken in all that was said
SAID = ("verdict", "words", "units", "comparisons", "notes")


@dataclass
class Tally:
    """What people came to in each arm of an experiment: lists, places seen, clicks, and the truth about the lists."""

    key: str
    control: str
    lists: dict[str, int] = field(default_factory=dict)
    sums: dict[str, list[float]] = field(default_factory=dict)
    people: set[int] = field(default_factory=set)

    def add(self, now: Round) -> None:
        """Take in a step."""
        worth = expected(of_list(now.chance, now.lists))
        for n, answer in enumerate(now.answers):
            if (arm := answer.arms.get(self.key)) is not None:
                self.people.add(int(now.people[n]))
                self.lists[arm] = self.lists.get(arm, 0) + 1
                row = (now.acts.seen[n].sum(), now.acts.clicked[n].sum(), worth[n])
                self.sums[arm] = [
                    old + float(new) for old, new in zip(self.sums.get(arm, [0.0] * 3), row, strict=True)
                ]

    def said(self) -> dict[str, dict[str, float]]:
        """Return the figures of each arm."""
        return {
            arm: {
                "lists": self.lists[arm],
                "ctr": round(clicks / seen, 4),
                "clicks_a_list": round(clicks / self.lists[arm], 4),
                "relevance": round(worth / self.lists[arm], 4),
            }
            for arm, (seen, clicks, worth) in sorted(self.sums.items())
        }


def better(world: World) -> Definition:
    """Return the experiment whose treatment is truly better."""
    picks = np.argsort(_liked(world))[len(world.things) // 2 :][:PICKS].tolist()
    return Definition(
        key=BETTER,
        arms={"picks": Arm(set={"pins": _pins(picks)}), "personal": Arm()},
        control="picks",
        surfaces=(SURFACE,),
        where=Where(min_events=KNOWN),
        metrics={"clicks": Metric(of="click", per="lists", primary=True)},
    )


def broken(world: World) -> Definition:
    """Return the experiment whose treatment ruins lists."""
    worst = np.argsort(_liked(world))[:PLACES].tolist()
    return Definition(
        key=BROKEN,
        arms={
            "control": Arm(),
            "pinned": Arm(set={"pins": _pins(worst)}),
        },
        control="control",
        surfaces=(SURFACE,),
        metrics={"clicks": Metric(of="click", per="lists", primary=True, margin=MARGIN)},
    )


def _liked(world: World) -> Floats:
    """Return how everybody likes each thing in the mean; what comes later stands last."""
    liked = appeal(world, np.arange(len(world.tastes))).mean(axis=0)
    return np.where(world.appears == 0, liked, np.inf)


def _pins(things: Sequence[int]) -> dict[str, int]:
    return {f"thing-{thing}": place for place, thing in enumerate(things, 1)}


def starts(steps: int) -> int:
    """Return the step after which an experiment starts."""
    return round(LEARNING * steps)


async def begin(api: httpx.AsyncClient, tried: Definition) -> None:
    """Define an experiment and start it."""
    await sent(api, "PUT", f"/v1/experiments/{tried.key}", json=msgspec.to_builtins(tried))
    await sent(api, "POST", f"/v1/experiments/{tried.key}/start")


async def record(api: httpx.AsyncClient, key: str) -> Record:
    """Return what stands of an experiment."""
    return msgspec.json.decode((await sent(api, "GET", f"/v1/experiments/{key}")).content, type=Record)


def stop_of(found: Record) -> dict[str, Any]:
    """Return how an experiment was stopped, and seconds from its start until then; empty while it runs."""
    began = next(one for one in found.decided if one.state == "running")
    last = found.decided[-1]
    if last.state == "running":
        return {}
    return {"by": last.by, "reason": last.reason, "seconds": round((last.at - began.at) / 1000, 1)}


async def judged(api: httpx.AsyncClient, key: str) -> Report:
    """Return the report of the moment."""
    answer = await sent(api, "GET", f"/v1/experiments/{key}/report")
    return msgspec.json.decode(answer.content, type=Report)


async def report(api: httpx.AsyncClient, tally: Tally) -> Report:
    """Return the report once it has counted all that was said, or as it is after WAIT seconds."""
    deadline = time.monotonic() + WAIT
    while True:
        found = await judged(api, tally.key)
        if counted(found, tally) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)


def counted(found: Report, tally: Tally) -> bool:
    """Tell whether a report has everybody who was shown a list, and just as many clicks a list as there were."""
    arms = tally.said()
    return sum(found.units.values()) == len(tally.people) and all(
        value is not None and abs(value - arms[arm]["clicks_a_list"]) < CLOSE
        for one in found.comparisons
        for arm, value in ((one.arm, one.value), (tally.control, one.control))
    )


def told(found: Report) -> dict[str, Any]:
    """Return what a report says, in short."""
    said: dict[str, Any] = msgspec.to_builtins(found)
    return {name: said[name] for name in SAID}
