"""Exponential decay by event time, folded lazily: a counter is a [value, at] pair, brought up to date when touched."""

from collections.abc import MutableMapping

DAY = 86_400_000  # ms
Counter = list[float]  # [value, at in ms]


def decayed(value: float, since: float, now: float, half_life: float) -> float:
    """Return what is left of a value after `now - since` ms; a late `now` never makes it grow.

    >>> decayed(8.0, 0, 2 * DAY, DAY)
    2.0
    """
    return value * 0.5 ** ((now - since) / half_life) if now > since else value


def add(counters: MutableMapping[str, Counter], key: str, amount: float, at: float, half_life: float) -> None:
    """Add to a decayed counter; an event older than the counter enters already decayed."""
    counter = counters.get(key)
    if counter is None:
        counters[key] = [amount, at]
    elif at >= counter[1]:
        counter[0] = counter[0] * 0.5 ** ((at - counter[1]) / half_life) + amount
        counter[1] = at
    else:
        counter[0] += amount * 0.5 ** ((counter[1] - at) / half_life)


def prune(counters: MutableMapping[str, Counter], keep: int, half_life: float) -> None:
    """Drop all but the `keep` largest counters, compared at the newest time among them; ties by key."""
    now = max(at for _, at in counters.values())
    ranked = sorted(counters, key=lambda key: (-decayed(*counters[key], now, half_life), key))
    for key in ranked[keep:]:
        del counters[key]
