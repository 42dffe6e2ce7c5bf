"""Learned: what the learner knows, one row an item and one for what is common, as arrays compiled code reads.

Items are numbered by slot in the order in which they were first met, and a row says its slot: neighbours are told
by slot, and the arrays are the same whatever order the rows are read in.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from models.hashed import EMPTY, copy, empty, found, number_of, numbers_of, place, put
from models.marks import in_order
from streams.errors import StateError
from streams.rows import pack, unpack, vector

VERSION = 7
COMMON = ""  # the key of the row that is no item's
DIMENSIONS = 64
PAGE = 16  # neighbours to a page
PAGES = 64  # pages an item may have
NEXT, FOLLOWS, LEADS = 0, 1, 2  # what is counted of a neighbour: it came next, it came later, it came before
COUNTS = 3
CHOSEN, BIAS, HEAT_BIAS, HEAT_INTO, HEAT_OUT, FIRST, MET, USED, RECENT = 0, 1, 2, 3, 4, 5, 6, 7, 8
SPANS = (500.0, 5_000.0, 50_000.0)  # examples in which a recent count fades to 1/e
STAGE = RECENT + len(SPANS)
STAGES = 10  # of people: who acted on no item, on one, 2-3, 4-7, ... 256 and more
NUMBERS = STAGE + STAGES
FREE = EMPTY
RING = 4096  # recent choices that negatives are drawn from
SPREAD = 0.1  # of the numbers a vector starts with

Number = TypeVar("Number", bound=np.generic)
Floats = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int32]
NOBODY: Slots = np.zeros(0, np.int32)


class Arrays(NamedTuple):
    """All items by slot; what a kernel is given.

    `into` and `out` (capacity, d); `numbers` (capacity, NUMBERS): choices, bias, Adagrad's sums, the examples at the
    first and the last choice, neighbours, recent choices, choices by people of each stage. `pages` (capacity, PAGES)
    names rows of `others` and of `counts`; `top` the next free one.
    """

    into: Floats
    out: Floats
    numbers: npt.NDArray[np.float64]
    pages: Slots
    others: Slots
    counts: Floats
    top: npt.NDArray[np.int64]


@dataclass(slots=True)
class Common:
    """What belongs to no item: marks of the sources, choices learned, weights of the stack, recent choices.

    `stages` (STAGES,) are the choices by people of each stage.
    `actions` is what was learned of actions, as bytes (models/responses.py): who only reads seldom needs it.
    """

    marks: dict[int, int] = field(default_factory=dict)
    choices: int = 0
    weights: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    heat: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    ring: Slots = field(default_factory=lambda: np.full(RING, FREE, np.int32))
    actions: bytes = b""
    stages: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(STAGES))

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(
            VERSION,
            (
                in_order(self.marks),
                self.choices,
                self.weights,
                self.heat,
                self.ring.tobytes(),
                self.actions,
                self.stages.tobytes(),
            ),
        )

    @classmethod
    def from_row(cls, row: bytes) -> "Common":
        """Return what a row says; raises StateError on another version."""
        marks, choices, weights, heat, ring, actions, stages = unpack(VERSION, row)
        return cls(
            marks, choices, weights.copy(), heat.copy(), np.frombuffer(ring, np.int32).copy(), actions,
            np.frombuffer(stages).copy(),
        )  # fmt: skip


class Learned:
    """The learner's state, or a replica of it.

    `keys` by slot (empty where there is no item), `slot_of` the other way round.
    """

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions
        self.keys: list[str] = []
        self.slot_of: dict[str, int] = {}
        self.common = Common()
        self.arrays = Arrays(
            np.zeros((0, dimensions), np.float32),
            np.zeros((0, dimensions), np.float32),
            np.zeros((0, NUMBERS)),
            np.zeros((0, PAGES), np.int32),
            np.zeros((0, PAGE), np.int32),
            np.zeros((0, PAGE, COUNTS), np.float32),
            np.zeros(1, np.int64),
        )
        self._hashed, self._hashes = empty(64), 0
        self._reach(1)

    def __len__(self) -> int:
        return len(self.slot_of)

    @property
    def into(self) -> Floats:
        """Vectors of items as something chosen before, (slots, d)."""
        return self.arrays.into[: len(self.keys)]

    @property
    def out(self) -> Floats:
        """Vectors of items as the next choice, (slots, d)."""
        return self.arrays.out[: len(self.keys)]

    @property
    def bias(self) -> npt.NDArray[np.float64]:
        """What the embedding adds to an item's logit, (slots,)."""
        return self.arrays.numbers[: len(self.keys), BIAS]

    @property
    def chosen(self) -> npt.NDArray[np.float64]:
        """How often items were chosen, (slots,)."""
        return self.arrays.numbers[: len(self.keys), CHOSEN]

    def slot(self, key: str) -> int:
        """Return the slot of an item, making one with vectors that its key decides."""
        slot = self.slot_of.get(key)
        if slot is None:
            slot = len(self.keys)
            self._take(key, slot)
            d = self.dimensions
            start = np.random.Generator(np.random.PCG64(_seed(key))).standard_normal(2 * d, np.float32)
            start *= np.float32(SPREAD / np.sqrt(d))
            self.arrays.into[slot], self.arrays.out[slot] = start[:d], start[d:]
        return slot

    def slots(self, keys: tuple[str, ...]) -> Slots:
        """Return the slots of the items among `keys` that are known, in their order."""
        found = [slot for slot in map(self.slot_of.get, keys) if slot is not None]
        return np.array(found, np.int32)

    def slots_of(self, keys: tuple[str, ...]) -> Slots:
        """Return the slots of items, making those that are not known."""
        known = self.slot_of
        try:
            return np.array([known[key] for key in keys], np.int32)
        except KeyError:
            return np.array([self.slot(key) for key in keys], np.int32)

    def before(self, hashes: bytes, but: Slots) -> Slots:
        """Return the slots of items with these hashes (`models.users`), the last first, without some."""
        return found(self._hashed, numbers_of(hashes), but) if hashes else NOBODY

    def row(self, slot: int) -> bytes:
        """Return the bytes of an item's row."""
        arrays = self.arrays
        used = int(arrays.numbers[slot, USED])
        pages = arrays.pages[slot, : -(-used // PAGE)]
        return pack(
            VERSION,
            (
                slot,
                vector(arrays.into[slot].tobytes()),
                vector(arrays.out[slot].tobytes()),
                arrays.numbers[slot].tobytes(),
                arrays.others.take(pages, 0).tobytes()[: used * arrays.others.itemsize],
                vector(arrays.counts.take(pages, 0).tobytes()[: used * COUNTS * arrays.counts.itemsize]),
            ),
        )

    def put(self, key: str, row: bytes) -> int:
        """Take a row in and return its slot (-1: the common row); raises StateError on one of another version."""
        if key == COMMON:
            self.common = Common.from_row(row)
            return -1
        slot, into, out, numbers, others, counts = unpack(VERSION, row)
        if len(into) != self.dimensions:
            raise StateError(
                f"the row of {key!r} has {len(into)} dimensions, this learner {self.dimensions}; rebuild the table"
            )
        self._take(key, slot)
        found = np.frombuffer(others, np.int32)
        self._reach(int(found.max(initial=slot)) + 1)  # a neighbour's own row may come later
        arrays = self.arrays
        arrays.into[slot], arrays.out[slot] = into, out
        arrays.numbers[slot] = np.frombuffer(numbers)
        self.ready(pages=-(-len(found) // PAGE))
        for page, first in enumerate(range(0, len(found), PAGE)):
            if arrays.pages[slot, page] == FREE:
                self.arrays.pages[slot, page] = arrays.top[0]
                arrays.top[0] += 1
            place, part = self.arrays.pages[slot, page], found[first : first + PAGE]
            self.arrays.others[place, : len(part)] = part
            self.arrays.counts[place, : len(part)] = counts[
                first * COUNTS : (first + len(part)) * COUNTS
            ].reshape(-1, COUNTS)
        return int(slot)

    def drop(self, key: str) -> None:
        """Forget an item; its slot stays empty. An unknown one is none."""
        slot = self.slot_of.pop(key, None)
        if slot is not None:
            self.keys[slot] = ""
            at = place(self._hashed, number_of(key))
            if self._hashed[at, 1] == slot:
                self._hashed[at, 1] = EMPTY
            for array in (self.arrays.into, self.arrays.out, self.arrays.numbers):
                array[slot] = 0

    def ready(self, pages: int) -> None:
        """Make room for that many more pages."""
        arrays = self.arrays
        if arrays.top[0] + pages > len(arrays.others):
            room = 2 * (len(arrays.others) + pages)
            self.arrays = arrays._replace(
                others=_grown(arrays.others, room, FREE), counts=_grown(arrays.counts, room, 0)
            )

    def _take(self, key: str, slot: int) -> None:
        self._reach(slot + 1)
        if self.slot_of.get(key) != slot:
            self.drop(key)
            self._hash(key, slot)
        while len(self.keys) <= slot:
            self.keys.append("")
        if self.keys[slot] not in ("", key):
            self.drop(self.keys[slot])
        self.keys[slot], self.slot_of[key] = key, slot

    def _hash(self, key: str, slot: int) -> None:
        if 3 * self._hashes >= 2 * len(self._hashed):
            larger = empty(2 * len(self._hashed))
            copy(self._hashed, larger)
            self._hashed = larger
        self._hashes += put(self._hashed, number_of(key), slot)

    def _reach(self, slots: int) -> None:
        arrays = self.arrays
        if slots > len(arrays.into):
            room = max(64, 2 * slots)
            self.arrays = arrays._replace(
                into=_grown(arrays.into, room, 0),
                out=_grown(arrays.out, room, 0),
                numbers=_grown(arrays.numbers, room, 0),
                pages=_grown(arrays.pages, room, FREE),
            )


def _seed(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def _grown(array: npt.NDArray[Number], room: int, fill: int) -> npt.NDArray[Number]:
    larger = np.full((room, *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger
