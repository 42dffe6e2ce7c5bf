"""Power: how many units an experiment needs to find a lift, before it is started."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from models.inference import ENOUGH
from models.sequential import ALPHA, fixed_reach, reach
from streams.errors import Refused

POWER = 0.8
MOST = 1 << 50  # units


class Size(NamedTuple):
    """Units of all arms together: `units` when looked at all the time, `once` when looked at once, at the end."""

    units: int
    once: int


def size(
    value: float,
    variance: float,
    lift: float,
    weights: Sequence[float] = (1, 1),
    *,
    alpha: float = ALPHA,
    power: float = POWER,
) -> Size:
    """Return how many units find a relative `lift` of a metric with this power at the end of the experiment, or before.

    `value` is the control's, `variance` that of one unit's share in it (`models.inference.mean`), which is taken to
    grow with the value as that of counts does. `weights` are those of the arms, the control's first; the smallest
    other arm is looked at, at `alpha` over the number of other arms. Raises Refused for what no size could find.

    >>> size(0.1, 0.09, 0.1)
    Size(units=71767, once=29669)
    """
    if not value > 0 or not np.isfinite(value):
        raise Refused(f"a lift is relative to the control's value, which must be above 0, not {value:g}")
    if not variance > 0 or not np.isfinite(variance):
        raise Refused(f"variance={variance:g}: units that are all alike say nothing of what would differ")
    if lift == 0 or lift < -1 or not np.isfinite(lift):
        raise Refused(f"lift={lift:g}: give a part such as 0.05, not 0 and not below -1")
    if not 0 < power < 1:
        raise Refused(f"power={power:g} is not between 0 and 1")
    if len(weights) < 2 or min(weights) <= 0:
        raise Refused(f"weights={list(weights)}: an experiment needs two arms, each with a weight above 0")
    control, other = weights[0] / sum(weights), min(weights[1:]) / sum(weights)
    error = (variance / control + variance * (1 + lift) / other) ** 0.5  # times the root of all units
    level, quantile = alpha / (len(weights) - 1), float(ndtri(power))

    def found(units: int, errors: float) -> bool:
        return bool(abs(lift) * value * units**0.5 >= (errors + quantile) * error)

    once = float(fixed_reach(level))
    least = int(np.ceil(ENOUGH / min(control, other)))
    return Size(
        _least(lambda units: found(units, float(reach(units * (control + other), level))), least),
        _least(lambda units: found(units, once), least),
    )


def _least(enough: Callable[[int], bool], low: int) -> int:
    """Return the least number, from `low` on, that is enough, when all above it are."""
    if enough(low):
        return low
    high = 2 * low
    while not enough(high):
        high *= 2
        if high > MOST:
            raise Refused("no number of units finds so small a lift")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
