"""Vectors: what is chosen by the same people stands close, from one factorisation; trained offline, run here in numpy.

PureSVD (Cremonesi et al. 2010) of choices whose popular items and busy people count less (Nikolakopoulos et al. 2019,
"EigenRec"). A person has no vector of their own: it is folded in from what they chose, the newest first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.arrays import named, shaped
from streams.errors import StateError
from streams.models import Kind

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.integer]
FADE = 0.85  # what a choice counts beside the one after it


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of n items, d wide; all arrays are float32.

    `item` (n, d) are the items, `weight` (n,) says how much each counts in a query, `scale` (d,) what an axis does.
    """

    kind: ClassVar[Kind] = "vectors"
    item: Floats
    weight: Floats
    scale: Floats

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.float32]]) -> "Vectors":
        """Return the vectors of named arrays; raises StateError, naming what is wrong."""
        names = [field.name for field in fields(cls)]
        named("item vectors have", arrays, names)
        model = cls(**arrays)
        if model.item.ndim != 2 or 0 in model.item.shape:
            raise StateError(f"item vectors of shape {model.item.shape} are none")
        n, d = model.item.shape
        shaped(arrays, dict(zip(names, ((n, d), (n,), (d,)), strict=True)))
        return model

    def query(self, after: Indices) -> Floats:
        """Return the vector (d,) of a trail of items, the newest first; its inner product with a place is the logit.

        Of length one, so that trails of all lengths speak equally loud; zero after nothing at all.
        """
        counts = self.weight[after] * np.float32(FADE) ** np.arange(len(after), dtype=np.float32)
        vector = (counts @ self.item[after]) * self.scale
        length = float(np.sqrt(vector @ vector))
        return np.asarray(vector / length if length else vector, np.float32)

    def places(self) -> Floats:
        """Return the places (n, d) of the items."""
        return self.item
