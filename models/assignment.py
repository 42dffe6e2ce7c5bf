"""Assignment: who gets which arm of which experiment, decided by hashes and by nothing else.

Each experiment hashes with its own seed, so that two of them split units independently; experiments of one layer have
slices of it that do not overlap, so that no unit is in two of them (Tang, Agarwal, O'Brien and Meyer 2010, "Overlapping
experiment infrastructure"; Kohavi, Tang and Xu 2020, "Trustworthy online controlled experiments", chapter 4).
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from models.features import Floats
from models.surfaces import Config, Explore, Surface, surface_with
from streams.errors import Refused
from streams.experiments import BOTH, HOLDOUT, Definition, Known
from streams.exposures import Exposure

ITEMS = 1 << 20  # factors of items remembered
_WHOLE = 1 << 64
_NOTHING: Mapping[str, Any] = {}


class Unit(NamedTuple):
    """Whom a list is for, as far as experiments ask; an empty `id` takes part in nothing.

    `events` counts what the user did, `before` are the trials they are in (version, arm). `forced` are arms for a test,
    which are never exposed. `session` is the session's id where it is not `id` itself.
    """

    id: str
    context: Mapping[str, str] = _NOTHING
    surface: str = "home"
    events: int = 0
    profile: Mapping[str, Any] = _NOTHING
    before: Mapping[str, tuple[int, str]] = _NOTHING
    forced: Mapping[str, str] = _NOTHING
    session: str = ""


class Assigned(NamedTuple):
    """What a unit gets on a surface: shared between units, so not to be changed.

    `exposures` are of those experiments in which another arm's surface differs. `interleaved` are the two surfaces
    whose lists are merged, for the experiment `between`. `others` holds, by experiment, the surfaces that its other
    arms would have given, where exposure depends on what they would have shown. `held`: in the global holdout.
    """

    arms: dict[str, str]
    surface: Surface
    exposures: tuple[Exposure, ...] = ()
    interleaved: tuple[Surface, Surface] | None = None
    between: str = ""
    others: Mapping[str, tuple[Surface, ...]] = _NOTHING
    held: bool = False


class Experiments(Protocol):
    """Where the engine finds the assigner of the moment; api/experiments.py follows the topic."""

    @property
    def assigner(self) -> "Assigner":
        """The assigner; another one as soon as something changes."""


class Fixed(NamedTuple):
    """Experiments that do not change."""

    assigner: "Assigner"


def bucket(seed: str, unit: str) -> float:
    """Return where a unit stands between 0 and 1; equal seeds order all units alike, others independently.

    >>> bucket("a", "u") == bucket("a", "u") != bucket("b", "u")
    True
    """
    return _hasher(seed)(unit.encode())[0] / _WHOLE


class Assigner:
    """Assigns what is `known` of experiments at `now` (ms); until a step of a ramp at `until` nothing changes.

    `over` is laid over every surface, above all arms.
    """

    def __init__(self, known: Known, config: Config, now: int, over: Mapping[str, Any] = _NOTHING) -> None:
        self.known = known
        self._config, self._over = config, over
        self._holdout, self._held = _hasher(f"{HOLDOUT}/{known.holdout.seed}"), known.holdout.share * _WHOLE
        running = [one for record in known.records.values() if (one := record.at(now))]
        running.sort(key=lambda one: one.key)
        self._of = {one.key: one for one in running}
        self.until = min((step.at for one in running for step in one.ramp if step.at > now), default=None)
        plans = [_Plan(one, one.share(now)) for one in running if one.unit != "item"]
        self._plans = {
            name: [plan for plan in plans if not plan.surfaces or name in plan.surfaces]
            for name in config.surfaces
        }
        items = [_Plan(one, one.share(now)) for one in running if one.unit == "item"]
        self._factors = {
            name: _Factors([plan for plan in items if not plan.surfaces or name in plan.surfaces])
            for name in config.surfaces
        }
        self._ready: dict[tuple[Any, ...], Assigned] = {}

    def assign(self, unit: Unit) -> Assigned:
        """Return what a unit gets; raises Refused for a surface that is not configured and for an arm that is not."""
        plans = self._plans.get(unit.surface)
        if plans is None:
            known = ", ".join(sorted(self._plans))
            raise Refused(f"surface {unit.surface!r} is not configured; there are {known}")
        for key, arm in unit.forced.items():
            self._check_forced(key, arm)
        who = unit.id.encode()
        if who and self._held and not unit.forced and self._holdout(who)[0] < self._held:
            return self._get(unit.surface, (), held=True)
        arms: list[tuple[str, str]] = []
        places: dict[str, int] = {}
        merged = False
        for plan in plans:
            if unit.forced and plan.key in unit.forced:
                arm = unit.forced[plan.key]
            else:
                arm = plan.arm(unit, who, places) if who else ""
            if arm and not (merged and arm == BOTH):
                merged = merged or arm == BOTH
                arms.append((plan.key, arm))
        return self._get(unit.surface, tuple(arms), tuple(unit.forced))

    def item_factors(self, items: Sequence[str], surface: str) -> Floats | None:
        """Return the factor on each item's score, float32 (n,), None where no item is tried on the surface."""
        factors = self._factors[surface]
        if not factors.plans:
            return None
        if len(factors) > ITEMS:
            factors.clear()
        return np.fromiter(map(factors.__getitem__, items), dtype=np.float32, count=len(items))

    def _get(
        self, surface: str, arms: tuple[tuple[str, str], ...], forced: tuple[str, ...] = (), *, held: bool = False
    ) -> Assigned:  # fmt: skip
        key = (surface, arms, forced, held)
        found = self._ready.get(key)
        if found is None:
            found = self._ready[key] = self._made(surface, dict(arms), forced, held=held)
        return found

    def _made(self, name: str, arms: dict[str, str], forced: tuple[str, ...], *, held: bool) -> Assigned:
        surface = self._surface(name, arms)
        if held:
            explore = Explore(slots=0, epsilon=0.0)
            return Assigned(arms, msgspec.structs.replace(surface, explore=explore), held=True)
        exposures, others = [], {}
        between = next((key for key, arm in arms.items() if arm == BOTH), "")
        for key, arm in arms.items():
            tried = self._of[key]
            every = [self._surface(name, {**arms, key: other}) for other in tried.arms]
            if key in forced or all(one == every[0] for one in every):
                continue
            exposures.append(Exposure(key, tried.version, arm, tried.measures))
            if tried.counterfactual and arm != BOTH:
                others[key] = tuple(one for one in every if one != surface)
        interleaved = None
        if between:
            tried = self._of[between]
            second = next(arm for arm in tried.arms if arm != tried.control)
            interleaved = (
                self._surface(name, {**arms, between: tried.control}),
                self._surface(name, {**arms, between: second}),
            )
            surface = interleaved[0]
        return Assigned(arms, surface, tuple(exposures), interleaved, between, others)

    def _surface(self, name: str, arms: Mapping[str, str]) -> Surface:
        surface = self._config.surfaces[name]
        for key, arm in arms.items():
            if arm != BOTH:
                surface = surface_with(
                    surface, self._of[key].arms[arm].set, f"experiments.{key}.arms.{arm}.set"
                )
        return surface_with(surface, self._over)

    def _check_forced(self, key: str, arm: str) -> None:
        tried = self._of.get(key)
        if tried is None or tried.unit == "item":
            raise Refused(
                f"no running experiment is called {key!r}; there are: {', '.join(self._of) or 'none'}"
            )
        if arm not in (tried.arms if tried.kind == "ab" else (BOTH,)):
            known = ", ".join(tried.arms) if tried.kind == "ab" else BOTH
            raise Refused(f"experiment {key!r} has no arm {arm!r}; it has {known}")


