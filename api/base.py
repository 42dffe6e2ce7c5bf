"""The base of the index: one USearch graph that is built once, searched often and never changed.

Adding with several threads leaves vectors that no search reaches, and replacing vectors decays recall; so one
thread builds a base, and it is thrown away as a whole.

A graph of inner products does not reach short vectors well (3 % of a catalogue with popularity in its vectors
were out of reach). So each vector gets one more coordinate that makes all equally long, and a query has zero
there: no product changes, and the graph orders by angle (Bachrach et al. 2014, "Speeding up the Xbox
recommender").
What remains: of more than about 30 vectors that are equal in every number, some are not found.
"""

from pathlib import Path

import numpy as np
from usearch.index import Index

from api.overlay import Slots, Vectors
from streams.errors import StateError

# By recall@100 of 100,000 x 129: item vectors with popularity in them are the hard case (0.96; 0.94
# with expansion_add 64, 0.87 with expansion_search 256), a mixture of Gaussians the easy one (1.00).
CONNECTIVITY = 16
EXPANSION_ADD = 96
EXPANSION_SEARCH = 512
SAMPLE = 1024  # vectors of each layer that tell how long vectors are
BATCH = 256  # vectors a build reads and adds at a time; larger ones let searches wait longer


class Base:
    """Inner products of float16 vectors by slot; searching is approximate.

    `length` is what vectors are made up to, about that of the longest; those above it are still found.

    >>> base = Base(2, length=5)
    >>> base.add(np.array([4]), np.array([[3, 4]], np.float32))
    >>> base.search(np.array([1, 1], np.float32), 10)
    (array([4]), array([7.], dtype=float32))
    """

    def __init__(self, dimensions: int, length: float = 0) -> None:
        self._length = length
        self._index = Index(
            ndim=dimensions + 1,
            metric="ip",
            dtype="f16",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )

    def __len__(self) -> int:
        return len(self._index)

    def add(self, slots: Slots, vectors: Vectors) -> None:
        """Add distinct new slots; only while building, from one thread. Lets go of the interpreter lock."""
        if len(slots):
            missing = np.sqrt(np.maximum(self._length**2 - np.square(vectors).sum(axis=1), 0))
            rows = np.column_stack([vectors, missing.astype(np.float32)])
            self._index.add(slots.astype(np.uint64), rows, threads=1)

    def search(self, query: Vectors, count: int) -> tuple[Slots, Vectors]:
        """Return about the `count` best slots and their inner products, best first."""
        if not len(self._index):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        found = self._index.search(np.append(query, np.float32(0)), count, threads=1)
        return np.asarray(found.keys).astype(np.int64), np.float32(1) - np.asarray(found.distances)

    def vectors(self, slots: Slots) -> Vectors:
        """Return the vectors of slots that were added, shape (n, dimensions)."""
        if not len(slots):
            return np.empty((0, self._index.ndim - 1), np.float32)
        return np.stack(self._index.get(slots.astype(np.uint64)))[:, :-1].astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the graph to a file."""
        self._index.save(path)

    def load(self, data: bytes) -> None:
        """Replace everything by a saved graph of verified bytes: a flipped one can end the process.

        Raises StateError when USearch refuses them.
        """
        dimensions = self._index.ndim
        try:
            self._index.load(data)
        except Exception as error:
            raise StateError(f"USearch refuses the saved base: {error}") from error
        if self._index.ndim != dimensions:
            raise StateError(f"the saved base has {self._index.ndim - 1} dimensions, not {dimensions - 1}")
        self._index.expansion_search = EXPANSION_SEARCH


def common_length(vectors: Vectors) -> float:
    """Return a `length` for vectors of which these are a sample: that of the longest, outliers aside.

    >>> common_length(np.array([[3, 4], [0, 5]], np.float32))
    5.0
    """
    return float(np.quantile(np.linalg.norm(vectors, axis=1), 0.99)) if len(vectors) else 0.0


def batches(slots: Slots) -> list[Slots]:
    """Cut slots into what a build adds at a time."""
    return [slots[i : i + BATCH] for i in range(0, len(slots), BATCH)]


def sample(slots: Slots) -> Slots:
    """Return at most SAMPLE of the slots, evenly spaced."""
    return slots[:: len(slots) // SAMPLE + 1]
