"""Journal: what a run came to, step by step, against chance and against the best."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ops.simulate.browse import expected, of_list
from ops.simulate.drive import Round
from ops.simulate.truth import bounds, favourites
from ops.simulate.world import Floats, World

NTH = 10  # of a newcomer's first lists so many are told apart
ENDS = 0.2  # of the steps at each end are told as first and last
TRUE = ("relevance", "random", "crowd", "oracle")
LINES = ("ctr", *TRUE)
SUMS = 3 + len(TRUE)  # of lists: how many, places on the screen, clicks, and the truth about them


def _none() -> Floats:
    return np.zeros(SUMS)


@dataclass
class Journal:
    """Sums by step, by rung and by a newcomer's nth list; `first_click` holds the step of each thing's first choice."""

    world: World
    steps: list[Floats] = field(default_factory=list)
    rungs: dict[str, Floats] = field(default_factory=lambda: defaultdict(_none))
    events: int = 0

    def __post_init__(self) -> None:
        things = len(self.world.things)
        self.asked = np.zeros(len(self.world.tastes), dtype=np.int64)
        self.shown = np.zeros(things, dtype=np.bool_)
        self.first_click = np.full(things, -1, dtype=np.int64)
        self.nth = np.zeros((NTH, SUMS))

    def add(self, now: Round) -> None:
        """Take in a step, before the world moves on."""
        world, acts, people = self.world, now.acts, now.people
        seen = acts.seen & (now.lists >= 0)
        served = expected(of_list(now.chance, now.lists))
        limits = bounds(now.chance, now.live, favourites(world, np.flatnonzero(world.joins <= now.step)))
        counts = (np.ones(len(people)), seen.sum(axis=1), acts.clicked.sum(axis=1))
        sums = np.stack([*counts, served, *limits], axis=1)
        self.steps.append(sums.sum(axis=0))
        for answer, row in zip(now.answers, sums, strict=True):
            self.rungs[answer.rung] += row
        self.events += now.events
        here = (world.joins[people] > 0) & (self.asked[people] < NTH)
        np.add.at(self.nth, self.asked[people][here], sums[here])
        self.asked[people] += 1
        self.shown[now.lists[seen]] = True
        clicked = np.unique(now.lists[acts.clicked])
        self.first_click[clicked[self.first_click[clicked] < 0]] = now.step

    def line(self, name: str) -> Floats:
        """Return one of LINES by step."""
        return np.array([_told(step)[name] for step in self.steps])

    def ends(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the figures of the first and of the last steps."""
        count = max(1, round(ENDS * len(self.steps)))
        return _told(sum(self.steps[:count], _none())), _told(sum(self.steps[-count:], _none()))

    def said(self) -> dict[str, Any]:
        """Return all figures."""
        first, last = self.ends()
        new = np.flatnonzero((self.world.appears > 0) & (self.world.appears < len(self.steps)))
        found = new[self.first_click[new] >= 0]
        waited = self.first_click[found] - self.world.appears[found]
        return {
            "lists": int(self.asked.sum()),
            "events": self.events,
            "first": first,
            "last": last,
            "newcomers": [{"list": n + 1, **_told(sums)} for n, sums in enumerate(self.nth) if sums[0]],
            "new_items": {
                "listed": len(new),
                "seen": int(self.shown[new].sum()),
                "clicked": len(found),
                "steps_to_first_click": float(np.median(waited)) if len(found) else None,
            },
            "rungs": {rung: _told(sums) for rung, sums in self.rungs.items()},
            "steps": [{"step": n, **_told(sums)} for n, sums in enumerate(self.steps)],
        }


def _told(sums: Floats) -> dict[str, Any]:
    lists, seen, clicks, *truth = sums.tolist()
    means = dict(zip(TRUE, (round(each / lists, 4) for each in truth), strict=True))
    return {"lists": int(lists), "ctr": round(clicks / max(seen, 1.0), 4), **means}
