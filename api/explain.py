"""Explain: an answer's items in words and numbers: score, source, features, and how old what they came from is."""

import numpy as np

from api.answers import Placed, Request
from api.columns import Columns
from api.funnel import Ranked
from api.state import State
from models.features import CATALOGUE, NAMES
from models.users import User


def placed(ranked: Ranked, columns: Columns, user: User | None, request: Request) -> tuple[Placed, ...]:
    """Return the items of an answer; with their features and ages when the request wants them explained."""
    ids = columns.ids
    if not request.explain or ranked.rows is None:
        return tuple(
            [
                Placed(item_id=ids[slot], score=score, source=source, propensity=chance)
                for slot, score, source, chance in zip(
                    ranked.slots.tolist(), ranked.scores.tolist(), ranked.sources, ranked.propensity.tolist(), strict=True
                )
            ]
        )
    return tuple(
        Placed(
            item_id=ids[slot], score=float(ranked.scores[n]), source=ranked.sources[n],
            propensity=float(ranked.propensity[n]),
            features=dict(zip(NAMES, ranked.rows[n].tolist(), strict=True)), ages=ages(columns, slot, user, request.at),
        )  # fmt: skip
        for n, slot in enumerate(ranked.slots.tolist())
    )


def ages(columns: Columns, slot: int, user: User | None, at: int) -> dict[str, float]:
    """Return, per feature, the ms since the event its state last took in; request-time features are 0 old."""
    item = columns.last_at[slot]
    since = {"item": item, "context": item, "user": np.nan, "pair": np.nan}
    if user is not None and user.last_at:
        since["user"] = since["pair"] = user.last_at
    found = {}
    for feature in CATALOGUE:
        age = 0.0 if feature.freshness == "request-time" else float(at - since[feature.scope])
        if not np.isnan(age):
            found[feature.name] = max(0.0, age)
    return found


def freshness(state: State, user: User | None) -> dict[str, int]:
    """Return how fresh the replica is: records it lags behind, and the last event folded into the user (-1: none)."""
    tables = state.tables
    offset = -1 if user is None or not user.marks else tables.user_offset(user)
    return {"lag": tables.lag(), "user_offset": offset, "staleness_ms": int(tables.staleness_ms())}
