"""Actions: what an event type means, its weight and its sign; an open set, given by configuration."""

from collections.abc import Mapping

IMPRESSION = "impression"

DEFAULTS: Mapping[str, float] = {
    IMPRESSION: 0.0,
    "view": 0.5,
    "click": 1.0,
    "dwell": 1.0,
    "like": 2.0,
    "rating": 2.0,
    "add_to_cart": 3.0,
    "purchase": 5.0,
    "search": 0.0,
    "skip": -0.5,
    "dislike": -3.0,
    "hide": -5.0,
}


def weight_of(weights: Mapping[str, float], kind: str, value: float | None) -> float:
    """Return what an action says of interest: below zero is dislike, zero is nothing; unknown types say nothing.

    A rating turns its sign at 3 of 5; a dwell counts by its half-minutes, up to two.

    >>> weight_of(DEFAULTS, "rating", 1.0), weight_of(DEFAULTS, "dwell", 15.0), weight_of(DEFAULTS, "wink", None)
    (-2.0, 0.5, 0.0)
    """
    weight = weights.get(kind, 0.0)
    if value is not None and weight:
        if kind == "rating":
            return weight * max(-1.0, min(1.0, (value - 3.0) / 2.0))
        if kind == "dwell":
            return weight * max(0.0, min(2.0, value / 30.0))
    return weight
