"""The stack: one score from counts, transitions, embedding and popularity, weighed by what was learned so far.

A candidate's relevance is the inner product of its signals with weights for how long the trail is, those of all trails
and those of this length, and what a hidden layer adds for how the signals stand together. All are learned online on
the softmax over the strongest neighbours and a weighted sample of all other items (van der Laan, Polley and Hubbard
2007, "Super learner", has the idea), from choices of what was not chosen before: lists are made to be discovered from.
"""

import math

import numpy as np
import numpy.typing as npt

from models import embedding, hidden
from models.compiled import compiled
from models.hashed import among, place
from models.learned import BIAS, FREE, NOBODY, RING, Arrays, Floats, Learned, Slots
from models.maths import exp, ln
from models.neighbours import WEIGHED, Flags, gather, marked
from models.signals import WIDTH, Doubles, behind, describe, tops_of
from models.signals import signals as _signals

START = np.array(
    [0.05, 0.1, 0.2, 0.1, 0.0, 0.5, 0.2, 1.0, 0.4, 0.5, 0.2, 0.5, 0.2, 0.3, 0.3], np.float32
)  # others: 0
LENGTHS = (0, 1, 2, 4, 8, 16)  # of trails that have weights of their own, from here on
STRONGEST = 64
DRAWN = 64
RATE = 0.03
SELDOM = ((1_000_000, 16), (20_000, 6))  # after so many choices the few weights are learned from every n-th
_LENGTHS = np.array(LENGTHS)
LINEAR = (len(LENGTHS) + 1) * WIDTH
SIZE = LINEAR + hidden.SIZE


def fresh() -> tuple[Floats, Floats]:
    """Return the weights (SIZE,), and Adagrad's sums, before anything was learned."""
    weights, heat = np.zeros(LINEAR, np.float32), np.zeros(LINEAR, np.float32)
    weights[: len(START)] = START
    layer, warmth = hidden.fresh()
    return np.concatenate([weights, layer]), np.concatenate([heat, warmth])


_FRESH = fresh()[0]


@compiled
def _length(after_count: int) -> int:
    length = 0
    for n in range(len(_LENGTHS)):
        if after_count >= _LENGTHS[n]:
            length = n + 1
    return length


@compiled
def _relevance(flat: Floats, signals: Floats, after_count: int) -> tuple[Floats, Floats, Floats]:
    weights = flat[:LINEAR].reshape(-1, WIDTH)
    own = _length(after_count)
    scores = np.empty(len(signals), np.float32)
    for n in range(len(signals)):
        score = np.float32(0.0)
        for k in range(WIDTH):
            score += (weights[0, k] + weights[own, k]) * signals[n, k]
        scores[n] = score
    read, said = hidden.add(flat[LINEAR:], signals, after_count, scores)
    return scores, read, said


@compiled
def nth(values: Floats, n: int) -> np.float32:
    """Return the n-th largest of more values, none below zero: these are ordered as their bits, which are counted."""
    bits = values.view(np.int32)
    known = np.int32(0)  # the bits of the answer that are known, from above
    for shift, width in ((20, 11), (10, 10), (0, 10)):
        counts = np.zeros(1 << width, np.int32)
        for i in range(len(bits)):
            if bits[i] >> (shift + width) == known >> (shift + width):
                counts[(bits[i] >> shift) & ((1 << width) - 1)] += 1
        at = len(counts) - 1
        while at > 0 and counts[at] < n:
            n -= counts[at]
            at -= 1
        known |= np.int32(at << shift)
    return np.int32(known).view(np.float32)


@compiled
def _strongest(sums: Floats, tops: Floats, known: Flags, most: int) -> tuple[Slots, Floats]:
    strength = np.zeros(len(sums), np.float32)
    for k in range(WEIGHED):
        top = tops[k]
        if top > 0.0:
            for i in range(len(sums)):
                strength[i] += sums[i, k] / top
    for i in range(len(sums)):
        if known[i]:
            strength[i] = 0.0
    least = nth(strength, most) if len(strength) > most else np.float32(0.0)
    kept = np.empty(min(most, len(strength)), np.int32)
    n = 0
    for i in range(len(strength)):
        if strength[i] >= least and strength[i] > 0.0 and n < len(kept):
            kept[n] = i
            n += 1
    return kept[:n], strength


@compiled
def due(now: int) -> bool:
    """Tell whether choice number `now` teaches the weights."""
    for after, seldom in SELDOM:
        if now >= after:
            return now % seldom == 0
    return True


