"""The vector index under churn: recall against exact search, and the time of a search while a base is built.

A machine that others use too delays any thread, so each search also reads from Linux how long it was ready to
run without a core: `search_*` is what a caller waits, `on_core_*` leaves that delay out (what the code costs,
waiting for the index's lock or the interpreter's included), and `baseline_*` is the same without a build.
"""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from api.index import VectorIndex
from api.overlay import Slots, Vectors
from bench.report import AT_LEAST, AT_MOST, report, show

CHURN = 0.25  # share of the vectors changed in a minute
TICK = 0.05  # seconds between two updates
PAUSE = 0.002  # seconds between two searches: an API process does other things too
COUNT = 100
TARGETS = {
    "recall_at_100": (AT_LEAST, 0.95),
    "churn_per_minute": (AT_LEAST, 0.2),
    "longest_search_ms": (AT_MOST, 5.0),
}


class Catalogue:
    """Made-up item vectors that drift, shape (items, dimensions), with popularity as the last coordinate.

    They are hard to search for the reasons real ones are: no clean clusters, unequal norms, mixed queries.
    """

    def __init__(self, items: int, dimensions: int) -> None:
        self.random = np.random.default_rng(7)
        self.weights = np.arange(1, dimensions, dtype=np.float32) ** -0.4
        self.popularity = 0.1 * np.log1p(self.random.lognormal(4, 2, items)).astype(np.float32)
        tastes = self._drawn(items // 20 + 1)
        self.vectors = np.empty((items, dimensions), np.float32)
        self.vectors[:, :-1] = tastes[self.random.integers(len(tastes), size=items)]
        self.drift(np.arange(items), 1.0)

    def drift(self, slots: Slots, far: float = 0.3) -> Vectors:
        """Move the vectors of slots and return them."""
        moved = _unit(self.vectors[slots, :-1] + far * self._drawn(len(slots)))
        self.vectors[slots] = np.column_stack([moved, self.popularity[slots]]).astype(np.float16)
        return self.vectors[slots]

    def query(self) -> Vectors:
        """Return a query as a user's last five items make it."""
        recent = self.vectors[self.random.integers(len(self.vectors), size=5), :-1]
        taste = _unit((recent * 0.7 ** np.arange(5, dtype=np.float32)[:, None]).sum(axis=0, keepdims=True))
        return np.append(taste[0], np.float32(1))

    def exact(self, query: Vectors) -> Slots:
        """Return the best slots for a query as the index rounds it."""
        scores = np.einsum("nd,d->n", self.vectors, query.astype(np.float16).astype(np.float32))
        return np.argpartition(-scores, COUNT)[:COUNT]

    def _drawn(self, n: int) -> Vectors:
        drawn = self.random.standard_normal((n, len(self.weights)), np.float32)
        return _unit(drawn * self.weights)


def run(json: bool = False, items: int = 100_000, dimensions: int = 128, seconds: int = 60) -> dict[str, Any]:
    """Search for `seconds` while vectors change and bases are built; print the report too if `json`.

    The first quarter goes without a build, as the baseline; then one starts, and others when they are due.
    """
    catalogue, index = Catalogue(items, dimensions), VectorIndex(dimensions, automatic=False)
    index.update(np.arange(items), catalogue.vectors)
    began = time.perf_counter()
    index.rebuild(wait=True)
    build = time.perf_counter() - began

    changed, still, stop = [0], threading.Lock(), threading.Event()
    began = time.perf_counter()
    churner = threading.Thread(target=_churn, args=(catalogue, index, changed, still, stop))
    churner.start()
    times: dict[str, list[tuple[float, float]]] = {"search": [], "baseline": []}
    recalls: list[float] = []
    overlay = searches = 0
    while (elapsed := time.perf_counter() - began) < seconds:
        if not index.automatic and elapsed > seconds / 4:
            index.automatic = True
            index.rebuild()
        query = catalogue.query()
        rebuilding, waited, started = index.rebuilding, _waited(), time.perf_counter()
        index.search(query, COUNT)
        took, waited = (time.perf_counter() - started) * 1e3, _waited() - waited
        times["search" if rebuilding or index.rebuilding else "baseline"].append((took, took - waited))
        overlay, searches = max(overlay, index.fresh), searches + 1
        if searches % 20 == 0:
            with still:
                found, _ = index.search(query, COUNT)
                recalls.append(len(np.intersect1d(found, catalogue.exact(query))) / COUNT)
        time.sleep(PAUSE)
    stop.set()
    churner.join()
    minutes = (time.perf_counter() - began) / 60
    index.close()

    figures = {
        "recall_at_100": float(np.mean(recalls or [0.0])),
        "churn_per_minute": changed[0] / items / minutes,
        "rebuilds": index.rebuilds - 1,
        "build_seconds": build,
        "overlay_most": overlay,
        "searches": searches,
    }
    for name, pairs in times.items():
        if pairs:
            took, on_core = np.array(pairs).T
            figures |= _spread(name, took) | _spread(
                "on_core" if name == "search" else "baseline_on_core", on_core
            )
    result = report("index", "none", figures, TARGETS)
    if json:
        show(result, as_json=True)
    return result


def _spread(name: str, times: npt.NDArray[np.float64]) -> dict[str, float]:
    longest = "longest_search_ms" if name == "search" else f"{name}_longest_ms"
    return {
        f"{name}_p50_ms": float(np.percentile(times, 50)),
        f"{name}_p99_ms": float(np.percentile(times, 99)),
        longest: float(times.max()),
        f"{name}_over_5_ms": int(np.count_nonzero(times > 5)),
    }


def _waited() -> float:
    """Return the milliseconds this thread was ready without a core so far; zero where Linux does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e6
    except OSError:
        return 0.0


def _churn(
    catalogue: Catalogue, index: VectorIndex, changed: list[int], still: threading.Lock, stop: threading.Event
) -> None:
    items = len(catalogue.vectors)
    order, began = np.random.default_rng(8).permutation(items), time.perf_counter()
    while not stop.wait(TICK):
        due = int((time.perf_counter() - began) / 60 * CHURN * items)
        slots = order[np.arange(changed[0], due) % items]
        with still:
            index.update(slots, catalogue.drift(slots))
        changed[0] = max(due, changed[0])


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
