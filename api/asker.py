"""Asker: what a request knows of the one who asks, turned from ids into slots and codes once."""

from collections.abc import Mapping

import msgspec
import numpy as np

from api.answers import Request
from api.columns import Columns
from api.state import State
from models.decay import current
from models.features import NONE, Asker, Sparse
from models.gather import FADING, shares
from models.places import Places
from models.signals import stage_of
from models.users import HALF_LIFE, User, contexts, react

SESSION = 5  # last items whose categories say what the user is after right now
OWN = 2  # of the user's categories, whose popular items are candidates
LONGEST = 300  # items of a popular list that are looked at


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
        if slot is not None and not event.categories:  # completed as POST /v1/events does
            held = (columns.category_names[code] for code in columns.categories[slot].tolist() if code >= 0)
            event = msgspec.structs.replace(event, categories=tuple(held))  # noqa: PLW2901
        react(user, event, 0, weights)
    return user


def popular_here(state: State, request: Request) -> list[Sparse]:
    """Return what is popular in the categories asked for, in the country, on the surface, anywhere."""
    keys = contexts(request.surface, request.categories, request.context.get("country"))
    return [popular_in(state, key, request.at) for key in reversed(keys)]


def popular_in(state: State, context: str, now: int) -> Sparse:
    """Return the head of a popular list."""
    slots, values = state.tables.popular(context, now)
    return slots[:LONGEST], values[:LONGEST]


def asker_of(state: State, user: User | None, request: Request, here: list[Sparse], places: Places) -> Asker:
    """Return the asker that features and candidates are computed from; `places` is scratch memory."""
    columns, now = state.columns, float(request.at)
    asker = Asker(now, in_context=_best_of(here, places))
    if user is None:
        return asker
    asker.recent = columns.slots(user.trail)
    asker.after = state.lore.after(user.trail)
    asker.before = state.lore.before(user.before, asker.after)
    asker.stage = stage_of(user.known, len(user.trail))
    asker.seen = np.frombuffer(bytes(user.seen), dtype="<u4")
    asker.events = sum(user.totals.values())
    known = columns.category_code
    # Shares of everything: which categories and items happen to be known here must not move those of the others.
    liked = {name: current(total, now, HALF_LIFE) for name, total in user.affinity.items()}
    asker.affinity = shares(
        ((known[name], total) for name, total in liked.items() if name in known),
        sum(map(abs, liked.values())),
    )
    newest = ((FADING**k, columns.slot_of.get(item)) for k, item in enumerate(user.trail[:SESSION]))
    rows = [(share, columns.categories[slot].tolist()) for share, slot in newest if slot is not None]
    asker.session = shares((code, share) for share, row in rows for code in row if code >= 0)
    _remember(asker, user, columns)
    return asker


def favourites(asker: Asker, columns: Columns) -> list[str]:
    """Return the names of the categories the asker likes best."""
    held, liked = asker.affinity
    order = np.argsort(-liked, kind="stable")[:OWN]
    return [columns.category_names[code] for code in held[order[liked[order] > 0]].tolist()]


def _remember(asker: Asker, user: User, columns: Columns) -> None:
    """Take in what was chosen before; the last of several times is the one that is kept."""
    times: dict[int, int] = {}
    last: dict[int, float] = {}
    for item, _, at, weight in user.history:
        slot = columns.slot_of.get(item) if weight > 0 else None
        if slot is not None:
            times[slot] = times.get(slot, 0) + 1
            last[slot] = at
    asker.history = np.fromiter(times, dtype=np.int64, count=len(times))
    asker.times = np.fromiter(times.values(), dtype=np.float32, count=len(times))
    asker.last = np.fromiter(last.values(), dtype=np.float64, count=len(last))


def _best_of(here: list[Sparse], places: Places) -> Sparse:
    """Return each slot's best standing in any of the lists, as a share of that list's first item."""
    lists = [(slots, values / max(float(values[0]), 1e-9)) for slots, values in here if len(slots)]
    if len(lists) < 2:
        return lists[0] if lists else NONE
    slots, values = (np.concatenate(parts) for parts in zip(*lists, strict=True))
    order = np.argsort(-values, kind="stable")
    order = order[places.take(slots[order])]
    return slots[order], values[order]
