"""Filter: which items may be shown to this asker on this surface, and what fills a pool of too few."""

import numpy as np
import numpy.typing as npt

from api.answers import Request
from api.candidates import SOURCES, Pool, merge
from api.columns import Slots
from api.state import State, codes
from models import rerank
from models.features import NONE, Asker
from models.gather import seen
from models.places import Places
from models.surfaces import Surface

Mask = npt.NDArray[np.bool_]
BEHIND = 0.1  # of its merit is left to a candidate that no source found


class Filter:
    """The rules of one request; `wanted` are the codes of its categories, None for all."""

    def __init__(self, state: State, surface: Surface, request: Request, asker: Asker) -> None:
        self._state, self._surface, self._asker = state, surface, asker
        columns = state.columns
        self.wanted = codes(columns, request.categories) if request.categories else None
        self.pins = columns.slots(list(surface.pins))
        self._excluded = columns.slots(list(request.exclude))
        self._exempt = codes(columns, surface.exempt)

    def __call__(self, slots: Slots) -> Mask:
        """Tell which slots may be shown; pins are shown although they were seen."""
        mask = rerank.showable(self._state.columns, slots, self._asker.now, self.wanted)
        if len(self._excluded):
            mask &= ~np.isin(slots, self._excluded)
        if self._surface.seen == "exclude" and len(self._asker.seen):
            tired = self.tired(slots)
            mask &= ~tired | np.isin(slots, self.pins) if len(self.pins) else ~tired
        return mask

    def tired(self, slots: Slots) -> Mask:
        """Tell which items the user acted on and would not look at again."""
        columns = self._state.columns
        mask = seen(self._asker, columns, slots)
        if len(self._exempt) and mask.any():
            mask &= ~np.isin(columns.categories[slots], self._exempt).any(axis=1)
        return mask

    def keep(self, pool: Pool, places: Places) -> Pool:
        """Return what of a pool may be shown; `places` holds it afterwards."""
        mask = self(pool.slots)
        places.hold(pool.slots[mask])
        return Pool(places.slots, pool.source[mask], pool.merit[mask], pool.fresh, pool.counts, pool.skipped)

    def fill(self, pool: Pool, least: int, places: Places) -> Pool:
        """Return the pool with other items added, the most popular first, until it has at least so many."""
        for more in (self._popular, self._any):
            if (need := least - len(pool.slots)) <= 0:
                break
            places.hold(pool.slots)
            added = merge([(SOURCES.index("backfill"), more(need, places))], places, need)
            pool = Pool(
                np.concatenate([pool.slots, added.slots]),
                np.concatenate([pool.source, added.source]),
                np.concatenate([pool.merit, added.merit * np.float32(BEHIND)]),
                pool.fresh,
                pool.counts | {"backfill": pool.counts.get("backfill", 0) + len(added.slots)},
                pool.skipped,
            )
        places.hold(pool.slots)
        return pool

    def _popular(self, _: int, places: Places) -> Slots:
        trends = self._state.trends
        if self.wanted is None:
            return self._others(trends.popular_all, places)
        known = [trends.by_category(code) for code in self.wanted.tolist()]
        return self._others(np.concatenate([NONE[0], *known]), places)

    def _any(self, need: int, places: Places) -> Slots:
        hashes = self._state.columns.seen_hash  # not slots, which differ by process
        slots = self._others(np.arange(len(self._state.columns), dtype=np.int64), places)
        if need < len(slots):  # it may be the whole catalogue, of which a few are wanted
            slots = slots[np.argpartition(hashes[slots], need)[:need]]
        return slots[np.argsort(hashes[slots])]

    def _others(self, slots: Slots, places: Places) -> Slots:
        slots = slots[places.find(slots) < 0]
        return slots[self(slots)]


def nothing(places: Places) -> Pool:
    """Return a pool without candidates."""
    return merge([(SOURCES.index("backfill"), NONE[0])], places, 0)
