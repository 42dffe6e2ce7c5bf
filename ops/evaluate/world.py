"""World: the folds of a worker and the learner in one process, without a log: what point-in-time rows are made from."""

from collections.abc import Mapping

from models import items, popular, users
from models.decay import growth
from models.items import ItemRow
from models.learned import COMMON, DIMENSIONS, Learned
from models.learner import Learner
from models.merged import Merged
from models.popular import Popular
from models.users import User
from streams.events import Event
from streams.examples import Choice
from streams.items import Item
from streams.partition import partition_of
from streams.touches import Touch


class World:
    """Rows of users, items and popular contexts by key, and what was learned from them so far.

    `touched` are the items whose row has changed, for whoever follows them and clears it. `learned` is what requests
    would read: with several `shards` they learn apart, each from its users, and `merge` makes one of them.
    """

    def __init__(self, weights: Mapping[str, float], dimensions: int = DIMENSIONS, shards: int = 1) -> None:
        self.users: dict[str, User] = {}
        self.items: dict[str, ItemRow] = {}
        self.contexts: dict[str, Popular] = {}
        self._learners = [Learner(Learned(dimensions)) for _ in range(shards)]
        parts = [learner.learned for learner in self._learners]
        self._merged = Merged(parts) if shards > 1 else None
        self.learned = parts[0] if self._merged is None else self._merged.learned
        self._moved: dict[str, None] = {}  # told by the shards, but not yet by `moved`
        self.touched: set[str] = set()
        self.weights = weights
        self.folded = 0

    def fold(self, event: Event) -> Choice | None:
        """Fold an event into its user, its item and what is popular; return what `learner` may learn of it."""
        user = self.users.get(event.user)
        if user is None:
            user = self.users[event.user] = User()
        user.marks[0] = self.folded
        touch, choice, _ = users.react(user, event, self.folded, self.weights)
        self.folded += 1
        if touch is not None:
            items.touch(self.items.setdefault(touch.item, ItemRow()), touch)
            self.touched.add(touch.item)
            self.favour(touch)
        return choice

    def learn(self, choice: Choice, user: str = "") -> None:
        """Have the shard of the user learn a choice; one alone learns of all users."""
        shard = partition_of(user, len(self._learners)) if self._merged is not None else 0
        self._learners[shard].learn(choice)

    def merge(self) -> None:
        """Bring `learned` up to date with what several shards learned apart; one alone always is."""
        if self._merged is None:
            return
        moved = dict.fromkeys(self._changed())
        for key in (COMMON, *moved):
            self._merged.take(key)
        self._moved |= moved

    def moved(self) -> list[str]:
        """Return the items of `learned` that changed since the last call, in a steady order."""
        self.merge()
        moved, self._moved = self._moved, {}
        return list(moved) if self._merged is not None else self._changed()

    def _changed(self) -> list[str]:
        return [
            learner.learned.keys[slot] for learner in self._learners for slot in learner.changed().tolist()
        ]

    def favour(self, touch: Touch) -> None:
        """Fold a touch into what is popular in its contexts."""
        amount = touch.weight * growth(touch.at, popular.HALF_LIFE)
        for context in touch.contexts:
            popular.choose(self.contexts.setdefault(context, Popular()), touch.item, amount)

    def put(self, item: str, catalogue: Item | None) -> None:
        """Fold a record of the catalogue."""
        items.list_item(self.items.setdefault(item, ItemRow()), catalogue)
        self.touched.add(item)
