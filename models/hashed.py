"""Hashed: hash tables of slots that compiled code reads, by a number that is not negative; and slots by hash of a key.

A table is (a power of two, 2): the number, EMPTY where nothing stands, and what stands there (linear probing, after
Knuth 1998, "The art of computer programming", volume 3, 6.4). Users remember what they acted on by hashes of its key.
"""

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.users import seen_hash

EMPTY = -1
Slots = npt.NDArray[np.int32]
_SHIFT = np.int64(2654435761)
_MOST = 0x7FFFFFFF


@compiled
def mixed(number: int) -> int:
    """Return a number whose lower bits depend on all of those of another."""
    return int((number * _SHIFT) >> 8)


@compiled
def place(table: Slots, number: int) -> int:
    """Return where a table holds a number, or would hold it."""
    mask = len(table) - 1
    at = mixed(number) & mask
    while table[at, 0] != EMPTY and table[at, 0] != number:
        at = (at + 1) & mask
    return at


def number_of(key: str) -> int:
    """Return the number of a key, 31 bits of the hash by which users remember it."""
    return int.from_bytes(seen_hash(key), "little") & _MOST


def numbers_of(hashes: bytes) -> Slots:
    """Return the numbers of hashes, in their order."""
    return (np.frombuffer(hashes, "<u4") & _MOST).astype(np.int32)


@compiled
def put(table: Slots, number: int, slot: int) -> bool:
    """Have a slot stand for a number and tell whether the number is new.

    Of several items of one hash the last to be met stands, whatever order they are read in.
    """
    at = place(table, number)
    new = table[at, 0] == EMPTY
    table[at, 0], table[at, 1] = number, max(table[at, 1], slot)
    return bool(new)


@compiled
def found(table: Slots, numbers: Slots, but: Slots) -> Slots:
    """Return the slots of those numbers that are known, the last first, without some."""
    slots, n = np.empty(len(numbers), np.int32), 0
    for k in range(len(numbers) - 1, -1, -1):
        slot = table[place(table, numbers[k]), 1]
        if slot != EMPTY and not among(but, slot):
            slots[n] = slot
            n += 1
    return slots[:n]


@compiled
def among(slots: Slots, slot: int) -> bool:
    """Tell whether a slot is one of some."""
    sought, there = np.int32(slot), np.int32(0)
    for other in slots:  # no way out, one width of numbers: so it is done for eight at once
        there |= np.int32(other == sought)
    return bool(there)


def empty(size: int) -> Slots:
    """Return a table in which nothing stands, with room for two thirds of `size`."""
    return np.full((size, 2), EMPTY, np.int32)


@compiled
def copy(table: Slots, larger: Slots) -> None:
    """Put everything of a table into a larger one."""
    for n in range(len(table)):
        if table[n, 0] != EMPTY:
            put(larger, table[n, 0], table[n, 1])
