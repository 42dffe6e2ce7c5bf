"""The past as the engine reads it: replayed tables, with the vectors and trends they had at one moment."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping

import msgspec
import numpy as np

from agents.table import Rows
from api.columns import Columns, Slots
from api.engine import Engine
from api.lore import Lore
from api.popular import Floats, PopularLists
from api.rankers import NONE_LIVE, Rankers
from api.space import ItemSpace
from api.state import State
from api.tables import last_event
from api.trends import Trends
from models.assignment import Assigner
from models.exploration import Draw, by_hash
from models.items import ItemRow
from models.outcomes import Outcomes
from models.popular import Popular
from models.surfaces import Config
from models.users import User
from ops.state.scratch import Scratch
from streams.changelog import NOTE
from streams.experiments import Known
from streams.partition import partition_of
from streams.settings import Settings
from streams.slates import Reached
from streams.topology import STAGES

NONE = Known()
CHUNK = 1_000  # items taken over at once
PATIENT = {"ttl_s": 0.0, "budget_ms": 10_000.0}  # nothing is served again, and nothing for want of time


class PastTables:
    """The tables of a scratch folder (`api.state.Tables`); `rows` are for folding on, and keep it up to date."""

    def __init__(self, scratch: Scratch, settings: Settings) -> None:
        self.columns = Columns()
        self.lore = Lore(self.columns, settings.dimensions, settings.shards)
        self.on_user_change: list[Callable[[str], None]] = []
        self.on_item_change: list[Callable[[Slots], None]] = []
        self.ready = True
        self._scratch = scratch
        self._partitions = settings.partitions
        self._shards = settings.shards
        self._lists = PopularLists(self.columns, self._popular_rows)
        self.rows: Mapping[str, Rows] = {
            # read row by row or not at all, so nothing is to be kept up to date
            **{table: scratch.rows(table) for table in STAGES["users"]},
            "items": _Watched(scratch.rows("items"), self._items_changed),
            "outcomes": scratch.rows("outcomes"),
            "popular": _Watched(scratch.rows("popular"), self._popular_changed),
            "learned": _Watched(scratch.rows("learned"), self._learned_changed),
        }

    def fill(self) -> None:
        """Take over all items, and what was learned of them."""
        for table, partitions, changed in (
            ("items", self._partitions, self._items_changed),
            ("learned", self._shards, self._learned_changed),
        ):
            for number in range(partitions):
                chunk = {}
                for key, row in self._scratch.rows(table).scan(number):
                    chunk[key] = row
                    if len(chunk) == CHUNK:
                        changed(number, chunk)
                        chunk = {}
                changed(number, chunk)

    @property
    def reached(self) -> Reached:
        """How far the rows have folded their sources."""
        notes = {
            table: [self._scratch.rows(table).note(n).positions for n in range(count)]
            for table, count in (
                ("items", self._partitions),
                ("popular", self._partitions),
                ("learned", self._shards),
            )
        }
        return Reached(
            items=tuple((held.get("items", 0), held.get("touches", 0)) for held in notes["items"]),
            popular=tuple(held.get("touches", 0) for held in notes["popular"]),
            learned=tuple(held.get("examples", 0) for held in notes["learned"]),
        )

    def user(self, user_id: str) -> User | None:
        """Return a user."""
        row = self._row("users", user_id)
        return None if row is None else User.from_row(row)

    def item(self, item_id: str) -> ItemRow | None:
        """Return the row of an item."""
        row = self._row("items", item_id)
        return None if row is None else ItemRow.from_row(row)

    def popular(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return a popular list and its decayed choices at `now` (ms), best first."""
        return self._lists.get(context, now)

    def outcomes(self, experiment: str) -> list[Outcomes]:
        """Return the rows of an experiment."""
        return [Outcomes.from_row(row) for row in self._parted("outcomes", experiment)]

    def user_offset(self, user: User) -> int:
        """Return the offset of the last event in a user, -1 for none."""
        return last_event(user)

    def lag(self) -> int:
        """Return how many records are still to be read: none, the past is complete."""
        return 0

    def staleness_ms(self) -> float:
        """Return how old the state is: as of then, not at all."""
        return 0.0

    def _row(self, table: str, key: str) -> bytes | None:
        return self._scratch.rows(table).get_row(partition_of(key, self._partitions), key.encode())

    def _popular_rows(self, context: str) -> list[Popular]:
        return [Popular.from_row(row) for row in self._parted("popular", context)]

    def _parted(self, table: str, key: str) -> list[bytes]:
        rows = self._scratch.rows(table)
        found = (rows.get_row(number, key.encode()) for number in range(self._partitions))
        return [row for row in found if row is not None]

    def _learned_changed(self, shard: int, changed: Mapping[bytes, bytes | None]) -> None:
        slots = [self.lore.put(shard, key.decode(), row) for key, row in changed.items()]
        for told in self.on_item_change:
            told(np.array([slot for slot in slots if slot is not None], dtype=np.int64))

    def _items_changed(self, _: int, changed: Mapping[bytes, bytes | None]) -> None:
        slots = self.columns.put_all(
            [(key.decode(), ItemRow.from_row(row)) for key, row in changed.items() if row is not None]
        )
        for told in self.on_item_change:
            told(slots)

    def _popular_changed(self, _: int, changed: Iterable[bytes]) -> None:
        for key in changed:
            self._lists.forget(key.decode())


