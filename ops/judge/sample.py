"""Sample: what was shown and done, beside its chance under the judged configuration; and what that tells of it."""

from dataclasses import dataclass, field
from math import isnan, sqrt
from typing import Any, NamedTuple

import numpy as np

from models import policy
from models.policy import Estimate, Floats, Ints, Model

LEAST = 100  # effective samples from which an interval can be trusted
ACTED = 10  # places acted on, likewise
UNSUPPORTED = 0.1  # share of what would be shown above which too much of it is unknown
TOO_LITTLE = "too little support"
FAITHFUL = 0.5  # share of places whose logged chance must be hit again
NEAR = 0.05  # relative difference of a chance and the logged one that counts as none


class Place(NamedTuple):
    """One explored place of a list: what was done (0 or 1), and the chances of what was shown there.

    `again` is the chance under the configuration there is, which should be the logged one. `unsupported` is the chance
    of the judged one to show what that never shows; `guess` the click-through rate of what was shown, `guesses` the
    mean of what the judged one shows.
    """

    user: str
    reward: float
    logged: float
    judged: float
    again: float
    unsupported: float
    guess: float
    guesses: float


class Whole(NamedTuple):
    """A whole list: the places acted on, and how much likelier the judged configuration is to show all of it."""

    user: str
    reward: float
    weight: float


@dataclass
class Sample:
    """What was shown on one surface."""

    places: list[Place] = field(default_factory=list)
    lists: list[Whole] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return what the judged configuration is worth, by place and by list, and whether that can be told."""
        found: dict[str, Any] = {"lists": len(self.lists), "explored_places": len(self.places)}
        if not self.places:
            return {**found, "verdict": TOO_LITTLE, "reasons": ["none of the places explores"]}
        users, numbers = _columns(self.places)
        reward, logged, judged, again, unsupported, guess, guesses = numbers[..., None]
        level = reward.sum() / guess.sum()  # so that the guesses are right on average
        each = policy.weights(judged, logged)
        by_place = _worth(users, reward, each, Model(level * guess, level * guesses))
        by_place["unsupported"] = _rounded(unsupported.mean())
        by_place["fidelity"] = _rounded((np.abs(again / logged - 1.0) <= NEAR).mean())
        users, numbers = _columns(self.lists)
        by_list = _worth(users, numbers[0][:, None], numbers[1][:, None])
        reasons = _doubts(by_place, int(reward.sum()))
        verdict = TOO_LITTLE if reasons else _verdict(by_place["doubly_robust"])
        return {**found, "verdict": verdict, "reasons": reasons, "by_place": by_place, "by_list": by_list}


def _columns(rows: list[Place] | list[Whole]) -> tuple[Ints, Floats]:
    """Return a number for the user of each row, and the other columns (columns, rows)."""
    units: Ints = np.unique([row.user for row in rows], return_inverse=True)[1]
    return units, np.array([row[1:] for row in rows], np.float64).T


def _worth(users: Ints, rewards: Floats, each: Floats, model: Model | None = None) -> dict[str, Any]:
    most = sqrt(len(each))  # Ionides 2008
    total = rewards.sum(axis=1)

    def told(found: Estimate) -> dict[str, float | None]:
        low, high = policy.interval(found.each, users)
        worse, better = policy.interval(found.each - total, users)
        values = {"value": found.value, "low": low, "high": high}
        gains = {"gain": found.value - total.mean(), "gain_low": worse, "gain_high": better}
        return {name: _rounded(value) for name, value in (values | gains).items()}

    def estimated(each: Floats) -> dict[str, Any]:
        found = {"ips": told(policy.ips(rewards, each)), "snips": told(policy.snips(rewards, each))}
        return found | ({"doubly_robust": told(policy.doubly_robust(rewards, each, model))} if model else {})

    low, high = policy.interval(total, users)
    return {
        "logged": {"value": _rounded(total.mean()), "low": _rounded(low), "high": _rounded(high)},
        **estimated(each),
        "clipped": {
            "at": _rounded(most),
            "share": _rounded((each > most).mean()),
            **estimated(policy.clipped(each, most)),
        },
        "effective": _rounded(policy.effective(each)[0]),
        "mean_weight": _rounded(each.mean()),
        "largest_weight": _rounded(each.max()),
    }


def _doubts(found: dict[str, Any], acted: int) -> list[str]:
    """Return why an estimate is not to be trusted."""
    said = []
    if found["unsupported"] > UNSUPPORTED:
        said.append(
            f"{found['unsupported']:.1%} of what it would show there was never shown (at most {UNSUPPORTED:.0%})"
        )
    if found["effective"] < LEAST:
        said.append(f"the places tell as much as {found['effective']:.0f} shown by itself (at least {LEAST})")
    if acted < ACTED:
        said.append(f"{acted} of the places were acted on (at least {ACTED})")
    if found["fidelity"] < FAITHFUL:
        said.append(
            f"only {found['fidelity']:.1%} of the logged chances are hit again (at least {FAITHFUL:.0%}): "
            "REFOLD_CONFIG must name the configuration that served"
        )
    if found["logged"]["low"] is None:
        said.append("all of it was shown to one user")
    return said


def _verdict(found: dict[str, float]) -> str:
    if found["gain_low"] > 0:
        return "better"
    return "worse" if found["gain_high"] < 0 else "no difference found"


def _rounded(value: float) -> float | None:
    """Return a number as it is reported, None for none."""
    return None if isnan(value) else round(float(value), 6)
