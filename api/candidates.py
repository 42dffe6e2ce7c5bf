"""Candidates: about a thousand of all items, from several sources, each with its quota, its turn and its count.

A source that is late or fails is left out and counted; the others still answer.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from api.answers import Request
from api.asker import favourites
from api.columns import Slots
from api.stages import Stopwatch
from api.state import State, codes
from models.features import Asker, Floats, Sparse, covisits
from models.places import Places
from models.surfaces import Surface
from models.users import contexts

log = logging.getLogger(__name__)
SOURCES = ("repeat", "related", "ann", "similar", "fresh", "popular", "trending", "backfill", "pin")
SHARE = 0.6  # of the budget may go to finding candidates
HALFWAY = 60.0  # added to a rank before its inverse is taken (Cormack, Clarke and Buettcher 2009)

Source = Callable[[int], Sparse]  # quota -> slots and values, best first


@dataclass(slots=True)
class Pool:
    """The distinct candidates: `source` indexes SOURCES, `merit` fuses their ranks in all sources that found them.

    `counts` says how many each source brought, `skipped` why others brought none.
    """

    slots: Slots
    source: npt.NDArray[np.int8]
    merit: Floats
    fresh: Slots
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def popular_contexts(state: State, surface: str, context: dict[str, str], now: int) -> list[Sparse]:
    """Return what is popular here: on the surface, in the country, anywhere."""
    keys = contexts(surface, (), context.get("country"))
    return [state.tables.popular(key, now) for key in reversed(keys)]


def sources(state: State, asker: Asker, request: Request, here: list[Sparse]) -> Iterator[tuple[str, Source]]:
    """Yield every source with its name, the most personal first: the first that finds an item names it."""
    columns, trends, index = state.columns, state.trends, state.index
    wanted = codes(columns, request.categories).tolist()

    def repeat(_: int) -> Sparse:
        order = np.argsort(-asker.last, kind="stable")
        return asker.history[order], asker.times[order]

    def ann(quota: int) -> Sparse:
        query = state.vectors.query(asker.recent)
        return _NONE if query is None else index.search(query, quota)

    def similar(quota: int) -> Sparse:
        last = int(asker.recent[0])
        query = state.vectors.similar(last)
        if columns.mass[last] > 0 and query is not None:
            return index.search(query, quota)
        lists = [trends.by_category(code)[:quota] for code in columns.categories[last].tolist() if code >= 0]
        return _ranked(_interleaved(lists[::-1]))  # nobody came by yet: neighbours by content, the narrowest first

    def popular(_: int) -> Sparse:
        if wanted:
            return _ranked(_interleaved([trends.by_category(code) for code in wanted]))
        own = [state.tables.popular(f"category:{name}", request.at) for name in favourites(asker, columns)]
        return _ranked(_interleaved([slots for slots, _ in (*here, *own)]))

    if len(asker.history):
        yield "repeat", repeat
    if len(asker.recent):
        yield "related", lambda _: covisits(asker.recent, columns)
        yield "ann", ann
        yield "similar", similar
    yield "fresh", lambda quota: _ranked(trends.fresh[:quota])
    yield "popular", popular
    yield "trending", lambda quota: _ranked(trends.trending[:quota])


def collect(
    state: State, asker: Asker, request: Request, surface: Surface, here: list[Sparse], pins: Slots, places: Places,
    watch: Stopwatch,
) -> Pool:  # fmt: skip
    """Return the candidates of a request; no further source is asked once most of the budget is spent."""
    found: list[tuple[int, Slots]] = [(SOURCES.index("pin"), pins)]
    counts: dict[str, int] = {}
    skipped: dict[str, str] = {}
    fresh = _NONE[0]
    for name, source in sources(state, asker, request, here):
        quota = getattr(surface.quotas, name)
        if name == "popular" and request.categories:
            quota = surface.candidates
        if not quota:
            continue
        if watch.spent(SHARE):
            skipped[name] = "no time left"
            continue
        try:
            slots = source(quota)[0][:quota]
        except Exception:
            log.exception("candidate source %s failed", name)
            skipped[name] = "failed"
            continue
        finally:
            watch.lap(name)
        counts[name] = len(slots)
        found.append((SOURCES.index(name), slots))
        fresh = slots if name == "fresh" else fresh
    pool = merge(found, places, surface.candidates)
    pool.fresh, pool.counts, pool.skipped = fresh, counts, skipped
    return pool


def merge(found: list[tuple[int, Slots]], places: Places, most: int) -> Pool:
    """Return the distinct slots of all sources; a slot belongs to the first source that found it."""
    every = np.concatenate([slots for _, slots in found]) if found else _NONE[0]
    source = np.repeat([n for n, _ in found], [len(slots) for _, slots in found]).astype(np.int8)
    merit = np.concatenate([1.0 / (HALFWAY + np.arange(len(slots))) for _, slots in found]) if found else _NONE[1]
    first = places.take(every)
    fused = np.bincount(places.find(every), merit, minlength=len(first)).astype(np.float32)
    first, fused = first[:most], fused[:most]
    places.hold(every[first])
    return Pool(places.slots, source[first], fused, _NONE[0])


def _ranked(slots: Slots) -> Sparse:
    return slots, np.zeros(0, dtype=np.float32)


def _interleaved(lists: list[Slots]) -> Slots:
    """Return the lists dealt out in turns, each slot once."""
    lists = [slots for slots in lists if len(slots)]
    if len(lists) < 2:
        return lists[0] if lists else _NONE[0]
    ranks = np.concatenate([np.arange(len(slots)) for slots in lists])
    dealt = np.concatenate(lists)[np.argsort(ranks, kind="stable")]
    _, first = np.unique(dealt, return_index=True)
    return dealt[np.sort(first)]


_NONE: Sparse = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
