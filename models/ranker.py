"""Ranker: the full tier, a boosted model of the registry over the columns of the feature matrix."""

from dataclasses import dataclass

import numpy as np

from models.arrays import pack, unpack
from models.calibration import Platt
from models.features import COLUMN, Floats
from models.trees import Doubles, Trees
from streams.errors import StateError
from streams.models import Kind, Model, version_of

KIND: Kind = "boosted"
BASE = "relevance"  # the online stack's log-score, which the trees correct


@dataclass(frozen=True)
class Ranker:
    """Gives each candidate the chance that it is chosen; `features` are those that the trees read, in their order."""

    features: tuple[str, ...]
    trees: Trees
    curve: Platt
    version: str = ""

    def sums(self, matrix: Floats) -> Doubles:
        """Return the log-score of each candidate, shape (n,), of the feature matrix (n, len(NAMES))."""
        columns = [COLUMN[name] for name in self.features]
        return matrix[:, COLUMN[BASE]] + self.trees.predict(matrix[:, columns])

    def score(self, matrix: Floats) -> Floats:
        """Return the chance of each candidate, shape (n,), of the feature matrix (n, len(NAMES))."""
        chances: Floats = self.curve.chance(self.sums(matrix)).astype(np.float32)
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
    def of(cls, model: Model, data: bytes) -> "Ranker":
        """Return the ranker of a version and its artifact's verified bytes; raises StateError, naming the version."""
        try:
            return cls._of(model, data)
        except StateError as error:
            raise StateError(f"{model.key} cannot be served: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{model.key} cannot be served: its artifact lacks {error}") from None

    @classmethod
    def _of(cls, model: Model, data: bytes) -> "Ranker":
        kind, said, arrays = unpack(data)
        if kind != KIND or model.kind != KIND:
            raise StateError(f"the artifact is {kind!r}, recorded is {model.kind!r}, asked for is {KIND!r}")
        if model.version != version_of(model.artifact):
            raise StateError(f"the version is not that of the artifact, {version_of(model.artifact)}")
        features = tuple(said["features"])
        if features != model.features:
            raise StateError(f"the artifact reads {features}, recorded are {model.features}")
        if unknown := sorted(set(features) - COLUMN.keys()):
            raise StateError(f"it reads features that this release does not have: {', '.join(unknown)}")
        trees = Trees(arrays["nodes"], arrays["values"], arrays["starts"], arrays["depths"], len(features))
        curve = Platt(float(said["slope"]), float(said["bias"]))
        if not (curve.slope > 0.0 and np.isfinite([curve.slope, curve.bias]).all()):
            raise StateError(f"its calibration {curve} does not rise")
        return cls(features, trees, curve, model.version)
