"""What experiments on simulated people are made of: arms that are what they say, and the truth about each."""

import numpy as np
import pytest

from api.answers import Answer
from models.definitions import check
from models.surfaces import load
from ops.simulate import trial
from ops.simulate.browse import PLACES, Acts
from ops.simulate.drive import Round
from ops.simulate.trial import Tally
from ops.simulate.world import appeal, build
from streams.experiments import Decision, Record


@pytest.mark.parametrize("make", [trial.better, trial.broken])
def test_experiments_are_as_the_service_wants_them(make):
    check(make(build(50, 200, 10, 1)), load(), ())


def test_the_broken_arm_shows_what_people_like_least():
    world = build(300, 300, 10, 1)
    pins = trial.broken(world).arms["pinned"].set["pins"]
    liked = appeal(world, np.arange(300)).mean(axis=0)
    pinned = [int(thing.removeprefix("thing-")) for thing in pins]

    assert sorted(pins.values()) == list(range(1, PLACES + 1))
    assert (world.appears[pinned] == 0).all()
    assert liked[pinned].max() < np.quantile(liked, 0.1)


def answer(arm):
    return Answer(
        request_id="r", user_id="u", surface="home", rung="full", arms={"x": arm} if arm else {}, items=()
    )


def test_a_tally_knows_the_truth_of_each_arm():
    lists = np.tile(np.arange(PLACES), (3, 1))
    chance = np.repeat([[0.1], [0.3], [0.9]], 20, axis=1)
    seen = np.ones((3, PLACES), dtype=bool)
    clicked = np.zeros_like(seen)
    clicked[1, :5] = True
    now = Round(
        step=1, people=np.array([4, 5, 6]), answers=[answer("a"), answer("b"), answer("")], lists=lists,
        acts=Acts(seen, clicked, clicked), chance=chance, live=np.ones(20, dtype=bool), events=0,
    )  # fmt: skip
    tally = Tally("x", "a")
    tally.add(now)
    tally.add(now)
    said = tally.said()

    assert tally.people == {4, 5}
    assert said["a"]["lists"] == said["b"]["lists"] == 2
    assert (said["a"]["ctr"], said["b"]["ctr"], said["b"]["clicks_a_list"]) == (0.0, 0.5, 5.0)
    assert said["b"]["relevance"] == pytest.approx(3 * said["a"]["relevance"], abs=1e-3)


def test_the_time_to_a_stop_counts_from_the_start():
    tried = trial.better(build(50, 200, 10, 1))
    decided = [
        Decision("draft", 1_000),
        Decision("running", 2_000),
        Decision("stopped", 6_500, "harm", "guardrail"),
    ]

    assert trial.stop_of(Record(key="x", versions=(tried,), decided=tuple(decided[:2]))) == {}
    assert trial.stop_of(Record(key="x", versions=(tried,), decided=tuple(decided))) == {
        "by": "guardrail",
        "reason": "harm",
        "seconds": 4.5,
    }
