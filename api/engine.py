"""Engine: answers requests for lists, from a cache or down a ladder, and says what it did for the log."""

import math
import time
from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
from uuid_utils import uuid7

from api.answers import Answer, Hit, Request
from api.arms import Arms, unit
from api.cache import Cache, Entry
from api.columns import Slots
from api.drafted import drafted
from api.explain import freshness, placed
from api.exposed import Exposed, alike, exposures
from api.ladder import BEST, UNKNOWN, Count, Ladder, Outcome
from api.offered import unknown
from api.rankers import NONE_LIVE, Rankers
from api.stages import Clock, Stopwatch
from api.state import State
from api.unlogged import LOGGED, Beyond, Unlogged
from models.assignment import Assigned, Assigner, Experiments, Fixed
from models.exploration import Draw, by_hash
from models.interleaving import Teams
from models.scorer import Scorer
from models.surfaces import Config, Explore, Surface
from models.units import Unit
from models.users import User
from streams.experiments import Known
from streams.slates import Read, Slate

AHEAD = "ahead"  # the rung of a list that was computed before it was asked for

Observe = Callable[[str, float], None]  # stage, seconds


class Engine:
    """Answers from one state at a time and one configuration; not for several threads, requests share scratch memory.

    `rankers` are those of the registry, for surfaces of the full tier; `experiments` say who gets which arm.
    `scorer` is the light model instead of the one that was learned, which the state has. `clock` gives seconds for
    budgets and the cache; `observe` is told what each stage took, `count` what happened (answers and failures by
    rung), and `draw` decides what is explored, of slots.
    """

    def __init__(
        self, state: State, config: Config, clock: Clock = time.perf_counter, *,
        scorer: Scorer | None = None, observe: Observe = lambda _stage, _seconds: None,
        count: Count = lambda _name, _labels: None, rankers: Rankers = NONE_LIVE,
        experiments: Experiments | None = None, draw: Draw = by_hash,
    ) -> None:  # fmt: skip
        self.config = config
        self._clock, self._observe, self._count = clock, observe, count
        self._arms = Arms(experiments or Fixed(Assigner(Known(), config, 0)), config, count)
        self._scorer, self._rankers, self._draw = scorer, rankers, draw
        self._unlogged = Unlogged()
        self.serve(state)

    def serve(self, state: State) -> None:
        """Answer from this state from now on; what was answered from another one is not served again."""
        self.state = state
        self._ladder = Ladder(state, self.config, self._scorer, self._count, self._rankers, self._draw)
        self._cache, self._assigner = Cache(), self._arms.assigner
        state.tables.on_user_change.append(self._forget)

    def recommend(self, request: Request) -> Answer:
        """Return a list for someone; raises Refused for a surface that is not configured."""
        keep = not (request.session or request.explain or request.offered or request.forced)
        if keep and (entry := self._entry(request)) is not None:
            return self._again(entry, request)
        return self._answer(request, unit(request, self._user), keep=keep)

    def cached(self, request: Request) -> Hit | None:
        """Return the answer as bytes if the cache has it: the short way, on which nothing is computed."""
        if request.session or request.explain or request.forced or (entry := self._entry(request)) is None:
            return None
        if entry.waiting:
            first = self._first(entry, request)
            return Hit(first.request_id, msgspec.json.encode(first), first, request.at)
        request_id = str(uuid7())
        self._unlogged.expose(request_id, entry.exposed)
        self._count("answers", entry.labels)
        body = b'{"request_id":"%b",%b' % (request_id.encode(), entry.tail)
        return Hit(request_id, body, entry.answer, request.at)

    def ahead(self, request: Request, seconds: float) -> str:
        """Compute a list that nobody has asked for yet and let it wait for so long; return its request id.

        "" where there is a list already, or none worth to wait for.
        """
        if request.forced or self._entry(request) is not None:
            return ""
        assigned, request_id = self._arms.assigned(unit(request, self._user)), str(uuid7())
        watch = Stopwatch(self._clock, assigned.surface.budget_ms / 1000.0)
        outcome, teams = self._listed(request, assigned, request_id, watch)
        if outcome.failed or outcome.rung not in BEST:
            return ""
        answer = self._said(request, replace(outcome, rung=AHEAD), request_id, assigned, teams)
        self._keep(request, seconds, answer, waiting=True)
        return request_id

    def similar(
        self, item_id: str, n: int = 20, *, at: int, categories: tuple[str, ...] = (),
        context: dict[str, str] | None = None, exclude: tuple[str, ...] = (), surface: str = "item",
        explain: bool = False, request_id: str = "",
    ) -> Answer:  # fmt: skip
        """Return what goes with an item: the list of someone who chose just this one."""
        request = Request(
            at=at, n=n, surface=surface, categories=categories, context=context or {},
            exclude=(*exclude, item_id), explain=explain, request_id=request_id,
        )  # fmt: skip
        if item_id not in self.state.columns.slot_of:
            return self._said(request, Outcome("empty", f"item {item_id!r} is not known"), str(uuid7()))
        return self._answer(request, unit(request, self._user), user=User(trail=[item_id]))

    def popular(
        self, n: int = 20, surface: str = "home", category: str = "", context: dict[str, str] | None = None,
        *, at: int, request_id: str = "",
    ) -> Answer:  # fmt: skip
        """Return what is popular on a surface, in a category or in a context, for nobody in particular."""
        categories = (category,) if category else ()
        request = Request(
            at=at, n=n, surface=surface, categories=categories, context=context or {}, request_id=request_id
        )
        return self._answer(request, unit(request, self._user), user=User(), rungs=UNKNOWN)

    def shown(self, served: Answer | Hit) -> tuple[int, Exposed] | None:
        """Return when (ms) and under which experiments a list was shown, None for under none; once per answer."""
        return self._unlogged.shown(served)

    def slate(self, served: Answer | Hit) -> Slate:
        """Return what to log of an answer, with the features its scores came from; once per answer."""
        return self._unlogged.slate(served)

    def _answer(
        self, request: Request, who: Unit, *, user: User | None = None,
        rungs: tuple[str, ...] = (), keep: bool = False,
    ) -> Answer:  # fmt: skip
        assigned = self._arms.assigned(who)
        surface = assigned.surface
        watch = Stopwatch(self._clock, surface.budget_ms / 1000.0)
        request_id = request.request_id or str(uuid7())
        outcome, teams = self._listed(request, assigned, request_id, watch, user=user, rungs=rungs)
        if outcome.failed and keep and (entry := self._entry(request, stale=True)) is not None:
            return self._again(entry, request, outcome.reason)
        answer = self._said(request, outcome, request_id, assigned, teams)
        if keep and answer.items and surface.ttl_s and not outcome.failed:
            self._keep(request, surface.ttl_s, answer)
        watch.lap("answer")
        for stage, seconds in watch.laps.items():
            self._observe(stage, seconds)
        if request.explain:
            said = {"stages": watch.milliseconds(), "experiments": self._arms.reasons(who)}
            return msgspec.structs.replace(answer, **said)
        return answer

    def _listed(
        self, request: Request, assigned: Assigned, seed: str, watch: Stopwatch, *, user: User | None = None,
        rungs: tuple[str, ...] = (),
    ) -> tuple[Outcome, Teams | None]:  # fmt: skip
        """Return the list of a surface, or that of two drafted into one where neither is less than it should be."""
        surfaces = tuple(map(_plain, assigned.interleaved)) if assigned.interleaved else (assigned.surface,)
        factors = None if assigned.held else self._arms.factors(request.surface)
        outcomes = self._ladder.serve(
            request, surfaces, seed=seed, watch=watch, user=user, rungs=rungs, factors=factors
        )
        lists = [one.ranked for one in outcomes if one.ranked is not None and not one.failed]
        if len(lists) < 2:
            return outcomes[0], None
        draft = partial(drafted, lists[0], lists[1], request.n, seed)
        merged = self._arms.guarded("two lists cannot be merged", draft, None)
        return (outcomes[0], None) if merged is None else (replace(outcomes[0], ranked=merged[0]), merged[1])

    def _said(
        self, request: Request, outcome: Outcome, request_id: str, assigned: Assigned | None = None,
        teams: Teams | None = None,
    ) -> Answer:  # fmt: skip
        ranked, user, reason = outcome.ranked, outcome.user, outcome.reason
        items = () if ranked is None else placed(ranked, self.state, user, request, teams)
        items = (*items, *unknown(self.state.columns, request))[: request.n]
        if items and len(items) < request.n:
            reason = "; ".join(filter(None, (reason, f"only {len(items)} items are available")))
        rows = None if ranked is None or ranked.rows is None else ranked.rows[:LOGGED].copy()
        exposed = None
        if assigned is not None and assigned.exposures and not request.forced:
            ask = partial(self._alike, request, assigned, request_id) if assigned.others else None
            found = exposures(assigned, [item.item_id for item in items], teams)
            exposed = Exposed(found, ask, tuple(assigned.others))
        read = None if ranked is None or rows is None else self._read(request, user, ranked.slots[:LOGGED])
        self._unlogged.put(request_id, Beyond(request.at, rows, "", exposed, teams, read))
        if outcome.rung != AHEAD:  # it is counted when it is served
            self._count("answers", {"surface": request.surface, "rung": outcome.rung})
        return Answer(
            request_id=request_id, user_id=request.user_id, surface=request.surface, rung=outcome.rung,
            reason=reason, arms={} if assigned is None else assigned.arms, forced=tuple(request.forced),
            models=ranked.models if ranked else {}, items=items, state=freshness(self.state, user),
            counts=ranked.counts if ranked and request.explain else {},
        )  # fmt: skip

    def _read(self, request: Request, user: User | None, slots: Slots) -> Read:
        """Return what the features of a list were computed from, as it stands in this very moment."""
        tables = self.state.tables
        offset = -1 if user is None or not user.marks else tables.user_offset(user)
        guessed = np.flatnonzero(self.state.vectors.guessed(slots)).tolist()
        return Read(request.at, offset, tables.reached, tuple(guessed), bool(request.session))

    def _alike(self, request: Request, assigned: Assigned, seed: str) -> Collection[str]:
        """Return the experiments whose other arms would have shown the same, as far as can be told."""
        listed = partial(
            self._ladder.serve, request, seed=seed, watch=Stopwatch(self._clock, math.inf),
            factors=self._arms.factors(request.surface),
        )  # fmt: skip
        what = f"what other arms would have shown for request {seed} cannot be told"
        return self._arms.guarded(what, partial(alike, assigned, listed), [])

    def _first(self, entry: Entry, request: Request) -> Answer:
        """Serve a list that has waited: from now on it is one that was asked for."""
        answer = entry.answer
        self._cache.put(request.user_id, _key(request), entry._replace(waiting=False))
        self._unlogged.delay(answer.request_id, request.at)
        self._count("answers", {"surface": request.surface, "rung": AHEAD})
        return answer

    def _again(self, entry: Entry, request: Request, reason: str = "") -> Answer:
        if entry.waiting:
            return self._first(entry, request)
        request_id = str(uuid7())
        self._unlogged.put(request_id, Beyond(request.at, None, entry.answer.request_id, entry.exposed))
        self._count("answers", entry.labels)
        return msgspec.structs.replace(entry.answer, request_id=request_id, rung="cached", reason=reason)

    def acts(self, user_id: str) -> Hashable:
        """Return what stands for everything a user did: while it is the same, so are their lists."""
        return _acts(self._user(user_id))

    def _user(self, user_id: str) -> User | None:
        with suppress(Exception):  # the ladder counts it, and knows what to do without
            return self.state.tables.user(user_id)
        return None

    def _forget(self, user_id: str) -> None:
        """Drop the lists of a user who did something; that they were shown one is nothing they did."""
        if user_id in self._cache:
            self._cache.forget(user_id, self.acts(user_id))

    def _entry(self, request: Request, *, stale: bool = False) -> Entry | None:
        if self._assigner is not self._arms.assigner:  # a list of an arm that was stopped is not served again
            self._cache.clear()
            self._assigner = self._arms.assigner
        return self._cache.get(request.user_id, _key(request), self._clock(), stale=stale)

    def _keep(self, request: Request, seconds: float, answer: Answer, *, waiting: bool = False) -> None:
        said = msgspec.json.encode(msgspec.structs.replace(answer, request_id="", rung="cached"))
        tail = said[len(b'{"request_id":"",') :]
        labels = {"surface": request.surface, "rung": "cached"}
        acts, exposed = self.acts(request.user_id), self._unlogged.exposed.get(answer.request_id)
        entry = Entry(self._clock() + seconds, answer, tail, labels, acts, exposed, waiting)
        self._cache.put(request.user_id, _key(request), entry)


def _plain(surface: Surface) -> Surface:
    """Return a surface that explores nothing: the chances of an interleaved list are those of its draft."""
    return msgspec.structs.replace(surface, explore=Explore(slots=0))


def _acts(user: User | None) -> Hashable:
    """Return what stands for everything a user did: the ids of their last events, and what else changes a list."""
    return None if user is None else (bytes(user.ids), user.erased_at, repr(user.profile))


def _key(request: Request) -> Hashable:
    context = tuple(sorted(request.context.items())) if request.context else ()
    return request.surface, request.n, request.categories, context, request.exclude
