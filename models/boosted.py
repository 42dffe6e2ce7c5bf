"""Boosted: the ranker of trees that correct the online stack's score, over the columns of the feature matrix."""

from dataclasses import dataclass

import numpy as np

from models.arrays import pack
from models.calibration import Platt
from models.features import COLUMN, Floats
from models.ranker import BASE, Lineup, opened
from models.trees import Doubles, Trees
from streams.errors import StateError
from streams.models import Kind, Model

KIND: Kind = "boosted"


@dataclass(frozen=True)
class Boosted:
    """A `Ranker` of the registry; `features` are those that the trees read, in their order."""

    features: tuple[str, ...]
    trees: Trees
    curve: Platt
    version: str = ""

    def sums(self, matrix: Floats) -> Doubles:
        """Return the log-score of each candidate, shape (n,), of the feature matrix (n, len(NAMES))."""
        columns = [COLUMN[name] for name in self.features]
        return matrix[:, COLUMN[BASE]] + self.trees.predict(matrix[:, columns])

    def score(self, lineup: Lineup) -> Floats:
        """Return the chance of each candidate, shape (n,)."""
        chances: Floats = self.curve.chance(self.sums(lineup.rows)).astype(np.float32)
        return chances

    def pack(self) -> bytes:
        """Return the bytes of the artifact."""
        trees = self.trees
        said = {"features": list(self.features), "slope": self.curve.slope, "bias": self.curve.bias}
        arrays = {
            "nodes": trees.nodes,
            "values": trees.values,
            "starts": trees.starts,
            "depths": trees.depths,
        }
        return pack(KIND, said, arrays)

    @classmethod
    def of(cls, model: Model, data: bytes) -> "Boosted":
        """Return the ranker of a version and its artifact's verified bytes; raises StateError, naming the version."""
        with opened(model, data) as (said, arrays):
            features = tuple(said["features"])
            if features != model.features:
                raise StateError(f"the artifact reads {features}, recorded are {model.features}")
            if unknown := sorted(set(features) - COLUMN.keys()):
                raise StateError(f"it reads features that this release does not have: {', '.join(unknown)}")
            trees = Trees(
                arrays["nodes"], arrays["values"], arrays["starts"], arrays["depths"], len(features)
            )
            return cls(features, trees, Platt.of(said), model.version)
