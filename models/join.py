"""Join: what a user was shown meets what the user did, and both become examples.

A row keeps the user's newest slates and acts, by event time and whatever has met whatever: two sets that only ever
take in and trim. So its bytes do not depend on how the two topics interleave, and whichever of slate and act comes
first waits for the other. What is said when they meet follows from what is kept; the learner knows an example that
it was told before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from models import actions, marks
from models.decay import DAY
from models.rings import digest
from models.users import ERASE
from streams.events import Event
from streams.examples import Seen, digest_of
from streams.rows import pack, unpack
from streams.slates import Slate

VERSION = 1
SHOWINGS = 8  # slates kept
PLACES = 50  # of a slate
ACTS = 64  # acts that name a request
WINDOW = DAY  # ms between being shown and being chosen


class Showing(NamedTuple):
    """A slate as it is kept; `matrix` holds float32, a row for each item, in the order that `features` stands for.

    One served again from the cache names the one it repeats in `same_as`, and holds nothing else.
    """

    at: int
    request: bytes
    same_as: bytes = b""
    surface: str = ""
    features: bytes = b""
    items: tuple[str, ...] = ()
    matrix: bytes = b""


class Act(NamedTuple):
    """Something done to an item; `kind` is an action, or "" for an impression."""

    at: int
    request: bytes
    item: bytes
    kind: str


@dataclass(slots=True)
class Shown:
    """A row of `shown`: what one user was shown lately, and did about it."""

    marks: dict[int, int] = field(default_factory=dict)
    erased_at: int = 0
    showings: list[Showing] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(VERSION, (marks.in_order(self.marks), self.erased_at, self.showings, self.acts))

    @classmethod
    def from_row(cls, row: bytes) -> "Shown":
        """Return what a row says; raises StateError on another version."""
        known, erased_at, showings, acts = unpack(VERSION, row)
        kept = [
            Showing(at, request, same, surface, features, tuple(items), matrix)
            for at, request, same, surface, features, items, matrix in showings
        ]
        return cls(known, erased_at, kept, [Act(*each) for each in acts])


def act_of(event: Event, weights: Mapping[str, float]) -> str | None:
    """Return the action an event stands for, "" for an impression, None for what says nothing of its item.

    A rating below the middle is no rating to be hoped for, nor is a dwell of no time.

    >>> act_of(Event(event_id="e", type="rating", at=1, user_id="u", item_id="i", value=1.0), actions.DEFAULTS)
    """
    if event.type == actions.IMPRESSION:
        return ""
    weight = actions.weight_of(weights, event.type, event.value)
    return event.type if weight * weights.get(event.type, 0.0) > 0 else None


def act(
    shown: Shown, event: Event, origin: int, source: int, weights: Mapping[str, float]
) -> tuple[bool, Seen | None]:
    """Fold an event; return whether the row changed, and what is to be learned. `source` is its mark.

    One that names a request is kept until its slate comes. Any other belongs to the newest slate that showed its item,
    and leaves nothing behind.
    """
    if event.type == ERASE:
        if changed := marks.advance(shown.marks, source, origin):
            _forget(shown, event.at)
        return changed, None
    kind = None if event.item_id is None else act_of(event, weights)
    if kind is None or event.item_id is None:
        return False, None
    item = digest(event.item_id, 8)
    if event.request_id is None:
        found = [each for each in shown.showings if event.item_id in _content(shown, each).items]
        return False, _meet(shown, Act(event.at, found[-1].request, item, kind), origin) if found else None
    if not marks.advance(shown.marks, source, origin):
        return False, None
    done = Act(event.at, digest(event.request_id, 8), item, kind)
    if event.at <= shown.erased_at:
        return True, None
    said = None
    same = [each for each in shown.acts if each[1:] == done[1:]]
    if not same:
        said = _meet(shown, done, origin)
    shown.acts = sorted([*(each for each in shown.acts if each not in same), max([*same, done])])[-ACTS:]
    return True, said


def show(shown: Shown, slate: Slate, origin: int, source: int) -> tuple[bool, Seen | None]:
    """Fold a slate; as `act`. One that was ranked without features teaches nothing."""
    if not marks.advance(shown.marks, source, origin):
        return False, None
    showing = _showing(slate)
    if showing is None or slate.at <= shown.erased_at:
        return True, None
    others = [each for each in shown.showings if each.request != showing.request]
    waiting = [each for each in shown.acts if each.request == showing.request]
    known = len(others) < len(shown.showings)  # logged twice
    shown.showings = sorted([*others, showing])[-SHOWINGS:]
    return True, None if known else _seen(shown, showing, [], waiting, origin, "slates")


def _showing(slate: Slate) -> Showing | None:
    request = digest(slate.request_id, 8)
    if slate.same_as:
        return Showing(slate.at, request, digest(slate.same_as, 8))
    items = [item for item in slate.items[:PLACES] if item.features]  # an unknown one, at the end, has none
    if not slate.features or not items or any(len(item.features) != len(slate.features) for item in items):
        return None
    matrix = np.array([item.features for item in items], np.float32)
    names = tuple(item.item_id for item in items)
    return Showing(slate.at, request, b"", slate.surface, digest_of(slate.features), names, matrix.tobytes())


def _meet(shown: Shown, done: Act, origin: int) -> Seen | None:
    showing = next((each for each in shown.showings if each.request == done.request), None)
    if showing is None:
        return None
    before = [each for each in shown.acts if each.request == done.request]
    return _seen(shown, showing, before, [done], origin, "events")


def _seen(
    shown: Shown,
    showing: Showing,
    before: list[Act],
    now: list[Act],
    origin: int,
    source: Literal["events", "slates"],
) -> Seen | None:
    """Return what acts say of a slate that those before them did not: places known to be seen, and what was chosen."""
    content = _content(shown, showing)
    place_of = _places(content.items)
    now = [each for each in now if each.item in place_of and abs(each.at - showing.at) <= WINDOW]
    fresh = sorted(_covered(now, place_of) - _covered(before, place_of))
    chosen = [(each.kind, place_of[each.item]) for each in now if each.kind]
    rows = sorted({*fresh, *(place for _, place in chosen)})
    if not rows:
        return None
    width = len(content.matrix) // len(content.items)
    matrix = b"".join(content.matrix[place * width : (place + 1) * width] for place in rows)
    return Seen(
        origin, source, showing.at, content.surface, showing.request, content.features,
        tuple(rows), tuple(fresh), tuple(chosen), matrix,
    )  # fmt: skip


def _covered(acts: Iterable[Act], place_of: Mapping[bytes, int]) -> set[int]:
    """Return the places that acts show to be seen.

    An impression shows its own; who acts on a place has come past those above it (the cascade of Craswell et al. 2008,
    "An experimental comparison of click position-bias models"). Of the places below nothing is known.
    """
    covered: set[int] = set()
    for each in acts:
        place = place_of.get(each.item)
        if place is not None:
            covered.update(range(place if each.kind == "" else 0, place + 1))
    return covered


def _content(shown: Shown, showing: Showing) -> Showing:
    if not showing.same_as:
        return showing
    return next((each for each in shown.showings if each.request == showing.same_as), showing)


@lru_cache(maxsize=4096)
def _places(items: tuple[str, ...]) -> Mapping[bytes, int]:
    return {digest(item, 8): place for place, item in enumerate(items)}


def _forget(shown: Shown, at: int) -> None:
    shown.erased_at = max(shown.erased_at, at)
    shown.showings = [each for each in shown.showings if each.at > shown.erased_at]
    shown.acts = [each for each in shown.acts if each.at > shown.erased_at]