class Then:
    """The state of a moment that can move on: fold into `tables.rows`, then `settle` at the new moment."""

    def __init__(self, scratch: Scratch, settings: Settings) -> None:
        self.tables = PastTables(scratch, settings)
        self._space = ItemSpace(self.tables.columns, self.tables.lore, moved=0.0)
        self._trends = Trends(self.tables.columns)
        self.tables.on_item_change.append(self._space.touch)
        self.state = State(self.tables, self._space, self._trends, self._space)
        self.tables.fill()

    def settle(self, at: int) -> None:
        """Compute trends as of `at` (ms) and place the items that changed, by a map fitted anew when that pays."""
        self._trends.refresh(at)
        if self._space.due(time.monotonic()):
            asyncio.run(self._space.fit())
        while self._space.step():
            pass


class Moment:
    """The experiments as they were at a time `at` (ms), which may be moved."""

    def __init__(self, known: Known = NONE, at: int = 0) -> None:
        self.known, self.at = known, at
        turns = [each.at for record in known.records.values() for each in record.decided]
        for version in (each for record in known.records.values() for each in record.versions):
            turns += [version.at, *(step.at for step in version.ramp)]
        self.turns = sorted(turns)


def engine_of(
    state: State, config: Config, moment: Moment | None = None, *,
    rankers: Rankers = NONE_LIVE, draw: Draw = by_hash,
) -> Engine:  # fmt: skip
    """Return an engine that answers each request anew and takes its time, under the experiments of a moment."""
    surfaces = {name: msgspec.structs.replace(one, **PATIENT) for name, one in config.surfaces.items()}
    patient = Config(config.actions, surfaces)
    return Engine(state, patient, experiments=_Tried(moment or Moment(), patient), rankers=rankers, draw=draw)


class _Tried:
    """Experiments on a configuration, at a moment."""

    def __init__(self, moment: Moment, config: Config) -> None:
        self._moment, self._config = moment, config
        self._turn, self._assigner = -1, Assigner(NONE, config, 0)

    @property
    def assigner(self) -> Assigner:
        """The assigner of the moment."""
        moment = self._moment
        if (turn := bisect_right(moment.turns, moment.at)) != self._turn:
            self._turn, self._assigner = turn, Assigner(moment.known, self._config, moment.at, PATIENT)
        return self._assigner


class _Watched:
    """Rows that tell which of them were written."""

    def __init__(self, rows: Rows, told: Callable[[int, Mapping[bytes, bytes | None]], None]) -> None:
        self._rows, self._told = rows, told
        self.get_row, self.offset, self.scan = rows.get_row, rows.offset, rows.scan

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows, and tell."""
        self._rows.put_rows(partition, rows, offset)
        self._told(partition, {key: row for key, row in rows.items() if key != NOTE})
