"""Fit: boosted trees that correct the online stack's score, by LightGBM, tuned on a later part of the history.

A model starts from `relevance`, what the stack has learned so far, and adds trees: where nothing is to be learned
beyond it, the ranking stays. Two objectives are tried: LambdaRank (Burges 2010), on choices whose item stood among the
most relevant, and the softmax over all candidates with a sample of them corrected for how it was drawn.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from models.boosted import Boosted
from models.calibration import Platt, platt
from models.evaluation import gained
from models.features import COLUMN, NAMES, Floats
from models.ranker import BASE
from models.trees import Doubles, Trees, of_lightgbm
from ops.train.rows import TOP, Rows
from streams.errors import Refused, SettingsError

ROUNDS, STEP = 200, 20  # trees at most, and between two looks at the validation
LEAST = 100  # choices that a training needs
DEPTH = 7  # of a tree: a candidate takes as many steps
FIXED = {
    "max_depth": DEPTH,
    "use_missing": False,
    "deterministic": True,
    "force_row_wise": True,
    "label_gain": [0, 1],
    "lambdarank_truncation_level": 30,
    "min_sum_hessian_in_leaf": 1e-3,
    "verbose": -1,
}
FIRST: dict[str, Any] = {
    "objective": "softmax", "num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 400, "lambda_l2": 10.0,
}  # fmt: skip
KNOWN = (FIRST, FIRST | {"objective": "lambdarank"})  # tried before any other
OBJECTIVES = ("softmax", "lambdarank")
RANGES: dict[str, tuple[float, float]] = {  # of the others, searched by their logarithms
    "num_leaves": (4, 63),
    "learning_rate": (0.02, 0.2),
    "min_data_in_leaf": (50, 3200),
    "lambda_l2": (0.3, 100.0),
}
BLIND = 6  # settings drawn by lot before earlier ones tell where to look


@dataclass(frozen=True)
class Fitted:
    """What came of the trials: the best ranker, calibrated, and of every trial its parameters and NDCG@10.

    `gains` are the shares of all loss that splits on each feature took away, the largest first; `constant` features
    were left out.
    """

    ranker: Boosted
    trials: list[dict[str, Any]]
    gains: dict[str, float]
    constant: tuple[str, ...]


def fit(train: Rows, valid: Rows, trials: int, seed: int, advance: Callable[[int], None]) -> Fitted:
    """Return the best of so many trials by NDCG@10 on `valid`, as `taken` says; raises Refused where nothing is taught.

    A setting that was found must clearly beat those that are known: among many the best is the luckiest too.
    """
    features, constant = usable(train, valid)
    columns = [COLUMN[name] for name in features]
    found: list[tuple[Doubles, Trees, dict[str, float]]] = []
    said = []
    tuned, wanted = search(seed), space()
    for _ in range(trials):
        trial = tuned.ask(wanted)
        parameters = dict(trial.params)
        booster = boosted(train, columns, parameters, seed)
        trees, each = pruned(booster, valid, columns)
        reached = float(each.mean())
        tuned.tell(trial, reached)
        of_features = dict(zip(features, booster.feature_importance("gain").tolist(), strict=True))
        found.append((each, trees, of_features))
        said.append({**parameters, "trees": len(trees.starts), "ndcg@10": reached})
        advance(1)
    _, trees, gains = found[taken([each for each, _, _ in found])]
    ranker = Boosted(features, trees, Platt())
    curve = platt(ranker.sums(valid.matrix), valid.labels)
    whole = sum(gains.values()) or 1.0
    shares = {name: gain / whole for name, gain in sorted(gains.items(), key=lambda one: -one[1])}
    return Fitted(Boosted(features, trees, curve), said, shares, constant)


def taken(trials: Sequence[Doubles]) -> int:
    """Return the number of the first trial that is as good as the best, but for one standard error of what they differ.

    A trial is what its list of each choice is worth, (choices,). The rule is that of Breiman, Friedman, Olshen and
    Stone (1984, "Classification and regression trees"), paired.

    >>> taken([np.array([0.5, 0.1, 0.4]), np.array([0.4, 0.3, 0.5]), np.array([0.9, 0.8, 0.9])])
    2
    """
    best = max(trials, key=lambda one: float(one.mean()))
    lost = [best - one for one in trials]
    return next(n for n, each in enumerate(lost) if each.mean() <= each.std() / np.sqrt(len(each)))


def usable(train: Rows, valid: Rows) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the features that tell rows apart, and the others; raises Refused, naming what is wrong with the rows."""
    for name, rows in (("training", train), ("validation", valid)):
        hits = int(np.count_nonzero(rows.chosen >= 0))
        if hits < LEAST:
            raise Refused(
                f"the {name} span holds {hits} choices whose item was a candidate, {LEAST} are needed: take a longer "
                "span, or wait for more events"
            )
        broken = np.flatnonzero(~np.isfinite(rows.matrix).all(axis=0))
        if len(broken):
            raise Refused(
                f"the {name} span has features that are no numbers: {', '.join(NAMES[n] for n in broken)}"
            )
        if not (rows.sizes > 1).any():
            raise Refused(f"no choice of the {name} span had another candidate: there is nothing to rank")
    same = (train.matrix.max(axis=0) == train.matrix.min(axis=0)).tolist()
    kept = tuple(name for name, constant in zip(NAMES, same, strict=True) if not constant)
    if not kept:
        raise Refused(
            "every feature is the same in all rows of the training span: there is nothing to learn from"
        )
    return kept, tuple(name for name in NAMES if name not in kept)


