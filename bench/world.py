"""A made-up state of any size, written straight into columns, learned arrays and index: a large shop."""

import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from api.index import VectorIndex
from api.lore import Lore
from api.placing import LIKES
from api.state import State
from bench.index import Catalogue
from models import actions
from models.features import Floats
from models.items import WINDOWS, ItemRow
from models.learned import BIAS, CHOSEN, COMMON, MET, PAGE, PAGES, RECENT, SPANS, USED, Learned
from models.outcomes import Outcomes
from models.users import User, react
from streams.events import Event
from streams.slates import Reached

DIMENSIONS = 64
USERS = 2_000
EVENTS = 64  # of each user
CATEGORIES = 1_000
LIST = 1_600  # items of a popular list, as eight partitions make it
CHOICES = 50_000_000  # that were learned from


class World:
    """Tables, places, trends and index of `items` items; users are decoded from their rows at every look."""

    def __init__(self, items: int, say: Callable[[str], None] = lambda _: None) -> None:
        self.random = np.random.default_rng(11)
        self.now = int(time.time() * 1000)
        self.on_user_change: list[Callable[[str], None]] = []
        self.ready = True
        say(f"making {items:,} items")
        self.columns = self._columns(items)
        order = np.argsort(-self.columns.chosen[:items], kind="stable")
        self.popular_all: Slots = order
        self.trending: Slots = self.random.permutation(items)[:500]
        self.fresh: Slots = np.arange(items - 1, max(items - 501, -1), -1)
        self._by_category: list[Slots] = [order[order % CATEGORIES == code] for code in range(CATEGORIES)]
        self._counts = np.linspace(1000.0, 1.0, LIST, dtype=np.float32)
        self._rows = self._users(items)
        self.lore = self._learned(items)
        places = self.lore.places(np.arange(items))
        self.y = places.astype(np.float16)
        self.likes = np.zeros((0, LIKES), dtype=np.int32)
        self.index = self._index(places, say)

    @property
    def state(self) -> State:
        """The state an engine reads."""
        return State(self, self, self, self.index)

    def _index(self, vectors: Floats, say: Callable[[str], None]) -> VectorIndex:
        """Return the index over the vectors, which are always the same: built once, then kept on disk."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refold"
        folder = cache / f"bench-{len(vectors)}x{DIMENSIONS}"
        made = {"crc": zlib.crc32(vectors.data)}
        found = VectorIndex.load(folder, DIMENSIONS + 1, automatic=False)
        if found is not None and found[1] == made:
            return found[0]
        say("indexing them: a million take some ten minutes, once")
        began = time.perf_counter()
        index = VectorIndex(DIMENSIONS + 1, automatic=False)
        index.update(np.arange(len(vectors)), vectors)
        index.rebuild(wait=True)
        folder.mkdir(parents=True, exist_ok=True)
        index.save(folder, made)
        say(f"indexed in {time.perf_counter() - began:.0f} s, kept in {folder}")
        return index

    def _columns(self, items: int) -> Columns:
        random, columns = self.random, Columns(capacity=items + 1)
        for n in range(items):
            columns.slot(f"item-{n}")
        for n in range(CATEGORIES):
            columns.category(f"category-{n}")
        every = slice(0, items)
        columns.listed[every] = columns.available[every] = True
        columns.categories[every, 0] = np.arange(items) % CATEGORIES
        columns.chosen[every] = random.pareto(1.0, items) * 5
        columns.examined[every] = columns.chosen[every] * 20
        columns.ctr[every] = random.beta(2, 60, items)
        columns.first_at[every] = columns.published_at[every] = self.now - random.exponential(
            30 * 86_400_000, items
        )
        columns.last_at[every] = self.now - random.exponential(3_600_000, items)
        columns.tiles[every] = [self.now // span for span in WINDOWS]
        columns.choices[every] = columns.chosen[every, None, None] * np.array([[0.002], [0.03], [0.2]])
        columns.totals.add(columns.tiles[every], columns.choices[every])
        return columns

    def _learned(self, items: int) -> Lore:
        """Return what a replica has of a learner, taken over row by row: the learner's arrays are written at once."""
        random, learner = self.random, Learned(DIMENSIONS)
        for item in self.columns.ids:
            learner.slot(item)
        vectors, numbers = Catalogue(items, DIMENSIONS + 1).vectors, learner.arrays.numbers[:items]
        learner.out[:], learner.into[:] = vectors[:, :-1], vectors[:, :-1]
        numbers[:, BIAS], numbers[:, CHOSEN] = vectors[:, -1], self.columns.chosen[:items]
        numbers[:, MET] = CHOICES - random.exponential(1e6, items)
        numbers[:, RECENT : RECENT + len(SPANS)] = numbers[:, [CHOSEN]] * (0.001, 0.01, 0.1)
        numbers[:, USED] = used = np.minimum(4.0 * numbers[:, CHOSEN], PAGES * PAGE).astype(np.int64)
        held = -(-used // PAGE)
        learner.ready(pages=int(held.sum()))
        arrays, first = learner.arrays, np.cumsum(held) - held
        arrays.pages[:items] = first[:, None] + np.arange(PAGES)
        arrays.others[:] = random.integers(0, items, arrays.others.shape)
        arrays.counts[:] = random.exponential(3, arrays.counts.shape)
        learner.common.choices = CHOICES
        began, lore = time.perf_counter(), Lore(self.columns, DIMENSIONS)
        lore.put(0, COMMON, learner.common.row())
        for slot, item in enumerate(self.columns.ids):
            lore.put(0, item, learner.row(slot))
        self.rows_per_s = items / (time.perf_counter() - began)
        return lore

    def _users(self, items: int) -> dict[str, bytes]:
        rows = {}
        for n in range(USERS):
            user = User(marks={0: n})
            tastes = self.random.integers(0, CATEGORIES, 4)
            for k in range(EVENTS):
                category = int(self.random.choice(tastes))
                item = int(self.random.integers(0, max(1, items // CATEGORIES))) * CATEGORIES + category
                event = Event(
                    event_id=f"{n}-{k}",
                    type="click",
                    at=self.now - (EVENTS - k) * 3_600_000,
                    user_id=f"user-{n}",
                    item_id=f"item-{min(item, items - 1)}",
                    categories=(f"category-{category}",),
                )
                react(user, event, k, actions.DEFAULTS)
            rows[f"user-{n}"] = user.row()
        return rows

    def user(self, user_id: str) -> User | None:
        """Return a user, decoded anew as after every event of theirs."""
        row = self._rows.get(user_id)
        return None if row is None else User.from_row(row)

    def act(self, event: Event) -> None:
        """Fold an event into the row of its user, who is known, and tell whoever watches users."""
        user = User.from_row(self._rows[event.user])
        user.marks[0] += 1
        react(user, event, user.marks[0], actions.DEFAULTS)
        self._rows[event.user] = user.row()
        for told in self.on_user_change:
            told(event.user)

    def item(self, _: str) -> ItemRow | None:
        """Return nothing: columns hold what requests need."""
        return None

    def popular(self, context: str, _: int) -> tuple[Slots, Floats]:
        """Return a list as long as a busy context's."""
        start = sum(context.encode()) % 97
        slots = self.popular_all[start : start + LIST]
        return slots, self._counts[: len(slots)]

    def outcomes(self, _: str) -> list[Outcomes]:
        """Return the rows of an experiment: nobody takes part in any."""
        return []

    @property
    def reached(self) -> Reached:
        """How far sources are folded: there is no log."""
        return Reached()

    def user_offset(self, user: User) -> int:
        """Return the offset of the user's last event."""
        return user.marks.get(0, -1)

    def lag(self) -> int:
        """Return how many records are to be read: none."""
        return 0

    def staleness_ms(self) -> float:
        """Return how old the state is: not at all."""
        return 0.0

    def by_category(self, code: int) -> Slots:
        """Return the items of a category, the most chosen first."""
        return self._by_category[code]

    def guessed(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Tell whose place is a guess: nobody's."""
        return np.zeros(len(slots), dtype=np.bool_)
