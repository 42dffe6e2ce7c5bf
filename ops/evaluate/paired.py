"""Paired: the same predictions ranked two ways, by everything as it is and by something that costs less."""

from array import array
from typing import Any

import numpy as np

from models.evaluation import hit_rate


class Paired:
    """Ranks of predictions, exact and otherwise."""

    def __init__(self) -> None:
        self._exact, self._other = array("i"), array("i")

    def add(self, exact: int, other: int) -> None:
        """Keep the two ranks of one prediction."""
        self._exact.append(exact)
        self._other.append(other)

    def figures(self, k: int) -> dict[str, Any]:
        """Return how many there are, both hit rates, and the share of the exact one that is lost."""
        exact, other = (hit_rate(np.array(kept, np.int32), k) for kept in (self._exact, self._other))
        return {
            "predicted": len(self._exact),
            f"exact_hr@{k}": exact,
            f"hr@{k}": other,
            "loss": 1.0 - other / exact if exact else 0.0,
        }
