"""Signals: what counts, transitions, embedding and popularity say of a candidate for someone with a trail.

Beside them stands at what stage of their lives here people choose an item: newcomers are not shown, and do not
know, what others are and do.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models import embedding
from models.compiled import compiled
from models.hashed import place
from models.learned import BIAS, CHOSEN, FREE, MET, RECENT, SPANS, STAGE, STAGES, Arrays, Floats, Slots
from models.maths import exp, ln
from models.neighbours import REACH, SINGLE, SINGLES, SUMS, TIMES, WEIGHED, Flags, gather, marked

SIGNALS = (
    "recent_short", "recent_middle", "recent_long", "chosen", "rested", "alike", "alike_log", "follows", "follows_log",
    "next", "next_log", "leads", "leads_log", "embedding", "stage", "embedding_last", "embedding_whole",
    "embedding_best", "embedding_like", "embedding_bias", "embedding_norm", "times", "alike_first", "alike_second",
    "alike_third", "embedding_before", "embedding_before_like",
)  # fmt: skip
WIDTH = len(SIGNALS)
FLOOR = 0.01  # of the largest sum: what no neighbour at all counts as
SURE = 10.0  # choices of an item without which its stages are those of all items
LAST = 5  # newest choices that the embedding of the last few is of
EARLIER = 100  # items acted on before the trail that the embedding of these is of
LASTING = 0.5  # weight of an older one of them
# rows of a trail's vectors; from EACH on, of its newest choices
USUAL, FEW, WHOLE, LIKE, EARLY, EARLY_LIKE, EACH = range(7)
Doubles = npt.NDArray[np.float64]
_FADES = np.array([1.0 / span for span in SPANS])


class Behind(NamedTuple):
    """A trail as its candidates are described by it.

    Neighbours of the trail stand at their number of `found`, which the hash table `table` has by slot; so do their
    `sums`, (n, SUMS). `known` of them (n,) were acted on before the trail; `tops` are the largest sums of the others.
    `vectors` (EACH + choices, d) are of length one. `usual` is the share of choices that people at this `stage` make, 0
    where that is not known.
    """

    table: Slots
    found: Slots
    sums: Floats
    known: Flags
    tops: Floats
    vectors: Floats
    stage: int
    usual: float


def stage_of(known: int, after: int) -> int:
    """Return the stage of someone who acted on `known` items, `after` of them their trail; FREE where it can't be.

    >>> stage_of(0, 0), stage_of(3, 1), stage_of(400, 20), stage_of(0, 1)
    (0, 2, 9, -1)
    """
    return min(known.bit_length(), STAGES - 1) if known >= after else FREE


@compiled
def tops_of(sums: Floats, known: Flags) -> Floats:
    """Return the largest of each sum over a trail, (SUMS,), but for those of known items."""
    tops = np.zeros(SUMS, np.float32)
    for i in range(len(sums)):
        if known[i]:
            continue
        for k in range(SUMS):
            tops[k] = max(tops[k], sums[i, k])
    return tops


@compiled
def behind(arrays: Arrays, after: Slots, before: Slots, stages: Doubles, stage: int) -> Behind:
    """Return what a trail, and what was acted on before it, newest first, say of all candidates."""
    table, found, sums = gather(arrays, after)
    known = marked(table, found, before)
    usual = 0.0 if stage == FREE else (stages[stage] + 1e-4) / (stages.sum() + 1.0)
    tops, vectors = tops_of(sums, known), _vectors(arrays, after, before)
    return Behind(table, found, sums, known, tops, vectors, stage, usual)


@compiled
def _vectors(arrays: Arrays, after: Slots, before: Slots) -> Floats:
    each = min(embedding.SPAN, len(after))
    vectors = np.zeros((EACH + each, arrays.into.shape[1]), np.float32)
    embedding.pool(arrays, after, vectors[USUAL])
    last, fade = np.float32(1.0), np.float32(1.0)
    for k in range(len(after)):
        into, out = arrays.into[after[k]], arrays.out[after[k]]
        for j in range(len(into)):
            vectors[WHOLE, j] += into[j] + out[j]
        if k < each:
            for j in range(len(into)):
                vectors[FEW, j] += last * (into[j] + out[j])
                vectors[LIKE, j] += fade * out[j]
                vectors[EACH + k, j] = into[j] + out[j]
        last = last * np.float32(LASTING) if k + 1 < LAST else np.float32(0.0)
        fade *= np.float32(embedding.FADE)
    for slot in before[:EARLIER]:
        into, out = arrays.into[slot], arrays.out[slot]
        for j in range(len(into)):
            vectors[EARLY, j] += into[j] + out[j]
            vectors[EARLY_LIKE, j] += out[j]
    for vector in vectors[FEW:]:
        scale = np.float32(1.0 / (math.sqrt(embedding.dot(vector, vector)) + 1e-9))
        for j in range(len(vector)):
            vector[j] *= scale
    return vectors


@compiled
def _share(behind: Behind, i: int, what: int) -> np.float32:
    """Return what share of the largest sum number `i` of the found has; a known one has no more than all of it."""
    top = behind.tops[what]
    if i == FREE or top <= 0.0:
        return np.float32(0.0)
    return min(behind.sums[i, what] / top, np.float32(1.0))


@compiled
def describe(arrays: Arrays, now: int, behind: Behind, slot: int, row: Floats) -> None:
    """Write the signals of a candidate into `row`; `now` is the number of the choice."""
    numbers, out = arrays.numbers[slot], arrays.out[slot]
    i = behind.table[place(behind.table, slot), 1]
    rested = max(0.0, now - numbers[MET])  # where rows are read one by one, one may be newer than `now`
    for k in range(len(_FADES)):
        row[k] = ln(1.0 + numbers[RECENT + k] * exp(-rested * _FADES[k]))
    row[3] = ln(1.0 + numbers[CHOSEN])
    row[4] = ln(1.0 + rested)
    for k in range(WEIGHED):
        row[5 + 2 * k] = _share(behind, i, k)
        row[6 + 2 * k] = ln(row[5 + 2 * k] + np.float32(FLOOR))
    vectors = behind.vectors
    row[13] = embedding.dot(out, vectors[USUAL]) + numbers[BIAS]
    row[14] = 0.0
    if behind.usual > 0.0:
        row[14] = ln((numbers[STAGE + behind.stage] / behind.usual + SURE) / (numbers[CHOSEN] + SURE))
    row[15] = embedding.dot(out, vectors[FEW])
    row[16] = embedding.dot(out, vectors[WHOLE])
    best = -np.inf if len(vectors) > EACH else 0.0
    for k in range(EACH, len(vectors)):
        best = max(best, embedding.dot(out, vectors[k]))
    row[17] = best
    row[18] = embedding.dot(out, vectors[LIKE])
    row[19] = numbers[BIAS]
    row[20] = math.sqrt(embedding.dot(out, out))
    row[21] = behind.sums[i, TIMES] / np.float32(REACH) if i != FREE else np.float32(0.0)
    for k in range(SINGLES):
        row[22 + k] = ln(_share(behind, i, SINGLE + k) + np.float32(FLOOR))
    row[25] = embedding.dot(out, vectors[EARLY])
    row[26] = embedding.dot(out, vectors[EARLY_LIKE])


@compiled
def signals(
    arrays: Arrays, now: int, after: Slots, before: Slots, candidates: Slots, stages: Doubles, stage: int
) -> Floats:
    """Return the signals (n, WIDTH) of candidates after a trail and what was acted on before it."""
    trail = behind(arrays, after, before, stages, stage)
    rows = np.empty((len(candidates), WIDTH), np.float32)
    for n in range(len(candidates)):
        describe(arrays, now, trail, candidates[n], rows[n])
    return rows
