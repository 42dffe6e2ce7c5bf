"""Funnel: one request from candidates to a slate; every rung of the ladder is a method that may fail.

boosted              features and a model of the registry on all candidates, where the surface asks for one
full                 features and the light model on all candidates
light                candidates in the order of their sources' agreement: no features, no model
popular_in_context   what is chosen on this surface, in this country, in the wanted categories
popular              what is chosen anywhere, and, for want of that, whatever is available
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from api.answers import Request
from api.asker import asker_of, popular_here
from api.candidates import SOURCES, Pool, collect
from api.columns import Slots
from api.filter import Filter, nothing
from api.offered import fused, offered
from api.stages import Stopwatch
from api.state import State
from models import popular, rerank
from models.content import blend
from models.exploration import Candidates, Doubles, Draw, by_hash, explore
from models.features import CATALOGUE, Asker, Floats, Sparse
from models.gather import gather, scatter
from models.halves import widen
from models.places import Places
from models.ranker import Lineup, Ranker
from models.scorer import Scorer
from models.signals import SIGNALS
from models.surfaces import Surface
from models.users import User

Scored = Callable[[Lineup, Floats], None]  # the candidates and their scores (n,)
Factors = Callable[[Sequence[str]], Floats | None]  # factors (n,) on the scores of n items, None for none
EMBEDDING, BIAS, NORM = (SIGNALS.index(name) for name in ("embedding", "embedding_bias", "embedding_norm"))
PAIRED = np.array(
    [SIGNALS.index(one.name) for one in CATALOGUE if one.name in SIGNALS and one.scope == "pair"]
)
EXPLORE = "explore"  # the source of what was drawn instead of ranked
GATHERED = ("quotas", "candidates", "seen", "exempt", "pins")  # what of a surface decides on candidates
FLOOR = 100  # fewer candidates than this are filled up, so that a list can be varied and is never short


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
    models: dict[str, str] = field(default_factory=dict)  # what scored, by name: its version
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    explored: str = ""  # by what kind of draw


class Funnel:
    """One request on its way; made for it and thrown away.

    `draw` decides what is explored, of slots, by `seed`; `factors` are those of items that are tried themselves.
    """

    def __init__(
        self, state: State, surface: Surface, request: Request, *, seed: str, places: Places, watch: Stopwatch,
        draw: Draw = by_hash, factors: Factors | None = None,
    ) -> None:  # fmt: skip
        self._state, self._columns = state, state.columns
        self._surface, self._request, self._seed, self._draw = surface, request, seed, draw
        self._places, self._watch, self._factors = places, watch, factors
        self._here: list[Sparse] = []
        self._asker, self._trail = Asker(float(request.at)), list[str]()
        self._filter = Filter(state, surface, request, self._asker)
        self._pool: Pool | None = None
        self._known: tuple[Floats, Floats] | None = None  # where the pool's items stand, and their features

    def turn(self, surface: Surface) -> None:
        """Go on for another surface, with the same candidates and features if both ask for the same."""
        if any(getattr(surface, name) != getattr(self._surface, name) for name in GATHERED):
            self._filter = Filter(self._state, surface, self._request, self._asker)
            self._pool = self._known = None
        self._surface = surface

    def know(self, user: User | None) -> tuple[bool, bool]:
        """Take in who asks; tell whether anything is known to find candidates by, and to rank them by."""
        self._here = popular_here(self._state, self._request)
        self._asker = asker_of(self._state, user, self._request, self._here, self._places)
        self._trail = [] if user is None else user.trail
        self._filter = Filter(self._state, self._surface, self._request, self._asker)
        self._watch.lap("asker")
        asker = self._asker
        liked = len(asker.affinity[0]) > 0
        return liked or len(asker.recent) > 0, liked or len(asker.after) > 0

    def boosted(self, ranker: Ranker, scored: Scored) -> Ranked:
        """Score every candidate by a model of the registry, and let `scored` hear of it; raises Late."""
        pool, places, rows = self.features()
        lineup = self._lineup(pool, rows)
        scores = ranker.score(lineup)
        self._watch.lap("score")
        scored(lineup, scores)
        return self._slate(pool, scores, places[:, :-1], rows, {self._surface.model: ranker.version})

    def full(self, scorer: Scorer, scored: Scored) -> Ranked:
        """Score every candidate by the light model, and let `scored` hear of it; raises Late."""
        pool, places, rows = self.features()
        scores = scorer.score(rows, scorer.mix(self._surface.actions))
        self._watch.lap("score")
        scored(self._lineup(pool, rows), scores)
        return self._slate(pool, scores, places[:, :-1], rows, {"light": scorer.version})

    def lineup(self) -> Lineup:
        """Return the candidates as a ranker sees them; raises Late."""
        pool, _, rows = self.features()
        return self._lineup(pool, rows)

    def features(self) -> tuple[Pool, Floats, Floats]:
        """Return the candidates, where they stand, and their features (n, len(NAMES)); raises Late."""
        pool = self.candidates()
        if self._watch.spent():
            raise Late
        if self._known is not None:
            return (pool, *self._known)
        places = self._placed(pool.slots)
        signals = self._signals(pool.slots, places)
        relevance = self._state.lore.relevance(signals, self._asker.after, self._asker.before)
        rows = gather(self._asker, self._columns, self._places, signals, relevance)
        self._watch.lap("features")
        if self._watch.spent():
            raise Late
        self._known = places, rows
        return pool, places, rows

    def light(self) -> Ranked:
        """Rank by how many sources found a candidate, and how early."""
        pool = self.candidates()
        return self._slate(pool, pool.merit)

    def popular_in_context(self) -> Ranked:
        """Rank by what is liked here, by choices and by looks; what was never chosen nor seen is explored."""
        pool, columns = self.candidates(), self._columns
        in_context, here, anywhere = np.zeros((3, len(pool.slots)), dtype=np.float32)
        scatter(in_context, self._places, self._asker.in_context)
        if lists := self._here[len(self._request.categories) :]:  # of the country, the surface, anywhere
            scatter(here, self._places, lists[0])
            scatter(anywhere, self._places, lists[-1])
        ctr, examined = columns.ctr[pool.slots], columns.examined[pool.slots]
        scores = popular.by_chances(in_context + pool.merit, popular.lift(here, anywhere), ctr, examined)
        return self._slate(pool, scores)

    def popular(self) -> Ranked:
        """Rank by popularity anywhere."""
        if self._request.offered:
            pool = self.candidates()
        else:
            pool = self._filter.fill(nothing(self._places), self._request.n, self._places)
        return self._slate(pool, pool.merit)

    def candidates(self) -> Pool:
        """Return what may be shown of what the sources found, filled up where that is little."""
        if self._pool is not None:
            self._places.hold(self._pool.slots)
        if self._pool is None and self._request.offered:
            self._pool = self._filter.keep(offered(self._columns, self._request, self._places), self._places)
            self._watch.lap("filter")
        if self._pool is None:
            n, places = max(FLOOR, 2 * self._request.n), self._places
            pool = collect(
                self._state, self._asker, self._request, self._surface,
                here=self._here, pins=self._filter.pins, places=places, watch=self._watch,
            )  # fmt: skip
            pool = self._filter.keep(pool, places)
            self._pool = pool if len(pool.slots) >= n else self._filter.fill(pool, n, places)
            self._pool.counts["candidates"] = len(self._pool.slots)
            self._watch.lap("filter")
        return self._pool

    def _lineup(self, pool: Pool, rows: Floats) -> Lineup:
        return Lineup(rows, pool.slots, self._columns.ids, self._trail)

    def _placed(self, slots: Slots) -> Floats:
        y = self._state.vectors.y
        placed = widen(y.take(slots, axis=0, mode="clip"))
        placed[slots >= len(y)] = 0.0  # met so lately that it has no place yet
        return placed

    def _signals(self, slots: Slots, placed: Floats) -> Floats:
        """Return the signals of candidates; the little known are near this asker as far as their likes are.

        What was counted of pairs is blended with the mean of the likes' as places are; the embedding's signals are
        those of the guessed place; counts of the item alone stay what they are.
        """
        lore, after, vectors = self._state.lore, self._asker.after, self._state.vectors
        signals = lore.signals(after, slots, self._asker.stage, self._asker.before)
        new = np.flatnonzero(vectors.guessed(slots) & placed.any(axis=1))
        query = lore.query(after) if len(new) else None
        if query is not None:
            likes = vectors.likes[slots[new]]
            those = likes.reshape(-1).astype(np.int64)
            theirs = lore.signals(after, those, self._asker.stage, self._asker.before).reshape(
                *likes.shape, -1
            )
            own, chosen = signals[new][:, PAIRED], lore.chosen(slots[new])
            signals[np.ix_(new, PAIRED)] = blend(own, chosen, theirs.mean(axis=1)[:, PAIRED])
            signals[new, EMBEDDING], signals[new, BIAS] = placed[new] @ query, placed[new, -1]
            signals[new, NORM] = np.linalg.norm(placed[new, :-1], axis=1)
        return signals

    def _slate(
        self, pool: Pool, scores: Floats, vectors: Floats | None = None, rows: Floats | None = None,
        models: dict[str, str] | None = None,
    ) -> Ranked:  # fmt: skip
        surface, categories = self._surface, self._columns.categories[pool.slots]
        if self._request.offered:
            scores = fused(scores, pool.merit, surface.trust)
        scores = self._boosted(pool, scores, categories)
        pins = self._pinned()
        free = () if self._filter.wanted is None else self._filter.wanted.tolist()
        order = rerank.arrange(
            scores, categories, self._request.n, cap=surface.max_per_category, free=free,
            diversity=surface.diversity, vectors=vectors, pins=pins,
        )  # fmt: skip
        fresh = self._places.find(pool.fresh)
        among = Candidates(
            scores, categories, self._columns.ctr[pool.slots], self._columns.examined[pool.slots],
            fresh[fresh >= 0].astype(np.int64),
        )  # fmt: skip

        def draw(seed: str, place: int, at: rerank.Order, chances: Doubles) -> int:
            return self._draw(seed, place, pool.slots[at], chances)

        slate = explore(
            order, among, surface.explore, seed=self._seed, cap=surface.max_per_category, free=free, fixed=pins,
            draw=draw,
        )  # fmt: skip
        order = slate.order
        sources = [SOURCES[source] for source in pool.source[order].tolist()]
        for place in np.flatnonzero(slate.explored).tolist():
            sources[place] = EXPLORE
        self._watch.lap("rerank")
        return Ranked(
            pool.slots[order], scores[order], sources, slate.propensity,
            None if rows is None else rows[order], models or {}, pool.counts, pool.skipped,
            surface.explore.kind,
        )  # fmt: skip

    def _boosted(self, pool: Pool, scores: Floats, categories: npt.NDArray[np.int32]) -> Floats:
        """Return the final scores: times the boosts of catalogue, trial and surface, and less for what was seen."""
        factors = self._columns.boost[pool.slots]
        if self._factors is not None:
            ids = self._columns.ids
            tried = self._factors([ids[slot] for slot in pool.slots.tolist()])
            factors = factors if tried is None else factors * tried
        for name, factor in self._surface.boosts.items():
            code = self._columns.category_code.get(name)
            if code is not None:
                factors[(categories == code).any(axis=1)] *= np.float32(factor)
        if self._surface.seen == "demote":
            factors[self._filter.tired(pool.slots)] *= np.float32(rerank.DEMOTION)
        return rerank.boosted(scores, factors)

    def _pinned(self) -> dict[int, int]:
        """Return the candidates that have a place of their own, by place from 0."""
        pins = self._surface.pins
        if not pins:
            return {}
        slots = np.array([self._columns.slot_of.get(item, -1) for item in pins], dtype=np.int64)
        found = zip(pins.values(), self._places.find(slots).tolist(), strict=True)
        return {place - 1: index for place, index in found if index >= 0}
