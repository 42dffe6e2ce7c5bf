"""Experiments: who sees which variant of a surface, decided by a hash and by nothing else.

Each experiment hashes with its own seed, so that two of them split users independently (Kohavi, Tang and Xu
2020, "Trustworthy online controlled experiments", chapter 4).
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streams.errors import SettingsError

HOLDOUT = "holdout"


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variant: its share relative to the other arms, and the surface parameters it sets."""

    weight: Annotated[float, Meta(ge=0.0, le=1000.0)] = 1.0
    set: dict[str, Any] = {}


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is tried on whom: `share` of the users take part, `holdout` of them are kept out of everything.

    `surfaces` limits it to some (none named: all). `seed` reshuffles the users when it changes.
    """

    arms: dict[str, Arm]
    seed: str = ""
    surfaces: tuple[str, ...] = ()
    share: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    holdout: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    enabled: bool = True

    def check(self, where: str) -> None:
        """Raise SettingsError, beginning with `where`, for an experiment nobody can be assigned to."""
        if HOLDOUT in self.arms:
            raise SettingsError(
                f"{where}.arms.{HOLDOUT}: the name is taken by the users kept out of everything"
            )
        if not sum(arm.weight for arm in self.arms.values()) > 0:
            raise SettingsError(f"{where}.arms={list(self.arms)}: at least one arm needs a weight above 0")


def bucket(seed: str, unit: str) -> float:
    """Return where a unit stands between 0 and 1; equal seeds order all units alike, others independently.

    >>> bucket("a", "u") == bucket("a", "u") != bucket("b", "u")
    True
    """
    digest = blake2b(
        unit.encode(), digest_size=7, key=blake2b(seed.encode(), digest_size=16).digest()
    ).digest()
    return int.from_bytes(digest, "big") / (1 << 56)


def assign(unit: str, experiments: Mapping[str, Experiment], surface: str = "") -> dict[str, str]:
    """Return the arm of each experiment the unit takes part in; `unit` is the user's id or the session's.

    Every holdout takes the same users first, so that a larger one contains a smaller one.
    """
    arms = {}
    for key, experiment in experiments.items():
        if not experiment.enabled or (surface and experiment.surfaces and surface not in experiment.surfaces):
            continue
        if experiment.holdout and bucket(HOLDOUT, unit) < experiment.holdout:
            arms[key] = HOLDOUT
            continue
        seed = experiment.seed or key
        if experiment.share < 1.0 and bucket(f"{seed}/share", unit) >= experiment.share:
            continue
        arms[key] = _choose(experiment.arms, bucket(seed, unit))
    return arms


def overrides(arms: Mapping[str, str], experiments: Mapping[str, Experiment]) -> dict[str, Any]:
    """Return what the arms set, the later experiment winning where two set the same parameter."""
    values: dict[str, Any] = {}
    for key, arm in arms.items():
        if arm != HOLDOUT:
            values.update(experiments[key].arms[arm].set)
    return values


def _choose(arms: Mapping[str, Arm], place: float) -> str:
    left = place * sum(arm.weight for arm in arms.values())
    chosen = ""
    for name, arm in arms.items():
        if arm.weight:
            chosen = name
            left -= arm.weight
            if left < 0:
                break
    return chosen
