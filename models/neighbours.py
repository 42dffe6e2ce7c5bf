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
    LEADS,
    NEXT,
    PAGE,
    PAGES,
    USED,
    Arrays,
    Floats,
    Slots,
)
from models.maths import exp, ln
from models.scratch import Scratch, place

NEAR = 0.92  # weight of a later choice for each one in between, when counted and when summed
LIKE = 0.9  # the same, summed without regard to order
BRIEF = 0.6  # the same, summed of what came before
COSINE, CHAIN, LINK, LEAD = 0, 1, 2, 3  # sums over a trail: alike, came after it, after its newest, before it
SUMS = 4
REACH = 20  # newest choices whose neighbours count; older ones are only known to be chosen already
RARE = 0.3  # power of its choices by which a popular item's transitions count less
_SHIFT = np.int64(2654435761)


@compiled
def spot(arrays: Arrays, slot: int, other: int) -> tuple[int, int]:
    """Return the page and the place on it where a neighbour is counted, a new one admitted.

    A full list gives up the neighbour with the least counts.
    """
    numbers, pages, others, counts = arrays.numbers, arrays.pages, arrays.others, arrays.counts
    used = int(numbers[slot, USED])
    for page in range((used + PAGE - 1) // PAGE):
        at, found = pages[slot, page], FREE
        for n in range(PAGE):  # no way out in between: so it is done for all places of a page at once
            if others[at, n] == other:
                found = n
        if found != FREE and page * PAGE + found < used:
            return at, found
    at, found = 0, 0
    if used < PAGES * PAGE:
        page, found = used // PAGE, used % PAGE
        if pages[slot, page] == FREE:
            pages[slot, page] = arrays.top[0]
            arrays.top[0] += 1
        numbers[slot, USED] = used + 1
        at = pages[slot, page]
    else:
        least = np.inf
        for page in range(PAGES):
            for n in range(PAGE):
                size = counts[pages[slot, page], n, FOLLOWS] + counts[pages[slot, page], n, LEADS]
                if size < least:
                    least, at, found = size, pages[slot, page], n
    others[at, found] = other
    counts[at, found, :] = 0.0
    return at, found


@compiled
def count(arrays: Arrays, slot: int, other: int, what: int, amount: float) -> None:
    """Add to a count of a neighbour."""
    page, place = spot(arrays, slot, other)
    arrays.counts[page, place, what] += amount


@compiled
def meet(arrays: Arrays, scratch: Scratch, now: int, item: int, after: Slots, amount: float) -> None:
    """Count that an item was chosen after others, newest first; where these stand is noted of choice `now`."""
    counts, others, near = arrays.counts, arrays.others, amount
    reach, used = min(REACH, len(after)), int(arrays.numbers[item, USED])
    found = np.full((reach, 2), FREE, np.int64)
    for page in range(
        (used + PAGE - 1) // PAGE
    ):  # those before it stand in one list: it is read once for all
        at = arrays.pages[item, page]
        for n in range(min(PAGE, used - page * PAGE)):
            k = place(scratch, others[at, n], now)
            if k != FREE and k < reach:
                found[k, 0], found[k, 1] = at, n
    for k in range(reach):
        at, n = spot(arrays, after[k], item)
        if k == 0:
            counts[at, n, NEXT] += amount
        counts[at, n, FOLLOWS] += near
        at, n = found[k, 0], found[k, 1]
        if at == FREE or others[at, n] != after[k]:  # it is new, or gave its place to one that was
            at, n = spot(arrays, item, after[k])
        counts[at, n, LEADS] += near
        near *= NEAR


@compiled
def seat(table: Slots, slot: int) -> int:
    """Return where a hash table (a power of two, 2) holds a slot and its number, or would hold them."""
    mask = len(table) - 1
    at = int((slot * _SHIFT) >> 8) & mask
    while table[at, 0] != FREE and table[at, 0] != slot:
        at = (at + 1) & mask
    return at


@compiled
def _number(table: Slots, found: Slots, slot: int, n: int) -> int:
    at = seat(table, slot)
    table[at, 0], table[at, 1], found[n] = slot, n, slot
    return n + 1


@compiled
def gather(arrays: Arrays, after: Slots) -> tuple[Slots, Slots, Floats]:
    """Return a hash table of the neighbours of a trail, these neighbours, and their sums (n, SUMS).

    Item i of the table stands at `found[i]`. The trail itself comes first, without sums.
    """
    numbers, counts = arrays.numbers, arrays.counts
    most = len(after)
    reach = min(REACH, len(after))
    for k in range(reach):
        most += int(numbers[after[k], USED])
    size = 64
    while size < 2 * most:
        size *= 2
    table = np.full((size, 2), FREE, np.int32)
    found = np.empty(most, np.int32)
    sums = np.zeros((most, SUMS), np.float32)
    n = 0
    for slot in after:
        n = _number(table, found, slot, n)
    like, near, brief = 1.0, 1.0, 1.0
    for k in range(reach):
        slot = after[k]
        used, root = int(numbers[slot, USED]), math.sqrt(numbers[slot, CHOSEN])
        alike, chain = np.float32(like / (root + 5.0)), np.float32(near / (root + 1.0))
        link = np.float32(1.0 / (root + 1.0)) if k == 0 else np.float32(0.0)
        lead = np.float32(brief / (root + 1.0))
        for page in range((used + PAGE - 1) // PAGE):
            at = arrays.pages[slot, page]
            for spot in range(min(PAGE, used - page * PAGE)):
                where = seat(table, arrays.others[at, spot])
                i = table[where, 1]
                if i == FREE:
                    i = n
                    n = _number(table, found, arrays.others[at, spot], n)
                came, went = counts[at, spot, FOLLOWS], counts[at, spot, LEADS]
                sums[i, COSINE] += alike * (came + went)
                sums[i, CHAIN] += chain * came
                sums[i, LINK] += link * counts[at, spot, NEXT]
                sums[i, LEAD] += lead * went
        like *= LIKE
        near *= NEAR
        brief *= BRIEF
    sums[: len(after)] = 0.0
    logs = np.empty(n, np.float32)
    for i in range(n):
        logs[i] = numbers[found[i], CHOSEN] + 5.0
    for i in range(n):  # apart from what jumps about in memory: so it is done for eight at once
        logs[i] = ln(logs[i])
    alikes, rares = np.empty(n, np.float32), np.empty(n, np.float32)
    for i in range(n):
        alikes[i] = exp(np.float32(-0.5) * logs[i])
        rares[i] = exp(np.float32(-RARE) * logs[i])
    for i in range(len(after), n):
        sums[i, COSINE] *= alikes[i]
        sums[i, CHAIN] *= rares[i]
        sums[i, LINK] *= rares[i]
        sums[i, LEAD] *= rares[i]
    return table, found[:n], sums[:n]
