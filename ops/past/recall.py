"""Recall: the rows that slates were made of, as they were then, from one fold of the log for all slates together.

Each partition of a source is folded once, from its beginning, and halts wherever a slate was made of it. Halves of an
item's row that come from the catalogue and from touches are folded apart, and met at different places.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from api.asker import SESSION
from models.items import CHOICES, WINDOWS, ItemRow
from models.lately import Sums, Totals
from models.learned import Learned
from models.users import User, contexts
from ops.past.replay import Ground
from ops.state.fold import MOST_DIRTY, Shell, calm, sources
from ops.state.scratch import Scratch
from streams import touches
from streams.errors import Refused
from streams.log import Record
from streams.partition import partition_of
from streams.slates import Asked, Read, Slate
from streams.topology import STAGES, Stage
from streams.touches import Touch

Fold = Callable[[Record], None]


@dataclass(slots=True)
class Recalled:
    """A slate with features, and what they came from; what was not certain when it was made stays empty.

    `rows` are those of the items shown, and the catalogue's half of the last items. `lost` are items whose record in
    the catalogue was compacted away, so that nobody knows any more what it said then.
    """

    slate: Slate
    asked: Asked
    read: Read
    user: User | None = None
    rows: dict[str, ItemRow] = field(default_factory=dict)
    totals: Sums = field(default_factory=lambda: np.zeros((len(WINDOWS), 3)))
    contexts: dict[str, dict[str, float]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    @property
    def shown(self) -> list[str]:
        """The items whose features were logged."""
        return [item.item_id for item in self.slate.items if item.features]


def recall(on: Ground, scratch: Scratch, chosen: Sequence[Recalled]) -> None:
    """Fill in the rows of users, items and popular lists; raises StateError where the log cannot be folded."""
    partitions = on.settings.partitions
    for one in chosen:
        if one.asked.operation == "similar":
            one.user = User(trail=[one.asked.beside])
        known = contexts(one.slate.surface, one.asked.categories, one.asked.context.get("country"))
        one.contexts = {context: {} for context in known}
    with calm():
        for number in range(partitions):
            _recall_users(on, scratch, number, chosen)
        for number in range(partitions):
            _recall_items(on, scratch, number, chosen)


def _recall_users(on: Ground, scratch: Scratch, number: int, chosen: Sequence[Recalled]) -> None:
    halts = defaultdict(list)
    for one in chosen:
        user = one.slate.user_id
        if one.read.user >= 0 and user and partition_of(user, on.settings.partitions) == number:
            halts[one.read.user + 1].append(one)
    shell = _shell(on, "users", number, scratch)
    for halt in walk(on, shell, "users", "events", number, halts, shell.folds["events"]):
        for one in halts[halt]:
            state = shell.state("users", one.slate.user_id)
            one.user = None if state is None else User.from_row(state.row())


def _recall_items(on: Ground, scratch: Scratch, number: int, chosen: Sequence[Recalled]) -> None:
    shell = _shell(on, "items", number, scratch)
    listed: defaultdict[int, list[tuple[Recalled, str]]] = defaultdict(list)
    made: defaultdict[int, list[Recalled]] = defaultdict(list)
    popular: defaultdict[int, list[Recalled]] = defaultdict(list)
    for one in chosen:
        told, touched = one.read.state.items[number]
        trail = [] if one.user is None else one.user.trail[:SESSION]
        for item in {*one.shown, *trail} if told >= 0 else ():
            if partition_of(item, on.settings.partitions) == number:
                one.rows[item] = ItemRow()
                listed[told].append((one, item))
        if touched >= 0:
            made[touched].append(one)
        if (favoured := one.read.state.popular[number]) >= 0:
            popular[favoured].append(one)

    _recall_catalogue(on, shell, number, listed)
    totals = Totals()
    halts = sorted({*made, *popular})
    for halt in walk(on, shell, "items", "touches", number, halts, _counting(shell, totals)):
        for one in made[halt]:
            one.totals += totals.at(one.read.at)
            for item in one.shown:
                state = shell.state("items", item) if item in one.rows else None
                if state is not None and partition_of(item, on.settings.partitions) == number:
                    listed_as = one.rows[item].catalogue
                    one.rows[item] = ItemRow.from_row(state.row())
                    one.rows[item].catalogue = listed_as
        for one in popular[halt]:
            for context, items in one.contexts.items():
                state = shell.state("popular", context)
                items.update({} if state is None else state.items)


def _recall_catalogue(
    on: Ground, shell: Shell, number: int, halts: Mapping[int, Sequence[tuple[Recalled, str]]]
) -> None:
    last: dict[bytes, int] = {}
    read = 0

    def fold(record: Record) -> None:
        nonlocal read
        read += 1
        last[record.key or b""] = record.offset
        shell.folds["items"](record)

    if not halts:
        return
    _, end = on.log.spans("items")[number]
    for halt in walk(on, shell, "items", "items", number, {*halts, end}, fold):
        for one, item in halts.get(halt, ()):
            state = shell.state("items", item)
            one.rows[item].catalogue = None if state is None else state.catalogue
    if read == end:
        return  # nothing was compacted away
    for halt, found in halts.items():
        for one, item in found:
            if last.get(item.encode(), end) >= halt:
                one.lost.add(item)


def learned(on: Ground, scratch: Scratch, halts: Collection[int]) -> Iterator[tuple[int, Learned]]:
    """Yield what the only shard had learned at each of these positions in `examples`, in order."""
    shell = _shell(on, "learner", 0, scratch)
    with calm():
        for halt in walk(on, shell, "learner", "examples", 0, halts, shell.folds["examples"]):
            yield halt, shell.learned


def walk(
    on: Ground, shell: Shell, stage: Stage, topic: str, number: int, halts: Collection[int], fold: Fold
) -> Iterator[int]:
    """Fold one source of a partition from its beginning, and yield each halt when all before it is folded."""
    ahead = sorted(set(halts))
    if not ahead:
        return
    reached = dict.fromkeys(sources(stage), 0)
    for batch in on.log.read(topic, number, 0, ahead[-1]):
        for record in batch:
            while record.offset >= ahead[0]:
                yield ahead.pop(0)
            try:
                fold(record)
            except Refused:
                continue  # a dead letter, as it was then
        reached[topic] = batch[-1].offset + 1
        if stage != "learner":  # which has all of it in memory
            shell.write(reached, MOST_DIRTY)
    yield from ahead


def _counting(shell: Shell, totals: Totals) -> Fold:
    """Return the fold of touches that keeps the sums of all items' choices along."""

    def fold(record: Record) -> None:
        try:
            said = touches.decode(record.value).said
        except Refused:
            said = []
        items = {one.item for one in said if isinstance(one, Touch)}
        _add(shell, items, totals, -1)
        shell.folds["touches"](record)
        _add(shell, items, totals, 1)

    return fold


def _add(shell: Shell, items: set[str], totals: Totals, times: int) -> None:
    found = [state.windows for item in items if (state := shell.state("items", item)) is not None]
    if found:
        windows = np.array(found)
        totals.add(windows[:, :, 0].astype(np.int32), windows[:, :, (1 + CHOICES, 4 + CHOICES)], times)


def _shell(on: Ground, stage: Stage, number: int, scratch: Scratch) -> Shell:
    rows = {table: scratch.rows(table) for table in STAGES[stage]}
    return Shell(on.settings, stage, number, rows, on.weights)
