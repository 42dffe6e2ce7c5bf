"""Assignment: who gets which arm of which experiment, decided by hashes and by nothing else.

Each experiment hashes with its own seed, so that two of them split units independently; experiments of one layer have
slices of it that do not overlap, so that no unit is in two of them (Tang, Agarwal, O'Brien and Meyer 2010, "Overlapping
experiment infrastructure"; Kohavi, Tang and Xu 2020, "Trustworthy online controlled experiments", chapter 4).
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from models.features import Floats
from models.surfaces import Config, Explore, Surface, surface_with
from models.trials import standing
from models.users import SESSION_GAP, User
from streams.errors import Refused, SettingsError
from streams.experiments import BOTH, HOLDOUT, Definition, Known, Where
from streams.exposures import Exposure

ITEMS = 1 << 20  # factors of items remembered
COMBINATIONS = 4096  # of arms remembered
HELD = "in the global holdout"
_WHOLE = 1 << 64
_PAIR: Callable[[bytes], tuple[int, int]] = Struct(">QQ").unpack
NOTHING: Mapping[str, Any] = {}


class Unit(NamedTuple):
    """Whom a list is for, as far as experiments ask; an empty `id` takes part in nothing.

    `events` counts what the user did, `before` are the trials they are in (version, arm). `forced` are arms for a test,
    which are never exposed. `session` is the session's id where it is not `id` itself.
    """

    id: str
    context: Mapping[str, str] = NOTHING
    surface: str = "home"
    events: int = 0
    profile: Mapping[str, Any] = NOTHING
    before: Mapping[str, tuple[int, str]] = NOTHING
    forced: Mapping[str, str] = NOTHING
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
    others: Mapping[str, tuple[Surface, ...]] = NOTHING
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


def unit_of(
    who: str, user: User | None, now: int, context: Mapping[str, str], surface: str,
    forced: Mapping[str, str] = NOTHING,
) -> Unit:  # fmt: skip
    """Return the unit that a user is at `now` (ms), by their row; None is someone of whom nothing is known.

    A session is named by when it began, or by the end of the one before it while nothing happened in it yet.
    """
    if user is None:
        return Unit(who, context, surface, forced=forced)
    begun, last, _ = user.session
    session = f"{who}@{begun if now - last <= SESSION_GAP else last + SESSION_GAP}"
    events, profile = sum(user.totals.values()), user.profile or NOTHING
    return Unit(who, context, surface, events, profile, standing(user.trials), forced, session)


def arm_of_item(tried: Definition, now: int) -> Callable[[str], str]:
    """Return what tells the arm of an item in an experiment on items at `now` (ms), "" for one that takes no part."""
    plan = _Plan(tried, tried.share(now))
    return lambda item: plan.draw(item.encode())


class Assigner:
    """Assigns what is `known` of experiments at `now` (ms); until a step of a ramp at `until` nothing changes.

    `over` is laid over every surface, above all arms. What the configuration has no place for is `refused`, with the
    reason, and takes no part. Nobody takes part in a draft either, but its arms can be forced.
    """

    def __init__(self, known: Known, config: Config, now: int, over: Mapping[str, Any] = NOTHING) -> None:
        self.known, self.refused = known, dict[str, str]()
        self._config, self._over = config, over
        self._holdout, self._held = _hasher(f"{HOLDOUT}/{known.holdout.seed}"), known.holdout.share * _WHOLE
        self._of: dict[str, Definition] = {}
        every: list[_Plan] = []
        for key, record in sorted(known.records.items()):
            running = record.at(now)
            tried = running or (record.current if record.state == "draft" else None)
            if tried is not None and self._fits(tried):
                self._of[key] = tried
                every += [_Plan(tried, tried.share(now))] if running else []
        steps = [step.at for plan in every for step in plan.tried.ramp]
        self.until = min((at for at in steps if at > now), default=None)
        self._plans, self._factors = {}, {}
        for name in config.surfaces:
            here = [plan for plan in every if not plan.tried.surfaces or name in plan.tried.surfaces]
            self._plans[name] = [plan for plan in here if plan.tried.unit != "item"]
            self._factors[name] = _Factors([plan for plan in here if plan.tried.unit == "item"])
        self._ready: dict[tuple[Any, ...], Assigned] = {}

    def assign(self, unit: Unit) -> Assigned:
        """Return what a unit gets; raises Refused for a surface that is not configured and for an arm that is not."""
        arms: list[tuple[str, str]] = []
        held = False
        for key, arm, why in self.met(unit):
            if arm:
                arms.append((key, arm))
            elif why == HELD:
                held = True
                break
        return self._get(unit, tuple(arms), held=held)

    def met(self, unit: Unit) -> Iterator[tuple[str, str, str]]:
        """Yield each experiment of the surface with the unit's arm, "" outside of it, and why."""
        plans = self._plans.get(unit.surface)
        if plans is None:
            raise Refused(
                f"surface {unit.surface!r} is not configured; there are {', '.join(sorted(self._plans))}"
            )
        forced = unit.forced
        for key, arm in forced.items():
            self._check_forced(key, arm, unit.surface)
            yield key, arm, "forced"
        who = unit.id.encode()
        if self._held and who and not forced and self._holdout(who)[0] < self._held:
            yield HOLDOUT, "", HELD
            return
        places: dict[str, int] = {}
        merged = BOTH in forced.values()
        for plan in plans:
            if forced and plan.key in forced:
                continue
            arm, why = plan.arm(unit, who, places) if who else ("", "nobody is known")
            if arm == BOTH:
                if merged:
                    arm, why = "", "another interleaved experiment came before"
                merged = True
            yield plan.key, arm, why

    def item_factors(self, items: Sequence[str], surface: str) -> Floats | None:
        """Return the factor on each item's score, float32 (n,), None where no item is tried on the surface."""
        factors = self._factors[surface]
        if not factors.plans:
            return None
        if len(factors) > ITEMS:
            factors.clear()
        return np.fromiter(map(factors.__getitem__, items), dtype=np.float32, count=len(items))

    def _get(self, unit: Unit, arms: tuple[tuple[str, str], ...], *, held: bool) -> Assigned:
        key = (unit.surface, arms, tuple(unit.forced), held)
        found = self._ready.get(key)
        if found is None:
            if len(self._ready) >= COMBINATIONS:
                self._ready.clear()
            found = self._ready[key] = self._made(unit.surface, dict(arms), unit.forced, held=held)
        if not (unit.session and found.exposures):
            return found
        return found._replace(
            exposures=tuple(
                msgspec.structs.replace(one, unit=unit.session)
                if self._of[one.experiment].unit == "session" else one
                for one in found.exposures
            )
        )  # fmt: skip

    def _made(self, name: str, arms: dict[str, str], forced: Collection[str], *, held: bool) -> Assigned:
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

    def _fits(self, tried: Definition) -> bool:
        surfaces = self._config.surfaces
        try:
            for name in tried.surfaces or surfaces:
                if (below := surfaces.get(name)) is None:
                    self.refused[tried.key] = f"surface {name!r} is not configured"
                    return False
                for arm, one in tried.arms.items() if tried.unit != "item" else ():
                    surface_with(below, one.set, f"arms.{arm}.set")
        except SettingsError as error:
            self.refused[tried.key] = str(error)
            return False
        return True

    def _check_forced(self, key: str, arm: str, surface: str) -> None:
        tried = self._of.get(key)
        if tried is None or tried.unit == "item":
            known = ", ".join(one for one in self._of if self._of[one].unit != "item") or "none"
            raise Refused(f"no experiment that runs or is a draft is called {key!r}; there are: {known}")
        if tried.surfaces and surface not in tried.surfaces:
            raise Refused(f"experiment {key!r} is not on {surface!r}, but on {', '.join(tried.surfaces)}")
        arms = [*tried.arms, BOTH] if tried.kind == "interleaved" else list(tried.arms)
        if arm not in arms:
            raise Refused(f"experiment {key!r} has no arm {arm!r}; it has {', '.join(arms)}")