def search(seed: int) -> Any:
    """Return Optuna's study: the settings known to do, then some by lot, then near those that did well.

    Tree-structured Parzen estimators (Bergstra, Bardenet, Bengio and Kégl 2011); one seed asks the same of the same.
    """
    optuna = _extra("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=BLIND)
    )
    for parameters in KNOWN:
        study.enqueue_trial(parameters)
    return study


def space() -> dict[str, Any]:
    """Return what a setting may be, as Optuna's distributions."""
    of = _extra("optuna").distributions
    return {"objective": of.CategoricalDistribution(OBJECTIVES)} | {
        name: (of.IntDistribution if isinstance(low, int) else of.FloatDistribution)(low, high, log=True)
        for name, (low, high) in RANGES.items()
    }


def _extra(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        raise SettingsError(f"{missing}; training needs: pip install 'refold[train]'") from None


def boosted(train: Rows, columns: list[int], parameters: dict[str, Any], seed: int) -> Any:
    """Return LightGBM's booster of one trial."""
    lightgbm = _extra("lightgbm")
    by_softmax = parameters["objective"] == "softmax"
    data = lightgbm.Dataset(
        np.ascontiguousarray(train.matrix[:, columns]),
        train.labels.astype(np.int8),
        group=train.sizes,
        weight=None if by_softmax else _ranked(train),
        init_score=train.matrix[:, COLUMN[BASE]].astype(np.float64),
        feature_name=[NAMES[column] for column in columns],
        free_raw_data=True,
    )
    settings = FIXED | parameters | {"seed": seed, "num_threads": len(os.sched_getaffinity(0))}
    if by_softmax:
        settings["objective"] = softmax(train)
    return lightgbm.train(settings, data, ROUNDS)


def _ranked(train: Rows) -> Floats:
    """Return weights (n,) that leave out choices from below the most relevant: the others there are a sample."""
    return np.repeat((train.chosen < TOP).astype(np.float32), train.sizes)


def softmax(train: Rows) -> Callable[[Doubles, Any], tuple[Doubles, Doubles]]:
    """Return the gradient and curvature of the log-likelihood of the choices, each among its candidates."""
    starts, labels = train.starts, train.labels.astype(np.float64)
    choice = np.repeat(np.arange(len(train)), train.sizes)
    drawn = train.drawn.astype(np.float64)

    def derived(scores: Doubles, _: Any) -> tuple[Doubles, Doubles]:
        shifted = scores + drawn
        shifted -= np.maximum.reduceat(shifted, starts)[choice]
        np.exp(shifted, out=shifted)
        chances = shifted / np.add.reduceat(shifted, starts)[choice]
        return chances - labels, np.maximum(chances * (1.0 - chances), 1e-3)

    return derived


def pruned(booster: Any, valid: Rows, columns: list[int]) -> tuple[Trees, Doubles]:
    """Return as many of the first trees as rank `valid` best, and the NDCG@10 of each choice by them, (choices,)."""
    dump = booster.dump_model()
    rows = np.ascontiguousarray(valid.matrix[:, columns])
    scores = valid.matrix[:, COLUMN[BASE]].astype(np.float64)
    best, most = 0, np.full(len(valid), -1.0)
    for end in range(STEP, len(dump["tree_info"]) + STEP, STEP):
        part = {"tree_info": dump["tree_info"][end - STEP : end]}
        scores += of_lightgbm(part, len(columns)).predict(rows)
        if (reached := gained(valid.judged(scores).rank, 10)).mean() > most.mean():
            best, most = end, reached
    return of_lightgbm({"tree_info": dump["tree_info"][:best]}, len(columns)), most
