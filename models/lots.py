"""Lots: where a unit or an item stands in an experiment, drawn by a hash and by nothing else.

Each experiment hashes with its own seed, so that two of them split units independently; experiments of one layer have
slices of it that do not overlap, so that no unit is in two of them (Tang, Agarwal, O'Brien and Meyer 2010, "Overlapping
experiment infrastructure"; Kohavi, Tang and Xu 2020, "Trustworthy online controlled experiments", chapter 4).
"""

from bisect import bisect_right
from collections.abc import Callable
from hashlib import blake2b
from itertools import accumulate
from struct import Struct

from models.units import Unit
from streams.experiments import BOTH, Definition, Where

WHOLE = 1 << 64
_PAIR: Callable[[bytes], tuple[int, int]] = Struct(">QQ").unpack


def bucket(seed: str, unit: str) -> float:
    """Return where a unit stands between 0 and 1; equal seeds order all units alike, others independently.

    >>> bucket("a", "u") == bucket("a", "u") != bucket("b", "u")
    True
    """
    return hasher(seed)(unit.encode())[0] / WHOLE


def hasher(seed: str) -> Callable[[bytes], tuple[int, int]]:
    """Return a hash of a unit to two independent numbers between 0 and 2^64."""
    seeded = blake2b(digest_size=16, key=blake2b(seed.encode(), digest_size=16).digest())

    def hashed(unit: bytes) -> tuple[int, int]:
        hashing = seeded.copy()
        hashing.update(unit)
        return _PAIR(hashing.digest())

    return hashed


class Lot:
    """An experiment as it is asked: who takes part, and where the arms begin and end, between 0 and 2^64."""

    def __init__(self, tried: Definition, share: float) -> None:
        self.key, self.tried = tried.key, tried
        self._targets = tried.where != Where()
        self._session = tried.unit == "session"
        self._layer, self._layer_hash = tried.layer, hasher(f"layer/{tried.layer}")
        self._from, self._to = (int(end * WHOLE) for end in tried.slice)
        self._hash, self._share = hasher(f"{tried.key}/{tried.seed}"), int(share * WHOLE)
        weights = {name: arm.weight for name, arm in tried.arms.items() if arm.weight}
        total = sum(weights.values())
        self._names = [BOTH] if tried.kind == "interleaved" else list(weights)
        ends = [int(end / total * WHOLE) for end in accumulate(weights.values())]
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
        arm = self._draw(who)
        if not arm:
            return "", "the ramp is not there yet"
        if self.tried.sticky and self.key in unit.before:
            version, kept = unit.before[self.key]
            if kept in self._names:
                return kept, f"kept from version {version}"
        return arm, "drawn by the hash"

    def of_item(self, item: str) -> str:
        """Return the arm of an item, "" for one that takes no part."""
        who = item.encode()
        if self._layer and not self._from <= self._layer_hash(who)[0] < self._to:
            return ""
        return self._draw(who)

    def boost(self, item: str) -> float:
        """Return the factor that the arm of an item sets."""
        arm = self.of_item(item)
        return float(self.tried.arms[arm].set.get("boost", 1.0)) if arm else 1.0

    def _draw(self, who: bytes) -> str:
        """Return the arm the hash draws, "" for a unit that the ramp has not reached."""
        place, turn = self._hash(who)
        return self._names[bisect_right(self._ends, place)] if turn < self._share else ""

    def _concerns(self, unit: Unit) -> bool:
        where = self.tried.where
        return (
            unit.events >= where.min_events
            and (where.max_events is None or unit.events <= where.max_events)
            and all(unit.context.get(name) in values for name, values in where.context.items())
            and all(unit.profile.get(name) in values for name, values in where.profile.items())
        )


class Factors(dict[str, float]):
    """The product of what an item's arms set as its boost, computed when it is first asked for."""

    def __init__(self, lots: list[Lot]) -> None:
        super().__init__()
        self.lots = lots

    def __missing__(self, item: str) -> float:
        factor = 1.0
        for lot in self.lots:
            factor *= lot.boost(item)
        self[item] = factor
        return factor


def arm_of_item(tried: Definition, now: int) -> Callable[[str], str]:
    """Return what tells the arm of an item in an experiment on items at `now` (ms), "" for one that takes no part."""
    return Lot(tried, tried.share(now)).of_item
