"""Stages: a history folded on Spark, as the workers fold it: users by user, their touches by item.

What no key parts comes to the machine that trains, in order: the choices, for the learner and for what is popular;
at each moment the row of the user who chose and those of the items that changed since the last. They make there what
a replica would show just then, so rows are the same, byte for byte, as where one process folds everything.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from models import items, users
from models.items import ItemRow
from models.users import User
from ops.log.manifest import Spans
from ops.progress import Advance
from ops.train.moments import Moment, Part, met
from ops.train.scene import Scene
from ops.train.spark import Heard
from streams.examples import Choice
from streams.items import Item
from streams.touches import Touch

Numbered = Any  # an RDD of pairs: a key with a number in the history behind it, and what was said
Place = tuple[str, int]


class Asked(NamedTuple):
    """A moment, and the row of its user as it stands then."""

    moment: Moment
    user: bytes


class Acted(NamedTuple):
    """What an event says to its item and to the learner."""

    touch: Touch
    choice: Choice | None


class Changed(NamedTuple):
    """The row of an item as it stands at the next moment."""

    item: str
    row: bytes


Told = tuple[int, Changed | Asked | Acted]  # behind its number in the history
ORDER = (Changed, Asked, Acted)  # of the same number: a moment stands before its own choice


class Staged:
    """A history on Spark: `ops.train.moments.Past`; `span` and `data` as in `ops.train.history.History`."""

    def __init__(self, heard: Heard, span: Spans, data: str, weights: Mapping[str, float]) -> None:
        self.span, self.data = span, data
        self._weights = dict(weights)
        self._said = heard.map(lambda one: one.said).zipWithIndex()

    def count(self) -> int:
        """Return how many records were said."""
        return int(self._said.count())

    def time(self, number: int) -> int:
        """Return when a record became known, in ms."""
        return int(self._said.filter(lambda one: one[1] == number).first()[0].at)

    def moments(self, scene: Scene, part: Part, advance: Advance) -> Iterator[Moment]:
        """Fold everything into a scene; yield each moment of a part while the scene stands just before it."""
        return follow(self._told(part).toLocalIterator(prefetchPartitions=True), scene, advance)

    def _told(self, part: Part) -> Any:
        """Return an RDD of what the machine that trains is told, in order."""
        from pyspark import StorageLevel  # noqa: PLC0415 - an extra

        by_user = self._said.filter(lambda one: one[0].event is not None).map(
            lambda one: ((one[0].event.user, one[1]), one[0])
        )
        folded = _keyed(by_user).mapPartitions(partial(fold_users, self._weights, part))
        folded = folded.persist(StorageLevel.DISK_ONLY)
        asked = folded.filter(lambda one: isinstance(one[1], Asked))
        numbers = sorted(asked.keys().collect())
        acted = folded.filter(lambda one: isinstance(one[1], Acted))
        touches = acted.map(lambda one: ((one[1].touch.item, one[0]), one[1].touch))
        listed = self._said.filter(lambda one: one[0].event is None).map(
            lambda one: ((one[0].item, one[1]), one[0].catalogue)
        )
        changed = _keyed(touches.union(listed)).mapPartitions(partial(fold_items, numbers))
        last = numbers[-1] if numbers else 0
        lessons = acted.filter(lambda one: one[0] < last and (one[1].touch.contexts or one[1].choice))
        every = asked.union(lessons).union(changed).keyBy(place_of)
        parts = every.getNumPartitions()
        ordered = every.repartitionAndSortWithinPartitions(
            parts, lambda place: place[0] * parts // (last + 1)
        )
        return ordered.values()


def _keyed(numbered: Numbered) -> Any:
    """Return an RDD in which a key's numbers follow each other in one part."""
    from pyspark.rdd import portable_hash  # noqa: PLC0415 - an extra

    return numbered.repartitionAndSortWithinPartitions(partitionFunc=lambda key: portable_hash(key[0]))


def fold_users(weights: Mapping[str, float], part: Part, said: Iterable[tuple[Place, Any]]) -> Iterator[Told]:
    """Fold events into their users, one user after the other; yield what is heard of it, behind its number."""
    for _, of_user in groupby(said, key=lambda one: one[0][0]):
        user, own = User(), set[str]()
        for (_, number), (at, event, wanted, *_) in of_user:
            moment = met(event, at, number, own, part) if wanted else None
            if moment is not None:
                yield number, Asked(moment, user.row())
            touch, choice, _ = users.react(user, event, number, weights)
            if touch is not None:
                yield number, Acted(touch, choice)


def fold_items(numbers: Sequence[int], said: Iterable[tuple[Place, Touch | Item | None]]) -> Iterator[Told]:
    """Fold touches and the catalogue into items, one item after the other; `numbers` are those of the moments.

    Yield an item's row behind the number of the first moment after each change.
    """
    for item, of_item in groupby(said, key=lambda one: one[0][0]):
        row, due = ItemRow(), len(numbers)
        for (_, number), told in of_item:
            after = bisect_right(numbers, number)
            if due < after:
                yield numbers[due], Changed(item, row.row())
            due = after
            if isinstance(told, Touch):
                items.touch(row, told)
            else:
                items.list_item(row, told)
        if due < len(numbers):
            yield numbers[due], Changed(item, row.row())


def place_of(told: Told) -> tuple[int, int]:
    """Return where something stands in the order in which it is followed."""
    return told[0], ORDER.index(type(told[1]))


def follow(told: Iterable[Told], scene: Scene, advance: Advance) -> Iterator[Moment]:
    """Bring a scene to each moment, by what is told in order, and yield it."""
    reached = 0
    for number, what in told:
        advance(number - reached)
        reached = number
        world = scene.world
        match what:
            case Changed(item, row):
                world.items[item] = ItemRow.from_row(row)
                world.touched.add(item)
            case Asked(moment, row):
                world.users = {moment.user: User.from_row(row)}
                yield moment
            case Acted(touch, choice):
                world.favour(touch)
                if choice is not None:
                    world.learn(choice)