@compiled
def step(
    arrays: Arrays, ring: Slots, ringed: Slots, items: int, now: int, item: int, after: Slots, before: Slots,
    weights: Floats, heat: Floats, stages: Doubles, stage: int,
) -> None:  # fmt: skip
    """Learn the weights from one choice: a step on the softmax over all items, most of them by sample."""
    trail = behind(arrays, after, before, stages, stage)
    table, found = trail.table, trail.found
    strongest, _ = _strongest(trail.sums, trail.tops, trail.known, STRONGEST)
    rows = np.empty((1 + len(strongest) + DRAWN, WIDTH), np.float32)
    logs = np.zeros(len(rows))
    taken = np.zeros(len(found), np.bool_)
    taken[: len(after)] = True
    describe(arrays, now, trail, item, rows[0])
    i = table[place(table, item), 1]
    if i != FREE:
        taken[i] = True
    n = 1
    for i in strongest:
        if found[i] != item:
            describe(arrays, now, trail, found[i], rows[n])
            taken[i] = True
            n += 1
    filled = max(1, min(now, RING))
    for k in range(DRAWN):
        slot = embedding.draw(ring, items, filled, now, k)  # as the embedding will: they are at hand then
        i = table[place(table, slot), 1]
        if slot != item and (i == FREE or not taken[i]) and not among(before, slot):
            describe(arrays, now, trail, slot, rows[n])
            logs[n] = -ln(DRAWN * embedding.chance(ringed, slot, items, filled))
            n += 1
    scores, read, said = _relevance(weights, rows[:n], len(after) + len(before))
    top = -np.inf
    for k in range(n):
        logs[k] += scores[k]
        top = max(top, logs[k])
    total = 0.0
    for k in range(n):
        logs[k] = exp(logs[k] - top)
        total += logs[k]
    slopes, gradient = (logs[:n] / total).astype(np.float32), np.zeros(WIDTH, np.float32)
    slopes[0] -= np.float32(1.0)
    for k in range(n):
        for m in range(WIDTH):
            gradient[m] += slopes[k] * rows[k, m]
    for first in (0, WIDTH * _length(len(after) + len(before))):
        for m in range(WIDTH):
            heat[first + m] += gradient[m] * gradient[m]
            weights[first + m] -= RATE * gradient[m] / math.sqrt(heat[first + m] + 1e-6)
    hidden.learn(weights[LINEAR:], heat[LINEAR:], rows[:n], read, said, slopes)


@compiled
def _neighbours(arrays: Arrays, after: Slots, before: Slots, most: int) -> tuple[Slots, Floats]:
    table, found, sums = gather(arrays, after)
    known = marked(table, found, before)
    kept, strength = _strongest(sums, tops_of(sums, known), known, most)
    return found[kept], strength[kept]


def signals(
    learned: Learned, after: Slots, candidates: Slots, stage: int = FREE, before: Slots = NOBODY
) -> Floats:
    """Return the signals (n, SIGNALS) of candidates for someone whose trail is `after`, newest first, at a `stage`.

    `before` is what they acted on before that trail, the last to be met first: counts are measured without it.
    """
    common = learned.common
    return _signals(learned.arrays, common.choices, after, before, candidates, common.stages, stage)


def relevance(learned: Learned, signals: Floats, after_count: int) -> Floats:
    """Return the log-score (n,) of candidates with these signals, after so many items, those before the trail too."""
    weights = learned.common.weights if learned.common.weights.size else _FRESH
    return _relevance(weights, signals, after_count)[0]


def neighbours(learned: Learned, after: Slots, count: int, before: Slots = NOBODY) -> tuple[Slots, Floats]:
    """Return slots and strengths of at most `count` items chosen near those of a trail, the strongest first.

    Those of the trail and `before` it are left out.
    """
    slots, strengths = _neighbours(learned.arrays, after, before, count)
    order = np.lexsort((slots, -strengths))
    return slots[order], strengths[order]


def query(learned: Learned, after: Slots) -> Floats:
    """Return the vector (d + 1,) of a trail; its inner product with a place is the embedding's logit."""
    v = np.zeros(learned.dimensions + 1, np.float32)
    embedding.pool(learned.arrays, after, v[:-1])
    v[-1] = 1.0
    return v


def places(learned: Learned, slots: npt.NDArray[np.integer]) -> Floats:
    """Return the places (n, d + 1) of items: out vector and bias."""
    arrays = learned.arrays
    return np.concatenate([arrays.out[slots], arrays.numbers[slots, BIAS, None].astype(np.float32)], axis=1)
