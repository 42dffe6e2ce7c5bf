"""Train: from a history to a candidate of the registry, measured against what serves on a span it never saw."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from models import calibration
from models.boosted import KIND, Boosted
from models.evaluation import coverage, hit_rate, ndcg, slices
from models.features import COLUMN
from models.ranker import BASE, Lineup
from models.surfaces import Config, Surface
from models.trees import Doubles
from ops.progress import Begin
from ops.registry.gates import held_by
from ops.train.card import card
from ops.train.fit import Fitted, fit
from ops.train.moments import Past, parts_of
from ops.train.rows import Rows, See, features, gather
from ops.train.scene import Scene
from streams import artifacts, models
from streams.errors import Refused
from streams.models import Model, Registry, Slice, version_of
from streams.settings import Settings

NAME = "ranker"
STACK = "the online stack"
K = 10
CANDIDATES = 1_000  # that the time of scoring is measured on
SPANS = {  # shares of the history, and choices looked at in each
    "train": (0.2, 0.7, 6_000),  # before it too little is learned to be like what serves later
    "valid": (0.7, 0.8, 1_500),
    "test": (0.8, 1.0, 4_000),
}
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Trained:
    """A model and its artifact, not stored yet; `fitted` says how it came about."""

    model: Model
    artifact: bytes
    fitted: Fitted


def train(
    past: Past, settings: Settings, weights: Mapping[str, float], surface: Surface,
    *, trials: int, seed: int, live: Boosted | None, at: int, begin: Begin,
) -> Trained:  # fmt: skip
    """Return a ranker trained on a history and measured on its last fifth; raises Refused for one that teaches nothing.

    It is compared with `live`, or with the online stack where no version is live.
    """
    scene = Scene(weights, settings.dimensions)
    rows = gathered(past, counted(past), scene, surface, SPANS, seed, begin)
    fitted = fit(rows["train"], rows["valid"], trials, seed, begin(trials))
    artifact = fitted.ranker.pack()
    name = artifacts.name_of(artifact)
    measured = measure_boosted(fitted.ranker, live, rows["test"])
    model = Model(
        name=NAME, version=version_of(name), kind=KIND, artifact=name, size=len(artifact),
        features=fitted.ranker.features, against=live.version if live is not None else STACK,
        span=past.span, data=past.data, made_at=at, **measured,
    )  # fmt: skip
    counts = {part: len(held) for part, held in rows.items()}
    written = msgspec.structs.replace(model, card=card(model, fitted, counts))
    return Trained(written, artifact, fitted)


def counted(past: Past) -> int:
    """Return how many records a history has; raises Refused for none."""
    said = past.count()
    if not said:
        raise Refused("the span holds no record: there is nothing to learn from")
    return said


def gathered(
    past: Past, said: int, scene: Scene, surface: Surface, spans: Mapping[str, tuple[float, float, int]],
    seed: int, begin: Begin, see: See = features,
) -> dict[str, Rows]:  # fmt: skip
    """Return the rows of every one of `spans` of a history of `said` records; raises Refused for one without."""
    rows = gather(past, scene, surface, parts_of(said, spans), seed, begin(said), see)
    if missing := sorted(spans.keys() - rows.keys()):
        raise Refused(
            f"a history of {said} records has no choice in {' and '.join(missing)}: choices count of users who "
            "chose something else before"
        )
    return rows


def measure_boosted(ranker: Boosted, live: Boosted | None, test: Rows) -> dict[str, Any]:
    """Return what `measure` does of a boosted ranker and what serves."""
    other = test.matrix[:, COLUMN[BASE]].astype(np.float64) if live is None else live.sums(test.matrix)
    few = test.matrix[np.arange(CANDIDATES) % len(test.matrix)]
    lineup = Lineup(few, test.slots, (), ())
    return measure(test, ranker.sums(test.matrix), other, ranker.curve, latency(lambda: ranker.score(lineup)))


def measure(
    test: Rows, scores: Doubles, other: Doubles, curve: calibration.Platt, latency_ms: float
) -> dict[str, Any]:
    """Return the metrics of scores (n,), those of what serves, and both by slice, on the same choices."""
    mine, theirs = test.judged(scores), test.judged(other)
    parts = {
        name: Slice(int(np.count_nonzero(mask)), ndcg(mine.rank[mask], K), ndcg(theirs.rank[mask], K))
        for name, mask in slices(mine).items()
        if mask.any()
    }
    metrics = figures(test, scores) | {
        "calibration_error": calibration.error(curve.chance(scores), test.labels),
        "latency_ms": latency_ms,
    }
    return {"metrics": metrics, "compared": figures(test, other), "slices": parts}


def figures(test: Rows, scores: Doubles) -> dict[str, float]:
    """Return what a ranking is worth: hits, NDCG, the share of items shown, of those that were candidates at all."""
    judged = test.judged(scores)
    met = np.unique(test.slots)
    return {
        f"hr@{K}": hit_rate(judged.rank, K),
        f"ndcg@{K}": ndcg(judged.rank, K),
        "hr@20": hit_rate(judged.rank, 20),
        f"coverage@{K}": coverage(test.shown(scores, K)[met]),
        "choices": float(len(judged)),
    }


def latency(score: Callable[[], object]) -> float:
    """Return the median ms of one core's time that scoring takes, however busy the machine is."""
    took = []
    for _ in range(50):
        began = time.thread_time()
        score()
        took.append(time.thread_time() - began)
    return float(np.median(took)) * 1e3


def serving(
    settings: Settings, registry: Registry, name: str, of: Callable[[Model, bytes], Loaded]
) -> Loaded | None:
    """Return the live version of a name, None without one; raises StateError for one that cannot be served."""
    live = registry.live(name)
    return None if live is None else of(live, artifacts.load(settings, live.artifact, live.size))


def surface_of(config: Config, name: str) -> Surface:
    """Return a surface of the configuration; raises Refused for another one."""
    if name not in config.surfaces:
        raise Refused(f"surface {name!r} is not configured; there are {', '.join(sorted(config.surfaces))}")
    return config.surfaces[name]


def publish(settings: Settings, model: Model, artifact: bytes) -> None:
    """Store the artifact, then record the version as a candidate; raises Unavailable."""
    artifacts.save(settings, artifact)
    models.publish(settings, model)


def told(registry: Registry, model: Model, *, published: bool) -> dict[str, Any]:
    """Return what to say of a version that was just trained."""
    return {
        "model": model.key,
        "published": published,
        "against": model.against,
        "metrics": model.metrics,
        "compared": model.compared,
        "slices": {name: [part.choices, part.ndcg, part.compared] for name, part in model.slices.items()},
        "held_by": held_by(registry, model),
        "card": model.card,
    }
