"""Protocols: in what order a file's events are predicted and learned.

Only discoveries are predicted: the first time that a user chooses an item. What is chosen again teaches, and is
never ranked. A user's first choice of all, before which nothing is known, is looked at as a slice of its own.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.actions import weight_of
from ops.evaluate.judge import Due, Judge
from ops.evaluate.source import Row
from ops.evaluate.world import World
from streams.items import Item

# Who else judges a prediction: by the judge, of a user, after these, of an item, at a time, ranked so exactly.
Look = Callable[[Judge, Due, int], None]
Rows = Iterable[Row]


@dataclass(slots=True)
class Took:
    """Where the time went, in seconds, and over how many events and predictions."""

    folding: float = 0.0
    learning: float = 0.0
    ranking: float = 0.0
    events: int = 0
    predictions: int = 0


class Run:
    """What a protocol works on; each `every`-th discovery is predicted, and `looks` see it too."""

    def __init__(self, world: World, ks: Sequence[int], every: int = 1) -> None:
        self.world = world
        self.judge = Judge(world.learned, ks)
        self.looks: list[Look] = []
        self.took = Took()
        self._every = every
        self._discoveries = 0

    def predict(self, user: str, item: str, at: int) -> None:
        """Rank all items for a user about to choose one they never chose."""
        self._discoveries += 1
        if self._discoveries % self._every:
            return
        row = self.world.users.get(user)
        due = (
            Due(user, tuple(row.trail), row.known, row.before, item, at)
            if row is not None
            else Due(user, (), 0, b"", item, at)
        )
        began = time.perf_counter()
        self.world.merge()
        rank = self.judge.predict(due)
        self.took.ranking += time.perf_counter() - began
        self.took.predictions += 1
        if due.after:
            for look in self.looks:
                look(self.judge, due, rank)

    def learn(self, row: Row, *, positive: bool) -> None:
        """Fold an event and learn from it; an item is listed, as its event says it, when it is first met."""
        began = time.perf_counter()
        user, item = _who_what(row)
        if item not in self.world.items:
            self.world.put(item, Item(categories=row.event.categories))
        choice = self.world.fold(row.event)
        folded = time.perf_counter()
        if choice is not None:
            self.world.learn(choice, user)
        learned = time.perf_counter()
        self.took.folding += folded - began
        self.took.learning += learned - folded
        self.took.events += 1
        if positive:
            self.judge.chose(user, item)


def prequential(run: Run, rows: Rows, advance: Callable[[int], None]) -> None:
    """Predict each discovery, then learn it: test-then-learn in the order of the file."""
    for row in rows:
        positive = is_positive(row, run.world.weights)
        user, item = _who_what(row)
        if positive and run.judge.first(user, item):
            run.predict(user, item, row.event.at)
        run.learn(row, positive=positive)
        advance(1)


def leave_last_out(run: Run, rows: Rows, advance: Callable[[int], None]) -> None:
    """Learn all but each user's last discovery and what came after it, in one pass; then predict those."""
    last = _last_discoveries(rows, run.world.weights)
    held = []
    for row in rows:
        user, item = _who_what(row)
        number = last.get(user, -1)
        if number < 0 or row.number < number:
            run.learn(row, positive=is_positive(row, run.world.weights))
        elif row.number == number:
            held.append((user, item, row.event.at))
        advance(1)
    for user, item, at in held:
        run.predict(user, item, at)


PROTOCOLS: Mapping[str, Callable[[Run, Rows, Callable[[int], None]], None]] = {
    "prequential": prequential,
    "leave-last-out": leave_last_out,
}


def is_positive(row: Row, weights: Mapping[str, float]) -> bool:
    """Tell whether an event is one to predict: wanted, and of a weight that says choice."""
    return row.wanted and weight_of(weights, row.event.type, row.event.value) > 0


def _last_discoveries(rows: Rows, weights: Mapping[str, float]) -> dict[str, int]:
    """Return the number of each user's last discovery; users with a single one have none to spare."""
    own: dict[str, set[str]] = {}
    last = {}
    for row in rows:
        user, item = _who_what(row)
        known = own.setdefault(user, set())
        if is_positive(row, weights) and item not in known:
            if known:
                last[user] = row.number
            known.add(item)
    return last


def _who_what(row: Row) -> tuple[str, str]:
    return row.event.user, row.event.item_id or ""
