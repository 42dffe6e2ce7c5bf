"""State: what the engine reads, as it needs to see it; the replica and what is derived from it in a running process.

Every array is indexed by slot (api/columns.py). Nothing here may block: what is not in memory is not asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from models.features import Floats
from models.items import ItemRow
from models.users import User


class Tables(Protocol):
    """The replica of the tables; `on_user_change` is called with the id of a user whose row has changed."""

    @property
    def columns(self) -> Columns: ...
    @property
    def on_user_change(self) -> list[Callable[[str], None]]: ...
    @property
    def ready(self) -> bool: ...
    def user(self, user_id: str) -> User | None: ...
    def item(self, item_id: str) -> ItemRow | None: ...
    def popular(self, context: str, now: int) -> tuple[Slots, Floats]: ...
    def user_offset(self, user: User) -> int: ...
    def lag(self) -> int: ...
    def staleness_ms(self) -> float: ...


class Vectors(Protocol):
    """Where users and items stand: `y` holds the items' unit vectors and a last coordinate for popularity."""

    @property
    def y(self) -> npt.NDArray[np.float16]: ...
    def query(self, recent: Slots, /) -> Floats | None: ...
    def similar(self, slot: int, /) -> Floats | None: ...


class Trends(Protocol):
    """Slots in the order of what was chosen lately, or ever, or listed last; best first."""

    @property
    def trending(self) -> Slots: ...
    @property
    def fresh(self) -> Slots: ...
    @property
    def popular_all(self) -> Slots: ...
    def by_category(self, code: int, /) -> Slots: ...


class Index(Protocol):
    """The nearest items by inner product, best first."""

    def search(self, query: Floats, count: int, /) -> tuple[Slots, Floats]: ...


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


def codes(columns: Columns, names: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return the codes of the categories that are known."""
    known = (columns.category_code.get(name, -1) for name in names)
    return np.array([code for code in known if code >= 0], dtype=np.int32)
