"""Views: rows as a person or a program may read them, decayed to now, with the offsets they reflect."""

import math
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from api.lore import Lore
from models.decay import current
from models.items import CHOICES, IMPRESSIONS, VALUE, WINDOWS, ItemRow, ctr, sliding
from models.users import HALF_LIFE, SESSION_GAP, User
from streams.topology import TABLES

SPANS = ("hour", "day", "week")  # names of models.items.WINDOWS
SHOWN = 32  # related items


class Reflected(msgspec.Struct):
    """The row holds every record of this partition that concerns it, up to and including the offset."""

    topic: str
    partition: int
    offset: int


class Acted(msgspec.Struct):
    """One event of a history."""

    item_id: str
    type: str
    at: int
    weight: float


class SessionView(msgspec.Struct):
    """The latest session; `active` while its last event is less than half an hour old."""

    started: int
    last: int
    events: int
    active: bool


class UserView(msgspec.Struct):
    """What is known of a user; `affinity` and `counts` are decayed to `at`, `history` runs newest first.

    `as_of` and `positions` are there in an answer from a state of the past, as in Answer.
    """

    user_id: str
    at: int
    first_at: int
    last_at: int
    totals: dict[str, int]
    counts: dict[str, float]
    affinity: dict[str, float]
    session: SessionView
    trail: list[str]
    history: list[Acted]
    profile: dict[str, str | float | bool] | None
    offsets: list[Reflected]
    as_of: int | UnsetType = UNSET
    positions: dict[str, dict[int, int]] | UnsetType = UNSET


class Window(msgspec.Struct):
    """Sums over a sliding window; `ctr` is None where nothing was shown."""

    impressions: float
    choices: float
    value: float
    ctr: float | None


class Related(msgspec.Struct):
    """An item that is chosen near this one, or after it; its weight is relative to the first one's."""

    item_id: str
    weight: float


class ItemView(msgspec.Struct):
    """What is known of an item; `as_of` and `positions` as in UserView.

    `ctr` is corrected for position and drawn to the average while little is known. `trend` compares the
    choices of the last day with the daily mean of the week, in logarithms: above 0 is rising.
    """

    item_id: str
    at: int
    listed: bool
    catalogue: dict[str, Any] | None
    first_at: int
    last_at: int
    totals: dict[str, int]
    chosen: int
    ctr: float
    trend: float
    windows: dict[str, Window]
    surfaces: dict[str, dict[str, int]]
    related: list[Related]
    offsets: list[Reflected]
    as_of: int | UnsetType = UNSET
    positions: dict[str, dict[int, int]] | UnsetType = UNSET


def user_view(user_id: str, user: User, now: int) -> UserView:
    """Return a user as they stand at `now`."""
    started, last, events = user.session
    return UserView(
        user_id=user_id,
        at=now,
        first_at=user.first_at,
        last_at=user.last_at,
        totals=user.totals,
        counts=_decayed(user.counts, now),
        affinity=_decayed(user.affinity, now),
        session=SessionView(started, last, events, active=bool(last) and now - last <= SESSION_GAP),
        trail=user.trail,
        history=[Acted(*acted) for acted in reversed(user.history)],
        profile=user.profile,
        offsets=_offsets("users", user.marks),
    )


def item_view(item_id: str, row: ItemRow, now: int, lore: Lore) -> ItemView:
    """Return an item as it stands at `now`, with its neighbours by what was learned."""
    windows = {
        name: _window(sums, span, now) for name, sums, span in zip(SPANS, row.windows, WINDOWS, strict=True)
    }
    near = lore.near(item_id, SHOWN)
    return ItemView(
        item_id=item_id,
        at=now,
        listed=row.catalogue is not None,
        catalogue=row.catalogue,
        first_at=row.first_at,
        last_at=row.last_at,
        totals=row.totals,
        chosen=row.chosen,
        ctr=ctr(row.answered, row.examined),
        trend=math.log1p(windows["day"].choices) - math.log1p(windows["week"].choices / 7.0),
        windows=windows,
        surfaces={
            name: {"impressions": shown, "choices": chosen} for name, (shown, chosen) in row.surfaces.items()
        },
        related=[Related(other, strength / near[0][1]) for other, strength in near],
        offsets=_offsets("items", row.marks),
    )


def _window(sums: list[float], span: int, now: int) -> Window:
    shown, chosen, value = (sliding(sums, span, now, what) for what in (IMPRESSIONS, CHOICES, VALUE))
    return Window(shown, chosen, value, chosen / shown if shown else None)


def _decayed(sums: dict[str, float], now: int) -> dict[str, float]:
    values = {name: current(total, now, HALF_LIFE) for name, total in sums.items()}
    return dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0])))


def _offsets(table: str, marks: dict[int, int]) -> list[Reflected]:
    """Say marks in offsets; those of `touches` count the events they came from (models/marks.py)."""
    sources = next(known.sources for known in TABLES if known.name == table)
    found = []
    for mark, origin in sorted(marks.items()):
        topic, partition = sources[mark >> 32], mark & 0xFFFF
        if topic in ("events", "touches"):
            found.append(Reflected("events", partition, origin >> 9))
        else:
            found.append(Reflected(topic, partition, origin))
    return found
