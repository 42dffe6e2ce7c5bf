"""Engine: answers requests for lists, openly degrading, never failing while the process lives.

    full > cached > light > popular_in_context > popular > empty
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

import msgspec
from uuid_utils import uuid7

from api import explain
from api.answers import Answer, Request
from api.asker import who
from api.cache import Cache, Entry
from api.funnel import Funnel, Late, Ranked
from api.stages import Clock, Stopwatch
from api.state import State
from models.experiments import assign, overrides
from models.features import NAMES, Floats
from models.places import Places
from models.scorer import Scorer, light
from models.surfaces import Config, Surface, surface_with
from models.users import User
from streams.errors import Refused
from streams.slates import Shown, Slate

log = logging.getLogger(__name__)
UNLOGGED = 32_768  # answers whose slate nobody has asked for yet

Observe = Callable[[str, float], None]  # stage, seconds
Count = Callable[[str, dict[str, str]], None]  # name, labels


class Hit(NamedTuple):
    """An answer served again from the cache, as bytes that can be sent at once."""

    request_id: str
    body: bytes
    first: Answer
    at: int


class Unlogged(NamedTuple):
    """What a slate holds beyond its answer: the time, the features of each item, the answer it repeats."""

    at: int
    rows: Floats | None = None
    same_as: str = ""


class Engine:
    """Answers from one state and configuration. Not for several threads: scratch memory is shared by all requests.

    `clock` gives seconds for budgets and the cache; `observe` is told what each stage took, `count` what happened.
    """

    def __init__(
        self, state: State, config: Config, clock: Clock = time.perf_counter, *,
        scorer: Scorer | None = None, observe: Observe = lambda _stage, _seconds: None,
        count: Count = lambda _name, _labels: None,
    ) -> None:  # fmt: skip
        self.state, self.config = state, config
        self._clock, self._observe, self._count = clock, observe, count
        self._scorer = light() if scorer is None else scorer
        for surface in config.surfaces.values():
            self._scorer.mix(surface.actions)
        self._models = {"light": self._scorer.version}
        self._cache, self._places = Cache(), Places()
        self._variants: dict[tuple[str, ...], Surface] = {}
        self._unlogged: OrderedDict[str, Unlogged] = OrderedDict()
        state.tables.on_user_change.append(self._cache.forget)

    def recommend(self, request: Request) -> Answer:
        """Return a list for someone; raises Refused for a surface that is not configured."""
        entry = None if request.explain else self._entry(request)
        if entry is not None:
            return self._again(entry, request, "")
        arms = assign(request.user_id, self.config.experiments, request.surface) if request.user_id else {}
        return self._answer(request, self._surface(request.surface, arms), arms, keep=not (request.session or request.explain))

    def cached(self, request: Request) -> Hit | None:
        """Return the answer as bytes if the cache has it: the short way, with nothing computed."""
        entry = None if request.explain else self._entry(request)
        if entry is None:
            return None
        request_id = str(uuid7())
        self._count("answers", entry.labels)
        return Hit(request_id, b'{"request_id":"%b",%b' % (request_id.encode(), entry.tail), entry.answer, request.at)

    def similar(
        self, item_id: str, n: int = 20, *, at: int, categories: tuple[str, ...] = (), context: dict[str, str] | None = None,
        exclude: tuple[str, ...] = (), surface: str = "item", explain: bool = False,
    ) -> Answer:  # fmt: skip
        """Return what goes with an item: the list of someone who chose just this one."""
        request = Request(
            at=at, n=n, surface=surface, categories=categories, context=context or {}, exclude=(*exclude, item_id),
            explain=explain,
        )  # fmt: skip
        if item_id not in self.state.columns.slot_of:
            return self._empty(request, f"item {item_id!r} is not known")
        return self._answer(request, self._surface(surface, {}), {}, User(trail=[item_id]))

    def popular(
        self, n: int = 20, surface: str = "home", category: str = "", context: dict[str, str] | None = None, *, at: int
    ) -> Answer:
        """Return what is popular on a surface, in a category or in a context, for nobody in particular."""
        categories = (category,) if category else ()
        request = Request(at=at, n=n, surface=surface, categories=categories, context=context or {})
        return self._answer(request, self._surface(surface, {}), {}, rungs=("popular_in_context", "popular"))

    def slate(self, served: Answer | Hit) -> Slate:
        """Return what to log of an answer, with the features its scores came from; once per answer."""
        if isinstance(served, Hit):
            return _repeated(served.first, served.request_id, served.at, served.first.request_id)
        more = self._unlogged.pop(served.request_id, Unlogged(0))
        if more.same_as:
            return _repeated(served, served.request_id, more.at, more.same_as)
        rows = [()] * len(served.items) if more.rows is None else [tuple(row) for row in more.rows.tolist()]
        shown = tuple(
            Shown(item.item_id, place, item.score, item.propensity, item.source, row)
            for place, (item, row) in enumerate(zip(served.items, rows, strict=True))
        )
        return Slate(
            request_id=served.request_id, user_id=served.user_id, at=more.at, surface=served.surface, rung=served.rung,
            arms=served.arms, models=served.models, features=() if more.rows is None else NAMES, items=shown,
        )  # fmt: skip

    def _surface(self, name: str, arms: dict[str, str]) -> Surface:
        key = (name, *arms.values())
        surface = self._variants.get(key)
        if surface is None:
            if name not in self.config.surfaces:
                raise Refused(f"surface {name!r} is not configured; there are {', '.join(sorted(self.config.surfaces))}")
            surface = surface_with(self.config.surfaces[name], overrides(arms, self.config.experiments))
            self._variants[key] = surface
        return surface

    def _entry(self, request: Request, *, stale: bool = False) -> Entry | None:
        if request.session:
            return None
        return self._cache.get(request.user_id, _key(request), self._clock(), stale=stale)

    def _again(self, entry: Entry, request: Request, reason: str) -> Answer:
        request_id = str(uuid7())
        self._remember(request_id, Unlogged(request.at, None, entry.answer.request_id))
        self._count("answers", entry.labels)
        return msgspec.structs.replace(entry.answer, request_id=request_id, rung="cached", reason=reason)

    def _remember(self, request_id: str, more: Unlogged) -> None:
        self._unlogged[request_id] = more
        if len(self._unlogged) > UNLOGGED:
            self._unlogged.popitem(last=False)

    def _answer(
        self, request: Request, surface: Surface, arms: dict[str, str], user: User | None = None,
        rungs: tuple[str, ...] = (), *, keep: bool = False,
    ) -> Answer:  # fmt: skip
        """Climb down the ladder until a rung has something to show."""
        watch = Stopwatch(self._clock, surface.budget_ms / 1000.0)
        request_id, reason = str(uuid7()), ""
        funnel = Funnel(self.state, self._scorer, surface, request, request_id, self._places, watch)
        try:
            user = user or who(self.state, request, self.config.actions)
            known = funnel.know(user)
        except Exception:
            log.exception("request %s: the user could not be read", request_id)
            known, reason = False, "the user's state could not be read"
        if not rungs:
            rungs = ("full", "light", "popular_in_context", "popular") if known else ("popular_in_context", "popular")
            reason = reason or ("" if known else "nothing is known of this user yet")
        for rung in rungs:
            try:
                ranked: Ranked = getattr(funnel, rung)()
            except Late:
                reason = f"the budget of {surface.budget_ms:g} ms was spent"
            except Exception:
                log.exception("request %s: rung %s failed", request_id, rung)
                self._count("failures", {"rung": rung})
                reason = f"{rung} failed"
            else:
                if len(ranked.slots):
                    break
                continue
            if keep and (entry := self._entry(request, stale=True)) is not None:
                return self._again(entry, request, reason)
        else:
            return self._empty(request, reason if "failed" in reason else "no available item matches")
        answer = self._said(request, arms, user, request_id, rung, reason, ranked)
        if keep and surface.ttl_s:
            self._keep(request, surface.ttl_s, answer)
        watch.lap("answer")
        for stage, seconds in watch.laps.items():
            self._observe(stage, seconds)
        self._count("answers", {"surface": request.surface, "rung": rung})
        return msgspec.structs.replace(answer, stages=watch.milliseconds()) if request.explain else answer

    def _said(
        self, request: Request, arms: dict[str, str], user: User | None, request_id: str, rung: str, reason: str,
        ranked: Ranked,
    ) -> Answer:  # fmt: skip
        if len(ranked.slots) < request.n:
            reason = reason or f"only {len(ranked.slots)} items are available"
        self._remember(request_id, Unlogged(request.at, ranked.rows))
        return Answer(
            request_id=request_id, user_id=request.user_id, surface=request.surface, rung=rung, reason=reason, arms=arms,
            models=self._models if rung == "full" else {}, items=explain.placed(ranked, self.state.columns, user, request),
            state=explain.freshness(self.state, user), counts=ranked.counts if request.explain else {},
        )  # fmt: skip

    def _keep(self, request: Request, seconds: float, answer: Answer) -> None:
        said = msgspec.json.encode(msgspec.structs.replace(answer, request_id="", rung="cached"))
        tail = said[len(b'{"request_id":"",') :]
        labels = {"surface": request.surface, "rung": "cached"}
        self._cache.put(request.user_id, _key(request), Entry(self._clock() + seconds, answer, tail, labels))

    def _empty(self, request: Request, reason: str) -> Answer:
        self._count("answers", {"surface": request.surface, "rung": "empty"})
        return Answer(
            request_id=str(uuid7()), user_id=request.user_id, surface=request.surface, rung="empty", reason=reason,
            state=explain.freshness(self.state, None),
        )  # fmt: skip


def _key(request: Request) -> Hashable:
    context = tuple(sorted(request.context.items())) if request.context else ()
    return request.surface, request.n, request.categories, context, request.exclude


def _repeated(answer: Answer, request_id: str, at: int, same_as: str) -> Slate:
    return Slate(
        request_id=request_id, user_id=answer.user_id, at=at, surface=answer.surface, rung="cached", arms=answer.arms,
        models=answer.models, same_as=same_as,
    )  # fmt: skip
