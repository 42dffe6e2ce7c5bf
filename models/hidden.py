"""Hidden: what the stack adds to weighed signals for how they stand together, by a layer of hidden units.

A signal counts from its mean, in standard deviations, both as of the candidates that were compared so far. A unit is
the positive part of a sum of such signals and of how long the trail is, each weighed as was learned; the layer's score
is the weighed sum of its units (Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating
errors"; the positive part after Nair and Hinton 2010). Its outer weights begin at zero, so that it begins with nothing
to say.
"""

import math

import numpy as np

from models.compiled import compiled
from models.learned import Floats
from models.maths import ln
from models.signals import WIDTH

UNITS = 32
INPUTS = WIDTH + 2  # the signals, the length of the trail, and one
OUTER = INPUTS * UNITS
MEANS = OUTER + UNITS
SPREADS = MEANS + WIDTH
STEPS = SPREADS + WIDTH
LEAST = 1e-2  # variance that a signal has at the least: one that was always the same shall not explode when it moves
FAR = 8.0  # deviations; nothing counts as further away
SIZE = STEPS + 1
SETTLED = 1_000  # steps after which mean and variance fade, each step by this part
DAMPED = 1.0  # what Adagrad's sums begin with: the first steps of hundreds of weights at once shall be small
RATE = 0.06
NOTHING = 1e-4  # a slope too small to go through the layer for: most candidates are that unlikely
SEED = 1


def fresh() -> tuple[Floats, Floats]:
    """Return the layer (SIZE,), and Adagrad's sums, before anything was learned."""
    layer, heat = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    drawn = np.random.Generator(np.random.PCG64(SEED)).standard_normal(OUTER, np.float32)
    layer[:OUTER] = drawn / np.float32(math.sqrt(INPUTS))
    layer[SPREADS:STEPS] = 1.0
    heat[:MEANS] = DAMPED
    return layer, heat


@compiled
def _scales(layer: Floats) -> Floats:
    scales = np.empty(WIDTH, np.float32)
    for m in range(WIDTH):
        scales[m] = np.float32(1.0) / np.sqrt(layer[SPREADS + m] + np.float32(LEAST))
    return scales


@compiled
def _inputs(layer: Floats, scales: Floats, row: Floats, length: np.float32, inputs: Floats) -> None:
    far = np.float32(FAR)
    for m in range(WIDTH):
        inputs[m] = min(max((row[m] - layer[MEANS + m]) * scales[m], -far), far)
    inputs[WIDTH] = length
    inputs[WIDTH + 1] = np.float32(1.0)


@compiled
def _units(layer: Floats, inputs: Floats, units: Floats) -> np.float32:
    units[:] = 0.0
    for m in range(INPUTS):
        for q in range(UNITS):
            units[q] += inputs[m] * layer[m * UNITS + q]
    score = np.float32(0.0)
    for q in range(UNITS):
        units[q] = max(units[q], np.float32(0.0))
        score += units[q] * layer[OUTER + q]
    return score


@compiled
def length_of(after_count: int) -> np.float32:
    """Return a trail's length as a unit is told of it."""
    return np.float32(ln(1.0 + after_count) - np.float32(2.0))


@compiled
def add(layer: Floats, signals: Floats, after_count: int, scores: Floats) -> None:
    """Add the layer's scores to those (n,) of candidates with signals (n, WIDTH)."""
    inputs, units = np.empty(INPUTS, np.float32), np.empty(UNITS, np.float32)
    length, scales = length_of(after_count), _scales(layer)
    for n in range(len(signals)):
        _inputs(layer, scales, signals[n], length, inputs)
        scores[n] += _units(layer, inputs, units)


@compiled
def learn(layer: Floats, heat: Floats, signals: Floats, after_count: int, slopes: Floats) -> None:
    """Move the layer against a loss whose slopes by the scores of candidates are (n,); one step of Adagrad."""
    inputs, units = np.empty(INPUTS, np.float32), np.empty(UNITS, np.float32)
    gradient, length, scales = np.zeros(MEANS, np.float32), length_of(after_count), _scales(layer)
    for n in range(len(signals)):
        if abs(slopes[n]) < NOTHING:
            continue
        _inputs(layer, scales, signals[n], length, inputs)
        _units(layer, inputs, units)
        for q in range(UNITS):
            gradient[OUTER + q] += slopes[n] * units[q]
            units[q] = slopes[n] * layer[OUTER + q] if units[q] > 0.0 else np.float32(0.0)
        for m in range(INPUTS):
            for q in range(UNITS):
                gradient[m * UNITS + q] += inputs[m] * units[q]
    for m in range(MEANS):
        heat[m] += gradient[m] * gradient[m]
        layer[m] -= RATE * gradient[m] / math.sqrt(heat[m] + 1e-6)
    _settle(layer, signals)


@compiled
def _settle(layer: Floats, signals: Floats) -> None:
    layer[STEPS] = min(layer[STEPS] + np.float32(1.0), np.float32(SETTLED))
    share = np.float32(1.0) / (layer[STEPS] * np.float32(len(signals)))
    for m in range(WIDTH):
        off = square = np.float32(0.0)
        for n in range(len(signals)):
            way = signals[n, m] - layer[MEANS + m]
            off += way
            square += way * way
        layer[SPREADS + m] += share * (square - np.float32(len(signals)) * layer[SPREADS + m])
        layer[MEANS + m] += share * off
