"""Neighbours: for every item a bounded list of those chosen near it, with counts, and their sums over a trail.

An item's list grows by a page at a time while there is room; then the least counted neighbour of `LOOKED` pages gives
its place to a new one (Metwally, Agrawal and Abbadi 2005, "Space-saving", but of a sample, and a newcomer starts at its
own count).
"""

import math

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.hashed import mixed, place
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

Flags = npt.NDArray[np.bool_]
NEAR = 0.92  # weight of a later choice for each one in between, when counted and when summed
LIKE = 0.9  # the same, summed without regard to order
BRIEF = 0.6  # the same, summed of what came before
COSINE, CHAIN, LINK, LEAD = 0, 1, 2, 3  # sums over a trail: alike, came after it, after its newest, before it
WEIGHED = 4  # those sums, whose shares of the largest say how strong a neighbour is
TIMES = 4  # of how many of the trail it is a neighbour
SINGLE = 5  # from here on, how alike it is to each of the newest alone
SINGLES = 3
SUMS = SINGLE + SINGLES
REACH = 20  # newest choices whose neighbours count; older ones are only known to be chosen already
RARE = 0.3  # power of its choices by which a popular item's transitions count less
LOOKED = 4  # pages of a full list on which the least neighbour is looked for


@compiled
def spot(arrays: Arrays, slot: int, other: int) -> tuple[int, int]:
    """Return the page and the place on it where a neighbour is counted, a new one admitted.

    A full list gives up the neighbour with the least counts on some of its pages: to look at all would take longer
    than everything else that a choice teaches.
    """
    numbers, pages, others, counts = arrays.numbers, arrays.pages, arrays.others, arrays.counts
    used, sought = int(numbers[slot, USED]), np.int32(other)
    for page in range((used + PAGE - 1) // PAGE):
        at, there = pages[slot, page], np.int32(0)
        on = others[at]
        for n in range(PAGE):  # no way out, one width of numbers: all places of a page at once
            there |= np.int32(on[n] == sought)
        if there:
            for n in range(min(PAGE, used - page * PAGE)):
                if on[n] == sought:
                    return at, n
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
        first = mixed(other)
        for page in range(first, first + LOOKED):
            place = pages[slot, page % PAGES]
            for n in range(PAGE):
                size = counts[place, n, FOLLOWS] + counts[place, n, LEADS]
                if size < least:
                    least, at, found = size, place, n
    others[at, found] = other
    counts[at, found, :] = 0.0
    return at, found


@compiled
def count(arrays: Arrays, slot: int, other: int, what: int, amount: float) -> None:
    """Add to a count of a neighbour."""
    page, place = spot(arrays, slot, other)
    arrays.counts[page, place, what] += amount


@compiled
def meet(arrays: Arrays, item: int, after: Slots, amount: float) -> None:
    """Count that an item was chosen after others, newest first."""
    counts, near = arrays.counts, amount
    for k in range(min(REACH, len(after))):
        page, place = spot(arrays, after[k], item)
        if k == 0:
            counts[page, place, NEXT] += amount
        counts[page, place, FOLLOWS] += near
        count(arrays, item, after[k], LEADS, near)
        near *= NEAR


@compiled
def _number(table: Slots, found: Slots, sums: Floats, slot: int, n: int) -> int:
    at = place(table, slot)
    table[at, 0], table[at, 1], found[n] = slot, n, slot
    sums[n] = 0.0
    return n + 1


@compiled
def _numbers(table: Slots, found: Slots, sums: Floats, others: Slots, n: int, numbered: Slots) -> int:
    """Write the numbers of a page's neighbours, and return how many are known then.

    Their sums are added to afterwards: so one search in the table need not wait for what another found.
    """
    for spot in range(len(others)):
        where = place(table, others[spot])
        if table[where, 1] == FREE:
            n = _number(table, found, sums, others[spot], n)
        numbered[spot] = table[where, 1]
    return n


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
    most = min(most, len(after) + len(numbers))  # no more can be found: less to be made, and cleared
    size = 64
    while 2 * size < 3 * most:
        size *= 2
    table = np.full((size, 2), FREE, np.int32)
    found = np.empty(most, np.int32)
    sums = np.empty((most, SUMS), np.float32)  # cleared where one is found: there may be room for many more
    numbered = np.empty(PAGE, np.int32)
    n = 0
    for slot in after:
        n = _number(table, found, sums, slot, n)
    like, near, brief = 1.0, 1.0, 1.0
    for k in range(reach):
        slot = after[k]
        used, root = int(numbers[slot, USED]), math.sqrt(numbers[slot, CHOSEN])
        alike, alone = np.float32(like / (root + 5.0)), np.float32(1.0 / (root + 5.0))
        chain = np.float32(near / (root + 1.0))
        link = np.float32(1.0 / (root + 1.0)) if k == 0 else np.float32(0.0)
        lead = np.float32(brief / (root + 1.0))
        for page in range((used + PAGE - 1) // PAGE):
            at = arrays.pages[slot, page]
            on = min(PAGE, used - page * PAGE)
            n = _numbers(table, found, sums, arrays.others[at, :on], n, numbered)
            for spot in range(on):
                i = numbered[spot]
                came, went = counts[at, spot, FOLLOWS], counts[at, spot, LEADS]
                sums[i, COSINE] += alike * (came + went)
                sums[i, CHAIN] += chain * came
                sums[i, LINK] += link * counts[at, spot, NEXT]
                sums[i, LEAD] += lead * went
                sums[i, TIMES] += np.float32(1.0)
                if k < SINGLES:
                    sums[i, SINGLE + k] = alone * (came + went)
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
        for k in range(SINGLE, SUMS):
            sums[i, k] *= alikes[i]
    return table, found[:n], sums[:n]


@compiled
def marked(table: Slots, found: Slots, slots: Slots) -> Flags:
    """Return which of the found (n,) are among some items."""
    marks = np.zeros(len(found), np.bool_)
    for slot in slots:
        i = table[place(table, slot), 1]
        if i != FREE:
            marks[i] = True
    return marks
