"""The space: where items stand so that the nearest to a user's last choices are the likeliest next ones.

A row holds the sum of the vectors users arrived with (models/vectors.py), which frequent items dominate.
The space takes the mean away, half-whitens what is left (covariance^-1/4, measured best between raw and
white), and adds a share of the item's own sign vector, so that an item is near both to those chosen by the
same people and to those chosen just before it.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

SAMPLE = 50_000  # rows that suffice to fit
BLOCK = 2048  # rows handled at a time
RIDGE = 0.05  # of the mean eigenvalue, so that the smallest are not blown up
OWN = 0.5  # share of the own sign vector once an item is known
OWN_COLD = 0.1  # before that: keeps items of a category apart, as a graph of equal vectors loses its links
HALF_KNOWN = 5.0  # choices after which an item's own context counts as much as its categories
POPULARITY = 0.1  # weight of log(1 + choices) in the last coordinate
RECENCY = 0.7  # weight of the next older choice in a query

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


def unit(vectors: Floats) -> Floats:
    """Return rows of length one; zero stays zero.

    >>> unit(np.float32([[3, 4], [0, 0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return scaled


@dataclass(frozen=True)
class Space:
    """A map of contexts to places: `mean` (d,), symmetric `matrix` (d, d), `centroids` (categories, d)."""

    mean: Floats
    matrix: Floats
    centroids: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    @classmethod
    def identity(cls, dimensions: int) -> "Space":
        """Return the space of those about whom too little is known to fit one."""
        return cls(np.zeros(dimensions, dtype=np.float32), np.eye(dimensions, dtype=np.float32))

    @classmethod
    def fit(cls, contexts: npt.ArrayLike, mass: npt.ArrayLike, chosen: npt.ArrayLike) -> "Space":
        """Fit a space to items: mean contexts (n, d), their mass (n,) and times chosen (n,).

        Items without mass say nothing; with fewer than `d` others the identity is returned. At most `SAMPLE`
        evenly spaced rows are read, so equal columns always give the equal space.
        """
        rows, weight, counts = np.asarray(contexts), np.asarray(mass), np.asarray(chosen)
        warm = np.flatnonzero(weight > 0)
        warm = warm[:: -(-len(warm) // SAMPLE) or 1]
        dimensions = rows.shape[1]
        if len(warm) < dimensions:
            return cls.identity(dimensions)
        total = np.zeros(dimensions)
        for block in _blocks(warm):
            total += weight[block].astype(np.float32) @ rows[block].astype(np.float32)
        mean = (total / weight[warm].sum(dtype=np.float64)).astype(np.float32)
        covariance = np.zeros((dimensions, dimensions))
        for block in _blocks(warm):
            scale = weight[block] / np.sqrt(counts[block] + HALF_KNOWN)
            z = (rows[block].astype(np.float32) - mean) * scale.astype(np.float32)[:, None]
            covariance += z.T @ z
        spread = float(np.trace(covariance))
        if not 0 < spread < np.inf:
            return cls.identity(dimensions)
        values, axes = np.linalg.eigh(covariance * (dimensions / spread))
        power = (np.maximum(values, 0.0) + RIDGE) ** -0.25
        return cls(mean, ((axes * power) @ axes.T).astype(np.float32))

    def place(
        self,
        contexts: npt.ArrayLike,
        mass: npt.ArrayLike,
        chosen: npt.ArrayLike,
        signs: npt.ArrayLike,
        prior: Floats | None = None,
    ) -> Floats:
        """Return places (n, d + 1): a unit vector and `POPULARITY` * log(1 + chosen).

        `contexts` and `signs` are (n, d). `prior` (n, d), zero where there is none, stands in for the context
        as long as few choices are known. Every place is finite and none zero, whatever the contexts hold.
        """
        weight, counts = (np.asarray(a, dtype=np.float32)[:, None] for a in (mass, chosen))
        known = np.asarray(contexts, dtype=np.float32) - self.mean
        useful = (weight > 0) & np.isfinite(known).all(axis=1, keepdims=True)
        towards = unit(np.where(useful, known, np.float32(0)) @ self.matrix)
        own = unit(np.asarray(signs, dtype=np.float32) @ self.matrix)
        if prior is None:
            y = towards + OWN * own
        else:
            # A choice by a newcomer has no mass, and says nothing of where the item stands.
            evidence = np.minimum(counts, weight)
            sure = np.where(
                prior.any(axis=1, keepdims=True), evidence / (evidence + HALF_KNOWN), np.float32(1)
            )
            y = sure * towards + (1 - sure) * prior + (OWN_COLD + (OWN - OWN_COLD) * sure) * own
        y = unit(y)
        lost = ~y.any(axis=1)
        y[lost] = own[lost]
        return np.concatenate([y, POPULARITY * np.log1p(counts)], axis=1)

    def prior(self, categories: Codes) -> Floats:
        """Return the mean centroid of each item's categories: (n, k) codes, -1 for none, to (n, d) rows."""
        if not len(self.centroids):
            return np.zeros((len(categories), len(self.mean)), dtype=np.float32)
        known = (categories >= 0) & (categories < len(self.centroids))
        picked = self.centroids[np.where(known, categories, 0)] * known[:, :, None]
        return unit(picked.sum(axis=1, dtype=np.float32))


def centroids(places: Floats, categories: Codes, count: int) -> Floats:
    """Return the mean direction of each category's items: (n, d) places, (n, k) codes to (count, d)."""
    sums = np.zeros((count, places.shape[1]), dtype=np.float32)
    for block in _blocks(np.arange(len(places))):
        for codes in categories[block].T:
            inside = codes >= 0
            np.add.at(sums, codes[inside], places[block[inside]])
    return unit(sums)


def _blocks(slots: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    # numpy holds the interpreter lock while it gathers: a request must not wait for 50,000 rows of that.
    return [slots[first : first + BLOCK] for first in range(0, len(slots), BLOCK)]


def query(places: npt.ArrayLike) -> Floats:
    """Return the query of someone whose last choices stand at `places` (k, d), newest first: (d + 1,).

    The last coordinate, 1, lets popularity count; 0 would ask for likeness alone.
    """
    rows = np.asarray(places, dtype=np.float32)
    weights = np.power(RECENCY, np.arange(len(rows)), dtype=np.float32)
    towards: Floats = weights @ rows
    return np.append(unit(towards), np.float32(1))
