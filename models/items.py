"""Items: a row of `items`, and the folds of the catalogue and of touches into its two independent halves."""

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from models.actions import IMPRESSION
from models.decay import DAY
from models.marks import in_order
from streams.items import Item
from streams.rows import pack, unpack
from streams.touches import Touch

VERSION = 2
WINDOWS = (DAY // 24, DAY, 7 * DAY)  # an hour, a day, a week
SURFACES = 16
TYPES = 32
PRIOR_CTR = 0.02  # what a place of a list earns before it is known,
PRIOR_STRENGTH = 20.0  # and how many examined impressions that is worth
IMPRESSIONS, CHOICES, VALUE = 0, 1, 2  # what a window counts: shown, chosen, weight of the choices

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])  # of one item, or of many


@dataclass(slots=True)
class ItemRow:
    """What is known of one item; a window is [tile, three sums of this tile, three of the one before].

    CTR corrected for position is `answered` (choices made from a place of a list) over `examined`.
    """

    marks: dict[int, int] = field(default_factory=dict)
    catalogue: dict[str, Any] | None = None
    first_at: int = 0
    last_at: int = 0
    totals: dict[str, int] = field(default_factory=dict)
    windows: list[list[float]] = field(default_factory=lambda: [[0, 0, 0, 0, 0, 0, 0] for _ in WINDOWS])
    surfaces: dict[str, list[int]] = field(default_factory=dict)
    examined: float = 0.0
    answered: int = 0
    chosen: int = 0

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(
            VERSION,
            (in_order(self.marks), self.catalogue, self.first_at, self.last_at, self.totals, self.windows,
             self.surfaces, self.examined, self.answered, self.chosen),
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: bytes) -> "ItemRow":
        """Return the item of a row; raises StateError on another version."""
        return cls(*unpack(VERSION, row))


def examination(position: int) -> float:
    """Return the chance that a place of a list was looked at; unknown places count as the fifth.

    The logarithmic discount of DCG (Järvelin and Kekäläinen 2002) read as a position-based click model.
    """
    return 1.0 / math.log2((position if position >= 0 else 4) + 2)


def ctr(answered: Numbers, examined: Numbers) -> Numbers:
    """Return the click-through rate of a list position, corrected for position and drawn to the prior."""
    return (answered + PRIOR_CTR * PRIOR_STRENGTH) / (examined + PRIOR_STRENGTH)


def answered(rates: npt.NDArray[np.float32], examined: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the choices that rates of `ctr` were made from, (n,)."""
    total = examined.astype(np.float64) + PRIOR_STRENGTH
    return np.asarray(np.maximum(rates * total - PRIOR_CTR * PRIOR_STRENGTH, 0.0))


def common_rate(rates: npt.NDArray[np.float32], examined: npt.NDArray[np.float32]) -> float:
    """Return the click-through rate of many items together, between 0.0001 and 0.5, drawn to the prior.

    >>> round(common_rate(np.float32([0.02, 0.11]), np.float32([0.0, 180.0])), 3)
    0.11
    """
    chosen, looks = float(answered(rates, examined).sum()), float(examined.sum(dtype=np.float64))
    return min(0.5, max(1e-4, ctr(chosen, looks)))


def list_item(item: ItemRow, catalogue: Item | None) -> ItemRow:
    """Fold a catalogue record; None is a tombstone and leaves the item unlisted."""
    item.catalogue = None if catalogue is None else msgspec.to_builtins(catalogue)
    return item


def touch(item: ItemRow, said: Touch) -> ItemRow:
    """Fold an event that concerns the item."""
    at, weight, kind = said.at, said.weight, said.type
    if at < item.first_at or not item.first_at:
        item.first_at = at
    if at > item.last_at:
        item.last_at = at
    if kind in item.totals or len(item.totals) < TYPES:
        item.totals[kind] = item.totals.get(kind, 0) + 1
    shown = kind == IMPRESSION
    if shown:
        item.examined += examination(said.position)
    elif weight > 0:
        item.chosen += 1
        item.answered += said.position >= 0
    else:
        return item
    for window, span in zip(item.windows, WINDOWS, strict=True):
        tile = at // span
        if tile != window[0]:
            base = _turn(window, tile)
            if not base:
                continue
        else:
            base = 1
        if shown:
            window[base] += 1
        else:
            window[base + 1] += 1
            window[base + 2] += weight
    if said.surface and (said.surface in item.surfaces or len(item.surfaces) < SURFACES):
        surface = item.surfaces.setdefault(said.surface, [0, 0])
        surface[0 if shown else 1] += 1
    return item


def _turn(window: list[float], tile: int) -> int:
    """Return where a tile's sums stand (0: the window has passed it), opening it when it is newer."""
    if tile < window[0]:
        return 4 if tile == window[0] - 1 else 0
    window[4:7] = window[1:4] if tile == window[0] + 1 else [0, 0, 0]
    window[0] = tile
    window[1:4] = [0, 0, 0]
    return 1


def sliding(window: list[float], span: int, now: int, what: int) -> float:
    """Return a sum over the last `span` ms: this tile and the uncovered share of the one before."""
    tile, share = divmod(now, span)
    if tile == window[0]:
        return window[1 + what] + window[4 + what] * (1.0 - share / span)
    if tile == window[0] + 1:
        return window[1 + what] * (1.0 - share / span)
    return 0.0
