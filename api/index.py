"""The vector index of an API process: a base for the many, an exact overlay for what changed since.

When the overlay has grown, a thread builds a new base and swaps it in. A thread is enough: USearch lets go of
the interpreter lock while it adds. It keeps it while the replaced base is freed, about 5 ms for 100,000 vectors.
"""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from api import snapshot
from api.base import Base, batches, common_length, sample
from api.layers import Layers, flags
from api.overlay import Slots, Vectors
from api.vectors import best, query_of, slots_of, vectors_of
from streams.errors import StateError

log = logging.getLogger(__name__)


class VectorIndex:
    """Inner-product search over integer slots: float16 vectors, float32 queries and scores.

    Any thread may call anything: one lock covers a search or an update, and a build takes it only to read a
    batch and to swap. With `automatic` a build starts when the overlay exceeds `share` of all vectors and
    `smallest` rows; an index that never had more than `smallest` has no base and answers exactly.

    >>> index = VectorIndex(2)
    >>> index.update([0, 1], [[1, 0], [0, 2]])
    >>> slots, scores = index.search([1, 1], 2)
    >>> slots.tolist(), scores.tolist()
    ([1, 0], [2.0, 1.0])
    """

    def __init__(
        self, dimensions: int, *, share: float = 0.1, smallest: int = 4096, automatic: bool = True
    ) -> None:
        self.dimensions = dimensions
        self.share, self.smallest, self.automatic = share, smallest, automatic
        self.rebuilds = 0
        self._layers = Layers(dimensions)
        self._retry_above = 0.0  # rows of the overlay; not zero after a build that failed
        self._lock = threading.Lock()
        self._builder: threading.Thread | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def fresh(self) -> int:
        """How many vectors wait in the overlay for the next base."""
        return len(self._layers.overlay)

    @property
    def due(self) -> bool:
        """Whether the overlay has grown enough for a new base."""
        return self.fresh > max(self.smallest, self.share * len(self), self._retry_above)

    @property
    def rebuilding(self) -> bool:
        """Whether a build is running."""
        return self._builder is not None and self._builder.is_alive()

    def update(self, slots: npt.ArrayLike, vectors: npt.ArrayLike) -> None:
        """Insert or replace vectors, shape (n, dimensions); of a repeated slot the last one counts.

        Raises Refused, naming the slot, when one is negative or its vector is not finite or zero as float16.
        Nothing is changed then.
        """
        distinct, rows = vectors_of(slots, vectors, self.dimensions)
        with self._lock:
            self._layers.put(distinct, rows)
        if self.automatic and self.due:
            self.rebuild()

    def remove(self, slots: npt.ArrayLike) -> None:
        """Forget the vectors of slots, which may have none. Raises Refused for a negative slot."""
        distinct = slots_of(slots)
        with self._lock:
            self._layers.drop(distinct)

    def search(
        self, query: npt.ArrayLike, count: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Slots, Vectors]:
        """Return at most `count` slots and their inner products with the query, best first, ties by slot.

        `allowed`, one flag per slot (absent means no), is applied to what was found, so a narrow one may
        leave fewer than `count`. Raises Refused for a query of another shape or not finite (as float16).
        """
        vector = query_of(query, self.dimensions)
        with self._lock:
            found, scores = self._layers.search(vector, count)
        if allowed is not None:
            keep = found < len(allowed)
            keep[keep] = allowed[found[keep]]
            found, scores = found[keep], scores[keep]
        return best(found, scores, count)

    def search_many(self, queries: npt.ArrayLike, count: int) -> list[tuple[Slots, Vectors]]:
        """Search for each row of `queries`, shape (m, dimensions)."""
        return [self.search(query, count) for query in np.asarray(queries)]

    def rebuild(self, *, wait: bool = False) -> None:
        """Start building a new base in the background unless a build runs; `wait` for the end of either."""
        with self._lock:
            if not self._closed and not self.rebuilding:
                self._layers.mark()
                self._builder = threading.Thread(target=self._run, name="index", daemon=True)
                self._builder.start()
            builder = self._builder
        if wait and builder is not None:
            builder.join()

    def close(self) -> None:
        """Give up a running build and start no other; searching goes on working."""
        self._closed = True
        if self._builder is not None:
            self._builder.join()

    def save(self, folder: Path, meta: Mapping[str, Any]) -> Path:
        """Write a checksummed snapshot of this moment, `meta` (offsets, say) in it; keep the newest three.

        USearch keeps the interpreter lock while it writes, 50 ms for 100,000 vectors: save rarely, or on the way
        out. Raises OSError.
        """
        with self._lock:
            base, based, overlay = self._layers.base, self._layers.based, self._layers.overlay
            slots, rows = overlay.take(overlay.slots)
        parts = {
            "base": base.save,
            "based": lambda path: path.write_bytes(based.astype("<i8").tobytes()),
            "slots": lambda path: path.write_bytes(slots.astype("<i8").tobytes()),
            "vectors": lambda path: path.write_bytes(rows.astype("<f2").tobytes()),
        }
        kind = {"metric": "ip", "dimensions": self.dimensions, "count": len(based) + len(slots)}
        return snapshot.write(folder, parts, kind | {"caller": dict(meta)})

    @classmethod
    def load(
        cls, folder: Path, dimensions: int, **options: Any
    ) -> tuple["VectorIndex", dict[str, Any]] | None:
        """Return the index and the caller's meta of the newest good snapshot, or None where none was saved.

        `options` are the constructor's. Raises StateError, with every reason, when no snapshot is good.
        """

        def restore(parts: dict[str, bytes], meta: dict[str, Any]) -> tuple["VectorIndex", dict[str, Any]]:
            if (meta["metric"], meta["dimensions"]) != ("ip", dimensions):
                raise StateError(f"the snapshot has {meta['dimensions']} dimensions, not {dimensions}")
            index = cls(dimensions, **options)
            base = Base(dimensions)
            base.load(parts["base"])
            index._layers.swap(base, flags(np.frombuffer(parts["based"], "<i8")))
            rows = np.frombuffer(parts["vectors"], "<f2").reshape(-1, dimensions)
            index.update(np.frombuffer(parts["slots"], "<i8"), rows)
            if len(index) != meta["count"]:
                raise StateError(f"the snapshot holds {len(index)} vectors, not {meta['count']}")
            return index, meta["caller"]

        return snapshot.newest(folder, restore)

    def _run(self) -> None:
        try:
            self._build()
            self._retry_above = 0.0
        except Exception:  # the old base goes on serving
            log.exception("building the index failed; next attempt when its overlay has grown by a tenth")
            self._retry_above = 1.1 * self.fresh

    def _build(self) -> None:
        with self._lock:
            old, based, fresh = self._layers.base, self._layers.based, self._layers.overlay.slots.copy()
            _, rows = self._layers.overlay.take(sample(fresh))
        rows = np.concatenate([*(old.vectors(slots) for slots in batches(sample(based))), rows])
        base = Base(self.dimensions, common_length(rows))
        added = [based]
        for slots in batches(based):
            base.add(slots, old.vectors(slots))
            if self._closed:
                return
        for slots in batches(fresh):
            with self._lock:
                present, rows = self._layers.overlay.take(slots)
            base.add(present, rows)
            added.append(present)
            if self._closed:
                return
        holds = flags(np.concatenate(added))
        with self._lock:
            self._layers.swap(base, holds)
        self.rebuilds += 1
