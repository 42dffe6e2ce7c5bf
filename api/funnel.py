"""Funnel: one request from candidates to a slate; every rung of the ladder is a method that may fail.

    full                 features and model on all candidates
    light                candidates in the order of their sources' agreement: no features, no model
    popular_in_context   what is chosen on this surface, in this country, in the wanted categories
    popular              what is chosen anywhere, and, for want of that, whatever is available
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from api.answers import Request
from api.asker import asker_of
from api.candidates import SOURCES, Pool, collect, merge, popular_contexts
from api.columns import Slots
from api.stages import Stopwatch
from api.state import State, codes
from models import rerank
from models.features import Asker, Floats, Sparse, gather, seen
from models.places import Places
from models.scorer import Scorer
from models.surfaces import Surface
from models.users import User

FLOOR = 100  # fewer candidates than this are filled up, so that a list can be varied and is never short
MANY = 500  # categories of one request that are looked at


class Late(Exception):  # noqa: N818 - not a fault
    """The budget was spent before the model was reached."""


@dataclass(slots=True)
class Ranked:
    """A slate: what stands where and why; `rows` are the features in the order of the slots."""

    slots: Slots
    scores: Floats
    sources: list[str]
    propensity: npt.NDArray[np.float64]
    rows: Floats | None = None
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Funnel:
    """One request on its way; made for it and thrown away. `seed` draws what is explored."""

    def __init__(
        self, state: State, scorer: Scorer, surface: Surface, request: Request, seed: str, places: Places,
        watch: Stopwatch,
    ) -> None:  # fmt: skip
        self._state, self._columns = state, state.columns
        self._scorer, self._surface, self._request = scorer, surface, request
        self._seed, self._places, self._watch = seed, places, watch
        self._wanted = codes(state.columns, request.categories) if request.categories else None
        self._excluded = state.columns.slots(list(request.exclude))
        self._here: list[Sparse] = []
        self._asker = Asker(float(request.at))
        self._pool: Pool | None = None

    def know(self, user: User | None) -> bool:
        """Take in who asks; tell whether anything is known to rank by."""
        self._here = popular_contexts(self._state, self._request.surface, self._request.context, self._request.at)
        self._asker = asker_of(self._state, user, self._request, self._here)
        self._watch.lap("asker")
        return bool(len(self._asker.recent) or len(self._asker.affinity[0]))

    def full(self) -> Ranked:
        """Score every candidate by the model; raises Late."""
        pool, columns, surface = self._candidates(), self._columns, self._surface
        if self._watch.spent():
            raise Late
        vectors = self._vectors(pool.slots)
        rows = gather(self._asker, columns, self._places, vectors)
        self._watch.lap("features")
        if self._watch.spent():
            raise Late
        scores = self._scorer.score(rows, self._scorer.mix(surface.actions)) * columns.boost[pool.slots]
        self._watch.lap("score")
        return self._slate(pool, scores, vectors, rows)

    def light(self) -> Ranked:
        """Rank by how many sources found a candidate, and how early."""
        pool = self._candidates()
        return self._slate(pool, pool.merit * self._columns.boost[pool.slots])

    def popular_in_context(self) -> Ranked:
        """Rank by popularity here; candidates nobody has chosen yet come last, and are explored."""
        pool = self._candidates()
        scores = pool.merit.copy()
        slots, values = self._asker.in_context
        place = self._places.find(slots)
        scores[place[place >= 0]] += values[place >= 0]
        return self._slate(pool, scores * self._columns.boost[pool.slots])

    def popular(self) -> Ranked:
        """Rank by popularity anywhere."""
        self._pool = self._filled(merge([], self._places, 0), self._request.n)
        return self._slate(self._pool, self._pool.merit)

    def _candidates(self) -> Pool:
        if self._pool is None:
            request, surface = self._request, self._surface
            pins = self._columns.slots(list(surface.pins))
            pool = collect(self._state, self._asker, request, surface, self._here, pins, self._places, self._watch)
            pool = _kept(pool, self._may_show(pool.slots), self._places)
            if len(pool.slots) < max(FLOOR, 2 * request.n):
                pool = self._filled(pool, max(FLOOR, 2 * request.n))
            self._pool = pool
            self._watch.lap("filter")
        return self._pool

    def _may_show(self, slots: Slots) -> npt.NDArray[np.bool_]:
        mask = rerank.showable(self._columns, slots, self._asker.now, self._wanted)
        if len(self._excluded):
            mask &= ~np.isin(slots, self._excluded)
        if self._surface.seen == "exclude" and len(self._asker.seen):
            mask &= ~self._tired(slots) | np.isin(slots, self._columns.slots(list(self._surface.pins)))
        return mask

    def _tired(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Tell which items the user acted on and does not want again."""
        mask = seen(self._asker, self._columns, slots)
        if self._surface.exempt and mask.any():
            mask &= ~np.isin(self._columns.categories[slots], codes(self._columns, self._surface.exempt)).any(axis=1)
        return mask

    def _filled(self, pool: Pool, least: int) -> Pool:
        """Return the pool with other items added, the most popular first, until it holds `least`."""
        backfill = SOURCES.index("backfill")
        for more in (self._popular_enough, lambda: np.arange(len(self._columns), dtype=np.int64)):
            need = least - len(pool.slots)
            if need <= 0:
                break
            slots = more()
            slots = slots[self._may_show(slots)]
            slots = slots[self._places.find(slots) < 0][:need] if len(pool.slots) else slots[:need]
            found = [(-1, pool.slots), (backfill, slots)]
            both = merge(found, self._places, least)
            both.source[: len(pool.slots)] = pool.source
            both.merit[: len(pool.slots)] = pool.merit
            both.merit[len(pool.slots) :] *= 0.1  # found by no source: after all that were
            both.fresh, both.skipped = pool.fresh, pool.skipped
            both.counts = {**pool.counts, "backfill": pool.counts.get("backfill", 0) + len(slots)}
            pool = both
        return pool

    def _popular_enough(self) -> Slots:
        if self._wanted is None:
            return self._state.trends.popular_all
        lists = [self._state.trends.by_category(code) for code in self._wanted[:MANY].tolist()]
        return np.concatenate([*lists, np.zeros(0, dtype=np.int64)])

    def _vectors(self, slots: Slots) -> Floats | None:
        query = self._state.vectors.query(self._asker.recent) if len(self._asker.recent) else None
        if query is None:
            return None
        self._asker.query = query[:-1]
        return self._state.vectors.y[slots].astype(np.float32)[:, :-1]

    def _slate(self, pool: Pool, scores: Floats, vectors: Floats | None = None, rows: Floats | None = None) -> Ranked:
        surface, columns, n = self._surface, self._columns, self._request.n
        categories = columns.categories[pool.slots]
        if surface.seen == "demote":
            scores = np.where(self._tired(pool.slots), scores * np.float32(rerank.DEMOTION), scores)
        if surface.boosts:
            names = {name: factor for name, factor in surface.boosts.items() if name in columns.category_code}
            for name, factor in names.items():
                scores = np.where((categories == columns.category_code[name]).any(axis=1), scores * factor, scores)
        pins = self._pins()
        free = [] if self._wanted is None else self._wanted.tolist()
        cap, explore = surface.max_per_category, surface.explore
        order = rerank.arrange(scores, categories, n, cap, free, surface.diversity, vectors, pins)
        fresh = self._places.find(pool.fresh)
        slate = rerank.explore(
            order, fresh[fresh >= 0].astype(np.int64), categories, self._seed, explore.epsilon, explore.slots,
            cap, free, list(pins),
        )  # fmt: skip
        sources = [SOURCES[n] for n in pool.source[slate.order].tolist()]
        for place in np.flatnonzero(slate.explored).tolist():
            sources[place] = "explore"
        ranked = Ranked(
            pool.slots[slate.order], scores[slate.order], sources, slate.propensity,
            None if rows is None else rows[slate.order], pool.counts, pool.skipped,
        )  # fmt: skip
        self._watch.lap("rerank")
        return ranked

    def _pins(self) -> dict[int, int]:
        """Return the candidates that have a place of their own."""
        found = {place - 1: self._columns.slot_of.get(item, -1) for item, place in self._surface.pins.items()}
        return {
            place: int(at)
            for place, at in zip(found, self._places.find(np.array(list(found.values()), dtype=np.int64)), strict=True)
            if at >= 0
        }


def _kept(pool: Pool, mask: npt.NDArray[np.bool_], places: Places) -> Pool:
    places.hold(pool.slots[mask])
    return Pool(places.slots, pool.source[mask], pool.merit[mask], pool.fresh, pool.counts, pool.skipped)
