"""Tables: a world as requests read it, column by column: what a replica of its rows would show."""

from collections.abc import Callable

import numpy as np

from api.columns import Columns, Slots
from api.lore import Lore
from api.popular import PopularLists
from models.features import Floats
from models.items import ItemRow
from models.outcomes import Outcomes
from models.popular import Popular
from models.users import User
from ops.evaluate.world import World
from streams.slates import Reached


class Tables:
    """The tables of an `api.state.State` over a world; what was learned is the world's own, not a copy."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.columns = Columns()
        self.lore = Lore(self.columns, world.learned.dimensions)
        self.lore.learned = world.learned
        self._lists = PopularLists(self.columns, lambda context: [world.contexts.get(context, Popular())])
        self.on_user_change: list[Callable[[str], None]] = []
        self.ready = True

    def follow(self) -> Slots:
        """Take over every row that changed since the last call; return the slots of the items concerned."""
        world = self._world
        put = self.columns.put_all([(item, world.items[item]) for item in sorted(world.touched)])
        met = [self.lore.meet(item) for item in world.moved()]
        world.touched.clear()
        self._lists.clear()
        return np.unique(np.concatenate([put, np.array(met, dtype=np.int64)]))

    @property
    def reached(self) -> Reached:
        """How far sources are folded: there is no log."""
        return Reached()

    def user(self, user_id: str) -> User | None:
        """Return a user's row."""
        return self._world.users.get(user_id)

    def item(self, item_id: str) -> ItemRow | None:
        """Return an item's row."""
        return self._world.items.get(item_id)

    def popular(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return a popular list and its decayed choices at `now` (ms), best first."""
        return self._lists.get(context, now)

    def outcomes(self, experiment: str) -> list[Outcomes]:  # noqa: ARG002
        """Return the rows of an experiment: there is none in an evaluation."""
        return []

    def user_offset(self, user: User) -> int:
        """Return the number of the last event in a user, -1 for none."""
        return user.marks.get(0, -1)

    def lag(self) -> int:
        """Return how many records are still to be read: none ever."""
        return 0

    def staleness_ms(self) -> float:
        """Return how old the state is: not at all."""
        return 0.0
