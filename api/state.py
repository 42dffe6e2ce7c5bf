"""State: what the engine reads, as it needs to see it; a replica and what is derived from it.

Every array is indexed by slot (api/columns.py). Nothing here may block: what is not in memory is not asked
for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from api.lore import Lore
from models.features import Floats
from models.items import ItemRow
from models.outcomes import Outcomes
from models.users import User
from streams.slates import Reached


class Tables(Protocol):
    """The replica of the tables."""

    @property
    def columns(self) -> Columns:
        """The items, column by column."""

    @property
    def lore(self) -> Lore:
        """What was learned."""

    @property
    def on_user_change(self) -> list[Callable[[str], None]]:
        """Whom to tell of changed rows."""

    @property
    def ready(self) -> bool:
        """Whether everything known at the start was read."""

    @property
    def reached(self) -> Reached:
        """How far the rows had folded their sources, where that is certain."""

    def user(self, user_id: str) -> User | None:
        """Return a user; shared, to be copied before it is changed."""

    def item(self, item_id: str) -> ItemRow | None:
        """Return the row of an item."""

    def popular(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return a popular list and its decayed choices at `now` (ms), best first."""

    def outcomes(self, experiment: str) -> list[Outcomes]:
        """Return the rows of an experiment, one for each partition that has any."""

    def user_offset(self, user: User) -> int:
        """Return the offset of the last event in a user, -1 for none."""

    def lag(self) -> int:
        """Return how many records are known and not yet read."""

    def staleness_ms(self) -> float:
        """Return how old the state is."""


class Vectors(Protocol):
    """Where items stand: `y` holds out vector and bias of the learned embedding, or what stands in for them."""

    @property
    def y(self) -> npt.NDArray[np.float16]:
        """The places by slot, shape (slots, d + 1); zero for an item without one."""

    @property
    def likes(self) -> npt.NDArray[np.int32]:
        """The well-known items that each of the little known is like, by slot, shape (slots, LIKES); -1 for none."""

    def guessed(self, slots: Slots, /) -> npt.NDArray[np.bool_]:
        """Tell whose place comes from what the catalogue says, more or less."""


class Trends(Protocol):
    """Slots in the order of what was chosen lately, or ever, or is new; best first."""

    @property
    def trending(self) -> Slots:
        """What is chosen more than before."""

    @property
    def fresh(self) -> Slots:
        """What was listed lately and looked at least."""

    @property
    def popular_all(self) -> Slots:
        """Everything listed, the most chosen first."""

    def by_category(self, code: int, /) -> Slots:
        """Return a category's items, the most chosen first."""


class Index(Protocol):
    """The nearest items by inner product, best first."""

    def search(self, query: Floats, count: int, /) -> tuple[Slots, Floats]:
        """Return slots and inner products."""


@dataclass(frozen=True)
class State:
    """Everything an answer is made of."""

    tables: Tables
    vectors: Vectors
    trends: Trends
    index: Index

    @property
    def columns(self) -> Columns:
        """The items, column by column."""
        return self.tables.columns

    @property
    def lore(self) -> Lore:
        """What was learned."""
        return self.tables.lore


def codes(columns: Columns, names: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return the codes of the categories that are known."""
    known = (columns.category_code.get(name, -1) for name in names)
    return np.array([code for code in known if code >= 0], dtype=np.int32)
