"""The embedding: an item's place among next choices, and the softmax step that learns it from sampled negatives.

A trail is the fading sum of the vectors of its newest items, of length one; an item's logit is the inner product of
that with its `out` vector, and its bias. In a trail an item stands as the sum of its `out` vector, which says what it
is like, and its `into` vector, which says how what comes after it differs. Negatives are drawn from recent choices and
from all items, and each is weighed by the inverse of how often it is drawn, so that the sum over them is that over all
(Bengio and Senécal 2008, "Adaptive importance sampling"). Steps are row-wise Adagrad (Duchi, Hazan and Singer 2011).
"""

import math

import numpy as np

from models.compiled import compiled
from models.hashed import among
from models.learned import BIAS, FREE, HEAT_BIAS, HEAT_INTO, HEAT_OUT, RING, Arrays, Floats, Slots
from models.maths import exp, ln
from models.scratch import Scratch, note

FADE = 0.8  # weight of an older choice
SPAN = 10  # choices that count
RATE = 0.3  # a drawn negative stands for many, so sums of squares grow faster than those of a full softmax
EPS = 1e-6
NEGATIVES = 128
LINE = 16  # numbers on a line of a processor's memory
# Every so many items one more choice in a row has the same negatives from all items: each moves a row, and a row that
# is moved is written. From so many items on, both steps of a choice have the same. Among few items rows are written
# anyway, and other negatives each time teach more.
SHARED = 10_000
LEAST = 1e-4  # a chance too small to move a row, and have it written, for


