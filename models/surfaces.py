"""Surfaces: one configuration per place where a list is shown, with the actions it speaks of.

A file is laid over the packaged `default.toml`, key by key, so that it says only what differs.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from models.actions import DEFAULTS
from streams.errors import SettingsError

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0, le=5000)]
T = TypeVar("T")


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many candidates each source may bring."""

    repeat: Count = 0
    related: Count = 300
    ann: Count = 400
    similar: Count = 200
    fresh: Count = 50
    popular: Count = 300
    trending: Count = 150


class Explore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which places of a list try something else (models/exploration.py), and how often.

    `epsilon` is the chance of a place of that kind, `temperature` how far plackett-luce strays, in standard deviations
    of the scores. On average at most a share `budget` of a list's places explores. An item is fresh until it was looked
    at `until` times.
    """

    kind: Literal["epsilon", "thompson", "plackett-luce"] = "epsilon"
    slots: Annotated[int, Meta(ge=0, le=9)] = 1
    epsilon: Share = 0.1
    temperature: Annotated[float, Meta(ge=0.001, le=100.0)] = 0.2
    budget: Share = 0.1
    until: Annotated[float, Meta(ge=0.0, le=1_000_000.0)] = 200.0


class Ahead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose lists are computed before they are asked for: a share of the most active users; none by default.

    `ttl_s` is how long such a list waits for its request.
    """

    share: Share = 0.0
    ttl_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 60.0


class Surface(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place where a list is shown.

    `actions` weigh the predicted actions in the score of the light `tier`; with `full` the live version of `model`
    in the registry scores, and where there is none the light one. `seen` says what becomes of items the user acted on;
    the categories in `exempt` are not concerned (groceries are bought again). `max_per_category` holds for
    the first ten places (0: no limit), `diversity` is 1 - lambda of MMR. `boosts` multiply scores by
    category, `pins` give items a place (1 is the first). `ttl_s` bounds an answer's age in the cache,
    `budget_ms` the time it may take, `ahead` says whose answers are there before they are asked for. `trust` is what
    the client's own order of the candidates it sent counts beside ours, 0..1.
    """

    quotas: Quotas = Quotas()
    candidates: Annotated[int, Meta(ge=10, le=5000)] = 1000
    actions: dict[str, float] = msgspec.field(default_factory=lambda: {"click": 1.0})
    ttl_s: Annotated[float, Meta(ge=0.0, le=3600.0)] = 5.0
    budget_ms: Annotated[float, Meta(gt=0.0, le=10_000.0)] = 25.0
    tier: Literal["light", "full"] = "light"
    model: str = "ranker"
    seen: Literal["exclude", "demote", "keep"] = "exclude"
    exempt: tuple[str, ...] = ()
    max_per_category: Annotated[int, Meta(ge=0, le=10)] = 3
    diversity: Share = 0.0
    explore: Explore = Explore()
    boosts: dict[str, float] = {}
    pins: dict[str, int] = {}
    trust: Share = 0.0
    ahead: Ahead = Ahead()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a configuration file may say."""

    actions: dict[str, float]
    surfaces: dict[str, Surface]


def load(path: Path | str | None = None) -> Config:
    """Return the configuration of a TOML file laid over the default one.

    Raises SettingsError, naming key and value.

    >>> sorted(load().surfaces)
    ['cart', 'email', 'home', 'item', 'search']
    """
    said = tomllib.loads(resources.files("models").joinpath("default.toml").read_text())
    if path:
        try:
            said = _laid_over(said, tomllib.loads(Path(path).read_text()))
        except OSError as error:
            raise SettingsError(f"REFOLD_CONFIG={str(path)!r} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not TOML: {error}") from None
    return parse(said)


def parse(said: Mapping[str, Any]) -> Config:
    """Return the configuration of parsed TOML; raises SettingsError, naming key and value."""
    for key in said:
        if key not in Config.__struct_fields__:
            raise SettingsError(f"{key}={said[key]!r}: unknown; a configuration has actions and surfaces")
    actions = _convert("actions", {**DEFAULTS, **_table("actions", said)}, dict[str, float])
    _check_numbers("actions", actions, -1000.0)
    surfaces = {name: surface_of(f"surfaces.{name}", raw) for name, raw in _table("surfaces", said).items()}
    for name, surface in surfaces.items():
        check_actions(f"surfaces.{name}", surface, actions)
    return Config(actions, surfaces)


def surface_of(where: str, said: Any) -> Surface:
    """Return the surface of a parsed table; `where` names it in a SettingsError."""
    surface = _convert(where, said, Surface)
    _check_numbers(f"{where}.actions", surface.actions, -1000.0)
    _check_numbers(f"{where}.boosts", surface.boosts, 0.0)
    for item, place in surface.pins.items():
        if not 1 <= place <= 100:
            raise SettingsError(f"{where}.pins.{item}={place} is outside 1..100")
    return surface


def surface_with(surface: Surface, overrides: Mapping[str, Any], where: str = "overrides") -> Surface:
    """Return a surface with some parameters replaced; raises SettingsError."""
    return surface_of(where, _laid_over(msgspec.to_builtins(surface), overrides)) if overrides else surface


def check_actions(where: str, surface: Surface, actions: Mapping[str, float]) -> None:
    """Raise SettingsError for a surface that weighs an action nobody learns."""
    for name, weight in surface.actions.items():
        if not actions.get(name):
            known = ", ".join(sorted(each for each in actions if actions[each]))
            raise SettingsError(
                f"{where}.actions.{name}={weight}: no action that is learned; there are {known}"
            )


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = (
            _laid_over(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
        )
    return both


def _table(key: str, said: Mapping[str, Any]) -> dict[str, Any]:
    table = said.get(key, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{key}={table!r} is not a table")
    return table


def _convert(where: str, said: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        value = said
        for part in (steps := re.findall(r"\w+", path)):
            value = value.get(part, value) if isinstance(value, Mapping) else value
        raise SettingsError(f"{'.'.join((where, *steps))}={value!r}: {message}") from None


def _check_numbers(where: str, numbers: Mapping[str, float], low: float) -> None:
    for key, value in numbers.items():
        if not (math.isfinite(value) and low <= value <= 1000.0):
            raise SettingsError(f"{where}.{key}={value} is outside {low:g}..1000")
