"""Features: the catalogue as data, and the one matrix of a request, gathered by numpy.

A feature's value depends on the asker and the item alone, never on the other candidates, so that scores can be
compared, cached and replayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.decay import DAY
from models.places import Places, Slots

FADING = 0.8  # weight of the next older item of a history
SESSION = 5  # items whose categories make up what the user is after right now

Floats = npt.NDArray[np.float32]
Sparse = tuple[Slots, Floats]  # slots and their values; every other slot has the default
_NONE: Sparse = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))


@dataclass(frozen=True)
class Feature:
    """One column: how fresh it is, whose state it comes from, when that state no longer counts (ms, 0: never)."""

    name: str
    freshness: Literal["batch", "near-real-time", "request-time"]
    scope: Literal["user", "item", "pair", "context"]
    help: str
    ttl: int = 0
    default: float = 0.0


CATALOGUE: tuple[Feature, ...] = (
    Feature("similarity", "near-real-time", "pair", "cosine of the user's last items and the item"),
    Feature("related", "near-real-time", "pair", "log of the decayed co-visits with the last items"),
    Feature("follows", "near-real-time", "pair", "log of the decayed co-visits with the very last item"),
    Feature("popular_hour", "near-real-time", "item", "log(1 + choices) in the last hour", ttl=2 * DAY // 24),
    Feature("popular_day", "near-real-time", "item", "log(1 + choices) in the last day", ttl=2 * DAY),
    Feature("popular_week", "near-real-time", "item", "log(1 + choices) in the last week", ttl=14 * DAY),
    Feature("popular_all", "near-real-time", "item", "log(1 + choices) ever"),
    Feature("trend", "near-real-time", "item", "how much faster it is chosen than before", ttl=2 * DAY),
    Feature("in_context", "near-real-time", "context", "popularity on this surface, in this country, as a share of the top item's"),
    Feature("ctr", "near-real-time", "item", "log of the CTR corrected for position, against the prior"),
    Feature("ctr_known", "near-real-time", "item", "share of the evidence in that CTR that is not prior"),
    Feature("freshness", "near-real-time", "item", "halves every week since publication"),
    Feature("affinity", "near-real-time", "pair", "share of the user's affinities that the item's categories have"),
    Feature("session", "request-time", "pair", "share of the last items that have the item's categories"),
    Feature("repeats", "near-real-time", "pair", "log(1 + times) the user chose it, in the history kept"),
    Feature("repeated", "near-real-time", "pair", "halves every week since the user last chose it"),
    Feature("seen", "near-real-time", "pair", "1 if the user ever acted on it"),
    Feature("boost", "near-real-time", "item", "log of the catalogue's boost"),
    Feature("experience", "near-real-time", "user", "log(1 + events) of the user"),
)  # fmt: skip
NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOGUE)
COLUMN = {name: n for n, name in enumerate(NAMES)}


class Items(Protocol):
    """The columns of items a request reads, each indexed by slot."""

    chosen: Floats
    examined: Floats
    ctr: Floats
    boost: Floats
    hour: Floats
    day: Floats
    week: Floats
    trend: Floats
    published_at: npt.NDArray[np.float64]
    first_at: npt.NDArray[np.float64]
    categories: npt.NDArray[np.int32]
    related: npt.NDArray[np.int32]
    related_weight: Floats
    seen_hash: npt.NDArray[np.uint32]


@dataclass(slots=True)
class Asker:
    """Who asks, in slots and category codes: `recent` newest first, `affinity` and `session` as (codes, shares).

    `repeats` and `repeated` are what the user chose before: times, and ms of the last time. `seen` holds hashes.
    """

    now: float
    recent: Slots = field(default_factory=lambda: _NONE[0])
    affinity: tuple[npt.NDArray[np.int32], Floats] = field(
        default_factory=lambda: (np.zeros(0, np.int32), _NONE[1])
    )
    session: tuple[npt.NDArray[np.int32], Floats] = field(
        default_factory=lambda: (np.zeros(0, np.int32), _NONE[1])
    )
    history: Slots = field(default_factory=lambda: _NONE[0])
    times: Floats = field(default_factory=lambda: _NONE[1])
    last: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0, dtype=np.float64))
    seen: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, dtype=np.uint32))
    in_context: Sparse = _NONE
    events: int = 0
    query: Floats | None = None


def covisits(recent: Slots, items: Items, damp: float = 5.0) -> Sparse:
    """Return items related to the recent ones, best first: sum over k of .8^k w / (sqrt(n_h) + 5) / sqrt(n_i + 5).

    The item-item cosine of Sarwar et al. 2001 with shrinkage, fading along the history.
    """
    if not len(recent):
        return _NONE
    pull = FADING ** np.arange(len(recent)) / (np.sqrt(items.chosen[recent]) + damp)
    flat = items.related[recent].ravel()
    weights = (items.related_weight[recent] * pull[:, None].astype(np.float32)).ravel()
    real = flat >= 0
    slots, place = np.unique(flat[real], return_inverse=True)
    sums = np.bincount(place, weights[real], minlength=len(slots)) / np.sqrt(items.chosen[slots] + damp)
    order = np.argsort(-sums, kind="stable")
    return slots[order].astype(np.int64), sums[order].astype(np.float32)


def gather(asker: Asker, items: Items, places: Places, vectors: Floats | None) -> Floats:
    """Return the features of the slots that `places` holds, shape (n, len(NAMES)).

    `vectors` are the candidates' unit vectors, shape (n, d), and `asker.query` lies in the same space.
    """
    slots = places.slots
    out = np.zeros((len(NAMES), len(slots)), dtype=np.float32)
    row = {name: out[n] for name, n in COLUMN.items()}
    if vectors is not None and asker.query is not None:
        np.dot(vectors, asker.query, out=row["similarity"])
    _scatter(row["related"], places, covisits(asker.recent, items))
    _scatter(row["follows"], places, covisits(asker.recent[:1], items))
    for name in ("related", "follows"):
        row[name][:] = np.log1p(100.0 * row[name])
    for name, values in (
        ("popular_hour", items.hour),
        ("popular_day", items.day),
        ("popular_week", items.week),
        ("popular_all", items.chosen),
    ):
        np.log1p(values[slots], out=row[name])
    row["trend"][:] = items.trend[slots]
    _scatter(row["in_context"], places, asker.in_context)
    row["ctr"][:] = np.log(items.ctr[slots] * 50.0)  # 0 at the prior of .02
    examined = items.examined[slots]
    row["ctr_known"][:] = examined / (examined + 20.0)
    row["freshness"][:] = _faded(_born(items, slots), asker.now, 7 * DAY)
    codes = items.categories[slots]
    row["affinity"][:] = _shares(codes, *asker.affinity)
    row["session"][:] = _shares(codes, *asker.session)
    _scatter(row["repeats"], places, (asker.history, np.log1p(asker.times)))
    _scatter(row["repeated"], places, (asker.history, _faded(asker.last, asker.now, 7 * DAY)))
    row["seen"][:] = seen(asker, items, slots)
    row["boost"][:] = np.log(np.maximum(items.boost[slots], 1e-3))
    row["experience"][:] = np.log1p(asker.events)
    return out.T


def seen(asker: Asker, items: Items, slots: Slots) -> npt.NDArray[np.bool_]:
    """Tell which slots the asker acted on; a hash of 4 bytes confuses two items once in ten million."""
    if not len(asker.seen):
        return np.zeros(len(slots), dtype=np.bool_)
    known = np.sort(asker.seen)
    hashes = items.seen_hash[slots]
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.asarray(known[place] == hashes)


def shares(pairs: Sequence[tuple[int, float]]) -> tuple[npt.NDArray[np.int32], Floats]:
    """Return (code, weight) pairs as distinct codes and their shares of the sum of absolute weights."""
    sums: dict[int, float] = {}
    for code, weight in pairs:
        sums[code] = sums.get(code, 0.0) + weight
    whole = sum(map(abs, sums.values())) or 1.0
    return np.array(list(sums), dtype=np.int32), np.array(list(sums.values()), dtype=np.float32) / np.float32(
        whole
    )


def _scatter(column: Floats, places: Places, sparse: Sparse) -> None:
    slots, values = sparse
    place = places.find(slots)
    real = place >= 0
    column[place[real]] = values[real]


def _shares(codes: npt.NDArray[np.int32], known: npt.NDArray[np.int32], values: Floats) -> Floats:
    if not len(known):
        return np.zeros(len(codes), dtype=np.float32)
    order = np.argsort(known)
    known, values = known[order], values[order]
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    found: Floats = np.where(known[place] == codes, values[place], np.float32(0.0)).sum(axis=1)
    return found


def _born(items: Items, slots: Slots) -> npt.NDArray[np.float64]:
    published = items.published_at[slots]
    return np.where(np.isnan(published), items.first_at[slots], published)


def _faded(since: npt.NDArray[np.float64], now: float, half_life: float) -> Floats:
    age = np.maximum(now - since, 0.0) / half_life
    return np.nan_to_num(np.exp2(-age), nan=0.0).astype(np.float32)
