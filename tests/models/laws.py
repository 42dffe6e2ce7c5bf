"""Laws of every fold, over a small `Kind` that says how to fold a list of records into rows.

A new fold is added to `KINDS` and has all the laws at once.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models import items, outcomes, popular, users
from models.actions import DEFAULTS
from models.decay import growth
from models.items import ItemRow
from models.outcomes import Outcomes
from models.popular import Popular
from models.rings import digest
from models.users import User
from streams.events import Event
from streams.exposures import EXPOSURE, MEASURES, MOST, PLACES, TEAM, Exposure
from streams.items import Item
from streams.touches import Outcome, Touch


@dataclass(frozen=True)
class Kind:
    """A fold: its state, how one record goes in, how many bytes a row may have, and records of every sort."""

    name: str
    state: Any
    fold: Callable[[Any, int, Any], None]
    most: int
    random_record: Callable[[random.Random], Any]
    hostile_record: Callable[[int], Any]


def _fold_user(user, origin, event):
    users.react(user, event, origin, DEFAULTS)


def _exposure(key, measures, teams=b""):
    return Exposure(key, 1, "a", measures, teams)


def _event(draw):
    item = draw.randrange(30)
    if draw.random() < 0.1:
        return Event(
            event_id=f"{draw.getrandbits(64):x}",
            type=EXPOSURE,
            at=draw.randint(1_690_000_000_000, 1_700_000_000_000),
            user_id="u",
            request_id=f"r{item}",
            surface="home",
            value=20.0,
            exposures=(
                _exposure("x", ("lists", "click", "purchase.value@cart", "days", "pre.click")),
                _exposure("y", ("prefers", "capped"), digest(f"i{item}", 4) + b"\1"),
            ),
        )
    return Event(
        event_id=f"{draw.getrandbits(64):x}",
        type=draw.choice([*DEFAULTS, "wink"]),
        at=draw.randint(1_690_000_000_000, 1_700_000_000_000),
        user_id="u",
        item_id=draw.choice([None, f"i{item}", f"i{item}"]),
        value=draw.choice([None, draw.uniform(-5, 60)]),
        surface=draw.choice([None, "home", "cart"]),
        position=draw.choice([None, draw.randrange(20)]),
        categories=tuple(f"c{item % n}" for n in (3, 7)),
        context=draw.choice([{}, {"country": "de"}]),
    )


def _hostile_event(n):
    if n % 5 == 0:
        measures = tuple(f"t{n % 7}{place}.value".rjust(134, "x") for place in range(MEASURES))
        shown = tuple(
            _exposure(f"{n}-{k}".ljust(64, "x"), measures, b"t" * PLACES * TEAM) for k in range(MOST)
        )
        return Event(
            event_id=f"{n}", type=EXPOSURE, at=1_700_000_000_000 + n, user_id="u", value=1e11, exposures=shown
        )
    return Event(
        event_id=f"{n}".rjust(256, "x"),
        type=f"t{n}" if n % 3 else "purchase",
        at=(946_684_800_000, 4_102_444_800_000, 1_700_000_000_000 + n)[n % 3],
        user_id="u" * 256,
        item_id=f"{n}".rjust(128, "ü"),
        value=(-1e11, 1e11, 0.0)[n % 3],
        surface=f"s{n}",
        position=9_999,
        categories=tuple(f"{n}-{c}".rjust(128, "ü") for c in range(8)),
        context={"country": "x" * 1024},
    )


def _fold_item(item, origin, said):
    if isinstance(said, Touch):
        items.touch(item, said)
    else:
        items.list_item(item, said)


def _said(draw):
    at = draw.randint(1_690_000_000_000, 1_700_000_000_000)
    if draw.random() < 0.1:
        return draw.choice([None, Item(title=str(at), attributes={"price": draw.random()})])
    name, weight = draw.choice(list(DEFAULTS.items()))
    return Touch(0, "i", name, at, weight, draw.randint(-1, 20), draw.choice(["", "home"]), ("all",))


def _hostile_said(n):
    at = 946_684_800_000 if n % 3 else 4_102_444_800_000
    return Touch(0, "i", f"t{n}".ljust(64, "x"), at, 1000.0, 9_999, f"s{n}".ljust(64, "x"), ("all",))


def _fold_popular(row, origin, said):
    popular.choose(row, *said)


def _hostile_choice(n):
    return f"{n}".rjust(128, "ü"), growth(4_102_444_800_000 if n % 2 else 946_684_800_000, popular.HALF_LIFE)


def _outcome(draw):
    names = ("lists", "click", "purchase.value")
    before, after = (
        (1.0, *(draw.uniform(0, 9) for _ in names)) if draw.random() < 0.9 else () for _ in range(2)
    )
    return Outcome(0, "x", draw.randint(1, 3), draw.choice("ab"), names, before, after)


def _hostile_outcome(n):
    names = tuple(f"{n}-{place}".ljust(140, "x") for place in range(MEASURES))
    return Outcome(0, "x", n, f"{n}".ljust(64, "x"), names, (), (1.0, *(1e50 for _ in names)))


KINDS = (
    Kind(
        "outcomes",
        Outcomes,
        lambda row, _, said: outcomes.change(row, said),
        200_000,
        _outcome,
        _hostile_outcome,
    ),
    Kind("users", User, _fold_user, 128_000, _event, _hostile_event),
    Kind("items", ItemRow, _fold_item, 64_000, _said, _hostile_said),
    Kind(
        "popular",
        Popular,
        _fold_popular,
        100_000,
        lambda draw: (f"i{draw.randrange(400)}", draw.random()),
        _hostile_choice,
    ),
)


def replay(kind, records, state=None, start=0):
    """Return the state after the records, folded one by one."""
    state = kind.state() if state is None else state
    for origin, record in enumerate(records, start):
        kind.fold(state, origin, record)
    return state


def check_round_trip(kind, records):
    """A row tells everything of its state: the state read back is the same, to the byte."""
    row = replay(kind, records).row()
    assert kind.state.from_row(row).row() == row


def check_snapshot_is_a_prefix(kind, records, cut):
    """Folding goes on from a row as if it had never been written."""
    kept = kind.state.from_row(replay(kind, records[:cut]).row())
    assert replay(kind, records[cut:], kept, cut).row() == replay(kind, records).row()


def check_snapshot_anywhere(kind, records):
    """Nor does it matter how often the state was written and read on the way."""
    state = kind.state()
    for origin, record in enumerate(records):
        kind.fold(state, origin, record)
        state = kind.state.from_row(state.row())
    assert state.row() == replay(kind, records).row()


def check_is_bounded(kind, count=3_000):
    """Whatever is folded, and however much of it, the row stays small and can be read."""
    state = kind.state()
    for n in range(count):
        kind.fold(state, n, kind.hostile_record(n))
        if n % 100 == 0:
            assert len(state.row()) <= kind.most
    row = state.row()
    assert len(row) <= kind.most
    assert kind.state.from_row(row).row() == row


def records_of(kind, seed, count):
    """Ordinary records, the same for the same seed."""
    draw = random.Random(seed)
    return [kind.random_record(draw) for _ in range(count)]
