"""Run: a file through a protocol, and what came of it."""

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from models.blended import Blended
from models.boosted import Boosted
from models.decay import LANDMARK
from models.evaluation import over_time
from ops.evaluate import plot as plots
from ops.evaluate.judge import Judge, score
from ops.evaluate.protocols import PROTOCOLS, Run
from ops.evaluate.registered import ByBlend
from ops.evaluate.report import cost, figures
from ops.evaluate.retrieval import Retrieval
from ops.evaluate.source import Columns, Source, opened
from ops.evaluate.stale import Stale
from ops.evaluate.world import World
from ops.progress import Begin
from streams.errors import Refused
from streams.events import Event

STALE = (5, 3600)  # seconds of event time: what serving promises, and an outage
SAMPLE = 5_000  # predictions, about, that the engine answers too, where it has to follow what is learned in between
SPANS = 100  # points of a plot


def evaluate(
    file: Path,
    columns: Columns,
    *,
    protocol: str,
    ks: Sequence[int],
    every: int,
    retrieval: bool,
    model: Boosted | Blended | None,
    plot: Path | None,
    weights: Mapping[str, float],
    dimensions: int,
    shards: int,
    begin: Begin,
) -> dict[str, Any]:
    """Return the figures of a file's events under a protocol; raises Refused, naming what the file lacks."""
    if plot is not None:
        plots.check(plot)
    _warm(weights, dimensions)
    with opened(file, columns) as source:
        run = Run(World(weights, dimensions, shards), ks, every)
        stale = [Stale(seconds) for seconds in STALE] if protocol == "prequential" else []
        run.looks += [each.predict for each in stale]
        losses = {f"{each.seconds} s stale": each.paired for each in stale}
        if retrieval or isinstance(model, Boosted):
            each = source.events // every // SAMPLE if protocol == "prequential" else 1
            asked = Retrieval(run.world, max(1, each), model)
            run.looks.append(asked.predict)
            losses |= {"candidates": asked.candidates, "engine": asked.engine}
            name = "the model" if isinstance(model, Boosted) else "the model, served"
            losses |= {name: asked.full} if asked.full is not None else {}
        if isinstance(model, Blended):
            exact = ByBlend(model)
            run.looks.append(exact.predict)
            losses["the model"] = exact.paired
        began = time.perf_counter()
        PROTOCOLS[protocol](run, source, begin(source.events))
        seconds = time.perf_counter() - began
        said = {
            "file": file.name,
            "protocol": protocol,
            "columns": {name: value for name, value in asdict(source.columns).items() if value},
            "time": source.time,
            "rows": source.rows,
            "refused": source.refused,
            "left_out": source.left_out,
            "events": run.took.events,
            "users": len(run.world.users),
            "items": run.judge.items,
            "every": every,
            "shards": shards,
            **figures(run.judge),
            "losses": {name: paired.figures(ks[0]) for name, paired in losses.items()},
            **cost(run.took),
            "seconds": seconds,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        _check(file, source, run.judge.choices, said["predicted"])
    if plot is not None:
        _plot(plot, file.name, run.judge, ks[0])
    return said


def _check(file: Path, source: Source, choices: int, predicted: int) -> None:
    """Refuse what no figure can be said of."""
    if not choices:
        kinds = pl.scan_parquet(source.path).select(pl.col("kind").unique().head(8)).collect()["kind"].sort()
        raise Refused(
            f"{file.name} has no positive event: its types are {', '.join(kinds)}, and a type counts when its weight "
            "in the configuration is above zero; leave --type out, or give the actions their weights"
        )
    if not predicted:
        raise Refused(
            f"{file.name}: nothing to predict in {source.events} events; it takes users who chose two items or more"
        )


def _warm(weights: Mapping[str, float], dimensions: int) -> None:
    """Compile what is compiled at its first call, so that it is in nobody's figures."""
    world = World(weights, dimensions)
    for n, item in enumerate("abab"):
        choice = world.fold(
            Event(event_id=str(n), type="click", at=LANDMARK + n, user_id=str(n // 2), item_id=item)
        )
        if choice is not None:
            world.learn(choice)
    score(world.learned, "ab", 2)


def _plot(file: Path, name: str, judge: Judge, k: int) -> None:
    judged = judge.judged()
    known = judged.where(judged.earlier > 0)
    lines = {
        title: over_time(ranks <= k, SPANS)
        for title, ranks in (("model", known.rank), ("popular", known.popular))
    }
    plots.write(file, f"HR@{k} of {name} over time", "predicted choices, in time order", lines, len(known))
