"""Scenarios with experiments, on an API that is played: what they check is the truth, and the word of the API."""

import asyncio

import httpx
import numpy as np
import pytest

from ops.simulate import drive, trial
from ops.simulate.scenarios import Stage, better_arm, broken_arm
from ops.simulate.world import appeal, build
from tests.ops.simulate.played import Api

STEPS = 10
GOOD, BAD = 1.0, -1.0


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(drive, "RATE", 1e9)


def play(scenario, worth, **more):
    """Play a scenario where the arms' lists are as good as `worth` says: best first, or worst."""
    world = build(60, 60, STEPS, 1)

    def ranks(person, arm=""):
        return worth.get(arm, GOOD) * appeal(world, np.array([person]))[0]

    api = Api(ranks, **more)

    async def go():
        async with httpx.AsyncClient(transport=httpx.MockTransport(api), base_url="http://api") as client:
            return await scenario(Stage(client, world, STEPS, 20, lambda _: None))

    return asyncio.run(go()), api


def test_a_better_arm_that_wins_is_all_that_is_asked():
    played, api = play(better_arm, {"picks": BAD}, verdict="better")

    assert all(played.checks.values())
    assert api.tried.key == trial.BETTER
    assert played.figures["report"]["words"] == "so it is"
    assert played.figures["arms"]["personal"]["relevance"] > played.figures["arms"]["picks"]["relevance"]
    assert len(played.journal.steps) == STEPS


@pytest.mark.parametrize(("worth", "verdict"), [({"picks": BAD}, "open"), ({"personal": BAD}, "better")])
def test_a_verdict_that_is_late_or_wrong_is_said(worth, verdict):
    played, _ = play(better_arm, worth, verdict=verdict)

    assert sum(played.checks.values()) == 2


def test_a_broken_arm_that_is_stopped_is_seen_no_more():
    played, _ = play(broken_arm, {"pinned": BAD}, verdict="breached", stops=2)

    assert all(played.checks.values())
    assert played.figures["stopped"] == {"by": "guardrail", "reason": "clicks are worse", "seconds": 3.5}
    assert len(played.journal.steps) == trial.starts(STEPS) + 1 + 2 + 3


def test_a_broken_arm_that_nobody_stops_is_said():
    played, _ = play(broken_arm, {"pinned": BAD})

    assert not played.figures["stopped"]
    assert [what for what, held in played.checks.items() if not held] == [
        "its guardrail stopped it",
        "nobody was in it afterwards",
    ]
