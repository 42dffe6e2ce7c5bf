"""Local tables: this process's own copy of the tables, as of the last record it was given.

Rows rest in RocksDB; what every request needs of all items is in columns; users are decoded when asked for.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from api.columns import Columns, Slots
from api.follower import Place
from api.lore import Lore
from api.popular import Floats, PopularLists
from api.reached import Standing
from api.rows import ROW, Rows
from models import items, learned, outcomes, popular, users
from models.items import ItemRow
from models.learned import COMMON
from models.outcomes import Outcomes
from models.popular import Popular
from models.users import User
from streams.changelog import NOTE, Reading, Record
from streams.errors import StateError
from streams.settings import Settings
from streams.slates import Reached
from streams.topology import TABLES, partitions_of

logger = logging.getLogger(__name__)

# Records taken over between two turns of the event loop, about 2 ms: an item costs 45 us, what is learned of one 30,
# the others 4.
CHUNKS = {"users": 400, "items": 30, "popular": 400, "outcomes": 400, "learned": 60}
VERSIONS = {
    "users": users.VERSION, "items": items.VERSION, "popular": popular.VERSION, "outcomes": outcomes.VERSION,
    "learned": learned.VERSION,
}  # fmt: skip
PARTED = (
    "popular",
    "outcomes",
    "learned",
)  # whose key does not decide the partition: it stands before the key
UNITS = {table.name for table in TABLES if table.units}
CACHED_USERS = 20_000  # decoded, about 10 KB each

Rowed = Mapping[bytes, bytes | None]  # rows by key, None for a deleted one
T = TypeVar("T", User, ItemRow, Popular, Outcomes)


def folder(settings: Settings) -> Path:
    """Return where an API process keeps its copy of a generation; the first one's lies around the others'."""
    base = settings.data / settings.api_name
    return base / f"g{settings.generation}" if settings.generation else base


def _common_first(changed: tuple[bytes, bytes | None]) -> bool:
    """Sort by this: the row that is no item's holds the clock by which those of items are read."""
    return changed[0] != COMMON.encode()


