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
def add(layer: Floats, signals: Floats, after_count: int, scores: Floats) -> tuple[Floats, Floats]:
    """Add the layer's scores to those (n,) of candidates with signals (n, WIDTH).

    Returns what its units read (INPUTS, n) and what they say (UNITS, n), for it to learn by. Candidates stand side by
    side there, so that they are reckoned eight at once.
    """
    read, said = _read(layer, signals, after_count), np.empty((UNITS, len(signals)), np.float32)
    total = np.zeros(len(signals), np.float32)
    for q in range(UNITS):
        unit = said[q]
        unit[:] = 0.0
        for m in range(INPUTS):
            weight, of = layer[m * UNITS + q], read[m]
            for n in range(len(unit)):
                unit[n] += of[n] * weight
        for n in range(len(unit)):
            unit[n] = max(unit[n], np.float32(0.0))
            total[n] += unit[n] * layer[OUTER + q]
    for n in range(len(scores)):
        scores[n] += total[n]
    return read, said


@compiled
def _read(layer: Floats, signals: Floats, after_count: int) -> Floats:
    read, scales, far = np.empty((INPUTS, len(signals)), np.float32), _scales(layer), np.float32(FAR)
    for m in range(WIDTH):
        for n in range(len(signals)):
            read[m, n] = min(max((signals[n, m] - layer[MEANS + m]) * scales[m], -far), far)
    read[WIDTH] = ln(1.0 + after_count) - np.float32(2.0)
    read[WIDTH + 1] = 1.0
    return read


@compiled
def learn(layer: Floats, heat: Floats, signals: Floats, read: Floats, said: Floats, slopes: Floats) -> None:
    """Move the layer against a loss whose slopes by the scores of candidates are (n,); one step of Adagrad.

    `read` and `said` are as `add` returned them for these candidates.
    """
    gradient = _gradient(layer, read, said, slopes)
    for m in range(MEANS):
        heat[m] += gradient[m] * gradient[m]
        layer[m] -= RATE * gradient[m] / math.sqrt(heat[m] + 1e-6)
    _settle(layer, signals)


@compiled
def _gradient(layer: Floats, read: Floats, said: Floats, slopes: Floats) -> Floats:
    gradient = np.zeros(MEANS, np.float32)
    kept = np.flatnonzero(np.abs(slopes) >= NOTHING)
    back = np.zeros((len(kept), UNITS), np.float32)
    for q in range(UNITS):
        for k in range(len(kept)):
            n = kept[k]
            gradient[OUTER + q] += slopes[n] * said[q, n]
            if said[q, n] > 0.0:
                back[k, q] = slopes[n] * layer[OUTER + q]
    for m in range(INPUTS):
        row = gradient[m * UNITS : (m + 1) * UNITS]
        for k in range(len(kept)):
            x, slope = read[m, kept[k]], back[k]
            for q in range(UNITS):
                row[q] += x * slope[q]
    return gradient


@compiled
def _settle(layer: Floats, signals: Floats) -> None:
    layer[STEPS] = min(layer[STEPS] + np.float32(1.0), np.float32(SETTLED))
    share = np.float32(1.0) / (layer[STEPS] * np.float32(len(signals)))
    off, square = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    for n in range(len(signals)):
        for m in range(WIDTH):
            way = signals[n, m] - layer[MEANS + m]
            off[m] += way
            square[m] += way * way
    for m in range(WIDTH):
        layer[SPREADS + m] += share * (square[m] - np.float32(len(signals)) * layer[SPREADS + m])
        layer[MEANS + m] += share * off[m]
