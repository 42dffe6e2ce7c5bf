"""World: the folds of a worker and the learner in one process, without a log: what point-in-time rows are made from."""

from collections.abc import Mapping

from models import items, popular, users
from models.decay import growth
from models.items import ItemRow
from models.learned import DIMENSIONS, Learned
from models.learner import Learner
from models.popular import Popular
from models.users import User
from streams.events import Event
from streams.examples import Choice
from streams.items import Item
from streams.touches import Touch


class World:
    """Rows of users, items and popular contexts by key, and what was learned from them so far.

    `touched` are the items whose row has changed, for whoever follows them and clears it.
    """

    def __init__(self, weights: Mapping[str, float], dimensions: int = DIMENSIONS) -> None:
        self.users: dict[str, User] = {}
        self.items: dict[str, ItemRow] = {}
        self.contexts: dict[str, Popular] = {}
        self.learned = Learned(dimensions)
        self.learner = Learner(self.learned)
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

    def favour(self, touch: Touch) -> None:
        """Fold a touch into what is popular in its contexts."""
        amount = touch.weight * growth(touch.at, popular.HALF_LIFE)
        for context in touch.contexts:
            popular.choose(self.contexts.setdefault(context, Popular()), touch.item, amount)

    def put(self, item: str, catalogue: Item | None) -> None:
        """Fold a record of the catalogue."""
        items.list_item(self.items.setdefault(item, ItemRow()), catalogue)
        self.touched.add(item)
