"""The simulator: thousands of short histories of crashes, each from its own seed, and the bugs it must find.

Our folds, tables, flushes and restores run as they are; the broker, the groups and the order in which everything
happens are a model (ops/prove/model.py). Deterministic simulation as FoundationDB is tested (Zhou et al. 2021).
"""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Literal

from ops.prove import checks
from ops.prove.histories import Counts, History
from ops.prove.planted import PLANTED
from ops.prove.stage import Build
from ops.state.fold import calm

CHUNK = 100  # histories given to a process at once
ENOUGH = (
    500  # histories in which a planted bug must be found; a torn flush of the learner shows in one of sixty
)
TOLD = 20  # differences said in a verdict


@dataclass
class Verdict:
    """What many histories came to; `planted` says at which history each bug was found, None for never."""

    verdict: Literal["equal", "different"]
    seed: int
    histories: int
    kills: int
    disks_lost: int
    sleeps: int
    generations: int
    events: int
    folded: int
    duplicates: int
    dead_letters: int
    planted: dict[str, int | None]
    seconds: int
    scenario: str = "simulator"
    differences: list[str] = field(default_factory=list)


@dataclass
class _Chunk:
    counts: Counts
    differences: list[str]


def simulate(histories: int, seed: int) -> Verdict:
    """Run as many histories, of the seeds from `seed` on, and search for every planted bug, on all cores.

    A bug that is not found makes the verdict "different": nothing was proved then.
    """
    began = time.monotonic()
    chunks = [range(at, min(at + CHUNK, seed + histories)) for at in range(seed, seed + histories, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(partial(_search, seed=seed), PLANTED)
        done = list(pool.map(_run, chunks))
        planted = dict(zip(PLANTED, found, strict=True))
    differences = [each for chunk in done for each in chunk.differences]
    differences += [
        f"the planted bug {name!r} was not found in {ENOUGH} histories"
        for name, needed in planted.items()
        if needed is None
    ]
    counts = {f.name: sum(getattr(chunk.counts, f.name) for chunk in done) for f in fields(Counts)}
    return Verdict(
        verdict="different" if differences else "equal",
        seed=seed,
        histories=histories,
        planted=planted,
        seconds=round(time.monotonic() - began),
        differences=differences[:TOLD],
        events=counts["folded"] + counts["duplicates"] + counts["dead_letters"],
        **counts,
    )


def differences(seed: int) -> list[str]:
    """Return what is wrong with the history of a seed: how to look at one that a verdict names."""
    return checks.run(History(seed, Build()))


def _run(seeds: Iterable[int]) -> _Chunk:
    chunk = _Chunk(Counts(), [])
    with calm():
        for seed in seeds:
            history = History(seed, Build())
            chunk.differences += [
                f"{wrong} (again: python -c 'from ops.prove.simulator import *; print(differences({seed}))')"
                for wrong in checks.run(history)
            ]
            for name, count in asdict(history.counts).items():
                setattr(chunk.counts, name, getattr(chunk.counts, name) + count)
    return chunk


def _search(name: str, seed: int) -> int | None:
    """Return how many histories it takes until one shows a planted bug."""
    build = PLANTED[name]
    return next((n + 1 for n in range(ENOUGH) if checks.run(History(seed + n, build))), None)
