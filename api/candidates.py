"""Candidates: about a thousand of all items, from several sources, each with its quota, its turn, its count.

A source that is late or fails is left out and counted; the others still answer.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from api.answers import Request
from api.asker import favourites, popular_in
from api.columns import Slots
from api.stages import Stopwatch
from api.state import State, codes
from models.features import NONE, Asker, Floats, Sparse
from models.places import Places
from models.surfaces import Surface

log = logging.getLogger(__name__)
SOURCES = (
    "repeat",
    "related",
    "ann",
    "similar",
    "fresh",
    "popular",
    "trending",
    "backfill",
    "pin",
    "offered",
)
LAST = 5  # items whose categories have neighbours by content
SHARE = 0.6  # of the budget may go to finding candidates
HALFWAY = 60.0  # added to a rank before its inverse is taken (Cormack, Clarke and Buettcher 2009)

Source = Callable[[int], Slots]  # quota -> slots, best first


@dataclass(slots=True)
class Pool:
    """The distinct candidates, in the order of `slots`.

    `source` indexes SOURCES, `merit` fuses the ranks in all sources that found one. `counts` says how many
    each source brought, `skipped` why others brought none.
    """

    slots: Slots
    source: npt.NDArray[np.int8]
    merit: Floats
    fresh: Slots
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def sources(
    state: State, asker: Asker, request: Request, here: list[Sparse], places: Places
) -> Iterator[tuple[str, Source]]:
    """Yield every source with its name, the most personal first: the first that finds an item names it."""
    columns, trends, index = state.columns, state.trends, state.index

    def repeat(_: int) -> Slots:
        return asker.history[np.argsort(-asker.last, kind="stable")]

    def related(quota: int) -> Slots:
        return state.lore.related(asker.after, quota, asker.before)[0]

    def ann(quota: int) -> Slots:
        query = state.lore.query(asker.after)
        return NONE[0] if query is None else index.search(query, quota)[0]

    def similar(quota: int) -> Slots:
        rows = columns.categories[asker.recent[:LAST]].tolist()
        narrowest = dict.fromkeys(code for row in rows for code in [c for c in row if c >= 0][:1])
        return dealt([trends.by_category(code)[:quota] for code in narrowest], places)

    def popular(quota: int) -> Slots:
        if request.categories:
            wanted = codes(columns, request.categories).tolist()
            return dealt([trends.by_category(code)[:quota] for code in wanted], places)
        own = [popular_in(state, f"category:{name}", request.at) for name in favourites(asker, columns)]
        return dealt([slots for slots, _ in (*here, *own)], places)

    if len(asker.history):
        yield "repeat", repeat
    if len(asker.recent):
        yield "related", related
        yield "ann", ann
        yield "similar", similar
    yield "fresh", lambda quota: trends.fresh[:quota]
    yield "popular", popular
    yield "trending", lambda quota: trends.trending[:quota]


def collect(
    state: State,
    asker: Asker,
    request: Request,
    surface: Surface,
    *,
    here: list[Sparse],
    pins: Slots,
    places: Places,
    watch: Stopwatch,
) -> Pool:
    """Return the candidates of a request; no further source is asked once most of the budget is spent.

    `here` are the popular lists of the place, `pins` come first; `places` holds the candidates afterwards.
    """
    found: list[tuple[int, Slots]] = [(SOURCES.index("pin"), pins)]
    counts: dict[str, int] = {}
    skipped: dict[str, str] = {}
    fresh = NONE[0]
    for name, source in sources(state, asker, request, here, places):
        quota = getattr(surface.quotas, name)
        if name == "popular" and request.categories:
            quota = surface.candidates
        if not quota:
            continue
        if watch.spent(SHARE):
            skipped[name] = "no time left"
            continue
        try:
            slots = source(quota)[:quota]
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
    every = np.concatenate([slots for _, slots in found])
    source = np.repeat([n for n, _ in found], [len(slots) for _, slots in found]).astype(np.int8)
    merit = np.concatenate([1.0 / (HALFWAY + np.arange(len(slots))) for _, slots in found])
    first = places.take(every)
    fused = np.bincount(places.find(every), merit, len(first)).astype(np.float32)
    first, fused = first[:most], fused[:most]
    places.hold(every[first])
    return Pool(places.slots, source[first], fused, NONE[0])


def dealt(lists: list[Slots], places: Places) -> Slots:
    """Return the lists dealt out in turns, each slot once; `places` is scratch memory."""
    lists = [slots for slots in lists if len(slots)]
    if len(lists) < 2:
        return lists[0] if lists else NONE[0]
    ranks = np.concatenate([np.arange(len(slots)) for slots in lists])
    every: Slots = np.concatenate(lists)[np.argsort(ranks, kind="stable")]
    return every[places.take(every)]
