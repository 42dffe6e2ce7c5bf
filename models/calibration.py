"""Calibration: from a ranker's score to the chance that it means, and how wrong such chances are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.errors import Refused, StateError

Doubles = npt.NDArray[np.float64]
STEPS = 100
BINS = 10


@dataclass(frozen=True)
class Platt:
    """A logistic curve over scores (Platt 1999): strictly rising, so that it never changes an order."""

    slope: float = 1.0
    bias: float = 0.0

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Platt":
        """Return the curve of an artifact's settings; raises StateError for one that does not rise."""
        curve = cls(float(said["slope"]), float(said["bias"]))
        if not (curve.slope > 0.0 and np.isfinite([curve.slope, curve.bias]).all()):
            raise StateError(f"its calibration {curve} does not rise")
        return curve

    def chance(self, scores: Doubles) -> Doubles:
        """Return the chances of scores, shape (n,)."""
        logits = np.clip(self.slope * scores + self.bias, -30.0, 30.0)
        chances: Doubles = 1.0 / (1.0 + np.exp(-logits))
        return chances


def platt(scores: Doubles, labels: npt.NDArray[np.bool_]) -> Platt:
    """Fit the curve by Newton's method with halved steps; raises Refused for one class, NaN, or a falling curve.

    Labels are drawn a little to the middle, as Platt does, so that separable scores have a finite curve.
    """
    positive = int(np.count_nonzero(labels))
    negative = len(labels) - positive
    if not positive or not negative:
        raise Refused(
            f"{positive} choices among {len(labels)} rows: a calibration needs both chosen and not chosen"
        )
    if not np.isfinite(scores).all():
        raise Refused("a score is not finite: nothing can be calibrated by it")
    middle, scale = float(scores.mean()), float(scores.std()) or 1.0
    x = (scores - middle) / scale
    target = np.where(labels, (positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0))
    at = np.array([0.0, np.log((positive + 1.0) / (negative + 1.0))])
    design = np.column_stack([x, np.ones_like(x)])

    def loss(where: Doubles) -> float:
        logits = design @ where
        return float(np.logaddexp(0.0, logits).sum() - target @ logits)

    before = loss(at)
    for _ in range(STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ at, -30.0, 30.0)))
        slope = design.T @ (chance - target)
        curve = (design * (chance * (1.0 - chance))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        while (now := loss(at - step)) > before + 1e-12 and np.abs(step).max() > 1e-9:
            step /= 2.0
        at = at - step
        if before - now < 1e-9 * max(1.0, abs(before)):
            break
        before = now
    if at[0] <= 0.0:
        raise Refused(
            f"chances fall as scores rise (slope {at[0]:.3g}): the model ranks the chosen below the others"
        )
    return Platt(float(at[0] / scale), float(at[1] - at[0] * middle / scale))


def error(chances: Doubles, labels: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error: |chance - share chosen| over ten bins of equally many rows.

    As a share of the rate of choices, so that it means the same where one in a hundred is chosen: 0.1 says that
    chances are a tenth off on average.

    >>> error(np.full(100, 0.1), np.arange(100) % 10 == 0)
    0.0
    """
    rate = float(np.mean(labels))
    if not len(labels) or not rate:
        raise Refused(f"{len(labels)} rows of which none was chosen: no calibration can be measured")
    wrong = 0.0
    for part in np.array_split(np.argsort(chances, kind="stable"), BINS):
        if len(part):
            wrong += abs(float(chances[part].sum()) - float(np.count_nonzero(labels[part])))
    return round(wrong / len(labels) / rate, 12)
