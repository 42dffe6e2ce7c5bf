"""Ladder: what is served when the best cannot be; a step down is said, counted and logged, never an error.

boosted > full > cached > light > popular_in_context > popular > empty
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from api.answers import Request
from api.asker import who
from api.funnel import Factors, Funnel, Late, Ranked
from api.rankers import Rankers
from api.stages import Stopwatch
from api.state import State
from models.exploration import Draw, by_hash
from models.places import Places
from models.scorer import Scorer
from models.surfaces import Config, Surface
from models.users import User
from streams.errors import Unavailable

log = logging.getLogger(__name__)
BOOSTED = "boosted"  # above the others, on surfaces of the full tier
BEST = (BOOSTED, "full")  # worth to be computed ahead
KNOWN = ("full", "light", "popular_in_context", "popular")
UNKNOWN = ("popular_in_context", "popular")  # nothing to be personal by: exploration does the rest

Count = Callable[[str, dict[str, str]], None]  # name, labels


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request came to; `failed` tells that a better rung would have served but for time or a fault."""

    rung: str
    reason: str = ""
    ranked: Ranked | None = None
    user: User | None = None
    failed: bool = False


class Ladder:
    """Serves each request from the highest rung that has something to show."""

    def __init__(
        self, state: State, config: Config, scorer: Scorer | None, count: Count, rankers: Rankers,
        draw: Draw = by_hash,
    ) -> None:  # fmt: skip
        self._state, self._config, self._scorer, self._count = state, config, scorer, count
        self._rankers, self._draw = rankers, draw
        self._places = Places()

    def serve(
        self, request: Request, surfaces: tuple[Surface, ...], *, seed: str, watch: Stopwatch,
        user: User | None = None, rungs: tuple[str, ...] = (), factors: Factors | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Return the best that can be shown under each surface, from the same candidates where that is possible.

        `user` and `rungs` stand in for the request's own; `factors` are those of items that are tried themselves.
        """
        state = self._state
        funnel = Funnel(
            state, surfaces[0], request, seed=seed, places=self._places, watch=watch, draw=self._draw,
            factors=factors,
        )  # fmt: skip
        found = ranked = False
        reason = ""
        try:
            user = who(state, request, self._config.actions) if user is None else user
            found, ranked = funnel.know(user)
            if not (ranked or rungs):
                what = "of what this user chose" if found else "of this user"
                reason = f"nothing is known {what} yet"
        except Exception:
            log.exception("request %s: the user cannot be read", seed)
            self._count("failures", {"rung": "user"})
            reason = "the user cannot be read"
        outcomes = []
        for surface in surfaces:
            funnel.turn(surface)
            climb = rungs or (KNOWN if ranked else KNOWN[1:] if found else UNKNOWN)
            if ranked and not rungs and surface.tier == "full":
                climb = (BOOSTED, *climb)
            said, outcome = reason, self._climb(funnel, climb, surface, seed)
            if outcome.ranked is None and surface.seen == "exclude" and user is not None and user.seen:
                again = msgspec.structs.replace(surface, seen="keep")  # better seen than blank
                funnel.turn(again)
                outcome = self._climb(funnel, ("popular",), again, seed)
                said = "nothing is left that was not seen"
            outcomes.append(
                Outcome(outcome.rung, outcome.reason or said, outcome.ranked, user, outcome.failed)
            )
        return outcomes

    def _climb(self, funnel: Funnel, rungs: tuple[str, ...], surface: Surface, seed: str) -> Outcome:
        reason, failed = "", False
        for rung in rungs:
            try:
                ranked = self._ranked(funnel, rung, surface.model)
            except Unavailable as error:
                reason = str(error)
            except Late:
                reason, failed = f"the budget of {surface.budget_ms:g} ms was spent", True
                self._count("late", {"rung": rung})
            except Exception:
                log.exception("request %s: rung %s failed", seed, rung)
                reason, failed = f"{rung} failed", True
                self._count("failures", {"rung": rung})
            else:
                if len(ranked.slots):
                    return Outcome(rung, reason, ranked, failed=failed)
        return Outcome("empty", reason or "no item is available", failed=failed)

    def _ranked(self, funnel: Funnel, rung: str, model: str) -> Ranked:
        """Return what a rung has to show; raises Late, Unavailable where no ranker is live, and what breaks."""
        scored = partial(self._rankers.scored, model)
        if rung == BOOSTED:
            ranker = self._rankers.live(model)
            if ranker is None:
                raise Unavailable(f"no version of {model!r} is live")
            return funnel.boosted(ranker, scored)
        if rung == "full":
            return funnel.full(self._scorer or self._state.lore.scorer, scored)
        ranked: Ranked = getattr(funnel, rung)()
        return ranked