@compiled
def random(seed: int, n: int) -> int:
    """Return number `n` of a sequence, 63 bits (Steele, Lea and Flood 2014, SplitMix64)."""
    x = np.uint64(seed) * np.uint64(0x100000001B3) + np.uint64(n + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((x ^ (x >> np.uint64(31))) >> np.uint64(1))


@compiled
def dot(a: Floats, b: Floats) -> float:
    """Return an inner product, summed in eight lanes so that it is both quick and the same everywhere."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0.0)
    n = len(a) - len(a) % 8
    for j in range(0, n, 8):
        s0 += a[j] * b[j]
        s1 += a[j + 1] * b[j + 1]
        s2 += a[j + 2] * b[j + 2]
        s3 += a[j + 3] * b[j + 3]
        s4 += a[j + 4] * b[j + 4]
        s5 += a[j + 5] * b[j + 5]
        s6 += a[j + 6] * b[j + 6]
        s7 += a[j + 7] * b[j + 7]
    for j in range(n, len(a)):
        s0 += a[j] * b[j]
    return float(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)))


@compiled
def pool(arrays: Arrays, after: Slots, v: Floats) -> float:
    """Write the vector of a trail, newest first, into `v` and return its length before it became one."""
    v[:] = 0.0
    share = np.float32(1.0)
    for k in range(min(SPAN, len(after))):
        into, out = arrays.into[after[k]], arrays.out[after[k]]
        for j in range(len(v)):
            v[j] += share * (into[j] + out[j])
        share *= np.float32(FADE)
    length = math.sqrt(dot(v, v)) + 1e-9
    scale = np.float32(1.0 / length)
    for j in range(len(v)):
        v[j] *= scale
    return length


@compiled
def descend(row: Floats, heat: float, gradient: Floats, size: float, scale: float) -> float:
    """Move a vector against `scale` times a gradient and return its new sum of squares; a step off the map is none.

    `size` is the gradient's mean square.
    """
    grown = heat + scale * scale * size
    if not grown < 1e30:
        return heat
    step = np.float32(RATE * scale / math.sqrt(grown + EPS))
    for j in range(len(row)):
        row[j] -= step * gradient[j]
    return grown


@compiled
def pull(arrays: Arrays, slot: int, v: Floats, size: float, scale: float) -> None:
    """Move an item's out vector and bias against a gradient of its logit; `size` is the mean square of `v`."""
    numbers = arrays.numbers
    numbers[slot, HEAT_OUT] = descend(arrays.out[slot], numbers[slot, HEAT_OUT], v, size, scale)
    numbers[slot, HEAT_BIAS] += scale * scale
    numbers[slot, BIAS] -= RATE * scale / math.sqrt(numbers[slot, HEAT_BIAS] + EPS)


@compiled
def chance(ringed: Slots, slot: int, items: int, filled: int) -> float:
    """Return how likely one draw is to be this item."""
    return 0.5 / items + 0.5 * float(ringed[slot]) / filled


@compiled
def draw(ring: Slots, items: int, filled: int, seed: int, n: int) -> int:
    """Return an item, drawn from the recent choices or from all; `seed` is the number of the choice."""
    x = random(seed, n)
    if x & 1:
        return int(ring[(x >> 1) % filled])
    return (random(seed // (1 + items // SHARED), n) >> 1) % items


@compiled
def negatives(
    scratch: Scratch, ring: Slots, items: int, seed: int, first: int, item: int, after: Slots
) -> tuple[Slots, Floats]:
    """Return what choice number `seed` is compared with, and the logarithm of how often each is drawn.

    They are drawn from number `first` on.
    """
    filled = max(1, min(seed, RING))
    drawn, often = np.empty(NEGATIVES, np.int32), np.empty(NEGATIVES, np.float32)
    n = 0
    for i in range(NEGATIVES):
        slot = draw(ring, items, filled, seed, first + i)
        if slot not in (item, FREE) and not among(after, slot):  # of the first choice the ring is empty
            drawn[n] = slot
            often[n] = NEGATIVES * chance(scratch.ringed, slot, items, filled)
            n += 1
    for i in range(n):  # apart from what jumps about in memory: so it is done for eight at once
        often[i] = ln(often[i])
    return drawn[:n], often[:n]


@compiled
def fetch(arrays: Arrays, slots: Slots) -> float:
    """Read a number of each line of memory that the out rows of items lie on, and return their sum.

    These wait for memory together; a step over a million items would wait for one after the other, twice as long.
    """
    read = np.float32(0.0)
    for slot in slots:
        row = arrays.out[slot]
        for j in range(0, len(row), LINE):
            read += row[j]
        read += np.float32(arrays.numbers[slot, BIAS])
    return float(read)


@compiled
def step(arrays: Arrays, scratch: Scratch, drawn: Slots, often: Floats, item: int, after: Slots) -> None:
    """Learn that `item` came after others: one step on the softmax over it and negatives, drawn so often."""
    d, n = arrays.into.shape[1], len(drawn)
    numbers, out = arrays.numbers, arrays.out
    v, towards = np.empty(d, np.float32), np.empty(d, np.float32)
    length = pool(arrays, after, v)
    weight = np.empty(n, np.float32)
    if not np.isfinite(fetch(arrays, drawn)):  # and were it not asked for, it would not be compiled
        return
    own = float(dot(out[item], v) + numbers[item, BIAS])
    top = own
    for i in range(n):
        weight[i] = dot(out[drawn[i]], v) + numbers[drawn[i], BIAS] - often[i]
        top = max(top, weight[i])
    for i in range(n):
        weight[i] = exp(weight[i] - top)
    own = float(exp(own - top))
    total = own
    for i in range(n):
        total += weight[i]
    size, scale = dot(v, v) / d, own / total - 1.0
    row = out[item]
    for j in range(d):
        towards[j] = np.float32(scale) * row[j]
    pull(arrays, item, v, size, scale)
    for i in range(n):
        scale = weight[i] / total
        if scale >= LEAST:
            row = out[drawn[i]]
            for j in range(d):
                towards[j] += np.float32(scale) * row[j]
            pull(arrays, drawn[i], v, size, scale)
            note(scratch, drawn[i])
    back(arrays, after, v, towards, length)


@compiled
def turned(item: int, after: Slots) -> Slots:
    """Return the trail in which `item` was chosen before the newest of `after`, and not after it."""
    before = after.copy()
    before[0] = item
    return before


@compiled
def back(arrays: Arrays, after: Slots, v: Floats, towards: Floats, length: float) -> None:
    """Move the vectors of a trail against the gradient of its unit vector."""
    along = np.float32(dot(towards, v))
    for j in range(len(v)):
        towards[j] -= along * v[j]
    size, share = dot(towards, towards) / len(v), 1.0
    for k in range(min(SPAN, len(after))):
        slot, scale = after[k], share / length
        heats = arrays.numbers[slot]
        heats[HEAT_INTO] = descend(arrays.into[slot], heats[HEAT_INTO], towards, size, scale)
        heats[HEAT_OUT] = descend(arrays.out[slot], heats[HEAT_OUT], towards, size, scale)
        share *= FADE


@compiled
def refuse(arrays: Arrays, scratch: Scratch, item: int, after: Slots, amount: float) -> None:
    """Learn that an item was disliked after others: one step of its logistic loss, `amount` up to one."""
    v = np.empty(arrays.into.shape[1], np.float32)
    pool(arrays, after, v)
    logit = dot(arrays.out[item], v) + arrays.numbers[item, BIAS]
    pull(arrays, item, v, dot(v, v) / len(v), amount / (1.0 + float(exp(-logit))))
    note(scratch, item)
