"""Asker: what a request knows of the one who asks, turned from ids into slots and codes once."""

from collections.abc import Mapping

import msgspec
import numpy as np

from api.answers import Request
from api.columns import Columns
from api.state import State
from models.decay import decayed
from models.features import FADING, SESSION, Asker, Sparse, shares
from models.users import HALF_LIFE, User, react

OWN = 2  # of the user's categories, whose popular items are candidates


def who(state: State, request: Request, weights: Mapping[str, float]) -> User | None:
    """Return the user as they stand after the request's session, or None for someone unknown.

    The session is folded as a worker would fold it, into a copy: the log alone changes the stored row.
    """
    user = state.tables.user(request.user_id) if request.user_id else None
    if not request.session:
        return user
    user = User() if user is None else User.from_row(user.row())
    columns = state.columns
    for event in request.session:
        slot = columns.slot_of.get(event.item_id or "")
        if slot is not None and not event.categories:
            held = [columns.category_names[code] for code in columns.categories[slot].tolist() if code >= 0]
            event = msgspec.structs.replace(event, categories=tuple(held))  # noqa: PLW2901 - as POST /v1/events does
        react(user, event, 0, weights, columns.dimensions)
    return user


def asker_of(state: State, user: User | None, request: Request, contexts: list[Sparse]) -> Asker:
    """Return the asker that features and candidates are computed from."""
    columns, now = state.columns, float(request.at)
    asker = Asker(now, in_context=_widest(contexts))
    if user is None:
        return asker
    asker.recent = columns.slots(user.trail)
    asker.seen = np.frombuffer(bytes(user.seen), dtype="<u4")
    asker.events = sum(user.totals.values())
    known = columns.category_code
    asker.affinity = shares(
        [(known[name], decayed(value, at, now, HALF_LIFE)) for name, (value, at) in user.affinity.items() if name in known]
    )
    asker.session = shares(
        [
            (code, FADING**k)
            for k, row in enumerate(columns.categories[asker.recent[:SESSION]].tolist())
            for code in row
            if code >= 0
        ]
    )
    _remember(asker, user, columns)
    return asker


def favourites(asker: Asker, columns: Columns) -> list[str]:
    """Return the names of the categories the asker likes best."""
    held, liked = asker.affinity
    return [columns.category_names[held[n]] for n in np.argsort(-liked, kind="stable")[:OWN] if liked[n] > 0]


def _remember(asker: Asker, user: User, columns: Columns) -> None:
    times: dict[int, float] = {}
    last: dict[int, float] = {}
    for item, _, at, weight in user.history:
        slot = columns.slot_of.get(item) if weight > 0 else None
        if slot is not None:
            times[slot] = times.get(slot, 0.0) + 1.0
            last[slot] = max(last.get(slot, 0.0), at)
    asker.history = np.array(list(times), dtype=np.int64)
    asker.times = np.array(list(times.values()), dtype=np.float32)
    asker.last = np.array(list(last.values()), dtype=np.float64)


def _widest(contexts: list[Sparse]) -> Sparse:
    """Return each slot's best standing in any of the contexts, as a share of that context's first item."""
    slots = [held for held, _ in contexts if len(held)]
    if not slots:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    values = np.concatenate([value / max(float(value[0]), 1e-9) for _, value in contexts if len(value)])
    together = np.concatenate(slots)
    order = np.argsort(-values, kind="stable")
    _, first = np.unique(together[order], return_index=True)
    chosen = order[np.sort(first)]
    return together[chosen], values[chosen].astype(np.float32)
