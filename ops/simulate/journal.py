"""Journal: what a run came to, step by step, against chance and against the best."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ops.simulate.browse import expected, of_list
from ops.simulate.drive import Round
from ops.simulate.truth import bounds, favourites
from ops.simulate.world import Floats, World

NTH = 10  # of a newcomer's first lists so many are told apart
ENDS = 0.2  # of the steps at each end are told as first and last
LINES = ("ctr", "relevance", "random", "crowd", "oracle")


@dataclass
class Journal:
    """Sums by step and by a newcomer's nth list; `first_click` holds the step at which each thing was first chosen."""

    world: World
    steps: list[dict[str, float]] = field(default_factory=list)
    rungs: dict[str, int] = field(default_factory=dict)
    events: int = 0

    def __post_init__(self) -> None:
        things = len(self.world.things)
        self.asked = np.zeros(len(self.world.tastes), dtype=np.int64)
        self.shown = np.zeros(things, dtype=np.bool_)
        self.first_click = np.full(things, -1, dtype=np.int64)
        self.nth = np.zeros((NTH, len(LINES) + 1))

    def add(self, now: Round) -> None:
        """Take in a step, before the world moves on."""
        world, acts = self.world, now.acts
        crowd = favourites(world, np.flatnonzero(world.joins <= now.step))
        limits = bounds(now.chance, now.live, crowd)
        served = expected(of_list(now.chance, now.lists))
        seen, clicks = acts.seen.sum(axis=1), acts.clicked.sum(axis=1)
        lines = np.stack([clicks / seen, served, *limits], axis=1)
        self.steps.append({"step": now.step, "lists": len(now.people), **_named(lines.mean(axis=0))})
        self.steps[-1]["ctr"] = float(clicks.sum() / seen.sum())
        for answer in now.answers:
            self.rungs[answer.rung] = self.rungs.get(answer.rung, 0) + 1
        self.events += now.events
        here = (world.joins[now.people] > 0) & (self.asked[now.people] < NTH)
        np.add.at(self.nth, self.asked[now.people][here], np.c_[np.ones(here.sum()), lines[here]])
        self.asked[now.people] += 1
        self.shown[now.lists[acts.seen & (now.lists >= 0)]] = True
        clicked = np.unique(now.lists[acts.clicked])
        self.first_click[clicked[self.first_click[clicked] < 0]] = now.step

    def line(self, name: str) -> Floats:
        """Return one of LINES by step."""
        return np.array([step[name] for step in self.steps])

    def said(self) -> dict[str, Any]:
        """Return the figures."""
        ends = max(1, round(ENDS * len(self.steps)))
        new = np.flatnonzero((self.world.appears > 0) & (self.world.appears < len(self.steps)))
        found = new[self.first_click[new] >= 0]
        waited = self.first_click[found] - self.world.appears[found]
        return {
            "lists": int(self.asked.sum()),
            "events": self.events,
            "rungs": self.rungs,
            "first": _named([self.line(name)[:ends].mean() for name in LINES]),
            "last": _named([self.line(name)[-ends:].mean() for name in LINES]),
            "new_items": {
                "listed": len(new),
                "seen": round(float(self.shown[new].mean()), 3) if len(new) else None,
                "clicked": round(len(found) / len(new), 3) if len(new) else None,
                "steps_to_first_click": float(np.median(waited)) if len(found) else None,
            },
            "newcomers": [
                {"list": n + 1, "people": int(count), **_named(sums / count)}
                for n, (count, *sums) in enumerate(self.nth)
                if count
            ],
            "steps": [
                {"step": step["step"], "lists": step["lists"], **_named([step[name] for name in LINES])}
                for step in self.steps
            ],
        }


def _named(values: Any) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(LINES, values, strict=True)}
