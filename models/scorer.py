"""Scorer: the light tier, a logistic model per action, mixed by the weights of the surface.

One matrix product for all candidates, in double precision: weights that cancel lose too much in single. An item's score
depends on its own features alone.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib import resources

import numpy as np
import numpy.typing as npt

from models.features import COLUMN, NAMES, Floats
from streams.errors import SettingsError


class Scorer:
    """Predicts each action's probability; `weights` has shape (features, actions), `bias` (actions,).

    `version` names the weights: equal weights have equal versions.
    """

    def __init__(
        self, actions: Sequence[str], weights: npt.NDArray[np.floating], bias: npt.NDArray[np.floating]
    ) -> None:
        if (
            weights.shape != (len(NAMES), len(actions))
            or not np.isfinite(weights).all()
            or not np.isfinite(bias).all()
        ):
            raise SettingsError(f"weights of shape {weights.shape} for {len(actions)} actions, or not finite")
        self.actions = tuple(actions)
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)
        self.bias = np.asarray(bias, dtype=np.float64)
        said = "\n".join((*NAMES, *self.actions)).encode() + self.weights.tobytes() + self.bias.tobytes()
        self.version = blake2b(said, digest_size=6).hexdigest()

    @classmethod
    def of(cls, said: Mapping[str, Mapping[str, float]]) -> "Scorer":
        """Return the scorer of {action: {feature or "bias": weight}}; else raises SettingsError."""
        weights = np.zeros((len(NAMES), len(said)))
        for n, (action, values) in enumerate(said.items()):
            for name, value in values.items():
                if name != "bias" and name not in COLUMN:
                    raise SettingsError(
                        f"{action}.{name}={value}: no such feature; there are {', '.join(NAMES)}"
                    )
                if name != "bias":
                    weights[COLUMN[name], n] = value
        bias = np.array([values.get("bias", 0.0) for values in said.values()])
        return cls(list(said), weights, bias)

    def mix(self, wanted: Mapping[str, float]) -> Floats:
        """Return a surface's weights in the order of the actions; one that is not predicted yet never happens."""
        return np.array([wanted.get(action, 0.0) for action in self.actions], dtype=np.float32)

    def predict(self, features: Floats) -> Floats:
        """Return the probability of each action, shape (n, actions)."""
        logits = features @ self.weights + self.bias
        return (1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))).astype(np.float32)

    def score(self, features: Floats, mix: Floats) -> Floats:
        """Return one number per candidate, shape (n,)."""
        mixed: Floats = self.predict(features) @ mix
        return mixed


@cache
def light() -> Scorer:
    """Return the packaged model, in force until examples have taught a better one."""
    return Scorer.of(tomllib.loads(resources.files("models").joinpath("light.toml").read_text()))
