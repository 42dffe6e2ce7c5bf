"""Blended: the ranker that adds the logit of a model of trails to the online stack's score.

What the model never saw keeps the place that the stack gives it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.arrays import pack
from models.calibration import Doubles, Platt
from models.features import COLUMN, Floats
from models.ranker import BASE, Lineup, opened
from models.sequence import SequenceModel
from models.vectors import Vectors
from streams.errors import StateError
from streams.models import Model

READ = (BASE,)
Reader = SequenceModel | Vectors  # what reads a trail
READERS: Mapping[str, type[SequenceModel] | type[Vectors]] = {
    one.kind: one for one in (SequenceModel, Vectors)
}


@dataclass(frozen=True, slots=True)
class Blend:
    """How much a logit weighs beside the stack's score; level + rise * score is the logit to be expected of a score."""

    weight: float
    level: float
    rise: float

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Blend":
        """Return the blend of an artifact's settings; raises StateError for one that turns orders."""
        blend = cls(float(said["weight"]), float(said["level"]), float(said["rise"]))
        numbers = (blend.weight, blend.level, blend.rise)
        if not (np.isfinite(numbers).all() and blend.weight >= 0.0 and 1.0 + blend.weight * blend.rise > 0.0):
            raise StateError(f"its {blend} turns the order of what only the stack knows")
        return blend

    def sums(self, relevance: Floats, logits: Floats) -> Doubles:
        """Return score and weighed logit in one, (n,); for a logit that is NaN the one to be expected stands."""
        scores = relevance.astype(np.float64)
        return scores + self.weight * np.where(np.isnan(logits), self.level + self.rise * scores, logits)


@dataclass(frozen=True)
class Blended:
    """A `Ranker` of the registry; `keys` are the items of `model`, in its order."""

    keys: Sequence[str]
    model: Reader
    blend: Blend
    curve: Platt
    version: str = ""

    def logits(self, keys: Sequence[str], after: Sequence[str]) -> Floats:
        """Return the model's logits (n,) of items after a trail, newest first; NaN for an item that it never saw.

        After nothing that it knows it has nothing to say of any.
        """
        index = self._index
        trail = [n for key in after if (n := index.get(key)) is not None]
        if not trail:
            return np.full(len(keys), np.nan, np.float32)
        own = np.fromiter((index.get(key, -1) for key in keys), np.int64, len(keys))
        logits: Floats = self._places[own] @ self.model.query(np.array(trail, np.int64))
        if not np.isfinite(logits).all():
            raise StateError(f"{self.model.kind} model {self.version!r} has logits that are not finite")
        logits[own < 0] = np.nan
        return logits

    def sums(self, lineup: Lineup) -> Doubles:
        """Return the log-score of each candidate, shape (n,)."""
        keys = [lineup.keys[slot] for slot in lineup.slots.tolist()]
        return self.blend.sums(lineup.rows[:, COLUMN[BASE]], self.logits(keys, lineup.after))

    def score(self, lineup: Lineup) -> Floats:
        """Return the chance of each candidate, shape (n,)."""
        chances: Floats = self.curve.chance(self.sums(lineup)).astype(np.float32)
        return chances

    def pack(self) -> bytes:
        """Return the bytes of the artifact."""
        return pack(
            self.model.kind,
            {"items": list(self.keys)} | asdict(self.blend) | asdict(self.curve),
            asdict(self.model),
        )

    @classmethod
    def of(cls, model: Model, data: bytes) -> "Blended":
        """Return the ranker of a version and its artifact's verified bytes; raises StateError, naming the version."""
        with opened(model, data) as (said, arrays):
            held = READERS[model.kind].of(arrays)
            keys = said["items"]
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise StateError("it must name its items in a list `items` of strings")
            if len(set(keys)) != len(keys) or len(keys) != len(held.item):
                raise StateError(
                    f"a {model.kind} model of {len(held.item)} items names {len(set(keys))} of them"
                )
            if model.features != READ:
                raise StateError(f"it reads {READ}, recorded are {model.features}")
            ranker = cls(keys, held, Blend.of(said), Platt.of(said), model.version)
            ranker.logits(keys, keys)  # numbers that grow beyond all bounds are found here
            return ranker

    @cached_property
    def _index(self) -> dict[str, int]:
        return {key: n for n, key in enumerate(self.keys)}

    @cached_property
    def _places(self) -> Floats:
        return self.model.places()
