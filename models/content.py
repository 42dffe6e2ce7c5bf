"""Content: where an item belongs by what the catalogue says of it, before anyone's choices tell.

Words of the title, tags and categories are hashed with a sign into few coordinates (Weinberger et al. 2009,
"Feature hashing for large scale multitask learning"); a client's own vector is sketched in the same way. A ridge
map (Hoerl and Kennard 1970) from these to the learned places of well-known items says where the others stand.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from models.features import Floats

WIDTH = 512  # coordinates of words, tags and categories
SKETCH = 128  # coordinates of a client's vector
TERMS = 24  # words, tags and categories of an item that count, categories first
KNOWN = 5  # choices from which on an item teaches the map
FEWEST = 64  # such items without which there is no map
SAMPLE = 20_000  # such items that suffice
HALF_KNOWN = 3.0  # choices after which an item's learned place counts as much as its content
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)  # that are tried on every tenth item
LOW = 0.1  # quantile of the known items' bias with which a newcomer starts: it is new, not popular
BLOCK = 2048  # rows made dense at a time

Terms = npt.NDArray[np.int16]
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=1 << 16)
def _term(text: str) -> int:
    digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    place = 1 + (digest >> 1) % WIDTH
    return place if digest & 1 else -place


@lru_cache(maxsize=1 << 14)
def terms(title: str = "", tags: tuple[str, ...] = (), categories: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Return the hashed terms of a catalogue record: 1..WIDTH with a sign, at most TERMS, categories first.

    >>> sorted(terms("Green tea")) == sorted(terms("TEA, green?"))
    True
    """
    texts = [f"c:{name}" for name in categories]
    texts += [f"t:{name}" for name in tags]
    texts += [f"w:{word}" for word in _WORD.findall(title.lower())]
    return tuple(_term(text) for text in [*dict.fromkeys(texts)][:TERMS])


@lru_cache(maxsize=4)
def _sketch(length: int) -> tuple[npt.NDArray[np.int64], Floats]:
    hashed = [_term(f"v:{n}") for n in range(length)]
    return np.abs(hashed) % SKETCH, np.sign(hashed).astype(np.float32)


def sketch(vector: npt.ArrayLike) -> Floats:
    """Return a client's vector in SKETCH coordinates, of about length one; zero stays zero.

    The count sketch of Charikar, Chen and Farach-Colton 2002: every coordinate goes to one place with one sign.
    """
    values = np.asarray(vector, dtype=np.float64).reshape(-1)
    if size := float(np.abs(values).max(initial=0.0)):
        values = values / size  # so that squares neither vanish nor overflow
        values /= np.linalg.norm(values)
    if len(values) <= SKETCH:
        return np.pad(values, (0, SKETCH - len(values))).astype(np.float32)
    places, signs = _sketch(len(values))
    sums: Floats = np.bincount(places, values * signs, SKETCH).astype(np.float32)
    return sums


def dense(hashed: Terms, sketched: Floats | None) -> Floats:
    """Return the rows a map reads, (n, WIDTH + SKETCH), of terms (n, TERMS), 0 for none, and sketches."""
    rows = np.zeros((len(hashed), WIDTH + SKETCH), dtype=np.float32)
    which, column = np.nonzero(hashed)
    values = hashed[which, column].astype(np.int64)
    np.add.at(rows, (which, np.abs(values) - 1), np.sign(values))
    rows[:, :WIDTH] /= np.sqrt(np.maximum((hashed != 0).sum(axis=1, keepdims=True), 1))
    if sketched is not None:
        rows[:, WIDTH:] = sketched
    return rows


@dataclass(frozen=True)
class Content:
    """A map from content to places: `matrix` (WIDTH + SKETCH, d + 1) and `middle` (d + 1,), where all are near.

    `error` is the squared error left on items it was not fitted to, as a share of what `middle` alone leaves.
    """

    matrix: Floats
    middle: Floats
    error: float

    def place(self, hashed: Terms, sketched: Floats | None) -> Floats:
        """Return places (n, d + 1); what says nothing stands in the middle."""
        placed: Floats = dense(hashed, sketched) @ self.matrix + self.middle
        return placed


def fit(hashed: Terms, sketched: Floats | None, places: Floats) -> Content | None:
    """Fit a map to well-known items: terms (n, TERMS), sketches (n, SKETCH) or None, places (n, d + 1).

    None when there are fewer than FEWEST, or content tells nothing: on the tenth of the items that was kept
    aside, no ridge of RIDGES comes nearer than their middle. Raises ValueError for a place that is not finite.
    """
    if len(places) < FEWEST:
        return None
    if not np.isfinite(places).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(places))} numbers of learned places are not finite")
    aside = np.arange(len(places)) % 10 == 0
    middle = places[~aside].mean(axis=0, dtype=np.float64)
    width = WIDTH + SKETCH
    gram, cross = np.zeros((width, width)), np.zeros((width, places.shape[1]))
    inside = np.flatnonzero(~aside)
    for block in (inside[first : first + BLOCK] for first in range(0, len(inside), BLOCK)):
        rows = dense(hashed[block], None if sketched is None else sketched[block])
        gram += rows.T @ rows
        cross += rows.T @ (places[block] - middle).astype(np.float32)
    rows = dense(hashed[aside], None if sketched is None else sketched[aside])
    truth = places[aside] - middle
    best, least = None, float(np.square(truth).sum())
    alone = least
    for ridge in RIDGES:
        matrix = np.linalg.solve(gram + ridge * np.eye(width), cross)
        left = float(np.square(rows @ matrix - truth).sum())
        if np.isfinite(matrix).all() and left < least:
            best, least = matrix, left
    if best is None:
        return None
    middle[-1] = np.quantile(places[:, -1], LOW)
    return Content(best.astype(np.float32), middle.astype(np.float32), least / alone)


def blend(learned: Floats, chosen: npt.ArrayLike, guessed: Floats) -> Floats:
    """Return the places of items chosen so often (n,): learned ones (n, d + 1) as far as choices bear them out.

    >>> blend(np.float32([[2], [2]]), [0, 3], np.float32([[1], [1]])).tolist()
    [[1.0], [1.5]]
    """
    counts = np.asarray(chosen, dtype=np.float32)[:, None]
    sure = counts / (counts + np.float32(HALF_KNOWN))
    blended: Floats = sure * learned + (np.float32(1) - sure) * guessed
    return blended
