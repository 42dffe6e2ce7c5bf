"""Users: a row of `users`, and the fold of their events into it.

History, affinities, counters, session, seen filter and trials; and what each event says to its item, to the learner
and of its trials.
Every part is bounded: see the constants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import msgpack

from models import actions, rings, trials
from models.decay import DAY, growth, keep_largest
from models.marks import in_order
from models.trials import Trials
from streams.events import Event
from streams.examples import Choice
from streams.exposures import EXPOSURE
from streams.rows import pack, unpack
from streams.touches import Outcome, Touch

VERSION = 6
HISTORY = 64  # events kept in full; the oldest quarter leaves at once
TRAIL = 50  # distinct chosen items kept, newest first
SEEN = 400  # items the user acted on, as 4-byte hashes
BEFORE = 160  # those of them that were met last, that tell what someone likes beyond their trail
ERASE = "erase"  # reserved event type: forget all that events said, but the marks
IDS = 64  # recent event ids, as 8-byte hashes: the same id within these counts once
EXPOSURES = 16  # the same of exposures
CATEGORIES = 48
TYPES = 32
HALF_LIFE = 30 * DAY
SESSION_GAP = 30 * 60_000  # ms without an event that end a session
ATTRIBUTION = (
    DAY  # ms: an event further behind its user's newest one comes too late to be joined with a slate
)
FOLDED, DUPLICATES, LATE = 0, 1, 2  # what a tally counts, whatever was erased since


_packer = msgpack.Packer(use_bin_type=True)


@dataclass(slots=True)
class User:
    """What is known of one user.

    `past` holds the last `length` events as MessagePack, one after the other, so that writing the row copies it
    and only a reader decodes it. `affinity` (by category) and `counts` (by type) are decayed sums, `models.decay`.
    `tally` counts events folded, known by their id and so not folded again, and, of the folded, too late to be
    attributed. `trials` are the experiments the user takes part in, None for who never did; `exposed` are the ids of
    exposures, apart from those of events so that lists shown do not push out what was done.
    """

    marks: dict[int, int] = field(default_factory=dict)
    ids: bytearray = field(default_factory=bytearray)
    first_at: int = 0
    last_at: int = 0
    past: bytearray = field(default_factory=bytearray)
    length: int = 0
    trail: list[str] = field(default_factory=list)
    affinity: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    session: list[int] = field(default_factory=lambda: [0, 0, 0])  # started, last, events
    seen: bytearray = field(default_factory=bytearray)
    profile: dict[str, Any] | None = None
    erased_at: int = 0
    tally: list[int] = field(default_factory=lambda: [0, 0, 0])
    exposed: bytearray = field(default_factory=bytearray)
    trials: Trials | None = None

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(
            VERSION,
            (in_order(self.marks), self.ids, self.first_at, self.last_at, self.past, self.length, self.trail,
             self.affinity, self.counts, self.totals, self.session, self.seen, self.profile, self.erased_at,
             self.tally, self.exposed, None if self.trials is None else self.trials.fields()),
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: bytes) -> "User":
        """Return the user of a row; raises StateError on another version."""
        user = cls(*unpack(VERSION, row))
        user.ids, user.past, user.seen = bytearray(user.ids), bytearray(user.past), bytearray(user.seen)
        user.exposed = bytearray(user.exposed)
        if user.trials is not None:
            user.trials = Trials.of(cast("Sequence[Any]", user.trials))
        return user

    @property
    def known(self) -> int:
        """How many distinct items the user acted on, as far as they are remembered."""
        return len(self.seen) // 4

    @property
    def before(self) -> bytes:
        """Hashes of the items the user met last, in that order, however often since; none until the trail is full."""
        return bytes(self.seen[-4 * BEFORE :]) if len(self.trail) == TRAIL else b""

    @property
    def history(self) -> list[list[Any]]:
        """The recent events, oldest first, each [item, type, at, weight]."""
        unpacker = msgpack.Unpacker(use_list=True)
        unpacker.feed(self.past)
        return list(unpacker)


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


Said = tuple[Touch | None, Choice | None, Sequence[Outcome]]
NOTHING: Said = (None, None, ())


def react(
    user: User,
    event: Event,
    origin: int,
    weights: Mapping[str, float],
    *,
    speaks: bool = True,
) -> Said:
    """Fold an event into its user and return what it says to its item, to the learner and of its trials.

    `origin` numbers the event within its partition (`streams.touches.origin_of`); `weights` give each action's
    weight. A known event id changes nothing but the tally and says nothing; nor does a fold that never `speaks`,
    where what it would say was said before. An exposure is no act of the user: it begins or changes trials alone.
    """
    tally = user.tally
    if event.type == EXPOSURE:
        changed = _expose(user, event, origin)
        return None, None, changed if speaks else ()
    event_id = rings.digest(event.event_id, 8)
    if rings.known(user.ids, event_id):
        tally[DUPLICATES] += 1
        return NOTHING
    rings.remember(user.ids, event_id, IDS)
    at, kind, item = event.at, event.type, event.item_id
    tally[FOLDED] += 1
    if at < user.last_at - ATTRIBUTION:
        tally[LATE] += 1
    if kind == ERASE:
        changed = _erase(user, at, origin)
        return None, None, changed if speaks else ()
    grown = growth(at, HALF_LIFE)
    _count(user, kind, at, grown)
    outcomes: Sequence[Outcome] = ()
    if user.trials is not None:
        changed = trials.act(user.trials, event, origin, weights)
        outcomes = changed if speaks else ()
    if item is None:
        return None, None, outcomes
    weight = actions.weight_of(weights, kind, event.value)
    touch, choice = _say(user, event, item, origin, weight) if speaks else (None, None)
    if weight or kind != actions.IMPRESSION:
        _remember(user, event, item, weight, grown)
    return touch, choice, outcomes


def _expose(user: User, event: Event, origin: int) -> Sequence[Outcome]:
    event_id = rings.digest(event.event_id, 8)
    if rings.known(user.exposed, event_id):
        user.tally[DUPLICATES] += 1
        return ()
    rings.remember(user.exposed, event_id, EXPOSURES)
    user.tally[FOLDED] += 1
    if event.at <= user.erased_at or not event.exposures:
        return ()
    if user.trials is None:
        user.trials = Trials()
    return trials.expose(user.trials, event, user.totals, origin)


def _say(user: User, event: Event, item: str, origin: int, weight: float) -> tuple[Touch, Choice | None]:
    touch = Touch(
        origin,
        item,
        event.type,
        event.at,
        weight,
        -1 if event.position is None else event.position,
        event.surface or "",
        contexts(event.surface, event.categories, event.context.get("country") if event.context else None)
        if weight > 0
        else (),
    )
    trail = user.trail
    if not weight or (weight > 0 and trail and trail[0] == item):
        return touch, None
    after = tuple([other for other in trail if other != item] if item in trail else trail)
    # A full trail has forgotten choices; then whatever they acted on counts as known, as it does for their lists.
    again = item in trail or (len(trail) == TRAIL and rings.known(user.seen, seen_hash(item)))
    before = user.before if weight > 0 and not again else b""  # the others teach the stack nothing
    return touch, Choice(origin, item, after, event.at, weight, user.known, again, before)


def _erase(user: User, at: int, origin: int) -> Sequence[Outcome]:
    # marks and hashed event ids stay: without them a replay would bring the past back. The profile went with its
    # tombstone; one that stands here was written later, and its own topic alone says when it ends. When the log is
    # folded anew the tombstone speaks again, long after the id was forgotten: the same erasure counts once
    if at <= user.erased_at:
        return ()
    left = trials.leave(user.trials, origin)
    kept = {name: getattr(user, name) for name in ("marks", "ids", "profile", "tally", "exposed")}
    blank = User(**kept, erased_at=at)
    for name in User.__slots__:
        setattr(user, name, getattr(blank, name))
    return left


def _count(user: User, kind: str, at: int, grown: float) -> None:
    if at < user.first_at or not user.first_at:
        user.first_at = at
    if at > user.last_at:  # plain comparisons, here and below: this runs for every event there is
        user.last_at = at
    totals, counts, session = user.totals, user.counts, user.session
    if kind in totals:
        totals[kind] += 1
        counts[kind] += grown
    elif len(totals) < TYPES:
        totals[kind], counts[kind] = 1, grown
    if at - session[1] > SESSION_GAP:
        session[0], session[2] = at, 0
    if at > session[1]:
        session[1] = at
    session[2] += 1


def _remember(user: User, event: Event, item: str, weight: float, grown: float) -> None:
    user.past += _packer.pack((item, event.type, event.at, weight))
    user.length += 1
    if user.length > HISTORY:
        kept = user.history[HISTORY // 4 + 1 :]
        user.past, user.length = bytearray(b"".join(map(_packer.pack, kept))), len(kept)
    mark = seen_hash(item)
    if not rings.known(user.seen, mark):
        rings.remember(user.seen, mark, SEEN)
    if weight:
        affinity = user.affinity
        for category in event.categories:
            affinity[category] = affinity.get(category, 0.0) + weight * grown
        if len(affinity) > CATEGORIES:
            keep_largest(affinity, CATEGORIES * 2 // 3)
    trail = user.trail
    if weight > 0:
        if trail and trail[0] == item:
            return
        if item in trail:
            trail.remove(item)
        trail.insert(0, item)
        del trail[TRAIL:]
    elif weight < 0 and item in trail:
        trail.remove(item)
