"""Assignment: who gets which arm of which experiment, and the surface that the arms make of a configured one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from models.features import Floats
from models.lots import WHOLE, Factors, Lot, hasher
from models.surfaces import Config, Explore, Surface, surface_with
from models.units import NOTHING, Unit
from streams.errors import Refused, SettingsError
from streams.experiments import BOTH, HOLDOUT, Definition, Known
from streams.exposures import Exposure

ITEMS = 1 << 20  # factors of items remembered
COMBINATIONS = 4096  # of arms remembered
HELD = "in the global holdout"


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


class Assigner:
    """Assigns what is `known` of experiments at `now` (ms); until a step of a ramp at `until` nothing changes.

    `over` is laid over every surface, above all arms. What the configuration has no place for is `refused`, with the
    reason, and takes no part. Nobody takes part in a draft either, but its arms can be forced.
    """

    def __init__(self, known: Known, config: Config, now: int, over: Mapping[str, Any] = NOTHING) -> None:
        self.known, self.refused = known, dict[str, str]()
        self._config, self._over = config, over
        self._holdout, self._held = hasher(f"{HOLDOUT}/{known.holdout.seed}"), known.holdout.share * WHOLE
        self._of: dict[str, Definition] = {}
        every: list[Lot] = []
        for key, record in sorted(known.records.items()):
            running = record.at(now)
            tried = running or (record.current if record.state == "draft" else None)
            if tried is None:
                continue
            if reason := _misfit(tried, config):
                self.refused[key] = reason
                continue
            self._of[key] = tried
            every += [Lot(tried, tried.share(now))] if running else []
        steps = [step.at for lot in every for step in lot.tried.ramp]
        self.until = min((at for at in steps if at > now), default=None)
        self._lots, self._factors = {}, {}
        for name in config.surfaces:
            here = [lot for lot in every if not lot.tried.surfaces or name in lot.tried.surfaces]
            self._lots[name] = [lot for lot in here if lot.tried.unit != "item"]
            self._factors[name] = Factors([lot for lot in here if lot.tried.unit == "item"])
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
        lots = self._lots.get(unit.surface)
        if lots is None:
            raise Refused(
                f"surface {unit.surface!r} is not configured; there are {', '.join(sorted(self._lots))}"
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
        for lot in lots:
            if forced and lot.key in forced:
                continue
            arm, why = lot.arm(unit, who, places) if who else ("", "nobody is known")
            if arm == BOTH:
                if merged:
                    arm, why = "", "another interleaved experiment came before"
                merged = True
            yield lot.key, arm, why

    def item_factors(self, items: Sequence[str], surface: str) -> Floats | None:
        """Return the factor on each item's score, float32 (n,), None where no item is tried on the surface."""
        factors = self._factors[surface]
        if not factors.lots:
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


def _misfit(tried: Definition, config: Config) -> str:
    """Return why a definition cannot be run, "" for one that can: it may be older than the configuration."""
    arms = ", ".join(tried.arms) or "none"
    if not any(arm.weight for arm in tried.arms.values()):
        return f"no arm has a weight; its arms are {arms}"
    if tried.kind == "interleaved" and (len(tried.arms) != 2 or tried.control not in tried.arms):
        return f"its arms {arms} are not the control {tried.control!r} and another"
    for name in tried.surfaces or config.surfaces:
        if name not in config.surfaces:
            return f"surface {name!r} is not configured"
        for arm, one in tried.arms.items() if tried.unit != "item" else ():
            try:
                surface_with(config.surfaces[name], one.set, f"arms.{arm}.set")
            except SettingsError as error:
                return str(error)
    return ""
