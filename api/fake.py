"""Fake: a state without a broker, events through the real folds, items searched exactly; for tests."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from api.columns import Columns, Slots
from api.lore import Lore
from api.placing import LIKES, Flags, Guess, Placer
from api.state import State
from models import actions
from models.decay import current, growth
from models.features import Floats
from models.items import ItemRow, list_item, touch
from models.lately import lately
from models.learned import COMMON, Learned
from models.learner import Learner
from models.outcomes import Outcomes, change
from models.popular import HALF_LIFE, Popular, choose
from models.rerank import best
from models.users import User, react
from streams.events import Event
from streams.items import Item
from streams.slates import Reached

MOST = 500  # items of a list


class Fake:
    """Tables, vectors, trends and index in one object: what a replica of the folded log would show.

    `fold` takes events in; `refresh` brings the derived arrays up to a time (ms), as a process keeps doing.
    """

    def __init__(self, dimensions: int = 64, weights: Mapping[str, float] = actions.DEFAULTS) -> None:
        self.columns = Columns()
        self.lore = Lore(self.columns, dimensions)
        self._learner = Learner(Learned(dimensions))
        self._placer = Placer(self.columns, self.lore)
        self._guess: Guess | None = None
        self.users: dict[str, User] = {}
        self.items: dict[str, ItemRow] = {}
        self.contexts: dict[str, Popular] = {}
        self.experiments: dict[str, Outcomes] = {}
        self.on_user_change: list[Callable[[str], None]] = []
        self.ready = True
        self._weights = weights
        self._folded = 0
        self._dirty: set[str] = set()
        self.trending = self.fresh = self.popular_all = np.zeros(0, dtype=np.int64)
        self.y = np.zeros((0, dimensions + 1), dtype=np.float16)
        self._exact = self.y.astype(np.float32)
        self.likes = np.zeros((0, LIKES), dtype=np.int32)

    @classmethod
    def of(cls, events: Iterable[Event], items: Mapping[str, Item], now: int, dimensions: int = 64) -> "Fake":
        """Return the fake of a catalogue and a log, as it stands at `now` (ms)."""
        fake = cls(dimensions)
        for item, catalogue in items.items():
            fake.put(item, catalogue)
        fake.fold(events)
        fake.refresh(now)
        return fake

    @property
    def state(self) -> State:
        """The state an engine reads."""
        return State(self, self, self, self)

    def put(self, item: str, catalogue: Item | None) -> None:
        """Fold a catalogue record."""
        list_item(self.items.setdefault(item, ItemRow()), catalogue)
        self._dirty.add(item)

    def fold(self, events: Iterable[Event]) -> None:
        """Fold events into users, items, what is popular and experiments, as the agents do."""
        changed = set()
        for event in events:
            user = self.users.setdefault(event.user, User())
            user.marks[0] = self._folded
            said, choice, changed_trials = react(user, event, self._folded, self._weights)
            for outcome in changed_trials:
                change(self.experiments.setdefault(outcome.experiment, Outcomes()), outcome)
            if choice is not None:
                self._learner.learn(choice)
            if said is not None:
                touch(self._row(said.item), said)
                amount = said.weight * growth(said.at, HALF_LIFE)
                for context in said.contexts:
                    choose(self.contexts.setdefault(context, Popular()), said.item, amount)
            self._folded += 1
            changed.add(event.user)
        for name in changed:
            for callback in self.on_user_change:
                callback(name)

    def _row(self, item: str) -> ItemRow:
        self._dirty.add(item)
        return self.items.setdefault(item, ItemRow())

    def refresh(self, now: int) -> None:
        """Bring columns, lists and vectors up to date."""
        columns, learned = self.columns, self._learner.learned
        for slot in self._learner.changed().tolist():
            self.lore.put(0, learned.keys[slot], learned.row(slot))
        self.lore.put(0, COMMON, learned.common.row())
        columns.put_all([(item, self.items[item]) for item in sorted(self._dirty)])
        self._dirty.clear()
        size = len(columns)
        _, day, week, _ = lately(columns, slice(size), now)
        order = np.argsort(-columns.chosen[:size], kind="stable")
        self.popular_all = order[columns.listed[order]]
        self.trending = np.argsort(np.log1p(week / 7.0) - np.log1p(day), kind="stable")[:MOST]
        born = np.where(np.isnan(columns.published_at), columns.first_at, columns.published_at)[:size]
        self.fresh = np.argsort(-np.nan_to_num(born, nan=np.inf), kind="stable")[:MOST]
        self._guess = self._placer.fit() or self._guess
        self._exact, self.likes = self._placer.place(np.arange(size), self._guess)
        self.y = self._exact.astype(np.float16)

    @property
    def reached(self) -> Reached:
        """How far sources are folded: there is no log."""
        return Reached()

    def user(self, user_id: str) -> User | None:
        """Return a user's row."""
        return self.users.get(user_id)

    def item(self, item_id: str) -> ItemRow | None:
        """Return an item's row."""
        return self.items.get(item_id)

    def popular(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return a context's items and what is left of their choices, best first."""
        held = self.contexts.get(context, Popular()).items
        ranked = sorted(
            ((current(total, now, HALF_LIFE), item) for item, total in held.items()), reverse=True
        )[:200]
        slots = np.array([self.columns.slot(item) for _, item in ranked], dtype=np.int64)
        return slots, np.array([value for value, _ in ranked], dtype=np.float32)

    def outcomes(self, experiment: str) -> list[Outcomes]:
        """Return the row of an experiment."""
        return [self.experiments[experiment]] if experiment in self.experiments else []

    def user_offset(self, user: User) -> int:
        """Return the number of the last event folded into a user."""
        return user.marks.get(0, -1)

    def lag(self) -> int:
        """Return how many records are still to be read: none ever."""
        return 0

    def staleness_ms(self) -> float:
        """Return how old the state is: not at all."""
        return 0.0

    def by_category(self, code: int) -> Slots:
        """Return the items of a category, the most chosen first."""
        held: Slots = self.popular_all[(self.columns.categories[self.popular_all] == code).any(axis=1)]
        return held

    def guessed(self, slots: Slots) -> Flags:
        """Tell whose place comes from what the catalogue says, more or less."""
        known = self._placer.guessed(slots)
        return known if self._guess is not None else np.zeros_like(known)

    def search(self, wanted: Floats, count: int) -> tuple[Slots, Floats]:
        """Return the nearest items by inner product."""
        scores: Floats = self._exact @ wanted
        nearest = best(scores, count)
        return nearest, scores[nearest]
