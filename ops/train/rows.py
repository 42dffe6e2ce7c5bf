"""Rows: the candidates of choices with their features as they were just before each choice was made."""

import tempfile
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation import MISS, Judged
from models.features import COLUMN, Floats
from models.ranker import Lineup
from models.surfaces import Surface
from ops.progress import Advance
from ops.train.moments import Part, Past
from ops.train.scene import Scene

TOP, DRAWN = (
    60,
    40,
)  # candidates kept of a choice that is trained on: the most relevant, and of the others by lot
OF = ("sizes", "chosen", "popular", "earlier", "before", "candidates")  # numbers of a choice
RELEVANCE = COLUMN["relevance"]
See = Callable[[Lineup], Floats]  # what is kept of candidates: (n, columns)


@dataclass(frozen=True)
class Rows:
    """Candidates of choices, one choice after the other.

    `matrix` (n, columns) is what was kept of them, `slots` (n,) and `drawn` (n,), the logarithm of how many others a
    row stands for. By choice: `sizes`, the place of what was chosen among its rows (-1: no candidate) as `chosen`, and
    what is known of it besides: rank by popularity, choices of the user and of the item before, candidates there
    were, time.
    """

    matrix: Floats
    slots: npt.NDArray[np.int32]
    drawn: Floats
    sizes: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.int32]
    popular: npt.NDArray[np.int32]
    earlier: npt.NDArray[np.int32]
    before: npt.NDArray[np.int32]
    candidates: npt.NDArray[np.int32]
    at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each choice's rows begin, shape (choices,)."""
        return np.cumsum(self.sizes, dtype=np.int64) - self.sizes

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """Which rows are what was chosen, shape (n,)."""
        found = np.zeros(len(self.matrix), dtype=np.bool_)
        hit = self.chosen >= 0
        found[self.starts[hit] + self.chosen[hit]] = True
        return found

    def judged(self, scores: npt.NDArray[np.floating[Any]]) -> Judged:
        """Return the ranks that scores (n,) give to what was chosen; ties count against it."""
        ranks = np.full(len(self), MISS, dtype=np.int32)
        for n, (start, size, place) in enumerate(zip(self.starts, self.sizes, self.chosen, strict=True)):
            if place >= 0:
                own = scores[start : start + size]
                ranks[n] = np.count_nonzero(~(own < own[place]))
        return Judged(ranks, self.popular, self.earlier, self.before, self.candidates, self.at)

    def shown(self, scores: npt.NDArray[np.floating[Any]], k: int) -> npt.NDArray[np.int64]:
        """Return how often each item stood among the first k by scores (n,), by slot."""
        counts = np.zeros(int(self.slots.max(initial=-1)) + 1, dtype=np.int64)
        for start, size in zip(self.starts, self.sizes, strict=True):
            best = np.argsort(-scores[start : start + size], kind="stable")[:k]
            counts[self.slots[start + best]] += 1
        return counts


class Kept:
    """Rows as they are gathered; the matrix goes to a file that has no name, so that memory does not bound it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the rows
        self._slots, self._drawn = array("i"), array("f")
        self._of = [array("i") for _ in OF]
        self._at = array("q")
        self._width = 0

    def add(self, matrix: Floats, slots: npt.NDArray[Any], drawn: Floats, at: int, *of: int) -> None:
        """Keep the rows of one choice."""
        self._width = matrix.shape[1]
        matrix.astype(np.float32).tofile(self._file)
        self._slots.extend(slots.tolist())
        self._drawn.extend(drawn.tolist())
        self._at.append(at)
        for numbers, number in zip(self._of, (len(slots), *of), strict=True):
            numbers.append(number)

    def rows(self) -> Rows:
        """Return everything kept; once."""
        shape = (len(self._slots), self._width)
        matrix: Floats = np.zeros(shape, dtype=np.float32)
        with self._file as file:
            file.flush()
            if len(self._slots):
                matrix = np.memmap(file, dtype=np.float32, mode="r", shape=shape)  # keeps what it maps
        told = {name: np.array(of, dtype=np.int32) for name, of in zip(OF, self._of, strict=True)}
        return Rows(
            matrix, np.array(self._slots, dtype=np.int32), np.array(self._drawn, dtype=np.float32),
            at=np.array(self._at, dtype=np.int64), **told,
        )  # fmt: skip


def features(lineup: Lineup) -> Floats:
    """Return the features of candidates, (n, len(NAMES))."""
    return lineup.rows


def gather(
    past: Past, scene: Scene, surface: Surface, part: Part, seed: int, advance: Advance, see: See = features
) -> dict[str, Rows]:
    """Fold a history and return, by part, the rows of its choices; those of `train` are a sample of the candidates.

    By default their features are kept.

    A choice is looked at before it is folded, so nothing of it and nothing after it is in its rows. It counts when
    its user chose something before, and never the same item.
    """
    kept: dict[str, Kept] = {}
    for moment in past.moments(scene, part, advance):
        scene.settle(moment.at)
        lineup = scene.look(moment.user, moment.at, surface)
        slots, matrix = lineup.slots, see(lineup)
        place = np.flatnonzero(slots == scene.columns.slot_of.get(moment.item, -1))
        target = int(place[0]) if len(place) else -1
        people = scene.columns.chosen[slots]
        of = (
            int(np.count_nonzero(people >= people[target])) if target >= 0 else MISS,
            moment.earlier,
            int(people[target]) if target >= 0 else 0,
            len(slots),
        )
        rows, drawn = np.arange(len(slots)), np.zeros(len(slots), dtype=np.float32)
        if moment.part == "train":
            rows, drawn = sampled(
                lineup.rows[:, RELEVANCE], target, np.random.default_rng((seed, moment.number))
            )
            target = int(np.flatnonzero(rows == target)[0]) if target >= 0 else -1
        if target >= 0 or moment.part != "train":
            if moment.part not in kept:
                kept[moment.part] = Kept()
            kept[moment.part].add(matrix[rows], slots[rows], drawn, moment.at, target, *of)
    return {name: held.rows() for name, held in kept.items()}


def sampled(
    relevance: Floats, target: int, draw: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return places of the most relevant candidates, of the target and of others by lot, and how many each stands for.

    As a logarithm: added to the scores of a softmax over the sample, it stands for the one over all.
    """
    order = np.argsort(-relevance, kind="stable")
    top, rest = order[:TOP], order[TOP:]
    rest = rest[rest != target]
    lot = draw.choice(rest, min(DRAWN, len(rest)), replace=False)
    own = np.array([] if target < 0 or target in top else [target], dtype=np.int64)
    drawn = np.zeros(len(top) + len(own) + len(lot), dtype=np.float32)
    drawn[len(top) + len(own) :] = np.log(max(1, len(rest)) / max(1, len(lot)))
    return np.concatenate([top, own, lot]), drawn
