"""Explain: the items of an answer, and on request the features behind their scores and how old those are."""

import msgspec
import numpy as np

from api.answers import Placed, Request
from api.columns import Columns
from api.funnel import EXPLORE, Ranked
from api.state import State
from models.features import CATALOGUE, NAMES
from models.gather import FADING
from models.interleaving import Teams
from models.users import User

LAST = 5  # choices that may be a reason
NEAR = 300  # items near each of them that are looked at


def placed(
    ranked: Ranked, state: State, user: User | None, request: Request, teams: Teams | None = None
) -> tuple[Placed, ...]:
    """Return the items of an answer; with features, ages and reasons when the request wants them explained.

    `teams` tells which of two lists chose each.
    """
    columns = state.columns
    ids, slots = columns.ids, ranked.slots.tolist()
    values = zip(slots, ranked.scores.tolist(), ranked.sources, ranked.propensity.tolist(), strict=True)
    items = [
        Placed(item_id=ids[slot], score=score, source=source, propensity=propensity)
        for slot, score, source, propensity in values
    ]
    if request.explain:
        items = [
            msgspec.structs.replace(item, why=ranked.explored if item.source == EXPLORE else "", team=team)
            for item, team in zip(items, [-1] * len(items) if teams is None else teams.tolist(), strict=True)
        ]
    if request.explain and ranked.rows is not None:
        rows = [dict(zip(NAMES, row, strict=True)) for row in ranked.rows.tolist()]
        why = reasons(state, user)
        items = [
            msgspec.structs.replace(
                item,
                features=row,
                ages=ages(columns, slot, user, request.at),
                because=why.get(item.item_id, ""),
            )
            for item, row, slot in zip(items, rows, slots, strict=True)
        ]
    return tuple(items)


def reasons(state: State, user: User | None) -> dict[str, str]:
    """Return, for items near the last choices of a user, which of these each is chosen near most."""
    best: dict[str, tuple[float, str]] = {}
    for k, chosen in enumerate(user.trail[:LAST] if user is not None else ()):
        for item, strength in state.lore.near(chosen, NEAR):
            best[item] = max(best.get(item, (0.0, "")), (strength * FADING**k, chosen))
    return {item: chosen for item, (_, chosen) in best.items()}


def ages(columns: Columns, slot: int, user: User | None, at: int) -> dict[str, float]:
    """Return, per feature, the ms since the event its state last took in; request-time features are 0 old."""
    item = float(columns.last_at[slot])
    own = float(user.last_at) if user is not None and user.last_at else np.nan
    since = {"item": item, "context": item, "user": own, "pair": own}
    found = {}
    for feature in CATALOGUE:
        age = 0.0 if feature.freshness == "request-time" else at - since[feature.scope]
        if not np.isnan(age):
            found[feature.name] = max(0.0, age)
    return found


def freshness(state: State, user: User | None) -> dict[str, int]:
    """Return how fresh the replica is: records it lags behind, and the last event in the user (-1: none)."""
    tables = state.tables
    offset = -1 if user is None or not user.marks else tables.user_offset(user)
    return {"lag": tables.lag(), "user_offset": offset, "staleness_ms": int(tables.staleness_ms())}