def chunks(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """Yield records in chunks of at most `size`, each to the end of a flush where one ends."""
    first = 0
    while first < len(records):
        end = min(first + size, len(records))
        last = next((n for n in range(end, first, -1) if records[n - 1].key == NOTE), end)
        yield records[first:last]
        first = last


def last_event(user: User) -> int:
    """Return the offset in `events` of the last record folded into a user's row, -1 for none."""
    events = [key for key in user.marks if key >> 32 == 0]
    return user.marks[max(events)] >> 9 if events else -1


class LocalTables:
    """The tables of the topology; once loaded, they answer from memory and disk alone.

    `on_user_change` is called with the id of a changed user, `on_item_change` with the slots of items of which a row
    has changed, or what was learned. `refused` counts, by table, rows that this code cannot read; they are left out.
    """

    def __init__(self, settings: Settings) -> None:
        self.columns = Columns()
        self.lore = Lore(self.columns, settings.dimensions, settings.shards)
        self.on_user_change: list[Callable[[str], None]] = []
        self.on_item_change: list[Callable[[Slots], None]] = []
        self.refused: Counter[str] = Counter()
        self._settings = settings
        self._rows: dict[str, Rows] = {}
        self._users: dict[str, User] = {}
        self._readings: dict[Place, Reading] = {}
        self._held_in: dict[str, set[int]] = {}  # context -> partitions with a row of `popular`
        self._lists = PopularLists(self.columns, self._popular_rows)
        self._standing = Standing(settings)

    @property
    def reached(self) -> Reached:
        """How far the rows that are shown had folded their sources, where that is certain."""
        return self._standing.now

    @property
    def offsets(self) -> Mapping[str, Mapping[int, int]]:
        """The changelog offset of the last row taken over, per table and partition."""
        return {table: dict(rows.offsets) for table, rows in self._rows.items()}

    async def load(self) -> None:
        """Open the disk and take over what it holds; raises StateError if the folder cannot be used.

        Whatever the disk holds is answered from the first turn of the event loop, the columns fill meanwhile.
        """
        for table in VERSIONS:
            path = folder(self._settings) / f"{table}.db"
            self._rows[table] = Rows(path, self._identity(table))
        for key, _ in self._rows["popular"].scan():
            self._held_in.setdefault(key[2:].decode(), set()).add(int.from_bytes(key[:2]))
        await self._fill("items", 0, b"")
        for shard in range(self._settings.shards):
            await self._fill("learned", shard, shard.to_bytes(2))
        for table in VERSIONS:
            self._stand(table)

    async def _fill(self, table: str, partition: int, prefix: bytes) -> None:
        chunk: dict[bytes, bytes | None] = {}
        for key, row in self._rows[table].scan(ROW + prefix):
            chunk[key] = row
            if len(chunk) == CHUNKS[table]:
                self._show(table, partition, chunk)
                chunk = {}
                await asyncio.sleep(0)
        self._show(table, partition, chunk)

    def close(self) -> None:
        """Close the disk."""
        for rows in self._rows.values():
            rows.close()

    def fresh_at(self) -> int:
        """Return when, in ms, the changelogs held nothing more as far as was written down."""
        return min(rows.fresh_at() for rows in self._rows.values())

    def mark_fresh(self, now: int) -> None:
        """Write down that at `now` (ms) the changelogs held nothing more."""
        for rows in self._rows.values():
            rows.mark_fresh(now)

    def apply(self, table: str, partition: int, records: Sequence[Record]) -> None:
        """Take over records of one partition, in order: the disk first, then memory. Raises StateError."""
        changed = self._store(table, partition, records)
        self._show(table, partition, dict(sorted(changed.items(), key=_common_first)))
        self._stand(table, partition)

    def _store(self, table: str, partition: int, records: Sequence[Record]) -> Rowed:
        """Write what records leave behind to disk, and return it; what is learned comes in whole flushes."""
        rows, place = self._rows[table], (table, partition)
        reading = self._readings.get(place)
        if reading is None:
            note, offset = rows.notes.get(partition), rows.offsets.get(partition, -1)
            reading = self._readings[place] = Reading(note, offset, units=table in UNITS)
        self._standing.leave(place)
        changed = reading.read(records)
        if changed or reading.offset != rows.offsets.get(partition, -1):
            prefix = partition.to_bytes(2) if table in PARTED else b""
            note = self._standing.noted(place, reading)
            rows.put(partition, {prefix + key: row for key, row in changed.items()}, reading.offset, note)
        return changed

    def _stand(self, table: str, partition: int | None = None) -> None:
        """Take note that what the disk holds of a partition is shown; without one, of all."""
        rows, every = self._rows[table], range(partitions_of(self._settings, table))
        for number in every if partition is None else (partition,):
            self._standing.stand((table, number), rows.notes.get(number), rows.offsets.get(number, -1))

    def _show(self, table: str, partition: int, changed: Rowed) -> None:
        """Let answers reflect changed rows."""
        if table == "items":
            self._put_items(changed)
        elif table == "learned":
            self._put_learned(partition, changed)
        elif table == "users":
            for key in changed:
                user_id = key.decode()
                self._users.pop(user_id, None)
                for told in self.on_user_change:
                    told(user_id)
        elif table == "popular":
            for key, row in changed.items():
                context = key.decode()
                self._lists.forget(context)
                held = self._held_in.setdefault(context, set())
                held.discard(partition) if row is None else held.add(partition)
                if not held:
                    del self._held_in[context]

    def user(self, user_id: str) -> User | None:
        """Return a user, or None. It is shared: whoever changes it must copy it first."""
        held = self._users.get(user_id)
        if held is None:
            held = self._decode("users", User.from_row, self._rows["users"].get(user_id.encode()))
            if held is not None:
                self._users[user_id] = held
                if len(self._users) > CACHED_USERS:
                    del self._users[next(iter(self._users))]
        return held

    def users(self) -> Iterator[str]:
        """Yield the id of every user with a row, of erased ones too."""
        return (key.decode() for key, _ in self._rows["users"].scan())

    def item(self, item_id: str) -> ItemRow | None:
        """Return the whole row of an item, or None."""
        return self._decode("items", ItemRow.from_row, self._rows["items"].get(item_id.encode()))

    def popular(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return the slots most chosen in a context, best first, and their decayed choices at `now` (ms)."""
        return self._lists.get(context, now)

    def outcomes(self, experiment: str) -> list[Outcomes]:
        """Return the rows of an experiment, read from disk."""
        keys = (number.to_bytes(2) + experiment.encode() for number in range(self._settings.partitions))
        read = (self._decode("outcomes", Outcomes.from_row, self._rows["outcomes"].get(key)) for key in keys)
        return [row for row in read if row is not None]

    def contexts(self) -> list[str]:
        """Return the contexts that have a popular list."""
        return list(self._held_in)

    def user_offset(self, user: User) -> int:
        """Return the offset in `events` of the last record folded into the user, -1 for none."""
        return last_event(user)

    def resume(self, spans: Mapping[Place, tuple[int, int]]) -> Mapping[Place, int]:
        """Return where to read on; a table that its changelog no longer explains is wiped first."""
        self._readings.clear()  # from where the disk stands
        for table, rows in self._rows.items():
            held = {partition: span for (name, partition), span in spans.items() if name == table}
            if reason := rows.distrusted(held, int(time.time() * 1000)):
                rows.wipe(reason)
            elif rows.broken:
                rows.reopen()
            if not rows.offsets:
                self._forget(table)
                self._stand(table)
        self._standing.resume({place: end for place, (_, end) in spans.items()})
        return {
            (table, partition): self._rows[table].offsets.get(partition, begin - 1) + 1
            for (table, partition), (begin, _) in spans.items()
        }

    async def take(self, table: str, partition: int, records: Sequence[Record]) -> None:
        """Apply records a chunk at a time, letting requests through in between. Raises StateError."""
        if broken := self._rows[table].broken:
            raise StateError(f"table {table!r} cannot be read: {broken}")
        size = CHUNKS[table]
        for chunk in chunks(records, size):
            changed = self._store(table, partition, chunk)
            ordered = sorted(changed.items(), key=_common_first)
            for some in range(0, len(ordered), size):
                if some:
                    await asyncio.sleep(0)
                self._show(table, partition, dict(ordered[some : some + size]))
            self._stand(table, partition)
            await asyncio.sleep(0)

    def _put_items(self, changed: Rowed) -> None:
        read = {key.decode(): self._decode("items", ItemRow.from_row, row) for key, row in changed.items()}
        slots = self.columns.put_all([(item, row) for item, row in read.items() if row is not None])
        gone = [self.columns.drop(key.decode()) for key, row in changed.items() if row is None]
        touched = np.append(slots, [slot for slot in gone if slot is not None]).astype(np.int64)
        for told in self.on_item_change:
            told(touched)

    def _put_learned(self, shard: int, changed: Rowed) -> None:
        touched = []
        for key, row in changed.items():
            try:
                slot = self.lore.put(shard, key.decode(), row)
            except StateError as error:
                self._refuse("learned", error)
            else:
                touched += [] if slot is None else [slot]
        slots = np.array(touched, dtype=np.int64)
        for told in self.on_item_change:
            told(slots)

    def _popular_rows(self, context: str) -> list[Popular]:
        places = [n.to_bytes(2) + context.encode() for n in sorted(self._held_in.get(context, ()))]
        read = (self._decode("popular", Popular.from_row, self._rows["popular"].get(key)) for key in places)
        return [row for row in read if row is not None]

    def _decode(self, table: str, of: Callable[[bytes], T], row: bytes | None) -> T | None:
        if row is None:
            return None
        try:
            return of(row)
        except StateError as error:
            self._refuse(table, error)
            return None

    def _refuse(self, table: str, error: StateError) -> None:
        if not self.refused[table]:
            logger.error("rows of %r are left out: %s", table, error)
        self.refused[table] += 1

    def _forget(self, table: str) -> None:
        if table == "items":
            self.columns.clear()
            for told in self.on_item_change:
                told(np.arange(len(self.columns)))
        elif table == "learned":
            self.lore.clear()
            for told in self.on_item_change:
                told(np.arange(len(self.columns)))
        elif table == "popular":
            self._held_in.clear()
            self._lists.clear()
        elif table == "users":
            self._users.clear()

    def _identity(self, table: str) -> str:
        s, version = self._settings, VERSIONS[table]
        which = f"partitions {s.api_partitions or 'all'} of {s.partitions}"
        if table == "learned":
            which = f"{s.shards} shards, {s.dimensions} dimensions"
        return f"{s.changelog(table)}, version {version}, epoch {s.epoch}, {which}"
