"""Neighbours: for every item a bounded list of those chosen near it, with counts, and their sums over a trail.

An item's list grows by a page at a time while there is room; then the neighbour with the least counts gives its
place to a new one (Metwally, Agrawal and Abbadi 2005, "Space-saving", but a newcomer starts at its own count).
"""

import math

import numpy as np

from models.compiled import compiled
from models.learned import (
    CHOSEN,
    FOLLOWS,
    FREE,
    NEXT,
    PAGE,
    PAGES,
    TOGETHER,
    USED,
    Arrays,
    Floats,
    Slots,
)

NEAR = 0.85  # weight of a later choice for each one in between
LIKE = 0.8  # the same when order does not count
COSINE, CHAIN, LINK = 0, 1, 2  # sums over a trail: alike, followed anywhere in it, followed its newest
SUMS = 3
_SHIFT = np.int64(2654435761)


@compiled
def count(arrays: Arrays, slot: int, other: int, what: int, amount: float) -> None:
    """Add to a count of a neighbour; what is new and less than the least of a full list is lost."""
    numbers, pages, others, counts = arrays.numbers, arrays.pages, arrays.others, arrays.counts
    used = int(numbers[slot, USED])
    least, page_of_least, place_of_least = np.inf, 0, 0
    for page in range((used + PAGE - 1) // PAGE):
        at = pages[slot, page]
        for place in range(min(PAGE, used - page * PAGE)):
            if others[at, place] == other:
                counts[at, place, what] += amount
                return
    if used < PAGES * PAGE:
        page, place = used // PAGE, used % PAGE
        if pages[slot, page] == FREE:
            pages[slot, page] = arrays.top[0]
            arrays.top[0] += 1
        numbers[slot, USED] = used + 1
        page_of_least, place_of_least = pages[slot, page], place
    else:
        for page in range(PAGES):
            at = pages[slot, page]
            for place in range(PAGE):
                size = counts[at, place, FOLLOWS] + counts[at, place, TOGETHER]
                if size < least:
                    least, page_of_least, place_of_least = size, at, place
    others[page_of_least, place_of_least] = other
    counts[page_of_least, place_of_least, :] = 0.0
    counts[page_of_least, place_of_least, what] = amount


@compiled
def meet(arrays: Arrays, item: int, after: Slots, amount: float) -> None:
    """Count that an item was chosen after others, newest first."""
    near = amount
    for k in range(len(after)):
        other = after[k]
        if k == 0:
            count(arrays, other, item, NEXT, amount)
        count(arrays, other, item, FOLLOWS, near)
        count(arrays, other, item, TOGETHER, amount)
        count(arrays, item, other, TOGETHER, amount)
        near *= NEAR


@compiled
def place(table: Slots, found: Slots, slot: int) -> int:
    """Return where a hash table holds a slot or would hold it; the table's length is a power of two."""
    mask = len(table) - 1
    at = int((slot * _SHIFT) >> 8) & mask
    while table[at] != FREE and found[table[at]] != slot:
        at = (at + 1) & mask
    return at


@compiled
def gather(arrays: Arrays, after: Slots) -> tuple[Slots, Slots, Floats]:
    """Return a hash table of the neighbours of a trail, these neighbours, and their sums (n, SUMS).

    Item i of the table stands at `found[i]`; those in the trail itself are left out.
    """
    numbers = arrays.numbers
    most = len(after)
    for slot in after:
        most += int(numbers[slot, USED])
    size = 64
    while size < 2 * most:
        size *= 2
    table = np.full(size, FREE, np.int32)
    found = np.empty(most, np.int32)
    sums = np.zeros((most, SUMS), np.float32)
    for k in range(len(after)):
        found[k] = after[k]
        table[place(table, found, after[k])] = k
    n = len(after)
    like, near = 1.0, 1.0
    for k in range(len(after)):
        slot = after[k]
        used, root = int(numbers[slot, USED]), math.sqrt(numbers[slot, CHOSEN])
        alike, chain = like / (root + 5.0), near / (root + 1.0)
        for page in range((used + PAGE - 1) // PAGE):
            at = arrays.pages[slot, page]
            for spot in range(min(PAGE, used - page * PAGE)):
                other = arrays.others[at, spot]
                where = place(table, found, other)
                i = table[where]
                if i == FREE:
                    i = n
                    table[where], found[i] = i, other
                    n += 1
                sums[i, COSINE] += alike * arrays.counts[at, spot, TOGETHER]
                sums[i, CHAIN] += chain * arrays.counts[at, spot, FOLLOWS]
                if k == 0:
                    sums[i, LINK] = arrays.counts[at, spot, NEXT] / (root + 1.0)
        like *= LIKE
        near *= NEAR
    for i in range(len(after), n):
        chosen = numbers[found[i], CHOSEN] + 5.0
        sums[i, COSINE] /= math.sqrt(chosen)
        sums[i, CHAIN] /= chosen**0.3
        sums[i, LINK] /= chosen**0.3
    for k in range(len(after)):
        sums[k, :] = 0.0
    return table, found[:n], sums[:n]
