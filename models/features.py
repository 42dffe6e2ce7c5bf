"""Features: what a model may know of an item, a user and the moment, as data.

A feature's value depends on the asker and the item alone, never on the other candidates, so that scores can
be compared, cached and replayed. models/gather.py computes them.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.decay import DAY
from models.lately import Totals
from models.learned import FREE
from models.places import Slots
from models.signals import SIGNALS

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]
Sparse = tuple[Slots, Floats]  # slots and their values; every other slot has the default
NONE: Sparse = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
NO_CODES: tuple[Codes, Floats] = (np.zeros(0, dtype=np.int32), NONE[1])
NO_TIMES: npt.NDArray[np.float64] = np.zeros(0, dtype=np.float64)
NO_HASHES: npt.NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True)
class Feature:
    """One column of the matrix.

    `freshness` says when it is computed, `scope` whose state it comes from, `owner` which table keeps that; older state
    than `ttl` ms does not count (0: never too old). An item or user without that state has the `default`.
    """

    name: str
    freshness: Literal["batch", "near-real-time", "request-time"]
    scope: Literal["user", "item", "pair", "context"]
    owner: Literal["users", "items", "popular", "learned"]
    help: str
    ttl: int = 0
    default: float = 0.0


FOLDED: Literal["near-real-time"] = "near-real-time"
CATALOGUE: tuple[Feature, ...] = (
    Feature(
        "relevance",
        FOLDED,
        "pair",
        "learned",
        "log-score of the stack: all signals, weighed as was learned, alone and together",
    ),
    Feature("recent_short", FOLDED, "item", "learned", "log(1 + choices), fading over 500 examples"),
    Feature("recent_middle", FOLDED, "item", "learned", "log(1 + choices), fading over 5,000 examples"),
    Feature("recent_long", FOLDED, "item", "learned", "log(1 + choices), fading over 50,000 examples"),
    Feature("chosen", FOLDED, "item", "learned", "log(1 + choices) that were learned from"),
    Feature("rested", FOLDED, "item", "learned", "log(1 + examples since it was chosen last)"),
    Feature(
        "alike", FOLDED, "pair", "learned", "cosine of being chosen near the last items, 1 for the nearest"
    ),
    Feature("alike_log", FOLDED, "pair", "learned", "its logarithm"),
    Feature(
        "follows", FOLDED, "pair", "learned", "how often it came after the last items, 1 for the likeliest"
    ),
    Feature("follows_log", FOLDED, "pair", "learned", "its logarithm"),
    Feature(
        "next",
        FOLDED,
        "pair",
        "learned",
        "how often it came right after the very last item, 1 for the likeliest",
    ),
    Feature("next_log", FOLDED, "pair", "learned", "its logarithm"),
    Feature(
        "leads", FOLDED, "pair", "learned", "how often it came before the last items, 1 for the likeliest"
    ),
    Feature("leads_log", FOLDED, "pair", "learned", "its logarithm"),
    Feature(
        "embedding", FOLDED, "pair", "learned", "the embedding's logit: the last items' vector by the item's"
    ),
    Feature(
        "stage",
        FOLDED,
        "pair",
        "learned",
        "log of how much likelier people who know as many items choose it than others do",
    ),
    Feature(
        "embedding_last",
        FOLDED,
        "pair",
        "learned",
        "the vector of the last five items, fading, by the item's",
    ),
    Feature("embedding_whole", FOLDED, "pair", "learned", "the vector of all remembered items by the item's"),
    Feature(
        "embedding_best",
        FOLDED,
        "pair",
        "learned",
        "the largest that one of the last ten items has by itself",
    ),
    Feature(
        "embedding_like",
        FOLDED,
        "pair",
        "learned",
        "by what the last items are like, not by what follows them",
    ),
    Feature("embedding_bias", FOLDED, "item", "learned", "the part of the embedding's logit that all have"),
    Feature("embedding_norm", FOLDED, "item", "learned", "the length of the item's vector"),
    Feature("times", FOLDED, "pair", "learned", "share of twenty that are last items it was chosen near"),
    Feature("alike_first", FOLDED, "pair", "learned", "log of how alike it is to the very last item alone"),
    Feature("alike_second", FOLDED, "pair", "learned", "the same, to the one before"),
    Feature("alike_third", FOLDED, "pair", "learned", "the same, to the third last"),
    Feature(
        "embedding_before",
        FOLDED,
        "pair",
        "learned",
        "the vector of what was acted on before all those by the item's",
    ),
    Feature(
        "embedding_before_like", FOLDED, "pair", "learned", "by what that is like, not by what follows it"
    ),
    Feature("popular_hour", FOLDED, "item", "items", "log(1 + choices) in the last hour", ttl=DAY // 12),
    Feature("popular_day", FOLDED, "item", "items", "log(1 + choices) in the last day", ttl=2 * DAY),
    Feature("popular_week", FOLDED, "item", "items", "log(1 + choices) in the last week", ttl=14 * DAY),
    Feature("popular_all", FOLDED, "item", "items", "log(1 + choices) ever"),
    Feature("trend", FOLDED, "item", "items", "how much faster it is chosen than before", ttl=2 * DAY),
    Feature(
        "in_context",
        FOLDED,
        "context",
        "popular",
        "popularity on this surface or in this country, 1 for the top item",
    ),
    Feature("ctr", FOLDED, "item", "items", "log of the CTR corrected for position, 0 at the prior"),
    Feature("ctr_known", FOLDED, "item", "items", "share of the evidence in that CTR that is not prior"),
    Feature("freshness", FOLDED, "item", "items", "1 when published, half a week later"),
    Feature(
        "affinity", FOLDED, "pair", "users", "share of the user's affinities that the item's categories have"
    ),
    Feature(
        "session", "request-time", "pair", "users", "share of the last items that have the item's categories"
    ),
    Feature("repeats", FOLDED, "pair", "users", "log(1 + times the user chose it) in the history kept"),
    Feature("repeated", FOLDED, "pair", "users", "1 when the user just chose it, half a week later"),
    Feature("seen", FOLDED, "pair", "users", "1 if the user ever acted on it"),
    Feature("boost", FOLDED, "item", "items", "log of the catalogue's boost"),
    Feature("experience", FOLDED, "user", "users", "log(1 + events) of the user"),
)
NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOGUE)
COLUMN = {name: n for n, name in enumerate(NAMES)}
LEARNED = slice(COLUMN[SIGNALS[0]], COLUMN[SIGNALS[-1]] + 1)  # the stack's signals, in its order
assert NAMES[LEARNED] == SIGNALS, "the stack's signals stand together, in its order"


class Items(Protocol):
    """The columns of items a request reads, each indexed by slot; `totals` are those of all their windows."""

    chosen: Floats
    examined: Floats
    ctr: Floats
    boost: Floats
    tiles: Codes
    choices: Floats
    totals: Totals
    published_at: npt.NDArray[np.float64]
    first_at: npt.NDArray[np.float64]
    categories: Codes
    seen_hash: npt.NDArray[np.uint32]


@dataclass(slots=True)
class Asker:
    """Who asks, in slots and category codes; `recent` newest first, `now` in ms.

    `after` are the last choices in the learner's slots, as far as it knows them, `before` what was acted on before
    those, and `stage` is the learner's too.
    `affinity` and `session` are (codes, shares); `history` are the items chosen before with `times` and the ms of the
    `last` time; `seen` are hashes.
    """

    now: float
    recent: Slots = field(default_factory=lambda: NONE[0])
    after: Codes = field(default_factory=lambda: NO_CODES[0])
    before: Codes = field(default_factory=lambda: NO_CODES[0])
    stage: int = FREE
    in_context: Sparse = NONE
    affinity: tuple[Codes, Floats] = NO_CODES
    session: tuple[Codes, Floats] = NO_CODES
    history: Slots = field(default_factory=lambda: NONE[0])
    times: Floats = field(default_factory=lambda: NONE[1])
    last: npt.NDArray[np.float64] = field(default_factory=lambda: NO_TIMES)
    seen: npt.NDArray[np.uint32] = field(default_factory=lambda: NO_HASHES)
    events: int = 0
