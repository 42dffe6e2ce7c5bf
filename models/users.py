"""Users: a row of `users`, and the fold of their events into it.

History, affinities, counters, session, seen filter and vector; and what each event says to its item. Every part is
bounded: see the constants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from models import actions, rings, vectors
from models.decay import DAY, Counter, add, prune
from streams.events import Event
from streams.rows import Vector, pack, unpack
from streams.touches import Link, Touch

VERSION = 1
HISTORY = 50  # events kept in full
TRAIL = 10  # distinct chosen items kept, newest first
LINKS = 5  # of the trail, how many learn that they were followed
SEEN = 400  # items the user acted on, as 4-byte hashes
ERASE = "erase"  # reserved event type: forget everything but the marks
IDS = 64  # recent event ids, as 8-byte hashes: the same id within these counts once
CATEGORIES = 48
TYPES = 32
HALF_LIFE = 30 * DAY
SESSION_GAP = 30 * 60_000  # ms without an event that end a session


@dataclass(slots=True)
class User:
    """What is known of one user; `history` runs oldest to newest as [item, type, at, weight].

    `mass` is the sum of the weights inside `vector`.
    """

    marks: dict[int, int] = field(default_factory=dict)
    ids: bytearray = field(default_factory=bytearray)
    first_at: int = 0
    last_at: int = 0
    history: list[list[Any]] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)
    affinity: dict[str, Counter] = field(default_factory=dict)
    counts: dict[str, Counter] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    session: list[int] = field(default_factory=lambda: [0, 0, 0])  # started, last, events
    seen: bytearray = field(default_factory=bytearray)
    vector: Vector | None = None
    mass: float = 0.0
    profile: dict[str, Any] | None = None

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(
            VERSION,
            (self.marks, self.ids, self.first_at, self.last_at, self.history, self.trail, self.affinity,
             self.counts, self.totals, self.session, self.seen, self.vector, self.mass, self.profile),
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: bytes) -> "User":
        """Return the user of a row; raises StateError on another version."""
        user = cls(*unpack(VERSION, row))
        user.ids, user.seen = bytearray(user.ids), bytearray(user.seen)
        return user


@lru_cache(maxsize=1 << 15)
def contexts(surface: str | None, categories: tuple[str, ...], country: str | None) -> tuple[str, ...]:
    """Return the keys of `popular` that an event counts for, the widest first."""
    keys = ["all"]
    if surface:
        keys.append(f"surface:{surface}")
    if country:
        keys.append(f"country:{country}")
    keys += [f"category:{category}" for category in categories]
    return tuple(keys)


@lru_cache(maxsize=1 << 17)
def seen_hash(item: str) -> bytes:
    """Return the 4 bytes that stand for an item in the seen filter."""
    return rings.digest(item, 4)


def react(
    user: User, event: Event, origin: int, weights: Mapping[str, float], dimensions: int
) -> list[Touch | Link]:
    """Fold an event into its user and return what it says to items; a known event id changes nothing.

    `origin` numbers the event within its partition (`streams.touches.origin_of`); `weights` give each action's
    weight. The vector a touch carries is the user's before the event: what led to it.
    """
    event_id = rings.digest(event.event_id, 8)
    if rings.known(user.ids, event_id):
        return []
    rings.remember(user.ids, event_id, IDS)
    if event.type == ERASE:
        _erase(user)
        return []
    at, kind, item = event.at, event.type, event.item_id
    _count(user, kind, at)
    if item is None:
        return []
    weight = actions.weight_of(weights, kind, event.value)
    led_by = user.trail
    before = vectors.to_half(user.vector) if weight > 0 and user.vector is not None else b""
    said: list[Touch | Link] = [
        Touch(
            origin=origin,
            item=item,
            type=kind,
            at=at,
            weight=weight,
            position=-1 if event.position is None else event.position,
            surface=event.surface or "",
            contexts=contexts(event.surface, event.categories, event.context.get("country"))
            if weight > 0
            else (),
            recent=tuple([other for other in led_by[:LINKS] if other != item]) if weight > 0 else (),
            arrived=before,
            mass=user.mass if before else 0.0,
        )
    ]
    if weight > 0:
        said += [
            Link(origin, other, item, at, rank) for rank, other in enumerate(led_by[:LINKS]) if other != item
        ]
    if weight or kind != actions.IMPRESSION:
        _remember(user, event, item, weight, dimensions)
    return said


def _erase(user: User) -> None:
    # marks and hashed event ids stay: without them a replay would bring the past back
    blank = User(marks=user.marks, ids=user.ids)
    for name in User.__slots__:
        setattr(user, name, getattr(blank, name))


def _count(user: User, kind: str, at: int) -> None:
    user.first_at = at if not user.first_at else min(user.first_at, at)
    user.last_at = max(user.last_at, at)
    if kind in user.totals or len(user.totals) < TYPES:
        user.totals[kind] = user.totals.get(kind, 0) + 1
        add(user.counts, kind, 1.0, at, HALF_LIFE)
    session = user.session
    if at - session[1] > SESSION_GAP:
        session[0], session[2] = at, 0
    session[1] = max(session[1], at)
    session[2] += 1


def _remember(user: User, event: Event, item: str, weight: float, dimensions: int) -> None:
    user.history.append([item, event.type, event.at, weight])
    if len(user.history) > HISTORY:
        del user.history[0]
    mark = seen_hash(item)
    if not rings.known(user.seen, mark):
        rings.remember(user.seen, mark, SEEN)
    if weight:
        for category in event.categories:
            add(user.affinity, category, weight, event.at, HALF_LIFE)
        if len(user.affinity) > CATEGORIES:
            prune(user.affinity, CATEGORIES * 2 // 3, HALF_LIFE)
    if weight > 0 and user.trail[:1] != [item]:
        user.vector = vectors.advance(user.vector, item, dimensions)
        user.mass = user.mass * vectors.FADING + 1.0
        if item in user.trail:
            user.trail.remove(item)
        user.trail.insert(0, item)
        del user.trail[TRAIL:]