class _Plan:
    """An experiment as it is asked: who takes part, and where the arms begin and end, between 0 and 2^64."""

    def __init__(self, tried: Definition, share: float) -> None:
        self.key, self.tried = tried.key, tried
        self._targets = tried.where != Where()
        self._session = tried.unit == "session"
        self._layer, self._layer_hash = tried.layer, _hasher(f"layer/{tried.layer}")
        self._from, self._to = (int(end * _WHOLE) for end in tried.slice)
        self._hash, self._share = _hasher(tried.seed or tried.key), int(share * _WHOLE)
        weights = {name: arm.weight for name, arm in tried.arms.items() if arm.weight}
        total = sum(weights.values())
        self._names = [BOTH] if tried.kind == "interleaved" else list(weights)
        ends = [int(end / total * _WHOLE) for end in accumulate(weights.values())]
        self._ends = [] if tried.kind == "interleaved" else ends[:-1]

    def arm(self, unit: Unit, who: bytes, places: dict[str, int]) -> tuple[str, str]:
        """Return the arm of a unit, "" outside, and why; `places` remembers where it stands in each layer."""
        if self._targets and not self._concerns(unit):
            return "", "not targeted"
        if self._session and unit.session:
            who = unit.session.encode()
        if self._layer:
            place = places.get(self._layer)
            if place is None:
                place = places[self._layer] = self._layer_hash(who)[0]
            if not self._from <= place < self._to:
                return "", "outside its slice of the layer"
        arm = self.draw(who)
        if not arm:
            return "", "the ramp is not there yet"
        if self.tried.sticky and self.key in unit.before:
            version, kept = unit.before[self.key]
            if kept in self._names:
                return kept, f"kept from version {version}"
        return arm, "drawn by the hash"

    def draw(self, who: bytes) -> str:
        """Return the arm the hash draws, "" for a unit that the ramp has not reached."""
        place, turn = self._hash(who)
        return self._names[bisect_right(self._ends, place)] if turn < self._share else ""

    def boost(self, item: str) -> float:
        """Return the factor that the arm of an item sets."""
        arm = self.draw(item.encode())
        return float(self.tried.arms[arm].set.get("boost", 1.0)) if arm else 1.0

    def _concerns(self, unit: Unit) -> bool:
        where = self.tried.where
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
    seeded = blake2b(digest_size=16, key=blake2b(seed.encode(), digest_size=16).digest())

    def hashed(unit: bytes) -> tuple[int, int]:
        hashing = seeded.copy()
        hashing.update(unit)
        return _PAIR(hashing.digest())

    return hashed
