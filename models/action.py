"""Action: what was learned of one action, as numbers; and the weights it comes to when it is served.

It begins as the packaged model. It is weighed by the scaled features and by a term for the place an item was shown at;
served, the place is the first one, so that what position alone explains is left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.features import NAMES
from models.scale import Doubles, Scale
from models.window import Window

PLACES = (1, 2, 3, 5, 10, 20)  # first place of each bucket but that of place 0, which needs no term
AT_PLACE = (
    3.0  # what stands for being there: as much as other features vary, for it is learned as fast as they
)
PLACED = tuple(f"place:{place}" for place in PLACES)
KEYS = (*NAMES, *PLACED)


@dataclass
class Action:
    """One action's model: a bias and a weight for each of `KEYS`, after so many `steps`.

    `prior` (features,) and `bias` are the default model's, of features as they are; `shift` follows how often the
    action really happens, `slope` how far its log-odds are to be believed: at the mean of all features it changes
    nothing. `certain` is the information that the slope was learned from. `good` are the weights when they were last
    served, `trusted` whether they are.
    """

    prior: Doubles
    bias: float
    shift: float = 0.0
    weights: list[float] = field(default_factory=list)
    steps: int = 0
    good: list[float] = field(default_factory=list)
    window: Window = field(default_factory=Window)
    shown: int = 0
    chosen: int = 0
    rolled: int = 0
    trusted: bool = False
    slope: float = 1.0
    certain: float = 0.0

    def begun(self, scale: Scale) -> list[float]:
        """Return the default model as a bias and weights for `KEYS`."""
        return [
            self.middle(scale) + self.shift,
            *(self.slope * self.prior * scale.deviation).tolist(),
            *(seen_less(place) / AT_PLACE for place in PLACES),
        ]

    def middle(self, scale: Scale) -> float:
        """Return the default model's log-odds at the mean of all features, before they are shifted."""
        return self.bias + float((self.prior * scale.mean).sum())

    def compiled(self, scale: Scale) -> tuple[Doubles, float]:
        """Return weights of the features as they are, (features,), and a bias: of the first place, and calibrated."""
        if not self.trusted:
            held = self.slope * self.prior
            return held, self.middle(scale) + self.shift - float((held * scale.mean).sum())
        weights, bias = flat(self.weights, scale)
        return weights, bias + self.window.correction()

    def numbers(self) -> list[object]:
        """Return everything as a row holds it."""
        return [
            self.prior.tobytes(), self.bias, self.shift, self.weights, self.steps, self.good, self.window.numbers(),
            self.shown, self.chosen, self.rolled, self.trusted, self.slope, self.certain,
        ]  # fmt: skip

    @classmethod
    def of(cls, prior: bytes, *numbers: object) -> "Action":
        """Return what `numbers` was made of."""
        action = cls(np.frombuffer(prior), *numbers)  # type: ignore[arg-type]
        action.window = Window.of(action.window)  # type: ignore[arg-type]
        return action


def flat(weights: Sequence[float], scale: Scale) -> tuple[Doubles, float]:
    """Return weights of the features as they are, and a bias, of a bias and weights for `KEYS`."""
    scaled = np.array(weights[1 : 1 + len(NAMES)]) / scale.deviation
    return scaled, float(weights[0] - (scaled * scale.mean).sum())


def moved(weights: Sequence[float], old: tuple[Doubles, Doubles], scale: Scale) -> list[float]:
    """Return weights that say under a scale what these say under the old means and deviations."""
    mean, deviation = old
    raw = np.array(weights[1 : 1 + len(NAMES)]) / deviation
    bias = weights[0] + float((raw * (scale.mean - mean)).sum())
    return [bias, *(raw * scale.deviation).tolist(), *weights[1 + len(NAMES) :]]


def bucket(place: int) -> str | None:
    """Return the term of a place, None for the first.

    >>> bucket(0), bucket(4), bucket(400)
    (None, 'place:3', 'place:20')
    """
    key = None
    for first, name in zip(PLACES, PLACED, strict=True):
        if place >= first:
            key = name
    return key


def seen_less(place: int) -> float:
    """Return by how much less likely a place is looked at than the first, as log-odds nearly; `models.items` too."""
    return -math.log(math.log2(place + 2))