class _Plan:
    """An experiment as it is asked: who takes part, and where the arms begin and end, between 0 and 2^64."""

    def __init__(self, tried: Definition, share: float) -> None:
        self.key, self.surfaces, self._unit, self._tried = tried.key, tried.surfaces, tried.unit, tried
        self._where = tried.where if tried.where != type(tried.where)() else None
        self._hash = _hasher(tried.seed or tried.key)
        self._layer = f"{tried.unit}/{tried.layer}" if tried.layer else ""
        self._layer_hash = _hasher(f"layer/{tried.layer}")
        self._from, self._to = (int(end * _WHOLE) for end in tried.slice)
        self._share = int(share * _WHOLE)
        self._both, self._sticky = tried.kind == "interleaved", tried.sticky
        weighed = {name: arm.weight for name, arm in tried.arms.items() if arm.weight}
        total = sum(weighed.values())
        self.names = list(weighed)
        self._bounds = [int(end / total * _WHOLE) for end in accumulate(weighed.values())][:-1]

    def arm(self, unit: Unit, who: bytes, places: dict[str, int]) -> str:
        """Return the arm of a unit, "" outside; `places` remembers where the unit stands in each layer."""
        if self._where is not None and not self._concerns(unit):
            return ""
        if self._unit == "session" and unit.session:
            who = unit.session.encode()
        if self._layer:
            place = places.get(self._layer)
            if place is None:
                place = places[self._layer] = self._layer_hash(who)[0]
            if not self._from <= place < self._to:
                return ""
        arm = self.draw(who)
        if self._sticky and arm and self.key in unit.before:
            kept = unit.before[self.key][1]
            return kept if kept in self.names else arm
        return arm

    def draw(self, who: bytes) -> str:
        """Return the arm the hash draws, "" for a unit that the ramp has not reached."""
        place, turn = self._hash(who)
        if turn >= self._share:
            return ""
        return BOTH if self._both else self.names[bisect_right(self._bounds, place)]

    def boost(self, item: str) -> float:
        """Return the factor that the arm of an item sets."""
        arm = self.draw(item.encode())
        return float(self._tried.arms[arm].set.get("boost", 1.0)) if arm else 1.0

    def _concerns(self, unit: Unit) -> bool:
        where = self._where
        assert where is not None
        return (
            unit.events >= where.min_events
            and (where.max_events is None or unit.events <= where.max_events)
            and all(unit.context.get(name) in values for name, values in where.context.items())
            and all(unit.profile.get(name) in values for name, values in where.profile.items())
        )


class _Factors(dict[str, float]):
    """The product of what an item's arms set as its boost, computed when it is first asked for."""

    def __init__(self, plans: list[_Plan]) -> None:
        super().__init__()
        self.plans = plans

    def __missing__(self, item: str) -> float:
        factor = 1.0
        for plan in self.plans:
            factor *= plan.boost(item)
        self[item] = factor
        return factor


def _hasher(seed: str) -> Callable[[bytes], tuple[int, int]]:
    """Return a hash of a unit to two independent numbers between 0 and 2^64."""
    key = blake2b(seed.encode(), digest_size=16).digest()

    def hashed(unit: bytes) -> tuple[int, int]:
        digest = int.from_bytes(blake2b(unit, digest_size=16, key=key).digest(), "big")
        return digest >> 64, digest & 0xFFFF_FFFF_FFFF_FFFF

    return hashed
