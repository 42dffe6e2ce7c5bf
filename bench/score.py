"""A request's arithmetic on one core: a thousand candidates' features gathered, and scored by either tier.

The state is made up (bench/world.py); whether the candidates are good does not matter here, only how many they are.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from api.answers import Request
from api.asker import asker_of, popular_here
from bench.report import AT_MOST, report
from bench.world import USERS, World
from models.boosted import Boosted
from models.calibration import Platt
from models.features import NAMES, Asker, Floats
from models.gather import gather
from models.places import Places
from models.ranker import Lineup
from models.scorer import light
from models.surfaces import load
from models.trees import of_lightgbm

CANDIDATES = 1_000
TIMES = 300
TREES, LEAVES, DEPTH = 200, 31, 7  # of the full tier: the largest that a training makes (ops/train/fit.py)
TARGETS = {"light_ms": (AT_MOST, 0.5), "full_ms": (AT_MOST, 3.0)}


def run(items: int = 20_000) -> dict[str, Any]:
    """Measure and return the report: the median of every step, in ms."""
    world = World(items)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    try:
        figures = _measure(world)
    finally:
        os.sched_setaffinity(0, set(cores))
    return report("score", "none", {name: round(value, 3) for name, value in figures.items()}, TARGETS)


def _measure(world: World) -> dict[str, float]:
    took: dict[str, list[float]] = {"gather_ms": [], "light_ms": [], "full_ms": []}
    places, scorer, ranker = Places(), light(), boosted(np.random.default_rng(5))
    mix = scorer.mix(load().surfaces["home"].actions)
    for n in range(TIMES):
        asker = _asker(world, f"user-{n % USERS}", places)
        slots = np.random.default_rng(n).choice(len(world.columns), CANDIDATES, replace=False)
        places.take(slots)
        rows = _timed(took["gather_ms"], lambda: _gathered(world, asker, places))  # noqa: B023 - called here
        _timed(took["light_ms"], lambda: scorer.score(rows, mix))  # noqa: B023
        _timed(took["full_ms"], lambda: ranker.score(Lineup(rows, slots, (), ())))  # noqa: B023
    return {name: float(np.median(values)) for name, values in took.items()} | {
        "candidates": CANDIDATES,
        "features": len(NAMES),
    }


def boosted(random: np.random.Generator) -> Boosted:
    """Return a made-up full model, as large as a trained one may be."""
    trees = [{"tree_structure": _tree(random)} for _ in range(TREES)]
    return Boosted(NAMES, of_lightgbm({"tree_info": trees}, len(NAMES)), Platt())


def _tree(random: np.random.Generator) -> dict[str, Any]:
    root: dict[str, Any] = {"leaf_value": 0.0}
    leaves = [(root, 0)]
    while len(leaves) < LEAVES:
        leaf, depth = leaves.pop(int(random.integers(len(leaves))))
        if depth == DEPTH:
            leaves.append((leaf, depth))
            continue
        below = [{"leaf_value": float(random.normal())} for _ in range(2)]
        leaf.pop("leaf_value")
        leaf |= {
            "split_feature": int(random.integers(len(NAMES))), "threshold": float(random.normal()),
            "decision_type": "<=", "missing_type": "None", "left_child": below[0], "right_child": below[1],
        }  # fmt: skip
        leaves += [(child, depth + 1) for child in below]
    return root


def _gathered(world: World, asker: Asker, places: Places) -> Floats:
    signals = world.lore.signals(asker.after, places.slots, asker.stage, asker.before)
    relevance = world.lore.relevance(signals, asker.after, asker.before)
    return gather(asker, world.columns, places, signals, relevance)


def _asker(world: World, user_id: str, places: Places) -> Asker:
    request = Request(at=world.now, user_id=user_id)
    return asker_of(world.state, world.user(user_id), request, popular_here(world.state, request), places)


def _timed(took: list[float], call: Callable[[], Floats]) -> Floats:
    began = time.perf_counter()
    result = call()
    took.append((time.perf_counter() - began) * 1000.0)
    return result
